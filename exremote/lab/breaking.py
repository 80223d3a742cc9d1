"""What somebody does to a host on a bad day: services that will not, files and values that are not as were.

It changes the lab's own machines, simulated or under Wine, and nothing else.
"""

from __future__ import annotations

from exremote.lab.machine import SERVICES, Machine
from exremote.lab.wine import Prefix


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
