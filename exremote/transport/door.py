"""The one door for HTTP, for both libraries: no answer takes longer, or is larger, than it may.

It bounds each exchange as a whole, where the libraries bound only each piece of it; it ends one that is under
way when the run is stopped; and it has proofs of a password leave one at a time (`WireSettings.proof`).
"""

from __future__ import annotations

import base64
import binascii
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import requests
from pypsrp._pool_manager import create_request_adapter
from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse
from urllib3.util.retry import Retry

from exremote.errors import ExremoteError
from exremote.transport.wire import WireSettings

MAX_BODY = 8 << 20
"""Bytes of one HTTP answer: several times the largest envelope that anybody asks for."""
MOST_ENVELOPE = 512 * 1024
"""Bytes of the largest envelope that is asked for."""
SLOWEST = 8 * 1024
"""Bytes a second of a line that is still worth waiting for."""
STOP_GRACE_S = 6.0
"""How long an exchange may go on when the run is to stop: a host that has nothing to say answers in five."""
_LOOK_S = 0.5
_PIECE = 1 << 16
_AUTHENTICATE = b"NTLMSSP\0\x03\0\0\0"


class AnswerTooLarge(ValueError):
    """An HTTP answer had more bytes than any WinRM sends."""


class _Exchange:
    """One request and its answer, as the watchman sees it."""

    def __init__(self, settings: WireSettings, connection: HTTPConnection | None) -> None:
        allowed_s = settings.operation_timeout_s + settings.read_timeout_s + MOST_ENVELOPE / SLOWEST
        self.ends = time.monotonic() + max(0.0, min(allowed_s, settings.left_s()))
        self.stops: float | None = None
        self.late = False
        self.connection = connection
        self._between = settings.between

    def look(self, now: float) -> None:
        """Hang up if the time is over, or the run is to stop and the grace is over."""
        if self.stops is None:
            try:
                self._between()
            except BaseException:  # whoever runs in the exchange's own thread will meet it there
                self.stops = now + STOP_GRACE_S
        if now >= self.ends or (self.stops is not None and now >= self.stops):
            self.late = True
            self.hang_up()

    def hang_up(self) -> None:
        """Shut the socket, from any thread: whoever waits for it is told that it is gone."""
        sock: socket.socket | None = getattr(self.connection, "sock", None)
        if sock is not None:
            with suppress(Exception):
                sock.shutdown(socket.SHUT_RDWR)


class _Watchman:
    """One thread for all exchanges of the process; it is there while there are any."""

    def __init__(self) -> None:
        self._exchanges: set[_Exchange] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __call__(self, exchange: _Exchange) -> None:
        """Watch an exchange."""
        with self._lock:
            self._exchanges.add(exchange)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="http watchman", daemon=True)
                self._thread.start()

    def done(self, exchange: _Exchange) -> None:
        """Watch it no more."""
        with self._lock:
            self._exchanges.discard(exchange)

    def _watch(self) -> None:
        idle = 0
        while idle < 20:
            time.sleep(_LOOK_S)
            with self._lock:
                exchanges = list(self._exchanges)
                idle = 0 if exchanges else idle + 1
                if idle == 20:
                    self._thread = None
            for exchange in exchanges:
                exchange.look(time.monotonic())


_watch = _Watchman()
_current = threading.local()


def mount(session: requests.Session, settings: WireSettings) -> None:
    """Given a session of requests, have all that it sends go through this door."""
    adapter = create_request_adapter(max_retries=Retry(0, read=False))
    pools = adapter.poolmanager.pool_classes_by_scheme
    for scheme, make in list(pools.items()):
        pools[scheme] = _seen(make)
    send = adapter.send

    def guarded(request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        return _exchange(send, request, settings, *args, **more)

    adapter.send = guarded  # type: ignore[method-assign] # the one way in that both libraries take
    session.mount("http://", adapter)
    session.mount("https://", adapter)


def _seen(make: Callable[..., Any]) -> Callable[..., Any]:
    """Given what makes a pool, return it making pools whose connections the watchman finds."""

    def made(*args: Any, **more: Any) -> Any:
        pool = make(*args, **more)
        connect = pool.ConnectionCls

        def connection(*args: Any, **more: Any) -> Any:
            one = connect(*args, **more)
            ask, dial = one.request, one.connect

            def request(*args: Any, **more: Any) -> Any:
                _note(one)
                return ask(*args, **more)

            def dialled(*args: Any, **more: Any) -> Any:
                _note(one)
                return dial(*args, **more)

            one.request, one.connect = request, dialled
            return one

        pool.ConnectionCls = connection
        return pool

    return made


def _note(connection: HTTPConnection) -> None:
    exchange = getattr(_current, "exchange", None)
    if exchange is not None:
        exchange.connection = connection


def _exchange(
    send: Callable[..., requests.Response],
    request: requests.PreparedRequest,
    settings: WireSettings,
    *args: Any,
    **more: Any,
) -> requests.Response:
    """Send one request and read its answer whole. Raise what requests raises, or ExremoteError."""
    with settings.proof() if _proves(request) else nullcontext() as proof:
        began = time.monotonic()
        with _watched(settings, None) as exchange:
            _current.exchange = exchange
            try:
                response = send(request, *args, **more)
            finally:
                _current.exchange = None
            if response.status_code == 401:
                # The libraries want its socket, for the certificate, before anybody reads to the end.
                response.raw.stream = partial(_late, response.raw, exchange.connection, settings)  # type: ignore[method-assign]
            else:
                response._content = b"".join(_pieces(response.raw))
                response._content_consumed = True  # type: ignore[attr-defined] # as requests itself says it
        took_s = time.monotonic() - began
        if proof is not None:
            proof.accepted = _accepted(response)
    if response.status_code != 401:
        settings.carried(len(request.body or b"") + len(response.content), took_s)
    return response


@contextmanager
def _watched(settings: WireSettings, connection: HTTPConnection | None) -> Iterator[_Exchange]:
    """Have the watchman see to what is read in the block. Raise ReadTimeout if he ended it."""
    exchange = _Exchange(settings, connection)
    _watch(exchange)
    try:
        yield exchange
    except ExremoteError:
        raise
    except Exception as error:
        if exchange.late:
            raise requests.ReadTimeout("the answer took too long") from error
        raise
    finally:
        _watch.done(exchange)
    if exchange.late:
        raise requests.ReadTimeout("the answer took too long")


def _late(
    raw: HTTPResponse, connection: HTTPConnection | None, settings: WireSettings, *_: object, **__: object
) -> Iterator[bytes]:
    """Yield a body that a library reads by itself, in the same bounds."""
    with _watched(settings, connection):
        yield from _pieces(raw)


def _pieces(raw: HTTPResponse) -> Iterator[bytes]:
    """Yield a body, as much of it as there may be. Raise AnswerTooLarge."""
    size, length = 0, raw.headers.get("Content-Length", "")
    piece = min(int(length), MAX_BODY) if length.isdecimal() and len(length) < 12 else _PIECE
    while data := raw.read(max(piece, 1), decode_content=True):
        size += len(data)
        if size > MAX_BODY:
            raw.close()
            raise AnswerTooLarge(f"an answer of more than {MAX_BODY} bytes")
        yield data


def _proves(request: requests.PreparedRequest) -> bool:
    """Given a request, return whether it carries a proof of a password: NTLM's last message, or Basic."""
    value = request.headers.get("Authorization", "")
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    scheme, _, data = text.partition(" ")
    if scheme.lower() == "basic":
        return True
    try:
        return _AUTHENTICATE in base64.b64decode(data)
    except (binascii.Error, ValueError):
        return False


def _accepted(response: requests.Response) -> bool | None:
    """Given the answer to a proof, return whether it was taken; None if it is not WinRM's own answer."""
    if response.status_code == 401:
        return False
    kind = response.headers.get("Content-Type", "").lower()
    said = kind.startswith(("application/soap", "multipart/encrypted", "multipart/x-multi"))
    return True if response.status_code == 200 or said else None
