"""Whether a step was really done, judged from what the machine answers. Pure: it asks nobody.

Each function gives evidence, one thing at a time; `wrong` says what to do, `unknown` stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from exremote.facts import HostFact, NamedFile, RegistryValue, ServiceState
from exremote.folding import folded
from exremote.recover.steps import Evidence, Original
from exremote.regfile import RegFile, RegValue

STORE = "MSExchangeIS"
BASE = ("MSExchangeSA", STORE)
_SOME = 3


def same(what: str, was: str, now: str, remedy: str) -> Evidence:
    """Given what a thing was and is, return whether it is the same; unknown if nobody knows what it was."""
    if not was:
        return Evidence(what, "unknown", f"it is {now or 'unknown'}; no snapshot says what it was")
    if folded(was).rstrip("\\") == folded(now).rstrip("\\"):
        return Evidence(what, "ok", f"it is {now}")
    return Evidence(what, "wrong", f"it is {now or 'none'}, and was {was}", remedy)


def reinstalled(
    original: Original, fact: HostFact, store: ServiceState | None, place: str
) -> Iterator[Evidence]:
    """Given the new machine, and where it answers, yield what step 4 wants of it."""
    name = fact.computer_name
    if folded(name) == folded(original.computer_name):
        yield Evidence(
            "computer name",
            "wrong",
            f"it is {name} already, which only the System State may bring back",
            "Give it another name until tip step 5; if the lost server itself answers there, it is not lost.",
        )
    else:
        yield Evidence("computer name", "ok", f"it is {name}, not {original.computer_name}")
    reinstall = "Reinstall: a System State comes back only onto the same (KB 811944)."
    yield same("version of Windows", original.os_version, fact.os_version, reinstall)
    yield same("service pack", original.service_pack, fact.service_pack, "Install that service pack.")
    yield same("Windows folder", original.system_root, fact.system_root, reinstall)
    yield drives(original, fact)
    yield (
        Evidence("rights", "ok", f"{fact.user_name} is an administrator there")
        if fact.is_administrator
        else Evidence(
            "rights",
            "wrong",
            f"{fact.user_name} is no administrator there",
            "Name another account: recover_credential in the inventory.",
        )
    )
    if store is not None and store.exists and store.state == "Running":
        yield Evidence(
            "no Exchange",
            "wrong",
            f"{STORE} runs on {name}, which answers at {place}: an Exchange is alive",
            f"{name} is not the new machine. Correct recover_address, or say --at ADDRESS.",
        )
    else:
        yield Evidence("no Exchange", "ok", f"{STORE} does not run there")


def drives(original: Original, fact: HostFact) -> Evidence:
    """Return whether every fixed drive of the lost server is there."""
    there = {folded(disk.root) for disk in fact.disks if disk.kind == "Fixed"}
    lacking = [root for root in original.drives if folded(root) not in there]
    if not original.drives:
        return Evidence("drives", "unknown", "no snapshot says which drives there were")
    if lacking:
        return Evidence(
            "drives",
            "wrong",
            f"{', '.join(lacking)} is not there",
            "Make the same drive letters: databases, logs and programs are looked for on them.",
        )
    return Evidence("drives", "ok", f"{', '.join(original.drives)} are there")


def returned(original: Original, fact: HostFact) -> Iterator[Evidence]:
    """Given the machine after step 5, yield whether it is itself again."""
    again = "The System State was not restored. In ntbackup tick System State, restore it, and restart."
    yield same("computer name", original.computer_name, fact.computer_name, again)
    yield same(
        "domain", original.domain, fact.domain, "Look whether the System State is the one of this server."
    )


def registry(was: Mapping[str, RegFile], now: Mapping[str, RegFile | None], of: str) -> Iterator[Evidence]:
    """Given registry texts of the set and of the machine, by key, yield whether the set is the one named."""
    differs: list[str] = []
    count = 0
    for key, wanted in was.items():
        there = now.get(key)
        for path, values in wanted.keys.items():
            found = _values(there, path)
            for value in values.values():
                count += 1
                here = found.get(folded(value.name))
                if here is None or (here.kind, here.data) != (value.kind, value.data):
                    differs.append(f"{path}, value {value.name or '(default)'}")
    if not count:
        yield Evidence("registry", "unknown", f"{of} has no registry value beside it to compare with")
    elif differs:
        more = f" and {len(differs) - _SOME} more" if len(differs) > _SOME else ""
        yield Evidence(
            "registry",
            "wrong",
            f"{'; '.join(differs[:_SOME])}{more} is not what {of} has",
            f"Another set was restored, an older one perhaps. Restore the System State of {of}, and restart.",
        )
    else:
        yield Evidence("registry", "ok", f"{count} values are those of {of}")


def _values(there: RegFile | None, path: str) -> dict[str, RegValue]:
    if there is None:
        return {}
    found = next((values for key, values in there.keys.items() if folded(key) == folded(path)), {})
    return {folded(value.name): value for value in found.values()}


def registered(wanted: Sequence[str], states: Iterable[ServiceState]) -> Iterator[Evidence]:
    """Given services that are to be registered, yield whether they are; programs come with step 6."""
    there = {folded(state.name) for state in states if state.exists}
    lacking = [name for name in wanted if folded(name) not in there]
    if lacking:
        yield Evidence(
            "services",
            "wrong",
            f"{', '.join(lacking)} is not registered",
            "The System State of a time at which the connectors were there brings them back: restore that.",
        )
    elif wanted:
        yield Evidence("services", "ok", f"{', '.join(wanted)} are registered")


def installed(
    original: Original,
    folder: RegistryValue | None,
    builds: Sequence[RegistryValue],
    states: Sequence[ServiceState],
) -> Iterator[Evidence]:
    """Given what the machine says after step 6, yield whether Exchange and all connectors are there."""
    again = "Run setup /disasterrecovery again"
    if folder is None or not folder.exists:
        yield Evidence(
            "folder of Exchange", "wrong", "Exchange is not installed", "Run setup /disasterrecovery."
        )
    else:
        yield same(
            "folder of Exchange",
            original.exchange_folder,
            folder.text,
            "Exchange has to lie in the same folder: remove it, and install it there.",
        )
    build = next((value.text for value in builds if value.exists), "")
    yield same(
        "build of Exchange",
        original.exchange_build,
        build,
        "Install the service pack of Exchange that was there, also with /disasterrecovery.",
    )
    by_name = {folded(state.name): state for state in states}
    lacking: list[str] = []
    without: list[str] = []
    for name in (*BASE, *original.registered):
        state = by_name.get(folded(name))
        if state is None or not state.exists:
            lacking.append(name)
        elif not state.image_exists:
            without.append(name)
    if lacking or without:
        said = [f"{', '.join(lacking)} is not there"] if lacking else []
        said += [f"the program of {', '.join(without)} is not there"] if without else []
        yield Evidence(
            "components",
            "wrong",
            "; ".join(said),
            f"{again}, with the component that they belong to: a connector was left out.",
        )
    else:
        yield Evidence("components", "ok", f"{', '.join((*BASE, *original.registered))} are there")


def groups_restored(
    store: ServiceState | None, waiting: Sequence[str], databases: Sequence[NamedFile], folder: str
) -> Iterator[Evidence]:
    """Given what the machine says after step 7, yield whether the databases are back and mounted."""
    state = store.state if store is not None and store.exists else "not there"
    yield (
        Evidence("information store", "ok", f"{STORE} runs")
        if state == "Running"
        else Evidence("information store", "wrong", f"{STORE} is {state}", f"Start {STORE}.")
    )
    if waiting:
        yield Evidence(
            "hard recovery",
            "wrong",
            f"{', '.join(waiting)} is still there: Last Backup Set was not ticked",
            f'Type at the console: eseutil /cc "{waiting[0].rpartition(chr(92))[0]}" (KB 232938); mount.',
        )
    else:
        yield Evidence("hard recovery", "ok", "no Restore.env waits for one")
    there = [one for one in databases if one.exists or one.error]
    if not there:
        yield Evidence(
            "databases",
            "unknown",
            f"there is no database in {folder}; where this server keeps them exremote does not know",
        )
        return
    # A database that nobody holds open is dismounted; that one is held may also be a restore that goes on.
    free = [one.path for one in there if one.exists and not one.error]
    yield (
        Evidence(
            "databases",
            "wrong",
            f"{', '.join(free)} is held open by nobody: it is not mounted",
            "Mount it in Exchange System Manager; before hard recovery that fails.",
        )
        if free
        else Evidence("databases", "ok", f"{', '.join(one.path for one in there)} are held open")
    )


Restarted = Literal["new", "same", "unknown"]


def restarted(before: datetime | None, now: datetime | None) -> Restarted:
    """Given when a machine was started as it was noted, and as it says now, return whether that is anew.

    The moment is that of its service control manager's process, which a change of the clock does not move.
    """
    if now is None or before is None:
        return "unknown"
    return "same" if abs((before - now).total_seconds()) < 0.1 else "new"


def booted(fact: HostFact, now: datetime) -> datetime | None:
    """Given what a machine says and our clock, return when it was started by our clock; None if unknown."""
    if fact.started is None or fact.utc_now is None:
        return None
    return now - (fact.utc_now - fact.started)


def restarted_after(moment: datetime | None, start: datetime | None) -> Restarted:
    """Given a moment and when a machine was started, both by our clock, return whether it was after that."""
    if moment is None or start is None:
        return "unknown"
    return "new" if start >= moment else "same"


def running(wanted: Sequence[str], states: Iterable[ServiceState]) -> Iterator[Evidence]:
    """Given services that ran on the lost server, yield whether each runs now."""
    by_name = {folded(state.name): state for state in states}
    stopped = [
        f"{name} ({by_name[folded(name)].state if folded(name) in by_name else 'not there'})"
        for name in wanted
        if folded(name) not in by_name or by_name[folded(name)].state != "Running"
    ]
    if stopped:
        yield Evidence(
            "services",
            "wrong",
            f"{', '.join(stopped)} does not run",
            "Look into the Application log; `exremote health` says what it finds.",
        )
    elif wanted:
        yield Evidence("services", "ok", f"{', '.join(wanted)} run")
    else:
        yield Evidence("services", "unknown", "no snapshot says which services of the connectors ran")
