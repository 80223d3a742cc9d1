"""Drills: when a snapshot was last proven to restore, noted in the repository. It proves nothing itself."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from exremote.errors import IntegrityError
from exremote.repository import disk
from exremote.repository.names import checked_host
from exremote.repository.snapshot import Snapshot

FOLDER = "proofs"
_LONGEST = 1 << 24
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Proof:
    """One drill of one snapshot."""

    run: str
    """the run"""
    at: datetime
    """UTC"""
    green: bool
    """whether everything was brought, compared and found equal"""
    host: str
    """where it was tried"""
    seconds: float
    """how long it took, verification and comparison included"""
    files: int
    """files that were compared"""
    values: int
    """registry values that were compared"""
    said: str = ""
    """what was not equal, or could not be checked; empty if green"""


def record(root: Path, snapshot: Snapshot, proof: Proof) -> None:
    """Given the repository's folder and a drill of a snapshot, note it. Raise RepositoryError."""
    path = _path(root, snapshot)
    line = {
        "run": proof.run,
        "at": proof.at.astimezone(UTC).isoformat(),
        "green": proof.green,
        "host": proof.host,
        "seconds": round(proof.seconds, 3),
        "files": proof.files,
        "values": proof.values,
        "said": proof.said[:1000],
    }
    with disk.said(path, "recording a drill"):
        disk.make_folder(path.parent)
        disk.append_line(path, json.dumps(line, separators=(",", ":")).encode())


def proofs(root: Path, snapshot: Snapshot) -> tuple[Proof, ...]:
    """Given a snapshot, return its drills, oldest first. What is no such line does not count.

    Raise IntegrityError if the record cannot be read.
    """
    path = _path(root, snapshot)
    try:
        lines = disk.read_whole(path, _LONGEST).splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise IntegrityError(
            f"the record of drills cannot be read: {error.strerror or error}.",
            path=path,
            entry=path.name,
            remedy="Move it away; the next drill begins another one.",
        ) from error
    found = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
            found.append(_read(line))
    return tuple(found)


def _read(line: bytes) -> Proof:
    if len(line) > _LONGEST_LINE:
        raise ValueError("too long")
    data = json.loads(line)
    at = datetime.fromisoformat(str(data["at"]))
    if at.tzinfo is None or not isinstance(data["green"], bool):
        raise ValueError("no drill")
    return Proof(
        str(data["run"]),
        at.astimezone(UTC),
        data["green"],
        str(data["host"]),
        float(data["seconds"]),
        int(data["files"]),
        int(data["values"]),
        str(data["said"]),
    )


def forget(root: Path, snapshot: Snapshot) -> None:
    """Given a snapshot that is taken out, remove what is noted of its drills. Raise OSError."""
    path = _path(root, snapshot)
    if not disk.is_link(path.parent):
        disk.remove(path)


def _path(root: Path, snapshot: Snapshot) -> Path:
    return root / FOLDER / checked_host(snapshot.host) / f"{snapshot.id}.jsonl"
