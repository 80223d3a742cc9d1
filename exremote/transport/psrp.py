"""PSRP over pypsrp: one pool of one runspace. Output is read in linear time and constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from pypsrp.complex_objects import ObjectMeta
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import SignalCode

from exremote.errors import SessionLost
from exremote.transport.clixml import PsObject, decode
from exremote.transport.fragments import (
    ERROR_RECORD,
    PIPELINE_OUTPUT,
    PIPELINE_STATE,
    STATE_COMPLETED,
    STATE_FAILED,
    STATE_STOPPED,
    Joiner,
)
from exremote.transport.link import connected
from exremote.transport.linked import Linked
from exremote.transport.receive import Received
from exremote.transport.wire import (
    Address,
    Kind,
    Login,
    Piece,
    Record,
    RemoteError,
    Secret,
    ShellEvent,
    Value,
    WireSettings,
    error_name,
)


class PsrpConversation(Linked):
    """A conversation in PowerShell's remoting protocol."""

    kind: ClassVar[Kind] = "psrp"

    def __init__(self, address: Address, login: Login, settings: WireSettings, on_shell: ShellEvent) -> None:
        super().__init__(address, login, settings, on_shell)
        self._pool: RunspacePool | None = None

    def _create(self) -> None:
        connection = self._dial()
        self._pool = self._call(
            RunspacePool,
            connection,
            no_profile=True,
            idle_timeout=self.settings.idle_timeout_s,
        )
        self._announce(self._pool.id)
        try:
            self._call(self._pool.open)
        finally:
            self._created = connection.created

    def _converse(
        self, script: str, parameters: Mapping[str, Value], source: Iterable[object] | None, deadline: float
    ) -> Iterator[Record | RemoteError]:
        self._make_room()
        assert self._pool is not None
        shell = self._call(PowerShell, self._pool)
        # In a scope of its own: an earlier script's parameters would hold their types and checks in this one.
        shell.add_script(script, use_local_scope=True)
        for name, value in parameters.items():
            if value is not None:
                shell.add_parameter(name, self._value(value))
        running = True
        try:
            self._start(shell, source)
            joiner = Joiner()
            while running:
                answer = self._output(shell.id, "stdout", self._poll_s(deadline))
                # What waits to be yielded is at most one answer, half a megabyte.
                for found in self._call(_joined, joiner, answer):
                    if isinstance(found, Piece):
                        yield found
                        continue
                    kind, body = found
                    if kind == PIPELINE_OUTPUT:
                        yield self._call(decode, body)
                    elif kind == ERROR_RECORD:
                        yield _remote_error(self._call(decode, body))
                    elif kind == PIPELINE_STATE:
                        failure = self._end(self._call(decode, body))
                        running = False
                        if failure is not None:
                            yield failure
                if running and answer.done:
                    running = False
                    raise SessionLost(
                        self.address.host, f"the pipeline ended without a word{self._scene().during}."
                    )
        finally:
            self._finished.append(shell.id)
            self._pool.pipelines.pop(shell.id, None)
            if running:
                self._stop(shell.id)

    def _start(self, shell: PowerShell, source: Iterable[object] | None) -> None:
        """Send the script, and what goes into its pipeline."""
        items = None if source is None else iter(source)
        first = None if items is None else next(items, None)
        if items is None or first is None:
            self._call(connected, shell.begin_invoke, remote_stream_options=0)
            return
        self._call(connected, shell.begin_invoke, self._input(first, items), remote_stream_options=0)

    def _end(self, state: object) -> RemoteError | None:
        """Given a pipeline's last word, return the error in it, if any. Raise SessionLost."""
        value = state.get("PipelineState") if isinstance(state, dict) else None
        if value == STATE_COMPLETED:
            return None
        if value == STATE_FAILED and isinstance(state, dict):
            return _remote_error(state.get("ExceptionAsErrorRecord"))
        word = "stopped" if value == STATE_STOPPED else "broken off"
        raise SessionLost(self.address.host, f"the pipeline was {word} by the host{self._scene().during}.")

    def _value(self, value: Value) -> object:
        """Given a parameter's value, return it as pypsrp sends it."""
        assert self._pool is not None
        if isinstance(value, Secret):
            self._call(connected, self._pool.exchange_keys)
            return self._call(self._pool.serialize, value.reveal(), ObjectMeta("SS"))
        return self._sendable(value)

    def _sendable(self, value: object) -> Any:
        """Given a value, return it as pypsrp sends it: to it every int is an Int32."""
        assert self._pool is not None
        if isinstance(value, int) and not -0x80000000 <= value <= 0x7FFFFFFF:
            return self._call(self._pool.serialize, value, ObjectMeta("I64"))
        if isinstance(value, tuple):
            return list(value)
        return value

    def _input(self, first: object, rest: Iterator[object]) -> Iterator[Any]:
        """Yield the objects for a pipeline. A generator, for that is what pypsrp streams."""
        yield self._sendable(first)
        for item in rest:
            yield self._sendable(item)

    def _signal(self, command_id: str, forget: bool) -> None:
        self._send_signal(command_id, SignalCode.TERMINATE if forget else SignalCode.PS_CTRL_C)


def _joined(joiner: Joiner, answer: Received) -> list[tuple[int, bytes] | Piece]:
    """Given an answer, return the messages that it completes, and its pieces of bulk."""
    return [found for _, data in answer.streams for found in joiner.feed(data)]


def _remote_error(record: object) -> RemoteError:
    """Given an error record as it came, return its name and its text."""
    if not isinstance(record, dict):
        return RemoteError("RuntimeException", str(record or "an error without a record"))
    exception = record.get("Exception")
    said = [record.get("ErrorDetails_Message")]
    if isinstance(exception, dict):
        said.append(exception.get("Message"))
    said += [one.text for one in (record, exception) if isinstance(one, PsObject)]
    message = next((text for text in said if isinstance(text, str) and text), "an error without a text")
    return RemoteError(error_name(str(record.get("FullyQualifiedErrorId") or "")), message)
