"""Files that are there whole or not at all: what others read meanwhile. It knows no content."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from exremote.errors import UsageError

_PATIENCE_S = 2.0
"""How long another program may hold a file open that is to be replaced: on Windows nobody can, then."""


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Given contents by path, write each to a file beside its place, then put all in their places.

    A reader sees what was there or what is to be, never a part. Raise UsageError if one cannot be written:
    then none of those behind it is, and no half a file stays.
    """
    waiting: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            # A link stays one: what it leads to is replaced.
            place = Path(os.path.realpath(path))
            if place.exists() and not place.is_file():
                what = "a folder" if place.is_dir() else "no ordinary file"
                raise UsageError(f"{path} is {what}.", "Name a file, or `-` for standard output.")
            beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
            with _refused(path):
                _write(beside, data, waiting, place)
        for beside, place in list(waiting.items()):
            with _refused(place):
                _replace(beside, place)
            del waiting[beside]
    finally:
        for beside in waiting:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _write(beside: Path, data: bytes, waiting: dict[Path, Path], place: Path) -> None:
    # Others may read it as they may read any file that this user makes: a monitor is another user.
    with beside.open("xb") as file:
        waiting[beside] = place
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(beside: Path, place: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            beside.replace(place)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Given a file, say as a UsageError what the system refuses."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.", "Name another file."
        ) from error
