"""A process that has the command line loaded, and forks for each command: the tests start hundreds of them.

Each command is a process of its own, with its own arguments, environment, folder and outputs, and does what
`python -m exremote` does; only the half second of imports is shared. Commands that a test starts and does
not wait for, that get limits of their own, and all commands with EXREMOTE_TEST_COLD set, start cold.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def usable() -> bool:
    """Return whether commands can be started warm here."""
    return hasattr(os, "fork") and not os.environ.get("EXREMOTE_TEST_COLD")


class WarmDoor:
    """The tests' end: one process, one command at a time."""

    def __init__(self) -> None:
        asked, self._ask = os.pipe()
        self._told, tell = os.pipe()
        number, name = tempfile.mkstemp()
        self._said = Path(name)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(asked), str(tell)],
            cwd=ROOT,
            pass_fds=(asked, tell),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=number,
        )
        os.close(number)
        os.close(asked)
        os.close(tell)
        self._answers = os.fdopen(self._told, "r", encoding="utf-8")

    def run(
        self, args: Sequence[str], env: Mapping[str, str], cwd: Path, timeout_s: float, last: int = 0
    ) -> tuple[int, str, str]:
        """Run a command to its end, or until it dies after the journal's event number `last`.

        Return its code and both outputs. Raise TimeoutError.
        """
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            order = {"args": list(args), "env": dict(env), "cwd": str(cwd), "out": out.name, "err": err.name}
            order["last"] = last
            with contextlib.suppress(BrokenPipeError):
                os.write(self._ask, (json.dumps(order) + "\n").encode())
            answer = self._answers.readline()
            if not answer:
                raise RuntimeError(f"exremote does not even load: {self._said.read_text()}")
            pid = int(answer)
            late = threading.Event()

            def end() -> None:
                late.set()
                os.kill(pid, signal.SIGKILL)

            timer = threading.Timer(timeout_s, end)
            timer.start()
            try:
                code = int(self._answers.readline())
            except BaseException:
                # The test's own time is over: no later one may take this command's answer for its own.
                end()
                self._answers.readline()
                raise
            finally:
                timer.cancel()
            said = out.read().decode(), err.read().decode()
        if late.is_set():
            raise TimeoutError(f"{' '.join(args)} took more than {timeout_s:.0f} s: {said}")
        return code, *said

    def close(self) -> None:
        """End it."""
        os.close(self._ask)
        self._process.wait(10)
        self._answers.close()
        self._said.unlink()


def serve(asked: int, tell: int) -> bool:
    """Fork for each order. Return True in a child that is to run a command, False at the end."""
    with os.fdopen(asked, encoding="utf-8") as orders:
        for line in iter(orders.readline, ""):
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                for number, name in ((1, order["out"]), (2, order["err"])):
                    place = os.open(name, os.O_WRONLY | os.O_APPEND)
                    os.dup2(place, number)
                    os.close(place)
                os.close(tell)
                os.chdir(order["cwd"])
                os.environ.clear()
                os.environ.update(order["env"])
                sys.argv = ["exremote", *order["args"]]
                if order["last"]:
                    arm(order["last"])
                return True
            os.write(tell, f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            os.write(tell, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return False


if __name__ == "__main__":
    # As `python -m` has it: the current folder comes first, and this folder not at all.
    sys.path[0] = str(ROOT)
    sys.path.append(str(Path(__file__).parent))
    from kill_door import arm

    sys.path.pop()
    from exremote.cli import main
    from exremote.cli.commands import COMMANDS, INVENTORY_COMMANDS

    # What a cold command loads only when it needs it is loaded here once, for all of them.
    for command in (*COMMANDS, *INVENTORY_COMMANDS):
        command.load()
    for wire in ("psrp", "raw", "winrs"):
        importlib.import_module(f"exremote.transport.{wire}")
    # What is loaded stays: no child looks through it for garbage, which took each 0.4 s when it ended.
    gc.collect()
    gc.freeze()

    if serve(int(sys.argv[1]), int(sys.argv[2])):
        main()
