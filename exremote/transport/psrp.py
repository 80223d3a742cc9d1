"""PSRP over pypsrp: one pool of one runspace. Output is read in linear time and constant memory."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar
from xml.etree import ElementTree

from pypsrp.complex_objects import ObjectMeta
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import SignalCode

from exremote.errors import HostError, SessionLost
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
from exremote.transport.outbox import END_OF_PIPELINE_INPUT, PIPELINE_INPUT, Outbox, byte_array, message
from exremote.transport.pipelines import CREATE_PIPELINE, create_pipeline
from exremote.transport.receive import Received
from exremote.transport.wire import (
    PAUSE,
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
        running, refusal = True, None
        try:
            self._start(shell, script, parameters, source is not None)
            feed = None if source is None else self._feed(shell, source, deadline)
            joiner = Joiner()
            while running:
                try:
                    feed = feed if feed is not None and next(feed, False) else None
                except HostError as error:
                    if not self._clean or self._ended:
                        raise
                    feed, refusal = (
                        None,
                        error,
                    )  # a pipeline that has ended takes no more; what it says comes now
                try:
                    answer = self._output(shell.id, "stdout", self._poll_s(deadline))
                except HostError:
                    if refusal is not None:  # a host may close the connection behind what it refuses
                        raise refusal from None
                    raise
                if refusal is not None and not answer.streams and not answer.done:
                    raise refusal  # it has not ended: it waits for what the host does not let in
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
            if refusal is not None:
                raise refusal
        finally:
            self._finished.append(shell.id)
            self._pool.pipelines.pop(shell.id, None)
            if running:
                self._stop(shell.id)

    def _start(self, shell: PowerShell, script: str, parameters: Mapping[str, Value], fed: bool) -> None:
        """Start the script; `fed` says whether input will come."""
        assert self._pool is not None and self._link is not None
        body = self._call(create_pipeline, shell, self._pool, script, parameters, fed=fed)
        fragmenter = self._pool._fragmenter
        outbox = Outbox(self._link.max_payload_size, fragmenter.outgoing_counter)
        first, *others = [
            *outbox.add(message(CREATE_PIPELINE, self._pool.id, shell.id, body)),
            outbox.rest(),
        ]
        fragmenter.outgoing_counter = outbox.number
        told = [b64encode(first).decode("ascii")]
        self._call(connected, self._pool.shell.command, "", arguments=told, command_id=shell.id)
        for payload in others:
            self._put(shell.id, payload)

    def _feed(self, shell: PowerShell, source: Iterable[object], deadline: float) -> Iterator[bool]:
        """Send what goes into a pipeline; yield where output is to be asked for first."""
        assert self._pool is not None and self._link is not None
        fragmenter = self._pool._fragmenter
        outbox = Outbox(self._link.max_payload_size, fragmenter.outgoing_counter)
        for item in source:
            if item is PAUSE:
                self._post(shell, outbox.rest(), deadline)
                yield True
                continue
            for payload in outbox.add(self._message(shell, item)):
                self._post(shell, payload, deadline)
            fragmenter.outgoing_counter = outbox.number
        for payload in (
            *outbox.add(message(END_OF_PIPELINE_INPUT, self._pool.id, shell.id, b"")),
            outbox.rest(),
        ):
            self._post(shell, payload, deadline)
        fragmenter.outgoing_counter = outbox.number

    def _message(self, shell: PowerShell, item: object) -> bytes:
        """Given an object for a pipeline, return the message that carries it."""
        assert self._pool is not None
        if isinstance(item, bytes | bytearray):
            return message(PIPELINE_INPUT, self._pool.id, shell.id, *byte_array(item))
        element = self._call(self._pool.serialize, self._sendable(item))
        body = b"" if element is None else ElementTree.tostring(element)
        return message(PIPELINE_INPUT, self._pool.id, shell.id, body)

    def _post(self, shell: PowerShell, payload: bytes, deadline: float) -> None:
        """Given fragments for a pipeline, send them."""
        assert self._pool is not None
        if payload:
            self._poll_s(deadline)
            self._put(shell.id, payload)

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
