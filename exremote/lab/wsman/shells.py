"""What all three kinds of shell have in common. The verbs know nothing else of them."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from exremote.lab.wsman import soap
from exremote.lab.wsman.site import Limits, ShellInfo
from exremote.lab.wsman.streams import OutputQueue


class Shell(ABC):
    """One shell of one user."""

    streams_in = "stdin"
    streams_out = "stdout stderr"

    def __init__(
        self, request: soap.Request, shell_id: str, owner: str, limits: Limits, idle_timeout_s: float
    ) -> None:
        self.id = shell_id
        self.owner = owner
        self.resource = request.resource
        self.limits = limits
        self.idle_timeout_s = idle_timeout_s
        self.disconnected = False
        self.busy = 0
        """Requests in flight; while there are any, the shell is not idle."""
        self._created = self._touched = time.monotonic()
        envelope = min(request.max_envelope, limits.max_envelope_kb * 1024)
        self.payload_size = max(
            64, min(limits.fragment_size, (envelope - soap.OVERHEAD - soap.WRAPPING) // 4 * 3)
        )
        """Largest piece of output, in bytes, that fits every answer its client will take."""
        self._counting = threading.Lock()

    def enter(self) -> None:
        """A request for this shell begins."""
        with self._counting:
            self.busy += 1

    def leave(self) -> None:
        """That request is over."""
        with self._counting:
            self.busy -= 1
            self._touched = time.monotonic()

    @property
    def inactive_s(self) -> float:
        """Seconds since the last request; 0 while one is in flight."""
        return 0.0 if self.busy else time.monotonic() - self._touched

    @property
    def age_s(self) -> float:
        """Seconds since Create."""
        return time.monotonic() - self._created

    def info(self) -> ShellInfo:
        """Return what there is to say about it."""
        return ShellInfo(
            id=self.id,
            owner=self.owner,
            resource=self.resource,
            idle_timeout_s=self.idle_timeout_s,
            state="Disconnected" if self.disconnected else "Connected",
            commands=self.command_ids(),
            inactive_s=self.inactive_s,
        )

    @abstractmethod
    def command_ids(self) -> tuple[str, ...]:
        """Return the ids of the commands that were not terminated."""

    @abstractmethod
    def command(self, command_id: str, text: str, arguments: list[str], options: Mapping[str, str]) -> str:
        """Start a command; `command_id` is empty if the client names none. Return its id. Raise Fault."""

    @abstractmethod
    def send(self, command_id: str, stream: str, data: str, end: bool, timeout_s: float) -> None:
        """Take input in base64 for a command, or for the shell if `command_id` is empty. Raise Fault."""

    @abstractmethod
    def signal(self, command_id: str, code: str) -> None:
        """Stop or forget a command. Unknown ones are ignored, so that a late clean-up does not fail."""

    @abstractmethod
    def queue_for(self, command_id: str) -> OutputQueue:
        """Return the output of a command, or of the shell if `command_id` is empty. Raise Fault."""

    @abstractmethod
    def close(self) -> None:
        """End everything in it. May be called twice; never raises."""

    def connect(self, data: str) -> str:
        """Given connectXml of a new client, return connectResponseXml. Raise Fault."""
        raise soap.unknown_action("Connect")

    def connect_command(self, command_id: str) -> None:
        """A new client takes up a command's output. Raise Fault if it is not there."""
        self.queue_for(command_id)
