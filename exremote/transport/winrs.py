"""WinRS over pywinrm: powershell.exe in a command shell, the script by standard input, records as CLIXML.

For hosts whose PSRP is closed. One shell, one connection, one powershell.exe for each script.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar

import winrm.transport
import xmltodict
from winrm.exceptions import WinRMOperationTimeoutError, WSManFaultError
from winrm.protocol import Protocol

from exremote.script import ScriptLibrary
from exremote.transport.conversation import SHELL_URIS, Conversation
from exremote.transport.door import mount
from exremote.transport.faults import UNKNOWN_SHELL
from exremote.transport.link import connected
from exremote.transport.payload import COMMAND, MAX_COMPLAINT, Answer, arguments, encode
from exremote.transport.receive import NOTHING, Received, read_answer
from exremote.transport.wire import Kind, Record, RemoteError, Value

_METHODS = {
    "negotiate": "ntlm",
    "ntlm": "ntlm",
    "kerberos": "kerberos",
    "credssp": "credssp",
    "basic": "basic",
}
_RECEIVE = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/Receive"
_SIGNAL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/Signal"
_TERMINATE = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/terminate"
_DELETE = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete"
STOP_S = 5
winrm.transport.DISPLAYED_CA_TRUST_WARNING = True  # what REQUESTS_CA_BUNDLE says is meant to hold


@cache
def receiver() -> str:
    """Return the text of the wire's far end."""
    return ScriptLibrary.load().get("wire/Receive-Call").text


class _Protocol(Protocol):
    """pywinrm's Protocol, asking for envelopes of the size that was set."""

    envelope_kb = 150

    def build_wsman_header(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Build the header of a request."""
        header = super().build_wsman_header(*args, **kwargs)
        header["env:Header"]["w:MaxEnvelopeSize"]["#text"] = str(self.envelope_kb * 1024)
        return header


class WinrsConversation(Conversation):
    """A conversation by command lines."""

    kind: ClassVar[Kind] = "winrs"

    _protocol: _Protocol | None = None

    def _connection(self, timeout_s: float | None = None) -> _Protocol:
        """Return a new connection, not yet opened."""
        login, settings = self.login, self.settings
        operation = max(1, math.ceil(timeout_s or settings.operation_timeout_s))
        read = max(operation + 10.0, settings.read_timeout_s) if timeout_s is None else operation + 2.0
        trusted: Any = "legacy_requests" if isinstance(settings.verify, bool) else str(settings.verify)
        protocol = _Protocol(
            self.address.url,
            transport=_METHODS.get(login.auth, "certificate"),  # type: ignore[arg-type] # of the Literal's words
            username=login.username,
            password=login.password.reveal(),
            ca_trust_path=trusted,
            cert_pem=str(login.certificate_pem) if login.certificate_pem else None,
            cert_key_pem=str(login.certificate_key_pem) if login.certificate_key_pem else None,
            server_cert_validation="ignore" if settings.verify is False else "validate",
            read_timeout_sec=math.ceil(read),
            operation_timeout_sec=operation,
            message_encryption=settings.encryption,
            proxy=None,
        )
        protocol.envelope_kb = settings.envelope_kb
        # requests takes a pair where pywinrm hands it the one number
        connect = settings.connect_timeout_s if timeout_s is None else operation + 2.0
        protocol.transport.read_timeout_sec = (connect, read)  # type: ignore[assignment]
        return protocol

    def _dial(self, protocol: _Protocol) -> None:
        """Build the session, with sealing set up, so that it never reconnects behind our back."""
        transport, settings = protocol.transport, self.settings
        build, setup = transport.build_session, transport.setup_encryption

        def prepared(session: Any) -> None:
            mount(session, settings)
            setup(session)

        transport.setup_encryption = prepared  # type: ignore[method-assign] # the one moment before the first byte
        session = build()
        if transport.encryption is None:
            mount(session, settings)

    def _create(self) -> None:
        if self._protocol is None or not self._clean:
            self._protocol = self._call(self._connection)
            self._call(self._dial, self._protocol)
        protocol = self._protocol
        self._may_exist = True
        shell = self._call(
            protocol.open_shell,
            noprofile=True,
            codepage=65001,
            idle_timeout=f"PT{self.settings.idle_timeout_s}S",
        )
        self._created = True
        self._announce(shell)

    def _converse(
        self, script: str, parameters: Mapping[str, Value], source: Iterable[object] | None, deadline: float
    ) -> Iterator[Record | RemoteError]:
        self._make_room()
        protocol, shell = self._protocol, self.shell_id
        assert protocol is not None and shell is not None
        data = self._call(encode, receiver(), script, parameters, source)
        answer, stderr, running = Answer(), b"", True
        command = self._call(
            connected, protocol.run_command, shell, COMMAND, arguments("XML"), console_mode_stdin=False
        )
        try:
            self._send(protocol, shell, command, data, deadline)
            while running:
                received = self._receive(protocol, shell, command, deadline)
                running = not received.done
                for name, data in received.streams:
                    if name == "stdout":
                        yield from self._call(_fed, answer, data)
                    else:
                        stderr = (stderr + data)[:MAX_COMPLAINT]
        finally:
            self._finished.append(command)
            if running:
                self._stop(command)
        if not answer.complete:
            self._cut(stderr)

    def _send(self, protocol: _Protocol, shell: str, command: str, data: bytes, deadline: float) -> None:
        """Write standard input, in pieces that the envelope holds."""
        size = (self.settings.envelope_kb * 1024 - 8192) // 4 * 3
        for start in range(0, len(data), size):
            self._left(deadline)
            end = start + size >= len(data)
            self._call(
                connected,
                protocol.send_command_input,
                shell,
                command,
                data[start : start + size],
                end=end,
            )

    def _receive(self, protocol: _Protocol, shell: str, command: str, deadline: float) -> Received:
        """Ask for output. Return it, nothing if the command was silent."""
        patient, protocol.operation_timeout_sec = protocol.operation_timeout_sec, self._poll_s(deadline)
        header = protocol.build_wsman_header(_RECEIVE, SHELL_URIS["winrs"], shell)
        wanted = {"@CommandId": command, "#text": "stdout stderr"}
        header["env:Body"] = {"rsp:Receive": {"rsp:DesiredStream": wanted}}

        def once() -> Received:
            try:
                return read_answer(protocol.send_message(xmltodict.unparse({"env:Envelope": header})))
            except WinRMOperationTimeoutError:
                return NOTHING

        try:
            return self._call(connected, once)
        finally:
            protocol.operation_timeout_sec = patient

    def _signal(self, command_id: str, forget: bool) -> None:
        assert self._protocol is not None and self.shell_id is not None
        self._protocol.operation_timeout_sec = STOP_S
        header = self._protocol.build_wsman_header(_SIGNAL, SHELL_URIS["winrs"], self.shell_id, uuid.uuid4())
        header["env:Body"] = {"rsp:Signal": {"@CommandId": command_id, "rsp:Code": _TERMINATE}}
        connected(self._protocol.send_message, xmltodict.unparse({"env:Envelope": header}))

    def _delete(self, shell_id: str, kind: str, fresh: bool, timeout_s: float | None) -> bool:
        if fresh:
            self._hang_up()
            self._protocol = self._call(self._connection, timeout_s)
            self._call(self._dial, self._protocol)
        protocol = self._protocol
        assert protocol is not None
        if not fresh and timeout_s is not None:
            protocol.operation_timeout_sec = math.ceil(timeout_s)
            protocol.transport.read_timeout_sec = (timeout_s + 2.0, timeout_s + 2.0)  # type: ignore[assignment]
        return self._call(self._delete_once, protocol, shell_id, SHELL_URIS[kind])

    def _delete_once(self, protocol: _Protocol, shell_id: str, uri: str) -> bool:
        header = protocol.build_wsman_header(_DELETE, uri, shell_id, uuid.uuid4())
        header["env:Body"] = {}
        try:
            connected(protocol.send_message, xmltodict.unparse({"env:Envelope": header}))
        except WSManFaultError as error:
            if error.wsman_fault_code != UNKNOWN_SHELL:
                raise
            return False
        return True

    def _has_connection(self) -> bool:
        return self._protocol is not None

    def _hang_up(self) -> None:
        if self._protocol is not None:
            self._protocol.transport.close_session()
            self._protocol.transport.encryption = None


def _fed(answer: Answer, data: bytes) -> list[Record | RemoteError]:
    """Given the next bytes of standard output, return what they complete. Raise ClixmlError."""
    return list(answer.feed(data))
