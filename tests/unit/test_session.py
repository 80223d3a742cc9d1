"""The session: what it asks, how it reads answers, its patience; over a wire that plays what it is told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from exremote.credential import Credential
from exremote.credential import Secret as Account
from exremote.errors import (
    AccessDenied,
    HostError,
    LogonRefused,
    QuotaExceeded,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
    TransferMismatch,
    Unreachable,
)
from exremote.gate import LogonGate
from exremote.inventory import Deadlines, Host, RetryPolicy
from exremote.pack import encode_lines, parse_listing, seal_block
from exremote.script import Effect, Script, ScriptLibrary
from exremote.session import Session
from exremote.transport import Address, Login, Piece, Secret, ShellEvent, Value, WireSettings

LIBRARY = ScriptLibrary.load()
HOST = Host(
    name="EX01",
    address="ex01.example",
    credential=Credential(kind="environment", username="u", reference="V"),
    retry=RetryPolicy(attempts=3, total_s=60.0, first_wait_s=0.5),
)
LOST = SessionLost("EX01", "the connection was lost.")
Step = Sequence[object] | HostError


@dataclass
class Wire:
    """All transports of one test: answers in order, and what was asked."""

    answers: list[Step]
    opens: list[HostError | None] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Value]]] = field(default_factory=list)
    made: int = 0
    closed: int = 0
    logins: list[Login] = field(default_factory=list)
    refuses: AccessDenied | None = None

    def __call__(
        self, address: Address, login: Login, settings: WireSettings, on_shell: ShellEvent
    ) -> _Transport:
        self.made += 1
        self.logins.append(login)
        return _Transport(self, on_shell, f"shell-{self.made}")


@dataclass
class _Transport:
    wire: Wire
    on_shell: ShellEvent
    name: str
    shell_id: str | None = None
    refused: AccessDenied | None = None

    def open(self) -> None:
        if self.shell_id is None:
            if self.wire.opens and (error := self.wire.opens.pop(0)):
                raise error
            self.shell_id = self.name
            self.on_shell("opened", self.name)

    def run(
        self,
        script: str,
        parameters: Mapping[str, Value],
        source: Iterable[object] | None = None,
        deadline_s: float = 300.0,
        label: str = "",
    ) -> Generator[object, None, None]:
        assert script == LIBRARY.get(label).text
        self.wire.asked.append((label, {k: v for k, v in parameters.items() if v is not None}))
        answer = self.wire.answers.pop(0)
        if isinstance(answer, HostError):
            raise answer
        for record in answer:
            if isinstance(record, HostError):
                raise record
            if isinstance(record, bytes):
                yield Piece(record[:2], False)
                yield Piece(record[2:], True)
            else:
                yield record

    def close(self) -> None:
        self.wire.closed += 1
        self.refused = self.wire.refuses
        if self.shell_id is not None:
            self.on_shell("closed", self.name)

    def delete_shell(self, shell_id: str, kind: str = "") -> bool:
        return shell_id == "left"


class Told(list[tuple[str, dict[str, object]]]):
    """Events and waits of a session."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def __call__(self, kind: str, fields: Mapping[str, object]) -> None:
        self.append((kind, dict(fields)))

    @property
    def retries(self) -> list[dict[str, object]]:
        return [fields for kind, fields in self if kind == "retry"]


def session(
    wire: Wire, told: Told | None = None, library: ScriptLibrary = LIBRARY, host: Host = HOST
) -> Session:
    told = told if told is not None else Told()
    return Session(
        host,
        Account("u", "p"),
        library=library,
        transport_factory=wire,
        on_event=told,
        sleep=told.waits.append,
    )


def service(name: str) -> dict[str, object]:
    texts = dict.fromkeys(("DisplayName", "State", "StartMode", "Account", "ImagePath"), "")
    lists = {"DependsOn": [], "Readable": True}
    return {"Name": name, "Exists": False, "ImageExists": False, **lists, **texts}


def test_a_transient_error_is_tried_again_over_a_new_transport() -> None:
    told, wire = Told(), Wire([LOST, [service("a")]])
    with session(wire, told) as asked:
        assert [s.name for s in asked.service_states(["a"])] == ["a"]
    assert (wire.made, wire.closed) == (2, 2)
    (retry,) = told.retries
    assert (retry["script"], retry["attempt"]) == ("Get-ServiceState", 1)
    assert "the connection was lost" in str(retry["error"])
    assert retry["wait_s"] == pytest.approx(told.waits[0], abs=0.001)
    assert told.waits[0] <= 0.5
    assert [f for k, f in told if k == "shell"] == [
        {"what": what, "host": "EX01", "shell_id": f"shell-{n}", "wire": "psrp"}
        for n in (1, 2)
        for what in ("opened", "closed")
    ]


@pytest.mark.parametrize("kind", [Unreachable, SessionLost, RemoteTimeout, QuotaExceeded])
def test_patience_ends_with_the_last_attempt(kind: type[HostError]) -> None:
    told, error = Told(), kind("EX01", "no.")
    wire = Wire([error] * 9)
    with session(wire, told) as asked, pytest.raises(kind) as caught:
        asked.host_fact()
    assert caught.value is error
    assert len(wire.asked) == 3
    assert len(told.retries) == 2


def test_patience_ends_with_the_total_time() -> None:
    told, wire = Told(), Wire([LOST] * 9)
    impatient = Session(
        HOST,
        library=LIBRARY,
        transport_factory=wire,
        on_event=told,
        sleep=told.waits.append,
        policy=RetryPolicy(attempts=100, total_s=0.0, first_wait_s=0.5),
    )
    with impatient, pytest.raises(SessionLost):
        impatient.host_fact()
    assert told.waits == []


@pytest.mark.parametrize(
    "error", [ScriptFailed("EX01", "no.", script="s", error_id="ExRemote.X"), AccessDenied("EX01", "no.")]
)
def test_what_is_not_transient_is_not_tried_again(error: HostError) -> None:
    wire = Wire([error])
    with session(wire) as asked, pytest.raises(type(error)):
        asked.host_fact()
    assert len(wire.asked) == 1


def test_a_script_that_may_run_only_once_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Once:
        """A library whose scripts may all run only once."""

        def get(self, name: str) -> Script:
            return replace(LIBRARY.get(name), effect=Effect.ONCE)

    wire = Wire([LOST])
    with session(wire, library=Once()) as asked, pytest.raises(SessionLost):  # type: ignore[arg-type]
        asked.host_fact()
    assert len(wire.asked) == 1


def test_a_refused_credential_is_never_tried_again() -> None:
    refused = AccessDenied("EX01", "wrong user name or password.")
    wire = Wire([], opens=[refused])
    with session(wire) as asked:
        for _ in range(3):
            with pytest.raises(AccessDenied) as caught:
                asked.service_states(["a"])
            assert caught.value is refused
    assert wire.made == 1


def test_opening_has_patience_too() -> None:
    told, wire = Told(), Wire([], opens=[Unreachable("EX01", "no listener."), None])
    with session(wire, told) as asked:
        asked.open()
        asked.open()
    assert wire.made == 2
    assert told.retries[0]["script"] == "open"


def test_questions_and_answers() -> None:
    value = {"Key": "K", "Name": "", "KeyExists": True, "Exists": True, "Kind": "String", "Text": "t"}
    found = {"Class": "c", "DistinguishedName": "CN=x", "Attributes": ["a=b"], "Withheld": []}
    wire = Wire([[value], [found], []])
    with session(wire) as asked:
        assert asked.registry_values([("K", "")])[0].text == "t"
        assert asked.connector_objects("c")[0].attributes == (("a", "b"),)
        assert asked.event_summary(["MSExchangeGWRtr"], 24) == ()
        assert asked.registry_values([]) == asked.service_states([]) == []
        assert asked.event_summary([], 24) == ()
    assert wire.asked == [
        ("Get-RegistryValue", {"Value": ["K|"]}),
        ("Get-ConnectorObject", {"Class": "c"}),
        ("Get-EventSummary", {"Source": ["MSExchangeGWRtr"], "SinceHours": 24}),
    ]
    assert wire.made == 1


LINE = f"3\t638000000000000000\t32\t{'a' * 64}\ta.txt\n".encode()
DIGEST = hashlib.sha256(LINE).hexdigest()


def tree(digest: str = DIGEST, changed: str = "0") -> dict[str, object]:
    return {"Path": "D:\\x", "Exists": True, "Files": 1, "Bytes": 3, "Digest": digest, "Changed": changed}


def test_a_tree_is_held_against_its_digest() -> None:
    wire = Wire([[seal_block(LINE[:20]), seal_block(LINE[20:]), tree()], [tree(changed="")]])
    with session(wire) as asked:
        fact = asked.file_tree("D:\\x", exclude=["*.log"])
        assert [entry.path for entry in fact.entries] == ["a.txt"]
        assert asked.file_tree("D:\\x", known=parse_listing(LINE)) == fact
    assert wire.asked[0][1] == {"Path": "D:\\x", "Exclude": ["*.log"]}
    assert wire.asked[1][1] == {"Path": "D:\\x", "Known": encode_lines([f"{DIGEST[:32]}\ta.txt"])}


def line(name: str, mark: str = "a" * 64, size: int = 3, attributes: int = 32) -> bytes:
    return f"{size}\t638000000000000000\t{attributes}\t{mark}\t{name}\n".encode()


def listed(*lines: bytes, **over: object) -> list[object]:
    sizes = [int(one.split(b"\t")[0]) for one in lines if b"\tx\t" not in one]
    kept = b"".join(one for one in lines if b"\tx\t" not in one)
    numbers = {"Files": sum(s >= 0 for s in sizes), "Bytes": sum(s for s in sizes if s >= 0)}
    summary = {**tree(hashlib.sha256(kept).hexdigest()), **numbers, **over}
    return [seal_block(b"".join(lines)), summary]


@pytest.mark.parametrize(
    "answer",
    [
        [tree()],
        listed(line("a.txt"), Path="C:\\Windows"),
        listed(line("a.txt"), Files=2),
        listed(line("a.txt"), Bytes=-5),
        listed(line("a.txt"), Exists=False),
        listed(line("a.txt", "x")),
        listed(line("sub\\a.log.txt", "x")),
        listed(line("work\\deep\\a.txt", "x")),
        listed(line("other", "x", -1)),
        listed(line("a.txt", "-")),
        listed(line("a.txt", "r")),
    ],
)
def test_a_listing_is_held_against_the_question(answer: list[object]) -> None:
    wire = Wire([answer] * 3)
    with session(wire) as asked, pytest.raises(TransferMismatch):
        asked.file_tree("D:\\x", exclude=["*.LOG", "work\\?.txt", "work2\\*"])


def test_marks_that_the_question_allows() -> None:
    answer = listed(
        line("a.log", "x"),
        line("link", "r", attributes=0x420),
        line("sub\\b.log", "x"),
        line("Work\\1.txt", "x"),
        line("work2", "x", -1),
        line("work2\\deep\\c", "x"),
        Path="d:\\X\\",
    )
    with session(Wire([answer, listed(line("a", "-"))])) as asked:
        fact = asked.file_tree("D:\\x", exclude=["*.LOG", "work\\?.txt", "work2\\*"])
        assert [e.state for e in fact.entries].count("excluded") == 5
        assert asked.file_tree("D:\\x", hashed=False).entries[0].state == "unhashed"


@pytest.mark.parametrize(
    "answer",
    [
        [tree("0" * 64, changed="")],
        [tree(changed="0")],
        [tree(changed="7")],
        [tree(changed="x")],
        [tree(changed="1,")],
        [seal_block(LINE), tree(changed="")],
        [seal_block(LINE), tree(changed="1")],
        [{**tree(changed=""), "Changed": None}],
    ],
)
def test_what_does_not_fit_a_known_listing_is_asked_for_whole(answer: list[object]) -> None:
    told, wire = Told(), Wire([answer, [seal_block(LINE), tree()]])
    with session(wire, told) as asked:
        assert asked.file_tree("D:\\x", known=parse_listing(LINE)).digest == DIGEST
    assert ["Known" in parameters for _, parameters in wire.asked] == [True, False]
    assert len(told.retries) == 1


def test_only_groups_that_differ_travel() -> None:
    known = [line(f"f{n:02}") for n in range(20)]
    now = [*known[:3], line("f03", "b" * 64), *known[5:], line("g")]
    whole = listed(*now)
    summary = {**cast(dict[str, object], whole[-1]), "Changed": "0,3"}
    wire = Wire([[seal_block(b"".join([*now[:7], now[-1]])), summary]])
    with session(wire) as asked:
        fact = asked.file_tree("D:\\x", known=parse_listing(b"".join(known)))
    assert [e.path for e in fact.entries] == [f"f{n:02}" for n in range(20) if n != 4] + ["g"]
    assert fact.entries[3].sha256 == "b" * 64


@pytest.mark.parametrize(
    "answer",
    [
        [seal_block(LINE), tree("0" * 64)],
        [b"\x07junk", tree()],
        [seal_block(LINE[:-1]), tree()],
        [tree(), seal_block(LINE)],
    ],
)
def test_a_tree_that_arrived_damaged_is_asked_for_again(answer: list[object]) -> None:
    told, wire = Told(), Wire([answer, [seal_block(LINE), tree()]])
    with session(wire, told) as asked:
        assert asked.file_tree("D:\\x").digest == DIGEST
    assert len(told.retries) == 1
    assert wire.made == 1  # the connection is as good as before


@pytest.mark.parametrize("answer", [[], [{"Path": 1}], ["text"], [tree(), tree()]])
def test_an_answer_against_the_contract_is_a_failed_script(answer: list[object]) -> None:
    """It is asked for once more, and no more than that."""
    wire = Wire([answer] * 3)
    with session(wire) as asked, pytest.raises(ScriptFailed) as caught:
        asked.host_fact()
    assert caught.value.error_id == "Session.BadAnswer"
    assert len(wire.asked) == 2


def test_an_answer_that_was_cut_heals() -> None:
    wire = Wire([[service("a")], [service("A"), service("b")]])
    with session(wire) as asked:
        assert [s.name for s in asked.service_states(["a", "b"])] == ["A", "b"]
    assert (len(wire.asked), wire.made) == (2, 1)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [service("a")],
        [service("b"), service("a")],
        [service("a"), service("a")],
        [service("a"), service("b"), service("b")],
    ],
)
def test_each_question_has_its_answer(answer: list[object]) -> None:
    wire = Wire([answer, answer])
    with session(wire) as asked, pytest.raises(ScriptFailed) as caught:
        asked.service_states(["a", "b"])
    assert caught.value.error_id == "Session.BadAnswer"


def test_what_a_service_depends_on_is_answered_too_and_nothing_else() -> None:
    """It costs no call of its own; an answer that nobody asked for is none."""
    first = {**service("a"), "Exists": True, "DependsOn": ["EventLog"]}
    client = {**service("nwfs"), "DisplayName": "Novell Client"}
    wire = Wire([[first, service("Eventlog"), client]])
    with session(wire) as asked:
        found = asked.service_states(["a"], ["novell"])
        assert [s.name for s in found] == ["a", "Eventlog", "nwfs"]
    assert wire.asked == [("Get-ServiceState", {"Name": ["a"], "Title": ["novell"]})]
    wire = Wire([[first, service("Eventlog"), client]] * 2)
    with session(wire) as asked, pytest.raises(ScriptFailed) as caught:
        asked.service_states(["a"])
    assert (caught.value.error_id, "'nwfs'" in caught.value.text) == ("Session.BadAnswer", True)


def test_a_registry_value_must_be_the_one_that_was_asked_for() -> None:
    value = {"Key": "K", "Name": "", "KeyExists": True, "Exists": True, "Kind": "String", "Text": "t"}
    wire = Wire([[value], [value]])
    with session(wire) as asked, pytest.raises(ScriptFailed, match="about"):
        asked.registry_values([("K", "n")])


def test_endless_records_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects by number and by size, blocks by their plain bytes; each with a sentence, without retry."""
    monkeypatch.setattr("exremote.session.line.MAX_RECORDS", 10)
    monkeypatch.setattr("exremote.session.line.MAX_PLAIN", 10)
    found = {"Class": "c", "DistinguishedName": "CN=x", "Attributes": ["a=b"], "Withheld": []}
    wire = Wire([[found] * 11, [seal_block(LINE), tree()], [seal_block(LINE), {}]])
    with session(wire) as asked:
        for ask in (
            lambda: asked.connector_objects("c"),
            lambda: asked.file_tree("D:\\x"),
            lambda: asked.export_registry_key("K"),
        ):
            with pytest.raises(ScriptFailed, match="more than any host has to say") as caught:
                ask()  # type: ignore[no-untyped-call]
            assert caught.value.error_id == "Session.EndlessAnswer"
    monkeypatch.setattr("exremote.session.line.MAX_TEXT", 100)
    wire = Wire([[{**found, "Attributes": ["a=" + "b" * 200]}]])
    with session(wire) as asked, pytest.raises(ScriptFailed, match="more than any host"):
        asked.connector_objects("c")


class Stop(Exception):
    """What the runner raises."""


def test_between_two_records_the_run_may_end() -> None:
    left = [2]

    def stopping() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stop

    wire = Wire([[service("a"), service("b")]])
    asked = Session(HOST, library=LIBRARY, transport_factory=wire, stopping=stopping)
    with asked, pytest.raises(Stop):
        asked.service_states(["a", "b"])
    assert asked.target()[2].between is stopping
    assert wire.closed == 1


def test_a_logon_refused_while_a_shell_was_deleted_is_the_last() -> None:
    refused = LogonRefused("EX01", "wrong user name or password.")
    wire = Wire([LOST], refuses=refused)
    with session(wire) as asked:
        with pytest.raises(LogonRefused) as caught:
            asked.service_states(["a"])
        assert caught.value is refused is asked.refused
    assert wire.made == 1


def test_an_account_that_a_share_refused_is_tried_once_in_a_run() -> None:
    refused = ScriptFailed("EX01", "Logon failure.", script="Connect-Share", error_id="ExRemote.ShareRefused")
    shares, wire = LogonGate(), Wire([refused])
    for number in range(2):
        asked = Session(HOST, library=LIBRARY, transport_factory=wire, shares=shares)
        with asked, pytest.raises(ScriptFailed) as caught:
            asked.api_directory("P", True, OTHER)
        assert caught.value.error_id == "ExRemote.ShareRefused"
        assert ("EX01 was tried" in caught.value.text) == bool(number)
    assert [name for name, _ in wire.asked] == ["Connect-Share"]


def export(data: bytes, exists: bool = True) -> dict[str, object]:
    return {"Key": "K", "Exists": exists, "Bytes": len(data), "Sha256": hashlib.sha256(data).hexdigest()}


def test_an_export_is_held_against_its_digest() -> None:
    wire = Wire(
        [
            [seal_block(b"wrong"), export(b"right")],
            [seal_block(b"right"), export(b"right")],
            [export(b"", False)],
        ]
    )
    with session(wire) as asked:
        assert asked.export_registry_key("K").data == b"right"
        assert not asked.export_registry_key("K").exists
    assert len(wire.asked) == 3
    other = Wire([[seal_block(b"right"), {**export(b"right"), "Key": "L"}]] * 3)
    with session(other) as asked, pytest.raises(TransferMismatch):
        asked.export_registry_key("K")


def test_a_pack_is_not_tried_again_by_itself() -> None:
    wire = Wire([[seal_block(b"abc"), LOST], [seal_block(b"def"), {"Files": 1, "Bytes": 3, "Failed": 0}]])
    with session(wire) as asked:
        got = []
        with pytest.raises(SessionLost):
            for plain in asked.read_pack("D:\\x", ["a", "b"]):
                got.append(plain)
        rest = asked.read_pack("D:\\x", ["a", "b"], start_index=1, start_offset=9)
        assert b"".join(rest) == b"def"
        assert b"".join(got) == b"abc"
    assert wire.made == 2
    assert (wire.asked[1][1]["StartIndex"], wire.asked[1][1]["StartOffset"]) == (1, 9)


def test_a_pack_without_its_end_or_with_a_bad_block() -> None:
    wire = Wire([[seal_block(b"abc")], [b"\x01\xff\xff"]])
    with session(wire) as asked:
        with pytest.raises(ScriptFailed):
            list(asked.read_pack("D:\\x", ["a"]))
        with pytest.raises(TransferMismatch):
            list(asked.read_pack("D:\\x", ["a"]))


def test_a_transfer_that_goes_on_uses_up_no_patience() -> None:
    told, done = Told(), [0]

    def attempt() -> None:
        if done[0] < 10:
            done[0] += 1
            raise LOST

    with session(Wire([]), told) as asked:
        asked.resume("Read-FilePack", attempt, lambda: done[0])
    assert len(told.retries) == 10
    assert all(wait <= 0.5 for wait in told.waits)


def test_a_transfer_that_stands_still_loses_patience() -> None:
    calls: list[int] = []

    def attempt() -> None:
        calls.append(1)
        raise LOST

    with session(Wire([])) as asked, pytest.raises(SessionLost):
        asked.resume("Read-FilePack", attempt, lambda: 0)
    assert len(calls) == 3


def api() -> list[object]:
    return [
        {
            "Queue": "API_IN", "Exists": True, "Files": 1, "Bytes": 2, "ZeroByte": 0, "OldestUtc": None,
            "OldestEmptyUtc": None,
        },
        {
            "Path": "P", "Exists": True, "Account": "u", "Probed": True, "Written": True, "ReadBack": True,
            "Removed": True, "ProbeError": "", "Leftovers": [], "Cleared": [], "LeftoverError": "",
        },
    ]  # fmt: skip


CONNECTED: list[object] = [{"Path": "P", "Connected": True}]
OTHER = Account(r"GW\api", "second password")


@pytest.mark.parametrize("ask", [lambda s: s.api_directory("P", True, OTHER)])
def test_the_share_is_let_go_in_every_outcome(ask: Callable[[Session], object]) -> None:
    wire = Wire([CONNECTED, api(), CONNECTED])
    with session(wire) as asked:
        fact = asked.api_directory("P", True, OTHER)
        assert fact.credential_given
        assert fact.queues[0].queue == "API_IN"
    assert [name for name, _ in wire.asked] == ["Connect-Share", "Test-ApiDirectory", "Disconnect-Share"]
    assert wire.asked[0][1] == {"Path": "P", "UserName": r"GW\api", "Password": Secret("second password")}
    assert "second password" not in repr(wire.asked)
    failed = ScriptFailed("EX01", "no.", script="s", error_id="ExRemote.X")
    wire = Wire([CONNECTED, failed, failed])
    with session(wire) as asked, pytest.raises(ScriptFailed):
        ask(asked)
    assert wire.asked[-1][0] == "Disconnect-Share"


def test_an_api_directory_without_a_credential() -> None:
    wire = Wire([LOST, api()])
    with session(wire) as asked:
        assert not asked.api_directory("P").credential_given
    assert [name for name, _ in wire.asked] == ["Test-ApiDirectory"] * 2
    assert wire.asked[0][1] == {"Path": "P"}


def test_left_over_shells_are_deleted_without_opening_one() -> None:
    told, wire = Told(), Wire([])
    with session(wire, told) as asked:
        assert asked.delete_shell("left")
    assert [f for k, f in told if k == "shell"] == []
    assert (wire.logins[0].username, str(wire.logins[0].password)) == ("u", "***")


def test_a_host_gets_no_more_time_than_its_own_deadline() -> None:
    """Past `host_s` nothing is asked and nothing is tried again, however patient the policy is."""
    hurried = replace(HOST, deadlines=Deadlines(host_s=0.05))
    told, wire = Told(), Wire([[service("a")], LOST])
    with session(wire, told, host=hurried) as asked:
        assert asked.service_states(["a"])
        time.sleep(0.06)
        with pytest.raises(RemoteTimeout, match="the time for this host is over"):
            asked.service_states(["a"])
    assert told.retries == []
    assert len(wire.asked) == 1
