"""A self-signed certificate for loopback, and its channel binding.

It writes no files: the server's context is loaded from a folder that the caller owns.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key."""

    pem: bytes
    """The certificate, for clients to trust."""
    key_pem: bytes

    @property
    def channel_binding(self) -> bytes:
        """`tls-server-end-point` data of RFC 5929 (the certificate must be signed with SHA-256)."""
        der = ssl.PEM_cert_to_DER_cert(self.pem.decode())
        return b"tls-server-end-point:" + hashlib.sha256(der).digest()

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """Return a TLS server context. `folder` must be private: the key passes through a 0600 file there."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        chain = folder / "tls.pem"
        chain.touch(mode=0o600)
        try:
            chain.write_bytes(self.pem + self.key_pem)
            context.load_cert_chain(chain)
        finally:
            chain.unlink()
        return context


def self_signed() -> Certificate:
    """Make a certificate for `localhost` and 127.0.0.1, valid for 30 days, signed with SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        pem=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
