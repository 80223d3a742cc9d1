"""The door: parse, compose, call one verb, report, exit. It never talks to a host itself.

Every error that exremote knows ends in `common.speaking`, in one sentence on standard error and its
exit code; anything else is a defect and shows a traceback. `verbs` saves, `checking` and `doctor` ask, `keep`
and `carry` tend the repository, `look`, `inside`, `runs` and `site` look; `running` is a run over hosts, with
its `journaling`.
"""

from __future__ import annotations

import sys
from typing import Annotated, TextIO, cast

import typer

from exremote import __version__
from exremote.cli import carry, checking, doctor, inside, keep, look, site, verbs
from exremote.cli import runs as past
from exremote.report import Outlet

EXIT_CODES = (
    "Exit codes: 0 all was done; 2 wrong command line or inventory; 3 a host or item was not done; "
    "4 a plan was refused; 5 the answer is bad news; 10 repository, 11 locked, 12 no such snapshot or run, "
    "13 damage; one host was asked: 20 unreachable, 21 refused, 22 a script said no, 23 digests disagree; "
    "130 interrupted; 1 a defect of exremote."
)
app = typer.Typer(
    name="exremote",
    help="Backup and health of Exchange's foreign-mail connectors (Notes, GroupWise, Calendar), over WinRM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
app.command("init")(verbs.init)
app.command("doctor")(doctor.doctor)
app.command("health")(checking.check_health)
app.command("backup")(verbs.back_up)
app.command("snapshots")(look.snapshots)
app.command("show")(inside.show)
app.command("diff")(inside.diff)
app.command("verify")(look.verify)
app.command("forget")(keep.forget)
app.command("prune")(keep.prune)
app.command("copy")(carry.copy)
app.command("export")(carry.export_snapshot)
app.command("unlock")(keep.unlock)
app.command("runs")(past.runs)
app.command("connectors")(look.connectors)
app.command("scripts")(look.scripts)
inventory_app = typer.Typer(help="Look at the inventory; find out what a host has.", no_args_is_help=True)
inventory_app.command("check")(site.check)
inventory_app.command("show")(site.show)
inventory_app.command("example")(site.example)
inventory_app.command("discover")(site.discover)
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
    app()
