"""A host that lies, falls silent or never ends, met by a session: in one process with the lab's hosts."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from exremote import health
from exremote.connector import Connector
from exremote.credential import Secret
from exremote.errors import LogonRefused, ScriptFailed, TransferMismatch, Unreachable
from exremote.gate import LogonGate
from exremote.inventory import Deadlines, Host, Inventory, RetryPolicy
from exremote.journal import Journal, journals, list_runs, open_shells
from exremote.lab import behaviour
from exremote.lab.behaviour import Answer
from exremote.lab.packing import _record, seal
from exremote.lab.site import HostSpec
from exremote.lab.world import World
from exremote.lab.wsman.engine import Record
from exremote.pack import parse_listing
from exremote.runner import Outcome, State, Visit, each_host
from exremote.script import ScriptLibrary
from exremote.session import Session

NAMES = ("EXA01", "EXB01", "EXC01")
CONNDATA = r"C:\Program Files\Exchsrvr\Conndata"
WIRES = pytest.mark.parametrize("wire", ["psrp", "winrs"])
Lie = Callable[..., Iterator[Record]]


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """Return three hosts, one with a GroupWise connector whose share wants an account."""
    api = (("nwuser", "api-canary-1"),)
    specs = [
        HostSpec(name, ("groupwise",), api=rf"\\NW{name}\SYS\GW\API", api_accounts=api) for name in NAMES
    ]
    world = World(specs)
    try:
        yield world
    finally:
        world.stop()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """Return the hosts as new; no shell may be left."""
    yield shared
    shared.clear_faults()
    users = shared.endpoint._users
    users._file.write_text("")
    users.add(shared.endpoint.user, shared.password)
    for name in NAMES:
        shared.endpoint.counters(name).auth_failures.clear()
        left = shared.shells(name)
        for shell in left:
            shared.endpoint.drop_shell(name, str(shell["id"]))
        assert left == []


@pytest.fixture
def lie(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Lie], None]:
    """Return what has a script answered by something else."""

    def exchange(name: str, told: Lie) -> None:
        honest = behaviour.ANSWERS[name]
        answer: Answer = lambda *args: told(honest, *args)  # noqa: E731
        monkeypatch.setitem(cast(MutableMapping[str, Answer], behaviour.ANSWERS), name, answer)

    return exchange


def host(world: World, name: str = NAMES[0], wire: str = "psrp") -> Host:
    site = Inventory.load(world.inventory, list(Connector.load_all()))
    patience = RetryPolicy(attempts=3, total_s=20.0, first_wait_s=0.05)
    return replace(site.hosts[name], wire=wire, retry=patience, deadlines=Deadlines())  # type: ignore[arg-type]


def session(world: World, name: str = NAMES[0], wire: str = "psrp", **more: Any) -> Session:
    return Session(host(world, name, wire), Secret(world.user, world.password), **more)


def failures(world: World) -> dict[str, int]:
    return {name: sum(world.endpoint.counters(name).auth_failures.values()) for name in NAMES}


def change_password(world: World) -> None:
    world.endpoint._users._file.write_text("")
    world.endpoint._users.add(world.endpoint.user, "changed-in-the-middle")


def visits(
    world: World, folder: Path, work: Callable[[Host, Session], Outcome], stop: threading.Event, **more: Any
) -> tuple[list[Outcome], Path]:
    """Do the work on all hosts as a verb does; return the outcomes and the folder of the journal."""
    hosts = [host(world, name) for name in NAMES]
    accounts = {h.credential.identity: Secret(world.user, world.password) for h in hosts}
    journal = Journal.create(
        folder, "20261122T101500Z-000001", "health", ["health"], lambda: datetime.now(UTC)
    )
    visit = Visit(ScriptLibrary.load(), accounts, journal, {}, work, stop, lambda name, text: None)
    try:
        return each_host(hosts, visit, stop=stop, **more), folder
    finally:
        journal.close("done")


def test_numbers_that_no_host_has_are_unknown(world: World, lie: Callable[[str, Lie], None]) -> None:
    """Python counts no further than 4,300 digits; what a host says must not end a run."""

    def endless(honest: Answer, *args: Any) -> Iterator[Record]:
        for record in honest(*args):
            yield {**cast(dict[str, object], record), "PowerShellVersion": "9" * 5000}

    def many(honest: Answer, *args: Any) -> Iterator[Record]:
        for record in honest(*args):
            yield {**cast(dict[str, object], record), "Count": 10**30}

    lie("Get-HostFact", endless)
    lie("Get-EventSummary", many)
    connectors = Connector.load_all()
    world.machine(NAMES[0]).events[0] = replace(world.machine(NAMES[0]).events[0], hours_ago=(1.0,))
    with session(world) as asked:
        facts = health.collect(asked, host(world), connectors, probe=False, now=datetime.now(UTC))
    found = {f.check: str(f.verdict) for f in health.judge(facts, connectors)}
    assert found["host.powershell"] == "unknown"
    assert found["groupwise.router-events"] == "unknown"
    assert "its contract does not say" in facts.unavailable["events"]


def test_a_tree_that_is_said_to_be_as_it_was(world: World, lie: Callable[[str, Lie], None]) -> None:
    def same(honest: Answer, *args: Any) -> Iterator[Record]:
        *_, last = honest(*args)
        yield {**cast(dict[str, object], last), "Changed": ""}

    lie("Get-FileTree", same)
    with session(world) as asked, pytest.raises(TransferMismatch):
        asked.file_tree(CONNDATA, known=parse_listing(b"3\t0\t32\t" + b"a" * 64 + b"\tother\n"))


@WIRES
def test_answers_that_are_missing_are_asked_for_again(world: World, wire: str) -> None:
    services = ["LME-GWISE", "MSExchangeCoCo", "NoSuch"]
    with session(world, wire=wire) as asked:
        world.fault(f"{NAMES[0]}:Get-ServiceState:2:end")
        assert [state.name for state in asked.service_states(services)][:3] == services
        world.fault(f"{NAMES[0]}:Get-ServiceState:*:skip")
        with pytest.raises(ScriptFailed) as caught:
            asked.service_states(services)
        assert caught.value.error_id == "Session.BadAnswer"


@WIRES
def test_objects_without_end(
    world: World, wire: str, lie: Callable[[str, Lie], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exremote.session.line.MAX_TEXT", 4 << 20)

    def endless(honest: Answer, *args: Any) -> Iterator[Record]:
        while not args[-1].stopping.is_set():
            yield {
                "Class": "msExchConnector", "DistinguishedName": "CN=x",
                "Attributes": ["a=" + "b" * 100_000], "Withheld": [],
            }  # fmt: skip

    lie("Get-ConnectorObject", endless)
    with session(world, wire=wire) as asked:
        with pytest.raises(ScriptFailed, match="more than any host has to say"):
            asked.connector_objects("msExchConnector")
        assert asked.host_fact()


def test_a_file_without_end_is_not_read_to_it(world: World, lie: Callable[[str, Lie], None]) -> None:
    """Health wants a few files; one that goes on for ever is unknown, and the rest is answered."""

    def endless(honest: Answer, *args: Any) -> Iterator[Record]:
        begun = struct.pack("<IqqIq", 0, 0, 638000000000000000, 32, 5)
        yield seal(b"".join(_record(b"F", begun)))
        data = seal(b"".join(_record(b"D", b"\0" * 262_000)))
        while not args[-1].stopping.is_set():
            yield data

    lie("Read-FilePack", endless)
    connectors = Connector.load_all()
    with session(world) as asked:
        facts = health.collect(asked, asked.host, connectors, probe=False, now=datetime.now(UTC))
    said = [*facts.unavailable.values(), *(f.error for found in facts.files.values() for f in found)]
    assert any("longer than it was said to be" in text for text in said)


@WIRES
def test_an_interrupt_is_noticed_while_a_script_is_silent(world: World, wire: str, tmp_path: Path) -> None:
    stop = threading.Event()
    world.fault("*:Get-ServiceState:1-3:delay=60")
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    start = time.monotonic()

    def work(one: Host, asked: Session) -> Outcome:
        asked.service_states(["LME-GWISE"])
        return Outcome(one.name, State.DONE)

    outcomes, _ = visits(world, tmp_path, work, stop, parallel=3)
    assert time.monotonic() - start < 12
    assert {o.exit_code for o in outcomes} == {130}
    assert {o.message for o in outcomes} == {"interrupted"}


@WIRES
def test_a_password_that_is_changed_in_mid_run_costs_one_failure(world: World, wire: str) -> None:
    with session(world, wire=wire) as asked:
        asked.open()
        world.fault(f"{NAMES[0]}:Receive:1:cut=50")
        change_password(world)
        for _ in range(3):
            with pytest.raises(LogonRefused):
                asked.service_states(["LME-GWISE"])
        assert isinstance(asked.refused, LogonRefused)
    assert sum(failures(world).values()) == 1
    for shell in world.shells(NAMES[0]):  # nobody could delete it
        world.endpoint.drop_shell(NAMES[0], str(shell["id"]))


def test_a_password_that_is_changed_is_not_tried_by_the_hosts_that_follow(
    world: World, tmp_path: Path
) -> None:
    def work(one: Host, asked: Session) -> Outcome:
        change_password(world)
        return Outcome(one.name, State.DONE)

    outcomes, _ = visits(world, tmp_path, work, threading.Event(), parallel=1)
    assert [o.exit_code for o in outcomes] == [0, 21, 21]
    assert outcomes[2].message.startswith(f"not tried: {NAMES[1]} refused the same credential")
    assert failures(world) == {NAMES[0]: 0, NAMES[1]: 1, NAMES[2]: 0}


@pytest.mark.parametrize("effect", ["fault=5", "status=403"])
def test_a_host_that_denies_access_speaks_for_itself_alone(world: World, tmp_path: Path, effect: str) -> None:
    world.fault(f"{NAMES[0]}:Create:*:{effect}")

    def work(one: Host, asked: Session) -> Outcome:
        return Outcome(one.name, State.DONE)

    outcomes, _ = visits(world, tmp_path, work, threading.Event(), parallel=1)
    assert [o.exit_code for o in outcomes] == [21, 0, 0]


def test_a_wrong_account_of_a_share_is_tried_once(world: World, lie: Callable[[str, Lie], None]) -> None:
    tried: list[str] = []

    def counted(honest: Answer, *args: Any) -> Iterator[Record]:
        tried.append(args[0].name)
        return honest(*args)

    lie("Connect-Share", counted)
    shares, account = LogonGate(), Secret("nwuser", "wrong")
    for number, name in enumerate(NAMES):
        with session(world, name, shares=shares) as asked, pytest.raises(ScriptFailed) as caught:
            asked.api_directory(rf"\\NW{name}\SYS\GW\API", account=account)
        assert ("was not tried again" in caught.value.text) == bool(number)
    assert len(tried) == 1
    with session(world, shares=shares) as asked:
        assert asked.api_directory(
            rf"\\NW{NAMES[0]}\SYS\GW\API", account=Secret("nwuser", "api-canary-1")
        ).credential_given


def test_a_shell_that_was_made_before_503_is_deleted(world: World, tmp_path: Path) -> None:
    """The first answer made the shell; the host was too busy for the second."""
    world.fault(f"{NAMES[0]}:Receive:1:status=503")
    told: list[tuple[str, str]] = []

    def tell(kind: str, fields: Any) -> None:
        if kind == "shell":
            told.append((fields["what"], fields["shell_id"]))

    once = replace(host(world), retry=RetryPolicy(attempts=1, total_s=5.0, first_wait_s=0.05))
    with Session(once, Secret(world.user, world.password), on_event=tell) as asked:
        with pytest.raises(Unreachable):
            asked.open()
    ((_, shell), *rest) = told
    assert rest == [("closed", shell)]
    assert world.shells(NAMES[0]) == []


def test_a_shell_that_could_not_be_deleted_stays_open_in_the_journal(world: World, tmp_path: Path) -> None:
    for action in ("Receive:1-", "Delete:1-"):
        world.fault(f"{NAMES[0]}:{action}:status=503")

    def work(one: Host, asked: Session) -> Outcome:
        return Outcome(one.name, State.DONE)

    _, folder = visits(world, tmp_path, work, threading.Event(), parallel=3)
    (record,) = list_runs(journals(folder))
    left = {str(shell["id"]) for shell in world.shells(NAMES[0])}
    assert left
    assert left <= {shell.id for shell in open_shells(record.events) if shell.host == NAMES[0]}
    for shell in left:
        world.endpoint.drop_shell(NAMES[0], shell)


@pytest.mark.parametrize("path", ["C:", "C:Program Files", r"Program Files", r"\Windows"])
def test_a_path_that_hangs_on_where_a_drive_stands_is_refused(world: World, path: str) -> None:
    with session(world) as asked:
        for ask in (
            lambda: asked.file_tree(path),
            lambda: asked.api_directory(path),
            lambda: list(asked.read_pack(path, ["a"])),
        ):
            with pytest.raises(ScriptFailed) as caught:
                ask()  # type: ignore[no-untyped-call]
            assert caught.value.error_id == "ExRemote.BadArgument"
