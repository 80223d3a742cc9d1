"""A command at a pseudo-terminal: what it says there is waited for, and answered as a person types."""

from __future__ import annotations

import contextlib
import os
import threading
from types import TracebackType

from conftest import Cli


class Terminal:
    """One command that runs at a terminal of its own."""

    def __init__(self, cli: Cli, *args: str, columns: int = 200) -> None:
        import pty

        line = cli.command(*args)
        self._main, side = pty.openpty()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._main)
            os.login_tty(side)
            os.chdir(cli.folder)
            os.execve(line[0], line, cli.environment | {"TERM": "dumb", "COLUMNS": str(columns)})
        os.close(side)
        self._said = ""
        self._seen = 0
        self._more = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
        os.close(self._main)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._main, 65536)
            except OSError:
                return
            with self._more:
                self._said += data.decode("utf-8", "replace")
                self._more.notify_all()

    def until(self, text: str) -> str:
        """Wait until it says this. Return what it said since the last time, with it."""
        with self._more:
            found = self._more.wait_for(lambda: text in self._said[self._seen :], 60)
            rest = self._said[self._seen :]
            assert found, rest
            end = rest.index(text) + len(text)
            self._seen += end
            return rest[:end]

    def answer(self, text: str) -> None:
        """Type a line."""
        os.write(self._main, (text + "\n").encode())

    def ends(self) -> int:
        """Wait until it ends. Return the exit code."""
        _, status = os.waitpid(self._pid, 0)
        self._ended = True
        return os.waitstatus_to_exitcode(status)
