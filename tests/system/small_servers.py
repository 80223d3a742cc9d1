"""Small servers on loopback that are no WinRM, or hide one behind a TLS of their own."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from exremote.lab.wsman.tls import Certificate


def certificate(name: str, days: int = 90) -> Certificate:
    """Make a certificate for one name or address, valid for so many days from now (or until so long ago)."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    try:
        other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        other = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


class Servers:
    """Servers of one test; all are gone behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: list[bytes] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def heard_no(self, word: str) -> bool:
        """Return whether nobody was told such a word."""
        return word.lower().encode() not in b"".join(self.heard).lower()

    def deaf(self) -> int:
        """Listen, and say nothing. Return the port."""
        return self._listen(64)

    def full(self) -> int:
        """Listen with a queue that is full: the system drops what else comes. Return the port."""
        port = self._listen(0)
        for _ in range(4):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
            self._sockets.append(caller)
        return port

    def canned(self, answer: bytes) -> int:
        """Answer whatever is said with the same bytes, then hang up. Return the port."""

        def serve(client: socket.socket) -> None:
            client.settimeout(5)
            self.heard.append(client.recv(65536))
            client.sendall(answer)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                self.heard.append(client.recv(65536))

        return self._serve(serve)

    def endless(self, head: bytes, piece: bytes, pause_s: float) -> int:
        """Answer whatever is said with a head, and then the same piece again and again. Return the port."""

        def serve(client: socket.socket) -> None:
            self.heard.append(client.recv(65536))
            client.sendall(head)
            while True:
                client.sendall(piece)
                time.sleep(pause_s)

        return self._serve(serve)

    def telling(self, answer: Callable[[dict[str, str]], bytes]) -> int:
        """Answer each request with what its headers are worth. Return the port."""

        def serve(client: socket.socket) -> None:
            client.settimeout(20)
            with client.makefile("rb") as stream:
                while stream.readline():
                    headers: dict[str, str] = {}
                    while (line := stream.readline()) not in (b"\r\n", b""):
                        name, _, value = line.decode("latin-1").partition(":")
                        headers[name.strip().lower()] = value.strip()
                    stream.read(int(headers.get("content-length", "0")))
                    client.sendall(answer(headers))

        return self._serve(serve)

    def tls(self, behind: int, proof: Certificate, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> int:
        """Open TLS, and hand all on to a port. Return the port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
            context.maximum_version = newest
        if newest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        chain = self.folder / "chain.pem"
        chain.write_bytes(proof.pem + proof.key_pem)
        context.load_cert_chain(chain)

        def serve(client: socket.socket) -> None:
            client.settimeout(30)
            with context.wrap_socket(client, server_side=True) as sealed:
                with socket.create_connection(("127.0.0.1", behind)) as host:
                    back = threading.Thread(target=_pump, args=(host, sealed), daemon=True)
                    back.start()
                    _pump(sealed, host)
                    with contextlib.suppress(OSError):
                        host.shutdown(socket.SHUT_RDWR)
                    back.join(5)

        return self._serve(serve)

    def _listen(self, backlog: int) -> int:
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        self._sockets.append(server)
        return int(server.getsockname()[1])

    def _serve(self, serve: object) -> int:
        port = self._listen(64)
        server = self._sockets[-1]

        def one(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                serve(client)  # type: ignore[operator]

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=one, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return port


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
