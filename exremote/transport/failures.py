"""What each error of the wire's libraries means for a person. It never shows a password."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator

import pypsrp.exceptions
import requests.exceptions
import urllib3.exceptions
import winrm.exceptions

from exremote.errors import (
    AccessDenied,
    HostError,
    LogonRefused,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
    TrustError,
    Unreachable,
)
from exremote.transport.faults import OPERATION_TIMEOUT, TOO_LARGE, fault
from exremote.transport.scene import Scene, words

Translator = Callable[[BaseException, Scene], HostError]
"""Given an error and the scene, return what to raise instead."""

EXTRAS = "Install it with: pip install 'exremote[{0}]'"


def _lasting(kind: Callable[[str, str, str], HostError]) -> Callable[[str, str, str], HostError]:
    """Given a kind of error, return what makes one that stays as it is, however often it is tried."""

    def make(host: str, message: str, remedy: str) -> HostError:
        error = kind(host, message, remedy)
        error.lasting = True
        return error

    return make


def refused_login(error: BaseException, scene: Scene) -> HostError:
    """Return LogonRefused: the credential was not taken; or AccessDenied: it was not even looked at."""
    text = words(error)
    if "authentication methods" in text:
        offered = text.rpartition("actual:")[2].strip(" '") or "none"
        return AccessDenied(
            scene.host,
            f"it does not take {scene.auth} authentication; it offers: {scene.quote(offered)}.",
            "Set auth in the inventory to one of these, or enable Negotiate on the host: "
            'winrm set winrm/config/service/auth @{Negotiate="true"}',
        )
    return LogonRefused(
        scene.host,
        f"wrong user name or password: {scene.user or 'nobody'} was refused ({scene.auth}).",
        "Check the credential in the inventory; an account that is locked, disabled or expired is refused in "
        "the same way. It was tried once and is not tried again in this run.",
    )


def no_context(error: BaseException, scene: Scene) -> HostError:
    """Return AccessDenied: the libraries on this side could not even begin to authenticate."""
    text = scene.quote(words(error))
    if scene.auth == "kerberos":
        tried = any(word in text.lower() for word in ("preauthentication", "password", "revoked"))
        return (LogonRefused if tried else AccessDenied)(
            scene.host,
            f"Kerberos gave no ticket for it: {text}.",
            'Run kinit, use the host\'s DNS name (not an IP address), or set auth = "ntlm".',
        )
    return AccessDenied(
        scene.host, f"authentication by {scene.auth} failed: {text}.", "Check auth in the inventory."
    )


def missing_extra(host: str, auth: str) -> HostError:
    """Return AccessDenied: a package is not installed here."""
    needs = {"kerberos": "gssapi and krb5", "credssp": "requests-credssp"}[auth]
    return AccessDenied(host, f'auth = "{auth}" needs {needs}, not installed here.', EXTRAS.format(auth))


def not_installed(error: BaseException, scene: Scene) -> HostError:
    """Return AccessDenied for an ImportError of a library that came too late to be foreseen."""
    if scene.auth in ("kerberos", "credssp"):
        return missing_extra(scene.host, scene.auth)
    return AccessDenied(
        scene.host, f"a package is missing here: {scene.quote(words(error))}.", "Install exremote anew."
    )


def bad_settings(error: BaseException, scene: Scene) -> HostError:
    """Return AccessDenied: the library refuses this combination of settings before it sends anything."""
    if scene.opened:
        return lost(error, scene)
    return AccessDenied(
        scene.host,
        f'auth = "{scene.auth}" cannot be used like this: {scene.quote(words(error))}.',
        "Check auth, encryption and scheme in the inventory.",
    )


def unsendable(error: BaseException, scene: Scene) -> HostError:
    """Return AccessDenied: account or password cannot be written so. What the library says quotes them."""
    if scene.opened:
        return damaged(error, scene)
    code = error.encoding if isinstance(error, UnicodeEncodeError) else "its code"
    return AccessDenied(
        scene.host,
        f'auth = "{scene.auth}" cannot send this user name or password: it has a character outside {code}.',
        'Use auth = "negotiate", or an account whose name and password have no such character.',
    )


def bad_address(error: BaseException, scene: Scene) -> HostError:
    """Return Unreachable: the address is none."""
    return _lasting(Unreachable)(
        scene.host,
        f"{scene.url} is no usable address ({scene.quote(words(error))}).",
        "Check address, port and scheme.",
    )


def refused_connection(error: BaseException, scene: Scene) -> HostError:
    """Return Unreachable: nobody listens there."""
    return Unreachable(
        scene.host,
        f"no listener on port {scene.port} of {scene.address} (connection refused).",
        "Run winrm quickconfig on the host, or set port: 5985 (http) or 5986 (https), "
        "80 or 443 for WinRM 1.1.",
    )


def no_name(error: BaseException, scene: Scene) -> HostError:
    """Return Unreachable: DNS does not know the name."""
    return _lasting(Unreachable)(
        scene.host,
        f"the name {scene.address} does not resolve.",
        "Check address in the inventory, and DNS on this machine.",
    )


def no_route(error: BaseException, scene: Scene) -> HostError:
    """Return Unreachable: packets get no answer."""
    return Unreachable(
        scene.host,
        f"no answer from port {scene.port} of {scene.address}.",
        "Check that the host runs and that no firewall is in between.",
    )


def slow(error: BaseException, scene: Scene) -> HostError:
    """Return RemoteTimeout: connected, but no answer in time; not even to a TLS handshake, maybe."""
    if any("handshake" in words(one).lower() for one in chain(error)):
        return _lasting(RemoteTimeout)(
            scene.host,
            f"port {scene.port} of {scene.address} takes connections and answers no TLS handshake.",
            'If it speaks plain HTTP, set scheme = "http" (messages are sealed all the same); else see what '
            "holds the connection: a firewall, a forwarder, or a host that hangs.",
        )
    return RemoteTimeout(
        scene.host,
        f"no answer in time{scene.during}.",
        "The host or its network is overloaded; raise the deadlines in the inventory if it is always so.",
    )


def lost(error: BaseException, scene: Scene) -> HostError:
    """Return SessionLost, or Unreachable before there was a session: the connection broke."""
    text = scene.quote(words(error)) or type(error).__name__
    if scene.opened:
        return SessionLost(scene.host, f"the connection was lost{scene.during} ({text}).")
    return Unreachable(
        scene.host,
        f"the connection to port {scene.port} of {scene.address} broke off ({text}).",
        "Check that WinRM listens there, and that scheme is right (http or https).",
    )


def hung_up(error: BaseException, scene: Scene) -> HostError:
    """Return SessionLost: the host closed the connection while it was idle."""
    return SessionLost(scene.host, f"the host closed the connection{scene.during}.")


def damaged(error: BaseException, scene: Scene) -> HostError:
    """Return SessionLost: an answer came that makes no sense."""
    return SessionLost(
        scene.host,
        f"an answer arrived damaged{scene.during} ({scene.quote(words(error)) or type(error).__name__}).",
    )


def proxy(error: BaseException, scene: Scene) -> HostError:
    """Return Unreachable: something in between refused."""
    return Unreachable(
        scene.host, f"a proxy is in the way ({scene.quote(words(error))}).", "exremote uses no proxy."
    )


def untrusted(error: BaseException, scene: Scene) -> HostError:
    """Return TrustError: TLS did not come about."""
    inner = next((one for one in chain(error) if isinstance(one, ssl.SSLError)), None)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return _certificate(inner, scene)
    text = words(inner or error)
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "RECORD_LAYER" in text:
        return TrustError(
            scene.host,
            f"port {scene.port} does not speak TLS.",
            'Set scheme = "http" (messages are sealed all the same), or use the https port, 5986.',
        )
    if any(
        word in text
        for word in ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "HANDSHAKE_FAILURE", "DH_KEY", "LEGACY")
    ):
        return TrustError(
            scene.host,
            "it offers only an old TLS that this machine refuses.",
            'Use scheme = "http" with sealed messages (port 5985), or enable TLS 1.2 on the host.',
        )
    if "EOF" in text or "reset" in text.lower():
        return lost(error, scene)
    return TrustError(
        scene.host, f"TLS failed ({scene.quote(text)}).", "Check scheme, port and the host's certificate."
    )


def _certificate(error: ssl.SSLCertVerificationError, scene: Scene) -> HostError:
    reason = error.verify_message or str(error)
    if error.verify_code in (62, 64) or "mismatch" in reason.lower():
        return TrustError(
            scene.host,
            f"its TLS certificate is for another name than {scene.address}.",
            "Set address to the name in the certificate.",
        )
    if error.verify_code in (9, 10):
        return TrustError(
            scene.host,
            f"its TLS certificate is not valid now ({scene.quote(reason)}).",
            "Renew it on the host.",
        )
    return TrustError(
        scene.host,
        f"its TLS certificate is not trusted ({scene.quote(reason)}).",
        'Save the certificate of its issuer as PEM and set verify = "FILE.pem" for the host.',
    )


def connection(error: BaseException, scene: Scene) -> HostError:
    """Given an error that wraps another one, return what the innermost telling one means."""
    for one in chain(error):
        match one:
            case urllib3.exceptions.ProxyError() | requests.exceptions.ProxyError():
                return proxy(one, scene)
            case ssl.SSLError():
                return untrusted(one, scene)
            case urllib3.exceptions.NameResolutionError() | socket.gaierror():
                return no_name(one, scene)
            case ConnectionRefusedError():
                return refused_connection(one, scene)
            case urllib3.exceptions.ReadTimeoutError():
                return slow(one, scene)
            case urllib3.exceptions.ConnectTimeoutError() if not isinstance(
                one, urllib3.exceptions.NewConnectionError
            ):
                return no_route(one, scene)
            case OSError() if one.errno in (101, 110, 112, 113, 10051, 10060, 10064, 10065):
                return no_route(one, scene)
            case ConnectionError() | http.client.HTTPException():
                return lost(one, scene)
    return lost(error, scene)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors inside an error, the innermost first."""
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo and len(found) < 32:
        one = todo.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            todo += [one.__context__, one.__cause__, getattr(one, "reason", None), *one.args]
    yield from reversed(found)


def http_status(error: BaseException, scene: Scene) -> HostError:
    """Given an HTTP status that holds no fault, return what it means."""
    status = getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", None)
    match status:
        case 401:
            return refused_login(error, scene)
        case 403:
            return fault(5, "HTTP 403", scene)
        case 404 | 405:
            return _lasting(Unreachable)(
                scene.host,
                f"no WinRM at {scene.url} (HTTP {status}).",
                "Check port and path in the inventory.",
            )
        case 407:
            return proxy(error, scene)
        case 408 | 504:
            return slow(error, scene)
        case 413:
            return fault(TOO_LARGE, "HTTP 413", scene)
        case 425 | 429 | 503:
            kind = SessionLost if scene.opened else Unreachable
            return kind(
                scene.host,
                f"its WinRM service is starting or too busy (HTTP {status}).",
                "Wait, or restart the service on the host: net stop winrm & net start winrm",
            )
    if scene.opened:
        return SessionLost(scene.host, f"the conversation was cut{scene.during} (HTTP {status}).")
    # What a server does not know today, it does not know tomorrow; what broke in it may be mended.
    may_pass = isinstance(status, int) and 500 <= status != 501
    return (Unreachable if may_pass else _lasting(Unreachable))(
        scene.host,
        f"{scene.url} answers with HTTP {status}, not as WinRM does.",
        "Check port, scheme and path.",
    )


def psrp_fault(error: BaseException, scene: Scene) -> HostError:
    """Given a fault as pypsrp tells it, return what it means."""
    args = (*error.args, None, None, None)
    return fault(args[0], str(args[2] or ""), scene)


def winrs_fault(error: BaseException, scene: Scene) -> HostError:
    """Given a fault as pywinrm tells it, return what it means."""
    code = getattr(error, "wsman_fault_code", None) or getattr(error, "wmierror_code", None)
    return fault(code, str(getattr(error, "reason", "")), scene)


def winrs_slow(error: BaseException, scene: Scene) -> HostError:
    """Return RemoteTimeout: pywinrm's own word for the operation time-out."""
    return fault(OPERATION_TIMEOUT, "", scene)


def winrm_other(error: BaseException, scene: Scene) -> HostError:
    """Given an error that a library has no closer word for, return what it means."""
    text = words(error)
    if "related id" in text or "length" in text:
        return damaged(error, scene)
    if "not installed" in text and scene.auth in ("kerberos", "credssp"):
        return missing_extra(scene.host, scene.auth)
    return damaged(error, scene) if scene.opened else bad_settings(error, scene)


def wrong_state(error: BaseException, scene: Scene) -> HostError:
    """Return SessionLost: the pool or pipeline is not what it should be."""
    return SessionLost(
        scene.host, f"the session is in the wrong state{scene.during} ({scene.quote(words(error))})."
    )


def unserialisable(error: BaseException, scene: Scene) -> HostError:
    """Return ScriptFailed: a value cannot travel."""
    return ScriptFailed(
        scene.host,
        f"a value of {scene.script or 'a script'} cannot be sent or read ({scene.quote(words(error))}).",
        script=scene.script,
        error_id="Transport.Serialization",
    )


def answered(error: BaseException) -> bool:
    """Given an error, return whether it is a fault: the host's own answer, after which all is in step."""
    return type(error).__name__ in ("WSManFaultError", "WinRMOperationTimeoutError")


def reached(error: BaseException) -> bool:
    """Given an error, return whether a request may have left this machine."""
    return not any(
        isinstance(one, ssl.SSLError | socket.gaierror | ConnectionRefusedError)
        or (
            isinstance(one, urllib3.exceptions.ConnectTimeoutError)
            and not isinstance(one, urllib3.exceptions.ReadTimeoutError)
        )
        or (isinstance(one, pypsrp.exceptions.WinRMTransportError | winrm.exceptions.WinRMTransportError))
        for one in chain(error)
    )
