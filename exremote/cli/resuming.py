"""What of a run can be taken up again, and by which command line: one `Kind` for each verb.

It decides nothing about a host. A verb is made resumable by two lines: it hands `Told.of(...)` to
`on_hosts`, so that its command line stands in the journal's first event, and it is named in `KINDS`, or
by `register`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer

from exremote import recover
from exremote.errors import EXIT_OK, PlanRefused
from exremote.journal import HOST_ENDED, RunRecord, read_run
from exremote.wording import count_text

_TOLD_APART = frozenset({"inventory", "repository", "as_json"})
"""Options that have a place of their own in the first event, or are about the answer alone."""


_CHOSEN = "chosen"
"""In the first event: the options that a plan file stood for."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the first event says of the command line, besides verb and hosts. No option holds a secret."""

    options: tuple[str, ...]
    """As they are written, those that say something else than their defaults."""
    inventory: Path
    """The inventory in force, however it was found."""
    repository: Path
    """The repository in force."""
    resumes: str = ""
    """The run that this one takes up."""
    subjects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By host, what is done there, where the command names that instead of the host: snapshots, a run."""
    more: Mapping[str, object] = field(default_factory=dict)
    """What else the first event says."""

    @classmethod
    def of(
        cls,
        context: typer.Context,
        inventory: Path,
        repository: Path,
        subjects: Mapping[str, Sequence[str]] | None = None,
        chosen: Sequence[str] | None = None,
    ) -> Told:
        """Given the context of a command, and the files in force, return what is to be told.

        `chosen`: the options that a plan file stands for; None if none is carried out.
        """
        resumes = context.obj.get("resumes", "") if isinstance(context.obj, dict) else ""
        more: dict[str, object] = {} if chosen is None else {_CHOSEN: list(chosen)}
        return cls(tuple(options_of(context)), inventory, repository, resumes, subjects or {}, more)

    @property
    def fields(self) -> dict[str, object]:
        """Return it as the fields of an event."""
        found: dict[str, object] = {
            "options": list(self.options),
            "inventory": str(self.inventory),
            "repository": str(self.repository),
        }
        if self.subjects:
            found["subjects"] = {host: list(names) for host, names in self.subjects.items()}
        return found | ({"resumes": self.resumes} if self.resumes else {}) | dict(self.more)


def options_of(context: typer.Context) -> list[str]:
    """Given the context of a command, return its options as a command line has them."""
    found: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.param_type_name != "option" or parameter.name in _TOLD_APART or value in (None, (), []):
            continue
        name = max(parameter.opts, key=len)
        if isinstance(value, bool):
            off = max(parameter.secondary_opts, key=len, default="")
            found += [name] if value else [off] if off else []
        elif isinstance(value, list | tuple):
            found += [text for one in value for text in (name, _text(one))]
        else:
            found += [name, _text(value)]
    return found


def _text(value: object) -> str:
    return os.path.abspath(value) if isinstance(value, Path) else str(value)  # noqa: PTH100 - follows no link


# ------------------------------------------------------------ kinds of runs


def hosts_left(record: RunRecord) -> list[str]:
    """Given a run over hosts, return those that did not end well in it, or did not begin."""
    well: dict[str, bool] = {}
    for event in record.events:
        if event.kind == HOST_ENDED:
            code = event.fields.get("exit_code")
            ok = code == EXIT_OK if isinstance(code, int) else event.fields.get("state") == "done"
            well[str(event.fields.get("host"))] = ok
    return [host for host in record.command[1:] if not well.get(host, False)]


def same_command(record: RunRecord, left: Sequence[str]) -> list[str]:
    """Given a run and what it left, return the command line that does the same for that."""
    return [record.verb, *left, *_options(record), "--inventory", str(record.start.get("inventory"))]


_CHOOSING = frozenset({"--group", "--plan", "--save-plan", "--host"})
"""Options, each with a value, that say what is worked on: a run that is taken up names that itself."""


def same_subjects(record: RunRecord, left: Sequence[str]) -> list[str]:
    """Given a run that names snapshots, or a run, and the hosts that it left, return the same for these.

    Of hosts that were to go first, those that are left still do. What a plan file chose is chosen again; that
    plan itself was approved for servers that the run has changed since, so somebody is asked anew.
    """
    start = record.start
    said = start.get("subjects")
    subjects = said if isinstance(said, Mapping) else {}
    names = dict.fromkeys(str(name) for host in left for name in subjects.get(host, ()))
    line = [record.verb, *names]
    options = _options(record)
    there = {host.casefold() for host in left}
    words = iter(options)
    for word in words:
        if word in _CHOOSING:
            next(words, None)
        elif word == "--canary":
            first = next(words, "")
            line += [word, first] if first.casefold() in there else []
        elif word != "--latest" and not (word == "--yes" and "--plan" in options):
            line.append(word)
    chosen = start.get(_CHOSEN)
    line += map(str, chosen) if isinstance(chosen, list) else ()
    if record.verb == "undo":
        line += [text for host in left for text in ("--host", host)]
    return [*line, "--inventory", str(start.get("inventory"))]


def _options(record: RunRecord) -> list[str]:
    options = record.start.get("options")
    return list(map(str, options)) if isinstance(options, list) else []


def recovered_hosts(record: RunRecord) -> list[str]:
    """Given a run of a recovery, return all hosts that the recovery is of, whichever of them it worked on."""
    return list(dict.fromkeys(name for event in record.events for name in recover.plans_in(event)))


def same_recovery(record: RunRecord, left: Sequence[str]) -> list[str]:
    """Given a run of a recovery and the hosts that it left, return the command line that goes on with it."""
    words = iter(same_command(record, left))
    line: list[str] = []
    for word in words:
        if word in ("--at", "--snapshot", "--resume"):  # the recovery has its own: the newest, the first
            next(words, None)
        elif word not in ("--anew", "--planned"):
            line.append(word)
    return [*line, "--resume", recover.recovery_of(record)]


@dataclass(frozen=True, slots=True)
class Kind:
    """How the runs of one verb are taken up again."""

    left: Callable[[RunRecord], list[str]] = hosts_left
    """Given a run, what it left: hosts, or what else the verb works on; nothing if it did all."""
    line: Callable[[RunRecord, Sequence[str]], list[str]] = same_command
    """Given a run and what it left, the command line, without --repository and --json."""
    against: Callable[[RunRecord], str] = lambda record: ""
    """Given a run, why it cannot be resumed, in a clause; empty if it can."""
    asks: bool = False
    """Its command asks before it changes something, and takes --yes."""
    by_any: bool = False
    """Any of several runs that went on from each other stands for the last of them."""


def _dry(record: RunRecord) -> str:
    return "it was a dry run" if "--dry-run" in _options(record) else ""


def _restored(record: RunRecord) -> str:
    if "--plan" in _options(record) and _CHOSEN not in record.start:
        return "it is of an exremote that did not note what its plan file chose"
    return _dry(record)


KINDS: dict[str, Kind] = {
    "backup": Kind(against=_dry),
    "restore": Kind(line=same_subjects, against=_restored, asks=True),
    "undo": Kind(line=same_subjects, against=_dry, asks=True),
    "drill": Kind(line=same_subjects),
    "recover": Kind(recovered_hosts, same_recovery, asks=True, by_any=True),
}
"""By verb."""


CHANGING = frozenset({"restore", "undo"})
"""Verbs whose runs bring a host into a state: an older one has no business there behind a newer one."""


def stands_for_last(record: RunRecord) -> bool:
    """Return whether any run of its chain stands for the last one."""
    return (kind := KINDS.get(record.verb)) is not None and kind.by_any


def register(verb: str, kind: Kind) -> None:
    """Given a verb and how its runs are taken up again, have `resume` and `runs` know it."""
    KINDS[verb] = kind


# ------------------------------------------------------------ judging one run


@dataclass(frozen=True, slots=True)
class Later:
    """What later runs did about earlier ones."""

    successors: Mapping[str, RunRecord]
    """by run, the last one that took it up"""
    undone: Mapping[str, Mapping[str, str]]
    """by run and host, the one that undid it there; by an empty name, where it undid all of the run"""
    restored: Mapping[str, Sequence[RunRecord]] = field(default_factory=dict)
    """by host, the runs that changed it and came to their end there, the last first"""

    @classmethod
    def of(cls, records: Sequence[RunRecord]) -> Later:
        """Given runs, the last first, return what they did about each other."""
        successors: dict[str, RunRecord] = {}
        undone: dict[str, dict[str, str]] = {}
        restored: dict[str, list[RunRecord]] = {}
        for record in records:
            if record.verb in CHANGING:
                touched = {str(event.fields.get("host")) for event in record.events if event.kind == "safety"}
                for host in touched.difference(hosts_left(record)):
                    restored.setdefault(host, []).append(record)
            if resumes := record.start.get("resumes"):
                successors.setdefault(str(resumes), record)
            subjects = record.start.get("subjects")
            if record.verb != "undo" or not isinstance(subjects, Mapping):
                continue
            taken_back = undone.get(record.run_id, {})
            not_well = {*hosts_left(record), *taken_back}
            well = [host for host in record.command[1:] if host not in not_well]
            every = [""] if well and "--host" not in _options(record) else []
            for host, names in subjects.items():
                for name in names if isinstance(names, list) and host in well else ():
                    undone.setdefault(str(name), {}).update(dict.fromkeys((host, *every), record.run_id))
        return cls(successors, undone, restored)

    def overtook(self, record: RunRecord, host: str) -> str:
        """Given a run and a host that it left, return the run that has changed it since, to its end."""
        if record.verb not in CHANGING or record.started is None:
            return ""
        for other in self.restored.get(host, ()):
            if other.started is not None and other.started > record.started:
                return other.run_id
        return ""


def remnant(
    record: RunRecord,
    alive: Mapping[str, str],
    later: Later,
    recoveries: Mapping[str, PlanRefused | list[str]] = MappingProxyType({}),
) -> list[str]:
    """Given a run, return what of it is to be done still. Raise PlanRefused with a sentence if nothing is.

    `alive`: the runs that are alive, and who they are; `recoveries`: by run of a recovery its hosts, if one
    is not through, or why nobody goes on with it.
    """
    run = record.run_id
    ours = recoveries.get(run)
    if isinstance(ours, PlanRefused):
        raise ours
    kind = KINDS.get(record.verb)
    # A recovery goes back to its last good event by itself; all else would begin from a guess.
    if not record.count or not (record.intact or (kind is not None and kind.by_any)):
        why = record.problem or "its first line is not whole"
        raise PlanRefused(
            f"The journal of {run} does not say for sure what it was to do: {why}.",
            "Give its command again, with the hosts that `exremote snapshots` shows no snapshot of.",
        )
    if kind is None:
        able = ", ".join(sorted(KINDS))
        raise PlanRefused(
            f"{run} is a run of {record.verb}, which is not resumed (what is: {able}).",
            f"Give its command again: exremote {' '.join(record.command)}",
        )
    refuse_alive(run, alive)
    if run in later.successors and not kind.by_any:
        last = later.successors[run]
        raise PlanRefused(
            f"{run} was resumed already, by {last.run_id}.",
            f"If that one left something, resume it: exremote resume {last.run_id}",
        )
    if "options" not in record.start:
        raise PlanRefused(
            f"{run} is of an exremote that did not note its options.", "Give its command again."
        )
    if why := kind.against(record):
        raise PlanRefused(f"{run} cannot be resumed: {why}.", "Give its command again.")
    # Each run of a recovery may have ended well, and what one of them told counts no more: it was changed.
    left = ours or ([] if record.outcome == str(EXIT_OK) else kind.left(record))
    undone = later.undone.get(run, {}) if not kind.by_any else {}
    again = f"To do it again: exremote {shlex.join(_again(record))}"
    if left and ("" in undone or all(host in undone for host in left)):
        raise PlanRefused(f"{run} was undone since, by {next(iter(undone.values()))}.", again)
    left = [host for host in left if host not in undone]
    if not kind.by_any and (since := {host: by for host in left if (by := later.overtook(record, host))}):
        if len(since) == len(left):
            host, by = next(iter(since.items()))
            raise PlanRefused(f"What {run} left is no more to be done: {by} has changed {host} since.", again)
        left = [host for host in left if host not in since]
    if not left:
        raise PlanRefused(
            f"There is nothing to resume: all that {run} was to do, it did.",
            f"`exremote runs {run}` tells what. {again}",
        )
    return left


def _again(record: RunRecord) -> Sequence[str]:
    """Given a run of which nothing is left, return what does it again: it may have named no hosts."""
    return same_subjects(record, record.command[1:]) if "subjects" in record.start else record.command


def refuse_alive(run: str, alive: Mapping[str, str]) -> None:
    """Given a run, and the runs that are alive with who they are, raise PlanRefused if it is one of them."""
    if run in alive:
        raise PlanRefused(
            f"{run} is running still ({alive[run]}).",
            "Wait for its end, or interrupt it. If its machine is gone for good, use `exremote unlock`.",
        )


def command_for(
    record: RunRecord,
    alive: Mapping[str, str],
    later: Later,
    recoveries: Mapping[str, PlanRefused | list[str]] = MappingProxyType({}),
) -> str:
    """Given a run, return the command that resumes it; empty if it is not to be resumed."""
    try:
        remnant(record, alive, later, recoveries)
    except PlanRefused:
        return ""
    return f"exremote resume {record.run_id}"


def with_options(record: RunRecord) -> RunRecord:
    """Given the last run of a chain, return the last one whose options it says: to give one host up is a run
    of its own, and the others go on as they were begun.
    """
    while "options" not in record.start and isinstance(before := record.start.get("before"), Mapping):
        path = record.path.with_name(f"{before.get('run')}.jsonl")
        if not path.is_file():
            break
        record = read_run(path)
    return record


def told(left: Sequence[str], record: RunRecord, line: Sequence[str]) -> str:
    """Given what is left of a run, and the command line for it, return what is said when it is taken up."""
    total = len(record.command) - 1
    some = ", ".join(left[:5]) + (" ..." if len(left) > 5 else "")
    of = f" of {total}" if total != len(left) else ""
    said = f"resuming {record.run_id}: {record.verb} of {count_text(len(left), 'host')}{of}: {some}"
    if _CHOSEN not in record.start:
        return said
    return (
        f"{said}\nits plan file was approved before it changed anything: what is left is planned anew, and "
        f"asked, by exremote {shlex.join(line)}"
    )


def nested(context: typer.Context, line: Sequence[str], run: str, *, planned: bool = False) -> int:
    """Given a context, a command line and the run that it takes up, carry it out. Return its exit code.

    `planned`: it is the backup with which a recovery begins, whatever became of an earlier one.
    """
    root: Any = context.find_root().command
    said = {"resumes": run, "planned": planned}
    code = root.main(args=list(line), prog_name="exremote", standalone_mode=False, obj=said)
    return code if isinstance(code, int) else EXIT_OK
