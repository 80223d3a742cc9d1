"""Standard output and error as they may be: closed, full, or with few letters. It never stops a run."""

from __future__ import annotations

import io
import locale
import os
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from exremote.report.terminal import is_terminal

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN = {0x2026: "...", 0x2013: "-", 0x2014: "-"}
"""What stands for typographic characters where there are none."""


def plain_letters(console: Console) -> bool:
    """Given a console, return whether it, or the locale, says that it has no letters but those of ASCII."""
    # In the locale C, Python itself writes UTF-8 all the same.
    encoding = locale.getencoding().lower().replace("-", "")
    return console.options.ascii_only or not encoding.startswith(("utf", "cp65001"))


class Outlet(io.TextIOBase):
    """A stream to write to. A reader that has gone, or a full disk, mutes it and never stops a run."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.trouble = "" if stream is not None else "it is closed"
        """Why what was written is not there; empty if it is, or if the reader itself has gone."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return getattr(self._stream, "errors", None) or "strict"

    def isatty(self) -> bool:
        """Return whether a person sees it."""
        return is_terminal(self._stream)

    def fileno(self) -> int:
        """Return the stream's own. Raise OSError if it has none."""
        if self._stream is None:
            raise OSError("closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Given text, write it, if anybody takes it."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                text = text.translate(_PLAIN)
                self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except OSError as error:
                self._mute(error)
        return len(text)

    def flush(self) -> None:
        """Have it arrive, if anybody takes it."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._mute(error)

    def _mute(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.trouble = error.strerror or str(error)
        # What waits in the stream's buffer must go somewhere, or Python complains when it ends.
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        self._stream = None


def outlet(stream: TextIO | None) -> Outlet:
    """Given a stream, return it as one that stops no run."""
    return stream if isinstance(stream, Outlet) else Outlet(stream)
