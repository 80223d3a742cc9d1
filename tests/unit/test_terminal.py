"""Who is asked: a person at a terminal, and nothing else that says it is one."""

from __future__ import annotations

import io
import os
from pathlib import Path

from exremote.report import is_terminal


def test_nothing_a_file_and_the_null_device_are_no_terminals(tmp_path: Path) -> None:
    """To Windows the null device is a character device as a console is; a scheduled task reads from it."""
    assert not is_terminal(None)
    assert not is_terminal(io.StringIO())
    for path in (Path(os.devnull), tmp_path / "file"):
        with path.open("w") as file:
            assert not is_terminal(file)
        assert not is_terminal(file)  # closed
