"""The command `schedule`: a command line of exremote becomes a systemd timer or a Windows task.

It shows the files; only with --install or --remove it changes something. No secret goes into them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote.cli.commands import UsageProblem
from exremote.cli.common import JsonOption, load_inventory, path_from, speaking
from exremote.cli.status import age
from exremote.cli.timetable import At, Job, times_of
from exremote.cli.unit import (
    Kind,
    Needs,
    Written,
    bare,
    me,
    program,
    remove_files,
    write_files,
    written,
)
from exremote.connector import Connector
from exremote.errors import UsageError
from exremote.inventory import Host, Inventory
from exremote.report import Report

UNSCHEDULED = ("schedule", "init", "unlock", "restore", "undo", "resume")
"""Commands that a person gives, or that ask one."""
EXAMPLE = "exremote schedule --every 15m -- backup --only tables"
LEAST, MOST = timedelta(minutes=1), timedelta(days=30)


def schedule(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="Behind `--`: backup --only tables, for instance."),
    ] = None,
    every: Annotated[
        timedelta | None, typer.Option("--every", metavar="AGE", parser=age, help="How often: 15m, 6h, 1d.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="TIME", help="When: 02:30, or 'sun 02:30'; may be repeated."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What it is called. Default: by the command.")
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="Default: windows there, systemd-user elsewhere.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="USER", help="As whom it runs (systemd-system, windows). Default: you."
        ),
    ] = None,
    environment_file: Annotated[
        Path | None,
        typer.Option(
            "--environment-file",
            metavar="FILE",
            parser=path_from,
            help="systemd: where the variables with passwords stand, if credentials are variables.",
        ),
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Write it and switch it on.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Switch it off and take it away.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="FOLDER",
            parser=path_from,
            help="With --install or --remove: the files there, and nothing is switched on or off.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a command line of exremote again and again: a systemd timer, or a scheduled task of Windows.

        Without --install it is only shown. Passwords are never in it: what the inventory's credentials need
    is said.
    """
    with speaking(as_json) as report:
        kind = kind or (Kind.WINDOWS if os.name == "nt" else Kind.USER)
        if install and remove:
            raise UsageError("--install and --remove are opposites.", "Leave one of them out.")
        if user is not None and kind == Kind.USER:
            raise UsageError(
                "A user's own timer runs as that user.", "Use --kind systemd-system, or leave --user out."
            )
        called = checked_name(name, command or ())
        if remove:
            removed = remove_files(written(bare(called, kind), kind, folder), folder is None)
            tell_removed(report, called, removed)
            return
        times = when(every, at or ())
        line, site, hosts = checked_command(context, command or ())
        needed = Needs(kind, called, hosts, environment_file)
        job = Job(
            called,
            (*program(), *line),
            f"exremote {' '.join(command or ())}",
            str(Path.cwd()),
            every,
            times,
            needed.file,
            user or (me(kind) if kind != Kind.USER else ""),
            kind == Kind.SYSTEM,
        )
        made = written(job, kind, folder)
        replaced = write_files(made, folder is None) if install else False
        tell_made(report, made, called, list(needed.words(site)), install, replaced)


def when(every: timedelta | None, at: Sequence[str]) -> tuple[At, ...]:
    """Given how often, or at which times, return the times. Raise UsageError if it is neither or both."""
    if (every is None) == (not at):
        raise UsageError("Say when: either --every or --at.", "For instance --every 15m, or --at 02:30.")
    if every is not None and not LEAST <= every <= MOST:
        raise UsageError("--every is from 1m to 30d.", "For a fixed day of the week: --at 'sun 02:30'.")
    try:
        return times_of(at)
    except ValueError as error:
        raise UsageError(f"{error} is no time.", "Write 02:30, or a day before it: 'sun 02:30'.") from None


def checked_name(name: str | None, command: Sequence[str]) -> str:
    """Given a name, or else the command, return what the job is called. Raise UsageError."""
    said = (
        name if name is not None else re.sub(r"[^A-Za-z0-9]+", "-", " ".join(command)).strip("-").lower()[:48]
    )
    if not said:
        raise UsageError("No command is given.", f"Put it behind two hyphens: {EXAMPLE}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", said):
        raise UsageError(f"{said!r} cannot be its name.", "Use letters, digits, - and _, 60 at most.")
    return said


def checked_command(
    context: typer.Context, command: Sequence[str]
) -> tuple[list[str], Inventory | None, list[Host]]:
    """Given a command line of exremote, hold it against what there is, so that no mistake waits for the
    night.

        Return it with inventory and repository by their full paths, the inventory, and the hosts that it
    means.     Raise UsageError.
    """
    if not command:
        raise UsageError("No command is given.", f"Put it behind two hyphens: {EXAMPLE}")
    group: Any = context.find_root().command
    first, *rest = command
    found = group.commands.get(first)
    if found is None or first in UNSCHEDULED or hasattr(found, "commands"):
        known = sorted(
            n for n, c in group.commands.items() if n not in UNSCHEDULED and not hasattr(c, "commands")
        )
        raise UsageError(f"{first} cannot be scheduled.", f"There are: {', '.join(known)}.")
    if {"--help", "-h"} & set(rest):
        raise UsageError("A call for help cannot be scheduled.", "Leave it out.")
    try:
        parsed = found.make_context(f"exremote {first}", list(rest), parent=context.find_root()).params
    except UsageProblem as problem:
        raise UsageError(
            f"The command line is wrong: {problem.format_message().rstrip('.')}.",
            f"`exremote {first} --help` says what it takes.",
        ) from None
    if first == "forget" and not (parsed.get("yes") or parsed.get("dry_run")):
        raise UsageError("Nobody is there to answer what forget asks.", "Add --yes to it.")
    line = [first, *rest]
    site = None
    if "inventory" in parsed:
        try:
            site = load_inventory(parsed["inventory"], list(Connector.load_all()))
        except UsageError:
            if not parsed.get("repository") or parsed["inventory"] is not None:
                raise
        else:
            line += _option(rest, "--inventory", "-i", site.path)
    if parsed.get("repository"):
        line += _option(rest, "--repository", "-r", Path(parsed["repository"]).absolute())
    asks = first in ("backup", "health", "doctor", "drill") and site is not None
    hosts = site.select(parsed.get("hosts") or []) if asks and site is not None else []
    return line, site, hosts


def _option(line: Sequence[str], long: str, short: str, value: Path) -> list[str]:
    """Given a command line, return what names that file in it, unless it does so itself."""
    said = any(word.partition("=")[0] == long or word[:2] == short for word in line)
    return [] if said else [long, str(value)]


# ---------------------------------------------------------------- what is said


def tell_made(
    report: Report, made: Written, name: str, needs: Sequence[str], installed: bool, replaced: bool
) -> None:
    """Given the files, show them, or say where they are; and what is needed besides."""
    if report.as_json:
        files = [{"path": path, "text": text_of(data)} for path, data in made.files]
        commands = [list(command) for command in made.install]
        answer = {"name": name, "files": files, "commands": commands, "needs": list(needs)}
        report.json({**answer, "installed": installed, "replaced": replaced})
    for path, data in made.files:
        if installed:
            report.line(f"{'replaced' if replaced else 'written'}: {path}")
        else:
            report.line(f"# {path}")
            report.line(text_of(data))
    if not installed:
        report.note("note: only shown; --install writes this and switches it on")
    for sentence in needs:
        report.note(f"needed: {sentence}")


def text_of(data: bytes) -> str:
    """Given the content of a file, return it as text."""
    return data.decode("utf-16" if data.startswith(b"\xff\xfe") else "utf-8")


def tell_removed(report: Report, name: str, removed: Sequence[Path]) -> None:
    """Given the files that are gone, say so."""
    if report.as_json:
        report.json({"name": name, "removed": list(removed)})
    for path in removed:
        report.line(f"removed: {path}")
