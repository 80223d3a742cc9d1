"""Transport: (script, parameters, input) to records, over PSRP or WinRS. The one door to the wire libraries.

It never retries, never authenticates twice where once failed, and lets no exception of a library through.
Below it: `wire` (the words), `psrp`, `winrs` and `raw` (the wires), `conversation` and `linked` (what they
share), `link` (a connection of pypsrp), `clixml`, `fragments`, `receive` and `payload` (formats), `errormap`,
`failures`, `faults`, `scene` (what errors mean).
"""

from __future__ import annotations

import importlib.util
import logging
import sys

from exremote.transport.buffers import keep_freed_memory
from exremote.transport.wire import (
    PAUSE,
    Address,
    Auth,
    Kind,
    Login,
    Piece,
    Record,
    Secret,
    ShellEvent,
    Transport,
    Value,
    WireSettings,
)

__all__ = [
    "PAUSE",
    "Address",
    "Auth",
    "Kind",
    "Login",
    "Piece",
    "Record",
    "Secret",
    "ShellEvent",
    "Transport",
    "Value",
    "WireSettings",
    "connect",
    "proves_early",
]

for _name in ("pypsrp", "winrm", "spnego", "requests", "urllib3", "requests_ntlm"):
    # What they have to say to a person comes as our errors; their debug lines hold whole messages.
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).setLevel(logging.WARNING)
for _name in ("pypsrp", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def proves_early(auth: Auth) -> bool:
    """Given how to authenticate, return whether a password is tried before any request leaves, or unseen.

    Kerberos asks a domain controller, CredSSP speaks inside a TLS of its own.
    """
    if auth == "negotiate":
        return sys.platform == "win32" or importlib.util.find_spec("krb5") is not None
    return auth in ("kerberos", "credssp")


def connect(
    address: Address,
    login: Login,
    settings: WireSettings,
    on_shell: ShellEvent = lambda event, shell_id: None,
) -> Transport:
    """Given where, as whom and how, return a transport that is not open yet.

    `on_shell` hears of each shell, before it exists where we name it. Raise AccessDenied if the
    authentication needs a package that is not installed.
    """
    keep_freed_memory()
    needs = {"kerberos": ("gssapi", "krb5"), "credssp": ("requests_credssp",)}.get(login.auth, ())
    if login.auth == "kerberos" and sys.platform == "win32":
        needs = ()  # Windows speaks Kerberos itself
    if any(importlib.util.find_spec(name) is None for name in needs):
        from exremote.transport.failures import missing_extra

        raise missing_extra(address.host, login.auth)
    if settings.wire == "winrs":
        from exremote.transport.winrs import WinrsConversation

        return WinrsConversation(address, login, settings, on_shell)
    if settings.wire == "raw":
        from exremote.transport.raw import RawConversation

        return RawConversation(address, login, settings, on_shell)
    from exremote.transport.psrp import PsrpConversation

    return PsrpConversation(address, login, settings, on_shell)
