"""What all tests share."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from matrix_report import MatrixReport, name_cells, record_cell, select

__all__ = ["record_cell"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `matrix_report` needs to know."""
    parser.addoption("--matrix-report", metavar="FILE", help="write the tables of `-m matrix` there")


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C be heard: a job in a shell's background ignores it, and so would all that a test starts.

    Hundreds of processes are started: none has to compile exremote anew, whatever is set here.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    if not heard and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if (path := config.getoption("--matrix-report")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(MatrixReport(path, config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `-m matrix` runs, and tell each cell of the matrix its place."""
    name_cells(items)
    select(config, items)
