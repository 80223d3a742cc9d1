"""Whether a job of ntbackup is a backup: from exit code and log and .bkf together. Pure: it asks nobody.

No one of the three is enough: a log can claim success over a truncated file (KB 828092), exit codes are
documented nowhere, and a .bkf that was cut between two sets is well formed in all else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from exremote.facts import NtBackupJob
from exremote.health import Finding, Verdict
from exremote.mtf import DataSet, Tape
from exremote.ntbackup import LogSays
from exremote.runner import JobEnd

SOURCE = "KB 828092, and published scripts that hold exit code, log and file against each other"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """What speaks against a backup, and what nobody can tell."""

    bad: tuple[tuple[str, str], ...] = ()
    """What, and why: each makes it a failed backup."""
    unknown: tuple[tuple[str, str], ...] = field(default=())
    """Id of the check, and what could not be told."""


def judge_job(end: JobEnd, sets: Sequence[str]) -> Judgement:
    """Given how a job ended and the sets that it was to write, return what speaks against it."""
    bad = [("ntbackup", why) for why in _of_process(end.job, end.stopped)]
    unknown: list[tuple[str, str]] = []
    if end.tape is not None:
        bad += [("the .bkf", why) for why in _of_tape(end.tape, sets)]
        unknown += [("ntbackup.bkf", why) for why in _doubts(end.tape, sets, end.job.name)]
    elif not bad:
        none = "ntbackup has written none" if end.job.bytes < 0 else "it did not come home"
        bad.append(("the .bkf", end.unseen or none))
    if end.log is None:
        unknown.append(("ntbackup.log", "no log was found that is newer than the start of the job"))
    else:
        bad += [("the log", why) for why in _of_log(end.log, len(sets))]
        unknown += [("ntbackup.log", why) for why in _log_doubts(end.log)]
    return Judgement(tuple(bad), tuple(unknown))


def findings_of(host: str, part: str, judgement: Judgement) -> tuple[Finding, ...]:
    """Given a judgement, return its unknowns as findings: what is unknown is never well."""
    titles = {
        "ntbackup.log": "the log of ntbackup says that nothing was skipped",
        "ntbackup.bkf": "the .bkf is what the descriptions of its format say",
    }
    remedy = "Read the log in the snapshot, or prove the backup by a restore on another machine."
    return tuple(
        Finding(check, host, part, Verdict.UNKNOWN, titles[check], evidence, remedy, SOURCE, "S")
        for check, evidence in judgement.unknown
    )


def _of_process(job: NtBackupJob, stopped: str) -> Iterator[str]:
    if stopped:
        yield stopped
    elif job.state == "Lost":
        yield "it neither runs nor left an exit code: something ended it, or the host was started anew"
    elif job.state != "Ended":
        yield "its folder is empty: somebody took the job away"
    elif job.exit_code:
        yield f"it ended with exit code {job.exit_code}"


def _of_tape(tape: Tape, sets: Sequence[str]) -> Iterator[str]:
    if tape.faults:
        more = len(tape.faults) - _SHOWN + tape.more_faults
        shown = "; ".join(fault.text for fault in tape.faults[:_SHOWN])
        yield shown + (f"; and {more} more" if more > 0 else "")
    if len(tape.sets) < len(sets):
        yield f"it holds {len(tape.sets)} of {len(sets)} sets that were asked for ({', '.join(sets)})"
    for one in tape.sets:
        if one.closed and not one.bytes:
            yield f"set {one.number} ({one.name or 'without a name'}) is empty"


def _doubts(tape: Tape, sets: Sequence[str], job: str) -> Iterator[str]:
    yield from tape.doubts
    if tape.faults:
        return
    if len(tape.sets) > len(sets):
        yield f"it holds {len(tape.sets)} sets, and {len(sets)} were asked for"
    elif len(tape.sets) == len(sets):
        pairs = zip(sets, tape.sets, strict=True)
        if strange := [f"{asked!r} is called {_names(one)}" for asked, one in pairs if not _is(asked, one)]:
            yield "names of sets are others than those asked for: " + "; ".join(strange)
    if job.casefold() not in tape.media_name.casefold():
        yield f"it does not name this job (it calls itself {tape.media_name!r})"


def _is(asked: str, one: DataSet) -> bool:
    """Return whether a set says that it is what was asked for: by device, or by its own name."""
    names = {name.strip().rstrip("\\").casefold() for name in (*one.volumes, one.name, one.description)}
    return asked.casefold() in names


def _names(one: DataSet) -> str:
    return " / ".join(repr(name) for name in dict.fromkeys((*one.volumes, one.name)) if name) or "nothing"


def _of_log(log: LogSays, sets: int) -> Iterator[str]:
    if lines := log.bad:
        more = f" (and {len(lines) - _SHOWN} more)" if len(lines) > _SHOWN else ""
        yield " ".join(lines[:_SHOWN]) + more
    if log.language and log.named and log.completed < sets and not log.bad:
        yield f"it says of {log.completed} of {sets} sets that they are complete"


def _log_doubts(log: LogSays) -> Iterator[str]:
    if not log.language:
        yield (
            "the words of its language are not known to exremote, so that it cannot say whether anything was "
            "skipped"
        )
    if not log.named:
        yield "the newest log since the start of the job does not name the job"
    if log.warnings:
        yield f"it warns: {' '.join(log.warnings[:_SHOWN])}"
