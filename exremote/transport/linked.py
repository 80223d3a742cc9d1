"""What both conversations over pypsrp share: one connection, how it is made anew, how a shell is deleted."""

from __future__ import annotations

import math

from exremote.transport.conversation import SHELL_URIS, Conversation
from exremote.transport.link import Link, link
from exremote.transport.receive import Received

SIGNAL_S = 5


class Linked(Conversation):
    """A conversation over a connection of pypsrp."""

    _link: Link | None = None

    def _dial(self) -> Link:
        """Return the connection; a new one, not opened yet, if there is none that is sound."""
        if self._link is None or not self._clean:
            self._link = self._call(link, self.address, self.login, self.settings)
        return self._link

    def _sent_nothing(self) -> bool:
        return self._link is None or self._link.sent_nothing

    def _output(self, command_id: str, streams: str, timeout: int) -> Received:
        """Ask once for a command's output. Return it, nothing if the command was silent."""
        assert self._link is not None and self.shell_id is not None
        uri = SHELL_URIS[self.kind]
        return self._call(self._link.ask_output, uri, self.shell_id, command_id, streams, timeout)

    def _put(self, command_id: str, data: bytes) -> None:
        """Send bytes to a command's standard input."""
        assert self._link is not None and self.shell_id is not None
        self._call(self._link.send_input, SHELL_URIS[self.kind], self.shell_id, command_id, data)

    def _send_signal(self, command_id: str, code: str) -> None:
        assert self._link is not None and self.shell_id is not None
        self._link.send_signal(SHELL_URIS[self.kind], self.shell_id, command_id, code, SIGNAL_S)

    def _delete(self, shell_id: str, kind: str, fresh: bool, timeout_s: float | None) -> bool:
        if fresh:
            self._hang_up()
            self._link = self._call(link, self.address, self.login, self.settings)
        assert self._link is not None
        timeout = None if timeout_s is None else math.ceil(timeout_s)
        return self._call(self._link.delete_shell, SHELL_URIS[kind], shell_id, fresh, timeout)

    def _has_connection(self) -> bool:
        return self._link is not None

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
