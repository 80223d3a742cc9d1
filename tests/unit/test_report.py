"""The report: what a person, a pipe and a program get; a reader that goes away stops nothing."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any, TextIO, cast

import pytest
from rich.console import Console

from exremote.errors import UsageError
from exremote.report import Outlet, Report, count_text

ID = "20261122T221230Z-groupwise-770de1"
ROWS: list[dict[str, Any]] = [
    {"host": "EXGW01", "id": ID, "created": "2026-11-22 22:12:30Z", "size": "1.3 MiB", "health": ""},
    {"host": "EXNOTES01", "id": ID, "created": None, "size": "2 B", "health": "a\tb\nc"},
]


def terminal(width: int) -> tuple[Report, io.StringIO]:
    """Return a report on a terminal of so many columns, and what it wrote."""
    out = io.StringIO()
    report = Report(out=out, err=io.StringIO())
    report._out = Console(file=out, width=width, force_terminal=True, highlight=False, color_system=None)
    return report, out


def test_a_pipe_gets_every_cell() -> None:
    """A tab between cells, a dash for nothing, nothing in a cell that ends a cell or a line."""
    out = io.StringIO()
    Report(out=out).rows("Snapshots", list(ROWS[0]), ROWS)
    assert [line.split("\t") for line in out.getvalue().splitlines()] == [
        ["EXGW01", ID, "2026-11-22 22:12:30Z", "1.3 MiB", "-"],
        ["EXNOTES01", ID, "-", "2 B", "a b c"],
    ]


@pytest.mark.parametrize("width", [30, 50, 60, 80, 120])
def test_an_id_is_never_cut(width: int) -> None:
    report, out = terminal(width)
    report.rows("Snapshots", list(ROWS[0]), ROWS, spare=["created", "health", "size"])
    assert out.getvalue().count(ID) == 2
    assert ("left out" in out.getvalue()) == (width < 100)


def test_what_is_left_out_is_what_was_said_to_be_spare() -> None:
    report, out = terminal(60)
    report.rows("Snapshots", list(ROWS[0]), ROWS, spare=["created", "health", "size"])
    assert "left out, for want of width: created" in out.getvalue()
    assert "EXNOTES01" in out.getvalue()


MANY = [
    {
        "host": f"EXCHANGE{number:02d}",
        "state": "unreachable" if number % 10 == 0 else "done",
        "snapshots": "calendar unchanged, groupwise unchanged, notes unchanged",
        "sent": "1,234 files, 410.8 KiB",
        "message": "no listener on port 5985 (connection refused). Run winrm quickconfig there."
        if number % 10 == 0
        else "",
    }
    for number in range(30)
]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_many_rows_stay_few_lines_on_a_narrow_terminal(width: int) -> None:
    """A line or two a row and never one a cell; sentences stand under their row; no line is too long."""
    report, out = terminal(width)
    report.rows("Backup", list(MANY[0]), MANY, style_by="state", spare=["sent"], below=["message"])
    lines = out.getvalue().splitlines()
    assert len(lines) <= 2.2 * len(MANY) + 6
    assert max(map(len, lines)) <= width
    if not any("│" in line for line in lines):
        (first,) = [n for n, line in enumerate(lines) if line.startswith("EXCHANGE10")]
        assert any(line.startswith("    no listener") for line in lines[first : first + 3])


def test_a_locale_without_letters_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a spinner of dots nor a frame of lines is written out in hexadecimal."""
    monkeypatch.setattr("locale.getencoding", lambda: "ANSI_X3.4-1968")
    report, out = terminal(120)
    report.rows("Snapshots", list(ROWS[0]), ROWS)
    assert out.getvalue().isascii()
    err = io.StringIO()
    report._err = Console(file=err, width=80, force_terminal=True, color_system=None)
    with report.progress("backup", ["EXGW01"]) as live:
        live.expect("EXGW01", 14, 420_000)
        live.stage("EXGW01", "copying")
        live.moved("EXGW01", 3, 100_000)
    assert err.getvalue().isascii()
    assert "copying, 3 of 14 files, 97.7 KiB of 410.2 KiB" in err.getvalue()


def test_what_a_host_waits_for_is_told_whole_on_a_narrow_terminal() -> None:
    """Few hosts have as many lines as it takes; of many each has one."""
    text = "waiting for EXLOST01, which comes before, and has not answered since 14:02 at 10.1.2.99 (again)"
    for count in (2, 30):
        report, _ = terminal(80)
        err = io.StringIO()
        report._err = Console(file=err, width=80, height=50, force_terminal=True, color_system=None)
        with report.progress("recover", [f"EXLOST{n:02d}" for n in range(count)]) as live:
            live.stage("EXLOST01", text)
        whole = text.replace(" ", "") in re.sub(r"\s|\x1b\[[0-9;?]*[A-Za-z]", "", err.getvalue())
        assert whole == (count == 2)


FINDINGS = [
    {
        "host": host,
        "verdict": "critical",
        "check": check,
        "evidence": "Dxamex holds badfiles that nobody looked at for months, and more of them each day",
        "remedy": "Look at C:\\Program\\Exchsrvr\\Conndata\\Dxamex\\badfiles\\0000000000000000000000001.txt",
    }
    for host, check in (("EXSICK01", "a.check"), ("EXSICK01", "b.check"), ("EXGW01", "c.check"))
]


def test_sentences_are_a_list_on_a_narrow_terminal() -> None:
    """Verdict and check, then evidence, then remedy; the host once; no word is broken."""
    report, out = terminal(80)
    below = ["evidence", "remedy"]
    report.sentences("Findings", list(FINDINGS[0]), FINDINGS, below=below, style_by="verdict")
    text = out.getvalue()
    assert text.count("EXSICK01") == 1
    assert re.search(r"^ critical  a\.check\n    Dxamex holds badfiles", text, re.MULTILINE)
    assert text.count(FINDINGS[0]["remedy"].split()[-1]) == 3
    assert not re.search(r"[│┃]", text)
    report, out = terminal(160)
    report.sentences("Findings", list(FINDINGS[0]), FINDINGS, below=below, style_by="verdict")
    assert re.search(r"[│┃]", out.getvalue())


def test_sentences_are_a_list_where_their_table_has_no_room() -> None:
    """Wide as the terminal is: a name that is never broken may be wider than what is left for it."""
    report, out = terminal(130)
    rows = [row | {"source": "KB 1"} for row in FINDINGS]
    below = ["evidence", "remedy", "source"]
    report.sentences("Findings", list(rows[0]), rows, below=below, style_by="verdict", named=["source"])
    text = out.getvalue()
    assert text.count("EXSICK01") == 1
    assert text.count("\n    source: KB 1\n") == 3
    assert not re.search(r"[│┃]", text)


def test_an_early_error_is_json_too_and_once() -> None:
    out, err = io.StringIO(), io.StringIO()
    report = Report(as_json=True, out=out, err=err)
    report.error(UsageError("No.", "Yes."))
    assert json.loads(out.getvalue()) == {"error": "No. Yes.", "exit_code": 2}
    out = io.StringIO()
    report = Report(as_json=True, out=out, err=err)
    report.json({"answer": 1})
    report.error(UsageError("No."))
    assert json.loads(out.getvalue()) == {"answer": 1}


def test_a_full_disk_is_remembered_and_stops_nothing() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        report = Report(out=full)
        report.line("lost")
        report.line("lost, too")
        assert "No space" in report.trouble
        assert "lost" not in report.trouble


def test_a_reader_that_has_gone_is_no_trouble() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w", encoding="utf-8") as gone:
        report = Report(out=gone)
        report.line("nobody")
        report.rows("Snapshots", list(ROWS[0]), ROWS)
        assert report.trouble == ""


def test_no_stream_at_all_is_said() -> None:
    outlet = Outlet(None)
    assert outlet.write("lost") == 4
    outlet.flush()
    assert outlet.trouble == "it is closed"
    assert outlet.isatty() is False


def test_a_character_that_the_stream_has_not_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    outlet = Outlet(cast(TextIO, stream))
    outlet.write("Dxa→\n")
    outlet.flush()
    assert raw.getvalue() == b"Dxa\\u2192\n"


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_one_is_singular(count: int, text: str) -> None:
    assert count_text(count, "file") == text


def test_a_failure_is_told_once() -> None:
    """The line of the moment says that it failed; why stands in the report."""
    err = io.StringIO()
    report = Report(err=err)
    with report.progress("health", ["EXDOWN01"]) as live:
        live.finished("EXDOWN01", "no answer. Look at the cable.", "unreachable")
    assert err.getvalue() == "EXDOWN01: unreachable\n"


@pytest.mark.parametrize("width", [30, 40, 80])
def test_a_line_of_a_plan_is_wrapped_on_a_terminal_and_loses_nothing(width: int) -> None:
    """No folder's name is broken, though there are blanks in it; into a pipe it is one line."""
    folders = r"C:\Program Files\Some Company\Conndata" + "\\"
    line = rf"     changed {folders}Amap.tbl (0123456789ab -> 0123456789ab, volatile) and one word more"
    report, out = terminal(width)
    report.item(line)
    first, *rest = out.getvalue().splitlines()
    assert " ".join(out.getvalue().split()) == line.strip()
    assert folders in out.getvalue()
    assert first.startswith("     changed")
    assert rest
    assert {len(text) - len(text.lstrip()) for text in rest} == {9}
    assert all(len(text) <= width for text in rest if folders not in text)
    pipe = io.StringIO()
    Report(out=pipe).item(line)
    assert pipe.getvalue() == line + "\n"
