"""Whether a person sits at the other end of a stream."""

from __future__ import annotations

import sys
from typing import Protocol


class _Stream(Protocol):
    def isatty(self) -> bool: ...

    def fileno(self) -> int: ...


def is_terminal(stream: _Stream | None) -> bool:
    """Given a stream, or none, return whether it is a terminal.

    Windows says of every character device that it is one, of NUL, too, which a scheduled task has: there it
    is asked for the mode of a console, which only consoles have.
    """
    if stream is None:
        return False
    try:
        if not stream.isatty():
            return False
        if sys.platform == "win32":
            import ctypes
            import msvcrt

            handle = ctypes.c_void_p(msvcrt.get_osfhandle(stream.fileno()))
            return bool(ctypes.windll.kernel32.GetConsoleMode(handle, ctypes.byref(ctypes.c_ulong())))
    except (OSError, ValueError):  # it is closed, or no file of the system's
        return False
    return True


def has_terminal() -> bool:
    """Return whether there is a person who can be asked."""
    return is_terminal(sys.stdin)
