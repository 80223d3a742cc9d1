"""Which processes are alive, as this system tells it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from exremote.repository.system import process_birth, process_exists


def test_this_one_is() -> None:
    assert process_exists(os.getpid())
    assert process_birth(os.getpid())


@pytest.mark.skipif(sys.platform != "linux", reason="who ended and was not looked at is told by /proc")
def test_one_that_has_ended_is_not_though_nobody_has_looked_at_it() -> None:
    """In a container whose first process looks at nobody, that would be for ever."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        end = time.monotonic() + 20
        while process_exists(process.pid):
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(process.pid, 0)  # its number is still taken
    finally:
        process.wait()
