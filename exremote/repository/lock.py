"""A lock as a file: who holds it, where, since when. It never relies on the file system's own locks.

The file is made in one step with its content, so nobody ever reads half an owner. A thread touches it while
it is held: its time of last change is the heartbeat. If its process is dead and was of this machine, the lock
is taken over, and that is reported; a lock of another machine never is: its heartbeat is told instead.

One lock may stand against others (`against`): each makes its own file first and looks at the others' then, so
of two that exclude each other at least one sees the other, and gives way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from exremote.errors import RepositoryLocked
from exremote.repository import disk

HEARTBEAT_S = 30.0
"""How often the holder touches its lock."""


@dataclass(frozen=True, slots=True)
class LockOwner:
    """Who holds a lock, as its file says."""

    owner: str
    """in words: the command that runs"""
    host: str
    """the machine"""
    pid: int
    """the process"""
    born: str
    """when that process began, as its system tells; pids come again, this does not"""
    run: str
    """the run"""
    since: str
    """when it was taken, as ISO 8601 in UTC; empty if no time was handed in"""
    token: str
    """tells two holders of one process apart"""

    def describe(self) -> str:
        """Return the owner in words."""
        since = f" since {self.since}" if self.since else ""
        run = f", run {self.run}" if self.run else ""
        return f"{self.owner} (process {self.pid} on {self.host}{run}){since}"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is held."""

    path: Path
    """its file"""
    owner: LockOwner
    """we"""
    taken_over: str
    """who held it before, in words, and died with it; empty mostly"""


@dataclass(frozen=True, slots=True)
class LockState:
    """A lock that lies there, seen from outside."""

    name: str
    """what it locks: `host-EXCH01`, `repository`"""
    path: Path
    """its file"""
    owner: LockOwner | None
    """who holds it; None if that cannot be read"""
    touched: datetime
    """its heartbeat, by the clock of the volume"""
    dead: bool
    """its process was of this machine and is gone"""
    ours: bool
    """it is of this machine"""


def list_locks(folder: Path) -> list[LockState]:
    """Given the folder of locks, return those that lie there, by name."""
    found = []
    for path in sorted(folder.glob("*.lock")):
        owner = read_owner(path)
        with contextlib.suppress(FileNotFoundError):
            touched = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            dead = owner is not None and is_dead(owner)
            ours = owner is not None and owner.host == socket.gethostname()
            found.append(LockState(path.stem, path, owner, touched, dead, ours))
    return found


def break_lock(lock: LockState) -> bool:
    """Given a lock, remove it if it is still that one's. Return whether it was."""
    with disk.said(lock.path, "removing the lock"):
        if lock.owner is not None:
            return _put_aside(lock.path, lock.owner)
        unreadable = lock.path.exists() and read_owner(lock.path) is None
        if unreadable:
            disk.remove(lock.path)
        return unreadable


def age_text(seconds: float) -> str:
    """Given how long something was ago, return it in words, roughly."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} seconds"


@contextlib.contextmanager
def hold(
    path: Path,
    owner: str,
    *,
    run: str,
    since: datetime | None,
    on_takeover: Callable[[str], None],
    against: Callable[[], Iterable[Path]] = tuple,
) -> Iterator[Lock]:
    """Given the lock's file and who we are, hold it for a block. Raise RepositoryLocked if another does.

    `against` lists the files of other locks that this one excludes; asked when ours is in place.
    """
    ours = _ourselves(owner, run, since)
    with disk.said(path, "taking the lock"):
        disk.make_folder(path.parent)
        lock = _take(path, ours)
        if lock.taken_over:
            on_takeover(lock.taken_over)
        try:
            _exclude(path, against(), on_takeover)
        except BaseException:
            _let_go(path, ours)
            raise
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True, name="lock-heartbeat")
    beat.start()
    try:
        yield lock
    finally:
        stop.set()
        beat.join()
        _let_go(path, ours)


def _ourselves(owner: str, run: str, since: datetime | None) -> LockOwner:
    return LockOwner(
        owner=owner,
        host=socket.gethostname(),
        pid=os.getpid(),
        born=process_birth(os.getpid()),
        run=run,
        since=since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if since else "",
        token=secrets.token_hex(8),
    )


def _let_go(path: Path, ours: LockOwner) -> None:
    with contextlib.suppress(OSError):
        if read_owner(path) == ours:
            disk.remove(path)


def _exclude(path: Path, others: Iterable[Path], on_takeover: Callable[[str], None]) -> None:
    """Given our lock, in place, see that none of the others is held; those of dead processes are removed."""
    now = path.stat().st_mtime
    for other in others:
        for _ in range(10):  # it may come into living hands while we look
            theirs = read_owner(other)
            if theirs is None and not other.exists():
                break
            if theirs is None or not is_dead(theirs):
                raise _locked(other, theirs, now)
            if _put_aside(other, theirs):
                on_takeover(theirs.describe())
                break


def read_owner(path: Path) -> LockOwner | None:
    """Given a lock's file, return who holds it; None if it is not there or says nothing that can be read."""
    try:
        data = json.loads(path.read_bytes())
        return LockOwner(**{**data, "pid": int(data["pid"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _take(path: Path, ours: LockOwner) -> Lock:
    taken_over = ""
    now = 0.0
    for _ in range(10):
        created, now = _create(path, ours)
        if created:
            return Lock(path, ours, taken_over)
        theirs = read_owner(path)
        if theirs is None and not path.exists():
            continue  # let go between our two looks
        if theirs is None or not is_dead(theirs):
            raise _locked(path, theirs, now)
        if _put_aside(path, theirs):
            taken_over = theirs.describe()
    raise _locked(path, read_owner(path), now)


def _create(path: Path, ours: LockOwner) -> tuple[bool, float]:
    """Make the file in one step with its content. Return whether it was us, and the volume's own time."""
    text = json.dumps(asdict(ours), indent=1).encode() + b"\n"
    fresh = path.with_name(f"{path.name}.{ours.token}")
    disk.write_new(fresh, text, kept=False)
    now = fresh.stat().st_mtime
    try:
        if sys.platform == "win32":
            os.rename(fresh, path)  # noqa: PTH104 - on Windows this never replaces
        else:
            os.link(fresh, path)
    except FileExistsError:
        return False, now
    except OSError as error:
        if disk.is_full(error):
            raise
        try:  # no links here: exclusive creation, which is not one step with the content, but exclusive
            disk.write_new(path, text, kept=False)
        except FileExistsError:
            return False, now
    finally:
        disk.remove(fresh)
    return True, now


def _put_aside(path: Path, theirs: LockOwner) -> bool:
    """Remove the lock of a dead process. Return whether it was us who did.

    Only who holds the claim on that very lock removes it: otherwise one who looked a moment ago could remove
    what another one has put there since. A claim is a lock file, too; a dead one is put aside the same way.
    """
    claim = path.with_name(f"{path.name.partition('.claim-')[0]}.claim-{_short(theirs.token)}")
    created, _ = _create(claim, _ourselves("taking over a lock", "", None))
    if not created:
        claimant = read_owner(claim)
        if claimant is not None and is_dead(claimant):
            _put_aside(claim, claimant)
        return False
    try:
        if read_owner(path) != theirs:
            return False
        disk.remove(path)
        return True
    finally:
        disk.remove(claim)


def _short(token: str) -> str:
    """Return a part of a file's name for a token, whatever somebody wrote there."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()[:16]


def _locked(path: Path, theirs: LockOwner | None, now: float) -> RepositoryLocked:
    who = theirs.describe() if theirs else "a process that left no readable name"
    with contextlib.suppress(OSError):
        touched = path.stat().st_mtime
        age = age_text(now - touched)
        who += f", last sign of life {datetime.fromtimestamp(touched, UTC):%Y-%m-%dT%H:%M:%SZ}, {age} ago"
    return RepositoryLocked(
        f"locked by {who}.",
        path=path,
        owner=who,
        remedy="Wait for it. If that machine or process is gone for good, use `exremote unlock`, "
        "or delete this file.",
    )


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)


def is_dead(theirs: LockOwner) -> bool:
    """Given a lock's owner, return whether it is sure to be dead: of this machine, and no such process."""
    if theirs.host != socket.gethostname():
        return False
    if not process_exists(theirs.pid):
        return True
    born = process_birth(theirs.pid)
    return bool(born and theirs.born and born != theirs.born)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _QUERY = 0x1000
    _STILL_ACTIVE = 259

    def process_exists(pid: int) -> bool:
        """Given a process id, return whether it runs; True where that cannot be known."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        handle = kernel.OpenProcess(_QUERY, False, pid)
        if not handle:
            return ctypes.get_last_error() != 87  # 87: no such process; others: not for us to see
        code = wintypes.DWORD()
        known = kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        kernel.CloseHandle(wintypes.HANDLE(handle))
        return not known or code.value == _STILL_ACTIVE

    def process_birth(pid: int) -> str:
        """Given a process id, return when it began, as text to compare; empty if that cannot be known."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        handle = kernel.OpenProcess(_QUERY, False, pid)
        if not handle:
            return ""
        times = [wintypes.FILETIME() for _ in range(4)]
        known = kernel.GetProcessTimes(wintypes.HANDLE(handle), *map(ctypes.byref, times))
        kernel.CloseHandle(wintypes.HANDLE(handle))
        return f"{times[0].dwHighDateTime:x}:{times[0].dwLowDateTime:x}" if known else ""

else:

    def process_exists(pid: int) -> bool:
        """Given a process id, return whether it runs; True where that cannot be known."""
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            return True
        return True

    def process_birth(pid: int) -> str:
        """Given a process id, return when it began, as text to compare; empty if that cannot be known."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            # The name in parentheses may hold anything; the fields behind it do not.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            return f"{boot}:{fields[19]}"
        except (OSError, IndexError):
            return ""
