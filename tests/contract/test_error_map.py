"""Every exception class of the wire's libraries has a place of its own in the error tree."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import socket
import ssl
from collections.abc import Iterator

import pytest

from exremote.errors import AccessDenied, ExremoteError, HostError, LogonRefused, TrustError, Unreachable
from exremote.transport.errormap import LIBRARY_ERRORS, translate
from exremote.transport.scene import Scene

LIBRARIES = ("pypsrp", "winrm", "requests", "urllib3", "spnego", "requests_ntlm")

# Classes that never reach a caller of the libraries, each with the reason.
ELSEWHERE = {
    "requests.packages": "another name of urllib3",
    "urllib3.contrib": "other back ends (pyopenssl, emscripten, socks); not used",
    "urllib3.http2": "not used",
    "requests.compat": "names of other modules",
    "pypsrp.host": "what a host call raises on the client's side; we give pypsrp no host",
    "spnego._sspi_raw": "Windows' own library, wrapped by spnego.exceptions.NativeError",
    "spnego.__main__": "a command",
    "spnego.gss": "an old name, with a warning",
    "spnego.negotiate": "an old name, with a warning",
    "spnego.ntlm": "an old name, with a warning",
    "spnego.sspi": "an old name, with a warning",
    "spnego.tls": "a helper of CredSSP",
    "winrm.vendor": "requests_kerberos; its errors derive from requests.RequestException",
    "winrm.tests": "tests",
}


def scene(opened: bool = False, auth: str = "ntlm") -> Scene:
    return Scene("EX01", "ex01.example", 5985, "http://ex01.example:5985/wsman", auth, r"CORP\backup", opened)


def modules() -> Iterator[str]:
    for library in LIBRARIES:
        package = importlib.import_module(library)
        yield library
        for found in pkgutil.walk_packages(package.__path__, library + "."):
            if not any(found.name.startswith(prefix) for prefix in ELSEWHERE):
                yield found.name


def classes() -> list[type[BaseException]]:
    found: dict[str, type[BaseException]] = {}
    for name in modules():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # an optional part that is not installed here
        for _, kind in inspect.getmembers(module, inspect.isclass):
            own = kind.__module__.partition(".")[0] in LIBRARIES
            elsewhere = any(kind.__module__.startswith(prefix) for prefix in ELSEWHERE)
            if own and not elsewhere and issubclass(kind, BaseException) and not issubclass(kind, Warning):
                found[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return [found[name] for name in sorted(found)]


def test_the_walk_finds_what_it_should() -> None:
    names = {kind.__name__ for kind in classes()}
    assert {
        "WSManFaultError",
        "InvalidCredentialsError",
        "ReadTimeout",
        "NameResolutionError",
        "BadMICError",
    } <= names
    assert len(names) > 60


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_each_library_error_has_a_place(kind: type[BaseException]) -> None:
    """Its own line in the map, not only that of a base class: a new class must be thought about."""
    assert kind in LIBRARY_ERRORS, f"{kind.__module__}.{kind.__name__} has no place in errormap.py"


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("kind", LIBRARY_ERRORS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_each_place_is_a_sentence_with_host_and_exit_code(kind: type[BaseException], opened: bool) -> None:
    error = kind.__new__(kind)
    error.args = ("http", 500, "a text")
    ours = translate(error, scene(opened))
    assert isinstance(ours, HostError)
    assert ours.host == "EX01"
    assert ours.text.startswith("EX01: ")
    assert ours.exit_code in range(20, 24)
    assert ours.message
    assert len(ours.text) < 700


def test_nothing_but_our_own_errors_comes_out() -> None:
    class Unheard(Exception):
        pass

    assert isinstance(translate(Unheard("never seen"), scene(True)), ExremoteError)


def test_the_innermost_reason_counts() -> None:
    import requests
    import urllib3

    refused = urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
    refused.__context__ = ConnectionRefusedError(111, "Connection refused")
    outer = requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/", refused))  # type: ignore[arg-type]
    ours = translate(outer, scene())
    assert isinstance(ours, Unreachable)
    assert "no listener on port 5985" in ours.text
    for port in ("5986", "80", "443"):
        assert port in ours.text
    nameless = requests.ConnectionError(socket.gaierror(-2, "Name or service not known"))
    assert "does not resolve" in translate(nameless, scene()).text


@pytest.mark.parametrize(
    ("code", "words"),
    [(62, "another name"), (64, "another name"), (10, "not valid now"), (18, 'verify = "FILE.pem"')],
)
def test_certificates(code: int, words: str) -> None:
    import requests

    inner = ssl.SSLCertVerificationError("certificate verify failed")
    inner.verify_code = code
    inner.verify_message = "the reason"
    ours = translate(requests.exceptions.SSLError(inner), scene())
    assert isinstance(ours, TrustError)
    assert words in ours.text


def test_a_refused_logon_is_told_from_what_else_is_denied() -> None:
    """Only the first closes a credential for all hosts."""
    import pypsrp.exceptions
    import spnego.exceptions
    import winrm.exceptions

    logon = [
        pypsrp.exceptions.AuthenticationError("Failed to authenticate the user u with ntlm"),
        pypsrp.exceptions.WinRMTransportError("http", 401, ""),
        winrm.exceptions.InvalidCredentialsError("the specified credentials were rejected by the server"),
        pypsrp.exceptions.WSManFaultError(1326, "", "Logon failure", "", "", ""),
        spnego.exceptions.NoCredentialError(context_msg="Preauthentication failed"),
    ]
    other = [
        pypsrp.exceptions.WinRMTransportError("http", 403, ""),
        pypsrp.exceptions.WSManFaultError(5, "", "Access is denied.", "", "", ""),
        pypsrp.exceptions.AuthenticationError(
            "The server did not response with one of the following authentication methods - actual: 'Basic'"
        ),
        ImportError("no module"),
        spnego.exceptions.NoCredentialError(context_msg="No credentials cache found"),
    ]
    for error in logon:
        assert type(translate(error, scene(auth="kerberos"))) is LogonRefused, error
    for error in other:
        assert type(translate(error, scene(auth="kerberos"))) is AccessDenied, error


def test_kerberos_without_its_packages_names_the_extra() -> None:
    import winrm.exceptions

    error = winrm.exceptions.WinRMError("requested auth method is kerberos, but pykerberos is not installed")
    ours = translate(error, scene(auth="kerberos"))
    assert isinstance(ours, AccessDenied)
    assert "pip install 'exremote[kerberos]'" in ours.text
