"""Processes of a real PowerShell that stand behind a relayed shell: started, fed, and surely ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_NOT_FOR_CHILDREN = ("NTLM_USER_FILE", "LM_COMPAT_LEVEL")
_QUIET = {"POWERSHELL_TELEMETRY_OPTOUT": "1", "POWERSHELL_UPDATECHECK": "Off", "NO_COLOR": "1"}
_END_WAIT_S = 3.0


class Child:
    """One process with pipes, in a process group and a working folder of its own."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None, *, errors: bool = False
    ) -> None:
        """Start it. With `errors` its standard error is a pipe too, else it is dropped. Raise OSError.

        HOME stays what it is: under it PowerShell and Wine keep what takes them long to make. Whoever wants
        another sets it in `environment`.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="wsman-relay-"))
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN}
        try:
            self.process = subprocess.Popen(  # noqa: S603 - the command is the caller's, no shell is involved
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if errors else subprocess.DEVNULL,
                env=inherited | _QUIET | dict(environment or {}),
                cwd=self._folder,
                start_new_session=True,
            )
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def end(self, wait_s: float = _END_WAIT_S) -> int:
        """Close its input, wait up to `wait_s` seconds, kill it and its children. Return its exit code."""
        with contextlib.suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(wait_s)
        self.kill()
        code = self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        return code

    def kill(self) -> None:
        """Kill it and what it has started in its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Spare:
    """One process of a relay started ahead, so that the next session opens sooner."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None) -> None:
        self._command = command
        self._environment = environment
        self._lock = threading.Lock()
        self._closed = False
        self._child: Child | None = None
        self._refill()

    def take(self) -> Child | None:
        """Return the process, if it is there and lives, and start the next."""
        with self._lock:
            child, self._child = self._child, None
        threading.Thread(target=self._refill, name="spare relay", daemon=True).start()
        if child is not None and child.process.poll() is not None:
            child.end()
            return None
        return child

    def close(self) -> None:
        """End it; there will be no other."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.end()

    def _refill(self) -> None:
        with self._lock:
            if not self._closed and self._child is None:
                with contextlib.suppress(OSError):
                    self._child = Child([*self._command, "-s"], self._environment)
