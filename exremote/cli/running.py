"""A run of one verb over hosts: secrets, a journal, a visit to each. It knows no verb."""

from __future__ import annotations

import getpass
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from exremote.cli.common import journal_folders, now
from exremote.cli.journaling import journaled
from exremote.cli.resuming import Told
from exremote.credential import Credential, Secret
from exremote.errors import EXIT_OK, ConfigError, ExremoteError, UsageError
from exremote.inventory import Host
from exremote.journal import DEADLINE_PASSED, Journal
from exremote.report import Report, has_terminal
from exremote.repository import Repository
from exremote.runner import (
    UNLIMITED,
    Heal,
    LeftDown,
    Limits,
    Outcome,
    Stopped,
    Visit,
    clear_dead_runs,
    each_host,
    exit_code,
    interrupted,
    left_down,
    leftover_shells,
    tell_end,
)
from exremote.script import ScriptLibrary
from exremote.session import Session
from exremote.wording import count_text


@dataclass(frozen=True, slots=True)
class Run:
    """What a verb is handed for one run over hosts."""

    journal: Journal
    """What happened."""
    stage: Callable[[str, str], None]
    """Told what a host is doing; raises `Stopped` after an interrupt."""
    moved: Callable[[str, int, int], None]
    """Told of files and bytes that arrived from a host; raises `Stopped` after an interrupt."""
    expect: Callable[[str, int, int], None]
    """Told of files and bytes that the plan says will come from a host."""
    accounts: Mapping[str, Secret | ExremoteError]
    """By the credential's identity, or why one is not to be had."""
    going_on: Callable[[], None] = lambda: None
    """Raises `Stopped` after an interrupt."""
    paused: Callable[[], AbstractContextManager[None]] = nullcontext
    """Clears the screen for a question."""
    owed: LeftDown = field(default_factory=LeftDown)
    """Services that earlier runs have left down."""

    def api_account(self, host: Host) -> Secret | ExremoteError | None:
        """Given a host, return the account for its second hop to the GroupWise API directory, if any."""
        return self.accounts[host.api_credential.identity] if host.api_credential else None


def ask_password(prompt: str) -> str:
    """Given a question, ask the person at the terminal and echo nothing."""
    return getpass.getpass(prompt, stream=sys.stderr)


def resolve_secrets(hosts: Sequence[Host]) -> dict[str, Secret | ExremoteError]:
    """Given hosts, fetch each credential once, before any host is asked. Return it, or why there is none."""
    prompt = ask_password if has_terminal() else None
    secrets: dict[str, Secret | ExremoteError] = {}

    def fetch(credential: Credential) -> Secret | ExremoteError:
        try:
            return credential.resolve(prompt)
        except (UsageError, ConfigError) as error:
            return error

    for host in hosts:
        # No password is typed for a host that cannot be asked.
        for credential in host.credentials if host.unusable is None else ():
            if credential.identity not in secrets:
                secrets[credential.identity] = fetch(credential)
    return secrets


def on_hosts(
    verb: str,
    hosts: Sequence[Host],
    work: Callable[[Run], Callable[[Host, Session], Outcome]] | None,
    *,
    report: Report,
    repository: Repository | None,
    parallel: int,
    writes: bool = False,
    heal: Heal | None = None,
    ends_with: Callable[[Sequence[Outcome]], int] = exit_code,
    limits: Limits = UNLIMITED,
    told: Told | None = None,
    through: Callable[[Run, Visit], Callable[[Host], Outcome]] | None = None,
    also: Sequence[Host] = (),
    out: Sequence[Outcome] = (),
) -> list[Outcome]:
    """Given hosts and the work of one verb, do it on each, with a journal, and return the outcomes.

    `writes`: the journal lies in the repository, or nothing is done; else with this user if it takes none.
    `heal`: what is done about services that earlier runs have left down; as a rule what writes puts back
    those that killed runs left.
    `ends_with` makes the exit code of the outcomes: the journal records the one that the process ends with.
    `limits` bound the run as a whole. `told`: what the journal says of the command line, for `resume`.
    `through`, in the place of `work`, opens sessions itself, when and where it needs one; `also` are hosts
    whose secrets it needs besides. `out`: how it ended already for hosts that this run was for, too; the
    journal has them, and `resume` takes them up.
    """
    secrets = resolve_secrets([*hosts, *also])
    past = journal_folders(repository)
    folders = past[:1] if writes else past
    leftovers = leftover_shells(past, now())
    healing = heal if heal is not None else Heal.YES if writes else Heal.NO
    owed = left_down(past, now()) if healing is not Heal.NO else LeftDown()
    stop = threading.Event()
    for folder in past:
        clear_dead_runs(folder)
    names = [h.name for h in hosts]
    every = [*names, *(outcome.host for outcome in out)]
    with journaled(folders, verb, every, report.note, told.fields if told else None) as journal:
        for outcome in out:
            tell_end(journal, outcome)
        with report.progress(verb, names) as live:

            def going_on() -> None:
                if stop.is_set():
                    raise Stopped

            def stage(host: str, text: str) -> None:
                going_on()
                live.stage(host, text)

            def moved(host: str, files: int, size: int) -> None:
                going_on()
                if limits.over:
                    raise Stopped
                live.moved(host, files, size)

            def at_deadline(running: Sequence[Host], waiting: Sequence[Host]) -> None:
                stopped, left = ([h.name for h in hosts] for hosts in (running, waiting))
                journal.event(DEADLINE_PASSED, deadline=limits.said, stopped=stopped, not_begun=left)
                for host in waiting:
                    tell_end(journal, limits.too_late(host))
                report.note(
                    f"the deadline of the run ({limits.said}) has passed: {count_text(len(stopped), 'host')} "
                    f"to be stopped, {count_text(len(left), 'host')} not begun"
                )

            run = Run(journal, stage, moved, live.expect, secrets, going_on, live.paused, owed)
            visit = Visit(
                ScriptLibrary.load(),
                secrets,
                journal,
                leftovers,
                work(run) if work is not None else lambda host, _: interrupted(host),
                stop,
                stage,
                limits=limits,
                owed=owed,
                heal=healing,
                owed_now=lambda: left_down(past, now()),
                say=report.note,
            )
            outcomes = each_host(
                hosts,
                visit if through is None else through(run, visit),
                parallel=parallel,
                stop=stop,
                limits=limits,
                on_deadline=at_deadline,
                on_outcome=lambda o: live.finished(o.host, o.message or o.state, o.state),
                on_stopping=lambda count: report.note(
                    f"stopping: {count_text(count, 'host')}; shells and locks are removed, mostly within 10 s"
                ),
            )
        journal.close(str(ends_with(outcomes)))
        return outcomes


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Given an outcome, return what every JSON report says of a host."""
    return {
        "host": outcome.host,
        "state": outcome.state,
        "exit_code": outcome.exit_code,
        "message": outcome.message,
        "seconds": round(outcome.seconds, 3),
    }


def show_failed(report: Report, outcomes: Sequence[Outcome]) -> None:
    """Given outcomes, show the hosts that could not be worked on."""
    rows = [outcome_json(o) for o in outcomes if o.detail is None and o.exit_code != EXIT_OK]
    if rows:
        columns, below = ["host", "state", "message"], ["message"]
        report.rows("Hosts without an answer", columns, rows, style_by="state", below=below)
