"""SOAP envelopes of WS-Management: requests read, answers and faults written.

It never keeps state and never decides anything; the verbs do.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
W = "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}"
RSP = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
PSH = "{http://schemas.microsoft.com/powershell}"
EN = "{http://schemas.xmlsoap.org/ws/2004/09/enumeration}"

TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer/"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
CMD_SHELL = SHELL + "/cmd"
POWERSHELL = "http://schemas.microsoft.com/powershell/"
CONFIG = "http://schemas.microsoft.com/wbem/wsman/1/config"
ANONYMOUS = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"

OVERHEAD = 2048
"""Bytes of XML to reckon for one answer beside its streams."""
WRAPPING = 160
"""Bytes of XML to reckon around the data of one stream element."""

_DURATION = re.compile(
    r"P(?:(?P<d>\d+(?:\.\d+)?)D)?(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)


class Fault(Exception):
    """A request is answered with a SOAP fault (HTTP status 500)."""

    def __init__(
        self, code: int, subcode: str, message: str, detail: str = "", sender: bool = True, status: int = 500
    ) -> None:
        """`code`: of the WSManFault; `subcode`: prefixed name; `detail`: last part of the FaultDetail URI."""
        super().__init__(message)
        self.code = code
        self.subcode = subcode
        self.message = message
        self.detail = detail
        self.sender = sender
        self.status = status


def timed_out() -> Fault:
    """The operation time-out of the request is over."""
    return Fault(
        2150858793,
        "w:TimedOut",
        "The WS-Management service cannot complete the operation within the time specified in "
        "OperationTimeout.",
        sender=False,
    )


def unknown_shell() -> Fault:
    """The shell or the command that the request names is not there."""
    return Fault(
        2150858843,
        "w:InvalidSelectors",
        "The request for the Windows Remote Shell with ShellId failed because the shell was not "
        "found on the server.",
        "UnexpectedSelectors",
    )


def too_many_shells(limit: int) -> Fault:
    """The user may open no more shells."""
    return Fault(
        2150859173,
        "w:QuotaLimit",
        "The WS-Management service cannot process the request. This user is allowed a maximum number of "
        f"{limit} concurrent shells, which has been exceeded.",
    )


def too_many_operations(limit: int) -> Fault:
    """The user may have no more requests in flight."""
    return Fault(
        2150859174,
        "w:QuotaLimit",
        "The WS-Management service cannot process the request. The maximum number of concurrent operations "
        f"for this user ({limit}) has been exceeded.",
    )


def too_many_commands(limit: int) -> Fault:
    """The shell may hold no more commands."""
    return Fault(
        2150859241,
        "w:QuotaLimit",
        f"The WS-Management service cannot process the request. A shell may run {limit} commands here.",
    )


def too_large(size: int, limit: int) -> Fault:
    """A request or an answer does not fit the envelope."""
    return Fault(
        2150858824,
        "w:EncodingLimit",
        f"The envelope of {size} bytes is larger than the {limit} bytes allowed.",
        "MaxEnvelopeSizeExceeded",
    )


def access_denied() -> Fault:
    """The user is known, and may not."""
    return Fault(5, "w:AccessDenied", "Access is denied.")


def unknown_resource(uri: str) -> Fault:
    """The resource URI means nothing here."""
    return Fault(
        2150858811,
        "a:DestinationUnreachable",
        f"The resource URI ({uri}) was not found in the WS-Management catalog.",
        "InvalidResourceURI",
    )


def unknown_action(action: str) -> Fault:
    """The action is not one of WS-Management, or not for this resource."""
    return Fault(2150858753, "a:ActionNotSupported", f"The action {action} is not supported.")


def invalid_xml(why: str) -> Fault:
    """The request is not an envelope."""
    return Fault(2150858819, "w:SchemaValidationError", f"The SOAP XML in the message is not valid: {why}")


def invalid_parameter(why: str) -> Fault:
    """The request has a value that does not fit."""
    return Fault(87, "w:InvalidParameter", f"The parameter is incorrect: {why}", "InvalidValue")


def file_not_found(name: str) -> Fault:
    """The command could not be started."""
    return Fault(
        2147942402, "w:InternalError", f"The system cannot find the file specified: {name}", sender=False
    )


def internal(why: str) -> Fault:
    """The endpoint itself is at fault."""
    return Fault(2147943725, "w:InternalError", f"The service failed: {why}", sender=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One WS-Management request, as it was read."""

    action: str
    resource: str
    message_id: str
    """Literally as the client wrote it; clients compare it with RelatesTo."""
    timeout_s: float
    max_envelope: int
    """Bytes that the answer may have, as the client says."""
    selectors: dict[str, str]
    options: dict[str, str]
    body: ElementTree.Element | None
    """First element of the body."""
    size: int

    @property
    def shell_id(self) -> str:
        """Id of the shell that is meant, upper case; empty if none is named."""
        return self.selectors.get("SHELLID", "").upper()

    @property
    def command_id(self) -> str:
        """Id of the command that is meant, upper case; empty if none is named."""
        if self.body is None:
            return ""
        for element in (self.body, *self.body):
            found = element.get("CommandId")
            if found:
                return str(found).upper()
        return ""


def seconds(duration: str) -> float:
    """Return an XML duration in seconds. Raise ValueError if it is none, or negative, or has months."""
    found = _DURATION.fullmatch(duration.strip())
    if found is None or duration.strip() in ("P", "PT"):
        raise ValueError(f"{duration!r} is no duration")
    parts = found.groupdict(default="0")
    return float(parts["d"]) * 86400 + float(parts["h"]) * 3600 + float(parts["m"]) * 60 + float(parts["s"])


def _named(header: ElementTree.Element, group: str, item: str) -> dict[str, str]:
    found = header.find(W + group)
    return {} if found is None else {e.get("Name", "").upper(): e.text or "" for e in found.findall(W + item)}


_LONG = 4096


def read(data: bytes) -> Request:
    """Given the bytes of an envelope, return the request. Raise Fault if it is no envelope."""
    if b"<!DOCTYPE" in data or b"\x00" in data[:64]:
        raise invalid_xml("a document type, or an encoding other than UTF-8")
    begin, end = _bulk(data)
    try:
        # Without a DOCTYPE there are no entities to expand.
        envelope = ElementTree.fromstring(data[:begin] + data[end:])  # noqa: S314
    except ElementTree.ParseError as error:
        raise invalid_xml(str(error)) from None
    stream = next(envelope.iter(RSP + "Stream"), None)
    if stream is not None and begin < end:
        stream.text = data[begin:end].decode("ascii", "replace")
    header, body = envelope.find(S + "Header"), envelope.find(S + "Body")
    if header is None or body is None:
        raise invalid_xml("no header or no body")
    timeout = header.findtext(W + "OperationTimeout", "PT60S")
    try:
        timeout_s = seconds(timeout)
        max_envelope = int(header.findtext(W + "MaxEnvelopeSize", "153600"))
    except ValueError as error:
        raise Fault(2150858767, "a:InvalidMessageInformationHeader", str(error)) from None
    return Request(
        action=(header.findtext(A + "Action") or "").strip(),
        resource=(header.findtext(W + "ResourceURI") or "").strip(),
        message_id=header.findtext(A + "MessageID") or "",
        timeout_s=timeout_s,
        max_envelope=max_envelope,
        selectors=_named(header, "SelectorSet", "Selector"),
        options=_named(header, "OptionSet", "Option"),
        body=body[0] if len(body) else None,
        size=len(data),
    )


def _bulk(data: bytes) -> tuple[int, int]:
    """Given an envelope, return where the text of its first stream begins and ends; nothing if it is short.

    The parser takes longer over half a megabyte of base64 than all else that a request costs here, and what
    clients cost is to be measured against this endpoint.
    """
    begin = data.find(b">", data.find(b"Stream ")) + 1
    end = data.find(b"<", begin)
    plain = end - begin > _LONG and data.find(b"&", begin, end) < 0
    return (begin, end) if plain else (0, 0)


_HEAD = (
    '<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
    ' xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer"'
    ' xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration"'
    ' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"'
    ' xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"'
    ' xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell">'
    "<s:Header>"
)


def answer(request: Request, parts: Sequence[bytes]) -> bytes:
    """Return the envelope that answers `request` with the given body, in pieces to save copies."""
    head = (
        f"{_HEAD}<a:Action>{escape(request.action)}Response</a:Action>"
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID><a:To>{ANONYMOUS}</a:To>"
        f"<a:RelatesTo>{escape(request.message_id)}</a:RelatesTo></s:Header><s:Body>"
    )
    return b"".join([head.encode(), *parts, b"</s:Body></s:Envelope>"])


def fault(error: Fault, relates_to: str, machine: str) -> bytes:
    """Return the envelope of a fault."""
    detail = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/" + error.detail
    action = (
        "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
        if error.subcode.startswith("w:")
        else "http://schemas.xmlsoap.org/ws/2004/08/addressing/fault"
    )
    text = escape(error.message)
    return (
        f"{_HEAD}<a:Action>{action}</a:Action><a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID>"
        f"<a:To>{ANONYMOUS}</a:To><a:RelatesTo>{escape(relates_to)}</a:RelatesTo></s:Header><s:Body><s:Fault>"
        f"<s:Code><s:Value>s:{'Sender' if error.sender else 'Receiver'}</s:Value>"
        f"<s:Subcode><s:Value>{error.subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{text}</s:Text></s:Reason><s:Detail>'
        f"{f'<w:FaultDetail>{detail}</w:FaultDetail>' if error.detail else ''}"
        '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"'
        f' Code="{error.code}" Machine={quoteattr(machine)}><f:Message>{text}</f:Message></f:WSManFault>'
        "</s:Detail></s:Fault></s:Body></s:Envelope>"
    ).encode()


def identity() -> bytes:
    """Return the answer to Identify."""
    return (
        b'<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body>'
        b'<wsmid:IdentifyResponse xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
        b"<wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</wsmid:ProtocolVersion>"
        b"<wsmid:ProductVendor>exremote lab</wsmid:ProductVendor>"
        b"<wsmid:ProductVersion>OS: 0.0.0 SP: 0.0 Stack: 3.0</wsmid:ProductVersion>"
        b"</wsmid:IdentifyResponse></s:Body></s:Envelope>"
    )
