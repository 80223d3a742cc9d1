"""Judges what the operators of a connector file cannot say: one function a check. It never asks a host.

What could not be looked at is unknown, never ok.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exremote.checks import ccmail, msmail, running
from exremote.checks.finding import Finding, Verdict, finding, names, why
from exremote.connector import PLACE, SERVICES, Check, below, program_of, tidy
from exremote.facts import HostFacts, ServiceState

NETWARE_REMEDY = (
    "Name the service by which the host reaches NetWare in the inventory: "
    "variables = { netware_service = 'NAME' }."
)


def notes_path(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether the Notes program folder is on the machine's PATH."""
    folder = facts.roots.get("notes_program")
    if facts.host_fact is None or folder is None:
        reason = why(facts, "host") if folder else "the Notes program folder is not known"
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    on_path = folder.lower() in (tidy(entry).lower() for entry in facts.host_fact.system_path.split(";"))
    words = f"{folder} is {'' if on_path else 'not '}on the PATH"
    return finding(facts, check, Verdict.OK if on_path else Verdict(check.severity), words, connector)


def notes_second_library(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether a folder of the PATH beside the Notes program folder has the library."""
    host, folder = facts.host_fact, facts.roots.get("notes_program")
    if host is None or host.on_path is None or folder is None:
        reason = "the Notes program folder is not known" if folder is None else why(facts, "host")
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    own = {below(folder, name).lower() for name in check.on_path}
    found = {path.lower(): path for path in host.on_path}
    ends = tuple(f"\\{name}".lower() for name in check.on_path)
    strays = [path for key, path in found.items() if key not in own and key.endswith(ends)]
    if strays:
        words = f"beside {names(below(folder, name) for name in check.on_path)}: {names(strays)}"
        return finding(facts, check, Verdict(check.severity), words, connector)
    # A folder of another computer may keep the question waiting, so none is looked into.
    elsewhere = [e for entry in host.system_path.split(";") if (e := tidy(entry)).startswith("\\\\")]
    words = f"no other {names(check.on_path)} is on the PATH"
    if elsewhere:
        words = f"the PATH leads to other computers, where nobody looked: {names(elsewhere)}"
    return finding(facts, check, Verdict.UNKNOWN if elsewhere else Verdict.OK, words, connector)


def notes_data_folder(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether Notes.ini and the registry value of `where` name the same folder."""
    ini, (key, _, name) = facts.notes_ini, check.where[0].partition("|")
    value = facts.value(key, name)
    if ini is None or value is None:
        reason = why(facts, "file notes-ini" if ini is None else "registry")
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    if not ini.exists:
        return finding(facts, check, Verdict.UNKNOWN, "no Notes.ini could be read", connector)
    here, there = tidy(ini.directory), tidy(value.text)
    words = f"{ini.path} says {here or 'nothing'}, the registry's {name} {there or 'nothing'}"
    verdict = Verdict.OK if here.lower() == there.lower() else Verdict(check.severity)
    return finding(facts, check, verdict if here and there else Verdict.UNKNOWN, words, connector)


def netware_service(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether a service by which the host reaches NetWare is there and runs: the one
    that the inventory names, else those that the check knows.
    """
    gateway, named = facts.roots.get("gateway"), facts.roots.get("netware_service")
    wanted = [named] if named else [name for name in check.services if not PLACE.search(name)]
    asked = not named or facts.service(named) is not None
    if gateway and not gateway.startswith("\\\\"):
        words = f"{gateway} is a folder of this host: nothing is needed to reach it"
        return finding(facts, check, Verdict.OK, words, connector)
    if not facts.services or not asked:
        return finding(facts, check, Verdict.UNKNOWN, why(facts, "services"), connector)
    found = [s for s in facts.services if s.exists and any(_is_called(s, name) for name in wanted)]
    words = names(f"{s.name} ({s.display_name}): {s.state}" for s in found)
    if found:
        states = {s.state for s in found}
        verdict = Verdict.UNKNOWN if states <= {"", "Unknown"} else Verdict(check.severity)
        return finding(facts, check, Verdict.OK if "Running" in states else verdict, words, connector)
    if named:
        words = f"{named}, which the inventory names, is not registered"
        return finding(facts, check, Verdict(check.severity), words, connector)
    words = f"none was found of {names(wanted)}"
    return finding(facts, check, Verdict.UNKNOWN, words, connector, NETWARE_REMEDY)


def netware_record(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether what a service that reaches NetWare needs to be put back is known: its
    key, its program and version, its account, and where its installation media is.
    """
    named, media = facts.roots.get("netware_service"), facts.roots.get("netware_media")
    wanted = [named] if named else [name for name in check.services if not PLACE.search(name)]
    found = [s for s in facts.services if s.exists and any(_is_called(s, name) for name in wanted)]
    if not found:
        words = why(facts, "services") if not facts.services else f"none was found of {names(wanted)}"
        return finding(facts, check, Verdict.UNKNOWN, words, connector, NETWARE_REMEDY)
    said: list[str] = []
    lacking: list[str] = []
    for service in found:
        key = facts.value(rf"{SERVICES}\{service.name}", "")
        program = facts.look(program_of(service.image_path))
        version = program.version if program and program.exists else ""
        said.append(
            f"{service.name}: {program_of(service.image_path) or 'no program'}, "
            f"version {version or 'unknown'}, account {service.account or 'unknown'}"
        )
        if not service.readable or key is None or not key.key_exists:
            lacking.append(f"the key of {service.name}")
        if program is None or not program.exists:
            lacking.append(f"the program of {service.name}")
        if not service.account:
            lacking.append(f"the account of {service.name}")
    words = "; ".join(said) + f"; installation media: {media or 'nobody says where it is'}"
    words += f"; not to be had: {names(lacking)}" if lacking else ""
    verdict = Verdict.OK if media else Verdict.INFO
    return finding(facts, check, Verdict(check.severity) if lacking else verdict, words, connector)


def _is_called(service: ServiceState, name: str) -> bool:
    """Return whether a name of a check, or the beginning of a long one, is this service's."""
    if name.endswith("*"):
        return service.display_name.lower().startswith(name[:-1].lower())
    return service.name.lower() == name.lower()


FUNCTIONS: Mapping[str, Callable[[HostFacts, Check, str], Finding]] = {
    "alone": running.alone,
    "ccmail_companions": ccmail.companions,
    "ccmail_path": ccmail.path,
    "ccmail_post_office": ccmail.post_office,
    "ccmail_second_tools": ccmail.second_tools,
    "ccmail_short_names": ccmail.short_names,
    "ccmail_sixteen_bit": ccmail.sixteen_bit,
    "ccmail_tools": ccmail.tools,
    "ended": running.ended,
    "msmail_account": msmail.account,
    "msmail_dirsync_role": msmail.dirsync_role,
    "msmail_pc_mtas": msmail.pc_mtas,
    "msmail_place": msmail.place,
    "netware_record": netware_record,
    "netware_service": netware_service,
    "notes_data_folder": notes_data_folder,
    "notes_path": notes_path,
    "notes_second_library": notes_second_library,
    "with_its_processes": running.with_its_processes,
}
"""What `function` of a check may name."""
