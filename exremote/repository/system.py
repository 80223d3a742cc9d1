"""Which system this is, and which of its processes live. It knows nothing of locks.

A host's name and a process id say little: containers have process ids of their own, and two machines may
have one name. What tells them apart is read here, where the system lets us.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class System:
    """Where process ids mean the same: one machine, since one start, one name space of processes."""

    host: str
    """its name"""
    machine: str
    """a hash of what its installation is known by; empty if that cannot be read"""
    boot: str
    """tells its starts apart; empty where a process's birth does that"""
    space: str
    """its name space of process ids; empty where there is but one"""
    sure: bool
    """enough of it could be read to tell it from others"""


def _hashed(identity: str) -> str:
    # The identity itself is not for others to know (machine-id(5)).
    return hashlib.sha256(f"exremote {identity}".encode()).hexdigest()[:32] if identity else ""


if sys.platform == "win32":
    import ctypes
    import winreg
    from ctypes import wintypes

    def this_system() -> System:
        """Return which system this is. A process tells by its birth whether it is of this start."""
        with suppress(OSError):
            with winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE,
                "SOFTWARE\\Microsoft\\Cryptography",
                access=winreg.KEY_READ | winreg.KEY_WOW64_64KEY,
            ) as key:
                machine = _hashed(str(winreg.QueryValueEx(key, "MachineGuid")[0]))
                return System(socket.gethostname(), machine, "", "", bool(machine))
        return System(socket.gethostname(), "", "", "", False)

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
    _DEAD = ("Z", "X")
    """States of a process that has ended, and that whoever began it has not looked at yet."""

    def this_system() -> System:
        """Return which system this is."""
        machine = _text("/etc/machine-id") or _text("/var/lib/dbus/machine-id")
        boot = _text("/proc/sys/kernel/random/boot_id")
        space = ""
        with suppress(OSError):
            space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the text of it, and no path
        return System(socket.gethostname(), _hashed(machine), boot, space, bool(boot and space))

    def _text(path: str) -> str:
        try:
            return Path(path).read_text("ascii", "replace").strip()
        except OSError:
            return ""

    def _stat(pid: int) -> list[str]:
        """Given a process id, return the fields of its stat, from its state on; none if nobody knows."""
        try:
            # The name in parentheses may hold anything; the fields behind it do not.
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return []

    def process_exists(pid: int) -> bool:
        """Given a process id, return whether it runs; True where that cannot be known."""
        if pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass
        state = _stat(pid)[:1]
        return not state or state[0] not in _DEAD

    def process_birth(pid: int) -> str:
        """Given a process id, return when it began, as text to compare; empty if that cannot be known."""
        try:
            if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115
                return ""  # a container that sees its host's processes, under other numbers
            boot = _text("/proc/sys/kernel/random/boot_id")
            return f"{boot}:{_stat(pid)[19]}"
        except (OSError, IndexError):
            return ""
