"""`python kill_door.py N ARGS...` runs `exremote ARGS...` and dies right after the journal's Nth line.

SIGKILL to itself, where the line is written and nothing else is done: no handler runs, no file is flushed, no
thread ends. Where N is not reached it ends as the command does.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])

from exremote.journal import Journal


def die() -> None:
    """End at once."""
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)


def arm(last: int) -> None:
    """Have the journal's writer be the last thing that this process does."""
    append = Journal._append

    def append_and_die(journal: Journal, kind: str, fields: Mapping[str, object]) -> int:
        number = append(journal, kind, fields)  # type: ignore[arg-type]
        if number == last:
            die()
        return number

    Journal._append = append_and_die  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    from exremote.cli import main

    arm(int(sys.argv[1]))
    sys.argv = ["exremote", *sys.argv[2:]]
    main()
