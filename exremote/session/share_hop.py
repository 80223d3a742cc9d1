"""The host's own second hop: a share of another computer, entered by an account that the inventory names.

To Windows a file on a share that went away is a file that is not there: whoever is told that one is missing
asks the share. An account that was refused is not tried again in a run. It judges no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from typing import Final

from exremote.credential import Secret as Account
from exremote.errors import ExremoteError, ScriptFailed
from exremote.script import Effect
from exremote.session.line import LAST_S, Line
from exremote.session.route import SHARE_TEST
from exremote.session.shares import CONNECT, SHARE_REFUSED, ShareNotTried, log_on
from exremote.transport import Value

SHARE_UNREACHABLE: Final = "ExRemote.ShareUnreachable"
_SHARE = re.compile(r"\\\\([^\\]+)\\([^\\]+)")
_UP = "See that the file server is up, and that SMB (TCP 445 or 139) reaches it from the host"
OURS = f"{_UP}; see that the account of share_credential may enter that folder."
OWN = (
    f"{_UP}; where a log-on ends at the host (no Kerberos delegation), say share_credential in its table "
    "ntbackup."
)


class ShareHop(Line):
    """One host's way to shares of other computers."""

    def check_share(self, path: str) -> None:
        """Given a folder on a share, ask whether it answers. Raise ScriptFailed if not, or HostError."""

        def once() -> None:
            self._on_share(path)()

        self._retry(SHARE_TEST, Effect.READ, once)

    def _on_share(self, path: str) -> Callable[[], None]:
        """Given a path that the next script goes to, log on there, once a shell, if that is a share.

        Return what asks whether the share still answers, and raises ScriptFailed if it does not. Raise
        ScriptFailed if there is no way in. Behind a gateway the hop there sees to all of that.
        """
        found = _SHARE.match(path)
        if found is None or self._hop is not None:
            return lambda: None
        if self._share_account is not None:
            self._log_on(found[0], self._share_account)
        return partial(self._still_there, path)

    def _log_on(self, share: str, account: Account | ExremoteError) -> None:
        """Given a share, log this shell on there. Raise ScriptFailed, HostError."""
        transport = self._ready()
        if self._share_in == (transport, share):
            return
        if isinstance(account, ExremoteError):
            raise self._refusal(
                f"share_credential is not to be had: {account.message}", SHARE_REFUSED, account.remedy
            )
        try:
            self._connect_share(share, account)
        except ScriptFailed as error:
            error.remedy = error.remedy or OURS
            raise
        self._share_in = transport, share

    def _connect_share(self, path: str, account: Account) -> None:
        """Connect a share, unless another one refused the account in this run. Raise HostError."""
        try:
            log_on(self._shares, account, self.host.name, path, partial(self._drain, CONNECT))
        except ShareNotTried as error:
            raise self._refusal(error.text, SHARE_REFUSED) from None

    def _still_there(self, path: str) -> None:
        """Given a folder or file on a share, ask whether its folder answers. Raise ScriptFailed if not."""
        server, _, folder = path.removeprefix("\\\\").partition("\\")
        parameters: dict[str, Value] = {"ComputerName": server, "Share": [folder]}

        def said(records: Iterator[object]) -> Mapping[str, object]:
            return self._summary(SHARE_TEST, [self._fields(SHARE_TEST, record) for record in records])

        with closing(self._run(SHARE_TEST, parameters)) as records:
            answer = said(records)
        if answer.get("Answers") is not True:
            why = str(answer.get("Error") or "")
            how = "is not there" if answer.get("Unknown") is True else "does not answer, or lets nobody in"
            remedy = OURS if self._share_account is not None else OWN
            raise self._refusal(f"{path} {how}: {why}".rstrip(": "), SHARE_UNREACHABLE, remedy)

    def _refusal(self, message: str, error_id: str, remedy: str = "") -> ScriptFailed:
        return ScriptFailed(self.host.name, message, script=CONNECT, error_id=error_id, remedy=remedy)

    def close(self, broken: bool = False) -> None:
        """Give up the shell, its log-on at a share first; see Line. Never raise an error."""
        held, self._share_in = self._share_in, None
        if held is not None and held[0] is self._transport and not broken:
            text = self._library.get("Disconnect-Share").text
            # It ends with the shell anyway.
            with suppress(Exception):
                transport, share = held
                told = transport.run(text, {"Path": share}, None, deadline_s=LAST_S, label="Disconnect-Share")
                with closing(told) as records:
                    for _ in records:
                        pass
        super().close(broken)
