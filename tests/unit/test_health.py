"""Health: recorded facts give the findings beside them, and collecting asks a small world in memory."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exremote.checks.expectation import FUNCTIONS
from exremote.checks.rules import RULES
from exremote.connector import Connector, matches
from exremote.credential import Secret as Account
from exremote.errors import ScriptFailed, SessionLost, TransferMismatch
from exremote.facts import (
    ApiDirectoryFact,
    ApiQueue,
    ConnectorObject,
    Disk,
    EventCount,
    FileEntry,
    HostFact,
    HostFacts,
    RegistryValue,
    ServiceState,
    TreeFact,
)
from exremote.health import Asker, Finding, Verdict, collect, judge, judge_tables, rank, worst
from exremote.inventory import Host, Inventory
from exremote.pack import Listing

ALL = Connector.load_all()
DATA = Path(__file__).parents[1] / "data" / "facts"
NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
EXCH = r"C:\Program Files\Exchsrvr"
CONNDATA = rf"{EXCH}\Conndata"
API = r"\\NWFS01\SYS\GWDOM\WPGATE\API"
QUEUES = ("API_IN", "API_OUT", "ATT_IN", "ATT_OUT", "GWHOLD", "GWPROB")
SETUP = r"HKLM\SOFTWARE\Microsoft\Exchange\Setup"
LOTUS = r"HKLM\SOFTWARE\Lotus\Notes"
SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
DEPENDS = {
    "MSExchangeCoCo": ("EventLog",),
    "LME-NOTES": ("EventLog", "MSExchangeCoCo"),
    "MSExchangeGWRtr": ("EventLog",),
    "LME-GWISE": ("EventLog", "MSExchangeCoCo", "MSExchangeGWRtr"),
    "MSExchangeCalCon": ("EventLog", "MSExchangeCoCo"),
    "MSExchangeSA": ("EventLog",),
}


def ticks(moment: datetime) -> int:
    return (moment - datetime(1, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10


@dataclass
class World:
    """A host in memory that answers as the scripts' contracts say."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    registry: dict[tuple[str, str], str] = field(default_factory=dict)
    services: dict[str, ServiceState] = field(default_factory=dict)
    objects: list[ConnectorObject] = field(default_factory=list)
    events: list[EventCount] = field(default_factory=list)
    host: HostFact | None = None
    api: ApiDirectoryFact | None = None
    refuse: dict[str, str] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)
    known: dict[str, Listing | None] = field(default_factory=dict)
    lost_at: str = ""
    calls: list[str] = field(default_factory=list)
    cut: int = 0

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what.split()[0] == self.lost_at:
            raise SessionLost("EX01", "the connection is gone")
        for part, error_id in self.refuse.items():
            if part in what:
                raise ScriptFailed("EX01", f"{what} said no", script=what.split()[0], error_id=error_id)

    def host_fact(self) -> HostFact:
        self._called("host")
        assert self.host is not None
        return self.host

    def registry_values(self, values: Sequence[tuple[str, str]]) -> list[RegistryValue]:
        self._called("registry")
        keys = {key.lower() for key, _ in self.registry}
        known = {(k.lower(), n.lower()): text for (k, n), text in self.registry.items()}
        return [
            RegistryValue(
                key,
                name,
                any(k == key.lower() or k.startswith(key.lower() + "\\") for k in keys),
                (key.lower(), name.lower()) in known,
                "String" if (key.lower(), name.lower()) in known else "",
                known.get((key.lower(), name.lower()), ""),
            )
            for key, name in values
        ]

    def service_states(self, names: Sequence[str]) -> list[ServiceState]:
        self._called("services")
        nothing = ServiceState("", False, "", "", "", "", "", False, ())
        return [self.services.get(name, replace(nothing, name=name)) for name in names]

    def file_tree(
        self, path: str, exclude: Sequence[str] = (), known: Listing | None = None, hashed: bool = True
    ) -> TreeFact:
        self._called(f"tree {path}")
        below = f"{path}\\".lower()
        found = {p[len(below) :]: p for p in self.files if p.lower().startswith(below)}
        parents = {"\\".join(r.split("\\")[:n]) for r in found for n in range(1, r.count("\\") + 1)}
        parents |= {p[len(below) :] for p in self.folders if p.lower().startswith(below)}
        if not found and not parents:
            return TreeFact(path, False, 0, 0, "")
        entries = [FileEntry(p, -1, ticks(NOW), 16, None, "directory") for p in parents]
        for relative, full in found.items():
            data, state = self.files[full], "file" if hashed else "unhashed"
            sha = hashlib.sha256(data).hexdigest() if hashed else None
            if any(matches(relative, pattern) for pattern in exclude):
                state, sha = "excluded", None
            error = "ExRemote.FileLocked" if full in self.locked and state == "file" else ""
            if error:
                state, sha = "unreadable", None
            entries.append(FileEntry(relative, len(data), ticks(NOW), 32, sha, state, error))
        entries.sort(key=lambda e: e.path)
        kept = [e for e in entries if e.size >= 0 and e.state != "excluded"]
        digest = hashlib.sha256(repr([(e.path, e.size, e.sha256) for e in kept]).encode()).hexdigest()
        self.known[path] = known
        return TreeFact(path, True, len(kept), sum(e.size for e in kept), digest, tuple(entries))

    def read_pack(
        self, path: str, files: Sequence[str], start_index: int = 0, start_offset: int = 0
    ) -> Iterator[bytes]:
        self._called(f"pack {path}")
        known = {p.lower(): data for p, data in self.files.items()}
        out = b""
        for index, name in enumerate(files):
            full = f"{path.rstrip(chr(92))}\\{name}".lower()
            if full in {p.lower() for p in self.locked}:
                text = b"ExRemote.FileLocked\tin use"
                out += b"X" + struct.pack("<II", 4 + len(text), index) + text
            elif full not in known:
                text = b"ExRemote.FileMissing\tnot there"
                out += b"X" + struct.pack("<II", 4 + len(text), index) + text
            else:
                data = known[full]
                begin = struct.pack("<IqqIq", index, 0, ticks(NOW), 32, len(data))
                out += b"F" + struct.pack("<I", len(begin)) + begin
                out += b"D" + struct.pack("<I", len(data)) + data if data else b""
                end = struct.pack("<qq32s", len(data), ticks(NOW), hashlib.sha256(data).digest())
                out += b"E" + struct.pack("<I", len(end)) + end
        out += b"Z" + struct.pack("<II", 4, len(files))
        yield out[: len(out) - self.cut]

    def resume(self, script: str, attempt: Callable[[], None], mark: Callable[[], object]) -> None:
        attempt()

    def connector_objects(self, class_name: str) -> tuple[ConnectorObject, ...]:
        self._called(f"object {class_name}")
        return tuple(o for o in self.objects if o.class_name == class_name)

    def api_directory(
        self, path: str, probe: bool = False, account: Account | None = None
    ) -> ApiDirectoryFact:
        self._called(f"api {path}")
        assert self.api is not None
        done = probe and self.api.exists
        return replace(self.api, path=path, probed=done, written=done, read_back=done, removed=done)

    def event_summary(self, sources: Sequence[str], hours: int) -> tuple[EventCount, ...]:
        self._called("events")
        return tuple(e for e in self.events if e.source in sources)


def service(name: str, program: str, **changes: object) -> ServiceState:
    image = rf'"{EXCH}\bin\{program}" -x'
    state = ServiceState(
        name, True, f"Microsoft {name}", "Running", "Manual", "LocalSystem", image, True, DEPENDS[name]
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def queues() -> tuple[ApiQueue, ...]:
    return tuple(ApiQueue(name, True, 0, 0, 0, None) for name in QUEUES)


def healthy(*connectors: str) -> World:
    """Return a host on which all is well."""
    world = World()
    world.host = HostFact(
        "EX01", "LAB", "5.2.3790", "Service Pack 2", "ServerNT", "x86", "2.0", "2.0.50727.3662",
        r"C:\WINDOWS", NOW, False, r"LAB\backup", True, r"C:\WINDOWS;C:\Lotus\Notes",
        (Disk("C:\\", "Fixed", "NTFS", 100 << 30, 40 << 30),),
    )  # fmt: skip
    world.registry[SETUP, "Services"] = EXCH
    world.services["MSExchangeSA"] = service("MSExchangeSA", "mad.exe")
    world.services["MSExchangeCoCo"] = service("MSExchangeCoCo", "Lscntrl.exe")
    world.registry[rf"{SERVICES}\MSExchangeCoCo", "ImagePath"] = "x"
    world.files[rf"{CONNDATA}\Exchconn.ini"] = b"[Exchconn]"
    world.files[rf"{CONNDATA}\lab.seq"] = b"0001"
    world.files[rf"{CONNDATA}\Tables\one.tbl"] = b"x" * 900
    world.files[rf"{CONNDATA}\Dxamex\Amap.tbl"] = b"ALIAS  64\r\n"
    if "notes" in connectors:
        world.services["LME-NOTES"] = service("LME-NOTES", "Dispatch.exe")
        world.registry[rf"{SERVICES}\LME-NOTES", "ImagePath"] = "x"
        world.registry[LOTUS, "Path"] = "C:\\Lotus\\Notes\\"
        world.registry[LOTUS, "DataPath"] = r"C:\Lotus\Notes\Data"
        world.files[rf"{CONNDATA}\Dxanotes\Mapmex.tbl"] = b"FullName  Dn\r\n"
        world.files[r"C:\Lotus\Notes\notes.exe"] = b"MZ"
        world.files[r"C:\Lotus\Notes\notes.ini"] = (
            b"[Notes]\r\nKitType=1\r\nDirectory=C:\\Lotus\\Notes\\Data\r\n"
        )
        world.files[r"C:\Lotus\Notes\Data\ex.id"] = b"key"
        world.objects.append(ConnectorObject("msExchNotesConnector", "CN=Notes (EX01)", (), ()))
    if "groupwise" in connectors:
        world.services["MSExchangeGWRtr"] = service("MSExchangeGWRtr", "Gwrouter.exe")
        world.services["LME-GWISE"] = service("LME-GWISE", "Dispatch.exe")
        world.registry[rf"{SERVICES}\LME-GWISE", "ImagePath"] = "x"
        world.registry[rf"{SERVICES}\MSExchangeGWRtr", "ImagePath"] = "x"
        world.files[rf"{CONNDATA}\DxaGwise\Mapgwise.tbl"] = b"Alias  Object\r\nDn  Fid\r\n"
        world.folders.add(rf"{CONNDATA}\Gwrouter\badfiles")
        world.objects.append(
            ConnectorObject(
                "msExchGroupWiseConnector",
                "CN=GroupWise (EX01)",
                (("msExchGWiseAPIGatewayPath", API),),
                ("msExchGWisePassword",),
            )
        )
        world.api = ApiDirectoryFact(API, True, r"LAB\backup", False, False, False, False, "", (), queues())
    if "calendar" in connectors:
        world.services["MSExchangeCalCon"] = service("MSExchangeCalCon", "Calcon.exe")
        world.registry[rf"{SERVICES}\MSExchangeCalCon\Parameters", "Providers"] = "NOTESCAL"
        world.objects.append(ConnectorObject("msExchCalendarConnector", "CN=Cal (EX01)", (), ()))
    return world


@pytest.fixture
def host(tmp_path: Path) -> Host:
    path = tmp_path / "inventory.toml"
    path.write_text(
        '[hosts.EX01]\naddress = "ex01"\n'
        'credential = { environment = "NOBODY_SETS_THIS", username = "LAB\\\\backup" }\n'
    )
    return Inventory.load(path).hosts["EX01"]


def asked(world: World, host: Host, **options: object) -> HostFacts:
    asker: Asker = world
    given: dict[str, object] = {"probe": False, "now": NOW, **options}
    return collect(asker, host, ALL, **given)  # type: ignore[arg-type]


def by_check(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    result: dict[str, list[Finding]] = {}
    for finding in findings:
        result.setdefault(finding.check, []).append(finding)
    return result


def bad(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(f.check, str(f.verdict)) for f in findings if f.verdict not in (Verdict.OK, Verdict.INFO)}


# ---- recorded facts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted(p for p in DATA.glob("*.json") if ".findings" not in p.name), ids=lambda p: p.stem
)
def test_recorded_facts_give_the_findings_beside_them(path: Path) -> None:
    """Every finding that is not ok is expected, with its numbers and names, and none is missing."""
    facts = HostFacts.from_json(json.loads(path.read_text()))
    findings = [f for f in judge(facts, ALL) if f.verdict is not Verdict.OK]
    expected = json.loads(path.with_suffix(".findings.json").read_text())
    assert sorted((str(f.verdict), f.check) for f in findings) == sorted(
        (e["verdict"], e["check"]) for e in expected
    )
    for one in expected:
        about = [f for f in findings if (f.check, str(f.verdict)) == (one["check"], one["verdict"])]
        assert any(one["evidence"] in f.evidence for f in about), (one, [f.evidence for f in about])


def test_there_are_recorded_hosts_of_each_kind() -> None:
    kinds = {p.stem for p in DATA.glob("*.json") if ".findings" not in p.name}
    assert kinds >= {"healthy", "sick", "half-installed", "second-hop"}


@pytest.mark.parametrize("name", ["healthy", "sick", "half-installed", "second-hop"])
def test_a_finding_that_is_not_ok_says_what_to_do(name: str) -> None:
    facts = HostFacts.from_json(json.loads((DATA / f"{name}.json").read_text()))
    for finding in judge(facts, ALL):
        assert finding.source
        assert finding.evidence
        assert bool(finding.remedy) == (finding.verdict is not Verdict.OK)
        assert set(finding.to_json()) == set(Finding.__slots__)


# ---- collecting -------------------------------------------------------------------------------


def test_a_healthy_host_has_nothing_bad(host: Host) -> None:
    facts = asked(healthy("notes", "groupwise", "calendar"), host)
    assert {name: p.state for name, p in facts.connectors.items()} == dict.fromkeys(ALL, "present")
    assert facts.unavailable == {}
    assert bad(judge(facts, ALL)) == set()
    assert HostFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_every_check_of_the_files_gives_a_finding(host: Host) -> None:
    findings = by_check(judge(asked(healthy("notes", "groupwise", "calendar"), host), ALL))
    wanted = {check.id for connector in ALL.values() for check in connector.checks} | set(RULES)
    assert wanted - set(findings) == {"table.shrunk"}  # judged against a snapshot


def test_what_is_shared_is_asked_and_judged_once(host: Host) -> None:
    world = healthy("notes", "groupwise")
    findings = by_check(judge(asked(world, host), ALL))
    assert world.calls.count(f"tree {CONNDATA}") == 1
    assert len([f for f in findings["tree.present"] if CONNDATA in f.evidence]) == 1
    assert len([f for f in findings["service.running"] if "CoCo" in f.evidence]) == 1
    assert len(findings["controller.access-list"]) == 1
    assert [f.connector for f in findings["service.running"] if "GWRtr" in f.evidence] == ["groupwise"]
    assert [f.connector for f in findings["service.running"] if "CoCo" in f.evidence] == [""]


def test_health_asks_no_more_than_it_needs(host: Host) -> None:
    world = healthy("groupwise")
    asked(world, host)
    assert not [c for c in world.calls if "Notes" in c]
    assert len(world.calls) <= 10


def test_the_work_of_a_sick_monday(host: Host) -> None:
    """Each misfortune of the demo's sick machine is a finding with numbers, names, remedy and source."""
    world = healthy("groupwise")
    world.services["LME-GWISE"] = replace(world.services["LME-GWISE"], state="Stopped")
    world.files[rf"{CONNDATA}\Gwrouter\badfiles\36ED2937.API"] = b"x" * 30
    world.files[rf"{CONNDATA}\DxaGwise\Mapgwise.tbl"] = b"Alias  Object\r\nDn\tFid\r\n"
    assert world.api is not None
    stuck = ApiQueue("API_OUT", True, 1, 0, 1, NOW - timedelta(hours=30))
    world.api = replace(world.api, queues=(*queues()[:1], stuck, *queues()[2:]))
    world.events = [EventCount("MSExchangeGWRtr", 6062, "Error", 3, NOW, "moved to badfiles")]
    findings = judge(asked(world, host), ALL)
    assert bad(findings) == {
        ("service.running", "critical"),
        ("groupwise.bad-files", "warning"),
        ("groupwise.table-tabs", "warning"),
        ("groupwise.api-out-zero-byte", "critical"),
        ("groupwise.api-out-age", "warning"),
        ("groupwise.router-events", "warning"),
    }
    words = {f.check: f.evidence for f in findings if f.verdict is not Verdict.OK}
    assert "LME-GWISE: Stopped" in words["service.running"]
    assert "1 file, 30 bytes" in words["groupwise.bad-files"]
    assert "36ED2937.API" in words["groupwise.bad-files"]
    assert "Mapgwise.tbl: tabs in line 2" in words["groupwise.table-tabs"]
    assert "1 empty" in words["groupwise.api-out-zero-byte"]
    assert "6062: 3 times" in words["groupwise.router-events"]
    assert worst(findings) is Verdict.CRITICAL
    assert findings[0].verdict is Verdict.CRITICAL


@pytest.mark.parametrize(
    ("change", "check", "verdict"),
    [
        ({"state": "Stopped"}, "service.running", "critical"),
        ({"state": "StopPending"}, "service.running", "warning"),
        ({"state": "StartPending"}, "service.running", "warning"),
        ({"state": "Paused"}, "service.running", "warning"),
        ({"state": "Unknown"}, "service.running", "unknown"),
        ({"image_exists": False}, "service.program", "critical"),
        ({"start_mode": "Disabled"}, "service.start-mode", "warning"),
        ({"start_mode": "Unknown"}, "service.start-mode", "unknown"),
    ],
)
def test_services(host: Host, change: dict[str, object], check: str, verdict: str) -> None:
    world = healthy("notes")
    world.services["LME-NOTES"] = replace(world.services["LME-NOTES"], **change)  # type: ignore[arg-type]
    found = [f for f in judge(asked(world, host), ALL) if f.check == check and "LME-NOTES" in f.evidence]
    assert [str(f.verdict) for f in found] == [verdict]


def test_the_controller_stopped_under_running_services(host: Host) -> None:
    world = healthy("notes")
    world.services["MSExchangeCoCo"] = replace(world.services["MSExchangeCoCo"], state="Stopped")
    found = by_check(judge(asked(world, host), ALL))["service.dependencies"]
    assert [f.evidence for f in found if f.verdict is Verdict.CRITICAL] == [
        "LME-NOTES is Running and depends on EventLog, MSExchangeCoCo; not running: MSExchangeCoCo (Stopped)"
    ]


def test_a_service_that_is_gone_leaves_half_a_connector(host: Host) -> None:
    world = healthy("groupwise")
    del world.services["LME-GWISE"]
    assert bad(judge(asked(world, host), ALL)) == {("connector.complete", "warning")}
    listed = replace(host, connectors=("groupwise",))
    assert ("service.registered", "critical") in bad(judge(asked(world, listed), ALL))


def test_listed_and_not_found_is_critical(host: Host) -> None:
    findings = judge(asked(healthy(), replace(host, connectors=("notes",))), ALL)
    assert {("connector.listed", "critical")} == {pair for pair in bad(findings) if pair[1] == "critical"}


def test_found_and_not_listed_is_a_warning_with_the_entry(host: Host) -> None:
    findings = judge(asked(healthy("notes"), replace(host, connectors=())), ALL)
    assert bad(findings) == {("connector.listed", "warning")}
    assert '"notes"' in next(f.remedy for f in findings if f.verdict is Verdict.WARNING)


def test_work_files_are_worth_a_word_only_while_services_are_stopped(host: Host) -> None:
    world = healthy("notes")
    found = by_check(judge(asked(world, host), ALL))["tree.work-files"]
    assert [str(f.verdict) for f in found] == ["ok"]
    for name in ("MSExchangeCoCo", "LME-NOTES"):
        world.services[name] = replace(world.services[name], state="Stopped")
    world.files[rf"{CONNDATA}\Deep\lab.ck"] = b"0"
    found = by_check(judge(asked(world, host), ALL))["tree.work-files"]
    assert [str(f.verdict) for f in found] == ["info"]
    assert "lab.seq" in found[0].evidence
    assert "1 of them in subfolders" in found[0].evidence


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        (b"KitType=1\r\nDirectory=C:\\N\r\n", {"notes.ini-section"}),
        (b"[Notes]\r\nDirectory=C:\\N\r\n", {"notes.ini-kittype"}),
        (b"[Notes]\r\nKitType=1\r\n", {"notes.ini-directory"}),
    ],
)
def test_lines_that_notes_ini_lacks(host: Host, text: bytes, checks: set[str]) -> None:
    world = healthy("notes")
    world.files[r"C:\Lotus\Notes\notes.ini"] = text
    assert bad(judge(asked(world, host), ALL)) == {(check, "warning") for check in checks}


def test_notes_ini_is_looked_for_where_the_directory_says(host: Host) -> None:
    world = healthy("notes")
    world.files[r"D:\N\my.ini"] = b"[Notes]\r\n"
    world.objects = [
        ConnectorObject("msExchNotesConnector", "CN=N (EX01)", (("msExchNotesNotesINI", r"D:\N\my.ini"),), ())
    ]
    facts = asked(world, host)
    assert facts.notes_ini is not None
    assert facts.notes_ini.path == r"D:\N\my.ini"
    assert [f.path for f in facts.files["notes-ini"] if f.exists][0] == r"D:\N\my.ini"  # noqa: RUF015


def test_another_servers_object_gives_no_gateway(host: Host) -> None:
    world = healthy("groupwise")
    world.objects = [replace(world.objects[0], distinguished_name="CN=GroupWise (EX011)")]
    facts = asked(world, host)
    assert facts.roots["gateway"] is None
    assert ("api.reach", "unknown") in bad(judge(facts, ALL))


def test_thirty_lines_are_well_and_thirty_one_are_not(host: Host) -> None:
    world = healthy("notes")
    world.files[rf"{CONNDATA}\Dxamex\Amap.tbl"] = b"A  1\r\n" * 30
    assert bad(judge(asked(world, host), ALL)) == set()
    world.files[rf"{CONNDATA}\Dxamex\Amap.tbl"] = b"A  1\r\n" * 31
    assert bad(judge(asked(world, host), ALL)) == {("notes.amap-lines", "warning")}


def test_a_table_that_cannot_be_read_is_unknown(host: Host) -> None:
    world = healthy("notes")
    world.locked.add(rf"{CONNDATA}\Dxamex\Amap.tbl")
    findings = judge(asked(world, host), ALL)
    assert ("notes.amap-lines", "unknown") in bad(findings)
    assert ("notes.table-tabs", "unknown") in bad(findings)
    locked = [f for f in findings if "locked by another process" in f.evidence]
    assert {f.remedy for f in locked if f.verdict is Verdict.UNKNOWN} == {
        "Close what keeps it open, or take it while that is stopped."
    }


@pytest.mark.parametrize(
    ("change", "check", "verdict", "words"),
    [
        ({"powershell_version": "1.0"}, "host.powershell", "critical", "PowerShell 1.0"),
        ({"powershell_version": ""}, "host.powershell", "unknown", "no version"),
        ({"utc_now": NOW + timedelta(seconds=301)}, "host.clock", "warning", "301 s ahead"),
        ({"utc_now": NOW - timedelta(hours=1)}, "host.clock", "warning", "3600 s behind"),
        ({"is_administrator": False}, "host.rights", "warning", "no administrator"),
        ({"system_path": "C:\\WINDOWS"}, "notes.path", "warning", "not on the PATH"),
        ({"disks": (Disk("C:\\", "Fixed", "NTFS", 8 << 30, 1 << 20),)}, "host.disk-space", "warning", "C:"),
        ({"disks": ()}, "host.disk-space", "unknown", "C:"),
    ],
)
def test_the_host(host: Host, change: dict[str, object], check: str, verdict: str, words: str) -> None:
    world = healthy("notes")
    assert world.host is not None
    world.host = replace(world.host, **change)  # type: ignore[arg-type]
    findings = judge(asked(world, host), ALL)
    assert bad(findings) == {(check, verdict)}
    assert words in next(f.evidence for f in findings if f.check == check)


def test_powershell_too_old_names_the_update(host: Host) -> None:
    world = healthy()
    assert world.host is not None
    world.host = replace(world.host, powershell_version="1.0")
    found = by_check(judge(asked(world, host), ALL))["host.powershell"]
    assert "KB968930" in found[0].remedy


def test_a_setup_key_without_the_service_is_a_leftover(host: Host) -> None:
    world = healthy()
    del world.services["MSExchangeSA"]
    found = by_check(judge(asked(world, host), ALL))["host.exchange"]
    assert [str(f.verdict) for f in found] == ["critical"]
    assert "Q178975" in found[0].source


def test_a_host_without_exchange_is_no_alarm(host: Host) -> None:
    world = World(host=healthy().host)
    findings = judge(asked(world, host), ALL)
    assert bad(findings) == set()
    assert not [c for c in world.calls if c.startswith("tree")]


@pytest.mark.parametrize(
    ("part", "question", "checks"),
    [
        ("host", "host", {"host.clock", "host.powershell", "host.disk-space", "host.rights", "notes.path"}),
        ("services", "services", {"host.exchange", "connector.listed"}),
        ("events", "events", {"notes.events", "notes.process-events", "controller.access-list"}),
        (f"tree {CONNDATA}", "tree conndata", {"tree.present", "notes.amap-lines", "notes.table-tabs"}),
        ("object", "object msExchNotesConnector", {"directory.object"}),
        (f"pack {CONNDATA}", "tables", {"notes.amap-lines", "notes.table-tabs"}),
    ],
)
def test_a_question_that_is_refused_is_unknown_with_the_reason(
    host: Host, part: str, question: str, checks: set[str]
) -> None:
    world = healthy("notes")
    world.refuse[part] = "ExRemote.AccessDenied"
    facts = asked(world, host)
    findings = judge(facts, ALL)
    assert "said no" in facts.unavailable[question]
    unknown = {f.check for f in findings if f.verdict is Verdict.UNKNOWN}
    assert checks <= unknown
    assert any("said no" in f.evidence for f in findings)
    assert worst(findings) in (Verdict.UNKNOWN, Verdict.WARNING)


@pytest.mark.parametrize("what", ["host", "registry", "tree", "pack", "events", "object"])
def test_a_lost_host_is_raised(host: Host, what: str) -> None:
    world = healthy("notes")
    world.lost_at = what
    with pytest.raises(SessionLost):
        asked(world, host)


def test_a_pack_that_ends_early_is_no_answer(host: Host) -> None:
    world = healthy("notes")
    world.cut = 9
    with pytest.raises(TransferMismatch):
        asked(world, host)


# ---- the second hop ---------------------------------------------------------------------------


def unseen(**changes: object) -> ApiDirectoryFact:
    fact = ApiDirectoryFact(API, False, r"LAB\backup", False, False, False, False, "", ())
    return replace(fact, **changes)  # type: ignore[arg-type]


def test_without_a_credential_the_api_directory_is_unknown_never_critical(host: Host) -> None:
    world = healthy("groupwise")
    world.api = unseen()
    findings = judge(asked(world, host), ALL)
    assert {verdict for _, verdict in bad(findings)} == {"unknown"}
    reach = by_check(findings)["api.reach"][0]
    assert "api_credential" in reach.remedy
    assert r"LAB\backup" in reach.evidence


def test_with_a_credential_a_directory_that_is_not_there_is_critical(host: Host) -> None:
    world = healthy("groupwise")
    world.api = unseen()
    findings = judge(asked(world, host, api_account=Account("NW\\x", "y")), ALL)
    assert ("api.reach", "critical") in bad(findings)
    assert ("groupwise.api-in-age", "unknown") in bad(findings)


def test_a_local_directory_is_no_second_hop(host: Host) -> None:
    world = healthy("groupwise")
    world.api = unseen()
    local = replace(host, variables={"groupwise_api": r"D:\Gateway\API"})
    assert ("api.reach", "critical") in bad(judge(asked(world, local), ALL))


def test_a_share_that_refuses_is_said(host: Host) -> None:
    world = healthy("groupwise")
    world.refuse["api"] = "ExRemote.ShareRefused"
    reach = by_check(judge(asked(world, host), ALL))["api.reach"][0]
    assert (str(reach.verdict), "said no" in reach.evidence) == ("unknown", True)
    reach = by_check(judge(asked(world, host, api_account=Account("NW\\x", "y")), ALL))["api.reach"][0]
    assert str(reach.verdict) == "warning"


def test_the_probe_is_asked_for_only_on_demand(host: Host) -> None:
    world = healthy("groupwise")
    probe = by_check(judge(asked(world, host), ALL))["api.probe"][0]
    assert (str(probe.verdict), "--probe" in probe.remedy) == ("info", True)
    probe = by_check(judge(asked(world, host, probe=True), ALL))["api.probe"][0]
    assert str(probe.verdict) == "ok"
    assert r"LAB\backup" in probe.evidence


def judged_probe(host: Host, **changes: object) -> Finding:
    facts = asked(healthy("groupwise"), host, probe=True)
    fact = replace(facts.api_directories["gateway"], **changes)  # type: ignore[arg-type]
    return by_check(judge(replace(facts, api_directories={"gateway": fact}), ALL))["api.probe"][0]


def test_a_probe_that_fails(host: Host) -> None:
    nothing = {"written": False, "read_back": False, "removed": False, "probe_error": "denied"}
    assert str(judged_probe(host, **nothing).verdict) == "unknown"
    assert str(judged_probe(host, **nothing, credential_given=True).verdict) == "critical"
    left = judged_probe(host, removed=False)
    assert str(left.verdict) == "critical"
    assert "not removed" in left.evidence


def test_leftovers_of_a_probe_are_named(host: Host) -> None:
    facts = asked(healthy("groupwise"), host)
    fact = replace(facts.api_directories["gateway"], leftovers=("EXPR0001.TMP",))
    found = by_check(judge(replace(facts, api_directories={"gateway": fact}), ALL))["api.leftovers"]
    assert [(str(f.verdict), f.evidence) for f in found] == [("warning", "EXPR0001.TMP")]


def test_the_queues_ages_and_dead_messages(host: Host) -> None:
    world = healthy("groupwise")
    assert world.api is not None
    old = ApiQueue("API_IN", True, 2, 50, 0, NOW - timedelta(minutes=61))
    young = ApiQueue("API_OUT", True, 2, 50, 0, NOW - timedelta(minutes=59))
    dead = ApiQueue("GWPROB", True, 1, 10, 0, NOW)
    gone = ApiQueue("GWHOLD", False, 0, 0, 0, None)
    world.api = replace(world.api, queues=(old, young, *queues()[2:4], gone, dead))
    assert bad(judge(asked(world, host), ALL)) == {
        ("groupwise.api-in-age", "warning"),
        ("groupwise.dead-messages", "warning"),
        ("api.queues", "warning"),
    }


# ---- trees and tables -------------------------------------------------------------------------


def test_a_missing_conndata_is_critical(host: Host) -> None:
    world = healthy("groupwise")
    world.files = {p: d for p, d in world.files.items() if not p.startswith(CONNDATA)}
    world.folders.clear()
    findings = judge(asked(world, host), ALL)
    assert ("tree.present", "critical") in bad(findings)
    assert ("groupwise.bad-files", "unknown") in bad(findings)


def test_a_locked_file_is_named(host: Host) -> None:
    world = healthy("groupwise")
    world.locked.add(rf"{CONNDATA}\Tables\one.tbl")
    found = by_check(judge(asked(world, host, trees="hash"), ALL))["tree.readable"]
    assert [str(f.verdict) for f in found] == ["warning"]
    assert r"Tables\one.tbl (it is locked by another process)" in found[0].evidence


def test_a_folder_that_cannot_be_listed_is_not_empty(host: Host) -> None:
    facts = asked(healthy("groupwise"), host)
    tree = facts.trees["conndata"]
    entries = tuple(
        replace(e, state="unreadable", error_id="ExRemote.AccessDenied")
        if e.path == r"Gwrouter\badfiles"
        else e
        for e in tree.entries
    )
    findings = judge(replace(facts, trees={"conndata": replace(tree, entries=entries)}), ALL)
    assert ("groupwise.bad-files", "unknown") in bad(findings)


def test_a_huge_archive_is_seen_though_it_is_left_out(host: Host) -> None:
    facts = asked(healthy("groupwise"), host)
    tree = facts.trees["conndata"]
    big = FileEntry(r"Gwrouter\archive\1.API", 2 << 30, ticks(NOW), 32, None, "excluded")
    findings = judge(replace(facts, trees={"conndata": replace(tree, entries=(*tree.entries, big))}), ALL)
    assert bad(findings) == {("groupwise.archive", "warning")}


def test_a_tree_is_held_against_what_the_repository_last_saw_of_it(host: Host) -> None:
    world, seen = healthy("groupwise"), Listing((), "0" * 64)
    tree = asked(world, host, trees="hash", known={"conndata": seen}).trees["conndata"]
    assert world.known[tree.path] is seen
    asked(world, host, trees="list", known={"conndata": seen})
    assert world.known[tree.path] is None, "what has digests is no help where none are wanted"


def test_a_table_emptied_halved_or_gone_is_a_finding() -> None:
    item = ALL["groupwise"].file_trees[0]
    before = {
        r"Tables\a.tbl": 100, r"Tables\b.tbl": 100, r"Tables\c.tbl": 100, r"Tables\D.tbl": 100,
        r"Tables\e.tbl": 0, r"Gwrouter\togwise\x.API": 100,
    }  # fmt: skip
    after = {r"Tables\a.tbl": 0, r"Tables\b.tbl": 50, r"Tables\d.tbl": 51, r"Tables\e.tbl": 0}
    found = judge_tables("EX01", "groupwise", item, before, after)
    assert [(str(f.verdict), f.evidence) for f in found] == [
        ("critical", r"Tables\a.tbl was emptied; it had 100 bytes"),
        ("warning", r"Tables\b.tbl shrank from 100 to 50 bytes"),
        ("critical", r"Tables\c.tbl is gone; it had 100 bytes"),
    ]
    well = judge_tables("EX01", "groupwise", item, after, after)
    assert [(str(f.verdict), f.evidence) for f in well] == [
        ("ok", "2 tables compared with the last snapshot")
    ]


def test_verdicts_have_an_order() -> None:
    names = ["critical", "info", "ok", "warning", "unknown"]
    assert sorted(map(Verdict, names), key=rank) == ["ok", "info", "unknown", "warning", "critical"]
    assert worst(()) is Verdict.OK


# ---- the page ---------------------------------------------------------------------------------


def test_the_page_has_a_paragraph_for_each_check_and_no_other() -> None:
    """Title, severity, remedy and source are those of the connector files and of the rules."""
    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
    paragraphs = dict(re.findall(r"^### `([^`]+)`\n\n(.+)$", page, re.MULTILINE))
    known = dict(RULES) | {c.id: c for connector in ALL.values() for c in connector.checks}  # type: ignore[dict-item]
    assert set(paragraphs) == set(known)
    for name, says in known.items():
        for part in (says.title, f"At worst: {says.severity}.", says.remedy, says.source):
            assert part in paragraphs[name], (name, part)


def test_functions_that_the_files_name_exist_and_are_used() -> None:
    used = {check.function for connector in ALL.values() for check in connector.checks if check.function}
    assert used == set(FUNCTIONS)
