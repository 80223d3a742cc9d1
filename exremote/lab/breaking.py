"""What somebody does to a host on a bad day: services that will not, files and values that are not as were.

It changes the lab's own machines, simulated or under Wine, and nothing else.
"""

from __future__ import annotations

from exremote.lab.furnish import CONNDATA
from exremote.lab.machine import SERVICES, START_MODES, Machine, ticks
from exremote.lab.wine import Prefix

_CONNECTORS = ("LME-NOTES", "LME-GWISE")
_WRONG = b"-- the lab was told to break this --"
_CALENDAR = rf"{SERVICES}\MSExchangeCalCon\Parameters"


def trouble_service(
    machine: Machine,
    prefix: Prefix | None,
    name: str,
    *,
    stop_delay_s: float = 0.0,
    start_delay_s: float = 0.0,
    stop_ignored: bool = False,
    start_exit_code: int = 0,
    crash_after_s: float = 0.0,
    denied: bool = False,
) -> None:
    """Given a service, have it start or stop late, never stop, not start, or be gone after a time.

    Without any of these it is well again. Raise KeyError if there is none of that name, ValueError for what
    cannot be had under Wine.
    """
    service = machine.services[name.lower()]
    if prefix is None:
        service.stop_delay_s, service.start_delay_s = stop_delay_s, start_delay_s
        service.stop_ignored, service.start_exit_code = stop_ignored, start_exit_code
        service.crash_after_s, service.denied = crash_after_s, denied
        if not stop_ignored and machine.service_state(name) == "StopPending" and not service.until:
            service.state = "Stopped"
        return
    if crash_after_s or denied:
        # There a service that is gone is said to run until it is started again, and nothing is denied.
        raise ValueError("crash_after_s and denied are not to be had under Wine")
    # labsvc.exe reads these when it starts.
    key = rf"{SERVICES}\{service.name}\Parameters"
    for value, number in (
        ("StopDelayMs", int(stop_delay_s * 1000)),
        ("StartDelayMs", int(start_delay_s * 1000)),
        ("StopIgnored", int(stop_ignored)),
        ("StartExitCode", start_exit_code),
    ):
        machine.registry.set(key, value, number)
    prefix.set_registry(key)


def break_host(machine: Machine, prefix: Prefix | None) -> list[tuple[str, str]]:
    """Given a host with a connector, break it in every way that a restore has to mend.

    One table is deleted, one changed though size and time stay, a registry value is wrong, the connector's
    service is stopped and disabled, and work files lie about, one of them deeper than any is erased. Return
    what was done, as a word and a place each. Raise ValueError for a host that has no connector to break.
    """
    service = next((machine.services[n.lower()] for n in _CONNECTORS if n.lower() in machine.services), None)
    if service is None:
        raise ValueError(f"{machine.name} has no {' or '.join(_CONNECTORS)} to break")
    deleted, changed = (rf"{CONNDATA}\Tables\lab{number:04d}.tbl" for number in (1, 2))
    files = machine.files
    if files.get(deleted) is not None:
        files.remove(deleted)
    node = files.find(changed)
    assert node.content is not None
    data = bytearray(b"".join(node.content.chunks()))
    middle = len(data) // 2
    data[middle : middle + len(_WRONG)] = _WRONG
    files.write(changed, bytes(data), modified=node.modified, attributes=node.attributes)
    left = [rf"{CONNDATA}\{name}" for name in ("broken.seq", "broken.ck", r"Temp\broken.seq")]
    for path in left:
        files.write(path, b"lab work file, left behind", modified=ticks(machine.now()))
    key, name = rf"{SERVICES}\{service.name}", "DisplayName"
    if machine.registry.find(_CALENDAR) is not None:
        key, name = _CALENDAR, "Providers"
    machine.registry.set(key, name, "LABWRONG")
    machine.registry.set(rf"{SERVICES}\{service.name}", "Start", START_MODES.index("Disabled"))
    machine.set_service(service.name, "Stopped")
    if prefix is not None:
        prefix.remove_file(deleted)
        for path in (changed, *left):
            prefix.write_file(path)
        for each in {key, rf"{SERVICES}\{service.name}"}:
            prefix.set_registry(each)
        prefix.set_service(service.name, "Stopped")
    return [
        ("deleted", deleted),
        ("changed", changed),
        ("set wrong", f"{key}|{name}"),
        ("stopped and disabled", service.name),
        *(("left behind", path) for path in left),
    ]
