"""One connection of pypsrp, for PSRP and for raw streams. It reads bulk answers without building elements.

It never repeats a request, and never authenticates anew behind its caller's back.
"""

from __future__ import annotations

import math
import uuid
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pypsrp._pool_manager import DisableNewConnectionsContext
from pypsrp.exceptions import WinRMError, WinRMTransportError, WSManFaultError
from pypsrp.wsman import OptionSet, SelectorSet, WSMan, WSManAction

from exremote.transport.door import mount
from exremote.transport.eager import EagerNegotiateAuth
from exremote.transport.faults import OPERATION_TIMEOUT, UNKNOWN_SHELL
from exremote.transport.receive import NOTHING, Received, read_answer, read_receipt
from exremote.transport.wire import Address, Login, WireSettings

P = ParamSpec("P")
T = TypeVar("T")

RSP = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
_ENVELOPE = "{http://www.w3.org/2003/05/soap-envelope}Envelope"
_BODY = "{http://www.w3.org/2003/05/soap-envelope}Body"
_HERE = "=data="
"""Stands for the data while an envelope is written: no base64 begins so."""


class _InputForm(NamedTuple):
    """The envelope of a command's input, but for what is new each time."""

    command_id: str
    pieces: tuple[bytes, bytes, bytes]
    """before the id of the message, between that and the data, behind them"""


class Link(WSMan):
    """pypsrp's WSMan without its silent repetition: a read time-out would authenticate anew, five times."""

    created = False
    """Whether the host has answered a Create: then there is a shell, whatever comes next."""
    _form: _InputForm | None = None

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
        body = answer.find(_BODY)
        if body is None:
            raise AttributeError("an answer without a body")
        return body

    def ask_output(self, uri: str, shell_id: str, command_id: str, streams: str, timeout: int) -> Received:
        """Ask once for a command's output, over the connection that is there. Return it, nothing if silent.

        Raise what pypsrp raises, or AnswerError.
        """
        receive = Element(f"{RSP}Receive")
        wanted = ElementTree.SubElement(receive, f"{RSP}DesiredStream", {"CommandId": command_id})
        wanted.text = streams
        options = OptionSet()
        options.add_option("WSMAN_CMDSHELL_OPTION_KEEPALIVE", "True")
        message_id, header = self._create_header(
            WSManAction.RECEIVE, uri, options, selector(shell_id), timeout
        )
        message = _envelope(header, receive)
        try:
            response = self._exchange(message, timeout + 2)
        except WSManFaultError as fault:
            if fault.code == OPERATION_TIMEOUT:
                return NOTHING
            raise
        answer = read_answer(response)
        _answers(answer.relates_to, message_id)
        return answer

    def send_input(self, uri: str, shell_id: str, command_id: str, data: bytes) -> None:
        """Send bytes to a command's standard input, over the connection that is there.

        They become text in the envelope once; no tree of elements carries them.
        Raise what pypsrp raises, or AnswerError.
        """
        if self._form is None or self._form.command_id != command_id:
            self._form = self._input_form(uri, shell_id, command_id)
        message_id = str(uuid.uuid4()).upper()
        before, between, behind = self._form.pieces
        text = b2a_base64(data, newline=False)
        response = self._exchange(b"".join((before, message_id.encode(), between, text, behind)), None)
        _answers(read_receipt(response), message_id)

    def _input_form(self, uri: str, shell_id: str, command_id: str) -> _InputForm:
        """Given a command, return the envelope that carries its input: all is the same but id and data."""
        message_id, header = self._create_header(WSManAction.SEND, uri, selector_set=selector(shell_id))
        send = Element(f"{RSP}Send")
        stream = ElementTree.SubElement(send, f"{RSP}Stream", {"Name": "stdin", "CommandId": command_id})
        stream.text = _HERE
        before, rest = _envelope(header, send).split(message_id.encode())
        between, behind = rest.split(_HERE.encode())
        return _InputForm(command_id, (before, between, behind))

    def _exchange(self, message: bytes, timeout: int | None) -> bytes:
        """Send an envelope, once, over the connection that is there. Return its answer; raise the fault."""
        try:
            return bytes(connected(self.transport.send, message, timeout=timeout))
        except WinRMTransportError as error:
            raise self._fault_in(error) from None

    def _fault_in(self, error: WinRMTransportError) -> Exception:
        """Given an HTTP error, return the fault in it, or the error itself."""
        try:
            return self._parse_wsman_fault(error.response_text)
        except ElementTree.ParseError:
            return error

    def delete_shell(self, uri: str, shell_id: str, fresh: bool, timeout: int | None) -> bool:
        """Delete a shell, over the connection that is there unless `fresh`. Return whether it was there."""
        try:
            if fresh:
                self.delete(uri, selector_set=selector(shell_id), timeout=timeout)
            else:
                connected(self.delete, uri, selector_set=selector(shell_id), timeout=timeout)
        except WSManFaultError as error:
            if error.code != UNKNOWN_SHELL:
                raise
            return False
        return True

    def send_signal(self, uri: str, shell_id: str, command_id: str, code: str, timeout: int) -> None:
        """Send a signal to a command, over the connection that is there."""
        body = Element(f"{RSP}Signal", {"CommandId": command_id})
        ElementTree.SubElement(body, f"{RSP}Code").text = code
        connected(self.signal, uri, body, selector_set=selector(shell_id), timeout=timeout)

    @property
    def sent_nothing(self) -> bool:
        """Whether no request can have left yet: with sealing an empty handshake comes first."""
        return bool(self.transport.wrap_required and self.transport.encryption is None)


def link(address: Address, login: Login, settings: WireSettings) -> Link:
    """Given where, as whom and how, return a connection that is not open yet."""
    extra: dict[str, Any] = {}
    if login.auth == "certificate":
        extra["certificate_pem"] = str(login.certificate_pem)
        extra["certificate_key_pem"] = str(login.certificate_key_pem)
    verify = settings.verify if isinstance(settings.verify, bool) else str(settings.verify)
    wsman = Link(
        address.address,
        max_envelope_size=settings.envelope_kb * 1024,
        operation_timeout=max(1, math.ceil(settings.operation_timeout_s)),
        port=address.port,
        username=login.username or None,
        password=login.password.reveal() or None,
        ssl=address.scheme == "https",
        path=address.path,
        auth=login.auth,
        cert_validation=verify,  # type: ignore[arg-type] # a path is passed on to requests as it is
        connection_timeout=settings.connect_timeout_s,  # type: ignore[arg-type] # so are fractions
        encryption=settings.encryption,
        no_proxy=True,
        read_timeout=max(settings.read_timeout_s, settings.operation_timeout_s + 10),  # type: ignore[arg-type]
        reconnection_retries=0,
        **extra,
    )
    http = wsman.transport
    http.session = http._build_session()
    mount(http.session, settings)
    if login.auth in ("ntlm", "negotiate") and address.scheme == "http":
        http.session.auth = EagerNegotiateAuth(
            http.username, http.password, login.auth, wrap_required=http.wrap_required
        )
    return wsman


def _envelope(header: Element, content: Element) -> bytes:
    """Given a header and what stands in the body, return the envelope."""
    envelope = Element(_ENVELOPE)
    envelope.append(header)
    ElementTree.SubElement(envelope, _BODY).append(content)
    return bytes(ElementTree.tostring(envelope, encoding="utf-8", method="xml"))


def _answers(relates_to: str, message_id: str) -> None:
    """Given the request that an answer names, raise WinRMError unless it is this one."""
    if relates_to != f"uuid:{message_id}":
        raise WinRMError(f"an answer to {relates_to or 'nothing'}, not to uuid:{message_id}")


def selector(shell_id: str) -> SelectorSet:
    """Given a shell's id, return what names it in a request."""
    selectors = SelectorSet()
    selectors.add_option("ShellId", shell_id)
    return selectors


def connected(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a library on the connection that is there.

    A new one would be authenticated with a message sealed for the old one: it can only fail.
    """
    with DisableNewConnectionsContext():
        return function(*args, **kwargs)
