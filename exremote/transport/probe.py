"""Probes below a session, for the first hour with a host: name, port, TLS, listener, log-on, settings.

It opens no shell and never retries. Only `configuration` sends a credential, once; what comes before it goes
without one, and so may go over a TLS that is not trusted.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import cast
from xml.etree.ElementTree import Element

import requests.utils
from pypsrp.exceptions import WinRMTransportError, WSManFaultError

from exremote.errors import HostError, RemoteTimeout, TrustError, Unreachable
from exremote.transport import connect
from exremote.transport.errormap import translate
from exremote.transport.failures import no_route
from exremote.transport.faults import _LOGON
from exremote.transport.link import Link, link
from exremote.transport.psrp import PsrpConversation
from exremote.transport.scene import Scene, shorten
from exremote.transport.wire import Address, Login, WireSettings

PORTS = (5985, 5986, 80, 443)
"""Where WinRM listens: 2.0 and newer on the first two, 1.1 on the others (source: Microsoft's page on the
installation and configuration of WinRM)."""
KNOCK_S = 3.0
"""How long a port is knocked at that nobody asked for."""
CONFIG_URI = "http://schemas.microsoft.com/wbem/wsman/1/config"

_MAX_BODY = 65536
_IDENTIFY = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    b' xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    b"<s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"
)
_SOAP = {"Content-Type": "application/soap+xml;charset=UTF-8"}
_NO_CHECK_TIME, _PARTIAL_CHAIN = 0x200000, 0x80000  # OpenSSL's X509_V_FLAG_...
_Decoded = Mapping[str, object]
_SCHEME = re.compile(r"(?:^|,)\s*(Negotiate|Kerberos|NTLM|CredSSP|Basic|Digest)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Handshake:
    """A TLS handshake that came about, trusted or not."""

    version: str
    """E.g. `TLSv1.2`."""
    names: tuple[str, ...]
    """The names in the certificate, the common name last; none if it could not be read."""
    expires: datetime | None
    """When the certificate ends, if it could be read."""
    problem: TrustError | None
    """Why it is not trusted, if it is not."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What answered a request that anybody may make."""

    status: int
    """HTTP status."""
    server: str
    """The `Server` header."""
    vendor: str
    """WinRM's product vendor; '' if it did not identify itself."""
    version: str
    """Its product version, e.g. `OS: 5.2.3790 SP: 2.0 Stack: 2.0`."""
    protocol: str
    """Its protocol version."""
    offers: tuple[str, ...]
    """The authentication schemes that came with a 401."""
    clock: datetime | None
    """The host's time, from the `Date` header."""

    @property
    def stack(self) -> str:
        """Return WinRM's own version as the host says it, e.g. `2.0`, or nothing."""
        found = re.search(r"Stack:\s*([\d.]+)", self.version)
        return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an authenticated question for WinRM's settings brought."""

    values: Mapping[str, str]
    """By dotted name, e.g. `Winrs.MaxShellsPerUser`; nothing if they were refused."""
    refused: str = ""
    """The host's own words, if this account may not read them."""
    unsealed_refused: str = ""
    """The HTTP status, if the host takes no message in clear text."""
    round_trip_s: float = 0.0
    """How long one small question and its answer took, the connection being there."""


def scene(address: Address, login: Login | None = None) -> Scene:
    """Given where and as whom, return what a sentence about an error needs."""
    auth, user = (login.auth, login.username) if login else ("", "")
    return Scene(address.host, address.address, address.port, address.url, auth, user, False)


def resolve(address: Address) -> tuple[str, ...]:
    """Given an address, return what its name resolves to, each once. Raise Unreachable."""
    try:
        found = socket.getaddrinfo(address.address, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise translate(socket.gaierror(str(error)), scene(address)) from None
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def knock(address: Address, timeout_s: float) -> None:
    """Given where and how long to wait, connect and hang up. Raise Unreachable."""
    try:
        socket.create_connection((address.address, address.port), timeout_s).close()
    except TimeoutError:
        raise no_route(TimeoutError(), scene(address)) from None
    except OSError as error:
        raise translate(error, scene(address)) from None


def open_ports(address: Address, ports: Sequence[int] = PORTS) -> tuple[int, ...]:
    """Given a host and ports, knock at all of them at once. Return those that are open."""

    def is_open(port: int) -> bool:
        with suppress(HostError):
            knock(replace(address, port=port), KNOCK_S)
            return True
        return False

    with ThreadPoolExecutor(len(ports)) as pool:
        return tuple(port for port, found in zip(ports, pool.map(is_open, ports), strict=True) if found)


def speaks_tls(address: Address, timeout_s: float) -> bool:
    """Given where, return whether TLS of any age and trust is spoken there."""
    with suppress(OSError, ValueError):
        _hello(address, _lenient(), timeout_s)
        return True
    return False


def speaks_http(address: Address, timeout_s: float) -> bool:
    """Given where, return whether plain HTTP is spoken there."""
    with suppress(HostError):
        _post(replace(address, scheme="http"), _SOAP, b"", timeout_s)
        return True
    return False


def shake_hands(address: Address, verify: bool | Path, timeout_s: float) -> Handshake:
    """Given where, and whom to trust, do the handshake that the wire would do.

    Return it, trusted or not. Raise TrustError if this machine and the host agree on no TLS,
    Unreachable or RemoteTimeout if something else is there.
    """
    problem: TrustError | None = None
    try:
        version = _hello(address, _context(verify), timeout_s)[0]
    except ssl.SSLCertVerificationError as error:
        said = translate(error, scene(address))
        problem = said if isinstance(said, TrustError) else TrustError(address.host, said.message)
        version = ""
    except ssl.SSLError as error:
        old = _old_version(address, timeout_s)
        if old:
            raise TrustError(
                address.host,
                f"it speaks {old} only, which this machine refuses as too old.",
                'Set scheme = "http" and port = 5985 (messages are sealed all the same), '
                "or enable TLS 1.2 on the host if its Windows has it.",
            ) from None
        raise translate(error, scene(address)) from None
    except (OSError, ValueError) as error:
        raise _translated(error, address) from None
    names, expires, again = _certificate(address, timeout_s)
    if problem is not None and names:
        problem.message += f" It names {', '.join(names)}"
        problem.message += f" and ends on {expires:%Y-%m-%d}." if expires else "."
    return Handshake(version or again, names, expires, problem)


def identify(address: Address, timeout_s: float) -> Listener:
    """Given where, ask WinRM who it is, without a credential. Return what answered.

    Raise Unreachable or RemoteTimeout if nothing did that speaks HTTP.
    """
    return _post(address, {**_SOAP, "WSMANIDENTIFY": "unauthenticated"}, _IDENTIFY, timeout_s)


def offers(address: Address, timeout_s: float) -> Listener:
    """Given where, ask without a credential: the refusal says what is offered. Raise HostError."""
    return _post(address, _SOAP, b"", timeout_s)


def configuration(address: Address, login: Login, settings: WireSettings) -> Configuration:
    """Given where, as whom and how, authenticate once and ask for WinRM's settings.

    Return them, or that this account may not read them. Raise AccessDenied if the credential was refused,
    or another HostError.
    """
    conversation = cast(PsrpConversation, connect(address, login, replace(settings, wire="psrp")))
    wsman: Link | None = None
    try:
        wsman = link(address, login, settings)
        body = wsman.get(CONFIG_URI)
        started = time.monotonic()
        wsman.get(CONFIG_URI)
        return Configuration(dict(_flat(body)), round_trip_s=time.monotonic() - started)
    except WSManFaultError as error:
        if error.code in _LOGON:
            raise _hidden(conversation, error) from None
        return Configuration({}, refused=_hidden(conversation, error).message)
    except WinRMTransportError as error:
        readable = settings.encryption == "never" and address.scheme == "http"
        if readable and error.code in (403, 500):
            return Configuration({}, unsealed_refused=f"HTTP {error.code}")
        raise _hidden(conversation, error) from None
    except HostError:
        raise
    except Exception as error:
        raise _hidden(conversation, error) from None
    finally:
        if wsman is not None:
            wsman.close()


def _hidden(conversation: PsrpConversation, error: Exception) -> HostError:
    """Given a library's error, return ours, without any secret that a library may have quoted."""
    return translate(error, conversation._scene())


def _flat(element: Element, above: str = "") -> Iterator[tuple[str, str]]:
    """Given an element of settings, yield each leaf below it with its dotted name."""
    for child in element:
        name = child.tag.rpartition("}")[2]
        path = "" if name == "Config" else f"{above}.{name}" if above else name
        if len(child):
            yield from _flat(child, path)
        elif child.text:
            yield path, child.text.strip()


def _post(address: Address, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Listener:
    """Given headers and a body, send them once. Return what answered. Raise Unreachable, RemoteTimeout."""
    where = (address.address, address.port)
    connection = (
        http.client.HTTPSConnection(*where, timeout=timeout_s, context=_lenient())
        if address.scheme == "https"
        else http.client.HTTPConnection(*where, timeout=timeout_s)
    )
    try:
        with closing(connection):
            connection.request("POST", f"/{address.path}", body, dict(headers))
            answer = connection.getresponse()
            text = answer.read(_MAX_BODY).decode("utf-8", "replace")
    except http.client.RemoteDisconnected as error:
        raise _translated(error, address) from None
    except http.client.HTTPException as error:
        raise Unreachable(
            address.host,
            f"port {address.port} of {address.address} answers, but not in HTTP "
            f"({shorten(str(error), 60) or type(error).__name__}).",
            "Another program listens there: set port, or run winrm quickconfig on the host.",
        ) from None
    except (OSError, ValueError) as error:
        raise _translated(error, address) from None
    seen = [
        scheme for line in answer.headers.get_all("WWW-Authenticate", []) for scheme in _SCHEME.findall(line)
    ]
    return Listener(
        answer.status,
        shorten(answer.headers.get("Server", ""), 60),
        _field(text, "ProductVendor"),
        _field(text, "ProductVersion"),
        _field(text, "ProtocolVersion"),
        tuple(dict.fromkeys(seen)),
        _date(answer.headers.get("Date", "")),
    )


def _field(text: str, name: str) -> str:
    found = re.search(rf"<(?:\w+:)?{name}>([^<]*)<", text)
    return shorten(found.group(1), 100) if found else ""


def _date(text: str) -> datetime | None:
    try:
        said = parsedate_to_datetime(text)
    except ValueError:
        return None
    return said if said.tzinfo else said.replace(tzinfo=UTC)


def _translated(error: Exception, address: Address) -> HostError:
    """Given what went wrong on an open port, return the error for a person."""
    if isinstance(error, TimeoutError):
        return RemoteTimeout(
            address.host,
            f"port {address.port} of {address.address} takes connections and never answers.",
            "Restart WinRM on the host (net stop winrm & net start winrm), "
            "and see whether a firewall or a forwarder holds the connection.",
        )
    return translate(error, scene(address))


def _context(verify: bool | Path) -> ssl.SSLContext:
    """Given whom to trust, return a context that does as the wire's libraries do."""
    if verify is False:
        return _bare()
    trusted = verify
    if trusted is True:
        said = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        trusted = Path(said or requests.utils.DEFAULT_CA_BUNDLE_PATH)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    folder = os.path.isdir(trusted)  # noqa: PTH112 - says no where the system refuses
    context.load_verify_locations(None if folder else trusted, trusted if folder else None)
    return context


def _bare() -> ssl.SSLContext:
    """Return a context that trusts anybody; no secret goes through it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _lenient() -> ssl.SSLContext:
    """Return a context that takes any TLS that this machine's OpenSSL still can."""
    context = _bare()
    with warnings.catch_warnings(), suppress(ssl.SSLError, ValueError):
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)
    return context


def _hello(address: Address, context: ssl.SSLContext, timeout_s: float) -> tuple[str, bytes, _Decoded]:
    """Given a context, shake hands once and hang up. Raise OSError.

    Return the version, the certificate, and what the standard library reads in it if it trusts it.
    """
    with socket.create_connection((address.address, address.port), timeout_s) as plain:
        with context.wrap_socket(plain, server_hostname=address.address) as sealed:
            binary = sealed.getpeercert(binary_form=True) or b""
            return sealed.version() or "", binary, sealed.getpeercert() or {}


def _old_version(address: Address, timeout_s: float) -> str:
    """Given a host that our TLS does not suit, return the version that an old one gets, or nothing."""
    with suppress(OSError, ValueError):
        version = _hello(address, _lenient(), timeout_s)[0]
        return version if version in ("TLSv1", "TLSv1.1") else ""
    return ""


def _certificate(address: Address, timeout_s: float) -> tuple[tuple[str, ...], datetime | None, str]:
    """Return the names of the host's certificate, its end, and the TLS version; nothing of what fails.

    The standard library reads only a certificate that it trusts: so it is made to trust this one.
    """
    version = ""
    with suppress(OSError, ValueError):
        version, binary, _ = _hello(address, _lenient(), timeout_s)
        context = _lenient()
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags = ssl.VerifyFlags(_NO_CHECK_TIME | _PARTIAL_CHAIN)
        context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(binary))
        return *_read(_hello(address, context, timeout_s)[2]), version
    return (), None, version


def _read(certificate: _Decoded) -> tuple[tuple[str, ...], datetime | None]:
    """Given a certificate as the standard library reads it, return its names and its end."""
    names = [str(pair[1]) for pair in cast(Sequence[Sequence[str]], certificate.get("subjectAltName", ()))]
    for part in cast(Sequence[Sequence[Sequence[str]]], certificate.get("subject", ())):
        names += [f"{pair[1]} (common name)" for pair in part if pair[0] == "commonName"]
    ends = certificate.get("notAfter")
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC) if ends else None
    return tuple(dict.fromkeys(names)), expires
