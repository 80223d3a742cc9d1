"""The command `confirm`: notes that a person did a step of a recovery. It does nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from exremote import recover
from exremote.cli.answering import TEXT, account_name
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    known_repository,
    speaking,
)
from exremote.cli.journaling import journaled
from exremote.cli.recoveries import find_recovery
from exremote.cli.underway import all_recoveries, doubts_about, given_up, in_service, unreadable
from exremote.connector import Connector
from exremote.errors import PlanRefused, UsageError
from exremote.recover import HostRecord, Question, RecoveryRecord
from exremote.report import has_terminal, time_text
from exremote.repository import Repository
from exremote.runner import alive_runs


def confirm(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run of the recovery, the beginning of its id, or `latest`."),
    ],
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step, as `recover` names it.")],
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Which host, if several are at that step.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who did it. Default: who runs this.")
    ] = None,
    words: Annotated[
        str,
        typer.Option("--words", metavar="TEXT", help="What was seen; asked for where no machine can tell."),
    ] = "",
    answers: Annotated[
        list[str] | None,
        typer.Option(
            "--answer", metavar="NAME=yes|no", help="The answer to a question of the step; may be repeated."
        ),
    ] = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a step of a recovery was done by a person. It is looked at before it counts: by the run, if it
    waits at a terminal, else by `exremote resume RUN`.

    Of a recovery that was given up, `in-service` alone is confirmed: that the server is whole all the same,
    so that what is saved of it from then on counts again.
    """
    with speaking(as_json) as report:
        place = Repository.open(repository) if repository else known_repository(None, inventory)
        if place is None:
            raise UsageError(
                "Where is the repository?", "Name it with --repository, or an inventory that does."
            )
        record = find_recovery(place, run)
        step = step.casefold() if step.casefold() == recover.IN_SERVICE else step
        whole = step == recover.IN_SERVICE
        name = _given_up_host(record, host) if whole else host_at(record, step, host)
        if whole:
            _no_newer_one(place, record, name)
        found = record.hosts.get(name)
        confirms = recover.runs_of(place.runs_folder, recover.CONFIRM)
        for earlier in recover.answers_for(record.id, confirms) if not whole else ():
            if (earlier.host, earlier.step) == (name, step.casefold()) and earlier.via not in record.taken:
                raise PlanRefused(
                    f"{step} of {name} was confirmed already, by {earlier.by} ({time_text(earlier.at)}).",
                    f"`exremote resume {record.id}` looks at it.",
                )
        plain = found.plan.step(step) if found is not None else None
        question_of = {question.name: question for question in (plain.asks if plain is not None else ())}
        asked = _asked(question_of, answers or ())
        if words.strip() == TEXT:
            raise UsageError(
                f"--words {TEXT}: nobody has seen that.", f"Put what was seen in place of {TEXT}, in quotes."
            )
        if (plain is None or (plain.who == "person" and not plain.checked)) and not words.strip():
            raise UsageError(
                f"No machine can tell whether {step} was done.", f'Say what was seen: --words "{TEXT}".'
            )
        answer: dict[str, Any] = {
            "host": name,
            "step": plain.name if plain else step,
            "by": (by or account_name()).strip()[:500],
            "words": words.strip()[:500],
            "asked": asked,
        }
        if plain is not None and plain.name == recover.CONNECTORS:
            shown = found.noted.get("plan") if found is not None else None
            if not isinstance(shown, str):
                raise PlanRefused(
                    f"{name}: no plan of {step} was shown yet.", f"`exremote resume {record.id}` shows it."
                )
            answer["plan"] = shown
        with journaled(
            [place.runs_folder], recover.CONFIRM, [record.id, step], report.note, {"recovery": record.id}
        ) as journal:
            journal.event(recover.ANSWERED, **answer)
        last = record.last.run_id
        if whole:
            then = "what is saved of it from now on counts again"
        elif last in alive_runs(place.runs_folder):
            then = f"{last} waits, and takes it up"
        else:
            then = f"it is looked at by: exremote resume {record.id}"
        if as_json:
            report.json({"recovery": record.id, **answer, "run": journal.run_id, "exit_code": 0})
        else:
            report.line(f"{name}: {step} confirmed by {answer['by']}; {then}")


def _given_up_host(record: RecoveryRecord, host: str | None) -> str:
    """Return the host whose recovery was given up, or cannot be read.

    Raise UsageError or PlanRefused if there is not one.
    """
    known = {name.casefold(): name for name in (*record.hosts, *record.lost)}
    chosen = [known[host.casefold()]] if host is not None and host.casefold() in known else []
    if host is None:
        chosen = [*(name for name in record.hosts if record.hosts[name].given_up), *record.lost]
    if len(chosen) > 1 or (host is not None and not chosen):
        raise UsageError(
            f"The recovery {record.id} has {', '.join(known.values())}.", "Say which with --host."
        )
    if chosen and chosen[0] in record.lost:
        return chosen[0]
    if all(record.hosts[name].whole for name in chosen or record.hosts):
        raise PlanRefused(
            f"The recovery {record.id} is through: what is saved since counts anyway.",
            f"`exremote evidence {record.id}` shows what was done, and what proved it.",
        )
    if not chosen or not record.hosts[chosen[0]].given_up:
        raise PlanRefused(
            f"The recovery {record.id} was not given up: a server that is whole is said to be so by its last "
            "step.",
            f"Go on with `exremote resume {record.id}`.",
        )
    return chosen[0]


def _no_newer_one(place: Repository, record: RecoveryRecord, host: str) -> None:
    """Given a recovery of which a host is said to be whole, raise PlanRefused if a newer one has left it half
    recovered, or is about to: it is of that one that it has to be said.
    """
    every = all_recoveries(place)
    newer = [*every][[*every].index(record.id) + 1 :]
    for doubt in doubts_about(place, [host]).get(host, ()):
        if doubt.until is not None or doubt.recovery not in newer:
            continue
        say = in_service(doubt.recovery, host)
        if host in every[doubt.recovery].unfinished:
            raise PlanRefused(
                f"A newer recovery of {host} is under way, {doubt.recovery}: what is saved of it counts when "
                "that is through.",
                f"Go on with `exremote resume {doubt.recovery}`; or give it up (`exremote recover {host} "
                f"--give-up`), then {say}.",
            )
        raise PlanRefused(
            f"A newer recovery of {host} was given up as well, {doubt.recovery}.", f"Say it of that: {say}."
        )


def host_at(record: RecoveryRecord, step: str, host: str | None) -> str:
    """Given a step, return the host that is at it. Raise UsageError or PlanRefused if there is not one."""
    known = {name.casefold(): name for name in record.hosts}
    if record.lost and not record.hosts:
        raise unreadable(record)
    _known_step(record, step)
    if host is not None and host.casefold() not in known:
        raise UsageError(
            f"The recovery {record.id} has no host {host}.", f"It has {', '.join(known.values())}."
        )
    chosen = [known[host.casefold()]] if host is not None else list(record.hosts)
    if over := [name for name in chosen if record.hosts[name].given_up]:
        if len(over) == len(chosen):
            raise given_up(record, over[0])
        chosen = [name for name in chosen if name not in over]
    at = [name for name in chosen if _is_at(record.hosts[name], step) and not _waits_for(record, name)]
    if not at:
        turns = ", ".join(
            f"{n} comes after {first}" if (first := _waits_for(record, n)) else f"{n} {at_text(record, n)}"
            for n in chosen
        )
        then = "Nothing was noted."
        if record.unfinished and all(host.plan.step(step) is None for host in record.hosts.values()):
            then += f" It is asked for when its files are there: `exremote resume {record.id}` says so."
        raise PlanRefused(f"It is not the turn of {step}: {turns}.", then)
    if len(at) > 1:
        raise UsageError(f"{', '.join(at)} are at {step}.", "Say which with --host.")
    return at[0]


def _known_step(record: RecoveryRecord, step: str) -> None:
    """Given what stands for a step, raise UsageError if there is none, PlanRefused if it is no person's."""
    connectors = Connector.load_all()
    human = {
        one.name
        for host in record.hosts.values()
        for saved in host.plan.connectors
        if saved.of in connectors
        for one in connectors[saved.of].human_steps
    }
    steps = {one.name: one for host in record.hosts.values() for one in host.plan.steps}
    own = steps.get(step.casefold())
    if own is None and step not in human:
        people = [s.name for s in steps.values() if s.who == "person"]
        raise UsageError(
            f"There is no step {step}.", f"A person confirms: {', '.join([*people, *sorted(human)])}."
        )
    if own is not None and own.who == "machine" and own.name != recover.CONNECTORS:
        raise PlanRefused(
            f"{own.name} is done by exremote, and by nobody else.", f"`exremote resume {record.id}` goes on."
        )


def at_text(record: RecoveryRecord, host: str) -> str:
    """Given a recovery and a host, return which step it is at, behind its name."""
    return f"is at {record.hosts[host].next}" if record.hosts[host].next else "is recovered already"


def _waits_for(record: RecoveryRecord, host: str) -> str:
    """Return the host that is to be recovered before; empty if none is left."""
    before = record.hosts[host].plan.after
    return next((name for name in before if name in record.hosts and record.hosts[name].next), "")


def _is_at(record: HostRecord, step: str) -> bool:
    if record.next == step.casefold():
        return (found := record.plan.step(step)) is not None and (
            found.who == "person" or found.name == recover.CONNECTORS
        )
    if record.next != recover.CONNECTORS:
        return False
    known = Connector.load_all()
    names = [one.of for one in record.plan.connectors]
    human = any(human.name == step for name in names if name in known for human in known[name].human_steps)
    return human and step in record.asked


def _asked(questions: dict[str, Question], answers: list[str] | tuple[str, ...]) -> dict[str, bool]:
    """Given the questions of a step and what stands behind --answer, return the answers. Raise UsageError."""
    asked: dict[str, bool] = {}
    for text in answers:
        name, _, said = text.partition("=")
        if name not in questions or said.lower() not in ("yes", "no"):
            names = ", ".join(questions) or "none"
            raise UsageError(f"--answer {text}: expected NAME=yes or NAME=no.", f"This step asks: {names}.")
        asked[name] = said.lower() == "yes"
    lacking = [question for name, question in questions.items() if name not in asked]
    if lacking and not has_terminal():
        raise UsageError(f"{lacking[0].text}", f"Answer it: --answer {lacking[0].name}=yes, or =no.")
    for question in lacking:
        asked[question.name] = typer.confirm(question.text, default=None, err=True)
    return asked
