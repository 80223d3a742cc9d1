"""The command `doctor`: hosts one after another, a line for each stage as it ends. It judges nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Annotated, Any

import typer
from rich.console import Console

from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    journal_folders,
    known_repository,
    load_inventory,
    now,
    speaking,
)
from exremote.cli.journaling import journaled
from exremote.cli.running import resolve_secrets
from exremote.connector import Connector
from exremote.credential import Secret
from exremote.doctor import Stage, Verdict, examine, exit_code, stages_of
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, ExremoteError, UsageError
from exremote.gate import LogonGate
from exremote.inventory import SAME_LISTENER, Host, Inventory, same_listener
from exremote.journal import Journal
from exremote.report import Report

COLUMNS = ("host", "verdict", "stage", "sentence", "fix")


def doctor(
    hosts: Annotated[list[str], typer.Argument(metavar="HOST", help="Hosts, groups or tag:NAME.")],
    fail_on: Annotated[
        Verdict, typer.Option("--fail-on", help="warning: a warning makes the exit code 5, too.")
    ] = Verdict.FAILED,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find out, stage by stage, what keeps a host from being backed up; each with a fix. Changes nothing."""
    with speaking(as_json) as report:
        if fail_on not in (Verdict.FAILED, Verdict.WARNING):
            raise UsageError("--fail-on takes failed or warning.")
        site = load_inventory(inventory, list(Connector.load_all()))
        chosen = site.select(hosts)
        secrets = resolve_secrets(chosen)
        place = known_repository(repository, inventory)
        folders = journal_folders(place)
        logons, shares = LogonGate(), LogonGate()
        found: dict[str, list[Stage]] = {}
        with journaled(folders, "doctor", [h.name for h in chosen], report.note) as journal:
            for host in chosen:
                found[host.name] = _look(
                    report, journal, host, secrets, _warnings(site, host), logons, shares
                )
            codes = [exit_code(stages, fail_on) for stages in found.values()]
            together = EXIT_OK if not any(codes) else EXIT_INCOMPLETE
            code = codes[0] if len(codes) == 1 else together
            journal.close(str(code))
        if as_json:
            rows = [
                {
                    "host": name,
                    "exit_code": exit_code(stages, fail_on),
                    "stages": [s.to_json() for s in stages],
                }
                for name, stages in found.items()
            ]
            report.json({"hosts": rows, "exit_code": code})
        raise typer.Exit(code)


def _warnings(site: Inventory, host: Host) -> tuple[str, ...]:
    """Given a host, return what its inventory warns of."""
    own = [w.partition(": ")[2] for w in site.warnings if w.startswith(f"{host.name}: ")]
    for names in same_listener(site):
        if host.name in names:
            own.append(f"{' and '.join(names)}: {SAME_LISTENER}")
    return tuple(own)


def _look(
    report: Report,
    journal: Journal,
    host: Host,
    secrets: Mapping[str, Secret | ExremoteError],
    warnings: tuple[str, ...],
    logons: LogonGate,
    shares: LogonGate,
) -> list[Stage]:
    """Given a host, examine it: a line as each stage ends, or, on a terminal, a display and then a table."""
    terminal = Console(file=sys.stdout).is_terminal
    stages: list[Stage] = []

    def tell(kind: str, fields: Mapping[str, object]) -> None:
        if kind == "shell":
            journal.shell(*(str(fields[name]) for name in ("what", "host", "shell_id", "wire")))
        else:
            journal.event(kind, host=host.name, said=dict(fields))

    api, own, share = host.api_credential, host.own_credential, host.ntbackup.share_credential
    examination = examine(
        host,
        host.unusable or secrets[host.door.credential.identity],
        now=now,
        warnings=warnings,
        logons=logons,
        shares=shares,
        api_account=secrets.get(api.identity) if api else None,
        own_account=secrets.get(own.identity) if own else None,
        share_account=secrets.get(share.identity) if share else None,
        on_event=tell,
    )
    names = [name for name, _, _ in stages_of(host)]
    journal.event("host-started", host=host.name)
    with ExitStack() as stack:
        live = stack.enter_context(report.progress("doctor", [host.name])) if terminal else None
        if live is not None:
            live.stage(host.name, f"looking at {names[0]}")
        for stage in stack.enter_context(closing(examination)):  # type: ignore[type-var] # a generator
            stages.append(stage)
            if live is not None and len(stages) < len(names):
                live.stage(host.name, f"looking at {names[len(stages)]}")
            elif not terminal and not report.as_json:
                report.rows("", COLUMNS, [_row(host, stage)])
    if terminal and not report.as_json:
        rows = [_row(host, stage) for stage in stages]
        below = ["sentence", "fix"]
        report.rows(f"Doctor: {host.name}", COLUMNS[1:], rows, style_by="verdict", below=below)
    journal.event("host-ended", host=host.name, state=_state(stages), message=_worst(stages))
    report.line(_summary(host, stages))
    return stages


def _row(host: Host, stage: Stage) -> dict[str, Any]:
    """Given a stage, return its row; a fix begins with an arrow, so that a line of text has two halves."""
    return {"host": host.name, **stage.to_json(), "fix": f"-> {stage.fix}" if stage.fix else ""}


def _state(stages: Sequence[Stage]) -> str:
    return "failed" if any(stage.verdict == Verdict.FAILED for stage in stages) else "done"


def _worst(stages: Sequence[Stage]) -> str:
    bad = [stage for stage in stages if stage.verdict == Verdict.FAILED]
    return f"{bad[0].stage}: {bad[0].sentence}" if bad else ""


def _summary(host: Host, stages: Sequence[Stage]) -> str:
    """Given the stages, return the one sentence at the end."""
    count = {verdict: sum(stage.verdict == verdict for stage in stages) for verdict in Verdict}
    parts = [f"{count[verdict]} {verdict}" for verdict in Verdict if count[verdict]]
    seconds = sum(stage.seconds for stage in stages)
    first = next((stage.stage for stage in stages if stage.verdict == Verdict.FAILED), "")
    what = f"begin with {first}" if first else "nothing keeps it from being backed up"
    return f"{host.name}: {', '.join(parts)} in {seconds:.1f} s; {what}"
