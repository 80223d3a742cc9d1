"""The other end of the lab's control channel, and how to run a lab in a process of its own.

Used by tests and the CLI.

It never imports the lab's world: what it knows of a lab, it asks.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from exremote.lab.site import HostSpec, specs_to_json

_END_S = 30.0
_SLOW, _SLOW_S = ("replace", "act"), 400
"""What has Wine make or start a Windows."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LabTrouble(RuntimeError):
    """The lab did not do what it was asked; the text is its own."""


def state_file() -> Path:
    """Return where a lab that was started from the command line notes how it is reached."""
    return Path(platformdirs.user_data_dir("exremote-lab")) / "lab.json"


@dataclass(frozen=True, slots=True)
class LabClient:
    """Asks one running lab, and changes it."""

    url: str
    token: str

    @classmethod
    def of_this_user(cls) -> LabClient:
        """Return a client of the lab that this user has started. Raise LabTrouble if there is none."""
        try:
            state = json.loads(state_file().read_text(encoding="utf-8"))
            return cls(state["control"], state["token"])
        except (OSError, ValueError, KeyError) as error:
            raise LabTrouble("no lab is running; start one with: exremote-lab up") from error

    def ask(self, do: str, **question: object) -> Any:
        """Ask one thing. Return the answer. Raise LabTrouble."""
        request = urllib.request.Request(  # noqa: S310 - the address is the lab's own, on loopback
            self.url, json.dumps({"do": do, **question}).encode(), {"X-Lab-Token": self.token}
        )
        try:
            with _OPENER.open(request, timeout=_SLOW_S if do in _SLOW else 120) as answer:
                value = json.loads(answer.read())
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise LabTrouble(f"the lab does not answer: {error}") from error
        if "error" in value:
            raise LabTrouble(value["error"])
        return value["result"]

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return the hosts with their ports."""
        return dict(self.ask("hosts"))

    def counters(self, host: str) -> dict[str, Any]:
        """Return what was counted about a host."""
        return dict(self.ask("counters", host=host))

    def reset_counters(self, host: str) -> None:
        """Count anew."""
        self.ask("reset_counters", host=host)

    def shells(self, host: str) -> list[dict[str, Any]]:
        """Return the open shells of a host."""
        return list(self.ask("shells", host=host))

    def drop_shell(self, host: str, shell_id: str) -> bool:
        """Have a shell die. Return whether it was there."""
        return bool(self.ask("drop_shell", host=host, shell_id=shell_id))

    def set_limits(self, host: str, **limits: object) -> None:
        """Change quotas: the fields of wsman.site.Limits."""
        self.ask("set_limits", host=host, limits=limits)

    def set_line(self, host: str, latency_s: float = 0.0, bandwidth_bps: int | None = None) -> None:
        """Change the wire to a host."""
        self.ask("set_line", host=host, latency_s=latency_s, bandwidth_bps=bandwidth_bps)

    def fault(self, text: str) -> str:
        """Add a misfortune; `lab/faults.py` has the form."""
        return str(self.ask("fault", text=text))

    def faults(self) -> list[dict[str, Any]]:
        """Return the schedule, with how often each has struck."""
        return list(self.ask("faults"))

    def clear_faults(self, host: str = "") -> int:
        """Forget the misfortunes of one host or all, and mend what they broke. Return how many there were."""
        return int(self.ask("clear_faults", host=host))

    def restart(self, host: str) -> None:
        """Restart the WinRM service of a host: its shells and connections are gone."""
        self.fault(f"{host}:host:*:restart")

    def edit(self, machine: str, op: str, **args: object) -> Any:
        """Change one thing of a machine; `lab/control.py` lists the changes. Bytes may be given as `data`."""
        data = args.get("data")
        if isinstance(data, bytes):
            args["data"] = base64.b64encode(data).decode()
        return self.ask("edit", host=machine, op=op, args=args)

    def read_file(self, machine: str, path: str) -> bytes:
        """Return what a file of a machine holds."""
        return base64.b64decode(self.edit(machine, "read_file", path=path))

    def break_host(self, machine: str) -> list[tuple[str, str]]:
        """Break a host in every way that a restore mends. Return what was done: a word and a place each."""
        return [(str(what), str(where)) for what, where in self.ask("break", host=machine)]

    def replace(
        self,
        host: str,
        name: str = "TEMP01",
        os: str | None = None,
        system_root: str | None = None,
        service_pack: str | None = None,
        drives: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Lose a host's machine: nothing answers there any more, and a new Windows does at the port returned.

        It has the lost one's system, Windows folder, service pack and drives unless told otherwise.
        """
        given = {"os": os, "system_root": system_root, "service_pack": service_pack, "drives": drives}
        options = {key: value for key, value in given.items() if value is not None}
        return dict(self.ask("replace", host=host, options={"called": name, **options}))

    def act(self, host: str, what: str, **options: object) -> dict[str, Any]:
        """Do at a host's console what a person does. Return its port, and what was done (`said`).

        `system-state` (stale), `reboot` (away_s, move), `exchange` (components, service_pack),
        `storage-groups` (last_set, mount, temp). A reboot without `away_s` returns when the machine answers
        again, with it at once.
        """
        return dict(self.ask("act", host=host, what=what, options=options))

    def lost(self, host: str, now: bool = False) -> dict[str, Any]:
        """Return what a host's lost machine was: name, port, files, registry, services.

        `now`: what its machine is now, in the same form.
        """
        return dict(self.ask("lost", host=host, now=now))

    def revive(self, host: str, off: bool = False) -> dict[str, Any]:
        """Have the lost machine answer again beside the new one, or be off again."""
        return dict(self.ask("revive", host=host, off=off))

    def end(self) -> None:
        """Ask the lab to end."""
        self.ask("end")


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab in a process of its own."""

    client: LabClient
    inventory: Path
    """Its inventory, in TOML."""
    environment: Mapping[str, str]
    """What commands that use the inventory need, over their own environment."""
    user: str
    password: str
    hosts: Mapping[str, int]
    """Port by name."""
    trust: Path
    """The certificate of its https listeners, in PEM."""
    process: subprocess.Popen[str]
    via: Mapping[str, str]
    """The gateway of each host that is reached through one."""


@contextlib.contextmanager
def running_lab(
    hosts: Sequence[HostSpec] = (),
    *,
    wine: bool = False,
    latency_s: float = 0.0,
    bandwidth_bps: int | None = None,
    start_s: float = 500.0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningLab]:
    """Run a lab in a process of its own, with these hosts or the standard ones, and end it. Raise LabTrouble.

    `wine`: on the real engine that EXREMOTE_LAB_POWERSHELL names. `environment`: what it has beside ours.
    """
    command = [sys.executable, "-m", "exremote.lab", "up", "--private", "--latency", str(latency_s)]
    if bandwidth_bps is not None:
        command += ["--bandwidth", str(bandwidth_bps)]
    if wine:
        command.append("--wine")
    variables = {**os.environ, **(environment or {})}
    if hosts:
        variables["EXREMOTE_LAB_SITE"] = specs_to_json(hosts)
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    process = subprocess.Popen(  # noqa: S603 - our own module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=variables,
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    late = threading.Timer(start_s, process.kill)
    late.start()
    try:
        line = process.stdout.readline()
        late.cancel()
        if not line.startswith("{"):
            process.kill()
            process.wait()
            errors.seek(0)
            why = errors.read().decode("utf-8", "replace").strip()[-2000:]
            raise LabTrouble(f"the lab did not start: {line.strip() or why or process.returncode}")
        said = json.loads(line)
        yield RunningLab(
            LabClient(said["control"], said["token"]),
            Path(said["inventory"]),
            {said["password_variable"]: said["password"], "NO_PROXY": "127.0.0.1"},
            said["user"],
            said["password"],
            said["hosts"],
            Path(said["trust"]),
            process,
            said["via"],
        )
    finally:
        late.cancel()
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        errors.close()
