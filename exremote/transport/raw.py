"""Raw streams: bulk as plain bytes on the standard output of powershell.exe, in a command shell, over pypsrp.

Its bytes travel in one base64 where PSRP needs two. For bulk only: what is asked beside it goes over PSRP or
WinRS. A host that has no command shells refuses here, and is asked the other way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import ClassVar

from pypsrp.shell import SignalCode, WinRS

from exremote.script import ScriptLibrary
from exremote.transport.frames import FrameReader
from exremote.transport.link import connected
from exremote.transport.linked import Linked
from exremote.transport.payload import COMMAND, MAX_COMPLAINT, arguments, encode
from exremote.transport.wire import Kind, Record, RemoteError, Value

_RSP = {"rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"}


@cache
def receiver() -> str:
    """Return the text of the stream's far end."""
    return ScriptLibrary.load().get("wire/Receive-RawCall").text


class RawConversation(Linked):
    """A conversation for bulk: one command shell, one powershell.exe for each script."""

    kind: ClassVar[Kind] = "raw"

    _shell: WinRS | None = None

    def _create(self) -> None:
        connection = self._dial()
        name = str(uuid.uuid4()).upper()
        idle = self.settings.idle_timeout_s
        shell = WinRS(connection, id=name, codepage=65001, idle_time_out=idle, no_profile=True)
        self._announce(name)
        try:
            self._call(shell.open)
        finally:
            self._created = connection.created
        self._shell = shell
        if shell.id and shell.id.upper() != name:  # a host may give it a name of its own
            self._on_shell("closed", name)
            self._announce(shell.id)

    def _converse(
        self, script: str, parameters: Mapping[str, Value], source: Iterable[object] | None, deadline: float
    ) -> Iterator[Record | RemoteError]:
        self._make_room()
        if source is not None:
            raise TypeError("nothing goes into a raw stream")
        data = self._call(encode, receiver(), script, parameters, None)
        reader, stderr, running = FrameReader(), b"", True
        command = self._call(self._start)
        try:
            self._send(command, data, deadline)
            while running:
                answer = self._output(command, "stdout stderr", self._poll_s(deadline))
                running = not answer.done
                for name, output in answer.streams:
                    if name == "stdout":
                        yield from self._call(_fed, reader, output)
                    else:
                        stderr = (stderr + output)[:MAX_COMPLAINT]
        finally:
            self._finished.append(command)
            if running:
                self._stop(command)
        if not reader.complete:
            self._cut(stderr)

    def _start(self) -> str:
        """Start powershell.exe. Return the command's id."""
        assert self._shell is not None
        answer = connected(self._shell.command, COMMAND, [" ".join(arguments("Text"))])
        found = answer.find("rsp:CommandResponse/rsp:CommandId", _RSP)
        if found is None or not found.text:
            raise AttributeError("a command without an id")
        return found.text

    def _send(self, command: str, data: bytes, deadline: float) -> None:
        """Write standard input, in pieces that the envelope holds."""
        assert self._link is not None
        size = self._link.max_payload_size
        for start in range(0, len(data), size):
            self._left(deadline)
            end = start + size >= len(data)
            self._call(self._send_piece, data[start : start + size], command, end)

    def _send_piece(self, data: bytes, command: str, end: bool) -> None:
        assert self._shell is not None
        connected(self._shell.send, "stdin", data, command, end)

    def _signal(self, command_id: str, forget: bool) -> None:
        self._send_signal(command_id, SignalCode.TERMINATE)


def _fed(reader: FrameReader, data: bytes) -> list[Record | RemoteError]:
    """Given the next bytes of standard output, return what they complete. Raise FrameError."""
    return list(reader.feed(data))
