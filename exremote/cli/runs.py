"""The command `runs`: what ran, and what happened in a run, in words. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import recover
from exremote.changes import CHANGE_KINDS, change_from_json
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    journal_folders,
    known_repository,
    speaking,
)
from exremote.cli.grouping import by_recovery
from exremote.cli.phrases import sentence
from exremote.cli.resuming import Later, command_for
from exremote.cli.underway import standings
from exremote.errors import EXIT_INTERRUPTED, IntegrityError, SnapshotNotFound, UsageError
from exremote.journal import Event, RunRecord, journals, list_runs, read_run
from exremote.plan import step_from_json
from exremote.report import Report, typed_command
from exremote.repository import Repository
from exremote.runner import alive_runs
from exremote.wording import count_text

NEWEST = "latest"
"""What stands for the run that began last, of those that a command is for."""
RUN_HELP = f"A run's id or its beginning, or `{NEWEST}`"
_STAMP = len("20261122T101459Z")
LIMIT = 20
"""How many runs a person is shown unless more are asked for."""
UNTOLD = ("shell-opened", "shell-closed", "step-started", "host-started", "services-found", "findings")
"""What `--json` has, and a person is not told: it is bookkeeping, or said when it ends."""


def runs(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help=f"{RUN_HELP}: show its events.")] = None,
    all_runs: Annotated[
        bool, typer.Option("--all", help=f"All of them, not the last {LIMIT}, and each run of a recovery.")
    ] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs that left a journal in the repository or with this user, or show one."""
    with speaking(as_json, looks=True) as report:
        place = Repository.open(repository) if repository else known_repository(None, inventory)
        folders = journal_folders(place)
        paths = journals(*folders)
        if run is not None:
            show_run(report, read_run(one_run(paths, run, folders)))
            return
        shown = list_runs(paths if all_runs or as_json else paths[:LIMIT])
        alive = {name: who for folder in folders for name, who in alive_runs(folder).items()}
        later = Later.of(shown)
        ended = standings(folders) if any(r.verb == recover.VERB for r in shown) else {}
        rows = [
            {
                "run": r.run_id,
                "verb": r.verb,
                "started": r.started,
                "ended": r.ended,
                "exit_code": code_of(r),
                "state": state_of(r, alive),
                "resume": command_for(r, alive, later, ended),
                "hosts": len(r.hosts),
                "journal": "intact" if r.intact else f"damaged: {r.problem}",
                "where": "repository" if place and r.path.parent == place.runs_folder else "this user",
                "changed": changed_by(r),
            }
            for r in shown
        ]
        able = any(row["resume"] for row in rows)
        more = 0
        if not as_json and not all_runs:
            rows, more = by_recovery(rows, {r.run_id: r for r in shown})
        if not as_json:
            for row in rows:
                row["resume"] = "yes" if row["resume"] else ""
                hosts = row.pop("changed")  # and behind all others: what had a column before keeps it
                row["changed"] = count_text(hosts, "host") if isinstance(hosts, int) and hosts else ""
        # Whether anything can be resumed moves no column: `cut -f8` gets the hosts either way.
        spare = (
            *(() if able else ("resume",)),
            "started",
            "ended",
            "hosts",
            "where",
            *(() if any(row["changed"] for row in rows) else ("changed",)),
            *(() if more else ("runs",)),
        )
        report.rows("Runs", list(rows[0]) if rows else [], rows, nothing="no runs", spare=spare)
        if able:
            report.note("what left something undone goes on with: exremote resume RUN")
        if more:
            report.note(
                f"{count_text(more, 'more run')} of these recoveries; --all shows each, "
                "and `exremote evidence RUN` all of it together"
            )
        if len(shown) < len(paths):
            report.note(f"the last {len(shown)} of {len(paths)} runs; --all shows the others")


def changed_by(record: RunRecord) -> int:
    """Given a run, return on how many hosts it changed something, or began to: what `undo` can bring back."""
    return len({str(event.fields.get("host")) for event in record.events if event.kind == "safety"})


def code_of(record: RunRecord) -> int | None:
    """Given a run, return the exit code that it ended with; None if it did not end, or nobody knows."""
    return int(record.outcome) if re.fullmatch(r"[0-9]{1,9}", record.outcome) else None


def state_of(record: RunRecord, alive: Collection[str]) -> str:
    """Given a run and those that are alive, return in a word or two whether and how it ended."""
    if record.ended is None:
        return "running" if record.path.stem in alive else "did not end"
    return "interrupted" if code_of(record) == EXIT_INTERRUPTED else "ended"


def _newest_run(
    paths: Sequence[Path], folders: Sequence[Path], fits: Callable[[RunRecord], bool], lacking: str
) -> Path:
    """Given journals, newest name first, return that of the run that began last, of those that fit.

    Names tell seconds; within one the journals say who came first. Raise SnapshotNotFound if there is none.
    """
    for _, group in groupby(paths, key=lambda path: path.name[:_STAMP]):
        for record in list_runs(list(group)):
            if fits(record):
                return record.path
    both = " and ".join(map(str, folders))
    remedy = (
        "`exremote runs --all` lists the others." if paths else "Each command that asks hosts leaves one."
    )
    raise SnapshotNotFound(f"{lacking}.", path=both, remedy=remedy)


def one_run(
    paths: Sequence[Path],
    prefix: str,
    folders: Sequence[Path],
    fits: Callable[[RunRecord], bool] = lambda record: True,
    lacking: str = "there is no run yet",
) -> Path:
    """Given the journals of some folders and the beginning of a run's id, return the run's journal.

    `latest` stands for the newest that fits; `lacking` is said if none does. Raise SnapshotNotFound if there
    is none, UsageError if there are several.
    """
    if prefix == NEWEST:
        return _newest_run(paths, folders, fits, lacking)
    found = [p for p in paths if p.stem.startswith(prefix)]
    found = [p for p in found if p.stem == prefix] or found
    if not found:
        both = " and ".join(map(str, folders))
        remedy = "`exremote runs --all` lists them."
        raise SnapshotNotFound(f"no run begins with {prefix}.", path=both, remedy=remedy)
    if len(found) > 1:
        some = ", ".join(p.stem for p in found[:5])
        raise UsageError(
            f"{len(found)} runs begin with {prefix}: {some}{' ...' if len(found) > 5 else ''}.",
            "Give more of the id.",
        )
    return found[0]


def show_run(report: Report, record: RunRecord) -> None:
    """Given a run, show its events. Raise IntegrityError if its journal is damaged."""
    if report.as_json:
        events = [{"n": e.n, "at": e.at, "event": e.kind, **e.fields} for e in record.events]
        head = {"run": record.run_id, "intact": record.intact, "problem": record.problem}
        report.json({**head, "events": events})
    else:
        rows = list(told(record.events))
        report.rows(f"Run {record.run_id}", ["time", "host", "what", "seconds"], rows, spare=("seconds",))
    if not record.intact:
        raise IntegrityError(
            f"this journal is damaged: {record.problem}; what stands before that is shown.",
            path=record.path,
            entry=record.run_id,
            remedy="Somebody, or the disk, changed it: a killed run leaves no damage. Take it from a copy of "
            "the repository, or delete it and its .head: no snapshot hangs on it.",
        )


def told(events: Iterable[Event], every: bool = False) -> Iterator[dict[str, Any]]:
    """Given the events of a run, yield a row for each that a person wants to know of, or for `every` one."""
    began: dict[tuple[str, str], datetime] = {}
    steps: dict[tuple[str, str], str] = {}
    for event in events:
        host, fields = str(event.fields.get("host", "")), event.fields
        key = (host, str(fields.get("number")))
        if event.kind in ("run-started", "host-started", "step-started"):
            began[key] = event.at
        if event.kind == "step-started":
            steps[key] = step_text(fields.get("step"))
        if event.kind in UNTOLD and not every:
            continue
        ends = event.kind in ("run-ended", "host-ended", "step-finished", "step-failed")
        start = began.get(key) if ends else None
        yield {
            "n": event.n,
            "kind": event.kind,
            "time": event.at,
            "host": host,
            "what": words(event.kind, fields, steps.get(key, f"step {fields.get('number')}")),
            "seconds": None if start is None else f"{(event.at - start).total_seconds():.1f}",
        }


def step_text(step: object) -> str:
    """Given a step as a journal has it, return it in words; a kind that is not known by its name."""
    if not isinstance(step, Mapping):
        return "a step"
    if isinstance(step.get("text"), str):
        return str(step["text"])
    try:
        return (change_from_json if step.get("kind") in CHANGE_KINDS else step_from_json)(step).describe()
    except (ValueError, TypeError, KeyError):
        return str(step.get("kind", "a step"))


def counted(count: object, noun: str) -> str:
    """Given what a journal has in the place of a number, return it with the word for one."""
    return count_text(count, noun) if isinstance(count, int) else f"{count} {noun}s"


def words(kind: str, fields: Mapping[str, object], step: str) -> str:
    """Given what happened, return it as a person says it."""
    match kind:
        case "run-started":
            command = typed_command(fields.get("command"), fields.get("options"))
            again = f", which resumes {fields['resumes']}" if fields.get("resumes") else ""
            return f"started: {command}{again}"
        case "run-ended":
            code = str(fields.get("outcome"))
            return f"ended with exit code {code}" + (", interrupted" if code == str(EXIT_INTERRUPTED) else "")
        case "host-ended":
            return ": ".join(str(fields[k]) for k in ("state", "message") if fields.get(k))
        case "step-started":
            return f"begun: {step}"
        case "step-finished":
            return f"done: {step}"
        case "step-failed":
            return f"failed: {step}: {fields.get('error')}"
        case "planned":
            return f"planned: {counted(fields.get('steps', 0), 'step')}"
        case "safety":
            names = fields.get("snapshots")
            return f"saved before: {', '.join(map(str, names)) if isinstance(names, list) else ''}"
        case "services-back":
            failed = fields.get("failed")
            names = ", ".join(map(str, failed)) if isinstance(failed, Mapping) else ""
            if names:
                return f"services that did not start again: {names}"
            return "services are as they were found, or as the plan wants them"
        case "services-untold":
            return f"the journal of {fields.get('of')} is damaged: what it left standing, nobody can tell"
        case "services-left":
            return f"services could not be put back, the next run will: {fields.get('error')}"
        case "not-done":
            return f"not done: {fields.get('what')}"
        case "deadline-passed":
            stopped, left = (fields.get(name) for name in ("stopped", "not_begun"))
            running, waiting = (
                counted(len(x) if isinstance(x, list) else "?", "host") for x in (stopped, left)
            )
            return f"the deadline ({fields.get('deadline')}) passed: {running} stopped, {waiting} not begun"
        case "judged":
            checks = counted(fields.get("findings", 0), "check")
            return f"judged: {checks}, the worst is {fields.get('worst')}"
        case "committed":
            state = "" if fields.get("complete") else ", incomplete"
            return f"new snapshot of {fields.get('connector')}: {fields.get('snapshot')}{state}"
        case "unchanged":
            return f"{fields.get('connector')} is unchanged since {fields.get('snapshot')}"
        case "retry":
            said = fields.get("said")
            said = said if isinstance(said, Mapping) else {}
            return f"{said.get('script')} failed (attempt {said.get('attempt')}): {said.get('error')}"
        case _:
            return sentence(kind, fields)
