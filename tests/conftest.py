"""What all tests share."""

from __future__ import annotations

import signal
import threading


def pytest_configure() -> None:
    """Let Ctrl-C be heard: a job in a shell's background ignores it, and so would all that a test starts."""
    heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    if not heard and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
