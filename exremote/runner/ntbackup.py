"""One job of ntbackup: started or taken over, watched, brought home, walked through. It judges nothing.

The job's files stay on the host until the snapshot that holds them was committed and read back: a run that is
killed leaves a job that the next one takes over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exremote.errors import HostError, RepositoryError, ScriptFailed
from exremote.facts import FileEntry, NtBackupJob, TapeFile
from exremote.mtf import Found, Tape, walk
from exremote.ntbackup import LogSays, decoded, read_log
from exremote.plan import RunNtBackup
from exremote.repository import Entry, Omission, Repository, Staging
from exremote.session import Session
from exremote.transfer import Carrier, Copied, Progress, pull_files, pull_tree

FIRST_LOOK_S, LAST_LOOK_S = 0.2, 15.0
"""Seconds between two looks at a job, at first and after a while."""
BEGIN_S = 120.0
"""Seconds in which a scheduled task that was started has to begin its job."""
LONGEST_LOG = 4 << 20
LISTED = 50_000
"""Files that the catalogue names; the rest is counted."""
PIECE = 1 << 20

Tell = Callable[[str, dict[str, object]], None]
Reserve = Callable[[Mapping[str, int]], None]
"""Given digests and sizes, sets room apart for them. Raises RepositoryError if there is none."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended, and what was found in what it wrote."""

    job: NtBackupJob
    """As the host said at the end."""
    stopped: str = ""
    """Why it was ended before its own end, in words; '' if it was not."""
    private: bool = True
    """False if others than administrators could read its folder."""
    log: LogSays | None = None
    """What its log says; None if none was found or could be had."""
    tape: Tape | None = None
    """What its .bkf holds; None if there is none here."""
    catalogue: bytes = b""
    """What lies on the tape, a line each."""
    file: TapeFile | None = None
    """The .bkf as it lies on the host or a share, where it is to stay there; None if it came home."""
    unseen: str = ""
    """Why nobody can tell whether there is a .bkf: the share that it was written to is away; '' else."""

    @property
    def done(self) -> bool:
        """Return whether the host needs its files no more: the .bkf is here, or will never be any good."""
        return not self.unseen and self._over

    @property
    def _over(self) -> bool:
        return self.tape is not None or bool(self.stopped) or self.job.state != "Ended" or self.job.bytes < 0


def run_ntbackup(
    step: RunNtBackup,
    session: Session,
    carrier: Carrier,
    repository: Repository,
    staging: Staging,
    tell: Tell,
    progress: Progress,
    reserve: Reserve,
) -> tuple[JobEnd, Copied]:
    """Given a job, see it through. Return how it ended and what came home. Raise HostError."""
    private = True if step.adopt else _start(step, session)
    job, stopped = _watch(step, session, tell)
    tell("job-ended", {"job": job.name, "state": job.state, "exit": job.exit_code, "bytes": job.bytes})
    good = job.state == "Ended" and not stopped
    copied = _fetch(step, job, good, session, carrier, repository, staging, progress, reserve)
    by_path = {entry.path: entry for entry in copied.entries if entry.item == step.item}
    tape: Tape | None = None
    file: TapeFile | None = None
    catalogue, unseen = b"", ""
    if step.keep_in and good and (job.bytes >= 0 or step.on_share):
        try:
            file, (tape, catalogue) = session.read_tape(
                f"{step.tape_folder}\\{job.name}.bkf", lambda pieces: walked(pieces, progress)
            )
            if not file.exists:
                file, tape, catalogue = None, None, b""
        except ScriptFailed as error:
            where = "share" if step.on_share else "host"
            stays = f"It stays on the {where}; a run within a day looks again. {error.message}"
            if step.on_share and job.exit_code:
                stays = error.message  # it is no backup, whatever lies there
            copied = replace(copied, missing=(*copied.missing, Omission(f"{job.name}.bkf", stays)))
            if step.on_share and not job.exit_code:
                unseen = f"nobody could look at it: {error.message}"
    elif (bkf := by_path.get(f"{job.name}.bkf")) is not None:
        tape, catalogue = walked(_pieces(repository.object_path(bkf.sha256)), progress)
    log = next((entry for entry in copied.entries if entry.item == _log_item(step)), None)
    says = None if log is None else read_log(_text(repository, log), job.name)
    return JobEnd(job, stopped, private, says, tape, catalogue, file, unseen), copied


def _start(step: RunNtBackup, session: Session) -> bool:
    """Given a job, start it. Return whether its folder is closed to others. Raise HostError."""
    if step.clear:
        session.remove_ntbackup_job(step.folder, step.clear)
    try:
        if step.start in ("system", "task"):
            task = step.task if step.start == "task" else ""
            return session.start_ntbackup_task(
                step.folder, step.name, step.lines, step.arguments, task
            ).private
        how = {"wmi": "Wmi", "direct": "Direct"}[step.start]
        return session.start_ntbackup(step.folder, step.name, step.lines, step.arguments, how).private
    except HostError as error:
        said = error.error_id if isinstance(error, ScriptFailed) else ""
        # Where the answer alone was lost, it may have started all the same: then it is there.
        if said.startswith("ExRemote."):
            raise
        job = session.ntbackup_job(step.folder)
        if job.name != step.name:
            raise
        if job.state == "Waiting":
            return True
        if not job.process_id and not job.others and job.bytes < 0 and job.state == "Lost":
            session.remove_ntbackup_job(step.folder, step.name)
            raise ScriptFailed(
                session.host.name,
                f"ntbackup was not started: {error.message}",
                script="Start-NtBackupJob",
                error_id="Session.NotStarted",
                remedy='Look whether WMI answers on the host, or say start = "direct" in its table ntbackup.',
            ) from error
        return True


def _watch(step: RunNtBackup, session: Session, tell: Tell) -> tuple[NtBackupJob, str]:
    """Given a job that was started, look at it until it has ended, or has to be. Return it, and why.

    The host's own deadline bounds it all: what it leaves behind, the next run takes over.
    """
    tapes = step.tape_folder if step.on_share else ""
    wait_s, size = FIRST_LOOK_S, -1
    begun = grew = time.monotonic()
    while True:
        job = session.ntbackup_job(step.folder, tapes)
        if job.state == "Waiting":
            _not_too_long(step, session, job, time.monotonic() - begun)
            grew = time.monotonic()
        elif job.state != "Running":
            return job, ""
        elif job.bytes != size:
            size, grew = job.bytes, time.monotonic()
        elif (still := time.monotonic() - grew) > step.stall_s:
            written = f"it had written {max(size, 0)} bytes, and then nothing for {still:.0f} s"
            ended = session.remove_ntbackup_job(step.folder, job.name, end=True, keep=True)
            tell("job-stopped", {"job": job.name, "reason": written, "processes": ended.ended})
            how = "so it was ended" if ended.ended else f"and it could not be ended: {ended.error}"
            return session.ntbackup_job(step.folder, tapes), f"it hung ({written}), {how}"
        session.pause(wait_s)
        wait_s = min(wait_s * 1.5, LAST_LOOK_S)


def _not_too_long(step: RunNtBackup, session: Session, job: NtBackupJob, waited_s: float) -> None:
    """Given a job that its task has not begun, see that it never will if that takes too long.

    Raise ScriptFailed then, or HostError.
    """
    if waited_s <= min(BEGIN_S, step.stall_s):
        return
    try:
        session.remove_ntbackup_job(step.folder, job.name)
    except ScriptFailed as error:
        if error.error_id == "ExRemote.JobRunning":
            return  # it has begun meanwhile
        raise
    which = f"the task {step.task}" if step.task else f"the task {job.name} of the system"
    raise ScriptFailed(
        session.host.name,
        f"{which} was started, and has not begun the job for {waited_s:.0f} s; it will not any more.",
        script="Start-NtBackupTask",
        error_id="Session.NotStarted",
        remedy="Look at that task on the host: whether it is disabled, its account's password is right, "
        f"and it runs {step.folder.rpartition(chr(92))[0]}\\task\\start.cmd."
        if step.task
        else "Look into the host's log of its Task Scheduler (SchedLgU.txt).",
    )


def _fetch(
    step: RunNtBackup,
    job: NtBackupJob,
    good: bool,
    session: Session,
    carrier: Carrier,
    repository: Repository,
    staging: Staging,
    progress: Progress,
    reserve: Reserve,
) -> Copied:
    """Given a job that ended, bring its files and its log here. Of one that ended badly no .bkf is wanted."""
    tape = f"{job.name}.bkf"
    wanted = good and not step.keep_in
    # Hashing a large one takes as long as the disk needs; the host's own deadline holds.
    tree = session.file_tree(step.folder, () if wanted else (tape,), deadline_s=session.host.deadlines.host_s)
    listing: Sequence[FileEntry] = tree.entries
    lacking = {e.sha256: e.size for e in listing if e.state == "file" and e.sha256}
    try:
        reserve({sha256: size for sha256, size in lacking.items() if not repository.has(sha256, size)})
    except RepositoryError as error:
        reason = f"{error.text} It stays on the host; a run within a day fetches it."
        return Copied(missing=(Omission(f"{step.folder}\\{tape}", reason),))
    mine = pull_tree(
        carrier,
        repository,
        staging,
        item=step.item,
        root=step.folder,
        listing=listing,
        secret=("*",),
        left_out=f"it is looked at where it lies, and stays in {step.keep_in} if it is good"
        if good
        else "the job came to no good end, so what it wrote is no backup",
        progress=progress,
    )
    if not job.log:
        return mine
    folder, _, name = job.log.rpartition("\\")
    log = pull_files(
        carrier, repository, staging,
        item=_log_item(step), root=folder, names=[name], secret=True, progress=progress,
    )  # fmt: skip
    return Copied(
        (*mine.entries, *log.entries),
        mine.omitted,
        mine.missing + log.missing,
        mine.sent_files + log.sent_files,
        mine.sent_bytes + log.sent_bytes,
    )


def _log_item(step: RunNtBackup) -> str:
    return f"{step.item}-log"


def _text(repository: Repository, entry: Entry) -> str:
    with repository.object_path(entry.sha256).open("rb") as file:
        return decoded(file.read(LONGEST_LOG))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def walked(pieces: Iterable[bytes | int], progress: Progress) -> tuple[Tape, bytes]:
    """Given a .bkf, walk through it. Return what was found, and its catalogue."""
    lines = ["set\tkind\tsize\tmodified\tcorrupt\tpath\n"]
    more = 0

    def note(found: Found) -> None:
        nonlocal more
        if len(lines) > LISTED:
            more += 1
            return
        # The tape's own words: no tab or line end of them may make another line.
        path = "".join(letter if letter.isprintable() else "?" for letter in found.path)
        corrupt = "corrupt" if found.corrupt else "-"
        size = str(found.size) if found.size >= 0 else "-"
        lines.append(f"{found.number}\t{found.kind}\t{size}\t{found.modified or '-'}\t{corrupt}\t{path}\n")

    def watched() -> Iterator[bytes | int]:
        for piece in pieces:
            progress(0, 0)  # an interrupt ends it here
            yield piece

    tape = walk(watched(), note)
    if more:
        lines.append(f"# and {more} more\n")
    return tape, "".join(lines).encode("utf-8", "replace")
