"""A .bkf that stays on its host: put where it lives once it was proven there, and older ones taken away.

An older one goes only if no snapshot names it any more (`forget` decides that), and only after a newer one
was proven and its snapshot committed. It takes away nothing but what this repository had put there.
"""

from __future__ import annotations

from collections.abc import Iterator

from exremote.errors import HostError, PlanRefused, RepositoryError, ScriptFailed
from exremote.journal import Journal
from exremote.pack import ticks_to_datetime
from exremote.plan import RunNtBackup
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
    try:
        (deed,) = session.move_aside(step.folder, step.keep_in, [name])
        (there,) = session.file_facts([place], hashed=False)
    except (ScriptFailed, PlanRefused) as error:
        return None, f"it could not be moved to {place}: {error.text}"
    if deed.state != "moved":
        return None, f"it could not be moved to {place}: {deed.message or deed.state}"
    if not there.exists or there.size != file.size:
        return None, f"it was moved to {place}, and is not there in its size of {file.size} bytes"
    journal.event("bkf-stays", host=host, item=step.item, place=place, bytes=file.size, sha256=file.sha256)
    modified = ticks_to_datetime(file.modified_ticks)
    return Elsewhere(step.item, name, place, file.size, file.sha256, modified), ""


def take_away(repository: Repository, journal: Journal, session: Session, host: str) -> Iterator[str]:
    """Given a host of which a newer .bkf was proven, take away what no snapshot names. Yield warnings."""
    try:
        old = repository.distant.unnamed(host)
    except RepositoryError as error:
        yield f"no old .bkf was taken from the host: {error.text}"
        return
    for kept in old:
        folder, _, name = kept.place.rpartition("\\")
        try:
            left = session.remove_ntbackup_job(folder, name.removesuffix(".bkf"))
        except HostError as error:
            yield f"{kept.place}, which no snapshot names any more, is still on the host: {error.message}"
            continue
        if name.casefold() in (each.casefold() for each in left.left):
            yield f"{kept.place}, which no snapshot names any more, is still on the host: {left.error}"
            continue
        repository.distant.gone(host, kept.place)
        journal.event("bkf-removed", host=host, place=kept.place, bytes=kept.size)
