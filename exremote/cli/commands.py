"""The commands: what each is called, where it lies, its one line. One is loaded when it is asked for.

The one line is the first paragraph of the command's docstring, word for word (a test holds them together):
so the list of commands needs none of them. Nothing is decided here, and no option is known.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from exremote.wording import flowing

UsageProblem = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
"""What the library says is wrong with a command line; it has no public name of its own there."""


class Announced(TyperCommand):
    """A command of which name and one line are known; the rest is loaded when it is called or completed."""

    def __init__(self, name: str, place: str, line: str) -> None:
        super().__init__(name, help=line)
        self.place = place
        """Its module in this folder, and its function there: `module:function`."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Given its name and arguments, load the command and have it read them: the context is its own."""
        return self.load().make_context(info_name, args, parent=parent, **extra)

    def load(self) -> Any:
        """Load the command itself, with its options; its function's docstring is the help."""
        module, _, name = self.place.partition(":")
        function: Callable[..., None] = getattr(importlib.import_module(f"exremote.cli.{module}"), name)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name, help=flowing(function.__doc__))(function)
        return typer.main.get_command(alone)


def group_of(announced: Sequence[Announced]) -> type[TyperGroup]:
    """Given commands, return the kind of group that has them, before what else it is given."""

    class Group(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            others = dict(self.commands)
            self.commands.clear()
            self.commands.update({str(one.name): one for one in announced} | others)

    return Group


COMMANDS = (
    Announced(
        "init",
        "verbs:init",
        "Make a repository: a new or empty folder that snapshots can go to, for its owner alone.",
    ),
    Announced(
        "doctor",
        "doctor:doctor",
        "Find out, stage by stage, what keeps a host from being backed up; each with a fix. Changes nothing.",
    ),
    Announced(
        "health",
        "checking:check_health",
        "Look at the connectors of hosts: findings with verdict, evidence and remedy. Only --probe writes.",
    ),
    Announced(
        "backup",
        "verbs:back_up",
        "Save the connectors of hosts: a snapshot per host and connector. Only a stopped-copy "
        "stops services.",
    ),
    Announced(
        "restore",
        "restoring:restore_command",
        "Bring back what snapshots hold. The plan is shown first; then what is there is saved, "
        "services are stopped, files and registry values put in place, services started, and proof "
        "taken.",
    ),
    Announced(
        "undo",
        "undoing:undo",
        "Bring back what a restore replaced: each file, registry value and service as it was before, "
        "from the snapshots that the restore took first. It can be undone in turn.",
    ),
    Announced(
        "drill",
        "drilling:drill",
        "Restore snapshots to a scratch folder and a scratch registry key of a host that is there for "
        "it. Every file and value is compared, all is taken away again, and a record of it is kept.",
    ),
    Announced(
        "recover",
        "recovering:recover_command",
        "Recover a lost server along the nine steps of Microsoft's tip (KB 328835), over days and restarts.",
    ),
    Announced(
        "confirm",
        "confirming:confirm",
        "Say that a step of a recovery was done by a person. It is looked at before it counts: by the "
        "run, if it waits at a terminal, else by `exremote resume RUN`.",
    ),
    Announced(
        "evidence",
        "proof:evidence",
        "Tell of a recovery who did what when, and what proved it; the journals are checked, event by event.",
    ),
    Announced(
        "runbook",
        "proof:runbook",
        "Write how a server would be recovered from its newest snapshots: to be printed before the disaster.",
    ),
    Announced(
        "status",
        "status:status",
        "Say how old the newest good snapshot of each host and connector is, and how its tables are.",
    ),
    Announced("snapshots", "look:snapshots", "List the snapshots that the repository holds."),
    Announced(
        "show",
        "inside:show",
        "Show what one snapshot holds: items, documents, what is missing, what was left out, findings.",
    ),
    Announced(
        "diff",
        "inside:diff",
        "Show what differs from A to B: files, registry values, services, other documents, what is missing.",
    ),
    Announced(
        "verify",
        "look:verify",
        "Hold the repository against its manifests. Exit code 13 if anything is damaged.",
    ),
    Announced(
        "forget",
        "keep:forget",
        "Take snapshots out: by a keep policy, or by name. Never the newest complete one. `prune` "
        "frees room.",
    ),
    Announced(
        "prune",
        "keep:prune",
        "Delete what no snapshot names: contents, what killed runs left, checks of forgotten snapshots.",
    ),
    Announced(
        "copy",
        "carry:copy",
        "Copy snapshots to another repository, with their checks; only contents that it lacks are copied.",
    ),
    Announced(
        "export",
        "carry:export_snapshot",
        "Write a snapshot as plain files under the host's own names, with times and attributes, all "
        "verified.",
    ),
    Announced(
        "unlock",
        "keep:unlock",
        "Show the repository's locks and remove those that nobody holds. It asks about other "
        "machines' locks.",
    ),
    Announced(
        "runs",
        "runs:runs",
        "List the runs that left a journal in the repository or with this user, or show one.",
    ),
    Announced(
        "report",
        "reporting:report_run",
        "Tell what a run was, from its journal: to a terminal, or as files that are written whole or "
        "not at all.",
    ),
    Announced(
        "resume",
        "resume:resume",
        "Do what a run left undone: killed, interrupted, at its deadline, or with hosts that did not "
        "end well.",
    ),
    Announced(
        "schedule",
        "schedule:schedule",
        "Run a command line of exremote again and again: a systemd timer, or a scheduled task of Windows.",
    ),
    Announced(
        "connectors", "look:connectors", "Show the connectors that exremote knows, and what each is made of."
    ),
    Announced(
        "scripts",
        "look:scripts",
        "Show the PowerShell scripts that exremote runs on a host: all are bundled, none is put together.",
    ),
)
INVENTORY_COMMANDS = (
    Announced("check", "site:check", "Read the inventory and say what is wrong with it; no host is asked."),
    Announced(
        "show",
        "site:show",
        "List the hosts, or show what is in force for one and where each value came from. Never a secret.",
    ),
    Announced(
        "example",
        "site:example",
        "Print a commented inventory, to be changed and kept: exremote inventory example > site.toml.",
    ),
    Announced(
        "discover",
        "discovering:discover",
        "Ask a host which connectors it has, and print the line to add to its table in the inventory.",
    ),
)
