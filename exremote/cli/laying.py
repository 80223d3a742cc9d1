"""A restore into a folder of hosts: looked at first, approved, then done. It touches nothing else there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from exremote import restore
from exremote.cli.choosing import LeftOut, note_left_out
from exremote.cli.common import now
from exremote.cli.keep import approve
from exremote.cli.running import Run, on_hosts
from exremote.errors import EXIT_OK
from exremote.inventory import Host
from exremote.report import Report
from exremote.repository import Repository
from exremote.runner import Outcome, exit_code
from exremote.session import Session


def lay_into(
    place: Repository,
    hosts: Sequence[Host],
    work: Mapping[str, restore.Work],
    folder: str,
    *,
    report: Report,
    parallel: int,
    dry_run: bool,
    yes: bool,
    keep_going: bool,
    left_out: Sequence[LeftOut],
    ends_with: Callable[[Sequence[Outcome]], int],
) -> list[Outcome]:
    """Given hosts, what is wanted there and a folder of theirs, say what would be put there, ask, and do it.

    `left_out` is noted, and `ends_with` makes the exit code of the outcomes. Return these.
    Raise PlanRefused if the answer is no.
    """

    def go(some: Sequence[Host], look: bool) -> list[Outcome]:
        def errand(run: Run) -> Callable[[Host, Session], Outcome]:
            note_left_out(run.journal, left_out)
            return restore.IntoErrand(
                place,
                run.journal,
                {name: (one.aim, one.snapshots) for name, one in work.items()},
                folder,
                look,
                now,
                run.stage,
                run.moved,
                run.expect,
            )

        return on_hosts(
            "restore",
            some,
            errand,
            report=report,
            repository=place,
            parallel=parallel,
            ends_with=ends_with,
        )

    looked = go(hosts, True)
    ready = [outcome.host for outcome in looked if outcome.exit_code == EXIT_OK]
    if dry_run or not ready or (exit_code(looked) != EXIT_OK and not keep_going):
        return looked
    for outcome in looked:
        report.item(f"{outcome.host}: {outcome.message}")
    approve(
        f"restore into {folder} on {', '.join(ready)}. Do it?",
        yes,
        "See what would be put there by --dry-run",
    )
    done = {o.host: o for o in go([host for host in hosts if host.name in ready], False)}
    return [done.get(outcome.host, outcome) for outcome in looked]
