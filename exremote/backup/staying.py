"""A .bkf that stays on its host, or on a share: put where it lives once it was proven, older ones taken away.

An older one goes only if no snapshot names it any more (`forget` decides that), and only after a newer one
was proven and its snapshot committed. It takes away nothing but what this repository had put there.
"""

from __future__ import annotations

from collections.abc import Iterator

from exremote.errors import HostError, PlanRefused, RepositoryError, ScriptFailed
from exremote.facts import TapeFile
from exremote.folding import folded
from exremote.journal import Journal
from exremote.ntbackup import Part
from exremote.pack import ticks_to_datetime
from exremote.plan import RunNtBackup, Step
from exremote.repository import Elsewhere, Kept, Repository
from exremote.runner import JobEnd
from exremote.session import Session


def put_aside(
    repository: Repository, journal: Journal, session: Session, host: str, step: RunNtBackup, end: JobEnd
) -> tuple[Elsewhere | None, str]:
    """Given a job whose .bkf was proven on the host, put that where it lives. Return it, or why it is not.

    It is noted before it is moved: whatever ends the run between, a later one knows that it is there.
    """
    assert end.file is not None
    name, file = f"{end.job.name}.bkf", end.file
    place = f"{step.keep_in}\\{name}"
    repository.distant.note(host, Kept(place, file.size, file.sha256))
    if not step.on_share and (why := _move(session, step, name, place, file)):
        return None, why
    journal.event("bkf-stays", host=host, item=step.item, place=place, bytes=file.size, sha256=file.sha256)
    modified = ticks_to_datetime(file.modified_ticks)
    return Elsewhere(step.item, name, place, file.size, file.sha256, modified), ""


def _move(session: Session, step: RunNtBackup, name: str, place: str, file: TapeFile) -> str:
    """Given a proven .bkf in its job's folder, move it to its place. Return why it is not there, or ''."""
    try:
        (deed,) = session.move_aside(step.folder, step.keep_in, [name])
        (there,) = session.file_facts([place], hashed=False)
    except (ScriptFailed, PlanRefused) as error:
        return f"it could not be moved to {place}: {error.text}"
    if deed.state != "moved":
        return f"it could not be moved to {place}: {deed.message or deed.state}"
    if not there.exists or there.size != file.size:
        return f"it was moved to {place}, and is not there in its size of {file.size} bytes"
    return ""


def share_trouble(session: Session, folder: str) -> str:
    """Given the folder on a share, return why it is not to be had, '' if it is. Raise HostError."""
    try:
        session.check_share(folder)
    except ScriptFailed as error:
        return (
            f"{error.message} {error.remedy} Nothing was started, and what an earlier run left is as it was"
        )
    return ""


def note_ahead(repository: Repository, host: str, step: Step) -> None:
    """Given a job that is about to start, note the .bkf that it writes to a share, for it may never be seen
    again from here. Raise RepositoryError.
    """
    if isinstance(step, RunNtBackup) and step.on_share and not step.adopt:
        repository.distant.note(host, Kept(f"{step.tape_folder}\\{step.name}.bkf", 0, ""))


def drop(
    repository: Repository, journal: Journal, session: Session, host: str, step: RunNtBackup, end: JobEnd
) -> Iterator[str]:
    """Given a job that was no backup, take what it wrote to a share from there. Yield warnings.

    One that was taken over may be another repository's, which has proven it meanwhile.
    """
    if not step.on_share:
        return
    place = f"{step.tape_folder}\\{end.job.name or step.name}.bkf"
    try:
        ours = {folded(kept.place) for kept in repository.distant.unnamed(host)}
    except RepositoryError as error:
        yield f"{place}, which is no backup, is still on the share: {error.text}"
        return
    if folded(place) in ours:
        kept = Kept(place, max(end.job.bytes, 0), "")
        yield from _remove(repository, journal, session, host, kept, "which is no backup")


def take_away(
    repository: Repository, journal: Journal, session: Session, host: str, part: Part
) -> Iterator[str]:
    """Given a host, and the part of which a newer .bkf was proven, take away what no snapshot names.

    What was noted before it was proven may be another part's that still waits in its job's folder.
    Yield warnings.
    """
    try:
        old = repository.distant.unnamed(host)
    except RepositoryError as error:
        yield f"no old .bkf was taken from the host: {error.text}"
        return
    for kept in old:
        if kept.sha256 or f"\\exremote-{part}-" in kept.place:
            yield from _remove(repository, journal, session, host, kept, "which no snapshot names any more")


def _remove(
    repository: Repository, journal: Journal, session: Session, host: str, kept: Kept, what: str
) -> Iterator[str]:
    """Given a .bkf that is of no use, remove it, and note that it is gone. Yield why it is not."""
    folder, _, name = kept.place.rpartition("\\")
    where = "share" if folder.startswith("\\\\") else "host"
    still = f"{kept.place}, {what}, is still on the {where}"
    try:
        left = session.remove_ntbackup_job(folder, name.removesuffix(".bkf"))
    except HostError as error:
        yield f"{still}: {error.message}"
        return
    if folded(name) in (folded(each) for each in left.left):
        yield f"{still}: {left.error}"
        return
    repository.distant.gone(host, kept.place)
    journal.event("bkf-removed", host=host, place=kept.place, bytes=kept.size)
