"""One client's connection: HTTP in and out, who speaks, what goes wrong on purpose.

It never looks into a shell; whatever is asked in SOAP goes to the verbs.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from io import BufferedReader
from itertools import count
from typing import Literal, cast

from exremote.lab.wsman import soap
from exremote.lab.wsman.auth import SEALED_TYPE, Acceptor, AuthenticationFailed, SealBroken, Users
from exremote.lab.wsman.site import Counters, Misfortune, RequestInfo, Site
from exremote.lab.wsman.verbs import Verbs

log = logging.getLogger(__name__)

_HANDSHAKE_S = 10.0
_IDLE_S = 600.0
"""A connection that is silent for so long is closed. Long, for pypsrp cannot resume a sealed one."""
_MAX_HEADER = 16384
_SOAP_TYPE = "application/soap+xml;charset=UTF-8"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class Line:
    """The simulated length and width of the wire to one site, shared by its connections."""

    def __init__(self, latency_s: float, bandwidth_bps: int | None) -> None:
        """`latency_s`: added to each exchange; `bandwidth_bps`: bits per second, each way, or None."""
        self.latency_s = latency_s
        self._bandwidth = bandwidth_bps
        self._free = {"in": 0.0, "out": 0.0}
        self._lock = threading.Lock()

    def carry(self, way: Literal["in", "out"], size: int) -> None:
        """Wait for as long as `size` bytes take, after those that are on their way already."""
        if not self._bandwidth:
            return
        with self._lock:
            now = time.monotonic()
            self._free[way] = max(now, self._free[way]) + size * 8 / self._bandwidth
            wait = self._free[way] - now
        time.sleep(wait)


class Service:
    """What the connections of one site share."""

    def __init__(
        self, site: Site, users: Users, context: ssl.SSLContext | None, binding: bytes | None, line: Line
    ):
        """`context` and `binding`: of the certificate on https, None on http."""
        self.site = site
        self.users = users
        self.context = context
        self.binding = binding
        self.line = line
        self.counters = Counters()
        self.verbs = Verbs(site, self.counters)
        self._numbers = count(1)

    def next_number(self) -> int:
        """Return the number of the next SOAP request."""
        return next(self._numbers)


class _HangUp(Exception):
    """The connection is to be closed now."""


class _Status(Exception):
    """The request is answered with a bare HTTP status."""

    def __init__(self, status: int, close: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.close = close


class Connection:
    """One TCP connection of a client; `serve` runs in a thread of its own."""

    def __init__(self, sock: socket.socket, client: str, service: Service) -> None:
        self._socket = sock
        self._client = client
        self._service = service
        self._starts = service.verbs.starts
        self._acceptor: Acceptor | None = None
        self._headers: dict[str, str] = {}
        self._break_off = False

    def serve(self) -> None:
        """Answer requests until the client goes or has to."""
        sock = self._socket
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._service.context is not None:
                # Here and not in accept, or one silent client would stop all others.
                sock.settimeout(_HANDSHAKE_S)
                sock = self._socket = self._service.context.wrap_socket(sock, server_side=True)
            sock.settimeout(_IDLE_S)
            self._service.counters.add(connections=1)
            with sock.makefile("rb", buffering=65536) as stream:
                while self._exchange(cast(BufferedReader, stream)):
                    pass
        except (_HangUp, OSError, ValueError):
            pass
        finally:
            if self._break_off:
                self._reset()
            self.close()

    def _reset(self) -> None:
        """End it as a router does that has forgotten it: by a reset, whatever is on its way."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.close(self._socket.detach())

    def close(self) -> None:
        """End it, from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()

    def _exchange(self, stream: BufferedReader) -> bool:
        """Read one request and answer it. Return whether another may follow."""
        try:
            body = self._read(stream)
        except _Status as status:
            self._reply(status.status, close=True)
            return False
        self._service.counters.add(exchanges=1, bytes_in=len(body))
        self._service.line.carry("in", len(body))
        if self._service.line.latency_s:
            time.sleep(self._service.line.latency_s)
        if "unauthenticated" in self._headers.get("wsmanidentify", ""):
            self._reply(200, [soap.identity()])
            return True
        try:
            try:
                user, token = self._authenticate()
            except AuthenticationFailed as failed:
                log.info("%s: %s", self._service.site.name, failed)
                self._logged_on("")
                self._challenge(None)
                return True
            if not user:
                self._challenge(token)
                return True
            if "authorization" in self._headers:
                self._logged_on(user)
            self._answer(user, body, token)
        except _Status as status:
            self._reply(
                status.status, close=status.close, headers=self._offers() if status.status == 401 else ()
            )
            if status.status == 401:
                self._acceptor = None
            return not status.close
        return "close" not in self._headers.get("connection", "").lower()

    def _read(self, stream: BufferedReader) -> bytes:
        """Read the head and the body of one request. Raise _HangUp at the end, _Status for others."""
        first = stream.peek(1)[:1]
        if first and not first.isalpha():
            raise _Status(400)  # no method begins so; TLS does, and http.sys answers it like this
        line = stream.readline(_MAX_HEADER)
        if not line:
            raise _HangUp
        left = _MAX_HEADER
        self._headers = {}
        while (header := stream.readline(left)) not in (b"\r\n", b"\n"):
            left -= len(header)
            if not header.endswith(b"\n") or left <= 0:
                raise _Status(431)
            name, _, value = header.decode("latin-1").partition(":")
            self._headers[name.strip().lower()] = value.strip()
        method, _, rest = line.decode("latin-1").partition(" ")
        host = self._headers.get("host", "").rsplit(":", 1)[0].lower()
        if host not in _LOOPBACK or "origin" in self._headers:
            raise _Status(403)  # a web page in somebody's browser, or a name that was bent to loopback
        if method != "POST":
            raise _Status(405)
        if rest.split(" ")[0].partition("?")[0].rstrip("/").lower() != "/wsman":
            raise _Status(404)
        length = self._headers.get("content-length", "")
        if not length.isdecimal():
            raise _Status(411)
        # Somewhat too large is answered with a fault; what is far beyond is not even read.
        if int(length) > 2 * self._service.site.limits.max_envelope_kb * 1024 + 65536:
            raise _Status(413)
        body = stream.read(int(length))
        if len(body) != int(length):
            raise _HangUp
        return body

    def _authenticate(self) -> tuple[str, bytes | None]:
        """Return the principal (empty while a handshake goes on) and the token to send back."""
        site, counters = self._service.site, self._service.counters
        scheme, _, value = self._headers.get("authorization", "").partition(" ")
        if not scheme:
            return self._acceptor.principal if self._acceptor else "", None
        if scheme.lower() == "basic" and site.allow_basic and (site.https or site.allow_unencrypted):
            try:
                user = self._service.users.basic(value.strip())
            except AuthenticationFailed:
                counters.tally("auth_failures", "")
                raise
            counters.tally("auth_successes", user)
            return user, None
        if scheme.lower() not in ("negotiate", "ntlm"):
            raise AuthenticationFailed(f"{scheme} is not offered")
        if self._acceptor is None or self._acceptor.complete:
            self._acceptor = Acceptor(self._service.users, self._service.binding)
        acceptor = self._acceptor
        try:
            token = acceptor.step(base64.b64decode(value))
        except (AuthenticationFailed, binascii.Error) as error:
            self._acceptor = None
            counters.tally("auth_failures", acceptor.claimed)
            raise AuthenticationFailed(f"{acceptor.claimed}: {error}") from None
        if acceptor.complete:
            counters.tally("auth_successes", acceptor.principal)
        return acceptor.principal, token

    def _logged_on(self, user: str) -> None:
        """Ask what goes wrong now that a client has proven who it is, or failed to. Raise as `_ask`."""
        site = self._service.site.name
        self._ask(RequestInfo(site, user, "Logon", "", "", self._service.next_number(), "request", 0))

    def _offers(self) -> list[str]:
        offers = ["WWW-Authenticate: Negotiate"]
        if self._service.site.allow_basic:
            offers.append('WWW-Authenticate: Basic realm="WSMAN"')
        return offers

    def _challenge(self, token: bytes | None) -> None:
        """Ask for authentication, or for its next step."""
        offers = (
            [f"WWW-Authenticate: Negotiate {base64.b64encode(token).decode()}"] if token else self._offers()
        )
        self._reply(401, headers=offers)

    def _answer(self, user: str, body: bytes, token: bytes | None) -> None:
        """Answer a request of an authenticated user. Raise _Status or _HangUp."""
        site = self._service.site
        headers = [f"WWW-Authenticate: Negotiate {base64.b64encode(token).decode()}"] if token else []
        sealed = self._headers.get("content-type", "").lower().startswith("multipart/encrypted")
        if not body:
            self._reply(200, headers=headers)
            return
        acceptor = self._acceptor
        if sealed:
            if acceptor is None or not acceptor.complete:
                raise _Status(400, close=True)
            try:
                body = acceptor.unseal(body)
            except SealBroken:
                raise _Status(400, close=True) from None  # the cipher is out of step for good
        elif not site.https and not site.allow_unencrypted:
            raise _Status(403)
        status, envelope, misfortune = self._carry_out(user, body)
        if misfortune.corrupt_at is not None:
            envelope = _corrupted(envelope, misfortune.corrupt_at)
        parts: Sequence[bytes] = [envelope]
        if sealed:
            assert acceptor is not None
            parts = acceptor.seal(envelope, misfortune.bad_mic)
            headers.append(f"Content-Type: {SEALED_TYPE}")
        else:
            headers.append(f"Content-Type: {_SOAP_TYPE}")
        if misfortune.cut_after is not None and misfortune.reset:
            self._break_off = True
        self._reply(status, parts, headers, cut_after=misfortune.cut_after)
        if misfortune.close_behind:
            raise _HangUp
        if misfortune.forget_authentication:
            self._acceptor = None

    def _carry_out(self, user: str, message: bytes) -> tuple[int, bytes, Misfortune]:
        """Given a SOAP request, return HTTP status, envelope, and what is to go wrong with the answer."""
        service = self._service
        service.counters.add(requests=1)
        number = service.next_number()
        relates_to = ""
        status = 200
        late = Misfortune()
        try:
            request = soap.read(message)
            relates_to = request.message_id
            body = request.body
            info = RequestInfo(
                site=service.site.name,
                user=user,
                action=request.action.rpartition("/")[2],
                shell_id=request.shell_id
                or ((body.get("ShellId") or "").upper() if body is not None else ""),
                command_id=request.command_id,
                number=number,
                phase="request",
                size=len(message),
            )
            service.counters.tally("actions", info.action)
            early = self._ask(info)
            envelope = service.verbs.answer(request, user, self._client, self._starts)
            late = self._ask(replace(info, phase="answer", size=len(envelope)))
            late = replace(
                late,
                cut_after=early.cut_after if late.cut_after is None else late.cut_after,
                corrupt_at=early.corrupt_at if late.corrupt_at is None else late.corrupt_at,
                bad_mic=early.bad_mic or late.bad_mic,
                forget_authentication=early.forget_authentication or late.forget_authentication,
            )
        except soap.Fault as fault:
            status = fault.status
            service.counters.tally("faults", fault.code)
            envelope = soap.fault(fault, relates_to, service.site.name)
        except (_Status, _HangUp):
            raise
        except Exception as error:
            log.exception("%s: the endpoint failed", service.site.name)
            status = 500
            envelope = soap.fault(
                soap.internal(f"{type(error).__name__}: {error}"), relates_to, service.site.name
            )
        return status, envelope, late

    def _ask(self, info: RequestInfo) -> Misfortune:
        """Ask the hook; do what it says about the exchange, return it for what concerns the answer."""
        hook = self._service.site.hook
        misfortune = hook(info) if hook else None
        if misfortune is None:
            return Misfortune()
        if misfortune.delay_s:
            time.sleep(misfortune.delay_s)
            # A shell that nobody is there to be told of would stay open: the lab makes none.
            if info.action == "Create" and info.phase == "request" and self._is_gone():
                raise _HangUp
        if misfortune.drop_shell:
            self._service.verbs.drop(info.shell_id)
        if misfortune.close or (misfortune.reset and misfortune.cut_after is None):
            self._break_off = misfortune.reset
            raise _HangUp
        if misfortune.status is not None:
            raise _Status(misfortune.status)
        if misfortune.fault is not None:
            raise soap.Fault(misfortune.fault, "w:InternalError", misfortune.fault_message, sender=False)
        return misfortune

    def _is_gone(self) -> bool:
        """Return whether the client has hung up, as far as a look at what is not yet read can tell."""
        if isinstance(self._socket, ssl.SSLSocket) or not select.select([self._socket], [], [], 0)[0]:
            return False
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _reply(
        self,
        status: int,
        parts: Sequence[bytes] = (),
        headers: Sequence[str] = (),
        *,
        close: bool = False,
        cut_after: int | None = None,
    ) -> None:
        """Send an answer with one call: two would cost 40 ms each time."""
        size = sum(map(len, parts))
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
        lines = [
            f"HTTP/1.1 {status} {phrase}",
            "Server: Microsoft-HTTPAPI/2.0",
            f"Content-Length: {size}",
            *headers,
        ]
        if close:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self._service.counters.add(bytes_out=size)
        self._service.line.carry("out", size)
        if cut_after is not None:
            self._socket.sendall(head + b"".join(parts)[:cut_after])
            raise _HangUp
        self._socket.sendall(b"".join([head, *parts]))


def _corrupted(envelope: bytes, place: int) -> bytes:
    """Return the envelope with one byte changed: of the data, where `place` is inside a stream.

    Data that is base64 itself (a byte array in CLIXML) stays base64, so no layer below the records can tell.
    """
    place = place % len(envelope)
    tag, start = envelope.rfind(b"<", 0, place), envelope.rfind(b">", 0, place) + 1
    if tag < start and envelope.startswith(b"<rsp:Stream", tag) and envelope[place] != ord("<"):
        place = start + (place - start) // 4 * 4
        piece = bytearray(base64.b64decode(envelope[place : place + 4]))
        piece[0] = _other(piece[0])
        changed = base64.b64encode(piece)
    else:
        changed = bytes([_other(envelope[place])])
    return envelope[:place] + changed + envelope[place + len(changed) :]


def _other(byte: int) -> int:
    return _BASE64[(_BASE64.index(byte) + 1) % len(_BASE64)] if byte in _BASE64 else byte ^ 1
