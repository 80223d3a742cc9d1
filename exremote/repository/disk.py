"""What the repository asks of a file system, on Linux and on Windows. It never knows what the files are for.

Everything written goes through here: exclusive creation, whole writes, data on the disk before a name says
so, and errors of the system as RepositoryError with a remedy.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from exremote.errors import RepositoryError

PIECE = 1 << 20
"""Bytes read at a time."""

KEPT = 0o400
"""What is in place is read-only and for its owner alone: a backup says all of a server."""

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_ON_WINDOWS = {39, 112}
NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP}
"""There is no ordinary file of that name: not the system's refusal, but damage of what should be there."""
_HELD_ON_WINDOWS = {5, 32, 145}
"""Access denied, sharing violation, directory not empty: the last while deleted names are still held."""
_WAITS_S = (0.05, 0.1, 0.25, 0.6, 1.0)
_DENIED = {errno.EACCES, errno.EPERM}
_LEADING = {0xA0000003, 0xA000000C}
"""Tags of Windows: a junction or mounted volume, a symbolic link. Python 3.11 calls a junction a folder."""


CLEAR = "delete what is under partial/"
"""What to do with what a full disk left unfinished in a repository."""


@contextmanager
def said(path: Path, what: str, clear: str = CLEAR) -> Iterator[None]:
    """Given what is being done, let it be done. Raise RepositoryError, in words, if the system refuses.

    `clear` says what to do with what a full disk leaves unfinished.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, path, what, clear) from error


def refusal(error: OSError, path: Path, what: str, clear: str = CLEAR) -> RepositoryError:
    """Given what the system said, return the sentence and the remedy."""
    if is_full(error):
        return RepositoryError(
            f"the disk is full: {what} was not finished; earlier snapshots are intact.",
            path=path,
            remedy=f"Make room on the volume, {clear}, and run it again.",
        )
    if error.errno in _DENIED:
        return RepositoryError(
            f"not permitted: {what}.",
            path=path,
            remedy="Run it as the account that owns the repository, or look at the folder's rights.",
        )
    if error.errno == errno.EROFS:
        return RepositoryError(
            f"the volume is read-only: {what} failed.", path=path, remedy="Mount it writable."
        )
    return RepositoryError(
        f"{what} failed: {error.strerror or error}.", path=path, remedy="Look at the volume."
    )


def is_full(error: OSError) -> bool:
    """Given what the system said, return whether it means that there is no room."""
    return error.errno in _FULL or getattr(error, "winerror", None) in _FULL_ON_WINDOWS


_FOLDERS = threading.RLock()
"""The hosts of a run share a folder under partial/: none may take it away while another one enters it."""


def make_folder(path: Path) -> None:
    """Given a path, make it and its parents as folders, each for the owner alone."""
    with _FOLDERS:
        if not path.is_dir():
            make_folder(path.parent)
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)  # noqa: PTH102 - one door to the disk


def leave_folder(path: Path) -> None:
    """Given a folder that others may use too, take it away if it is empty."""
    with _FOLDERS, suppress(OSError):
        path.rmdir()


def write_new(path: Path, data: bytes | Iterable[bytes], *, kept: bool, sync: bool = True) -> tuple[int, str]:
    """Given a path where nothing is, write data there, for good if `kept`. Return size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY, 0o600)
    try:
        for piece in [data] if isinstance(data, bytes) else data:
            write_all(file, piece)
            digest.update(piece)
            size += len(piece)
        if sync:
            os.fsync(file)
    finally:
        os.close(file)
    if kept:
        keep(path)
    return size, digest.hexdigest()


def write_all(file: int, data: bytes) -> None:
    """Given an open file, write all of data."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def append_line(path: Path, line: bytes) -> None:
    """Given a line, put it at the end of the file, on the disk; behind a torn line it begins a new one."""
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | _BINARY, 0o600)
    try:
        size = os.lseek(file, 0, os.SEEK_END)
        if size:
            os.lseek(file, size - 1, os.SEEK_SET)
            if os.read(file, 1) != b"\n":
                line = b"\n" + line
        write_all(file, line + b"\n")
        os.fsync(file)
    finally:
        os.close(file)


def open_to_append(path: Path) -> int:
    """Given a path, open it for reading and appending; make it if it is not there."""
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | _BINARY, 0o600)


def pieces(path: Path) -> Iterator[bytes]:
    """Given a file, read it a piece at a time. Raise OSError if it is no ordinary one."""
    with _opened(path) as file:
        while piece := file.read(PIECE):
            yield piece


def read_whole(path: Path, most: int) -> bytes:
    """Given a file, return its bytes. Raise OSError if it is no ordinary one, or has more than `most`."""
    with _opened(path, most) as file:
        return file.read()


def lines(path: Path, most: int) -> Iterator[bytes]:
    """Given a file, yield its lines. Raise OSError if it is no ordinary one, or longer than `most` bytes."""
    with _opened(path, most) as file:
        yield from file


def first_line(path: Path, most: int) -> bytes:
    """Given a file, return its first line, or so many bytes of it. Raise OSError if it is no ordinary one."""
    with _opened(path) as file:
        return file.readline(most)


def _opened(path: Path, most: int | None = None) -> BinaryIO:
    # What somebody else put in the place of a file of ours (a pipe, a device) would never end.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
    if most is not None and status.st_size > most:
        raise OSError(errno.EINVAL, "it is larger than it can be", str(path))
    return path.open("rb")


def digest_of(path: Path) -> str:
    """Given a file, return the SHA-256 of all its bytes."""
    digest = hashlib.sha256()
    for piece in pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def sync_files(paths: Iterable[Path]) -> None:
    """Given files that were written, return when their data are on the disk.

    Many at once: a file system commits what waits together, so a thousand small files cost a few commits.
    """
    with ThreadPoolExecutor(16, thread_name_prefix="fsync") as pool:
        for _ in pool.map(_sync_file, paths):
            pass


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDWR | _BINARY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folders(paths: Iterable[Path]) -> None:
    """Given folders, return when the names in them are on the disk. Windows keeps those in a journal."""
    if os.name != "posix":
        return
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems know no such thing
                raise
        finally:
            os.close(file)


def is_link(path: Path) -> bool:
    """Given a path, return whether something is there that leads elsewhere: it is none of ours."""
    try:
        return leads_elsewhere(path.lstat())
    except OSError:
        return False


def leads_elsewhere(status: os.stat_result) -> bool:
    """Given what lstat says, return whether it is of a link, or of what Windows calls a junction."""
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) in _LEADING


def link_above(folder: Path, name: str) -> bool:
    """Given a folder and a name in it, return whether one of the folders between the two is a link."""
    return any(is_link(folder / above) for above in Path(name).parents)


def link_or_copy(source: Path, target: Path) -> bool:
    """Given a file, give it a second name, or copy it where that cannot be. Return whether it was copied.

    A link cannot be on FAT, on some shares, across volumes, and behind NTFS's 1,024th name.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if is_full(error) or isinstance(error, FileNotFoundError | FileExistsError):
            raise
        write_new(target, pieces(source), kept=False, sync=False)
        return True
    return False


def move(source: Path, target: Path) -> None:
    """Given a file or folder and a free place on the same volume, move it there in one step."""
    _patiently(lambda: os.rename(source, target))  # noqa: PTH104


def replace(source: Path, target: Path) -> None:
    """Given a file, put it in the place of another one, in one step."""
    if sys.platform == "win32" and target.exists():
        os.chmod(target, stat.S_IWRITE)  # noqa: PTH101 - Windows replaces no read-only file
    _patiently(lambda: os.replace(source, target))  # noqa: PTH105


def remove(path: Path) -> None:
    """Given a file, remove its name. It may be gone already."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        if sys.platform != "win32":
            raise
        # Read-only goes with the file, not the name: its other names lose it too, and the next commit that
        # links the object sets it again.
        os.chmod(path, stat.S_IWRITE)  # noqa: PTH101
        _patiently(lambda: path.unlink(missing_ok=True))


def remove_tree(path: Path) -> None:
    """Given a folder, remove it with all that is in it; links are not followed. It may be gone already."""
    if is_link(path) or not path.is_dir():
        remove(path)
        return
    for inner in list(path.iterdir()):
        remove_tree(inner)
    _patiently(path.rmdir)


def _patiently(act: Callable[[], object]) -> None:
    """Given what may meet a file that somebody looks at, do it; on Windows try for about two seconds.

    A virus scanner or an indexer opens what is new, for a moment, and nobody can rename or delete it then.
    """
    for wait in _WAITS_S:
        try:
            act()
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in _HELD_ON_WINDOWS:
                raise
            time.sleep(wait)
    act()


def keep(path: Path, secret: bool = False) -> None:
    """Given a file that is whole, make it read-only and its owner's alone; a secret one by access list too.

    A volume that knows no such thing leaves it as it is; `is_private` tells.
    """
    if stat.S_IMODE(path.stat().st_mode) & ~KEPT:
        with suppress(PermissionError):
            os.chmod(path, KEPT)  # noqa: PTH101
    if secret:
        make_private(path, folder=False)


def make_private(path: Path, folder: bool) -> str:
    """Given a file or folder, let its owner alone have it: by mode on Linux, by access list on Windows.

    Return why it is not so, in words; empty if it is. Some volumes have neither.
    """
    if sys.platform == "win32":
        return _icacls(*access_list(str(path), folder))[1]
    now = stat.S_IMODE(path.stat().st_mode)
    if now & 0o077:
        with suppress(PermissionError):
            os.chmod(path, now & 0o700)  # noqa: PTH101
    return "" if is_private(path) else "the volume keeps no file rights"


def access_list(path: str, folder: bool) -> list[str]:
    """Given a path on Windows, return what to tell icacls so that its owner alone has it.

    `*S-1-3-4` is OWNER RIGHTS, in every language: whoever owns the file, and nobody by inheritance.
    """
    right = "*S-1-3-4:(OI)(CI)F" if folder else "*S-1-3-4:F"
    return [path, "/inheritance:r", "/grant:r", right, "/q"]


def icacls_path(environment: Mapping[str, str]) -> str:
    """Given the environment, return where icacls is; its bare name could mean the current folder's."""
    return environment.get("SystemRoot", "C:\\Windows") + "\\System32\\icacls.exe"


def _icacls(*arguments: str) -> tuple[str, str]:
    """Given arguments for icacls, return what it says, and why it failed, in words; empty if it did not."""
    try:
        done = subprocess.run(  # noqa: S603
            [icacls_path(os.environ), *arguments],
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return "", f"icacls cannot be run: {error.strerror or error}"
    said = " ".join((done.stderr or done.stdout).split())
    return done.stdout, "" if done.returncode == 0 else f"icacls says: {said or done.returncode}"


def is_private(path: Path) -> bool:
    """Given a file or folder, return whether nobody but its owner has rights in it."""
    if sys.platform != "win32":
        return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    said, failed = _icacls(str(path))
    return not failed and is_private_list(said)


def is_private_list(text: str) -> bool:
    """Given what icacls says of a file, return whether the owner is the only one named in it."""
    rights = [line.rsplit(" ", 1)[-1] for line in text.splitlines() if ":(" in line]
    return len(rights) == 1
