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

from exremote.checks.functions import FUNCTIONS
from exremote.checks.rules import RULES
from exremote.checks.running import ended
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
    NamedFile,
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
INI = r"C:\Lotus\Notes\notes.ini"
NOTES_DATA = rb"C:\Lotus\Notes\Data"
SETUP = r"HKLM\SOFTWARE\Microsoft\Exchange\Setup"
LOTUS = r"HKLM\SOFTWARE\Lotus\Notes"
SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
MSMCON = r"D:\Msmcon"
SHARES = rf"{SERVICES}\LanmanServer\Shares"
OFFICE = r"\\CC01\PO"
DEPENDS: Mapping[str, tuple[str, ...]] = {
    "EventLog": (),
    "NWCWorkstation": (),
    "MSExchangeIS": ("MSExchangeSA",),
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
    running: list[str] = field(default_factory=list)
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

    def host_fact(self, on_path: Sequence[str] = (), processes: Sequence[str] = ()) -> HostFact:
        self._called("host")
        assert self.host is not None
        wanted = {
            f"{folder}\\{name}".lower() for folder in self.host.system_path.split(";") for name in on_path
        }
        found = tuple(path for path in self.files if path.lower() in wanted)
        return replace(self.host, on_path=found, processes=tuple(n for n in processes if n in self.running))

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

    def service_states(
        self, names: Sequence[str], titles: Sequence[str] = (), programs: Sequence[str] = ()
    ) -> list[ServiceState]:
        self._called("services")
        nothing = ServiceState("", False, "", "", "", "", "", False, ())
        answers = {name: self.services.get(name, replace(nothing, name=name)) for name in names}
        further = [name for state in answers.values() for name in state.depends_on]
        further += [s.name for s in self.services.values() if s.display_name.startswith(tuple(titles))]
        found = [s for s in self.services.values() if any(p in s.image_path.lower() for p in programs)]
        further += [name for state in found for name in (state.name, *state.depends_on)]
        for name in further:
            answers.setdefault(name, self.services.get(name, replace(nothing, name=name)))
        return list(answers.values())

    def file_facts(self, paths: Sequence[str]) -> list[NamedFile]:
        self._called("files")
        known = {p.lower(): data for p, data in self.files.items()}
        return [
            NamedFile(path, True, len(data), hashlib.sha256(data).hexdigest(), kind="MZ")
            if (data := known.get(path.lower())) is not None
            else NamedFile(path, False)
            for path in paths
        ]

    def file_tree(
        self, path: str, exclude: Sequence[str] = (), known: Listing | None = None, hashed: bool = True
    ) -> TreeFact:
        self._called(f"tree {path}")
        below = path.rstrip("\\").lower() + "\\"
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
        name,
        True,
        f"Microsoft {name}",
        "Running",
        "Manual",
        "LocalSystem",
        image,
        True,
        DEPENDS.get(name, ()),
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
    world.services["EventLog"] = service("EventLog", "services.exe")
    world.services["MSExchangeSA"] = service("MSExchangeSA", "mad.exe")
    world.services["MSExchangeCoCo"] = service("MSExchangeCoCo", "Lscntrl.exe")
    world.registry[rf"{SERVICES}\MSExchangeCoCo", "ImagePath"] = "x"
    world.files[rf"{CONNDATA}\Exchconn.ini"] = b"[Exchconn]"
    world.files[rf"{CONNDATA}\lab.seq"] = b"0001"
    world.files[rf"{CONNDATA}\Tables\one.tbl"] = b"x" * 900
    world.files[rf"{CONNDATA}\Dxamex\Amap.tbl"] = b"ALIAS  64\r\n"
    if "notes" in connectors:
        world.services["LME-NOTES"] = service("LME-NOTES", "Dispatch.exe")
        world.running += ["Lsdxa.exe", "Lsmexin.exe", "Lsmexout.exe", "Lsmexnts.exe", "Lsntsmex.exe"]
        world.registry[rf"{SERVICES}\LME-NOTES", "ImagePath"] = "x"
        world.registry[LOTUS, "Path"] = "C:\\Lotus\\Notes\\"
        world.registry[LOTUS, "DataPath"] = r"C:\Lotus\Notes\Data"
        world.files[rf"{CONNDATA}\Dxanotes\Mapmex.tbl"] = b"FullName  Dn\r\n"
        world.files[r"C:\Lotus\Notes\notes.exe"] = b"MZ"
        world.files[INI] = b"[Notes]\r\nKitType=1\r\nDirectory=%b\r\nKeyFileName=ex.id\r\n" % NOTES_DATA
        world.files[r"C:\Lotus\Notes\nnotes.dll"] = b"MZ"
        world.files[r"C:\Lotus\Notes\Data\ex.id"] = b"key"
        world.objects.append(ConnectorObject("msExchNotesConnector", "CN=Notes (EX01)", (), ()))
    if "groupwise" in connectors:
        world.services["NWCWorkstation"] = service("NWCWorkstation", "nwc.exe")
        world.services["MSExchangeGWRtr"] = service("MSExchangeGWRtr", "Gwrouter.exe")
        world.services["LME-GWISE"] = service("LME-GWISE", "Dispatch.exe")
        world.registry[rf"{SERVICES}\LME-GWISE", "ImagePath"] = "x"
        world.registry[rf"{SERVICES}\NWCWorkstation", "ImagePath"] = "x"
        world.files[rf"{EXCH}\bin\nwc.exe"] = b"MZ"
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
    if "msmail" in connectors:
        disks = (*world.host.disks, Disk("D:\\", "Fixed", "NTFS", 9 << 30, 4 << 30))
        world.host = replace(world.host, disks=disks)
        mt = rf'"{MSMCON}\Bin\Mt.exe"'
        world.services["MSExchangeMSMI"] = service("MSExchangeMSMI", "Mt.exe", image_path=mt)
        world.services["MTA Vienna"] = service("MTA Vienna", "", image_path=rf'"{MSMCON}\Bin\mta.exe"')
        world.registry[rf"{SERVICES}\MSExchangeMSMI", "ImagePath"] = mt
        world.registry[rf"{SERVICES}\MTA Vienna", "ImagePath"] = "x"
        world.registry[SHARES, "Maildat$"] = f"CSCFlags=0\nPath={MSMCON}\\Maildata\nType=0"
        world.files[rf"{MSMCON}\Maildata\Glb\Process.glb"] = b"x"
        world.files[rf"{MSMCON}\Bin\mta.exe"] = b"MZ"
        world.objects.append(ConnectorObject("mSMailConnector", "CN=MS Mail (EX01)", (), ()))
    if "ccmail" in connectors:
        world.services["MSExchangeCCMC"] = service("MSExchangeCCMC", "Ccmc.exe")
        world.registry[rf"{SERVICES}\MSExchangeCCMC\Parameters", "Import"] = "IMPORT"
        for name in ("Import.exe", "Export.exe", "IE.RI"):
            world.files[rf"C:\WINDOWS\{name}"] = b"MZ"
        world.folders.add(rf"{EXCH}\Ccmcdata\Submit")
        world.files[rf"{OFFICE}\CCPOMBOX.*"] = b"found"
        world.objects.append(ConnectorObject("msExchccMailConnector", "CN=ccMail (EX01)", (), ()))
    return world


SAID = f"""
[hosts.EX01.variables]
ccmail_database = "DB8"
ccmail_post_office = '{OFFICE}'
netware_media = "shelf 3"
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    path = tmp_path / "inventory.toml"
    path.write_text(
        '[hosts.EX01]\naddress = "ex01"\n'
        'credential = { environment = "NOBODY_SETS_THIS", username = "LAB\\\\backup" }\n' + SAID
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
    facts = asked(healthy(*ALL), host)
    assert {name: p.state for name, p in facts.connectors.items()} == dict.fromkeys(ALL, "present")
    assert facts.unavailable == {}
    assert bad(judge(facts, ALL)) == set()
    assert HostFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_every_check_of_the_files_gives_a_finding(host: Host) -> None:
    findings = by_check(judge(asked(healthy(*ALL), host), ALL))
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
    assert world.calls.count("services") == 1, "what they depend on is answered in the same call"


def test_the_work_of_a_sick_monday(host: Host) -> None:
    """Each misfortune of the demo's sick machine is a finding with numbers, names, remedy and source."""
    world = healthy("groupwise")
    world.services["LME-GWISE"] = replace(world.services["LME-GWISE"], state="Stopped")
    world.files[rf"{CONNDATA}\Gwrouter\badfiles\36ED2937.API"] = b"x" * 30
    world.files[rf"{CONNDATA}\DxaGwise\Mapgwise.tbl"] = b"Alias  Object\r\nDn\tFid\r\n"
    assert world.api is not None
    old = NOW - timedelta(hours=30)
    stuck = ApiQueue("API_OUT", True, 1, 0, 1, old, old)
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


def test_a_dependency_is_never_well_unasked(host: Host) -> None:
    """A service that the connectors do not name is asked for too; without an answer it is unknown."""
    world = healthy("notes")
    needs = ("EventLog", "MSExchangeIS")
    world.services["LME-NOTES"] = replace(world.services["LME-NOTES"], depends_on=needs)

    def dependencies() -> tuple[str, str]:
        facts = asked(world, host)
        found = by_check(judge(facts, ALL))["service.dependencies"]
        (mine,) = [f for f in found if f.evidence.startswith("LME-NOTES")]
        unasked = replace(facts, services=tuple(s for s in facts.services if s.name != "MSExchangeIS"))
        again = by_check(judge(unasked, ALL))["service.dependencies"]
        (dark,) = [f for f in again if f.evidence.startswith("LME-NOTES")]
        expected = "ok" if world.services["LME-NOTES"].state == "Stopped" else "unknown"
        assert (str(dark.verdict), "not known: MSExchangeIS" in dark.evidence) == (expected, True)
        return str(mine.verdict), mine.evidence.partition("; ")[2]

    assert dependencies() == ("critical", "not running: MSExchangeIS (not registered)")
    store = world.services["MSExchangeIS"] = service("MSExchangeIS", "store.exe")
    assert dependencies() == ("ok", "")
    world.services["MSExchangeIS"] = replace(store, state="Stopped")
    assert dependencies() == ("critical", "not running: MSExchangeIS (Stopped)")
    world.services["MSExchangeIS"] = replace(store, state="Unknown")
    assert dependencies() == ("unknown", "not known: MSExchangeIS")
    world.services["LME-NOTES"] = replace(world.services["LME-NOTES"], state="Stopped")
    assert dependencies()[0] == "ok"


def test_a_registration_that_cannot_be_read_is_unknown(host: Host) -> None:
    """What it does is known all the same, and it is a sign of the connector."""
    world = healthy("notes")
    closed = ServiceState("", True, "x", "Running", "Unknown", "", "", False, (), readable=False)
    for name in ("LME-NOTES", "MSExchangeSA"):
        world.services[name] = replace(closed, name=name)
    facts = asked(world, host)
    assert facts.connectors["notes"].state == "present"
    findings = judge(facts, ALL)
    assert bad(findings) == {
        ("host.exchange", "unknown"),
        ("service.program", "unknown"),
        ("service.start-mode", "unknown"),
        ("service.dependencies", "unknown"),
    }
    running = [f for f in by_check(findings)["service.running"] if "LME-NOTES" in f.evidence]
    assert [str(f.verdict) for f in running] == ["ok"]


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
    ("line", "findings"),
    [
        (b"[Notes]", {("notes.ini-section", "warning")}),
        (b"KitType=1", {("notes.ini-kittype", "warning")}),
        (b"Directory=" + NOTES_DATA, {("notes.ini-directory", "warning"), ("notes.data-folder", "unknown")}),
        (b"KeyFileName=ex.id", {("file.present", "unknown")}),
    ],
)
def test_lines_that_notes_ini_lacks(host: Host, line: bytes, findings: set[tuple[str, str]]) -> None:
    world = healthy("notes")
    world.files[INI] = world.files[INI].replace(line, b"")
    assert bad(judge(asked(world, host), ALL)) == findings


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


# ---- the places that Notes.ini names ----------------------------------------------------------


def notes_at(folder: str, *more: bytes, ids: Sequence[str] = ()) -> World:
    """Return a healthy host whose Notes.ini says another data folder than the registry does."""
    world = healthy("notes")
    world.files[INI] = b"\r\n".join([b"[Notes]", b"KitType=1", b"Directory=" + folder.encode(), *more])
    world.files[folder.rstrip("\\") + r"\names.nsf"] = b"live"
    world.files |= dict.fromkeys(ids, b"key")
    return world


def test_the_data_folder_of_notes_ini_goes_before_the_registrys(host: Host) -> None:
    world = notes_at(r"D:\NotesLive", rb"KeyFileName=D:\ids\server.id", ids=[r"D:\ids\server.id"])
    facts = asked(world, host, trees="hash")
    assert facts.trees["notes-data"].path == r"D:\NotesLive"
    assert [(f.path, f.exists) for f in facts.files["notes-id"]] == [(r"D:\ids\server.id", True)]
    findings = judge(facts, ALL)
    assert bad(findings) == {("notes.data-folder", "warning"), ("host.disk-space", "unknown")}
    (differ,) = by_check(findings)["notes.data-folder"]
    assert r"D:\NotesLive" in differ.evidence
    assert r"C:\Lotus\Notes\Data" in differ.evidence


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (b"KeyFileName=server.id", r"D:\NotesLive\server.id"),
        (rb"KeyFileName=ids\server.id", r"D:\NotesLive\ids\server.id"),
        (rb"KeyFileName=..\ids\server.id", r"D:\ids\server.id"),
        (rb"KeyFileName=\ids\server.id", r"D:\ids\server.id"),
        (rb"keyfilename = E:\server.id", r"E:\server.id"),
    ],
)
def test_the_id_file_is_where_notes_ini_says(host: Host, line: bytes, place: str) -> None:
    world = notes_at(r"D:\NotesLive", line, ids=[place])
    facts = asked(world, host)
    assert [(f.path, f.exists) for f in facts.files["notes-id"]] == [(place, True)]


def test_an_id_file_in_a_folder_that_is_listed_is_not_read_for_a_look_at_it(host: Host) -> None:
    """It is a secret, and a call costs two round trips; one that the listing could not read is asked for."""
    world = healthy("notes")
    asked(world, host)
    assert not [c for c in world.calls if c.startswith(r"pack C:\Lotus\Notes\Data")]
    world.locked.add(r"C:\Lotus\Notes\Data\ex.id")
    facts = asked(world, host, trees="hash")
    assert [f.error for f in facts.files["notes-id"]] == ["it is locked by another process: in use"]


def test_an_id_file_that_is_gone_is_critical_and_one_that_nobody_names_unknown(host: Host) -> None:
    world = notes_at(r"D:\NotesLive", rb"KeyFileName=D:\ids\server.id")
    found = [f for f in judge(asked(world, host), ALL) if "server.id" in f.evidence]
    assert [(f.check, str(f.verdict)) for f in found] == [("file.present", "critical")]
    facts = asked(notes_at(r"D:\NotesLive"), host)
    (found,) = [f for f in by_check(judge(facts, ALL))["file.present"] if f.verdict is Verdict.UNKNOWN]
    assert "notes_id" in found.evidence
    assert "KeyFileName=" in found.evidence
    said = asked(
        notes_at(r"D:\NotesLive"), replace(host, variables={"notes_id": r"C:\Lotus\Notes\notes.exe"})
    )
    assert said.files["notes-id"][0].exists


def test_half_a_path_in_notes_ini_is_no_folder_and_no_other_takes_its_place(host: Host) -> None:
    """The registry's folder would be another one than the connector works in."""
    facts = asked(notes_at("NotesLive", b"KeyFileName=x.id"), host)
    assert facts.roots["notes_data"] is None
    assert facts.roots["notes_id"] is None
    assert "it says NotesLive, which is no full path" in facts.unavailable["tree notes-data"]
    assert {("tree.present", "unknown"), ("file.present", "unknown")} <= bad(judge(facts, ALL))


def test_without_a_notes_ini_the_registry_says_where_the_data_folder_is(host: Host) -> None:
    world = healthy("notes")
    del world.files[INI]
    facts = asked(world, host)
    assert facts.roots["notes_data"] == r"C:\Lotus\Notes\Data"
    assert {("file.present", "critical"), ("file.present", "unknown")} <= bad(judge(facts, ALL))


@pytest.mark.parametrize("said", ["D:\\", '"D:\\"', "D:"])
def test_the_root_of_a_drive_keeps_its_backslash(host: Host, said: str) -> None:
    """`D:` is the folder where the drive happens to stand, and no script takes it."""
    world = notes_at(said.strip('"'), b"KeyFileName=server.id", ids=[r"D:\server.id", r"D:\names.nsf"])
    world.files[INI] = world.files[INI].replace(said.strip('"').encode(), said.encode())
    world.registry[LOTUS, "DataPath"] = said
    facts = asked(world, host)
    assert "tree D:\\" in world.calls
    assert facts.trees["notes-data"].path == "D:\\"
    assert [f.path for f in facts.files["notes-id"]] == [r"D:\server.id"]
    assert bad(judge(facts, ALL)) == {("host.disk-space", "unknown")}


# ---- what is on the PATH, and how NetWare is reached ------------------------------------------


def test_a_second_library_on_the_path_is_a_warning(host: Host) -> None:
    world = healthy("notes")
    assert world.host is not None
    world.host = replace(world.host, system_path=r"C:\WINDOWS;C:\Old;C:\Lotus\Notes")
    assert bad(judge(asked(world, host), ALL)) == set()
    world.files[r"C:\Old\NNOTES.DLL"] = b"MZ"
    (stray,) = by_check(judge(asked(world, host), ALL))["notes.second-library"]
    assert (str(stray.verdict), r"C:\Old\NNOTES.DLL" in stray.evidence) == ("warning", True)


def test_a_path_to_another_computer_is_not_looked_into(host: Host) -> None:
    world = healthy("notes")
    assert world.host is not None
    world.host = replace(world.host, system_path=r"\\FS01\tools;C:\Lotus\Notes")
    (found,) = by_check(judge(asked(world, host), ALL))["notes.second-library"]
    assert (str(found.verdict), r"\\FS01\tools" in found.evidence) == ("unknown", True)
    facts = asked(healthy("notes"), host)
    assert facts.host_fact is not None
    old = replace(facts, host_fact=replace(facts.host_fact, on_path=None))
    assert ("notes.second-library", "unknown") in bad(judge(old, ALL))


def netware(world: World, host: Host) -> tuple[str, str, str]:
    (found,) = by_check(judge(asked(world, host), ALL))["groupwise.netware-service"]
    return str(found.verdict), found.evidence, found.remedy


def test_the_service_for_netware_is_detected_or_named(host: Host) -> None:
    world = healthy("groupwise")
    assert netware(world, host)[0] == "ok"
    nwc = world.services.pop("NWCWorkstation")
    verdict, evidence, remedy = netware(world, host)
    assert (verdict, "NWCWorkstation" in evidence, "netware_service" in remedy) == ("unknown", True, True)
    named = replace(host, variables={"netware_service": "SiteNetWare"})
    assert netware(world, named)[:2] == (
        "warning",
        "SiteNetWare, which the inventory names, is not registered",
    )
    world.services["SiteNetWare"] = replace(nwc, name="SiteNetWare", state="Stopped")
    assert netware(world, host)[0] == "unknown", "nobody asks for a service that nobody names"
    assert netware(world, named)[0] == "warning"
    world.services["SiteNetWare"] = replace(nwc, name="SiteNetWare")
    assert netware(world, named)[0] == "ok"
    world.services["nwfs"] = replace(nwc, name="nwfs", display_name="Novell Client", state="Stopped")
    assert netware(world, host)[:2] == ("warning", "nwfs (Novell Client): Stopped")


def test_a_gateway_on_the_host_itself_needs_no_netware(host: Host) -> None:
    world = healthy("groupwise")
    del world.services["NWCWorkstation"]
    assert netware(world, replace(host, variables={"groupwise_api": r"D:\Gateway\API"}))[0] == "ok"


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
        ({"powershell_version": "9" * 5000}, "host.powershell", "unknown", "PowerShell 999"),
        ({"powershell_version": "2x"}, "host.powershell", "unknown", "PowerShell 2x"),
        ({"powershell_version": "\u0662.0"}, "host.powershell", "unknown", "PowerShell"),
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


RUN = {"notes.processes", "notes.client-closed"}


@pytest.mark.parametrize(
    ("state", "running", "expected", "words"),
    [
        ("Running", None, {"ok"}, "LME-NOTES runs, and so do Lsdxa.exe, Lsmexin.exe"),
        ("Running", ["Lsdxa.exe"], {"warning", "ok"}, "not running: Lsmexin.exe, Lsmexout.exe, Lsmexnts.exe"),
        ("Running", [], {"warning", "ok"}, "LME-NOTES runs; not running: Lsdxa.exe"),
        ("Stopped", [], {"ok"}, "LME-NOTES does not run"),
        ("Stopped", ["nlnotes.exe"], {"ok"}, "LME-NOTES does not run"),
        ("Running", ["notes.exe"], {"warning"}, "LME-NOTES runs, and so does notes.exe"),
        ("Unknown", [], {"unknown"}, "the state of LME-NOTES is not known"),
    ],
)
def test_processes_are_judged_by_the_service_that_they_belong_to(
    host: Host, state: str, running: list[str] | None, expected: set[str], words: str
) -> None:
    world = healthy("notes")
    world.services["LME-NOTES"] = replace(world.services["LME-NOTES"], state=state)
    world.running = world.running if running is None else running
    found = [f for f in judge(asked(world, host), ALL) if f.check in RUN]
    assert {str(f.verdict) for f in found} == expected
    assert any(words in f.evidence for f in found)


def test_of_processes_that_nobody_was_asked_about_nothing_is_said(host: Host) -> None:
    facts = asked(healthy("notes"), host)
    assert facts.host_fact is not None
    old = replace(facts, host_fact=replace(facts.host_fact, processes=None))
    assert {(f.check, str(f.verdict)) for f in judge(old, ALL) if f.check in RUN} == {
        (check, "unknown") for check in RUN
    }


def run(number: int, *hours_ago: float) -> list[EventCount]:
    last = NOW - timedelta(hours=min(hours_ago, default=0))
    return [EventCount("MSExchangeCCMC", number, "Information", len(hours_ago), last, "")] * bool(hours_ago)


@pytest.mark.parametrize(
    ("begun", "done", "verdict", "words"),
    [
        ((), (), "ok", "none began in the last 24 hours"),
        ((), (3,), "ok", "none began"),
        ((9,), (8,), "ok", "begun 1 time, last 2026"),
        ((9,), (), "warning", "never ended"),
        ((9,), (10,), "warning", "begun 1 time"),
        ((3,), (), "ok", "may still be under way"),
        ((3, 20), (), "warning", "may still be under way"),
        ((3, 20), (19,), "ok", "may still be under way"),
        ((9, 20), (8,), "warning", "ended 1 time"),
    ],
)
def test_a_synchronization_that_began_has_to_end(
    host: Host, begun: tuple[float, ...], done: tuple[float, ...], verdict: str, words: str
) -> None:
    check = next(c for c in ALL["ccmail"].checks if c.id == "ccmail.directory-sync")
    facts = replace(asked(healthy(), host), events=(*run(14001, *begun), *run(14031, *done)), event_hours=24)
    found = ended(facts, check, "ccmail")
    assert (str(found.verdict), words in found.evidence) == (verdict, True), found.evidence
    unread = replace(facts, unavailable={"events": "the log is closed"})
    assert str(ended(unread, check, "ccmail").verdict) == "unknown"


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
        ("host", "host", {"notes.processes", "notes.client-closed"}),
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


@pytest.mark.parametrize(
    ("change", "verdict", "evidence"),
    [
        ({}, "ok", "none"),
        ({"leftovers": ("A",)}, "warning", "A"),
        ({"leftovers": ("A",), "probed": True}, "warning", "A"),
        ({"leftovers": ("A",), "cleared": ("A",), "probed": True}, "ok", "A (removed now)"),
        ({"leftovers": ("A", "B"), "cleared": ("A",), "probed": True}, "warning", "B; A (removed now)"),
        ({"leftover_error": "B: in use"}, "unknown", "not all could be looked at: B: in use"),
        ({"probe_error": "B: in use"}, "unknown", "not all could be looked at: B: in use"),
        ({"probe_error": "disk full", "probed": True}, "ok", "none"),
        (
            {"leftovers": ("A",), "leftover_error": "B: in use"},
            "warning",
            "A; not all could be looked at: B: in use",
        ),
    ],
)
def test_leftovers_are_gone_only_if_that_is_known(
    host: Host, change: dict[str, object], verdict: str, evidence: str
) -> None:
    facts = asked(healthy("groupwise"), host)
    fact = replace(facts.api_directories["gateway"], **change)  # type: ignore[arg-type]
    (found,) = by_check(judge(replace(facts, api_directories={"gateway": fact}), ALL))["api.leftovers"]
    assert (str(found.verdict), found.evidence) == (verdict, evidence)


@pytest.mark.parametrize(("minutes", "verdict"), [(0, "ok"), (15, "ok"), (16, "critical"), (None, "unknown")])
def test_an_empty_file_counts_from_an_age_on(host: Host, minutes: int | None, verdict: str) -> None:
    """Every file is empty when it has just been made; of one whose age nobody told nothing is known."""
    facts = asked(healthy("groupwise"), host)
    since = None if minutes is None else NOW - timedelta(minutes=minutes)
    queue = ApiQueue("API_OUT", True, 2, 30, 1, NOW - timedelta(minutes=30), since)
    fact = replace(facts.api_directories["gateway"], queues=(queue,))
    (found,) = by_check(judge(replace(facts, api_directories={"gateway": fact}), ALL))[
        "groupwise.api-out-zero-byte"
    ]
    assert str(found.verdict) == verdict
    assert "1 empty" in found.evidence


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
    found = judge_tables(listed_as(after), "groupwise", item, before)
    assert [(str(f.verdict), f.evidence) for f in found] == [
        ("critical", r"Tables\a.tbl was emptied; it had 100 bytes"),
        ("warning", r"Tables\b.tbl shrank from 100 to 50 bytes"),
        ("critical", r"Tables\c.tbl is gone; it had 100 bytes"),
    ]
    well = judge_tables(listed_as(after), "groupwise", item, after)
    assert [(str(f.verdict), f.evidence) for f in well] == [
        ("ok", "2 tables compared with the last snapshot")
    ]


def listed_as(sizes: Mapping[str, int], **states: str) -> HostFacts:
    """Return facts of a Conndata with these files; `states` of some, by the name without its ending."""
    entries = []
    for path, size in sizes.items():
        state = states.get(path.rpartition("\\")[2].partition(".")[0], "file" if size >= 0 else "directory")
        error = "ExRemote.FileLocked" if state == "unreadable" else ""
        entries.append(FileEntry(path, size, ticks(NOW), 32, None, state, error))
    tree = TreeFact(CONNDATA, True, len(entries), 0, "", tuple(entries))
    return HostFacts("EX01", NOW, trees={"conndata": tree})


def test_a_table_that_cannot_be_read_is_not_gone() -> None:
    """Nor is one below a folder that may not be listed, or below a link that is not followed."""
    item = ALL["groupwise"].file_trees[0]
    before = {r"Tables\a.tbl": 100, r"Dxamex\b.tbl": 100, r"DxaGwise\c.tbl": 100}
    facts = listed_as(
        {r"tables\A.tbl": 100, "Dxamex": -1, "DxaGwise": -1, "Tables": -1},
        A="unreadable",
        Dxamex="unreadable",
        DxaGwise="reparse",
    )
    found = judge_tables(facts, "groupwise", item, before)
    assert [(str(f.verdict), f.evidence) for f in found] == [
        ("unknown", r"DxaGwise\c.tbl cannot be read (a link to another place); it had 100 bytes"),
        ("unknown", r"Dxamex\b.tbl cannot be read (it is locked by another process); it had 100 bytes"),
        ("unknown", r"Tables\a.tbl cannot be read (it is locked by another process); it had 100 bytes"),
    ]
    unseen = HostFacts("EX01", NOW, unavailable={"tree conndata": "said no"})
    (found_none,) = judge_tables(unseen, "groupwise", item, before)
    assert (str(found_none.verdict), found_none.evidence) == ("unknown", "said no")


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
