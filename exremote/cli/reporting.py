"""The command `report`: a run as a page, as JUnit XML, and for a monitor. It changes no repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    journal_folders,
    known_repository,
    path_from,
    speaking,
)
from exremote.cli.runs import RUN_HELP, one_run, state_of, told
from exremote.errors import UsageError
from exremote.journal import journals, read_run
from exremote.report import Report
from exremote.report.account import Account, account_of
from exremote.report.against import Against, hold_against
from exremote.report.junit import junit_xml
from exremote.report.prometheus import prometheus_text
from exremote.report.run_page import facts, record_text, run_page
from exremote.report.whole import write_whole
from exremote.repository import Repository
from exremote.runner import alive_runs

STANDARD_OUTPUT = Path("-")


def report_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP}.")],
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            parser=path_from,
            help="One HTML page that needs nothing else; `-` is standard output, here and below.",
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", parser=path_from, help="JUnit XML, for a CI system."),
    ] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option(
            "--prometheus",
            metavar="FILE",
            parser=path_from,
            help="Prometheus text, for node_exporter's textfile collector.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="RUN", help="Another health run: both side by side, earlier one first."
        ),
    ] = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a run was, from its journal: to a terminal, or as files that are written whole or not at all.

    A run whose journal is damaged is told as damaged, and nothing of it as good.
    """
    with speaking(as_json, looks=True) as report:
        place = Repository.open(repository) if repository else known_repository(None, inventory)
        folders = journal_folders(place)
        account = _account(folders, run)
        sides = None if against is None else _against(account, _account(folders, against))
        made: list[tuple[Path, Callable[[], bytes]]] = []
        if html is not None:
            made.append((html, lambda: run_page(account, sides).encode("utf-8")))
        if junit is not None:
            made.append((junit, partial(junit_xml, account)))
        if prometheus is not None:
            made.append((prometheus, partial(prometheus_text, account)))
        _refuse_twice([path for path, _ in made], as_json)
        contents = {path: make() for path, make in made}
        write_whole({path: data for path, data in contents.items() if path != STANDARD_OUTPUT})
        if STANDARD_OUTPUT in contents:
            report.text(contents[STANDARD_OUTPUT].decode("utf-8"))
        elif as_json:
            report.json(account.to_json() | ({"against": sides.to_json()} if sides else {}))
        elif not made:
            _tell(report, account, sides)
        if not account.chain.intact:
            report.note(f"warning: the journal of {account.run} is damaged: {account.chain.problem}.")


def _account(folders: Sequence[Path], run: str) -> Account:
    """Given the folders of journals and what stands for a run, return what the run was.

    Raise SnapshotNotFound if there is none, UsageError if there are several.
    """
    paths = journals(*folders)
    path = one_run(paths, run, folders)
    record = read_run(path)
    state = state_of(record, alive_runs(path.parent))
    return account_of(record, state, partial(told, every=True))


def _against(account: Account, other: Account) -> Against:
    """Given two runs, return the later held against the earlier. Raise UsageError if one is of no health."""
    for one in (account, other):
        if one.verb != "health":
            what = f"is of `{one.verb}`" if one.verb else "says nothing of what it is"
            raise UsageError(
                f"--against compares health runs, and the run {one.run} {what}.", "Name two of health."
            )
        if (
            one.hosts
            and not any(host.judged for host in one.hosts)
            and any(h.state == "done" for h in one.hosts)
        ):
            raise UsageError(
                f"The journal of the run {one.run} has no findings: an older exremote wrote it.",
                "Compare runs of this one, or `--save-facts` and `--facts`.",
            )
    if account.run == other.run:
        raise UsageError(f"{account.run} is held against itself.", "Name two runs.")
    return hold_against(account, other)


def _refuse_twice(paths: Sequence[Path], as_json: bool) -> None:
    """Given where to write, raise UsageError if two answers would go to one place."""
    if as_json and STANDARD_OUTPUT in paths:
        raise UsageError("--json and `-` both write to standard output.", "Name a file.")
    for path in paths:
        if paths.count(path) > 1:
            where = "standard output" if path == STANDARD_OUTPUT else path
            raise UsageError(f"Two reports would go to {where}.", "Name a file for each.")


def _tell(report: Report, account: Account, against: Against | None) -> None:
    """Given what a run was, print it for a person: what the page says, in short."""
    for name, value in facts(account):
        if value:
            report.line(f"{name:<12}{value}")
    report.line(f"{'record':<12}{'intact' if account.chain.intact else 'damaged'}: {record_text(account)}")
    rows = [
        {
            "host": host.name,
            "state": host.state,
            "seconds": None if host.seconds is None else f"{host.seconds:.1f}",
            "message": host.message,
        }
        for host in account.hosts
    ]
    if rows:
        columns = ["host", "state", "seconds", "message"]
        report.rows("Hosts", columns, rows, style_by="state", below=["message"])
    bad = [f for f in account.findings if f.verdict != "ok"]
    if bad and against is None:
        rows = [
            {
                "host": f.host,
                "verdict": "accepted" if f.accepted else f.verdict,
                "check": f.check,
                "evidence": f.evidence,
            }
            for f in bad
        ]
        report.sentences(
            "Findings", ["host", "verdict", "check", "evidence"], rows, below=["evidence"], style_by="verdict"
        )
    services = [
        {
            "host": deed.host,
            "service": deed.service,
            "stopped": deed.stopped,
            "started": deed.started,
            "trouble": deed.trouble or ("not known to run again" if deed.owed else ""),
        }
        for deed in account.services
    ]
    if services:
        report.rows(
            "Services", ["host", "service", "stopped", "started", "trouble"], services, below=["trouble"]
        )
    if against is not None:
        report.line(f"{'before':<12}{against.before.run}: {against.summary}")
        rows = [
            {
                "host": one.host,
                "what": one.words,
                "check": one.check,
                "before": None if one.before is None else f"{one.before.verdict}: {one.before.evidence}",
                "after": None if one.after is None else f"{one.after.verdict}: {one.after.evidence}",
            }
            for one in against.differences
        ]
        if rows:
            columns = ["host", "what", "check", "before", "after"]
            report.sentences(
                "Before and after",
                columns,
                rows,
                below=["before", "after"],
                style_by="what",
                named=["before", "after"],
            )
