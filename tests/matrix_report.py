"""The matrices: which of their cells run, and the page that their last run leaves. It tests nothing.

A test marked `matrix(table, row, column)` is one cell. Its parameters fill `{names}` in row and column; the
engine stands before the column by itself. A test of many cells says each with `record_cell`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

CELL = "matrix-cell"
WORD = "matrix-word"
KEPT = "matrix/cells"
"""Where pytest's cache has the cells of the last run."""
ENGINES = {"simulated": "simulated", "powershell": "PowerShell 7 under Wine"}


TEST_S = 1800
"""Seconds for one test of the matrices: one that kills after each event runs a command hundreds of times."""


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what neither was asked for nor is the share that every run does."""
    if "matrix" in (config.option.markexpr or ""):
        for item in items:
            if item.get_closest_marker("matrix") and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(TEST_S))
        return
    left = [i for i in items if (m := i.get_closest_marker("matrix")) and not m.kwargs.get("share")]
    if left:
        gone = set(left)
        config.hook.pytest_deselected(items=left)
        items[:] = [i for i in items if i not in gone]


def name_cells(items: Sequence[pytest.Item]) -> None:
    """Give each item that is one cell its place: it travels with the report, from worker to controller."""
    for item in items:
        mark = item.get_closest_marker("matrix")
        if mark is None or "row" not in mark.kwargs:
            continue
        given = {name: getattr(value, "name", value) for name, value in item.callspec.params.items()}  # type: ignore[attr-defined]
        row, column = (mark.kwargs[key].format(**given) for key in ("row", "column"))
        item.user_properties.append((CELL, [mark.kwargs["table"], row, engine_of(item), column]))


def engine_of(item: pytest.Item) -> str:
    """Return the engine that an item runs on, in words."""
    given = getattr(getattr(item, "callspec", None), "params", {})
    return ENGINES.get(given.get("engine", ""), "")


@pytest.fixture
def record_cell(request: pytest.FixtureRequest) -> Callable[[str, str, str, str], None]:
    """Return what notes a cell of a test that has many: table, row, column, and how it went."""

    def record(table: str, row: str, column: str, word: str) -> None:
        request.node.user_properties.append((CELL, [table, row, engine_of(request.node), column, word]))

    return record


class MatrixReport:
    """Collects the cells of a run, and writes them as tables.

    With `--last-failed` the cells of the run before stay, and those that had failed are made anew.
    """

    def __init__(self, path: str, config: pytest.Config) -> None:
        self._path = Path(path)
        self._began = time.monotonic()
        self._again = bool(config.option.lf)
        assert config.cache is not None
        kept = config.cache.get(KEPT, []) if self._again else []
        self._tables: dict[str, dict[str, dict[str, str]]] = {}
        self._columns: dict[str, dict[str, None]] = {}
        self._counts = {"passed": 0, "failed": 0, "skipped": 0}
        for table, row, name, text in kept:
            self._put(table, row, name, text)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test said of its cells."""
        if not (report.when == "call" or (report.when == "setup" and not report.passed)):
            return
        cells = [value for name, value in report.user_properties if name == CELL]
        if not cells:
            return
        self._counts[report.outcome] += 1
        word = next((str(value) for name, value in report.user_properties if name == WORD), "ok")
        for table, row, engine, column, *said in cells:
            text = {"failed": "**FAILED**", "skipped": "not here"}.get(report.outcome, word)
            name = f"{engine}: {column}" if engine else column
            self._put(table, row, name, str(said[0]) if said else text)

    def _put(self, table: str, row: str, name: str, text: str) -> None:
        self._columns.setdefault(table, {})[name] = None
        self._tables.setdefault(table, {}).setdefault(row, {})[name] = text

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the page, and keep the cells for a run that makes the failed ones anew."""
        assert session.config.cache is not None
        cells = [
            [table, row, name, text]
            for table, rows in self._tables.items()
            for row, columns in rows.items()
            for name, text in columns.items()
        ]
        session.config.cache.set(KEPT, cells)
        self._path.write_text(self._page(session.config), encoding="utf-8")

    def _page(self, config: pytest.Config) -> str:
        told = ", ".join(f"{number} {word}" for word, number in self._counts.items() if number)
        lines = [
            "# The matrices, as they last ran",
            "",
            f"Written by `pytest -m matrix --matrix-report=docs/matrix.md` on {datetime.now(UTC):%d %B %Y}, "
            f"Python {platform.python_version()}, {platform.system()}, in "
            f"{time.monotonic() - self._began:.0f} s: {told}. `.ci/run` does a share of each."
            + (" These tests had failed and were made again alone; the run before had all." * self._again),
            "",
            "A cell says how it ended: the exit code and, where it healed, what the journal told of it. "
            "*not here*: this engine cannot make the misfortune, and `tests/system/conftest.py` says why.",
        ]
        for table in sorted(self._tables):
            columns = list(self._columns[table])
            lines += ["", f"## {table.partition(' ')[2]}", "", "| | " + " | ".join(columns) + " |"]
            lines += ["| --- |" + " --- |" * len(columns)]
            for row, cells in self._tables[table].items():
                lines.append(f"| {row} | " + " | ".join(cells.get(c, "") for c in columns) + " |")
        return "\n".join(lines) + "\n"
