"""The hop from a gateway to a host that has no WinRM: logs on there, asks there, and makes sure it is there.

It opens no connection of its own: whoever has a transport to the gateway lends it. It retries nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Final

from exremote.errors import AccessDenied, HostError, ScriptFailed, Unreachable
from exremote.facts import ApproachFact, FactError
from exremote.gate import LogonGate
from exremote.inventory import Host
from exremote.script import Effect, ScriptLibrary
from exremote.session.route import BODIES, SHARE_TEST, NoWay, Route
from exremote.session.shares import CONNECT, SHARE_REFUSED, ShareNotTried, log_on
from exremote.transport import Transport, Value

_UNREACHABLE = frozenset({"ExRemote.ShareUnreachable", "ExRemote.TargetUnreachable"})
_DENIED = "ExRemote.TargetDenied"
_LONG = frozenset({"Get-FileSecurity", "Get-FileTree", "Read-FilePack"})
"""Scripts that read for so long that files may seem to go, one by one, while they do."""
ADMIN: Final = "ADMIN$"
"""The share of the Windows folder: a host that answers has it."""
NO_WAY: Final = "ExRemote.NoWay"
ACCOUNT = (
    "Check the host's credential in the inventory: behind a gateway it has to be an administrator of the "
    "host itself. `exremote doctor` looks at each part of the way."
)
WAY = (
    "See that the host is up, that the gateway can speak SMB 1 to it, and that TCP 445 or 139 is open; "
    "`exremote doctor` looks at each part of the way."
)


class SecondHop:
    """The hop to one host, for one shell of its gateway at a time."""

    def __init__(self, route: Route, host: Host, library: ScriptLibrary, shares: LogonGate) -> None:
        """Given the way and the host; `shares` remembers accounts that were refused in this run."""
        self.route = route
        self._host = host
        self._library = library
        self._shares = shares
        self._joined: Transport | None = None

    def join(self, transport: Transport, deadline_s: float) -> None:
        """Have the gateway's shell log on at the host, once a shell. Raise AccessDenied, Unreachable.

        An account that was refused is not tried again in this run, here or at another host.
        """
        account = self.route.account
        if self._joined is transport or account is None:
            return
        try:
            log_on(
                self._shares,
                account,
                self._host.name,
                self.route.admin_share,
                lambda parameters: self._ask(transport, CONNECT, parameters, deadline_s),
            )
        except ShareNotTried as error:
            raise self._denied(error.text) from None
        except ScriptFailed as error:
            if error.error_id != SHARE_REFUSED:
                raise self._explained(transport, self.meant(error), deadline_s) from None
            raise self._denied(f"{self._gateway} could not log on there: {error.message}") from None
        self._joined = transport

    def leave(self, transport: Transport, deadline_s: float) -> None:
        """Have the gateway's shell log off. Never raise an error: the log-on ends with the shell anyway."""
        if self._joined is transport:
            self._joined = None
            with suppress(Exception):
                self._ask(transport, "Disconnect-Share", {"Path": self.route.admin_share}, deadline_s)

    def run(
        self,
        transport: Transport,
        name: str,
        parameters: Mapping[str, Value],
        source: Iterable[object] | None,
        deadline_s: float,
    ) -> Generator[object, None, None]:
        """Given a script for the host, have the gateway run it, and yield what the host itself would say.

        Windows cannot tell a file that is gone from a share that is: when something is not there, and at the
        end of each deed, the share has to answer. Raise Unreachable if it does not, and other HostErrors.
        """
        try:
            script, asked = self.route.request(self._library, name, parameters)
        except NoWay as error:
            raise ScriptFailed(
                self._host.name, str(error), script=name, error_id=NO_WAY, remedy=error.remedy
            ) from None
        by_file = self.route.by_file(self._library, name)
        doubtful = script.effect is not Effect.READ or name in _LONG
        held: list[object] = []
        try:
            with closing(
                transport.run(script.text, asked, source, deadline_s=deadline_s, label=script.name)
            ) as records:
                for record in records:
                    answer = self.route.answer(record)
                    if isinstance(answer, Mapping):
                        # Held until the share has answered: a summary comes last, and an answer a file is
                        # short.
                        doubtful = doubtful or answer.get("Exists") is False
                        held.append(answer)
                    else:
                        yield answer
        except ScriptFailed:
            # That a folder is missing may be an error, too.
            if by_file:
                self._still_there(transport, self.route.shares(parameters), deadline_s)
            raise
        if doubtful and by_file:
            self._still_there(transport, self.route.shares(parameters), deadline_s)
        yield from held

    def approach(self, transport: Transport, deadline_s: float) -> ApproachFact:
        """Ask the gateway what lies between it and the host, without logging on there. Raise HostError."""
        name = f"{BODIES}Test-Approach"
        said = self._ask(transport, name, {"ComputerName": self.route.address}, deadline_s)
        if len(said) != 1:
            raise FactError(name, "output", f"expected one object, got {len(said)}")
        return ApproachFact.parse(said[0])

    def _explained(self, transport: Transport, error: HostError, deadline_s: float) -> HostError:
        """Given why the host is not to be had, return it with what the gateway sees of the way."""
        if not isinstance(error, Unreachable):
            return error
        try:
            troubles = self.approach(transport, deadline_s).troubles(wmi=False)
        except (HostError, FactError):
            return error
        if not troubles:
            return error
        return Unreachable(self._host.name, f"{troubles[0].sentence}. {error.message}", troubles[0].remedy)

    def meant(self, error: ScriptFailed) -> HostError:
        """Given what a script at the gateway failed with, return what that is of the host behind it."""
        message = f"{self._gateway}, which asks for it, says: {error.message}"
        if error.error_id == _DENIED:
            return AccessDenied(self._host.name, message, ACCOUNT)
        if error.error_id in _UNREACHABLE:
            return Unreachable(self._host.name, message, WAY)
        return error

    @property
    def _gateway(self) -> str:
        return self._host.door.name

    def _denied(self, message: str) -> AccessDenied:
        return AccessDenied(self._host.name, message, ACCOUNT)

    def _still_there(self, transport: Transport, shares: Sequence[str], deadline_s: float) -> None:
        """Given shares of the host, ask whether they answer. Raise Unreachable.

        One that the host does not know, while it answers for its Windows folder, is a drive that it has not.
        """
        if not shares:
            return
        asked = [ADMIN, *shares]
        parameters: dict[str, Value] = {"ComputerName": self.route.address, "Share": asked}
        said = self._ask(transport, SHARE_TEST, parameters, deadline_s)
        silent = [each for each in said if each.get("Answers") is not True]
        no_drive = all(each.get("Unknown") is True and each.get("Share") != ADMIN for each in silent)
        if len(said) != len(asked) or not no_drive:
            why = next((str(each.get("Error")) for each in silent), "")
            places = " or ".join(rf"\\{self.route.address}\{share}" for share in shares)
            raise Unreachable(
                self._host.name, f"{self._gateway} gets no answer from {places}. {why}".strip(), WAY
            )

    def _ask(
        self, transport: Transport, name: str, parameters: Mapping[str, Value], deadline_s: float
    ) -> list[Mapping[str, object]]:
        """Given a script about the way, have the gateway run it to its end. Return its objects."""
        text = self._library.get(name).text
        with closing(transport.run(text, parameters, None, deadline_s=deadline_s, label=name)) as records:
            return [record for record in records if isinstance(record, Mapping)]
