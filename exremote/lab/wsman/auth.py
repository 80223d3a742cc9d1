"""Who is speaking on a connection, and the sealing of what is said: Negotiate/NTLM by pyspnego, Basic.

It takes NTLMv2 only, and on https a channel binding that is really there. It never sees a SOAP message in
clear text that it does not hand on, and it keeps the NT hash of a password, never the password (Basic: a
salted digest).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import shutil
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import spnego
from spnego._ntlm_raw.crypto import ntowfv1
from spnego._ntlm_raw.messages import Authenticate, AvId, NTClientChallengeV2
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import SpnegoError

SEALED = "application/HTTP-SPNEGO-session-encrypted"
BOUNDARY = b"--Encrypted Boundary"
SEALED_TYPE = f'multipart/encrypted;protocol="{SEALED}";boundary="Encrypted Boundary"'

_environment = threading.Lock()


class AuthenticationFailed(Exception):
    """The client is not who it says, or says it in a way that is not accepted."""


class SealBroken(Exception):
    """A sealed message cannot be opened; the connection is of no use any more."""


class Users:
    """The accounts of one endpoint, in a private file that lives as long as the endpoint.

    pyspnego's acceptor reads accounts from the file that NTLM_USER_FILE names, and the versions of NTLM it
    takes from LM_COMPAT_LEVEL; both are settings of the whole process. They are therefore set only while one
    step of a handshake runs, under one lock: several endpoints live in a process, and nothing is left behind.
    """

    def __init__(self, domain: str) -> None:
        """`domain`: the NetBIOS name that may stand before a user's name."""
        self.domain = domain
        self.folder = Path(tempfile.mkdtemp(prefix="wsman-"))
        self._file = self.folder / "users"
        self._file.touch(mode=0o600)
        self._salt = secrets.token_bytes(16)
        self._digests: dict[str, bytes] = {}

    def add(self, user: str, password: str) -> None:
        """Add an account."""
        nt_hash = ntowfv1(password).hex().upper()
        with self._file.open("a", encoding="utf-8") as file:
            for name in (user, f"{self.domain}\\{user}", f"{user}@{self.domain}"):
                file.write(f"{name}:1000:{'0' * 32}:{nt_hash}:[U]:LCT-0\n")
        self._digests[user.lower()] = self._digest(password)

    def close(self) -> None:
        """Remove the file."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def principal(self, name: str) -> str:
        """Return domain, backslash and user for any of the forms in which that user may be named."""
        bare = name.rpartition("\\")[2].partition("@")[0]
        return f"{self.domain.upper()}\\{bare.lower()}"

    def basic(self, header: str) -> str:
        """Given what follows `Basic `, return the principal. Raise AuthenticationFailed."""
        try:
            raw = base64.b64decode(header, validate=True)
        except binascii.Error:
            raise AuthenticationFailed("the Basic header is not base64") from None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")  # as requests encodes what fits into it
        name, _, password = text.partition(":")
        bare = self.principal(name).partition("\\")[2]
        if not hmac.compare_digest(self._digests.get(bare, b""), self._digest(password)):
            raise AuthenticationFailed(f"wrong user or password for {name}")
        return self.principal(name)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Have pyspnego use these accounts and NTLMv2 alone, for as long as the block runs."""
        wanted = {"NTLM_USER_FILE": str(self._file), "LM_COMPAT_LEVEL": "5"}
        with _environment:
            before = {name: os.environ.get(name) for name in wanted}
            os.environ.update(wanted)
            try:
                yield
            finally:
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value

    def _digest(self, password: str) -> bytes:
        return hashlib.scrypt(password.encode(), salt=self._salt, n=1024, r=8, p=1)


class Acceptor:
    """The security context of one connection."""

    def __init__(self, users: Users, binding: bytes | None) -> None:
        """`binding`: channel binding data of the TLS connection, None on plain http."""
        self._users = users
        self._binding = binding
        with users.in_force():
            self._context = spnego.server(
                protocol="negotiate",
                channel_bindings=GssChannelBindings(application_data=binding) if binding else None,
                options=spnego.NegotiateOptions.use_negotiate,
            )
        self.principal = ""
        """Who it is, once complete."""
        self.claimed = ""
        """Who the client says that it is, proved or not."""

    @property
    def complete(self) -> bool:
        """Whether the client has proved who it is."""
        return bool(self.principal)

    def step(self, token: bytes) -> bytes | None:
        """Given the client's token, return the next of ours. Raise AuthenticationFailed."""
        try:
            self._look_into(token)
            with self._users.in_force():
                reply = self._context.step(token)
        except (SpnegoError, ValueError, struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
            raise AuthenticationFailed(str(error)) from None
        if self._context.complete:
            self.principal = self._users.principal(self._context.client_principal or "")
        return reply

    def unseal(self, body: bytes) -> bytes:
        """Given the body of a sealed request, return the message. Raise SealBroken."""
        try:
            head = body.index(b"\r\n" + BOUNDARY + b"\r\n", len(BOUNDARY))
            length = int(body[:head].rsplit(b"Length=", 1)[1])
            start = body.index(b"octet-stream\r\n", head) + len(b"octet-stream\r\n")
            end = body.rindex(BOUNDARY + b"--")
            signature = struct.unpack_from("<i", body, start)[0]
            data = start + 4 + signature
            message = self._context.unwrap_winrm(body[start + 4 : data], body[data:end])
        except (SpnegoError, ValueError, struct.error, IndexError) as error:
            raise SealBroken(str(error)) from None
        if len(message) != length:
            raise SealBroken(f"{len(message)} bytes came, {length} were announced")
        return message

    def seal(self, message: bytes, bad_mic: bool = False) -> list[bytes]:
        """Return the body of a sealed answer, in pieces; with `bad_mic` the signature is wrong."""
        sealed = self._context.wrap_winrm(message)
        signature = sealed.header
        if bad_mic:
            signature = signature[:4] + bytes([signature[4] ^ 0xFF]) + signature[5:]
        head = (
            f"--Encrypted Boundary\r\n\tContent-Type: {SEALED}\r\n\tOriginalContent: "
            f"type=application/soap+xml;charset=UTF-8;Length={len(message) + sealed.padding_length}\r\n"
            "--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
        )
        return [
            head.encode(),
            struct.pack("<i", len(signature)),
            signature,
            sealed.data,
            BOUNDARY + b"--\r\n",
        ]

    def _look_into(self, token: bytes) -> None:
        """Note who is claimed; raise AuthenticationFailed if the client says "no binding" by a value of
        zeros.

        pyspnego accepts that value.
        """
        start = token.find(b"NTLMSSP\x00\x03\x00\x00\x00")
        if start < 0:
            return
        said = Authenticate.unpack(token[start:])
        self.claimed = self._users.principal(said.user_name or "")
        response = said.nt_challenge_response or b""
        if self._binding and len(response) > 24:
            pairs = NTClientChallengeV2.unpack(response[16:]).av_pairs
            if pairs.get(AvId.channel_bindings, b"\x00" * 16) == b"\x00" * 16:
                raise AuthenticationFailed("the client sent no channel binding")
