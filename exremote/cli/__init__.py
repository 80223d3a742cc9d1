"""The door: parse, compose, call one verb, report, exit. It never talks to a host itself.

Every error that exremote knows ends in `common.speaking`, in one sentence on standard error and its
exit code; anything else is a defect and shows a traceback. `verbs` saves, `restoring` and `undoing` bring
back what `choosing` finds, `drilling` tries it; `recovering` sees a lost server through, with `recoveries`,
`answering` and `confirming` for the person, `proof` for evidence and runbook; `checking` and `doctor` ask,
`keep` and `carry` tend the repository, `look`, `inside`, `status`, `runs` and `site` look, `reporting` tells.
`running` is a run over hosts, with `limiting` and `journaling`; `resume` runs one again, by what `resuming`
knows of its kind; `planned` shows plans, and `asking` asks a person.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, TextIO, cast

import typer
from typer import rich_utils

from exremote import __version__
from exremote.cli import (
    carry,
    checking,
    confirming,
    doctor,
    drilling,
    inside,
    keep,
    look,
    proof,
    recovering,
    reporting,
    restoring,
    schedule,
    site,
    status,
    undoing,
    verbs,
)
from exremote.cli import resume as again
from exremote.cli import runs as past
from exremote.cli.common import UsageProblem
from exremote.errors import EXIT_OK, ExremoteError
from exremote.report import Outlet, Report
from exremote.wording import flowing

EXIT_CODES = (
    "Exit codes: 0 all was done; 2 wrong command line or inventory; 3 a host or item was not done; "
    "4 a plan was refused; 5 the answer is bad news; 6 it waits for a person; 10 repository, 11 locked, "
    "12 no such snapshot or run, 13 damage; one host was asked: 20 unreachable, 21 refused, 22 a script said "
    "no, 23 digests disagree; "
    "130 interrupted; 1 a defect of exremote."
)
app = typer.Typer(
    name="exremote",
    help="Backup, restore and recovery of Exchange's foreign-mail connectors, and their health, over WinRM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
inventory_app = typer.Typer(help="Look at the inventory; find out what a host has.", no_args_is_help=True)


def _command(group: typer.Typer, name: str, function: Callable[..., None]) -> None:
    """Given a group, a name and what is to be done, make it a command; its docstring is the help."""
    group.command(name, help=flowing(function.__doc__))(function)


_command(app, "init", verbs.init)
_command(app, "doctor", doctor.doctor)
_command(app, "health", checking.check_health)
_command(app, "backup", verbs.back_up)
_command(app, "restore", restoring.restore_command)
_command(app, "undo", undoing.undo)
_command(app, "drill", drilling.drill)
_command(app, "recover", recovering.recover_command)
_command(app, "confirm", confirming.confirm)
_command(app, "evidence", proof.evidence)
_command(app, "runbook", proof.runbook)
_command(app, "status", status.status)
_command(app, "snapshots", look.snapshots)
_command(app, "show", inside.show)
_command(app, "diff", inside.diff)
_command(app, "verify", look.verify)
_command(app, "forget", keep.forget)
_command(app, "prune", keep.prune)
_command(app, "copy", carry.copy)
_command(app, "export", carry.export_snapshot)
_command(app, "unlock", keep.unlock)
_command(app, "runs", past.runs)
_command(app, "report", reporting.report_run)
_command(app, "resume", again.resume)
_command(app, "schedule", schedule.schedule)
_command(app, "connectors", look.connectors)
_command(app, "scripts", look.scripts)
_command(inventory_app, "check", site.check)
_command(inventory_app, "show", site.show)
_command(inventory_app, "example", site.example)
_command(inventory_app, "discover", site.discover)
app.add_typer(inventory_app, name="inventory")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"exremote {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""


def main() -> None:
    """Run the command line; the exit code is the answer in one number (README, exit codes)."""
    # The help, too, may meet a closed pipe or a full disk; nothing of ours ends in a traceback there.
    sys.stdout = cast(TextIO, Outlet(sys.stdout))
    sys.stderr = cast(TextIO, Outlet(sys.stderr))
    try:
        code = app(standalone_mode=False)
    except UsageProblem as problem:
        # What reads the values puts its own name for an error before the sentence.
        problem.message = problem.message.removeprefix("Value error, ")
        # A program that waits for JSON gets it, wherever its command line is wrong.
        if "--json" in sys.argv[1:]:
            said = {"error": problem.format_message(), "exit_code": problem.exit_code}
            Report(as_json=True).json(said)
        rich_utils.rich_format_error(problem)
        code = problem.exit_code
    except typer.Abort:
        code = ExremoteError.exit_code
    sys.exit(code if isinstance(code, int) else EXIT_OK)
