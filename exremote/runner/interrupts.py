"""Ctrl-C, and the signals by which a service manager ends a program: one is heard, later ones change nothing.

It never ends the process itself: the first signal becomes a KeyboardInterrupt, like Ctrl-C always does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, `timeout` and service managers, a terminal that closes, Ctrl-Break; where there are such."""

AGAIN = b"stopping already: shells and locks are being removed, mostly within 10 s\n"
"""What is said to whoever cannot wait."""


@contextlib.contextmanager
def heard_once() -> Iterator[None]:
    """Have the first signal raise KeyboardInterrupt in the block, and later ones be ignored in a sentence.

    So what the first one set off, deleting shells and locks, comes to its end; after it, signals stay
    ignored until the process has ended. Without one, the handlers are as they were. Not in the main
    thread, this does nothing; a signal that is ignored already (nohup) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        if heard:
            with contextlib.suppress(OSError):
                os.write(2, AGAIN)  # a console may be in the middle of a line; the system's own door is not
            return
        heard = True
        raise KeyboardInterrupt

    before = {}
    try:
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, hear)
        yield
    finally:
        for number, handler in before.items():
            # The process is about to end with its own code: a signal at its last moment must not take that.
            signal.signal(number, signal.SIG_IGN if heard else handler)
