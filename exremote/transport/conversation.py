"""What both wires share: the life of one shell, the deadline of one script, the translation of errors.

It never sends a byte itself, and never authenticates a second time where the first time failed.
"""

from __future__ import annotations

import base64
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import ClassVar, ParamSpec, TypeVar
from urllib.parse import quote
from xml.sax.saxutils import escape

from exremote.errors import (
    AccessDenied,
    ExremoteError,
    HostError,
    QuotaExceeded,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
    TrustError,
    Unreachable,
)
from exremote.transport.errormap import translate
from exremote.transport.failures import answered, reached
from exremote.transport.payload import complaint
from exremote.transport.scene import Scene, shorten
from exremote.transport.wire import (
    Address,
    Kind,
    Login,
    Record,
    RemoteError,
    Secret,
    ShellEvent,
    Value,
    WireSettings,
)

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_S = 4.0
"""Operation time-out of the request that deletes a shell; a second try, over a new connection, has half."""
LATE_SHELL_S = 1.0
"""How long is waited for a shell whose creation was not answered; a later one is the next run's to delete."""
POLL_S = 5.0
"""How long a request for output may be held back at most: so often is looked whether to go on at all."""
KEEP_FINISHED = 10
"""Finished commands that stay in a shell before each new one pays for the removal of an old one.

WinRM 2.0 allows 15 at a time. Most sessions are shorter than this, and pay nothing."""
SHELL_URIS: Mapping[str, str] = {
    "psrp": "http://schemas.microsoft.com/powershell/Microsoft.PowerShell",
    "winrs": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd",
    "raw": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd",
}


class Conversation(ABC):
    """One connection and one shell; the wire that it speaks is its subclass."""

    kind: ClassVar[Kind]

    def __init__(self, address: Address, login: Login, settings: WireSettings, on_shell: ShellEvent) -> None:
        self.address = address
        self.login = login
        self.settings = settings
        self.shell_id: str | None = None
        self.refused: AccessDenied | None = None
        self._on_shell = on_shell
        self._opened = False
        self._ended = False
        self._clean = True
        """False while a request is under way: what interrupts it leaves the connection out of step."""
        self._may_exist = False
        """Whether the host may hold our shell."""
        self._created = False
        """Whether the host has answered that it does."""
        self._reached = True
        """False if the last error was that there is no connection at all."""
        self._label = ""
        self._secrets: list[str] = _forms(login)
        self._finished: list[str] = []

    # what a wire does

    @abstractmethod
    def _create(self) -> None:
        """Connect, authenticate, create the shell; `_announce` its id as early as it is known."""

    @abstractmethod
    def _converse(
        self, script: str, parameters: Mapping[str, Value], source: Iterable[object] | None, deadline: float
    ) -> Iterator[Record | RemoteError]:
        """Run one script, yielding records and error records as they come."""

    @abstractmethod
    def _delete(self, shell_id: str, kind: str, fresh: bool, timeout_s: float | None) -> bool:
        """Delete a shell, over a new connection if `fresh`; by default as patiently as the settings say.

        Return whether it was there; an unknown one is gone, which is what was wanted.
        """

    @abstractmethod
    def _signal(self, command_id: str, forget: bool) -> None:
        """Tell the host to stop a command; with `forget` to hold nothing of it. Raise a library's error."""

    @abstractmethod
    def _has_connection(self) -> bool:
        """Return whether there is an authenticated connection."""

    @abstractmethod
    def _hang_up(self) -> None:
        """Close the connection."""

    def _sent_nothing(self) -> bool:
        """Return whether it is certain that the request for a shell was never sent."""
        return False

    # what callers see

    def open(self) -> None:
        """Connect, authenticate and open a shell, unless that is done. Raise HostError."""
        if self._ended or not self._clean:
            raise SessionLost(self.address.host, "the session has ended.")
        if self._opened:
            return
        try:
            self._create()
        except (AccessDenied, TrustError, Unreachable, QuotaExceeded, ScriptFailed) as refusal:
            if not self._created and (
                not isinstance(refusal, Unreachable) or self._clean or not self._reached
            ):
                self._may_exist = False  # the host said no, or never heard of us
            self._ended = True
            raise
        except BaseException:
            self._ended = True
            raise
        self._opened = True

    def run(
        self,
        script: str,
        parameters: Mapping[str, Value],
        source: Iterable[object] | None = None,
        deadline_s: float = 300.0,
        label: str = "",
    ) -> Generator[Record, None, None]:
        """Given a script, parameters and pipeline input, run it and yield its records as they come.

        Closing the iterator stops the script. Raise ScriptFailed after the last record if there was
        any error record, RemoteTimeout past the deadline, another HostError if the wire fails.
        """
        self._label = label
        deadline = time.monotonic() + deadline_s
        self.open()
        told = [value.reveal() for value in parameters.values() if isinstance(value, Secret)]
        self._secrets += [text for text in told if text and text not in self._secrets]
        first: RemoteError | None = None
        count = 0
        for item in self._converse(script, parameters, source, deadline):
            if isinstance(item, RemoteError):
                first, count = first or item, count + 1
            else:
                yield item
        if first is not None:
            more = f" (and {count - 1} more)" if count > 1 else ""
            raise ScriptFailed(
                self.address.host,
                f"{label or 'the script'}: {self._hide(shorten(first.message, 500))}{more}",
                script=label,
                error_id=first.error_id,
            )

    def close(self) -> None:
        """Delete the shell and hang up, in about ten seconds at most. Never raise an error."""
        self._ended = True
        shell, self.shell_id = self.shell_id, None
        try:
            if shell is not None and self._remove(shell):
                self._on_shell("closed", shell)
        finally:
            self._opened = False
            with suppress(Exception):
                self._hang_up()

    def delete_shell(self, shell_id: str, kind: str = "") -> bool:
        """Given a shell that an earlier run left, delete it. Return whether it is gone. Raise HostError."""
        if self._ended:
            raise SessionLost(self.address.host, "the session has ended.")
        try:
            self._delete(shell_id, kind or self.kind, not self._has_connection() or not self._clean, None)
        except AccessDenied:
            if self._clean:
                return False  # the host's own answer: the shell is somebody else's
            self._ended = True
            raise
        return True

    # what wires use

    def _announce(self, shell_id: str) -> None:
        """Given the id of the shell, tell it before the request for it leaves, if we name it ourselves."""
        self.shell_id = shell_id
        self._on_shell("opened", shell_id)
        self._may_exist = True

    def _scene(self) -> Scene:
        return Scene(
            self.address.host,
            self.address.address,
            self.address.port,
            self.address.url,
            self.login.auth,
            self.login.username,
            self._opened,
            self._label,
            self.settings.envelope_kb,
            self._hide,
        )

    def _hide(self, text: str) -> str:
        """Given a text of others, return it without any secret that went over this wire."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a library. Raise what its errors mean here; never let one of its own through."""
        self._clean = False
        try:
            value = function(*args, **kwargs)
        except ExremoteError:
            raise
        except Exception as error:
            failure = translate(error, self._scene())
            self._reached = reached(error)
            self._clean = answered(error) or isinstance(failure, ScriptFailed)
            if self._opened and (not self._clean or isinstance(failure, SessionLost)):
                self._ended = True
            # `from None`: a library's own error may quote what was sent
            raise failure from None
        self._clean = True
        return value

    def _poll_s(self, deadline: float) -> int:
        """Return for how long the host may hold the next answer back, after a look whether to go on.

        Raise RemoteTimeout if the deadline has passed, and whatever `between` raises.
        """
        self.settings.between()
        return max(1, math.ceil(min(self._left(deadline), self.settings.operation_timeout_s, POLL_S)))

    def _left(self, deadline: float) -> float:
        """Return the seconds until the deadline. Raise RemoteTimeout if it has passed."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise RemoteTimeout(
                self.address.host,
                f"{self._label or 'the script'} did not finish within its deadline and was stopped.",
                "Raise deadlines.script_s for the host if it is only slow.",
            )
        return left

    def _make_room(self) -> None:
        """Have the host forget one finished command if there are many: it counts them against its quota."""
        if len(self._finished) >= KEEP_FINISHED:
            with suppress(HostError):
                self._call(self._signal, self._finished.pop(0), True)

    def _stop(self, command_id: str) -> None:
        """Stop a command that nobody wants; without a sound connection the shell's end will do it."""
        if not self._clean or self._ended:
            return
        try:
            self._call(self._signal, command_id, False)
        except HostError:
            self._ended = True  # whatever came of it, this conversation is of no more use

    def _cut(self, stderr: bytes) -> None:
        """Given what powershell.exe complained of, raise what its answer without an end means."""
        said = self._hide(shorten(complaint(stderr), 500))
        what = self._label or "the script"
        if said:
            raise ScriptFailed(
                self.address.host,
                f"{what}: powershell.exe gave up: {said}",
                script=self._label,
                error_id="Transport.PowerShellFailed",
                remedy="PowerShell 2.0 must be installed on the host and may be run by this account.",
            )
        self._ended = True
        raise SessionLost(self.address.host, f"the answer of {what} was cut off.")

    # how a shell goes

    def _remove(self, shell: str) -> bool:
        """Given our shell, delete it. Return whether the host holds it no more."""
        if not self._may_exist or self._sent_nothing():
            return True
        interrupted: KeyboardInterrupt | None = None
        if self._clean:
            try:
                self._delete(shell, self.kind, fresh=False, timeout_s=CLOSE_S)
                return True
            except RemoteTimeout:
                return False  # a host that does not answer will not answer over a new connection either
            except KeyboardInterrupt as stop:
                interrupted = stop
            except Exception:  # noqa: S110 - tried once more below
                pass
        try:
            if not self._delete(shell, self.kind, fresh=True, timeout_s=CLOSE_S / 2) and not self._created:
                # It may be in the making still: the answer to Create was lost, and the Delete came too soon.
                time.sleep(LATE_SHELL_S)
                return self._delete(shell, self.kind, fresh=False, timeout_s=CLOSE_S / 2)
        except AccessDenied as error:
            if not self._clean:
                self.refused = error  # the credential is taken no more: whoever knows it must not try again
            return False
        except Exception:
            return False
        finally:
            if interrupted is not None:
                raise interrupted
        return True


def _forms(login: Login) -> list[str]:
    """Given a log-on, return all texts that hold its password, the longest first: none may be quoted."""
    password = login.password.reveal()
    if len(password) < 4:
        return []
    basic = f"{login.username}:{password}"
    forms = {password, escape(password), escape(password, {'"': "&quot;", "'": "&apos;"}), quote(password)}
    for code in ("utf-8", "latin-1", "utf-16-le"):
        with suppress(UnicodeError):
            forms |= {base64.b64encode(text.encode(code)).decode() for text in (basic, password)}
    return sorted(forms, key=len, reverse=True)
