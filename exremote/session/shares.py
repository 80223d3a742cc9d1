"""One log-on to a file share, by a password that is on no command line. It opens no connection of its own.

A wrong password is tried once in a run, wherever it is used; one of which nobody knows what became of it is
tried once more, and then no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from exremote.credential import Secret as Account
from exremote.errors import LogonRefused, ScriptFailed
from exremote.gate import LogonGate
from exremote.transport import Secret, Value

CONNECT: Final = "Connect-Share"
SHARE_REFUSED: Final = "ExRemote.ShareRefused"


class ShareNotTried(Exception):
    """An account may not be tried any more in this run; `text` says why."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def log_on(
    gate: LogonGate, account: Account, host: str, path: str, connect: Callable[[dict[str, Value]], object]
) -> None:
    """Given what remembers accounts, have `connect` try one at a share of a host, alone until it is proven.

    `connect` is given the parameters of Connect-Share. Raise ShareNotTried, or what `connect` raises.
    """
    if refused_by := gate.refused_by(account):
        raise ShareNotTried(_again(account, refused_by))
    try:
        with gate.proof(account, host) as proof:
            parameters: dict[str, Value] = {
                "Path": path,
                "UserName": account.username,
                "Password": Secret(account.password),
            }
            try:
                connect(parameters)
            except ScriptFailed as error:
                # The script answered: it was refused, or nobody was asked.
                proof.sent = error.error_id == SHARE_REFUSED
                if proof.sent:
                    proof.accepted = False
                    gate.refuse(account, host)
                raise
            proof.accepted = True
    except LogonRefused as error:
        if refused_by := gate.refused_by(account):
            raise ShareNotTried(_again(account, refused_by)) from None
        raise ShareNotTried(f"{account.username} was {error.message}") from None


def _again(account: Account, refused_by: str) -> str:
    return (
        f"{account.username} was refused when {refused_by} was tried in this run; it was not tried again, "
        "to lock no account."
    )
