"""A lock as a file: who holds it, where, since when. It never relies on the file system's own locks.

The file is made in one step with its content, so nobody ever reads half an owner. A thread touches it while
it is held: its time of last change is the heartbeat. If its process is dead and was of this system, the lock
is taken over, and that is reported; a lock of another machine or container never is: its heartbeat is told
instead.

One lock may stand against others (`against`): each makes its own file first and looks at the others' then, so
of two that exclude each other at least one sees the other, and gives way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from exremote.errors import RepositoryLocked
from exremote.repository import disk
from exremote.repository.system import System, process_birth, process_exists, this_system

HEARTBEAT_S = 30.0
"""How often the holder touches its lock."""

SILENT_S = 600.0
"""A lock that was not touched for so long has no holder that could: twenty heartbeats."""

_LARGEST = 1 << 16


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
    machine: str = ""
    """a hash of what the machine's installation is known by; empty in locks of older exremotes"""
    boot: str = ""
    """tells the machine's starts apart"""
    space: str = ""
    """the container's, in which the process has its number"""

    def describe(self) -> str:
        """Return the owner in words."""
        since = f" since {self.since}" if self.since else ""
        run = f", run {self.run}" if self.run else ""
        return f"{self.owner} (process {self.pid} on {self.host}{run}){since}"


_KNOWN = {f.name for f in fields(LockOwner)}
_REQUIRED = {f.name for f in fields(LockOwner) if f.default is MISSING}


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
    """its process was of this system and is gone"""
    ours: bool
    """it is of this system, so that its process can be seen from here"""


def read_lock(path: Path) -> LockState | None:
    """Given a lock's file, return what it says; None if it is not there."""
    owner = read_owner(path)
    try:
        touched = path.stat().st_mtime
    except OSError:
        return None
    dead = owner is not None and is_dead(owner, time.time() - touched)
    ours = owner is not None and (dead or _is_here(owner, this_system()))
    return LockState(path.stem, path, owner, _moment(touched), dead, ours)


def list_locks(folder: Path) -> list[LockState]:
    """Given the folder of locks, return those that lie there, by name."""
    return [lock for lock in map(read_lock, sorted(folder.glob("*.lock"))) if lock is not None]


def break_lock(lock: LockState) -> bool:
    """Given a lock, remove it if it is still that one's. Return whether it was."""
    with disk.said(lock.path, "removing the lock"):
        if lock.owner is not None:
            return _put_aside(lock.path, lock.owner)
        unreadable = lock.path.exists() and read_owner(lock.path) is None
        if unreadable:
            disk.remove(lock.path)
        return unreadable


def _moment(seconds: float) -> datetime:
    """Given a file's time, return it; what no calendar has becomes the last one that it has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)


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
    here = this_system()
    return LockOwner(
        owner=owner,
        host=here.host,
        pid=os.getpid(),
        born=process_birth(os.getpid()),
        run=run,
        since=since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if since else "",
        token=secrets.token_hex(8),
        machine=here.machine,
        boot=here.boot,
        space=here.space,
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
            if theirs is None or not is_dead(theirs, _silence(other, now)):
                raise _locked(other, theirs, now)
            if _put_aside(other, theirs):
                on_takeover(theirs.describe())
                break


def read_owner(path: Path) -> LockOwner | None:
    """Given a lock's file, return who holds it; None if it is not there or says nothing that can be read."""
    try:
        data = json.loads(disk.read_whole(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not _REQUIRED <= data.keys() <= _KNOWN:
        return None
    pid = data["pid"]
    texts = all(isinstance(value, str) for name, value in data.items() if name != "pid")
    if not texts or type(pid) is not int or not 0 < pid < 2**32:
        return None
    return LockOwner(**data)


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
        if theirs is None or not is_dead(theirs, _silence(path, now)):
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
    created, now = _create(claim, _ourselves("taking over a lock", "", None))
    if not created:
        claimant = read_owner(claim)
        if claimant is not None and is_dead(claimant, _silence(claim, now)):
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
    here = this_system()
    if theirs is not None and theirs.host == here.host and not _is_here(theirs, here):
        who += ", in another container or on another machine of that name"
    with contextlib.suppress(OSError):
        touched = path.stat().st_mtime
        age = age_text(now - touched)
        who += f", last sign of life {_moment(touched):%Y-%m-%dT%H:%M:%SZ}, {age} ago"
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


def is_dead(theirs: LockOwner, silent_s: float) -> bool:
    """Given a lock's owner and for how long it gave no sign of life, return whether it is sure to be dead."""
    here = this_system()
    if _is_here(theirs, here):
        if not process_exists(theirs.pid):
            return True
        born = process_birth(theirs.pid)
        return bool(born and theirs.born and born != theirs.born)
    # This machine, before it started again: nothing that ran then lives. But a copied machine has the same
    # name and identity, too; a holder over there would have touched its lock.
    before = replace(theirs, boot=here.boot)
    restarted = bool(here.machine and theirs.boot) and _is_here(before, here)
    return restarted and silent_s > SILENT_S


def _is_here(theirs: LockOwner, here: System) -> bool:
    """Return whether its process id means the same here; False if that cannot be known."""
    there = (theirs.host, theirs.machine, theirs.boot, theirs.space)
    return here.sure and there == (here.host, here.machine, here.boot, here.space)


def _silence(path: Path, now: float) -> float:
    """Given a lock and the volume's own time, return for how long it gave no sign of life."""
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
