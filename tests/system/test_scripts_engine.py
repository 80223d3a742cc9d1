"""Every bundled script, run for real by Microsoft's PowerShell engine on a throw-away Windows (Wine).

The calls travel in one process, over the WinRS wire's own far end (wire/Receive-Call): bootstrap on the
command line, base64 on standard input, CLIXML on standard output. What comes back is decoded by a few lines
here, which share nothing with exremote.pack or exremote.transport: two sides cannot agree on one mistake.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import shlex
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from exremote.lab.tape import TapeFile, TapeSet, tape
from exremote.lab.tapeblocks import pieces
from exremote.lab.wine import winlab
from exremote.pack import seal_settings
from exremote.regfile import parse as parse_reg
from exremote.script import ScriptLibrary

ENGINE = shlex.split(os.environ.get("EXREMOTE_LAB_POWERSHELL", ""))
pytestmark = [
    pytest.mark.wine,
    pytest.mark.skipif(
        not ENGINE, reason="EXREMOTE_LAB_POWERSHELL is not set: no PowerShell engine to run with"
    ),
    pytest.mark.skipif(
        bool(ENGINE) and (Path(ENGINE[0]).name != "psengine" or ENGINE[1:] != ["wine"]),
        reason="these tests furnish a Windows of their own, which only `psengine wine` gives",
    ),
]

LIBRARY = ScriptLibrary.load()
BOOTSTRAP = next(
    line.strip() for line in LIBRARY.get("wire/Receive-Call").text.splitlines() if "@($input)-join''" in line
)
BOOTSTRAP_B64 = base64.b64encode(BOOTSTRAP.encode("utf-16-le")).decode()
TICKS_1970 = 621355968000000000

Call = tuple[str, dict[str, object]]
"""Name of a script, or the text of one (it has line feeds), and its parameters; `|` is its pipeline."""


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass(frozen=True)
class Secret:
    value: str


def argument(name: str, value: object) -> str:
    match value:
        case bool():
            return f"{name}:b:{b64('true' if value else 'false')}"
        case int():
            return f"{name}:{'i' if abs(value) < 2**31 else 'l'}:{b64(str(value))}"
        case str():
            return f"{name}:s:{b64(value)}"
        case Secret():
            return f"{name}:p:{b64(value.value)}"
        case list():
            return f"{name}:a:" + "".join(f".{b64(item)}" for item in value)
    raise AssertionError(value)


def payload(calls: list[Call]) -> str:
    """Several payloads behind each other in one text: each ends with its own ExremoteEnd."""
    receive, texts = LIBRARY.get("wire/Receive-Call").text, []
    for name, values in calls:
        text = f"& {{\n{receive}\n}} -Script '{b64(name if chr(10) in name else LIBRARY.get(name).text)}'"
        if arguments := [argument(*item) for item in values.items() if item[0] != "|"]:
            text += " -Parameter " + ",".join(f"'{one}'" for one in arguments)
        if source := values.get("|"):
            assert isinstance(source, list)
            text += " -Source " + ",".join(f"'{one}'" for one in source)
        texts.append(text)
    return "\n".join(texts)


def unescape(text: str) -> str:
    units = re.sub("_x([0-9A-Fa-f]{4})_", lambda match: chr(int(match[1], 16)), text)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def value(node: ElementTree.Element) -> object:
    match node.tag.rpartition("}")[2]:
        case "S":
            text = unescape(node.text or "")  # CLIXML's own escaping; below it there must be ASCII only
            assert all(" " <= char <= "~" for char in text), text
            return unescape(text)
        case "BA":
            return base64.b64decode(node.text or "")
        case "B":
            return node.text == "true"
        case "I32" | "I64":
            return int(node.text or "")
        case "DT":
            moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d", r"\1", node.text or ""))
            assert moment.tzinfo is not None and moment.utcoffset() == UTC.utcoffset(None), (
                "a time not in UTC"
            )
            return moment
        case "Nil":
            return None
        case "Obj":
            if (items := node.find("{*}LST")) is not None:
                return [value(item) for item in items]
            if (bag := node.find("{*}MS")) is not None:
                return {item.attrib["N"]: value(item) for item in bag}
    raise AssertionError(f"a record of no kind that the contract knows: {ElementTree.tostring(node)[:300]!r}")


@dataclass
class Answer:
    """The records of one call."""

    records: list[object] = field(default_factory=list)
    errors: list[dict[str, object]] = field(default_factory=list)

    @property
    def objects(self) -> list[dict[str, object]]:
        return [one for one in self.records if isinstance(one, dict)]

    @property
    def last(self) -> dict[str, object]:
        assert not self.errors, self.errors
        assert isinstance(self.records[-1], dict)
        return self.records[-1]

    @property
    def blocks(self) -> list[bytes]:
        return [one for one in self.records if isinstance(one, bytes)]

    @property
    def plain(self) -> bytes:
        opened = [block[1:] if block[0] == 0 else zlib.decompress(block[1:], -15) for block in self.blocks]
        pairs = zip(self.blocks, opened, strict=True)
        opened = [one.decode().encode("utf-16-le") if block[0] == 2 else one for block, one in pairs]
        assert all(0 < len(one) <= 262144 for one in opened)
        return b"".join(opened)

    @property
    def error(self) -> str:
        assert len(self.errors) == 1, (self.errors, self.records)
        return str(self.errors[0]["ErrorId"]).partition(",")[0]


class Windows:
    """A Wine prefix of this module's own."""

    def __init__(self, folder: Path) -> None:
        self.environment = dict(os.environ, WINEPREFIX=str(folder))
        ready = subprocess.run(
            [ENGINE[0], "prefix"], capture_output=True, text=True, check=True
        ).stdout.strip()
        if subprocess.run(["cp", "-al", ready, folder], capture_output=True).returncode:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run(["cp", "-a", ready, folder], check=True)
        for registry in Path(ready).glob("*.reg"):
            (folder / registry.name).unlink()
            shutil.copy2(registry, folder)
        self.drive = folder / "drive_c"

    def run(self, *calls: Call) -> list[Answer]:
        text = b64(payload(list(calls)))
        process = subprocess.run(
            [
                *ENGINE,
                "-NoProfile",
                "-NonInteractive",
                "-OutputFormat",
                "XML",
                "-EncodedCommand",
                BOOTSTRAP_B64,
            ],
            input="".join(f"{text[at : at + 8000]}\n" for at in range(0, len(text), 8000)).encode(),
            capture_output=True,
            env=self.environment,
            timeout=240,
        )
        head, _, document = process.stdout.partition(b"\n")
        assert head.strip() == b"#< CLIXML", (head, process.stderr[-2000:])
        answers = [Answer()]
        try:
            nodes = ElementTree.fromstring(document.strip())
        except ElementTree.ParseError as error:
            tail = (process.returncode, document[-1500:], process.stderr[-3000:])
            raise AssertionError(f"{error}: {tail}") from None
        for node in nodes:
            if (node.text or "").startswith("What if:"):
                continue  # said by the host, not by the script
            record = value(node)
            if isinstance(record, dict) and record.get("ExremoteError"):
                answers[-1].errors.append(record)
            elif record == {"ExremoteEnd": True}:
                answers.append(Answer())
            else:
                answers[-1].records.append(record)
        assert not answers.pop().records, "records behind the last ExremoteEnd"
        assert len(answers) == len(calls), process.stderr[-2000:]
        return answers

    def tool(self, *command: str) -> None:
        subprocess.run(
            [ENGINE[0], "wine-run", *command],
            env=self.environment,
            capture_output=True,
            check=True,
            timeout=60,
        )

    def stop(self) -> None:
        subprocess.run([ENGINE[0], "wine-stop"], env=self.environment, capture_output=True, timeout=60)


def packed(*names: str) -> str:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(deflater.compress("\n".join(names).encode()) + deflater.flush()).decode()


@dataclass
class File:
    index: int
    offset: int
    begun: tuple[int, ...]
    data: bytes = b""
    end: tuple[int, int, str] | None = None


def unpack(plain: bytes) -> tuple[dict[int, File], dict[int, tuple[str, str]], int]:
    files: dict[int, File] = {}
    errors: dict[int, tuple[str, str]] = {}
    at, count, now = 0, 0, File(-1, 0, ())
    while at < len(plain):
        kind, length = struct.unpack_from("<cI", plain, at)
        body = plain[at + 5 : at + 5 + length]
        assert len(body) == length
        at += 5 + length
        match kind:
            case b"F":
                index, offset, *rest = struct.unpack("<IqqIq", body)
                now = files[index] = File(index, offset, tuple(rest))
                count += 1
            case b"D":
                assert body
                now.data += body
            case b"E":
                size, ticks, digest = struct.unpack("<qq32s", body)
                now.end = (size, ticks, digest.hex())
            case b"X":
                name, _, message = body[4:].decode().partition("\t")
                errors[struct.unpack_from("<I", body)[0]] = (name, message)
                count += 1
            case b"Z":
                assert struct.unpack("<I", body) == (count,)
                assert at == len(plain)
                return files, errors, count
            case _:
                raise AssertionError(kind)
    raise AssertionError("no end of the pack")


def ticks(path: Path) -> int:
    return path.stat().st_mtime_ns // 100 + TICKS_1970


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


TREE = r"C:\exr\Conndata"
WORDS = ("Ein Satz, der sich wiederholt. " * 40000).encode()
NOISE = hashlib.shake_256(b"noise").digest(3_000_000)

LOCK = r"""
param()
$global:held = [IO.File]::Open('C:\exr\Conndata\locked.dat', 'Open', 'Read', 'None')
$global:probe = [IO.File]::Open('C:\exr\API2\EXPR0010.TMP', 'Open', 'Read', 'None')
$global:shared = [IO.File]::Open('C:\exr\Conndata\open.log', 'Open', 'ReadWrite', 'ReadWrite, Delete')
function Set-Value($Name, $Value, $Kind) {
    [Microsoft.Win32.Registry]::SetValue('HKEY_LOCAL_MACHINE\SOFTWARE\exr', $Name, $Value, $Kind)
}
Set-Value 'Text' ('M' + [char]0xFC + 'ller _x0041_') 'String'
Set-Value '' 'the default' 'String'
Set-Value 'Expand' '%SystemRoot%\x' 'ExpandString'
Set-Value 'Many' ([string[]]@('a', 'b')) 'MultiString'
Set-Value 'Bytes' ([byte[]]@(0, 171, 255)) 'Binary'
Set-Value 'Word' -1 'DWord'
[Microsoft.Win32.Registry]::SetValue('HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\LME-TEST',
    'DependOnService', [string[]]@('MSExchangeCoCo', 'EventLog'), 'MultiString')
[Microsoft.Win32.Registry]::LocalMachine.DeleteSubKeyTree('SYSTEM\CurrentControlSet\Services\LME-BARE')
"""
ECHO = """
[CmdletBinding()]
param([string]$Text, [string[]]$Many, [string[]]$None, [int]$Number, [long]$Long, [switch]$Flag,
    [Security.SecureString]$Password, [Parameter(ValueFromPipeline = $true)] $Item)
process { if ($null -ne $Item) { "item " + $Item.GetType().Name + " $Item" } }
end {
    New-Object PSObject -Property @{ Text = $Text; Many = $Many; None = $None.Length; Number = $Number
        Long = $Long
        Flag = [bool]$Flag; Password = $Password.Length; Now = [DateTime]::UtcNow; Nothing = $null }
    , (New-Object byte[] 20971520)
    $Text
    [int]7
}
"""
SOFT = """
[CmdletBinding()]
param()
$ErrorActionPreference = 'Stop'
$text = 'nicht t' + [char]0xF6 + 'dlich'
Write-Error -ErrorId 'ExRemote.Soft' -Category ObjectNotFound -ErrorAction Continue -Message $text
'and on'
Write-Error -ErrorId 'ExRemote.Hard' -Category PermissionDenied -Message 'Ende'
'never'
"""
THROW = """
[CmdletBinding()]
param()
$PSCmdlet.ThrowTerminatingError((New-Object Management.Automation.ErrorRecord (
    (New-Object InvalidOperationException 'no'), 'ExRemote.Thrown', 'InvalidOperation', $null)))
"""
EXISTS = "param([string[]]$Path)\n$Path | ForEach-Object { [IO.File]::Exists($_) }\n"


def furnish(drive: Path) -> None:
    """A tree with everything that makes trees hard."""
    root = drive / "exr" / "Conndata"
    for name, data in {
        "a.txt": b"alpha",
        "a b.txt": b"with a space",
        "empty.dat": b"",
        "Mapnotes.tbl": WORDS,
        "noise.bin": NOISE,
        "Zürich 日本 \U0001f4ec.txt": b"names",
        "locked.dat": b"nobody may",
        "open.log": b"being written",
        "0001.seq": b"1",
        "Tables/deep/corr.db": b"table",
        "Gwrouter/archive/old.api": b"huge",
        "Gwrouter/togwise/x.api": b"WPC-API",
        "[x]/y.txt": b"brackets",
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, ns=(1_000_000_000_123_456_700, 1_000_000_000_123_456_700))
    (root / "void").mkdir()
    (drive / "exr" / "tapes").mkdir()
    for name, data in TAPES.items():
        (drive / "exr" / "tapes" / f"{name}.bkf").write_bytes(data)
    (root / "elsewhere").symlink_to(drive / "windows")
    deep = root / "deep"
    for _ in range(30):
        deep /= "directory"
    deep.mkdir(parents=True)
    (deep / "far.txt").write_bytes(b"far")
    api = drive / "exr" / "API"
    for queue in ("API_IN", "API_OUT", "ATT_IN", "ATT_OUT", "GWHOLD"):
        (api / queue).mkdir(parents=True)
    (api / "API_OUT" / "36ED2937.API").write_bytes(b"WPC-API= 1.2;")
    (api / "API_OUT" / "36ED2938.API").write_bytes(b"")
    os.utime(api / "API_OUT" / "36ED2938.API", (1_000_000_000, 1_000_000_000))
    (api / "EXPR0007.TMP").write_bytes(b"exremote probe, left behind")
    (api / "EXPR0008.TMP").write_bytes(b"somebody else's")
    (api / "Gwcorr.db").write_bytes(b"db")
    other = drive / "exr" / "API2"
    other.mkdir()
    for name in ("EXPR0009.TMP", "EXPR0010.TMP", "EXPR0011.TMP"):
        (other / name).write_bytes(b"exremote probe, left behind")
    (other / "EXPR0009.TMP").chmod(0o444)
    programs = drive / "Program Files" / "Exchsrvr" / "bin"
    programs.mkdir(parents=True)
    (programs / "Dispatch.exe").write_bytes(b"MZ")


VANISHING = LIBRARY.get("Test-ApiDirectory").text.replace(
    "$folder.GetFiles()", r"@([IO.FileInfo]'C:\exr\API\API_OUT\GONE.API') + $folder.GetFiles()"
)
"""A file that the listing names is gone at the next look: .NET 2.0 keeps no size of it."""

ENTRY = "New-Object PSObject -Property @{{ TimeGenerated = [DateTime]::Now.AddHours({hours}); {more} }}"


def faked_log(old: int) -> str:
    """Return Get-EventSummary over a log of its own, from the oldest entry to the newest: one of an hour ago,
    `old` entries of a wrong clock, and one of now.
    """
    more = "Source = 'MSExchangeNOTES'; InstanceId = [long]{id}; Message = 'm{id}'; EntryType = 'Error'"
    made = (
        "$log, $entries = (New-Object IO.MemoryStream), (New-Object Collections.ArrayList)\n"
        f"    [void]$entries.Add(({ENTRY.format(hours=-1, more=more.format(id=41205))}))\n"
        f"    foreach ($n in 1..{old}) "
        f"{{ [void]$entries.Add(({ENTRY.format(hours=-50, more=more.format(id=1))})) }}\n"
        f"    [void]$entries.Add(({ENTRY.format(hours=0, more=more.format(id=1073783041))}))\n"
    )
    text = LIBRARY.get("Get-EventSummary").text
    real = "$log = New-Object Diagnostics.EventLog 'Application'\n    $entries = $log.Entries\n"
    assert real in text
    return text.replace(real, made)


def tapes() -> dict[str, bytes]:
    """Return tape files, good and spoilt, of the lab and of winlab's ntbackup."""
    golden = gzip.decompress((Path(__file__).parents[1] / "data/tapes/files-eotm.bkf.gz").read_bytes())
    files = [TapeFile("SOFTWARE.reg", b"key" * 999, "Registry"), TapeFile("odd", b"xyz" * 30_001)]
    made = tape(
        [TapeSet("System State", "System State", files)] * 2, media="m", machine="EX01",
        when=datetime(2026, 11, 22, 13, 59, 7), sums=True,
    )  # fmt: skip
    at = made.index(b"STAN")
    return {
        "golden": golden,
        "made": made,
        "empty": b"",
        "cut in a header": golden[:30],
        "cut in data": made[: at + 500],
        "grown": made + bytes(3000),
        "another length": made[: at + 8] + b"\x40" + made[at + 9 :],
        "without end": made[: at + 15] + b"\xff" + made[at + 16 :],
        "without SPAD": made[:at] + bytes(4) + made[at + 4 :],
    }


TAPES = tapes()
KEY = r"HKLM\SOFTWARE\exr"
NAMES = [
    "a.txt",
    "noise.bin",
    "locked.dat",
    "gone.txt",
    "Mapnotes.tbl",
    "empty.dat",
    "Zürich 日本 \U0001f4ec.txt",
    "open.log",
]
VALUES = [f"{KEY}|{name}" for name in ("Text", "", "Expand", "Many", "Bytes", "Word", "Missing")]
API = r"C:\exr\API"
CALLS: dict[str, Call] = {
    "stage": (LOCK, {}),
    "echo": (
        ECHO,
        {
            "Text": "日本語 äöü _x0041_ _X \t\r\n\U0001f4ec",
            "Many": ["", "ß"],
            "None": [],
            "Number": -5,
            "Long": 5_000_000_000,
            "Flag": True,
            "Password": Secret("geheim ü"),
            "|": [f"s:{b64('ä')}", f"i:{b64('3')}", "y:" + base64.b64encode(b"abc").decode()],
        },
    ),
    "soft": (SOFT, {}),
    "throw": (THROW, {}),
    "broken": ("param(\n", {}),
    "unknown parameter": ("Get-HostFact", {"Nonsense": 1}),
    "host": ("Get-HostFact", {}),
    "host path": ("Get-HostFact", {"OnPath": ["REG.exe", "nnotes.dll", "a|b"]}),
    "host processes": ("Get-HostFact", {"ProcessName": ["SERVICES.exe", "Lsdxa.exe"]}),
    "registry": ("Get-RegistryValue", {"Value": [*VALUES, r"HKLM\SOFTWARE\nowhere|x"]}),
    "registry bad": ("Get-RegistryValue", {"Value": ["HKLM|x"]}),
    "services": ("Get-ServiceState", {"Name": ["lme-test", "LME-GHOST"]}),
    "services bare": ("Get-ServiceState", {"Name": ["LME-BARE", "LME-TEST"]}),
    "services titled": ("Get-ServiceState", {"Name": ["eventlog"], "Title": ["WINDOWS ", "Event"]}),
    "tree": ("Get-FileTree", {"Path": TREE, "Exclude": ["*.seq", r"gwrouter\ARCHIVE\*"]}),
    "tree again": ("Get-FileTree", {"Path": TREE + "\\", "Exclude": ["*.SEQ", r"Gwrouter\archive\*"]}),
    "tree unhashed": (
        "Get-FileTree",
        {"Path": TREE, "NoHash": True, "Exclude": [r"Gwrouter\*.api", "?.txt"]},
    ),
    "tree known": ("Get-FileTree", {"Path": r"C:\exr\API", "Known": packed("0" * 32 + "\tzzz")}),
    "tree missing": ("Get-FileTree", {"Path": r"C:\exr\nowhere"}),
    "tree relative": ("Get-FileTree", {"Path": "exr"}),
    "pack": ("Read-FilePack", {"Path": TREE, "Files": packed(*NAMES)}),
    "pack resumed": (
        "Read-FilePack",
        {"Path": TREE, "Files": packed(*NAMES), "StartIndex": 1, "StartOffset": 2_900_001},
    ),
    "pack shorter": ("Read-FilePack", {"Path": TREE, "Files": packed("a.txt"), "StartOffset": 6}),
    "pack missing": ("Read-FilePack", {"Path": r"C:\exr\nowhere", "Files": packed("a")}),
    "pack outside": ("Read-FilePack", {"Path": TREE, "Files": packed(r"..\API\Gwcorr.db")}),
    **{f"tape {name}": ("Read-TapeBlock", {"Path": rf"C:\exr\tapes\{name}.bkf"}) for name in TAPES},
    "tape missing": ("Read-TapeBlock", {"Path": r"C:\exr\tapes\none.bkf"}),
    "tape relative": ("Read-TapeBlock", {"Path": "none.bkf"}),
    "tape locked": ("Read-TapeBlock", {"Path": r"C:\exr\Conndata\open.log"}),
    "export": ("Export-RegistryKey", {"Key": KEY}),
    "export missing": ("Export-RegistryKey", {"Key": KEY + r"\nowhere"}),
    "export bad": ("Export-RegistryKey", {"Key": "HKLM"}),
    "export whatif": ("Export-RegistryKey", {"Key": KEY, "WhatIf": True}),
    "directory": ("Get-ConnectorObject", {"Class": "msExchGroupWiseConnector"}),
    "directory bad": ("Get-ConnectorObject", {"Class": "x)(objectClass=*"}),
    "api": ("Test-ApiDirectory", {"Path": API}),
    "api whatif": ("Test-ApiDirectory", {"Path": API, "Probe": True, "WhatIf": True}),
    "api probe": ("Test-ApiDirectory", {"Path": API, "Probe": True}),
    "api leftovers": ("Test-ApiDirectory", {"Path": r"C:\exr\API2"}),
    "api leftovers probe": ("Test-ApiDirectory", {"Path": r"C:\exr\API2", "Probe": True}),
    "api vanishing": (VANISHING, {"Path": API}),
    "api missing": ("Test-ApiDirectory", {"Path": r"C:\exr\nowhere", "Probe": True}),
    "connect": ("Connect-Share", {"Path": r"\\NOWHERE\SYS\x", "UserName": "u", "Password": Secret("p")}),
    "connect bad": ("Connect-Share", {"Path": "C:\\", "UserName": "u", "Password": Secret("p")}),
    "connect whatif": (
        "Connect-Share",
        {"Path": r"\\NOWHERE\SYS", "UserName": "u", "Password": Secret("p"), "WhatIf": True},
    ),
    "disconnect whatif": ("Disconnect-Share", {"Path": r"\\NOWHERE\SYS", "WhatIf": True}),
    "scratch whatif": ("Remove-ScratchKey", {"Key": r"HKLM\SOFTWARE\exremote-drill-1", "WhatIf": True}),
    "scratch": ("Remove-ScratchKey", {"Key": r"HKLM\SOFTWARE\exremote-drill-1"}),
    "scratch bad": ("Remove-ScratchKey", {"Key": r"HKLM\SOFTWARE\Lotus"}),
    "disconnect": ("Disconnect-Share", {"Path": r"\\NOWHERE\SYS"}),
    "events": ("Get-EventSummary", {"Source": ["MSExchangeNOTES"], "SinceHours": 24}),
    "events past old ones": (faked_log(999), {"Source": ["msexchangenotes"], "SinceHours": 24}),
    "events behind too many old ones": (faked_log(1000), {"Source": ["MSExchangeNOTES"], "SinceHours": 24}),
}
JOB = {"Folder": r"C:\exr-job", "Name": "job-1", "Selection": ["SystemState"], "Arguments": "backup x"}
GUARD = {"Folder": r"C:\exremote-guard-x", "Service": ["LME-TEST"], "Seconds": 60}
SCRATCH = r"HKLM\SOFTWARE\exremote-behind"
SETTINGS = [
    (SCRATCH, "Text", 1, "a\0".encode("utf-16-le")),
    (SCRATCH, "Word", 4, bytes(4)),
    (SCRATCH, "None", 0, b"x"),
]
BEHIND: dict[str, Call] = {
    "host": ("gateway/Get-HostFact", {"OnPath": ["REG.exe", "nnotes.dll"]}),
    "registry": ("gateway/Get-RegistryValue", CALLS["registry"][1]),
    "registry bad": ("gateway/Get-RegistryValue", {"Value": [r"HKCU\x|y"]}),
    "services": ("gateway/Get-ServiceState", CALLS["services"][1]),
    "services run by": ("gateway/Get-ServiceState", {"Name": ["Eventlog"], "Program": ["dispatch.EXE"]}),
    "export": ("gateway/Export-RegistryKey", {"Key": KEY}),
    "export missing": ("gateway/Export-RegistryKey", {"Key": KEY + r"\nowhere"}),
    "export bad": ("gateway/Export-RegistryKey", {"Key": r"HKCU\x"}),
    "events": ("gateway/Get-EventSummary", CALLS["events"][1]),
    "disabled": ("gateway/Set-ServiceState", {"Name": "LME-TEST", "StartMode": "Disabled"}),
    "manual": ("gateway/Set-ServiceState", {"Name": "LME-TEST", "StartMode": "Manual", "State": "Stopped"}),
    "no service": ("gateway/Set-ServiceState", {"Name": "LME-GHOST", "State": "Running"}),
    "set": (
        "gateway/Set-RegistryValue",
        {"|": [f"y:{base64.b64encode(b).decode()}" for b in seal_settings(SETTINGS)]},
    ),
    "as set": ("gateway/Export-RegistryKey", {"Key": SCRATCH}),
    "scratch whatif": ("gateway/Remove-ScratchKey", {"Key": SCRATCH, "WhatIf": True}),
    "scratch": ("gateway/Remove-ScratchKey", {"Key": SCRATCH}),
    "scratch again": ("gateway/Remove-ScratchKey", {"Key": SCRATCH}),
    "scratch bad": ("gateway/Remove-ScratchKey", {"Key": r"HKLM\SOFTWARE\Lotus"}),
    "job whatif": ("gateway/Start-NtBackupJob", {**JOB, "WhatIf": True}),
    "job direct": ("gateway/Start-NtBackupJob", {**JOB, "Start": "Direct"}),
    "job there": ("gateway/Start-NtBackupJob", {**JOB, "Folder": r"C:\exr\API"}),
    "job bad": ("gateway/Get-NtBackupJob", {"Folder": "x"}),
    "remove": ("gateway/Remove-NtBackupJob", {"Folder": r"C:\exr-job", "Name": "job-1"}),
    "guard whatif": ("gateway/Start-ServiceGuard", {**GUARD, "WhatIf": True}),
    "guard bad": ("gateway/Start-ServiceGuard", {**GUARD, "Folder": r"C:\guard"}),
    "log of a ghost": ("gateway/Get-EventSummary", {**CALLS["events"][1], "ComputerName": "NOWHERE"}),
    "shares": ("gateway/Test-HostShare", {"Share": ["C$", "Q$"]}),
    "approach": ("gateway/Test-Approach", {}),
    **{
        f"{name} nowhere": (f"gateway/{name}", {"ComputerName": "NOWHERE", **more})
        for name, more in {
            "Get-HostFact": {},
            "Get-RegistryValue": {"Value": VALUES},
            "Get-ServiceState": {"Name": ["x"]},
            "Set-ServiceState": {"Name": "x"},
            "Export-RegistryKey": {"Key": KEY},
            "Set-RegistryValue": {"|": ["y:AAQAAAA="]},
            "Remove-ScratchKey": {"Key": SCRATCH},
            "Start-NtBackupJob": JOB,
            "Get-NtBackupJob": {"Folder": r"C:\exr-job"},
            "Remove-NtBackupJob": {"Folder": r"C:\exr-job", "Name": "job-1"},
        }.items()
    },
}
"""What is asked of the computer by its name, as a gateway asks another one."""


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    folder = tmp_path_factory.mktemp("wine") / "prefix"
    windows = Windows(folder)
    try:
        furnish(windows.drive)
        windows.tool(
            "sc.exe", "create", "LME-TEST", "start=", "demand", "binPath=",
            r"C:\Program Files\Exchsrvr\bin\Dispatch.exe -cexchconn.ini -nLME-TEST",
        )  # fmt: skip
        windows.tool("sc.exe", "create", "LME-BARE", "binPath=", r"C:\bare.exe")
        yield windows
    finally:
        windows.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def answers(windows: Windows) -> dict[str, Answer]:
    return dict(zip(CALLS, windows.run(*CALLS.values()), strict=True))


@pytest.fixture(scope="module")
def behind(windows: Windows, answers: dict[str, Answer]) -> dict[str, Answer]:
    """Have the computer asked by its own name: Wine has no other one."""
    name = str(answers["host"].last["ComputerName"])
    share = windows.drive.parent / "dosdevices" / "unc" / name
    share.mkdir(parents=True)
    (windows.drive / "windows" / "system32" / "ntbackup.exe").write_bytes(b"MZ")
    (share / "C$").symlink_to(windows.drive)
    (share / "ADMIN$").symlink_to(windows.drive / "windows")
    calls = [(script, {"ComputerName": name, **more}) for script, more in BEHIND.values()]
    return dict(zip(BEHIND, windows.run(*calls), strict=True))


@pytest.fixture(scope="module")
def root(windows: Windows) -> Path:
    return windows.drive / "exr" / "Conndata"


def rows(answer: Answer) -> dict[str, list[str]]:
    lines = answer.plain.decode().splitlines(keepends=True)
    assert all(line.endswith("\n") for line in lines)
    parts = [line.rstrip("\n").split("\t") for line in lines]
    names = [part[4] for part in parts]
    assert names == sorted(names, key=lambda name: name.encode("utf-16-be")), "not in ordinal order"
    return {part[4]: part[:4] for part in parts}


def test_parameters_of_every_kind_arrive_as_they_were_sent(answers: dict[str, Answer]) -> None:
    echo = answers["echo"]
    text = CALLS["echo"][1]["Text"]
    assert echo.records[:3] == ["item String ä", "item Int32 3", "item Byte[] 97 98 99"]
    bag = echo.records[3]
    assert isinstance(bag, dict)
    assert abs((bag.pop("Now") - datetime.now(UTC)).total_seconds()) < 300
    assert bag == {
        "Text": text, "Many": ["", "ß"], "None": 0, "Number": -5, "Long": 5_000_000_000, "Flag": True,
        "Password": 8, "Nothing": None,
    }  # fmt: skip


def test_a_record_of_twenty_megabytes_of_bytes_is_one_record(answers: dict[str, Answer]) -> None:
    assert answers["echo"].records[4:] == [bytes(20 * 1024 * 1024), CALLS["echo"][1]["Text"], 7]


def test_an_error_comes_by_its_id_and_says_whether_it_was_the_end(answers: dict[str, Answer]) -> None:
    soft, hard = answers["soft"].errors
    assert answers["soft"].records == ["and on"]
    assert (soft["ErrorId"], soft["Message"], soft["Terminating"]) == (
        soft["ErrorId"],
        "nicht tödlich",
        False,
    )
    assert str(soft["ErrorId"]).startswith("ExRemote.Soft")
    assert soft["Category"] == "ObjectNotFound"
    assert str(hard["ErrorId"]).startswith("ExRemote.Hard")
    assert (hard["Terminating"], hard["Category"]) == (True, "PermissionDenied")
    assert answers["throw"].error == "ExRemote.Thrown"
    assert "param(" in str(answers["broken"].errors[0]["Message"])
    assert answers["unknown parameter"].error == "NamedParameterNotFound"


def test_host_fact_needs_no_wmi(answers: dict[str, Answer]) -> None:
    fact = answers["host"].last
    assert {name for name, _ in LIBRARY.get("Get-HostFact").output_properties[0]} == set(fact)
    assert fact["SystemRoot"] == r"C:\windows"
    assert str(fact["OSVersion"]).startswith("10.0.")
    assert fact["IsAdministrator"] is True
    assert isinstance(fact["UtcNow"], datetime)
    assert isinstance(fact["StartedUtc"], datetime)
    assert fact["StartedUtc"] < fact["UtcNow"]
    assert answers["host path"].last["StartedUtc"] == fact["StartedUtc"]
    assert isinstance(fact["Disks"], list)
    name, kind, system, total, free = fact["Disks"][0].split("|")
    assert (name, kind) == ("C:\\", "Fixed")
    assert system
    assert int(total) > int(free) > 0
    assert r"C:\windows\system32" in str(fact["SystemPath"])
    assert fact["OnPath"] == []
    assert [str(path).lower() for path in answers["host path"].last["OnPath"]] == [  # type: ignore[attr-defined]
        r"c:\windows\system32\reg.exe"
    ]


def test_registry_values_come_as_text_and_missing_ones_as_values(answers: dict[str, Answer]) -> None:
    found = [
        tuple(one[name] for name in ("Name", "KeyExists", "Exists", "Kind", "Text"))
        for one in answers["registry"].objects
    ]
    assert found == [
        ("Text", True, True, "String", "Müller _x0041_"),
        ("", True, True, "String", "the default"),
        ("Expand", True, True, "ExpandString", r"C:\windows\x"),
        ("Many", True, True, "MultiString", "a\nb"),
        ("Bytes", True, True, "Binary", "00abff"),
        ("Word", True, True, "DWord", "4294967295"),
        ("Missing", True, False, "", ""),
        ("x", False, False, "", ""),
    ]
    assert answers["registry bad"].error == "ExRemote.BadArgument"


def test_services_are_told_apart_from_what_is_not_there(answers: dict[str, Answer]) -> None:
    there, missing, *needed = answers["services"].objects
    assert {(one["Name"], one["Exists"], one["State"]) for one in needed} == {
        ("MSExchangeCoCo", False, ""),
        ("Eventlog", True, "Running"),
    }
    bare, other, *_ = answers["services bare"].objects
    assert (bare["Exists"], bare["State"], bare["Readable"], bare["StartMode"]) == (
        True,
        "Stopped",
        False,
        "Unknown",
    )
    assert (other["Name"], other["Readable"]) == ("LME-TEST", True)
    titled = answers["services titled"].objects
    assert [one["Name"] for one in titled[:1]] == ["Eventlog"]
    assert len(titled) > 1
    assert all(str(one["DisplayName"]).startswith("Windows ") for one in titled[1:])
    assert there == {
        "Name": "LME-TEST", "Exists": True, "DisplayName": "LME-TEST", "State": "Stopped",
        "StartMode": "Manual",
        "Account": "LocalSystem", "DependsOn": ["MSExchangeCoCo", "EventLog"], "ImageExists": True,
        "Readable": True,
        "ImagePath": r"C:\Program Files\Exchsrvr\bin\Dispatch.exe -cexchconn.ini -nLME-TEST",
    }  # fmt: skip
    assert missing == {
        "Name": "LME-GHOST", "Exists": False, "DisplayName": "", "State": "", "StartMode": "", "Account": "",
        "DependsOn": [], "ImageExists": False, "ImagePath": "", "Readable": True,
    }  # fmt: skip


def test_a_tree_is_listed_whole_and_in_ordinal_order(answers: dict[str, Answer], root: Path) -> None:
    found = rows(answers["tree"])
    expected: dict[str, tuple[int, int, str]] = {}
    for path in sorted(root.rglob("*")):
        name = "\\".join(path.relative_to(root).parts)
        if name.startswith(("elsewhere\\", "Gwrouter\\archive\\")):
            continue
        if path.is_symlink():
            expected[name] = (-1, 0, "r")
        elif path.is_dir():
            expected[name] = (-1, 0, "x" if name == r"Gwrouter\archive" else "-")
        else:
            mark = {"0001.seq": "x", "locked.dat": "!ExRemote.FileLocked"}.get(name) or sha(path.read_bytes())
            expected[name] = (path.stat().st_size, ticks(path), mark)
    assert {
        name: (int(row[0]), 0 if row[3] == "r" else int(row[1]), row[3]) for name, row in found.items()
    } == expected
    assert any(len(TREE) + len(name) > 260 for name in found), "no path over 260 characters was tried"
    assert all(bool(int(row[2]) & 16) == (row[0] == "-1") for row in found.values())
    assert int(found["elsewhere"][2]) & 1024


def test_a_tree_knows_its_digest_and_its_sums(answers: dict[str, Answer]) -> None:
    for name in ("tree", "tree again", "tree unhashed", "tree known"):
        answer = answers[name]
        digest = hashlib.sha256()
        counted = []
        for path, row in rows(answer).items():
            if row[3] != "x":
                digest.update(("\t".join([*row, path]) + "\n").encode())
                counted += [int(row[0])] if row[0] != "-1" else []
        assert answer.last["Digest"] == digest.hexdigest(), name
        assert (answer.last["Files"], answer.last["Bytes"]) == (len(counted), sum(counted))
        assert answer.last["Changed"] == "0"
    assert answers["tree"].last["Digest"] == answers["tree again"].last["Digest"], (
        "patterns differ in case only"
    )


def test_exclude_patterns_match_names_or_paths(answers: dict[str, Answer]) -> None:
    left_out = {name for name, row in rows(answers["tree unhashed"]).items() if row[3] == "x"}
    assert left_out == {r"Gwrouter\togwise\x.api", r"Gwrouter\archive\old.api", "a.txt", r"[x]\y.txt"}
    assert {row[3] for row in rows(answers["tree unhashed"]).values()} == {"-", "x", "r"}


def test_a_root_that_is_not_there_is_a_value(answers: dict[str, Answer]) -> None:
    assert answers["tree missing"].records == [
        {"Path": r"C:\exr\nowhere", "Exists": False, "Files": 0, "Bytes": 0, "Digest": "", "Changed": ""}
    ]
    assert answers["tree relative"].error == "ExRemote.BadArgument"


def test_a_known_tree_sends_no_listing_and_work_files_do_not_change_it(
    answers: dict[str, Answer], windows: Windows, root: Path
) -> None:
    first = windows.run(("Get-FileTree", {"Path": TREE, "Exclude": ["*.seq"]}))[0]
    (root / "0001.seq").write_bytes(b"a longer number")
    lines = first.plain.decode().splitlines(keepends=True)
    groups = [lines[i : i + 3] for i in range(0, len(lines), 3)]
    kept = ["".join(line for line in group if line.split("\t")[3] != "x") for group in groups]
    lasts = [group[-1].split("\t")[4].rstrip("\n") for group in groups]
    known = [f"{sha(text.encode())[:32]}\t{last}" for text, last in zip(kept, lasts, strict=True)]
    asked = {"Path": TREE, "Exclude": ["*.seq"], "Known": packed(*known)}
    same = windows.run(("Get-FileTree", asked))[0]
    assert same.records == [{**first.last, "Changed": ""}]
    (root / "0002.new").write_bytes(b"in the first group")
    (root / "zzzz.new").write_bytes(b"behind all")
    other = windows.run(("Get-FileTree", asked))[0]
    (root / "0002.new").unlink()
    (root / "zzzz.new").unlink()
    sent = other.plain.decode().splitlines(keepends=True)
    assert other.last["Changed"] == f"0,{len(groups)}"
    assert {x.split("\t")[4] for x in groups[0]} < {x.split("\t")[4] for x in sent}
    assert sent[-1].endswith("\tzzzz.new\n")
    whole = sorted([*sent, *(x for group in groups[1:] for x in group)], key=lambda x: x.split("\t")[4])
    digest = sha("".join(x for x in whole if x.split("\t")[3] != "x").encode())
    assert other.last["Digest"] == digest


def test_a_pack_brings_whole_files_and_names_those_it_could_not_read(
    answers: dict[str, Answer], root: Path
) -> None:
    answer = answers["pack"]
    files, errors, records = unpack(answer.plain)
    assert {index: name for index, (name, _) in errors.items()} == {
        2: "ExRemote.FileLocked",
        3: "ExRemote.FileMissing",
    }
    assert all(message for _, message in errors.values())
    for index, name in enumerate(NAMES):
        if index in errors:
            continue
        data, file = (root / name).read_bytes(), files[index]
        modified = ticks(root / name)
        assert file.data == data, name
        assert file.offset == 0
        assert (file.begun[0], file.begun[2]) == (modified, len(data))
        assert file.end == (len(data), modified, sha(data))
    assert records == len(NAMES)
    total = sum(len(file.data) for file in files.values())
    assert answer.last == {"Files": 6, "Bytes": total, "Failed": 2}


def test_a_pack_goes_on_from_an_offset_and_digests_what_it_sends(answers: dict[str, Answer]) -> None:
    files, errors, _ = unpack(answers["pack resumed"].plain)
    assert sorted([*files, *errors]) == list(range(1, len(NAMES)))
    noise = files[1]
    assert (noise.offset, noise.data) == (2_900_001, NOISE[2_900_001:])
    assert noise.end is not None
    assert (noise.end[0], noise.end[2]) == (len(NOISE), sha(NOISE[2_900_001:]))
    assert files[4].data == WORDS
    files, errors, _ = unpack(answers["pack shorter"].plain)
    assert errors[0][0] == "ExRemote.ReadFailed"
    assert answers["pack shorter"].last == {"Files": 0, "Bytes": 0, "Failed": 1}


def test_a_pack_from_nowhere_or_from_outside_is_refused(answers: dict[str, Answer]) -> None:
    assert answers["pack missing"].error == "ExRemote.PathMissing"
    assert answers["pack outside"].error == "ExRemote.BadArgument"
    assert answers["pack outside"].records == []


def test_noise_travels_plain_and_text_deflated(answers: dict[str, Answer]) -> None:
    blocks = answers["pack"].blocks
    assert sum(block[0] == 0 for block in blocks) >= len(NOISE) // 262144
    assert blocks[-1][0] == 1, "after noise, deflate was never tried again"
    assert sum(map(len, blocks)) < len(NOISE) + len(WORDS) // 2


@pytest.mark.parametrize("name", TAPES)
def test_a_tape_is_read_where_it_lies_piece_by_piece(answers: dict[str, Answer], name: str) -> None:
    answer, data = answers[f"tape {name}"], TAPES[name]
    assert (answer.plain if data else b"") == b"".join(pieces(data))
    assert {key: answer.last[key] for key in ("Path", "Exists", "Size", "Sha256")} == {
        "Path": rf"C:\exr\tapes\{name}.bkf",
        "Exists": True,
        "Size": len(data),
        "Sha256": sha(data),
    }


def test_a_tape_that_cannot_be_read_is_said_to_be_so(answers: dict[str, Answer]) -> None:
    assert answers["tape missing"].last["Exists"] is False
    assert answers["tape relative"].error == "ExRemote.BadArgument"
    assert answers["tape locked"].error == "ExRemote.FileLocked"


def test_a_key_is_exported_as_reg_exe_writes_it_and_nothing_stays_behind(
    answers: dict[str, Answer], windows: Windows
) -> None:
    data = answers["export"].plain
    assert answers["export"].last == {"Key": KEY, "Exists": True, "Bytes": len(data), "Sha256": sha(data)}
    text = data.decode("utf-16")
    assert text.startswith("Windows Registry Editor Version 5.00")
    assert "Müller _x0041_" in text
    assert r"[HKEY_LOCAL_MACHINE\SOFTWARE\exr]" in text
    assert answers["export missing"].records == [
        {"Key": KEY + r"\nowhere", "Exists": False, "Bytes": 0, "Sha256": ""}
    ]
    assert answers["export bad"].error == "ExRemote.BadArgument"
    assert answers["export whatif"].records == [{"Key": KEY, "Exists": True, "Bytes": 0, "Sha256": ""}]
    assert not list(windows.drive.rglob("exremote-*.reg"))


def test_api_queues_are_listed_and_only_the_probe_writes(
    answers: dict[str, Answer], windows: Windows
) -> None:
    queues = {one["Queue"]: one for one in answers["api"].objects[:-1]}
    assert list(queues) == ["API_IN", "API_OUT", "ATT_IN", "ATT_OUT", "GWHOLD", "GWPROB"]
    assert queues["API_OUT"] == {
        "Queue": "API_OUT", "Exists": True, "Files": 2, "Bytes": 13, "ZeroByte": 1,
        "OldestUtc": datetime.fromtimestamp(1_000_000_000, UTC),
        "OldestEmptyUtc": datetime.fromtimestamp(1_000_000_000, UTC),
    }  # fmt: skip
    assert queues["API_IN"]["OldestEmptyUtc"] is None
    vanishing = {one["Queue"]: one for one in answers["api vanishing"].objects[:-1]}
    assert vanishing["API_OUT"] == queues["API_OUT"]
    assert vanishing["API_IN"] == queues["API_IN"]
    assert (queues["GWPROB"]["Exists"], queues["GWPROB"]["OldestUtc"]) == (False, None)
    unprobed = {"Probed": False, "Written": False, "ReadBack": False, "Removed": False}
    for name in ("api", "api whatif"):
        last = answers[name].last
        assert unprobed.items() <= last.items()
        assert (last["Exists"], last["Leftovers"], last["ProbeError"]) == (True, ["EXPR0007.TMP"], "")
    probed = answers["api probe"].last
    assert dict.fromkeys(unprobed, True).items() <= probed.items()
    assert (probed["ProbeError"], probed["Leftovers"]) == ("", ["EXPR0007.TMP"])
    assert (probed["Cleared"], probed["LeftoverError"]) == (["EXPR0007.TMP"], "")
    assert probed["Account"]
    assert answers["api missing"].last["Exists"] is False
    left = sorted(path.name for path in (windows.drive / "exr" / "API").iterdir() if path.is_file())
    assert left == ["EXPR0008.TMP", "Gwcorr.db"], "a probe file stayed, or somebody else's went"


def test_leftovers_are_gone_only_if_they_are(answers: dict[str, Answer], windows: Windows) -> None:
    """One cannot be removed, one cannot even be read, one goes; the probe goes on all the same."""
    before, after = answers["api leftovers"].last, answers["api leftovers probe"].last
    assert sorted(before["Leftovers"]) == sorted(after["Leftovers"]) == ["EXPR0009.TMP", "EXPR0011.TMP"]  # type: ignore[call-overload]
    assert (before["Cleared"], after["Cleared"]) == ([], ["EXPR0011.TMP"])
    assert str(before["LeftoverError"]).startswith("EXPR0010.TMP: ")
    assert re.match("EXPR00(09|10).TMP: ", str(after["LeftoverError"]))
    assert (after["Written"], after["ReadBack"], after["Removed"], after["ProbeError"]) == (
        True,
        True,
        True,
        "",
    )
    left = sorted(path.name for path in (windows.drive / "exr" / "API2").iterdir())
    assert left == ["EXPR0009.TMP", "EXPR0010.TMP"]


def test_entries_of_a_wrong_clock_hide_no_others(answers: dict[str, Answer]) -> None:
    """A thousand in a row are no wrong clock: there the log is as old as it looks, and is read no further."""
    found = {one["EventId"]: one["Count"] for one in answers["events past old ones"].objects}
    assert found == {41217: 1, 41205: 1}
    few = {one["EventId"]: one["Count"] for one in answers["events behind too many old ones"].objects}
    assert few == {41217: 1}


def test_what_wine_has_not_fails_by_the_name_of_the_contract(answers: dict[str, Answer]) -> None:
    """No directory and no network provider here: the errors are real, the successes are not tried."""
    assert answers["directory"].error == "ExRemote.DirectoryUnavailable"
    assert answers["directory bad"].error == "ExRemote.BadArgument"
    assert answers["connect"].error == "ExRemote.ShareRefused"
    assert answers["connect bad"].error == "ExRemote.BadArgument"
    assert answers["connect whatif"].records == [{"Path": r"\\NOWHERE\SYS", "Connected": False}]
    assert answers["disconnect"].error == "ExRemote.ShareRefused"
    assert answers["disconnect whatif"].records == [{"Path": r"\\NOWHERE\SYS", "Connected": True}]
    assert answers["events"].objects == []
    assert answers["events"].error == "ExRemote.EventLogUnavailable"


def test_a_gateway_gets_the_answers_that_the_computer_gives(
    answers: dict[str, Answer], behind: dict[str, Answer]
) -> None:
    """Two bodies, one world: what one finds, the other finds."""
    for name in ("registry", "services"):
        assert behind[name].objects == answers[name].objects, name
        assert [one["ErrorId"] for one in behind[name].errors] == [
            one["ErrorId"] for one in answers[name].errors
        ]
    fact, own = behind["host"].last, answers["host"].last
    for name in ("ComputerName", "Domain", "ProductType", "SystemRoot", "IsAdministrator", "UserName"):
        assert fact[name] == own[name], name
    assert [str(path).lower() for path in fact["OnPath"]] == [r"c:\windows\system32\reg.exe"]  # type: ignore[attr-defined]
    assert (fact["UtcNow"], fact["Disks"]) == (None, [])
    ran = [one["Name"] for one in behind["services run by"].objects]
    assert ran[:2] == ["Eventlog", "LME-TEST"]
    data = behind["export"].plain
    assert behind["export"].last == {"Key": KEY, "Exists": True, "Bytes": len(data), "Sha256": sha(data)}
    assert parse_reg(data).keys == parse_reg(answers["export"].plain).keys
    assert behind["export missing"].records == answers["export missing"].records
    events = behind["events"]
    assert not events.errors or events.error == "ExRemote.EventLogUnavailable"


def test_a_gateway_does_what_the_computer_would_do(behind: dict[str, Answer]) -> None:
    assert behind["disabled"].last["StartMode"] == "Disabled"
    assert behind["manual"].last["StartMode"] == "Manual"
    assert behind["no service"].error == "ExRemote.ServiceMissing"
    lines = behind["set"].plain.decode().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["set", "set", "set"]
    assert '"Text"="a"' in behind["as set"].plain.decode("utf-16")
    assert "hex(0):78" in behind["as set"].plain.decode("utf-16")
    gone = {"Key": SCRATCH, "Exists": True, "Removed": True}
    assert behind["scratch whatif"].records == [gone | {"Removed": False}]
    assert behind["scratch"].records == [gone]
    assert behind["scratch again"].records == [gone | {"Exists": False, "Removed": False}]
    assert behind["job whatif"].last["Started"] is False
    assert behind["job there"].error == "ExRemote.JobThere"
    assert behind["remove"].last["Removed"] == []
    assert behind["guard whatif"].last["Started"] is False
    for name in ("registry bad", "export bad", "scratch bad", "job direct", "job bad", "guard bad"):
        assert behind[name].error == "ExRemote.BadArgument", name
    assert [one["Unknown"] for one in behind["shares"].objects] == [False, True]
    assert [(one["Share"], one["Answers"]) for one in behind["shares"].objects] == [
        ("C$", True),
        ("Q$", False),
    ]
    assert {str(one).partition(" ")[0] for one in behind["approach"].last["Ports"]} == {"445", "139", "135"}  # type: ignore[attr-defined]


def test_a_computer_that_is_not_there_is_no_computer_without_anything(behind: dict[str, Answer]) -> None:
    """What Windows says of missing files and keys, it says of a missing computer, too."""
    for name, answer in behind.items():
        if name.endswith(" nowhere"):
            assert answer.error == "ExRemote.TargetUnreachable", (name, answer)


def test_a_log_that_cannot_be_opened_is_no_empty_log(behind: dict[str, Answer]) -> None:
    """To a newer PowerShell a property that throws is nothing: its count was 0."""
    assert behind["log of a ghost"].error == "ExRemote.EventLogUnavailable"


def test_a_share_that_went_takes_no_program_with_it(windows: Windows, behind: dict[str, Answer]) -> None:
    """The registry still answers: nothing is said of files that cannot be looked for."""
    share = next((windows.drive.parent / "dosdevices" / "unc").glob("*/C$"))
    (away := share.with_name("away")).symlink_to(windows.drive)
    share.unlink()
    calls = (
        ("gateway/Get-ServiceState", {"Name": ["LME-TEST"]}),
        ("gateway/Get-HostFact", {"OnPath": ["reg.exe"]}),
    )
    try:
        said = windows.run(*((name, {"ComputerName": share.parent.name, **more}) for name, more in calls))
    finally:
        away.rename(share)
    assert [answer.error for answer in said] == ["ExRemote.TargetUnreachable"] * 2, said
    assert [answer.objects for answer in said] == [[], []]


def test_what_comes_out_is_what_the_help_promises(
    answers: dict[str, Answer], behind: dict[str, Answer]
) -> None:
    both = {**CALLS, **{f"behind {name}": call for name, call in BEHIND.items()}}
    for name, answer in {**answers, **{f"behind {name}": one for name, one in behind.items()}}.items():
        if "\n" in (called := both[name][0]) or called not in {script.name for script in LIBRARY}:
            continue
        promised = [dict(line) for line in LIBRARY.get(called).output_properties if line]
        for bag in answer.objects:
            assert any(set(bag) == set(line) for line in promised), (name, sorted(bag))


ADMINISTRATORS, EVERYONE, STRANGER = "S-1-5-32-544", "S-1-1-0", "S-1-5-21-1-2-3-1001"


def test_access_lists_are_read_and_what_is_not_set_is_said(windows: Windows) -> None:
    """What Wine can answer: it makes a list up from the rights of Unix, with entries that are its own,
    and of what is set it keeps as much as fits these. So nothing is set here, and each is said to be not so;
    that Windows keeps it, the simulated engine alone plays.
    """
    inner = windows.drive / "lists" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.txt").write_bytes(b"a")
    (inner.parent / "b.ini").write_bytes(b"b")
    top, nowhere = r"C:\lists", r"C:\nowhere"
    closed = f"D:P(A;OICI;0x1f01ff;;;{EVERYONE})(A;OICI;0x1f01ff;;;{ADMINISTRATORS})"
    denied = f"O:{ADMINISTRATORS}D:P(D;;0x2;;;{EVERYONE})(A;;0x1f01ff;;;{ADMINISTRATORS})"
    turned = f"D:P(A;OICI;0x1f01ff;;;{ADMINISTRATORS})(A;OICI;0x1f01ff;;;{EVERYONE})"
    some: dict[str, object] = {"Path": [top, nowhere, "C:\\"], "Only": [r"2|lists\b.ini", "2|lists\\none"]}
    wanted = packed(
        f"{closed}\t", f"{turned}\tinner", f"{denied}\tinner\\a.txt", f"{closed}\tnone", "D:\tb.ini",
        "D:\tNUL", "D:\tinner\\com1.txt",
    )  # fmt: skip
    every, few, many, done, kept, out = windows.run(
        ("Get-FileSecurity", {"Path": [top]}),
        ("Get-FileSecurity", {**some, "Skip": ["0|inner"], "Account": [EVERYONE, STRANGER]}),
        ("Get-FileSecurity", {"Path": [top], "Most": 1}),
        ("Set-FileSecurity", {"Path": top, "Lists": wanted}),
        ("Set-FileSecurity", {"Path": top, "Lists": packed("D:\tb.ini"), "WhatIf": True}),
        ("Set-FileSecurity", {"Path": top, "Lists": packed("D:\t..\\b.ini")}),
    )
    lines = [line.split("\t") for line in every.plain.decode().splitlines()]
    assert {line[2] for line in lines} == {"", "inner", r"inner\a.txt", "b.ini"}
    entry = r"\(A;(OICI)?;0x[0-9a-f]+;;;S-1-[\d-]+\)"
    assert all(re.fullmatch(rf"O:S-1-5-21-0-0-0-\d+D:({entry})+", line[1]) for line in lines), lines
    assert (every.last["Looked"], every.last["Lines"], every.last["Unknown"]) == (4, 4, [])

    lines = [line.split("\t") for line in few.plain.decode().splitlines()]
    assert sorted((n, name) for n, _, name in lines) == [
        ("0", ""), ("0", "b.ini"), ("0", "inner"), ("1", ""), ("2", r"lists\b.ini"),
    ]  # fmt: skip
    assert ["1", "!ExRemote.PathMissing", ""] in lines
    assert few.last["Unknown"] == [STRANGER]
    assert many.error == "ExRemote.TooMany"

    states = [tuple(line.split("\t")[:2]) for line in done.plain.decode().splitlines()]
    assert states == [
        ("failed", "ExRemote.NotSame"),
        ("failed", "ExRemote.UnknownForm"),  # .NET has its own order of entries, in which it reads them, too
        ("failed", "ExRemote.NotSame"),
        ("failed", "ExRemote.PathMissing"),
        ("failed", "ExRemote.NotSame"),
        ("failed", "ExRemote.BadName"),  # a device, wherever it seems to lie
        ("failed", "ExRemote.BadName"),
    ], done.plain.decode()
    assert (done.last["Lists"], done.last["Failed"]) == (7, 7)
    assert kept.plain.decode() == "kept\t\t\n"
    assert out.error == "ExRemote.BadArgument"


@pytest.mark.slow
def test_64_mib_of_noise_travel_in_seconds(windows: Windows, root: Path) -> None:
    """Seen here: about 4 s with the start of the engine (0.8 s); the bound is for a busy machine."""
    big = root.parent / "big"
    big.mkdir()
    (big / "noise.bin").write_bytes(os.urandom(64 * 1024 * 1024))
    started = time.monotonic()
    answer = windows.run(("Read-FilePack", {"Path": r"C:\exr\big", "Files": packed("noise.bin")}))[0]
    seconds = time.monotonic() - started
    assert answer.last == {"Files": 1, "Bytes": 64 * 1024 * 1024, "Failed": 0}
    assert seconds < 60, f"{seconds:.1f} s"
    print(f"64 MiB in {seconds:.1f} s, {64 / seconds:.0f} MiB/s with the start of the engine")


def test_a_job_by_a_task_is_told_from_the_files_that_its_batch_file_moves_and_holds(
    windows: Windows, behind: dict[str, Answer]
) -> None:
    """Wine has no Task Scheduler: its schtasks.exe refuses, and the test is who runs the batch file."""
    system32, folder = windows.drive / "windows" / "system32", windows.drive / "exr-tasks" / "systemstate"
    (system32 / "ntbackup.exe").write_bytes((winlab(ENGINE) / "ntbackup.exe").read_bytes())
    windows.tool(
        "reg.exe", "add", r"HKLM\SOFTWARE\winlab\ntbackup", "/v", "HangMs", "/t", "REG_DWORD", "/d", "120000"
    )
    home = r"C:\exr-tasks\systemstate"
    share = r"C:\exr-tasks\elsewhere\job-2.bkf"
    order = rf'backup "@{home}\job-2.bks" /J "job-2" /F "{share}" /V:no /R:no /L:s /M copy /RS:no /HC:off'
    job: dict[str, object] = {
        "Folder": home,
        "Name": "job-2",
        "Selection": ["SystemState"],
        "Arguments": order,
    }
    name: dict[str, object] = {"Folder": home, "Name": "job-2"}
    look: Call = ("Get-NtBackupJob", {"Folder": home})
    start = "Start-NtBackupTask"
    blocked = windows.drive / "exr-blocked"
    blocked.mkdir()
    (blocked / "task").write_bytes(b"a file where the task's folder is to be")
    whatif, failed, bad, worse, refused, there, lost = windows.run(
        (start, {**job, "WhatIf": True}),
        (start, {**job, "Folder": r"C:\exr-blocked\systemstate", "Task": "prepared"}),
        (start, {**job, "Task": "a & b"}),
        (start, {**job, "Folder": r"C:\exr-tasks"}),
        (start, job),
        (start, {**job, "Task": "prepared"}),
        look,
    )
    assert whatif.last["Started"] is False
    assert failed.error == "ExRemote.StartFailed"
    assert not (blocked / "systemstate" / "job-2.go").exists(), "whoever runs it later starts nothing"
    assert (bad.error, worse.error) == ("ExRemote.BadArgument", "ExRemote.BadArgument")
    assert (refused.error, there.error) == ("ExRemote.TaskRefused", "ExRemote.JobThere")
    assert sorted(path.suffix for path in folder.iterdir()) == [".bat", ".bks", ".cmd", ".task"]
    assert (lost.last["State"], lost.last["Log"]) == ("Lost", "")
    (folder.parent / "elsewhere").mkdir()
    (folder / "job-2.go").write_bytes(b"job-2")
    (waiting,) = windows.run(look)
    assert waiting.last["State"] == "Waiting"
    task = [ENGINE[0], "wine-run", "cmd.exe", "/d", "/c", rf"{home}\job-2.bat"]
    with subprocess.Popen(task, env=windows.environment, stdout=subprocess.DEVNULL) as running:
        end = time.monotonic() + 60
        while not (folder.parent / "elsewhere" / "job-2.bkf").exists():
            assert time.monotonic() < end
            time.sleep(0.1)
        first, busy, ended = windows.run(
            look, ("Remove-NtBackupJob", name), ("Remove-NtBackupJob", {**name, "End": True, "Keep": True})
        )
        running.wait(60)
    assert (first.last["State"], first.last["ProcessId"]) == ("Running", 0)
    assert int(str(first.last["Bytes"])) > 0, "the .bkf is where the command line says"
    assert busy.error == "ExRemote.JobRunning"
    assert ended.last["Ended"] == 1
    assert not (folder / "job-2.go").exists()
    # Who runs it again, as at the next start of Windows, starts nothing.
    subprocess.run(task, env=windows.environment, capture_output=True, timeout=60)
    over, gone = windows.run(look, ("Remove-NtBackupJob", name))
    assert over.last["State"] == "Ended" and over.last["ExitCode"] != 0
    assert (gone.last["Left"], gone.last["Error"]) == ([], "")
    assert not folder.exists()
