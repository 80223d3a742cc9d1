"""WinRS: command lines with standard input, output and error.

What runs them is a function in this process or, for powershell.exe on a relayed site, a real PowerShell. No
other program of the machine that the lab runs on is ever started.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ntpath
import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from exremote.lab.wsman import soap
from exremote.lab.wsman.child import Child
from exremote.lab.wsman.engine import Call
from exremote.lab.wsman.shells import Shell
from exremote.lab.wsman.site import Limits, Site
from exremote.lab.wsman.streams import Abandoned, InputQueue, OutputQueue

_PIECE = 96 * 1024
_STOP_WAIT_S = 2.0
_CONTROL_C = -1073741510  # STATUS_CONTROL_C_EXIT
_WORD = re.compile(r'(?:"([^"]*)"|(\S+))')
_POWERSHELL = ("powershell", "pwsh")


class _Command:
    """One command line and the thread that runs it."""

    def __init__(self, shell: CmdShell, command_id: str) -> None:
        self.id = command_id
        self.queue = OutputQueue(shell.limits.queue_bytes)
        self.input: InputQueue[bytes] = InputQueue(shell.limits.queue_bytes)
        self.call = Call(user=shell.owner, shell_id=shell.id, command_id=command_id, site=shell.site.name)
        self.ended = threading.Event()
        self._shell = shell

    def start(self, text: str, arguments: Sequence[str]) -> None:
        """Run it."""
        threading.Thread(
            target=self._run, args=(text, arguments), name=f"command {self.id}", daemon=True
        ).start()

    def stop(self) -> None:
        """End it; what it has written can still be read."""
        self.call.stopping.set()
        self.input.drop()
        self.queue.finish(_CONTROL_C)
        self.ended.wait(_STOP_WAIT_S)

    def abandon(self) -> None:
        """End it, and drop what it has written."""
        self.call.stopping.set()
        self.input.drop()
        self.queue.abandon()

    def write(self, stream: str, data: bytes) -> None:
        """Put some bytes into the output, waiting for room. Raise Abandoned."""
        while data:
            data = data[self.queue.write(stream, data, self._shell.piece) :]

    def _run(self, text: str, arguments: Sequence[str]) -> None:
        code = 1
        try:
            code = self._shell.run(
                text, arguments, iter(self.input), lambda d: self.write("stdout", d), self._error, self.call
            )
        except Abandoned:
            pass
        except FileNotFoundError:
            with contextlib.suppress(Abandoned):
                self._error(
                    f"'{text}' is not recognized as an internal or external command,\r\n"
                    "operable program or batch file.\r\n".encode()
                )
        except Exception as error:  # whatever a simulated command does wrong is its client's to see
            with contextlib.suppress(Abandoned):
                self._error(f"{type(error).__name__}: {error}\r\n".encode())
        finally:
            self.input.drop()
            self.queue.finish(code)
            self.ended.set()

    def _error(self, data: bytes) -> None:
        self.write("stderr", data)


class CmdShell(Shell):
    """A shell of command lines."""

    def __init__(
        self,
        request: soap.Request,
        shell_id: str,
        owner: str,
        limits: Limits,
        idle_timeout_s: float,
        site: Site,
    ) -> None:
        super().__init__(request, shell_id, owner, limits, idle_timeout_s)
        self.site = site
        envelope = min(request.max_envelope, limits.max_envelope_kb * 1024)
        self.piece = max(64, min(_PIECE, (envelope - 2 * soap.OVERHEAD) // 4 * 3))
        """Bytes of output that one chunk has at most."""
        body = request.body
        variables = () if body is None else body.iter(soap.RSP + "Variable")
        self._environment = {variable.get("Name", ""): variable.text or "" for variable in variables}
        self._commands: dict[str, _Command] = {}
        self._lock = threading.Lock()

    def command_ids(self) -> tuple[str, ...]:
        """Return the ids of the commands that were not terminated."""
        return tuple(self._commands)

    def command(self, command_id: str, text: str, arguments: list[str], options: Mapping[str, str]) -> str:
        """Start a command line. Return its id."""
        command_id = command_id or str(uuid.uuid4()).upper()
        with self._lock:
            if command_id in self._commands:
                raise soap.invalid_parameter(f"command {command_id} is there already")
            command = self._commands[command_id] = _Command(self, command_id)
        command.start(text, arguments)
        return command_id

    def send(self, command_id: str, stream: str, data: str, end: bool, timeout_s: float) -> None:
        """Take standard input. Raise Fault."""
        command = self._commands.get(command_id)
        if command is None:
            raise soap.unknown_shell()
        try:
            piece = base64.b64decode(data)
        except binascii.Error as error:
            raise soap.invalid_parameter(f"base64: {error}") from None
        if piece and not command.input.put(piece, len(piece), timeout_s):
            raise soap.timed_out()
        if end:
            command.input.end()

    def signal(self, command_id: str, code: str) -> None:
        """Stop a command; with the code Terminate, forget it as well."""
        command = self._commands.get(command_id)
        if command is None:
            return
        if not command.ended.is_set():
            command.stop()
        if code.lower().endswith("/terminate"):
            with self._lock:
                self._commands.pop(command_id, None)
            command.abandon()

    def queue_for(self, command_id: str) -> OutputQueue:
        """Return the output of a command, or of the pool if `command_id` is empty. Raise Fault."""
        command = self._commands.get(command_id)
        if command is None:
            raise soap.unknown_shell()
        return command.queue

    def close(self) -> None:
        """End everything in it."""
        with self._lock:
            commands = list(self._commands.values())
            self._commands.clear()
        for command in commands:
            command.abandon()
        for command in commands:
            command.ended.wait(_STOP_WAIT_S / max(1, len(commands)))

    def run(
        self,
        text: str,
        arguments: Sequence[str],
        stdin: Iterator[bytes],
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
        call: Call,
    ) -> int:
        """Run one command line to its end. Return its exit code. Raise FileNotFoundError."""
        if self.site.relay:
            # pywinrm sends all arguments as one, or the whole line as the command.
            words = [quoted or bare for quoted, bare in _WORD.findall(" ".join([text, *arguments]))]
            name = ntpath.basename(words[0]).lower().removesuffix(".exe") if words else ""
            if name in _POWERSHELL:
                environment = {**(self.site.relay_environment or {}), **self._environment}
                return _run_child([*self.site.relay, *words[1:]], environment, stdin, stdout, stderr, call)
        if self.site.run_command:
            return self.site.run_command(text, arguments, self._environment, stdin, stdout, stderr, call)
        raise FileNotFoundError(text)


def _run_child(
    command: Sequence[str],
    environment: Mapping[str, str],
    stdin: Iterator[bytes],
    stdout: Callable[[bytes], None],
    stderr: Callable[[bytes], None],
    call: Call,
) -> int:
    """Run a process with its pipes tied to the command's streams. Return its exit code."""
    child = Child(command, environment, errors=True)

    def feed() -> None:
        pipe = child.process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            for piece in stdin:
                pipe.write(piece)
                pipe.flush()
        with contextlib.suppress(OSError, ValueError):
            pipe.close()

    def pump(pipe: IO[bytes], write: Callable[[bytes], None]) -> None:
        read = getattr(pipe, "read1", pipe.read)
        try:
            while piece := read(65536):
                write(piece)
        except (Abandoned, OSError, ValueError):
            child.kill()

    def guard() -> None:
        call.stopping.wait()
        child.kill()

    assert child.process.stdout is not None
    assert child.process.stderr is not None
    pumps = [
        threading.Thread(target=pump, args=(child.process.stdout, stdout), daemon=True),
        threading.Thread(target=pump, args=(child.process.stderr, stderr), daemon=True),
    ]
    for thread in (
        threading.Thread(target=feed, daemon=True),
        threading.Thread(target=guard, daemon=True),
        *pumps,
    ):
        thread.start()
    try:
        with contextlib.suppress(subprocess.SubprocessError):
            child.process.wait()
        for thread in pumps:
            thread.join(_STOP_WAIT_S)
        return child.process.returncode
    finally:
        call.stopping.set()  # lets the guard go
        child.end(0)
