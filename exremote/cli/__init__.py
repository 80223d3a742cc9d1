"""The door: parse, compose, call one verb, report, exit. It never talks to a host itself.

Every error that exremote knows ends in `common.speaking`, in one sentence on standard error and its
exit code; anything else is a defect and shows a traceback. `verbs` saves, `restoring` and `undoing` bring
back what `choosing` finds, `laying` puts it into a folder, `drilling` tries it; `recovering` sees a lost
server through, with `recoveries`, `answering` and `confirming` for the person, `proof` for evidence and
runbook; `checking` and `doctor` ask,
`keep` and `carry` tend the repository, `look`, `inside`, `status`, `runs` and `site` look, `reporting` tells.
`commands` names them all, and loads one when it is asked for; `discovering` asks what a host has.
`running` is a run over hosts, with `limiting` and `journaling`; `resume` runs one again, by what `resuming`
knows of its kind; `planned` shows plans, and `asking` asks a person.
"""

from __future__ import annotations

import gc
import sys
from typing import Annotated, TextIO, cast

import typer

from exremote import __version__
from exremote.cli.commands import COMMANDS, INVENTORY_COMMANDS, UsageProblem, group_of
from exremote.errors import EXIT_INTERRUPTED, EXIT_OK, ExremoteError
from exremote.report.outlet import Outlet

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
    cls=group_of(COMMANDS),
)
inventory_app = typer.Typer(
    help="Look at the inventory; find out what a host has.",
    no_args_is_help=True,
    cls=group_of(INVENTORY_COMMANDS),
)
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
            from exremote.report import Report

            said = {"error": problem.format_message(), "exit_code": problem.exit_code}
            Report(as_json=True).json(said)
        from typer import rich_utils

        rich_utils.rich_format_error(problem)
        code = problem.exit_code
    except typer.Abort as ended:
        code = ExremoteError.exit_code
        # A Ctrl-C while a command is being loaded is one, too.
        if isinstance(ended.__cause__, KeyboardInterrupt):
            sys.stderr.write("error: interrupted.\n")
            code = EXIT_INTERRUPTED
    # The process ends: looking through all that was loaded for garbage would take a third of a second.
    gc.freeze()
    sys.exit(code if isinstance(code, int) else EXIT_OK)
