"""What a run was, as a plain value: read once from its journal, told by pages, JUnit and Prometheus alike.

It judges nothing anew and asks nobody: what the journal does not say is None, empty or "unknown". Nothing
of a journal that is damaged counts as good, whatever its last line says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from exremote.errors import EXIT_INTERRUPTED, EXIT_OK
from exremote.journal import DEADLINE_PASSED, HOST_ENDED, Event, RunRecord
from exremote.report.service_deeds import ServiceDeed, service_deeds

UNKNOWN = "unknown"
"""The state of a host whose end the journal does not have."""
UNTOLD = "its end is not in the journal"
"""What is said of such a host."""
RUNNING = "running"
"""The state of a run that is alive, and of a host that it has not ended with."""
_REHEARSE = "rehearse"
"""What a rehearsal's journal has for its verb."""
FINDINGS = "findings"
"""The event of a health run that has what was found on a host."""
MINOR = frozenset(
    {
        "run-started",
        "run-ended",
        "host-started",
        "step-started",
        "step-finished",
        "shell-opened",
        "shell-closed",
        "services-found",
        "retry",
        "forgetting",
        "erased",
        FINDINGS,
    }
)
"""Kinds of events that a reader looks at second: bookkeeping, or told elsewhere on the page. A kind that
nobody has listed here is told first."""
OUTCOMES: Mapping[int, str] = {
    0: "everything asked for was done",
    1: "exremote has a defect",
    2: "the command line, the inventory or a connector file was wrong",
    3: "at least one host or item was not done",
    4: "a plan was refused",
    5: "the answer is bad news",
    6: "it waits for a person",
    10: "the repository is not there, not ours, cannot be written, or has no room",
    11: "the repository was locked by another run",
    12: "no such snapshot, or run",
    13: "something in the repository is not what its manifest says",
    20: "the host could not be reached, or was lost",
    21: "the host refused: credential, rights, or certificate",
    22: "a script said no",
    23: "digests there and here disagreed again and again",
    EXIT_INTERRUPTED: "it was interrupted",
}
"""Exit codes in words, as in the README."""


Key = tuple[str, str, str, str]
"""Host, check, connector, and the thing if the check looks at several."""


@dataclass(frozen=True, slots=True)
class Found:
    """One finding of a health run."""

    host: str
    check: str
    """id; `docs/checks.md` has a paragraph for it"""
    connector: str
    """empty for the host itself"""
    verdict: str
    """ok, info, unknown, warning, critical"""
    title: str = ""
    """what would be well"""
    evidence: str = ""
    """what was seen"""
    remedy: str = ""
    """what to do"""
    source: str = ""
    """where the expectation was read"""
    accepted: str = ""
    """why the inventory accepts it; empty if it does not"""

    @property
    def question(self) -> tuple[str, str, str]:
        """Which check of what it is; a check of several things has several findings."""
        return self.host, self.check, self.connector

    @property
    def thing(self) -> str:
        """What it is about, where its check looks at several things: a finding begins with the name."""
        return self.evidence.partition(": ")[0]


@dataclass(frozen=True, slots=True)
class HostAccount:
    """What the journal says of one host of the run."""

    name: str
    state: str
    """done, incomplete, failed, unreachable, skipped; running or unknown without an end in the journal"""
    message: str
    exit_code: int | None
    """what this host alone made of the exit code; None if nobody says"""
    started: datetime | None
    ended: datetime | None
    findings: tuple[Found, ...] = ()
    fail_on: str = ""
    """health: from which verdict on a finding was bad news; empty if nobody says"""
    judged: bool = False
    """health: its findings are in the journal"""

    @property
    def seconds(self) -> float | None:
        """How long it took; None if it has no beginning or no end."""
        return _seconds(self.started, self.ended)


@dataclass(frozen=True, slots=True)
class SnapshotDeed:
    """What came of one snapshot."""

    host: str
    connector: str
    """empty if the journal does not say it"""
    snapshot: str
    what: str
    """new, incomplete, unchanged, safety, forgotten, damaged; what `copy` says"""
    at: datetime


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt that failed and was made again."""

    host: str
    at: datetime
    script: str
    attempt: str
    error: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One event, in a sentence."""

    n: int
    """its number in the journal, from 0"""
    at: datetime
    host: str
    kind: str
    text: str
    seconds: float | None
    """how long what ends here took"""

    @property
    def minor(self) -> bool:
        """Whether a reader looks at it second."""
        return self.kind in MINOR


@dataclass(frozen=True, slots=True)
class Chain:
    """What holds the journal together."""

    intact: bool
    torn: bool
    """the last line is half written: a killed process leaves that"""
    problem: str
    """what is wrong, and at which line; empty if it is intact"""
    events: int
    """good lines from the start on"""
    digest: str
    """SHA-256 of the last good line"""
    path: str
    """the journal"""


@dataclass(frozen=True, slots=True)
class Account:
    """What a run was."""

    run: str
    verb: str
    """empty if not even that can be read"""
    command: str
    """the command line, as far as the journal has it"""
    start: Mapping[str, object]
    """all that its first event says: inventory, repository, and what a verb adds"""
    started: datetime | None
    ended: datetime | None
    state: str
    """running, did not end, interrupted, ended"""
    exit_code: int | None
    """None if it did not end, or nobody knows"""
    chain: Chain
    hosts: tuple[HostAccount, ...]
    snapshots: tuple[SnapshotDeed, ...]
    services: tuple[ServiceDeed, ...]
    retries: tuple[Retry, ...]
    happenings: tuple[Happening, ...] = field(default=())

    @property
    def seconds(self) -> float | None:
        """How long it took; None if it has no beginning or no end."""
        return _seconds(self.started, self.ended)

    @property
    def good(self) -> bool:
        """Whether all was done, and the journal that says so is intact."""
        return self.chain.intact and self.ended is not None and self.exit_code == EXIT_OK

    @property
    def standing(self) -> str:
        """How it stands, in one word: damaged, running, unknown, interrupted, good, bad."""
        if not self.chain.intact:
            return "damaged"
        if self.ended is None:
            return RUNNING if self.state == RUNNING else UNKNOWN
        if self.exit_code == EXIT_INTERRUPTED:
            return "interrupted"
        return "good" if self.exit_code == EXIT_OK else "bad"

    @property
    def outcome(self) -> str:
        """How it stands, in a sentence without its full stop."""
        if not self.chain.intact:
            return f"the journal is damaged: {self.chain.problem}; only what stands before that is shown"
        if self.ended is None:
            alive = self.state == RUNNING
            return "it is running" if alive else "it did not end: it was killed, or lost its machine"
        return (
            OUTCOMES.get(self.exit_code, "it failed")
            if self.exit_code is not None
            else "nobody knows how it ended"
        )

    @property
    def findings(self) -> tuple[Found, ...]:
        """All findings of all hosts."""
        return tuple(found for host in self.hosts for found in host.findings)

    def to_json(self) -> dict[str, Any]:
        """Return it as values that a JSON report takes."""
        return asdict(self) | {"seconds": self.seconds, "good": self.good, "outcome": self.outcome}


def typed_command(command: object, options: object) -> str:
    """Given verb and names of a run, and its options, return what is typed for it: no verb is `rehearse`."""
    words = [str(word) for part in (command, options) if isinstance(part, list | tuple) for word in part]
    if words[:1] == [_REHEARSE]:
        words = ["recover", *words[1:], f"--{_REHEARSE}"]
    return " ".join(["exremote", *words])


def account_of(
    record: RunRecord, state: str, told: Callable[[Iterable[Event]], Iterable[Mapping[str, Any]]]
) -> Account:
    """Given a run, how it stands (running, did not end, interrupted, ended), and what tells events in words,
    return what it was. `told` yields a row (n, time, host, kind, what, seconds) for every event.
    """
    events = list(record.events)
    code = int(record.outcome) if record.outcome.isdecimal() and len(record.outcome) < 10 else None
    happenings = (
        Happening(row["n"], row["time"], row["host"], row["kind"], row["what"], _number(row["seconds"]))
        for row in told(events)
    )
    return Account(
        run=record.run_id,
        verb=record.verb,
        command=typed_command(record.command, record.start.get("options")),
        start=record.start,
        started=record.started,
        ended=record.ended,
        state=state,
        exit_code=code,
        chain=Chain(
            record.intact, record.torn, record.problem, record.count, record.digest, str(record.path)
        ),
        hosts=tuple(_hosts(events, state == RUNNING)),
        snapshots=tuple(_snapshots(events)),
        services=tuple(service_deeds(events)),
        retries=tuple(_retries(events)),
        happenings=tuple(happenings),
    )


def distinct(findings: Iterable[Found], several: Collection[tuple[str, str, str]]) -> dict[Key, Found]:
    """Given findings, and the checks that look at several things, return them by keys that differ."""
    found: dict[Key, Found] = {}
    for one in findings:
        thing, number = (one.thing if one.question in several else ""), 0
        while (key := (*one.question, f"{thing} #{number + 1}" if number else thing)) in found:
            number += 1
        found[key] = one
    return found


def with_several(findings: Iterable[Found]) -> set[tuple[str, str, str]]:
    """Given the findings of one run, return the checks that looked at several things."""
    return {question for question, count in Counter(one.question for one in findings).items() if count > 1}


def _hosts(events: Iterable[Event], running: bool) -> Iterable[HostAccount]:
    """Given the events of a run, and whether it runs, return the hosts that it is for, in their order."""
    open_state, open_words = (RUNNING, "it is worked on") if running else (UNKNOWN, UNTOLD)
    began: dict[str, datetime | None] = {}
    ends: dict[str, Event] = {}
    found: dict[str, Event] = {}
    for event in events:
        host = event.fields.get("host")
        if isinstance(host, str) and event.kind in ("host-started", HOST_ENDED, FINDINGS):
            began.setdefault(host, event.at if event.kind == "host-started" else None)
            if event.kind == HOST_ENDED:
                ends[host] = event
            elif event.kind == FINDINGS:
                found[host] = event
        elif event.kind == DEADLINE_PASSED and isinstance(waiting := event.fields.get("not_begun"), list):
            for name in map(str, waiting):
                began.setdefault(name, None)
    for name, started in began.items():
        end, health = ends.get(name), found.get(name)
        fields: Mapping[str, object] = end.fields if end is not None else {}
        code = fields.get("exit_code")
        yield HostAccount(
            name=name,
            state=str(fields.get("state") or open_state),
            message=str(fields.get("message") or ("" if end else open_words)),
            exit_code=code if isinstance(code, int) else None,
            started=started,
            ended=end.at if end is not None else None,
            findings=tuple(_findings(name, health.fields.get(FINDINGS))) if health is not None else (),
            fail_on=str(health.fields.get("fail_on") or "") if health is not None else "",
            judged=health is not None,
        )


def _findings(host: str, said: object) -> Iterable[Found]:
    for one in said if isinstance(said, list) else ():
        if isinstance(one, Mapping):
            texts = {name: str(one.get(name) or "") for name in Found.__slots__ if name != "host"}
            texts["verdict"] = texts["verdict"] or UNKNOWN
            yield Found(host, **texts)


def _snapshots(events: Iterable[Event]) -> Iterable[SnapshotDeed]:
    """Given the events of a run, return what came of each snapshot that they name."""
    for event in events:
        fields = event.fields
        host, connector, name = (str(fields.get(k) or "") for k in ("host", "connector", "snapshot"))
        match event.kind:
            case "committed":
                what = "new" if fields.get("complete") else "incomplete"
            case "unchanged" | "forgotten" | "damaged":
                what = event.kind
            case "snapshot":
                what = str(fields.get("state") or UNKNOWN)
            case "safety":
                names = fields.get("snapshots")
                for each in names if isinstance(names, list) else ():
                    yield SnapshotDeed(host, "", str(each).removeprefix(f"{host}/"), "safety", event.at)
                continue
            case _:
                continue
        yield SnapshotDeed(host, connector, name, what, event.at)


def _retries(events: Iterable[Event]) -> Iterable[Retry]:
    for event in events:
        if event.kind == "retry":
            said = event.fields.get("said")
            said = said if isinstance(said, Mapping) else {}
            texts = (str(said.get(name) or "") for name in ("script", "attempt", "error"))
            yield Retry(str(event.fields.get("host") or ""), event.at, *texts)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    # A clock that was set back in between leaves nothing that could be called a duration.
    return None if start is None or end is None or end < start else (end - start).total_seconds()


def _number(text: object) -> float | None:
    return None if text is None else float(str(text))
