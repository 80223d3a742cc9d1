"""What each bundled script does to a simulated machine: one function a script.

A script is known by the digest of its text; what it answers is what the .ps1 file would answer on such a
host. Where the two differ, this file is wrong. It never runs any script text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import cast

from exremote.lab.behind import approach, host_fact_through, host_share, through
from exremote.lab.binding import Arguments, bind
from exremote.lab.copies import service_guard, tree_copy
from exremote.lab.deeds import registry_set, service_set, work_files_remove
from exremote.lab.folders import folder_set
from exremote.lab.gateway import api_directory, connect_share, disconnect_share
from exremote.lab.images import image_exists
from exremote.lab.machine import SERVICES, START_MODES, Machine
from exremote.lab.moves import aside_move, staged_move, staging_remove
from exremote.lab.ntbackup import get_job, remove_job, start_job, start_task
from exremote.lab.packing import BLOCK, seal_text
from exremote.lab.programs import file_fact
from exremote.lab.registry import HIVES, KeyDenied, Kind
from exremote.lab.registry import Value as RegistryValue
from exremote.lab.scratch import scratch_key_remove
from exremote.lab.security import file_security, security_set
from exremote.lab.tapeblocks import tape_block
from exremote.lab.trees import file_pack, file_tree, refused
from exremote.lab.writing import file_write
from exremote.lab.wsman.engine import Call, ErrorRecord, Long, Record, ScriptThrew
from exremote.script import Script, ScriptLibrary

Answer = Callable[[Machine, Arguments, Iterator[object], Call], Iterator[Record]]
"""Given a machine, bound parameters, pipeline input and the call, yield the records. Raise ScriptThrew."""

BODIES = "gateway/"
_HIDDEN = re.compile("password|pwd|secret", re.IGNORECASE)


def host_fact(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-HostFact: what a host says about itself."""
    control = r"HKLM\SYSTEM\CurrentControlSet\Control"
    registry = machine.registry
    fips = registry.number(rf"{control}\Lsa", "FIPSAlgorithmPolicy")
    fips = fips or registry.number(rf"{control}\Lsa\FIPSAlgorithmPolicy", "Enabled")
    path = machine.expand(registry.text(rf"{control}\Session Manager\Environment", "Path"))
    yield {
        "ComputerName": machine.name,
        "Domain": registry.text(rf"{SERVICES}\Tcpip\Parameters", "Domain"),
        "OSVersion": machine.os.version,
        "ServicePack": machine.os.service_pack,
        "ProductType": registry.text(rf"{control}\ProductOptions", "ProductType"),
        "Architecture": machine.os.architecture,
        "PowerShellVersion": machine.os.powershell,
        "ClrVersion": machine.os.clr,
        "SystemRoot": machine.os.system_root,
        "UtcNow": machine.now(),
        "StartedUtc": machine.started,
        "FipsPolicy": bool(fips),
        "UserName": call.user,
        "IsAdministrator": machine.administrator,
        "SystemPath": path,
        "Disks": [
            f"{disk.root}|{disk.kind}|{disk.format}|{disk.total}|{_free(machine, disk.free)}"
            for disk in machine.disks
        ],
        "OnPath": [
            rf"{folder}\{name}"
            for folder in (entry.strip().strip('"').rstrip("\\") for entry in path.split(";"))
            for name in arguments.texts("OnPath")
            if re.match(r"[A-Za-z]:(\\|$)", folder) and machine.files.is_file(rf"{folder}\{name}")
        ],
        "Processes": [name for name in arguments.texts("ProcessName") if machine.runs(name)],
    }


def _free(machine: Machine, free: int) -> int:
    return 0 if machine.files.full else free


def _registry_text(machine: Machine, value: RegistryValue) -> str:
    match value.data:
        case bytes():
            return value.data.hex()
        case int():
            return str(value.data & 0xFFFFFFFF if value.kind is Kind.DWord else value.data)
        case str():
            return machine.expand(value.data) if value.kind is Kind.ExpandString else value.data
        case texts:
            return "\n".join(texts)


def registry_value(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-RegistryValue: named values, each with its type."""
    for request in arguments.texts("Value"):
        key, bar, name = request.partition("|")
        hive, slash, _ = key.partition("\\")
        if not bar or not slash or hive.upper() not in HIVES:
            raise refused("ExRemote.BadArgument", f"'{request}' is not HIVE\\KEY|NAME.", "InvalidArgument")
        answer: dict[str, object] = {
            "Key": key,
            "Name": name,
            "KeyExists": False,
            "Exists": False,
            "Kind": "",
            "Text": "",
        }
        try:
            found = machine.registry.find(key)
        except KeyDenied:
            yield ErrorRecord(
                "ExRemote.KeyUnreadable",
                f"{key}: Requested registry access is not allowed.",
                "",
                "PermissionDenied",
            )
            continue
        if found is not None:
            answer["KeyExists"] = True
            value = found.values.get(name.lower())
            if value is not None:
                answer |= {"Exists": True, "Kind": value.kind.name, "Text": _registry_text(machine, value)}
        yield answer


def service_state(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-ServiceState: how services are, then those that they depend on, and those that are called so."""
    asked, titles = list(arguments.texts("Name")), arguments.texts("Title")
    programs = [part.lower() for part in arguments.texts("Program") if part]
    known = {name.lower() for name in asked}
    others = [one.name for one in machine.services.values() if one.name.lower() not in known]
    asked += sorted((name for name in others if programs and _runs(machine, name, programs)), key=str.upper)
    further = [
        one.name
        for one in machine.services.values()
        if any(_title(machine, one.name).lower().startswith(title.lower()) for title in titles if title)
    ]
    for name in asked:
        answer = _service(machine, name)
        further += cast("list[str]", answer["DependsOn"])
        yield answer
    named = {name.lower() for name in asked}
    for name in further:
        if name.lower() not in named:
            named.add(name.lower())
            yield _service(machine, name)


def _runs(machine: Machine, name: str, programs: Sequence[str]) -> bool:
    """Return whether a service has one of these parts in its command line, or may have."""
    try:
        image = machine.expand(machine.registry.text(rf"{SERVICES}\{name}", "ImagePath")).lower()
    except KeyDenied:
        return True
    return any(part in image for part in programs)


def _title(machine: Machine, name: str) -> str:
    try:
        return machine.registry.text(rf"{SERVICES}\{name}", "DisplayName")
    except KeyDenied:
        return name


def _service(machine: Machine, name: str) -> dict[str, object]:
    """Return what Get-ServiceState says of one service."""
    answer: dict[str, object] = {
        "Name": name,
        "Exists": False,
        "DisplayName": "",
        "State": "",
        "StartMode": "",
        "Account": "",
        "ImagePath": "",
        "ImageExists": False,
        "DependsOn": [],
        "Readable": True,
    }
    with machine.lock:
        state = machine.service_state(name)
        if state is None:
            return answer
        answer |= {
            "Name": machine.services[name.lower()].name,
            "Exists": True,
            "DisplayName": _title(machine, name),
            "State": state,
            "StartMode": "Unknown",
        }
        registry, key = machine.registry, rf"{SERVICES}\{name}"
        try:
            found = registry.find(key)
        except KeyDenied:
            found = None
        if found is None:
            return answer | {"Readable": False}
        start = registry.number(key, "Start", 9)
        depends = registry.get(key, "DependOnService")
        image = machine.expand(registry.text(key, "ImagePath"))
        return answer | {
            "StartMode": START_MODES[start] if 0 <= start <= 4 else "Unknown",
            "Account": registry.text(key, "ObjectName"),
            "ImagePath": image,
            "ImageExists": image_exists(machine, image),
            "DependsOn": [text for text in depends.data if text]
            if depends is not None and isinstance(depends.data, tuple)
            else [],
        }


def export_key(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Export-RegistryKey: one key as reg.exe writes it, by way of a temporary file."""
    key = arguments.text("Key")
    hive, slash, _ = key.rstrip("\\").partition("\\")
    if hive.upper() not in HIVES or not slash or '"' in key:
        raise refused("ExRemote.BadArgument", f"'{key}' is not HIVE\\KEY.", "InvalidArgument")
    answer: dict[str, object] = {"Key": key, "Exists": False, "Bytes": Long(0), "Sha256": ""}
    try:
        there = machine.registry.find(key) is not None
    except KeyDenied as error:
        message = f"{key}: Requested registry access is not allowed."
        raise refused("ExRemote.KeyUnreadable", message, "PermissionDenied") from error
    if not there:
        yield answer
        return
    try:
        data = machine.registry.export(key) if not machine.files.full else None
    except KeyDenied:
        data = None
    if data is None:
        raise refused("ExRemote.ExportFailed", "reg.exe ended with 1. ERROR: Unable to write to the file.")
    # Held until there is enough for an answer, as the script does.
    held: list[bytes] = []
    for start in range(0, len(data), BLOCK):
        held.append(seal_text(data[start : start + BLOCK]))
        if sum(map(len, held)) > BLOCK:
            yield from held
            held = []
    yield from held
    yield answer | {"Exists": True, "Bytes": Long(len(data)), "Sha256": hashlib.sha256(data).hexdigest()}


def connector_object(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-ConnectorObject: the objects of one class in the configuration partition, without passwords."""
    wanted = arguments.text("Class")
    if not re.fullmatch("[A-Za-z][A-Za-z0-9-]*", wanted):
        raise refused("ExRemote.BadArgument", f"'{wanted}' is not the name of a class.", "InvalidArgument")
    if not machine.directory_available:
        message = "The specified domain either does not exist or could not be contacted."
        raise refused("ExRemote.DirectoryUnavailable", message, "ResourceUnavailable")
    # A gateway asks the directory of the whole organisation, as each server of it does.
    for one in [o for each in (machine, *(b.machine for b in machine.behind.values())) for o in each.objects]:
        if one.class_name.lower() != wanted.lower():
            continue
        # A search gives names of attributes in lower case, whatever the schema says.
        attributes: dict[str, Sequence[str | bytes]] = {
            "distinguishedname": [one.name],
            "objectclass": ["top", one.class_name],
        }
        attributes |= {name.lower(): values for name, values in one.attributes.items()}
        lines: list[str] = []
        for name, values in sorted(attributes.items()):
            if _HIDDEN.search(name):
                continue
            for value in values:
                if isinstance(value, bytes):
                    lines.append(f"{name}:={base64.b64encode(value).decode()}")
                else:
                    lines.append(f"{name}={value}")
        yield {
            "Class": wanted,
            "DistinguishedName": one.name,
            "Attributes": lines,
            "Withheld": sorted(name for name in attributes if _HIDDEN.search(name)),
        }


def event_summary(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-EventSummary: events of named sources, counted by id, the newest first."""
    hours = arguments.number("SinceHours")
    if not 1 <= hours <= 8760:
        message = f"Cannot validate argument on parameter 'SinceHours'. The {hours} argument is out of range."
        raise ScriptThrew(ErrorRecord("ParameterArgumentValidationError", message, "", "InvalidData"))
    if not machine.event_log_available:
        message = "Cannot open log Application on machine '.'. Windows has not provided an error code."
        raise refused("ExRemote.EventLogUnavailable", message, "ResourceUnavailable")
    wanted = {name.lower() for name in arguments.texts("Source")}
    recent = [
        ([ago for ago in one.hours_ago if ago <= hours], one)
        for one in machine.events
        if one.source.lower() in wanted
    ]
    for ages, one in sorted((pair for pair in recent if pair[0]), key=lambda pair: min(pair[0])):
        yield {
            "Source": one.source,
            "EventId": one.event_id,
            "Level": one.level,
            "Count": Long(len(ages)),
            "LastUtc": (machine.now() - timedelta(hours=min(ages))).replace(microsecond=0),
            "Message": one.message[:300],
        }


ANSWERS: Mapping[str, Answer] = {
    "Get-HostFact": host_fact,
    "Copy-FileTree": tree_copy,
    "Start-ServiceGuard": service_guard,
    "Get-FileFact": file_fact,
    "Get-FileSecurity": file_security,
    "Set-FileSecurity": security_set,
    "Get-FileTree": file_tree,
    "Read-FilePack": file_pack,
    "Write-FilePack": file_write,
    "Get-RegistryValue": registry_value,
    "Export-RegistryKey": export_key,
    "Get-ServiceState": service_state,
    "Test-ApiDirectory": api_directory,
    "Connect-Share": connect_share,
    "Disconnect-Share": disconnect_share,
    "Get-ConnectorObject": connector_object,
    "Get-EventSummary": event_summary,
    "Set-ServiceState": service_set,
    "Remove-ScratchKey": scratch_key_remove,
    "Remove-WorkFile": work_files_remove,
    "Set-RegistryValue": registry_set,
    "Move-StagedFile": staged_move,
    "Move-FileAside": aside_move,
    "Set-Folder": folder_set,
    "Remove-StagingFolder": staging_remove,
    "Start-NtBackupJob": start_job,
    "Start-NtBackupTask": start_task,
    "Get-NtBackupJob": get_job,
    "Remove-NtBackupJob": remove_job,
    "gateway/Test-HostShare": host_share,
    "gateway/Test-Approach": approach,
    "Read-TapeBlock": tape_block,
}
"""By the name of the script; what a gateway answers for another host is what that would answer itself."""


def answer_of(name: str) -> Answer | None:
    """Return what a script does, by its name; None if the lab does not know."""
    own = name.removeprefix(BODIES)
    if name in ANSWERS or own not in ANSWERS or own == name:
        return ANSWERS.get(name)
    return host_fact_through(host_fact) if own == "Get-HostFact" else through(ANSWERS[own])


def digest(text: str) -> str:
    """Return the identity of a script's text, whatever its line endings are."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


class Behaviour:
    """One machine as it answers scripts."""

    def __init__(self, machine: Machine, library: ScriptLibrary) -> None:
        self.machine = machine
        self._library = library
        self._helpers: dict[str, tuple[str, Answer | None]] = {}

    def register(self, text: str, name: str, answer: Answer) -> None:
        """Know one more script, of another client say; its parameters come unchecked, by their names."""
        self._helpers[digest(text)] = name, answer

    def script_of(self, text: str) -> Script | None:
        """Return the bundled script of this text, or None."""
        return self._library.by_digest(digest(text))

    def name_of(self, text: str) -> str:
        """Return the name of the script of this text, or an empty one."""
        script = self.script_of(text)
        return script.name if script is not None else self._helpers.get(digest(text), ("", None))[0]

    def run(
        self, text: str, parameters: Mapping[str, object], source: Iterator[object], call: Call
    ) -> Iterator[Record]:
        """Answer one script.

        Raise ScriptThrew where the script, or PowerShell itself, would end with an error.
        """
        script = self.script_of(text)
        if script is None:
            _, helper = self._helpers.get(digest(text), ("", None))
            if helper is None:
                raise ScriptThrew(
                    ErrorRecord(
                        "ExRemoteLab.UnknownScript",
                        f"The simulated host knows the bundled scripts, and this is none: {text[:120]!r}",
                    )
                )
            yield from helper(self.machine, Arguments(parameters), source, call)
            return
        answer = answer_of(script.name)
        if answer is None:
            raise ScriptThrew(
                ErrorRecord("ExRemoteLab.NoBehaviour", f"The lab does not know what {script.name} does.")
            )
        yield from answer(self.machine, bind(parameters, script.parameters), source, call)
