"""What a person needs at the console, put there: the verified .bkf of each set, and a text with what to do.

It writes into a folder of its own on the new machine, and touches nothing else.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from exremote.errors import PlanRefused, ScriptFailed
from exremote.facts import HostFact
from exremote.folding import folded
from exremote.mtf import walk
from exremote.pack import datetime_to_ticks
from exremote.recover.instructions import console_text
from exremote.recover.original import is_tape
from exremote.recover.steps import Evidence, RecoveryPlan
from exremote.repository import Elsewhere, Repository
from exremote.restore import verify_whole
from exremote.session import Session
from exremote.transfer import Outgoing, push_files
from exremote.wording import count_text, size_text

READ_ME = "READ-ME.txt"
SPARE = 256 << 20
"""Bytes that stay free on the drive."""


def bring_files(
    plan: RecoveryPlan,
    repository: Repository,
    session: Session,
    fact: HostFact,
    expect: Callable[[int, int], None],
    moved: Callable[[int, int], None],
) -> list[Evidence]:
    """Given a plan and an open session with the new machine, put the files there. Return the evidence.

    Only what is not there is sent; each file is read back on the host. Raise PlanRefused if there is no room,
    IntegrityError if a snapshot is damaged, HostError.
    """
    files: list[Outgoing] = []
    away: list[tuple[str, Elsewhere]] = []
    for part in ("systemstate", "storagegroups"):
        saved = plan.part(part)
        if saved is None:
            continue
        snapshot = repository.find(saved.snapshot)
        verify_whole(repository, [snapshot])
        away += [(part, one) for one in snapshot.manifest.elsewhere]
        files += [
            Outgoing(
                f"{part}\\{entry.path}",
                snapshot.file(entry),
                entry.size,
                entry.sha256,
                datetime_to_ticks(entry.modified),
                entry.attributes,
            )
            for entry in snapshot.manifest.entries
            if is_tape(entry.path)
        ]
    text = read_me(plan)
    with tempfile.TemporaryDirectory(prefix="exremote-") as folder:
        source = Path(folder) / READ_ME
        source.write_bytes(text)
        files.append(
            Outgoing(
                READ_ME,
                source,
                len(text),
                hashlib.sha256(text).hexdigest(),
                datetime_to_ticks(plan.original.as_of),
            )
        )
        size = sum(file.size for file in files)
        there = {
            folded(entry.path): entry.size for entry in session.file_tree(plan.folder, hashed=False).entries
        }
        lacking = sum(max(0, file.size - there.get(folded(file.path), 0)) for file in files)
        _room(plan, fact, lacking)
        expect(len(files), lacking)
        pushed = push_files(session, plan.folder, files, fresh=not there, progress=moved)
    found = [
        Evidence("files", "wrong", f"{path} could not be written: {reason}", "See to it, then go on.")
        for path, reason in pushed.failed
    ]
    if found:
        raise PlanRefused(f"{plan.host}: {found[0].said}.", found[0].remedy)
    return [
        Evidence(
            "files",
            "ok",
            f"{count_text(len(files), 'file')} ({size_text(size)}) in {plan.folder}, each read back there",
        ),
        *(_found(plan, session, part, one) for part, one in away),
    ]


def _found(plan: RecoveryPlan, session: Session, part: str, one: Elsewhere) -> Evidence:
    """Given a .bkf whose content is not in the repository, find it on the new machine, read from end to end.

    Return the evidence. Raise PlanRefused if a person has to copy it there, HostError.
    """
    due = f"{plan.folder}\\{part}\\{one.path}"
    shared = one.place.startswith("\\\\")
    for place in (due, one.place):
        try:
            file, tape = session.read_tape(place, walk)
        except ScriptFailed as error:
            if not shared or place == due:
                raise
            raise PlanRefused(
                f"{plan.host}: the .bkf of {part} is not in the repository, and whether {place} is it, "
                f"the new machine could not see: {error.message}",
                f"{error.remedy} Or copy it from there to {due} ({one.size} bytes, SHA-256 {one.sha256}); "
                "then go on.".strip(),
            ) from None
        if (file.size, file.sha256) == (one.size, one.sha256) and tape.whole:
            return Evidence("files", "ok", f"{place} is the .bkf of {part}, read there from end to end")
    there = "on the new machine"
    which = f"{due} {there} nor {one.place}" if shared else f"{due} nor {one.place} {there}"
    source = "a copy of it" if shared else "the lost server's disk, or from a copy of it,"
    what = "Bring it from" if shared else f"Copy {one.place} from"
    raise PlanRefused(
        f"{plan.host}: the .bkf of {part} is not in the repository, and neither {which} is that file.",
        f"{what} {source} to {due} ({one.size} bytes, SHA-256 {one.sha256}), then go on.",
    )


def read_me(plan: RecoveryPlan) -> bytes:
    """Given a plan, return the text that lies beside the files, as Notepad reads it."""
    return console_text(plan.host, plan.folder, plan.steps).replace("\n", "\r\n").encode("utf-8-sig")


def _room(plan: RecoveryPlan, fact: HostFact, lacking: int) -> None:
    disk = fact.disk_of(plan.folder)
    if disk is None:
        raise PlanRefused(f"{plan.host}: there is no drive {plan.folder[:3]} on the new machine.", "Make it.")
    if lacking + SPARE > disk.free:
        raise PlanRefused(
            f"{plan.host}: {disk.root} has {size_text(disk.free)} free, and {size_text(lacking + SPARE)} "
            "are needed.",
            "Make room there.",
        )
