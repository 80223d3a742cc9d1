"""The lab answers each bundled script as its .ps1 file would, and refuses wrong calls as PowerShell does."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from exremote.lab.behaviour import ANSWERS, Behaviour, answer_of
from exremote.lab.files import Generated
from exremote.lab.machine import ENVIRONMENT, SERVICES, Machine, Share
from exremote.lab.registry import Kind
from exremote.lab.site import build_machine
from exremote.lab.wsman.engine import Call, ErrorRecord, Record, ScriptThrew
from exremote.pack import Outline, parse_listing
from exremote.script import ScriptLibrary

LIBRARY = ScriptLibrary.load()
CONNDATA = r"C:\Program Files\Exchsrvr\Conndata"
API = r"\\NWFS01\SYS\GWDOM\WPGATE\API"
CALL = Call(user="LAB\\tester", shell_id="SHELL-1")
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "int": (int,),
    "long": (int,),
    "string[]": (list,),
}


@pytest.fixture
def machine() -> Machine:
    return build_machine("EX01", "notes", "groupwise", "calendar")


def ask(machine: Machine, script: str, call: Call = CALL, **parameters: object) -> list[Record]:
    source = iter(parameters.pop("|", ()))  # type: ignore[call-overload] # what comes through the pipeline
    return list(Behaviour(machine, LIBRARY).run(LIBRARY.get(script).text, parameters, source, call))


def objects(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [record for record in records if isinstance(record, dict)]


def plain(records: Sequence[Record]) -> bytes:
    found = [record for record in records if isinstance(record, bytes)]
    opened = [zlib.decompress(one[1:], -15) if one[0] else one[1:] for one in found]
    pairs = zip(found, opened, strict=True)
    opened = [one.decode().encode("utf-16-le") if block[0] == 2 else one for block, one in pairs]
    assert all(0 < len(one) <= 262144 for one in opened)
    return b"".join(opened)


def names(*paths: str) -> str:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return base64.b64encode(packer.compress("\n".join(paths).encode()) + packer.flush()).decode()


def pack(data: bytes) -> Iterator[tuple[str, bytes]]:
    while data:
        (size,) = struct.unpack_from("<I", data, 1)
        yield chr(data[0]), data[5 : 5 + size]
        data = data[5 + size :]


CALLS: dict[str, dict[str, object]] = {
    "Get-HostFact": {"OnPath": ["nnotes.dll"], "ProcessName": ["Lsdxa.exe"]},
    "Copy-FileTree": {"Path": CONNDATA, "Staging": r"C:\exremote-x"},
    "Start-ServiceGuard": {"Folder": r"C:\exremote-g", "Service": ["LME-NOTES"], "Seconds": 60},
    "Get-FileFact": {"Path": [rf"{CONNDATA}\Exchconn.ini"]},
    "Get-FileTree": {"Path": CONNDATA},
    "Get-FileSecurity": {"Path": [CONNDATA], "Account": ["S-1-1-0"]},
    "Set-FileSecurity": {"Path": CONNDATA, "Lists": names("D:\tExchconn.ini")},
    "Read-FilePack": {"Path": CONNDATA, "Files": names("Exchconn.ini")},
    "Write-FilePack": {"Path": r"C:\WINDOWS\Temp\x", "Files": names("a")},
    "Get-RegistryValue": {"Value": [r"HKLM\SOFTWARE\Microsoft\Exchange\Setup|Services"]},
    "Export-RegistryKey": {"Key": r"HKLM\SOFTWARE\Lotus\Notes"},
    "Get-ServiceState": {"Name": ["LME-NOTES"]},
    "Test-ApiDirectory": {"Path": API, "Probe": True},
    "Connect-Share": {"Path": API, "UserName": "u", "Password": "p"},
    "Disconnect-Share": {"Path": API},
    "Remove-ScratchKey": {"Key": r"HKLM\SOFTWARE\exremote-drill-1"},
    "Get-ConnectorObject": {"Class": "msExchNotesConnector"},
    "Get-EventSummary": {"Source": ["MSExchangeGWRtr"], "SinceHours": 400},
    "Set-ServiceState": {"Name": "LME-NOTES", "State": "Stopped"},
    "Remove-WorkFile": {"Path": CONNDATA, "Pattern": ["*.seq"]},
    "Set-RegistryValue": {"|": [bytes(5)]},
    "Move-StagedFile": {
        "Staging": r"C:\exremote-1",
        "Path": CONNDATA,
        "Aside": r"C:\exremote-2",
        "Files": names("\t".join(["0" * 64, "1", "630000000000000000", "32", "a"])),
    },
    "Move-FileAside": {"Path": CONNDATA, "Aside": r"C:\exremote-2", "Files": names("lab1.seq")},
    "Remove-StagingFolder": {"Path": r"C:\exremote-1"},
    "Set-Folder": {"Path": CONNDATA, "Folders": names("empty")},
    "Start-NtBackupJob": {
        "Folder": r"C:\e\s",
        "Name": "j",
        "Selection": ["SystemState"],
        "Arguments": "backup",
    },
    "Start-NtBackupTask": {
        "Folder": r"C:\e\t",
        "Name": "j",
        "Selection": ["SystemState"],
        "Arguments": "backup",
    },
    "Get-NtBackupJob": {"Folder": r"C:\e\s"},
    "Read-TapeBlock": {"Path": rf"{CONNDATA}\Exchconn.ini"},
    "Remove-NtBackupJob": {"Folder": r"C:\e\s", "Name": "j"},
}


def test_every_script_has_a_behaviour_and_every_behaviour_a_script() -> None:
    own = {script.name for script in LIBRARY if "/" not in script.name}
    assert own | {"gateway/Test-HostShare", "gateway/Test-Approach"} == set(ANSWERS)
    assert own == set(CALLS)
    assert all(answer_of(script.name) for script in LIBRARY if script.name.startswith("gateway/"))


@pytest.mark.parametrize("script", sorted(CALLS))
def test_answers_have_exactly_the_properties_of_the_help(machine: Machine, script: str) -> None:
    promised = [dict(line) for line in LIBRARY.get(script).output_properties if line]
    answers = objects(ask(machine, script, **CALLS[script].copy()))
    assert answers
    for answer in answers:
        fitting = [line for line in promised if set(line) == set(answer)]
        assert fitting, (set(answer), promised)
        for name, kind in fitting[0].items():
            if kind in PYTHON_TYPES and answer[name] is not None:
                assert isinstance(answer[name], PYTHON_TYPES[kind]), name


def test_tree_listing_sorts_leaves_out_and_digests(machine: Machine) -> None:
    machine.files.find(rf"{CONNDATA}\Exchconn.ini").locked = True
    machine.files.find(rf"{CONNDATA}\Temp\Dxamex.txt").denied = True
    machine.files.find(rf"{CONNDATA}\Gwrouter\dirsync").denied = True
    machine.files.find(rf"{CONNDATA}\Gwrouter\tomex").attributes |= 0x400
    machine.files.write(rf"{CONNDATA}\Gwrouter\archive\a.api", b"x")
    machine.files.write(rf"{CONNDATA}\Gwrouter\togwise\b.api", b"x")
    exclude = ["*.SEQ", "LAB?.ck", r"gwrouter\archive\?*", r"Gwrouter\togwise\*", ""]
    records = ask(machine, "Get-FileTree", Path=CONNDATA + "\\", Exclude=exclude)
    text = plain(records).decode()
    lines = [line.split("\t") for line in text.splitlines()]
    marks = {line[4]: line[3] for line in lines}
    assert list(marks) == sorted(marks)
    assert marks["Exchconn.ini"] == "!ExRemote.FileLocked"
    assert marks[r"Temp\Dxamex.txt"] == "!ExRemote.AccessDenied"
    assert marks[r"Gwrouter\dirsync"] == "!ExRemote.AccessDenied"
    assert marks[r"Gwrouter\tomex"] == "r"
    assert marks["lab1.seq"] == "x"
    assert marks[r"Gwrouter\archive"] == "-"
    assert marks[r"Gwrouter\archive\a.api"] == "x"
    assert marks[r"Gwrouter\togwise"] == "x"
    assert r"Gwrouter\togwise\b.api" not in marks
    (answer,) = objects(records)
    kept = "".join(line + "\n" for line in text.splitlines() if line.split("\t")[3] != "x")
    assert answer["Digest"] == hashlib.sha256(kept.encode()).hexdigest()
    assert answer["Files"] == sum(line[0] != "-1" and line[3] != "x" for line in lines)
    known = Outline.of(parse_listing(text.encode()))
    again = ask(machine, "Get-FileTree", Path=CONNDATA, Exclude=exclude, Known=known.text)
    assert plain(again) == b""
    assert objects(again) == [{**answer, "Path": CONNDATA, "Changed": ""}]
    machine.files.write(rf"{CONNDATA}\zzz", b"new")
    (more,) = objects(found := ask(machine, "Get-FileTree", Path=CONNDATA, Exclude=exclude, Known=known.text))
    assert plain(found).decode().splitlines()[-1].endswith("\tzzz")
    assert known.filled(str(more["Changed"]), parse_listing(plain(found))).digest == more["Digest"]


def test_tree_without_hashes_missing_and_relative(machine: Machine) -> None:
    lines = plain(ask(machine, "Get-FileTree", Path=CONNDATA, NoHash=True)).decode().splitlines()
    assert {line.split("\t")[3] for line in lines} == {"-"}
    assert objects(ask(machine, "Get-FileTree", Path=r"C:\None"))[0]["Exists"] is False
    with pytest.raises(ScriptThrew) as threw:
        ask(machine, "Get-FileTree", Path="None")
    assert threw.value.record.error_id.split(",")[0] == "ExRemote.BadArgument"


def test_pack_holds_files_offsets_and_failures(machine: Machine) -> None:
    content = Generated(700_000, 9)
    machine.files.write(r"C:\P\big.bin", content, modified=77)
    machine.files.write(r"C:\P\locked.txt", b"x").locked = True
    machine.files.write(r"C:\P\gone.txt", b"x").vanishing = True
    machine.files.write(r"C:\P\live.txt", b"0123456789", modified=5).changing = 1
    files = names("big.bin", "locked.txt", "gone.txt", "live.txt")
    records = ask(machine, "Read-FilePack", Path=r"C:\P", Files=files, StartOffset=100_000)
    parts = list(pack(plain(records)))
    data = b"".join(content.chunks())
    assert struct.unpack("<IqqIq", parts[0][1]) == (0, 100_000, 77, 32, 700_000)
    end = next(place for place, (kind, _) in enumerate(parts) if kind == "E")
    assert b"".join(body for _, body in parts[1:end]) == data[100_000:]
    assert parts[end][1] == struct.pack("<qq", 700_000, 77) + hashlib.sha256(data[100_000:]).digest()
    failures = [
        (struct.unpack_from("<I", body)[0], body[4:].split(b"\t")[0]) for kind, body in parts if kind == "X"
    ]
    assert failures == [(1, b"ExRemote.FileLocked"), (2, b"ExRemote.FileMissing")]
    kind, body = parts[-2]
    assert kind == "E"
    assert struct.unpack_from("<qq", body)[1] > 5
    assert parts[-1] == ("Z", struct.pack("<I", 4))
    assert objects(records) == [{"Files": 2, "Bytes": 600_010, "Failed": 2}]
    late = ask(
        machine,
        "Read-FilePack",
        Path=r"C:\P",
        Files=names("big.bin", "live.txt"),
        StartIndex=1,
        StartOffset=99,
    )
    assert [kind for kind, _ in pack(plain(late))] == ["X", "Z"]


@pytest.mark.parametrize(
    ("script", "parameters", "error_id"),
    [
        ("Read-FilePack", {"Path": r"C:\None", "Files": names("a")}, "ExRemote.PathMissing"),
        ("Read-FilePack", {"Path": "C:\\", "Files": names(r"..\a")}, "ExRemote.BadArgument"),
        ("Read-FilePack", {"Path": "C:\\", "Files": names("C:a")}, "ExRemote.BadArgument"),
        ("Read-FilePack", {"Path": "C:\\"}, "MissingMandatoryParameter"),
        ("Read-FilePack", {"Pfad": "C:\\"}, "NamedParameterNotFound"),
        ("Read-FilePack", {"Start": 1}, "AmbiguousParameter"),
        (
            "Read-FilePack",
            {"Path": "", "Files": "x"},
            "ParameterArgumentValidationErrorEmptyStringNotAllowed",
        ),
        (
            "Read-FilePack",
            {"Path": "x", "Files": "x", "StartIndex": "y"},
            "ParameterArgumentTransformationError",
        ),
        ("Get-ServiceState", {"Name": []}, "ParameterArgumentValidationErrorEmptyArrayNotAllowed"),
        ("Get-EventSummary", {"Source": "x", "SinceHours": 0}, "ParameterArgumentValidationError"),
        ("Get-RegistryValue", {"Value": "SOFTWARE|x"}, "ExRemote.BadArgument"),
        ("Export-RegistryKey", {"Key": "HKLM"}, "ExRemote.BadArgument"),
        ("Get-ConnectorObject", {"Class": "a)(b=*"}, "ExRemote.BadArgument"),
        ("Connect-Share", {"Path": "C:\\", "UserName": "u", "Password": "p"}, "ExRemote.BadArgument"),
        (
            "Connect-Share",
            {"Path": r"\\no\where", "UserName": "u", "Password": "p"},
            "ExRemote.ShareUnreachable",
        ),
        ("Get-HostFact", {"0": "x", "1": "y", "2": "z"}, "PositionalParameterNotFound"),
    ],
)
def test_wrong_calls_fail_as_on_a_host(
    machine: Machine, script: str, parameters: dict[str, object], error_id: str
) -> None:
    with pytest.raises(ScriptThrew) as threw:
        ask(machine, script, **parameters)
    assert threw.value.record.error_id.split(",")[0] == error_id


def test_other_texts_are_named_as_such_and_may_be_registered(machine: Machine) -> None:
    behaviour = Behaviour(machine, LIBRARY)
    with pytest.raises(ScriptThrew) as threw:
        list(behaviour.run("Get-Process", {}, iter(()), CALL))
    assert threw.value.record.error_id == "ExRemoteLab.UnknownScript"
    behaviour.register("Get-Process", "helper", lambda *_: iter(["hello"]))
    assert list(behaviour.run("Get-Process", {}, iter(()), CALL)) == ["hello"]


def test_registry_values_of_all_kinds(machine: Machine) -> None:
    key = r"HKLM\SOFTWARE\Lab"
    machine.registry.set(key, "", "d")
    machine.registry.set(key, "n", -1)
    machine.registry.set(key, "b", b"\x00\xff")
    machine.registry.set(key, "m", ("a", "b"))
    machine.registry.make(r"HKLM\SOFTWARE\Shut").denied = True
    asked = [
        f"{key}|",
        f"{key}|N",
        f"{key}|b",
        f"{key}|m",
        f"{key}|none",
        r"HKLM\SOFTWARE\Shut|x",
        r"HKLM\None|x",
    ]
    records = ask(machine, "Get-RegistryValue", Value=asked)
    errors = [record for record in records if isinstance(record, ErrorRecord)]
    assert [error.error_id for error in errors] == ["ExRemote.KeyUnreadable"]
    found = [(one["KeyExists"], one["Exists"], one["Kind"], one["Text"]) for one in objects(records)]
    assert found == [
        (True, True, "String", "d"),
        (True, True, "DWord", "4294967295"),
        (True, True, "Binary", "00ff"),
        (True, True, "MultiString", "a\nb"),
        (True, False, "", ""),
        (False, False, "", ""),
    ]


def test_a_service_whose_key_is_closed_hides_no_other(machine: Machine) -> None:
    """It is answered for with what the service control manager says."""
    key = machine.registry.find(rf"{SERVICES}\LME-NOTES")
    assert key is not None
    key.denied = True
    found = objects(ask(machine, "Get-ServiceState", Name=["LME-NOTES", "LME-GWISE"]))
    assert [(one["Name"], one["State"], one["Readable"], one["StartMode"]) for one in found[:2]] == [
        ("LME-NOTES", "Running", False, "Unknown"),
        ("LME-GWISE", "Running", True, "Manual"),
    ]
    assert (found[0]["ImagePath"], found[0]["DependsOn"]) == ("", [])


def test_services_come_with_those_that_they_depend_on(machine: Machine) -> None:
    found = objects(ask(machine, "Get-ServiceState", Name=["lme-gwise", "NONE"], Title=["gateway SERVICE"]))
    assert [one["Name"] for one in found[:2]] == ["LME-GWISE", "NONE"]
    assert {one["Name"] for one in found[2:]} == {
        "Eventlog",
        "MSExchangeCoCo",
        "MSExchangeGWRtr",
        "NWCWorkstation",
    }


def test_files_on_the_path_are_found_in_every_case(machine: Machine) -> None:
    machine.registry.set(
        ENVIRONMENT, "Path", rf'%SystemRoot%;"C:\Lotus\Notes\";\\nwfs01\sys;D:\;{API}', Kind.ExpandString
    )
    machine.files.write(r"D:\NNOTES.dll", b"MZ")
    machine.files.write(rf"{API}\nnotes.dll", b"MZ")
    (fact,) = objects(ask(machine, "Get-HostFact", OnPath=["nnotes.dll"]))
    assert fact["OnPath"] == [r"C:\Lotus\Notes\nnotes.dll", r"D:\nnotes.dll"]
    assert objects(ask(machine, "Get-HostFact"))[0]["OnPath"] == []


def test_a_queue_file_that_is_fetched_meanwhile_does_not_count(machine: Machine) -> None:
    machine.files.write(rf"{API}\API_OUT\1.API", b"", modified=9).vanishing = True
    machine.files.write(rf"{API}\API_OUT\2.API", b"x", modified=10_000_000)
    machine.files.write(rf"{API}\API_OUT\3.API", b"", modified=20_000_000)
    queue = objects(ask(machine, "Test-ApiDirectory", Path=API))[1]
    assert (queue["Files"], queue["Bytes"], queue["ZeroByte"]) == (2, 1, 1)
    assert (queue["OldestUtc"].second, queue["OldestEmptyUtc"].second) == (1, 2)


def test_leftovers_are_told_apart_from_what_could_not_be_looked_at(machine: Machine) -> None:
    machine.files.write(rf"{API}\EXPR0007.TMP", b"exremote probe, older")
    machine.files.write(rf"{API}\EXPR0008.TMP", b"exremote probe, held").locked = True
    for probe in (False, True):
        last = objects(ask(machine, "Test-ApiDirectory", Path=API, Probe=probe))[-1]
        assert last["Leftovers"] == ["EXPR0007.TMP"]
        assert last["Cleared"] == (["EXPR0007.TMP"] if probe else [])
        assert last["LeftoverError"].startswith("EXPR0008.TMP: ")
        assert (last["Probed"], last["Removed"], last["ProbeError"]) == (probe, probe, "")
    machine.files.write(rf"{API}\EXPR0007.TMP", b"exremote probe, older")
    machine.shares[r"\\nwfs01\sys"] = Share(read_only=True)
    last = objects(ask(machine, "Test-ApiDirectory", Path=API, Probe=True))[-1]
    assert (last["Leftovers"], last["Cleared"], last["Written"]) == (["EXPR0007.TMP"], [], False)


def test_export_sends_what_it_digests(machine: Machine) -> None:
    records = ask(machine, "Export-RegistryKey", Key=r"HKLM\SOFTWARE\Lotus\Notes")
    data = plain(records)
    (answer,) = objects(records)
    assert answer["Sha256"] == hashlib.sha256(data).hexdigest()
    assert answer["Bytes"] == len(data)
    assert objects(ask(machine, "Export-RegistryKey", Key=r"HKLM\SOFTWARE\None"))[0]["Exists"] is False
    machine.files.full = True
    with pytest.raises(ScriptThrew, match="ExportFailed"):
        ask(machine, "Export-RegistryKey", Key=r"HKLM\SOFTWARE\Lotus\Notes")


def test_no_password_leaves_the_directory(machine: Machine) -> None:
    for name in ("msExchNotesConnector", "MSEXCHGROUPWISECONNECTOR", "msExchCalendarConnector"):
        (answer,) = objects(ask(machine, "Get-ConnectorObject", Class=name))
        assert "must-not-travel" not in str(answer)
        assert bool(answer["Withheld"]) == ("Calendar" not in name)
        assert all(line.split("=")[0].split(":")[0].islower() for line in answer["Attributes"])


def test_what_sounds_like_a_secret_is_withheld(machine: Machine) -> None:
    one = machine.objects[0]
    hidden = {name: ["canary-19"] for name in ("unicodePwd", "sharedSecretKey", "adminPassword")}
    machine.objects[0] = replace(one, attributes={**one.attributes, **hidden})
    answer = objects(ask(machine, "Get-ConnectorObject", Class=one.class_name))[0]
    assert "canary-19" not in str(answer)
    assert {name.lower() for name in hidden} <= set(answer["Withheld"])


def test_the_probe_leaves_nothing_and_takes_away_what_was_left(machine: Machine) -> None:
    machine.files.write(rf"{API}\EXPR0007.TMP", b"exremote probe, older")
    machine.files.write(rf"{API}\EXPR0008.TMP", b"somebody else's")
    before = objects(ask(machine, "Test-ApiDirectory", Path=API))[-1]
    assert (before["Probed"], before["Leftovers"]) == (False, ["EXPR0007.TMP"])
    after = objects(ask(machine, "Test-ApiDirectory", Path=API, Probe=True))[-1]
    assert (after["Written"], after["ReadBack"], after["Removed"], after["ProbeError"]) == (
        True,
        True,
        True,
        "",
    )
    assert [node.name for node in machine.files.find(API).children.values() if "EXPR" in node.name] == [
        "EXPR0008.TMP"
    ]
    machine.files.full = True
    full = objects(ask(machine, "Test-ApiDirectory", Path=API, Probe=True))[-1]
    assert (full["Written"], full["Removed"]) == (False, True)
    assert full["ProbeError"]


def test_a_share_with_accounts_opens_for_the_session_that_connected(machine: Machine) -> None:
    machine.shares[r"\\nwfs01\sys"] = Share({"EXCH": "right"})
    other = Call(user=CALL.user, shell_id="SHELL-2")
    assert objects(ask(machine, "Test-ApiDirectory", Path=API))[-1]["Exists"] is False
    with pytest.raises(ScriptThrew, match="ShareRefused"):
        ask(machine, "Connect-Share", Path=API, UserName="EXCH", Password="wrong")
    ask(machine, "Connect-Share", Path=API, UserName="exch", Password="right")
    assert objects(ask(machine, "Test-ApiDirectory", Path=API))[-1]["Exists"] is True
    assert objects(ask(machine, "Test-ApiDirectory", other, Path=API))[-1]["Exists"] is False
    ask(machine, "Disconnect-Share", Path=API)
    assert objects(ask(machine, "Test-ApiDirectory", Path=API))[-1]["Exists"] is False
