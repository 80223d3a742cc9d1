"""The line to one host: opens it, asks with patience, bounds what comes back. It names no script."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TypeVar, cast

import tenacity

from exremote.credential import Secret as Account
from exremote.errors import (
    AccessDenied,
    ExremoteError,
    HostError,
    LogonRefused,
    QuotaExceeded,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
    TransferMismatch,
    Unreachable,
)
from exremote.facts import (
    ApproachFact,
    FactError,
    advise,
)
from exremote.folding import folded
from exremote.gate import LogonGate
from exremote.inventory import Host, RetryPolicy
from exremote.pack import BlockReader, PackError
from exremote.script import Effect, ScriptLibrary
from exremote.session.answers import weight
from exremote.session.pace import Pace, Throttle
from exremote.session.route import Route
from exremote.session.second_hop import SecondHop
from exremote.transport import (
    Address,
    Kind,
    Login,
    Piece,
    Secret,
    ShellEvent,
    Transport,
    Value,
    WireSettings,
    connect,
    proves_early,
)

T = TypeVar("T")
Fields = Mapping[str, object]
EventHandler = Callable[[str, Fields], None]
"""Called with "retry" (script, attempt, wait_s, error), "shell" (what: opened, closed; shell_id, wire)."""

MAX_WAIT_S = 60.0
MAX_RECORDS = 100_000
"""Objects that one question may be answered with; blocks of bytes do not count."""
MAX_TEXT = 64 << 20
"""Bytes that these objects may hold together."""
MAX_PLAIN = 512 << 20
"""Plain bytes of one listing or export: some three million files. A pack has no end of its own."""
LAST_S = 15.0
"""What is left for the end of a session when the host's time is over: its shell is to be deleted."""
BAD_ANSWER = "Session.BadAnswer"
TOO_LARGE = "Transport.EnvelopeTooLarge"
SMALLER_KB = (140, 48)
"""Largest messages to try where a host refuses one: the first is below what a host of old takes."""


class TransportFactory(Protocol):
    """Makes a transport that is not open yet; `exremote.transport.connect` is one."""

    def __call__(
        self, address: Address, login: Login, settings: WireSettings, on_shell: ShellEvent
    ) -> Transport:
        """Given where, as whom and how, return a transport."""


class _WentOn(Exception):
    """A transfer broke after it had got further: patience begins anew."""

    def __init__(self, reason: HostError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _attempt(attempt: Callable[[], None], mark: Callable[[], object], start: object) -> None:
    """Given an attempt and where it starts, make it. Raise _WentOn if it broke further on than it started."""
    try:
        attempt()
    except HostError as error:
        if error.transient and mark() != start:
            raise _WentOn(error) from error
        raise


class Line:
    """One host and one thread, as if the wire never failed."""

    def __init__(
        self,
        host: Host,
        account: Account | None = None,
        *,
        own_account: Account | None = None,
        share_account: Account | ExremoteError | None = None,
        library: ScriptLibrary | None = None,
        transport_factory: TransportFactory = connect,
        on_event: EventHandler = lambda kind, fields: None,
        sleep: Callable[[float], None] = time.sleep,
        policy: RetryPolicy | None = None,
        stopping: Callable[[], None] = lambda: None,
        logons: LogonGate | None = None,
        shares: LogonGate | None = None,
        wire: Kind | None = None,
        throttle: Throttle | None = None,
        ends: float = math.inf,
    ) -> None:
        """Given a host and an account, be ready to ask.

        `own_account`: who we are at a host behind a gateway, where `account` is who we are at the gateway.
        `share_account`: who we are at the share that its ntbackup writes to, or why nobody knows.
        `stopping` is called between any two answers, and every few seconds where none comes; what it
        raises goes through. `logons` and `shares` remember which accounts a host, or a file server, refused
        in this run. `wire`: another one than the inventory says. `throttle` holds all hosts of a run back.
        `ends`: when the run's own time is over, by the monotonic clock.
        """
        self.host = host
        self.door = host.door
        """whose WinRM answers"""
        self._own_account = own_account
        self._share_account = share_account
        self._share_in: tuple[Transport, str] | None = None  # in which shell we are logged on where
        self.wire: Kind = wire or self.door.wire
        """what is spoken"""
        self.pace = Pace()
        """how fast the line is"""
        self.throttle = throttle
        """what holds it back, if anything does"""
        self._envelope_kb = self.door.envelope_kb
        self._stopping = stopping
        self._logons = logons or LogonGate()
        self._shares = shares or LogonGate()
        self._account = account
        self._library = library or ScriptLibrary.load()
        route = Route.of(host, own_account)
        self._hop = SecondHop(route, host, self._library, self._shares) if route is not None else None
        self._factory = transport_factory
        self.tell = on_event
        """who hears what becomes of the line, with its kind and what belongs to it"""
        self._sleep = sleep
        self._policy = policy or host.retry
        self._ends = min(time.monotonic() + host.deadlines.host_s, ends)
        self._transport: Transport | None = None
        self._refused: AccessDenied | None = None
        self._met = False  # it let us in once

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, beyond: bool = True) -> None:
        """Connect and open a shell, with the patience of the retry policy. Raise HostError.

        Each question does this by itself; called on its own it proves the credential. Not `beyond`: a gateway
        is not made to log on at the host.
        """
        self._retry("open", Effect.READ, partial(self._ready, beyond=beyond))

    def approach(self) -> ApproachFact | None:
        """Ask a gateway what lies between it and the host, and log on at neither more than at the gateway.

        Return None for a host that answers itself. Raise HostError.
        """
        hop = self._hop
        if hop is None:
            return None
        deadline_s = self.host.deadlines.script_s
        return self._retry(
            "approach", Effect.READ, lambda: hop.approach(self._ready(beyond=False), deadline_s)
        )

    def close(self, broken: bool = False) -> None:
        """Give up the shell and the connection; `broken`: ask nothing more on it. Never raise an error."""
        transport, self._transport = self._transport, None
        if transport is not None:
            if self._hop is not None and not broken:
                self._hop.leave(transport, LAST_S)
            transport.close()
            self._refused = self._refused or transport.refused

    @property
    def refused(self) -> AccessDenied | None:
        """Return what the host said when it let this account in no more, or None; it is not asked again."""
        return self._refused

    @contextmanager
    def insisting(self, seconds: float) -> Iterator[None]:
        """Let the body ask to its end, though the run was told to stop, or its time is over: for so long.

        For what a host must not be left in: services that we stopped. A conversation that was cut short is
        given up first.
        """
        kept = self._stopping, self._sleep, self._ends
        self.close()
        self._stopping, self._sleep = (lambda: None), time.sleep
        self._ends = max(self._ends, time.monotonic() + seconds)
        try:
            yield
        finally:
            self.close()
            self._stopping, self._sleep, self._ends = kept

    def beside(self, wire: Kind, envelope_kb: int, stopping: Callable[[], None]) -> Self:
        """Given a wire, return another session with the same host, not open yet, for another thread.

        It shares what is known of accounts and the time that is left. `stopping` is called as well as its
        own.
        """

        def stop() -> None:
            self._stopping()
            stopping()

        def sleep(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                self._sleep(min(left, 0.5))
                stop()

        other = type(self)(
            self.host,
            self._account,
            own_account=self._own_account,
            share_account=self._share_account,
            library=self._library,
            transport_factory=self._factory,
            on_event=self.tell,
            sleep=sleep,
            policy=self._policy,
            stopping=stop,
            logons=self._logons,
            shares=self._shares,
            wire=wire,
            throttle=self.throttle,
            ends=self._ends,
        )
        other._envelope_kb = envelope_kb
        return other

    def delete_shell(self, shell_id: str, kind: str = "") -> bool:
        """Given a shell that an earlier run left, delete it. Return whether it is gone. Raise HostError."""

        def delete() -> bool:
            # Before any shell of ours is opened: the left-overs may be what fills the quota.
            try:
                transport = self._ready(opened=False)
                with self.logging_on():
                    return transport.delete_shell(shell_id, kind)
            except AccessDenied as error:
                self._refused = error
                raise

        return self._retry("delete shell", Effect.CONVERGE, delete)

    # ------------------------------------------------------------ patience

    def resume(self, script: str, attempt: Callable[[], None], mark: Callable[[], object]) -> None:
        """Given one attempt at a transfer and a mark that moves as it goes on, attempt until it is done.

        An attempt that broke after the mark had moved uses up no patience. Raise what the last attempt
        raised when the retry policy is exhausted.
        """
        effect = self._library.get(script).effect
        while True:
            try:
                return self._retry(script, effect, partial(_attempt, attempt, mark, mark()))
            except _WentOn as went_on:
                error = went_on.reason
                wait_s = random.uniform(0, min(self._policy.first_wait_s, MAX_WAIT_S))  # noqa: S311 - no secret
                self._forget(error)
                self._tell(script, 1, wait_s, error)
                self._sleep(wait_s)

    def _retry(self, what: str, effect: Effect, once: Callable[[], T]) -> T:
        """Given something to do and its effect, do it until it is done, or patience ends. Raise HostError.

        An answer against the contract is asked for once more: a stream that was cut looks like that. So is
        a host that was never met, where patience does not help.
        """
        bad_answers = in_vain = 0
        smaller = False

        def attempt() -> T:
            nonlocal bad_answers, in_vain, smaller
            try:
                return once()
            except (HostError, FactError, PackError) as error:
                sorted_out = self._sorted_out(what, error)
                in_vain += sorted_out.lasting and not self._met
                smaller = self._speak_smaller(sorted_out)
                bad_answers += isinstance(sorted_out, ScriptFailed) and sorted_out.error_id == BAD_ANSWER
                raise sorted_out from None

        def worth_it(error: BaseException) -> bool:
            bad = isinstance(error, ScriptFailed) and error.error_id == BAD_ANSWER and bad_answers <= 1
            return isinstance(error, HostError) and (error.transient or bad or smaller) and in_vain <= 1

        def tell(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            wait_s = state.next_action.sleep if state.next_action else 0.0
            self._tell(what, state.attempt_number, wait_s, error)

        policy = self._policy
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: worth_it(error) and effect is not Effect.ONCE and time.monotonic() < self._ends
            ),
            stop=tenacity.stop_after_attempt(policy.attempts) | tenacity.stop_before_delay(policy.total_s),
            wait=tenacity.wait_random_exponential(multiplier=policy.first_wait_s, max=MAX_WAIT_S),
            sleep=self._sleep,
            before_sleep=tell,
            reraise=True,
        )(attempt)

    def _speak_smaller(self, error: HostError) -> bool:
        """Given what went wrong, return whether smaller messages may help; they are spoken from now on."""
        if not isinstance(error, ScriptFailed) or error.error_id != TOO_LARGE:
            return False
        left = [size for size in SMALLER_KB if size < self._envelope_kb]
        if left:
            self._envelope_kb = left[0]
            self.close()
        return bool(left)

    def _tell(self, script: str, attempt: int, wait_s: float, error: BaseException | None) -> None:
        """Tell of a try that failed and of the next one."""
        self.tell(
            "retry", {"script": script, "attempt": attempt, "wait_s": round(wait_s, 3), "error": str(error)}
        )

    def _sorted_out(self, what: str, error: HostError | FactError | PackError) -> HostError:
        """Given what went wrong, return what to raise; the transport is dropped if it is of no more use."""
        if isinstance(error, ScriptFailed) and self._hop is not None:
            error = self._hop.meant(error)
        if isinstance(error, HostError):
            self._forget(error)
            if isinstance(error, ScriptFailed):
                advise(error)
            return error
        if isinstance(error, PackError):
            return self._mismatch(f"the answer of {what} ({error})")
        return ScriptFailed(
            self.host.name,
            f"{what} answered what its contract does not say: {error}",
            script=what,
            error_id=BAD_ANSWER,
        )

    def _forget(self, error: HostError) -> None:
        """Given what went wrong, drop the transport unless it is as good as before."""
        if isinstance(error, SessionLost | Unreachable | RemoteTimeout | QuotaExceeded | AccessDenied):
            self.close(broken=True)

    # ------------------------------------------------------------ the wire

    def _ready(self, opened: bool = True, beyond: bool = True) -> Transport:
        """Return the transport, made anew if the last one was lost. Raise HostError."""
        self._stopping()
        if self._refused is not None:
            raise self._refused
        if self._transport is None:
            self._transport = self._factory(*self.target(), self._on_shell)
        if opened:
            try:
                with self.logging_on():
                    self._transport.open()
            except AccessDenied as error:
                self._refused = error  # never tried again: it could lock the account
                raise
            self._met = True
            if self._hop is not None and beyond:
                self._join(self._hop, self._transport)
        return self._transport

    def _join(self, hop: SecondHop, transport: Transport) -> None:
        """Have the gateway log on at the host; one that refuses is not tried again. Raise HostError."""
        try:
            hop.join(transport, self.host.deadlines.script_s)
        except AccessDenied as error:
            self._refused = error
            raise

    @contextmanager
    def logging_on(self) -> Iterator[None]:
        """Let the body log on. Where the proof of a password leaves before any request, it is alone with it.

        All others, the wire's own door sees leave, one by one. Raise LogonRefused if it may not be tried.
        """
        self._logons.check(self._key, self.host.name)
        with self._logons.turn(self._key) if proves_early(self.door.auth) else nullcontext():
            self._logons.check(self._key, self.host.name)
            try:
                yield
            except LogonRefused:
                self._logons.refuse(self._key, self.host.name)
                raise

    @property
    def _key(self) -> Hashable:
        """Return what the gate knows the account by."""
        return self._account if self._account is not None else self.door.credential.identity

    def target(self) -> tuple[Address, Login, WireSettings]:
        """Return where, as whom and how."""
        host, times, account = self.door, self.host.deadlines, self._account
        return (
            Address(self.host.name, host.address, host.port, host.scheme, host.path),
            Login(
                host.auth,
                account.username if account else "",
                Secret(account.password if account else ""),
                host.certificate,
                host.certificate_key,
            ),
            WireSettings(
                wire=self.wire,
                encryption=host.encryption,
                verify=host.verify,
                connect_timeout_s=times.connect_s,
                operation_timeout_s=times.operation_s,
                read_timeout_s=times.read_s,
                envelope_kb=self._fitting(self._envelope_kb),
                between=self._stopping,
                left_s=lambda: max(self._ends - time.monotonic(), LAST_S),
                proof=lambda: self._logons.proof(self._key, self.host.name),
                carried=self._carried,
            ),
        )

    def _fitting(self, envelope_kb: int) -> int:
        """Given the largest message that is usual, return the largest one here."""
        return envelope_kb if self.throttle is None else self.throttle.envelope_kb(envelope_kb)

    def _carried(self, size: int, seconds: float) -> None:
        """Given an exchange, remember its pace, and wait if the run may go no faster.

        The host has not to answer for that: its own time is longer by as much.
        """
        self.pace.note(size, seconds)
        if self.throttle is not None:
            self._ends += self.throttle.take(size, seconds, self._stopping)

    def _on_shell(self, what: str, shell_id: str) -> None:
        fields = {"what": what, "host": self.host.name, "shell_id": shell_id, "wire": self.wire}
        self.tell("shell", fields)

    def _run(
        self,
        name: str,
        parameters: Mapping[str, Value],
        deadline_s: float | None = None,
        source: Iterable[object] | None = None,
    ) -> Generator[object, None, None]:
        """Given a script's name, parameters and input, run it once and yield its records. Raise HostError."""
        script = self._library.get(name)
        left_s = self._ends - time.monotonic()
        if left_s <= 0:
            raise RemoteTimeout(
                self.host.name,
                f"the time for this host is over ({self.host.deadlines.host_s:.0f} s in all).",
                "Look why it is so slow, or raise deadlines.host_s in the inventory.",
            )
        deadline_s = min(left_s, self.host.deadlines.script_s if deadline_s is None else deadline_s)
        transport = self._ready()
        records = (
            transport.run(script.text, parameters, source, deadline_s=deadline_s, label=name)
            if self._hop is None
            else self._hop.run(transport, name, parameters, source, deadline_s)
        )
        return self._watched(name, records)

    def _watched(self, name: str, records: Generator[object, None, None]) -> Generator[object, None, None]:
        """Given the records of an answer, yield them while the run goes on and there are not too many."""
        count = size = 0
        with closing(records):
            for record in records:
                self._stopping()
                if not isinstance(record, Piece):
                    count, size = count + 1, size + weight(record)
                    if count > MAX_RECORDS or size > MAX_TEXT:
                        raise self._endless(name)
                yield record

    def _bounded(self, name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Given the plain bytes of an answer that is held in memory, yield them while they are few enough."""
        left = MAX_PLAIN
        for block in blocks:
            left -= len(block)
            if left < 0:
                raise self._endless(name)
            yield block

    def _endless(self, name: str) -> ScriptFailed:
        return ScriptFailed(
            self.host.name,
            f"{name} answered more than any host has to say; the answer was not read to its end.",
            script=name,
            error_id="Session.EndlessAnswer",
            remedy="Look what runs on the host under the name of PowerShell.",
        )

    def _ask(self, name: str, parameters: Mapping[str, Value], read: Callable[[Iterator[object]], T]) -> T:
        """Given a script and how to read its answer, run it, with patience, and return what was read."""

        def once() -> T:
            with closing(self._run(name, parameters)) as records:
                return read(records)

        return self._retry(name, self._library.get(name).effect, once)

    def _all(self, name: str, parameters: Mapping[str, Value], parse: Callable[[Fields], T]) -> list[T]:
        """Given a script that answers with objects, return them parsed."""
        return self._ask(name, parameters, lambda records: [parse(self._fields(name, r)) for r in records])

    def _each(
        self,
        name: str,
        parameters: Mapping[str, Value],
        parse: Callable[[Fields], T],
        asked: Sequence[str],
        key: Callable[[T], str],
        due: Callable[[Sequence[T], T], bool] = lambda answers, further: False,
    ) -> list[T]:
        """Given a script that answers each question with one object, return them parsed, none missing.

        `due` says, given all before it, whether one further answer behind these was asked for, too.
        """

        def read(records: Iterator[object]) -> list[T]:
            answers: list[T] = []
            for record in records:
                answers.append(parse(self._fields(name, record)))
                about = key(answers[-1])
                if len(answers) > len(asked):
                    if not due(answers[:-1], answers[-1]):
                        raise FactError(name, "output", f"nobody asked about {about[:200]!r}")
                elif folded(about) != folded(wanted := asked[len(answers) - 1]):
                    words = f"expected the answer about {wanted}, got {about[:200]!r}"
                    raise FactError(name, "output", words)
            if len(answers) < len(asked):
                raise FactError(name, "output", f"expected {len(asked)} answers, got {len(answers)}")
            return answers

        return self._ask(name, parameters, read)

    def _drain(self, name: str, parameters: Mapping[str, Value]) -> None:
        """Given a script whose answer does not matter, run it once to its end. Raise HostError."""
        with closing(self._run(name, parameters)) as records:
            for _ in records:
                pass

    # ------------------------------------------------------------ what answers look like

    def _fields(self, name: str, record: object) -> Fields:
        """Given a record, return it as properties. Raise ScriptFailed if it is something else."""
        if isinstance(record, Mapping):
            return cast(Fields, record)
        raise FactError(name, "output", f"expected an object, got {type(record).__name__}")

    def _blocks(self, records: Iterable[object], summary: list[Fields]) -> Iterator[bytes]:
        """Given records, yield the plain bytes of blocks and put what is no block into `summary`."""
        reader = BlockReader()
        for record in records:
            if isinstance(record, Piece):
                if summary:
                    raise PackError("a block behind the summary")
                if plain := reader.feed(record.data, record.last):
                    yield plain
            else:
                summary.append(self._fields("a stream of blocks", record))
        if not reader.between:
            raise PackError("a stream that ends within a block")

    def _summary(self, name: str, summary: Sequence[Fields]) -> Fields:
        """Given the objects of an answer, return the one that there must be. Raise FactError otherwise."""
        if len(summary) != 1:
            raise FactError(name, "output", f"expected one object, got {len(summary)}")
        return summary[0]

    def _mismatch(self, what: str) -> TransferMismatch:
        return TransferMismatch(self.host.name, f"{what} did not arrive as it was sent.")
