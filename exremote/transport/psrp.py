"""PSRP over pypsrp: one pool of one runspace. It reads answers itself, in linear time and constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

from pypsrp._pool_manager import DisableNewConnectionsContext
from pypsrp.complex_objects import ObjectMeta
from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import CommandState, SignalCode
from pypsrp.wsman import OptionSet, SelectorSet, WSMan, WSManAction

from exremote.errors import HostError, SessionLost
from exremote.transport.clixml import PsObject, decode
from exremote.transport.conversation import KEEP_FINISHED, SHELL_URIS, Conversation, RemoteError, error_name
from exremote.transport.eager import EagerNegotiateAuth
from exremote.transport.faults import OPERATION_TIMEOUT, UNKNOWN_SHELL
from exremote.transport.fragments import (
    ERROR_RECORD,
    PIPELINE_OUTPUT,
    PIPELINE_STATE,
    STATE_COMPLETED,
    STATE_FAILED,
    STATE_STOPPED,
    Joiner,
)
from exremote.transport.wire import Address, Kind, Login, Record, Secret, ShellEvent, Value, WireSettings

STOP_S = 5


class _WSMan(WSMan):
    """pypsrp's WSMan without its silent repetition: a read time-out would authenticate anew, five times."""

    created = False
    """Whether the host has answered a Create: then there is a shell, whatever comes next."""

    def create(
        self,
        resource_uri: str,
        resource: Element,
        option_set: OptionSet | None = None,
        selector_set: SelectorSet | None = None,
        timeout: int | None = None,
    ) -> Element:
        """Send one Create, and remember its success. Return the body of its answer."""
        answer = super().create(resource_uri, resource, option_set, selector_set, timeout)
        self.created = True
        return answer

    def receive(
        self,
        resource_uri: str,
        resource: Element,
        option_set: OptionSet | None = None,
        selector_set: SelectorSet | None = None,
        timeout: int | None = None,
    ) -> Element:
        """Send one Receive, once. Return the body of its answer."""
        answer = self.invoke(WSManAction.RECEIVE, resource_uri, resource, option_set, selector_set, timeout)
        body = answer.find("{http://www.w3.org/2003/05/soap-envelope}Body")
        if body is None:
            raise AttributeError("an answer without a body")
        return body


class PsrpConversation(Conversation):
    """A conversation in PowerShell's remoting protocol."""

    kind: ClassVar[Kind] = "psrp"

    def __init__(self, address: Address, login: Login, settings: WireSettings, on_shell: ShellEvent) -> None:
        super().__init__(address, login, settings, on_shell)
        self._wsman: _WSMan | None = None
        self._pool: RunspacePool | None = None

    def _connection(self) -> _WSMan:
        """Return a new, unopened connection."""
        login, settings = self.login, self.settings
        extra: dict[str, Any] = {}
        if login.auth == "certificate":
            extra["certificate_pem"] = str(login.certificate_pem)
            extra["certificate_key_pem"] = str(login.certificate_key_pem)
        verify = settings.verify if isinstance(settings.verify, bool) else str(settings.verify)
        wsman = _WSMan(
            self.address.address,
            max_envelope_size=settings.envelope_kb * 1024,
            operation_timeout=max(1, math.ceil(settings.operation_timeout_s)),
            port=self.address.port,
            username=login.username or None,
            password=login.password.reveal() or None,
            ssl=self.address.scheme == "https",
            path=self.address.path,
            auth=login.auth,
            cert_validation=verify,  # type: ignore[arg-type] # a path is passed on to requests as it is
            connection_timeout=settings.connect_timeout_s,  # type: ignore[arg-type] # so are fractions
            encryption=settings.encryption,
            no_proxy=True,
            read_timeout=max(settings.read_timeout_s, settings.operation_timeout_s + 10),  # type: ignore[arg-type]
            reconnection_retries=0,
            **extra,
        )
        if login.auth in ("ntlm", "negotiate") and self.address.scheme == "http":
            http = wsman.transport
            http.session = http._build_session()
            http.session.auth = EagerNegotiateAuth(
                http.username, http.password, login.auth, wrap_required=http.wrap_required
            )
        return wsman

    def _create(self) -> None:
        if self._wsman is None or not self._clean:
            self._wsman = self._call(self._connection)
        self._pool = self._call(
            RunspacePool,
            self._wsman,
            no_profile=True,
            idle_timeout=self.settings.idle_timeout_s,
        )
        self._announce(self._pool.id)
        try:
            self._call(self._pool.open)
        finally:
            self._created = self._wsman.created

    def _sent_nothing(self) -> bool:
        # With sealing the handshake comes first, with nothing in it.
        transport = None if self._wsman is None else self._wsman.transport
        return transport is None or (transport.wrap_required and transport.encryption is None)

    def _converse(
        self, script: str, parameters: Mapping[str, Value], source: Iterable[object] | None, deadline: float
    ) -> Iterator[Record | RemoteError]:
        self._make_room()
        assert self._pool is not None
        shell = self._call(PowerShell, self._pool)
        shell.add_script(script)
        for name, value in parameters.items():
            if value is not None:
                shell.add_parameter(name, self._value(value))
        running = True
        try:
            self._start(shell, source)
            joiner = Joiner()
            while running:
                state, data = self._receive(shell, self._poll_s(deadline))
                # What waits to be yielded is at most one answer, half a megabyte.
                for kind, body in self._call(lambda data=data: list(joiner.feed(data))):  # type: ignore[misc]
                    if kind == PIPELINE_OUTPUT:
                        yield self._call(decode, body)
                    elif kind == ERROR_RECORD:
                        yield _remote_error(self._call(decode, body))
                    elif kind == PIPELINE_STATE:
                        failure = self._end(self._call(decode, body))
                        running = False
                        if failure is not None:
                            yield failure
                if running and state == CommandState.DONE:
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
            self._call(self._connected, shell.begin_invoke, remote_stream_options=0)
            return
        self._call(self._connected, shell.begin_invoke, self._input(first, items), remote_stream_options=0)

    def _connected(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a library on the connection that is there.

        A new one would be authenticated with a message sealed for the old one: it can only fail.
        """
        with DisableNewConnectionsContext():
            return function(*args, **kwargs)

    def _receive(self, shell: PowerShell, poll_s: int) -> tuple[str, bytes]:
        """Ask for output. Return the command's state and whole fragments, none if it was silent."""
        assert self._pool is not None
        state, _, streams = self._call(self._receive_once, shell.id, poll_s)
        return state, streams["stdout"]

    def _receive_once(self, command_id: str, timeout: int | None) -> tuple[str, int | None, dict[str, bytes]]:
        assert self._pool is not None
        try:
            return self._connected(  # type: ignore[no-any-return]
                self._pool.shell.receive, "stdout", command_id=command_id, timeout=timeout
            )
        except WSManFaultError as error:
            if error.code != OPERATION_TIMEOUT:
                raise
        return CommandState.RUNNING, None, {"stdout": b""}

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
            self._call(self._connected, self._pool.exchange_keys)
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

    def _stop(self, command_id: str) -> None:
        """Stop a pipeline that nobody wants; without a sound connection the shell's end will do it."""
        if not self._clean or self._ended or self._pool is None:
            return
        try:
            self._call(self._connected, self._signal, SignalCode.PS_CTRL_C, command_id)
        except HostError:
            self._ended = True  # whatever came of it, this conversation is of no more use

    def _signal(self, code: str, command_id: str) -> None:
        assert self._pool is not None and self._wsman is not None
        body = Element(
            "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}Signal", {"CommandId": command_id}
        )
        inner = Element("{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}Code")
        inner.text = code
        body.append(inner)
        self._wsman.signal(SHELL_URIS["psrp"], body, selector_set=_selector(self._pool.id), timeout=STOP_S)

    def _make_room(self) -> None:
        """Remove one finished pipeline if there are many: the host counts them against its quota."""
        if len(self._finished) >= KEEP_FINISHED:
            with suppress(HostError):
                self._call(self._connected, self._signal, SignalCode.TERMINATE, self._finished.pop(0))

    def _delete(self, shell_id: str, kind: str, fresh: bool, timeout_s: float | None) -> bool:
        if fresh:
            self._hang_up()
            self._wsman = self._call(self._connection)
        wsman = self._wsman
        assert wsman is not None
        timeout = None if timeout_s is None else math.ceil(timeout_s)
        return self._call(self._delete_once, wsman, shell_id, SHELL_URIS[kind], fresh, timeout)

    def _delete_once(self, wsman: WSMan, shell_id: str, uri: str, fresh: bool, timeout: int | None) -> bool:
        try:
            if fresh:
                wsman.delete(uri, selector_set=_selector(shell_id), timeout=timeout)
            else:
                self._connected(wsman.delete, uri, selector_set=_selector(shell_id), timeout=timeout)
        except WSManFaultError as error:
            if error.code != UNKNOWN_SHELL:
                raise
            return False
        return True

    def _has_connection(self) -> bool:
        return self._wsman is not None

    def _hang_up(self) -> None:
        if self._wsman is not None:
            self._wsman.close()


def _selector(shell_id: str) -> SelectorSet:
    selectors = SelectorSet()
    selectors.add_option("ShellId", shell_id)
    return selectors


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
