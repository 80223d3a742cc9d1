"""The front door's tests: `python -m exremote` as a process of its own, against a lab in another one.

The network lies between the two, as it does on a site. Every test that uses `cli` runs on the simulated
engine and, where EXREMOTE_LAB_POWERSHELL names one, on a real PowerShell; what the latter cannot give
stands in `NOT_UNDER_WINE`. After each test no shell may be open at a host, no output may have shown a
traceback, and no password may stand in any output or file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from warm_door import WarmDoor, usable

from exremote.lab.client import LabClient, LabTrouble, RunningLab, running_lab
from exremote.lab.site import Bulk, HostSpec
from exremote.repository import Repository

ROOT = Path(__file__).parents[2]
CONNDATA = r"C:\Program Files\Exchsrvr\Conndata"
API = r"\\NWFS01\SYS\GWDOM\WPGATE\API"
BULK = Bulk(files=24, size=131_072)
"""3 MiB that do not deflate: some dozens of answers, so that things can go wrong between them."""
HOSTS = (
    HostSpec("EXNOTES01", ("notes", "calendar")),
    HostSpec("EXGW01", ("groupwise",)),
    HostSpec("EXSICK01", ("notes", "groupwise"), sick=True, api=r"\\NWFS02\SYS\GWDOM\WPGATE\API"),
    HostSpec("EXBIG01", ("calendar", "groupwise"), bulk=(BULK,), api=r"\\NWFS03\SYS\GWDOM\WPGATE\API"),
    HostSpec("EXDOWN01", ("notes",), down=True),
)
APIS = {spec.name: spec.api for spec in HOSTS}
HEALTHY = ("EXNOTES01", "EXGW01")
UNPLAYED = {"simulated": set[str](), "powershell": {"notes.processes"}}
"""By engine: checks that warn on a healthy host: Wine plays a service by one process of another name."""
LIVING = (*HEALTHY, "EXSICK01")
WITHHELD = "lab-secret-that-must-not-travel"
"""The password attribute of the lab's directory objects."""

NOT_UNDER_WINE: Mapping[str, str] = {
    "directory": "Wine has no Active Directory, so there are no connector objects",
    "events": "Wine's event log is empty, and nothing can be logged at a chosen time",
    "changing": "the lab cannot change a file of a Wine prefix between two bytes of one reader",
    "denied": "Wine runs as one Unix user, who may read everything: access lists deny nothing",
    "accounts": "Wine has no second user and no WNet connection with a password of its own",
    "clock": "a Wine prefix has no clock of its own",
    "records": "a real engine's records cannot be spoilt one by one; its answers on the wire can",
    "disk": "a Wine prefix has no disk of its own that could be full",
    "wire": "the misfortune is the endpoint's own, before or after any engine",
    "jobs": "winlab's ntbackup knows no such misfortune, or Wine has no second one to run beside it",
    "local": "no host is asked: it is about what lies on this machine",
    "time": "a real engine would take minutes for it, and the promise is ours alone",
    "apart": "it is about the repository or the command line; hosts are asked on both engines elsewhere",
    "judged": "it is about what is made of a host's answers; its neighbours have real ones of the same kind",
    "lists": "Wine makes access lists up from the rights of Unix: none can be set and read back",
    "twice": "test_recover.py goes the same way on a real engine, through the command line",
}
"""What runs on the simulated engine only, and why. One place for all of it."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known that leads to `NOT_UNDER_WINE`."""
    config.addinivalue_line("markers", "not_under_wine(what): runs on the simulated engine only")


@pytest.fixture(scope="session", params=["simulated", pytest.param("powershell", marks=pytest.mark.wine)])
def engine(request: pytest.FixtureRequest) -> str:
    """Return which engine plays the hosts."""
    name = str(request.param)
    if name == "powershell" and not os.environ.get("EXREMOTE_LAB_POWERSHELL"):
        pytest.skip("EXREMOTE_LAB_POWERSHELL is not set: no real PowerShell to run")
    return name


@pytest.fixture(scope="session", autouse=True)
def warm() -> Iterator[None]:
    """Have commands start fast, in processes of their own all the same."""
    if not usable():
        yield
        return
    Cli.warm = WarmDoor()
    yield
    Cli.warm.close()
    Cli.warm = None


@pytest.fixture(scope="session")
def labs() -> Iterator[Callable[[str], RunningLab]]:
    """Return what gives the lab of an engine: started at its first use, and kept until the session ends."""
    running: dict[str, RunningLab] = {}
    failed: dict[str, LabTrouble] = {}
    with ExitStack() as stack:

        def of(engine: str) -> RunningLab:
            if engine in failed:
                raise failed[engine]
            if engine not in running:
                try:
                    running[engine] = stack.enter_context(running_lab(HOSTS, wine=engine == "powershell"))
                except LabTrouble as trouble:
                    failed[engine] = trouble
                    raise
            return running[engine]

        yield of


@pytest.fixture(scope="session")
def lab(engine: str, labs: Callable[[str], RunningLab]) -> RunningLab:
    """Run the lab of this session, in a process of its own."""
    return labs(engine)


@dataclass(frozen=True, slots=True)
class Ran:
    """How one command ended."""

    args: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Return both outputs."""
        return self.out + self.err

    @property
    def json(self) -> Any:
        """Return standard output as the one JSON document that it must be."""
        return json.loads(self.out)


@dataclass
class World:
    """The lab as a test may change it: whatever it does is undone behind the test."""

    lab: RunningLab
    engine: str
    _undo: list[Callable[[], object]] = field(default_factory=list)

    @property
    def client(self) -> LabClient:
        """Return the control channel."""
        return self.lab.client

    def fault(self, *texts: str) -> None:
        """Add misfortunes."""
        for text in texts:
            self.client.fault(text)

    def struck(self) -> int:
        """Return how often misfortunes have struck."""
        return sum(int(fault["struck"]) for fault in self.client.faults())

    def exists(self, host: str, path: str) -> bool:
        """Return whether a host has a file. A Wine prefix is asked through its machine's own disk."""
        if self.engine == "powershell":
            return any(found.exists() for found in self._unix(host, path))
        try:
            self.client.read_file(host, path)
        except LabTrouble:
            return False
        return True

    def read(self, host: str, path: str) -> bytes:
        """Return what a file of a host holds. A Wine prefix is asked through its machine's own disk."""
        if self.engine == "powershell":
            return next(found for found in self._unix(host, path) if found.exists()).read_bytes()
        return self.client.read_file(host, path)

    def names(self, host: str, folder: str) -> list[str]:
        """Return what is in a folder of a host. A Wine prefix is asked through its machine's own disk."""
        if self.engine == "powershell":
            found = [path for path in self._unix(host, folder) if path.is_dir()]
            return sorted(path.name for home in found for path in home.iterdir())
        return sorted(self.client.edit(host, "list", path=folder))

    def _unix(self, host: str, path: str) -> list[Path]:
        """Return where a path of a Wine prefix may be; the prefix is known by its host's name."""
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "exremote-lab" / "wine"
        prefixes = home.glob(f"{self.lab.process.pid}-{host}-*")
        below = "unc" + path[1:] if path.startswith("\\\\") else f"drive_{path[0].lower()}{path[2:]}"
        return [prefix / below.replace("\\", "/") for prefix in prefixes]

    def write(self, host: str, path: str, data: bytes, **more: object) -> None:
        """Write a file; afterwards it is as it was."""
        try:
            old = self.client.read_file(host, path)
            self._undo.append(lambda: self.client.edit(host, "write_file", path=path, data=old))
        except LabTrouble:
            self._undo.append(lambda: self._forget(host, path))
        self.client.edit(host, "write_file", path=path, data=data, **more)

    def _forget(self, host: str, path: str) -> None:
        """Remove a file, unless a command has done so already."""
        with contextlib.suppress(LabTrouble):
            self.client.edit(host, "remove_file", path=path)

    def remove(self, host: str, path: str) -> None:
        """Remove a file; afterwards it is there again."""
        old = self.client.read_file(host, path)
        self._undo.append(lambda: self.client.edit(host, "write_file", path=path, data=old))
        self.client.edit(host, "remove_file", path=path)

    def set_registry(self, host: str, key: str, name: str, data: str, usual: str) -> None:
        """Set a value; afterwards it is the usual one."""
        self.client.edit(host, "set_registry", key=key, name=name, data=data)
        self._undo.append(lambda: self.client.edit(host, "set_registry", key=key, name=name, data=usual))

    def stop_service(self, host: str, name: str) -> None:
        """Stop a service; afterwards it runs."""
        self.client.edit(host, "set_service", name=name, state="Stopped")
        self._undo.append(lambda: self.client.edit(host, "set_service", name=name, state="Running"))

    def lock(self, host: str, path: str) -> None:
        """Write a new file and hold it open without sharing; afterwards it is gone."""
        self.write(host, path, b"held by a service")
        self.client.edit(host, "lock_file", path=path)
        self._undo.append(lambda: self.unlock(host, path))

    def unlock(self, host: str, path: str) -> None:
        """Let a file go. Under Wine only its name can be taken away from the process that holds it."""
        with contextlib.suppress(LabTrouble):
            self.client.edit(host, "lock_file", path=path, locked=False)

    def deny(self, host: str, path: str) -> None:
        """Take away the rights on a file, folder or registry key; afterwards they are back."""
        self.client.edit(host, "deny", path=path)
        self._undo.append(lambda: self.client.edit(host, "deny", path=path, denied=False))

    def changing(self, host: str, path: str, times: int) -> None:
        """Have a new file change under its next readers; afterwards it is gone."""
        self.write(host, path, b"version 00000000")
        self.client.edit(host, "change_while_read", path=path, times=times)

    def limits(self, host: str, **limits: object) -> None:
        """Change quotas; afterwards they are those of WinRM 2.0 again."""
        usual = {"max_shells_per_user": 5, "max_envelope_kb": 150, "idle_timeout_s": 180.0}
        self.client.set_limits(host, **limits)
        self._undo.append(lambda: self.client.set_limits(host, **{name: usual[name] for name in limits}))

    def set(self, host: str, name: str, value: bool) -> None:
        """Change a property of a machine; afterwards it is true again."""
        self.client.edit(host, "set", name=name, value=value)
        self._undo.append(lambda: self.client.edit(host, "set", name=name, value=True))

    def line(self, host: str, latency_s: float = 0.0, bandwidth_bps: int | None = None) -> None:
        """Make a line slow; afterwards it is fast again."""
        self.client.set_line(host, latency_s, bandwidth_bps)
        self._undo.append(lambda: self.client.set_line(host))

    def shells(self) -> dict[str, list[str]]:
        """Return the shells that are open, by host."""
        names = [name for name, host in self.client.hosts().items() if not host["down"]]
        return {name: ids for name in names if (ids := [s["id"] for s in self.client.shells(name)])}

    def no_shell(self, patience_s: float = 3.0) -> dict[str, list[str]]:
        """Return the shells that are still open after a moment: none, if all is well."""
        end = time.monotonic() + patience_s
        while (open_now := self.shells()) and time.monotonic() < end:
            time.sleep(0.05)
        return open_now

    def restore(self) -> None:
        """Undo everything."""
        self.client.clear_faults()
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()


RETRY = "attempts = 3\ntotal_s = 20\nfirst_wait_s = 0.05"


@dataclass
class Cli:
    """The command line in a folder of its own, with an inventory of the lab's hosts."""

    lab: RunningLab
    folder: Path
    wire: str = "psrp"
    more: dict[str, str] = field(default_factory=dict)
    """Environment over the usual one."""
    gateway: list[str] = field(default_factory=list)
    """Lines for the gateways of hosts that are reached through one."""
    secrets: list[str] = field(default_factory=list)
    """What must not be seen anywhere."""
    ran: list[Ran] = field(default_factory=list)
    warm: ClassVar[WarmDoor | None] = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.secrets += [self.lab.password, WITHHELD]
        self.inventory(*(name for name in LIVING if name in self.lab.hosts))

    @property
    def repository(self) -> Path:
        """Return where the repository is."""
        return self.folder / "repository"

    def inventory(
        self,
        *hosts: str,
        extra: Mapping[str, str] | None = None,
        defaults: str = "",
        retry: str = RETRY,
        top: str = "",
    ) -> Path:
        """Write the inventory: these hosts, `extra` lines for each of them, `defaults` for all."""
        account = self.lab.user.replace("'", "")
        lines = [
            top,
            f"repository = '{self.repository}'",
            "[defaults]",
            "auth = 'ntlm'",
            f"wire = '{self.wire}'",
            f"credential = {{ environment = 'EXREMOTE_LAB_PASSWORD', username = '{account}' }}",
            defaults,
            "[defaults.retry]",
            retry,
        ]
        ports = {**self.lab.hosts}
        for gateway in {self.lab.via[name] for name in hosts if name in self.lab.via}:
            lines += [f"[gateways.{gateway}]", "address = '127.0.0.1'", f"port = {ports[gateway]}"]
            lines += self.gateway
        for name in hosts:
            if name in self.lab.via:
                lines += [f"[hosts.{name}]", f"via = '{self.lab.via[name]}'"]
            else:
                lines += [f"[hosts.{name}]", "address = '127.0.0.1'", f"port = {ports[name]}"]
            lines += [(extra or {}).get(name, "")]
            if name in APIS and "variables" not in lines[-1]:
                lines += [f"variables = {{ groupwise_api = '{APIS[name]}' }}"]
        path = self.folder / "site.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    @property
    def environment(self) -> dict[str, str]:
        """Return what a command gets: nothing of the developer's own settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("EXREMOTE", "XDG_", "FORCE_"))}
        return {
            **kept,
            **self.lab.environment,
            "EXREMOTE_INVENTORY": str(self.folder / "site.toml"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PYTHONPATH": str(ROOT),
            **self.more,
        }

    def command(self, *args: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "exremote", *args]

    def __call__(
        self,
        *args: str,
        code: int | None = 0,
        timeout_s: float = 120.0,
        before: Callable[[], object] | None = None,
        traceback: bool = False,
    ) -> Ran:
        """Run a command to its end. It must end with this code and show no traceback."""
        if self.warm is not None and before is None:
            ran = Ran(args, *self.warm.run(args, self.environment, self.folder, timeout_s))
        else:
            done = subprocess.run(
                self.command(*args),
                env=self.environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
                preexec_fn=before,
            )
            ran = Ran(args, done.returncode, done.stdout, done.stderr)
        self.ran.append(ran)
        told = f"{' '.join(args)} ended with {ran.code}\n--- out\n{ran.out}\n--- err\n{ran.err}"
        assert code is None or ran.code == code, told
        assert traceback or "Traceback" not in ran.all, told
        return ran

    @contextlib.contextmanager
    def started(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, and end it if the test does not."""
        process = subprocess.Popen(
            self.command(*args),
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            out, err = process.communicate()
            self.ran.append(Ran(args, process.returncode, out or "", err or ""))

    def init(self) -> None:
        """Make the repository; `test_cli_look` does it through the door."""
        Repository.create(self.repository)

    def snapshots(self) -> list[dict[str, Any]]:
        """Return what `snapshots --json` lists."""
        return list(self("snapshots", "--json").json)

    def retries(self) -> list[dict[str, Any]]:
        """Return what the newest journal says of attempts that failed and were made again."""
        runs = [
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for path in (self.repository / "runs").glob("*.jsonl")
        ]
        newest = max(runs, key=lambda events: str(events[0]["at"]))
        return [e for e in newest if e["kind"] == "retry"]

    def folder_of(self, host: str, connector: str) -> Path:
        """Return the folder of the only snapshot of a host's connector."""
        found = list((self.repository / "snapshots" / host).glob(f"*-{connector}-*"))
        assert len(found) == 1, found
        return found[0]

    def folders_of(self, host: str, connector: str) -> list[Path]:
        """Return the folders of a connector's snapshots, oldest first: two may be of the same second."""
        found = (self.repository / "snapshots" / host).glob(f"*-{connector}-*")
        return sorted(found, key=lambda folder: str(manifest_of(folder)["created"]))

    def manifest(self, host: str, connector: str) -> dict[str, Any]:
        """Return the manifest of the only snapshot of a host's connector."""
        return manifest_of(self.folder_of(host, connector))

    def leaks(self) -> list[str]:
        """Return where a secret stands: in an output, or in a file of the folder."""
        places = [f"output of {' '.join(ran.args)}" for ran in self.ran for s in self.secrets if s in ran.all]
        needles = [s.encode(c) for s in self.secrets for c in ("utf-8", "utf-16-le")]
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                places += [str(path) for needle in needles if needle in data]
        return places


def both_ways(host: HostSpec, way: str) -> tuple[HostSpec, ...]:
    """Given a host, return it as it is, or (`gateway`) behind a gateway, with that."""
    if way == "direct":
        return (host,)
    return (HostSpec("GW01", os="2008r2", winrm=3), replace(host, via="GW01"))


def manifest_of(folder: Path) -> dict[str, Any]:
    """Given a snapshot's folder, return its manifest as a JSON object: a program needs no exremote for it."""
    return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def skip_under_wine(request: pytest.FixtureRequest, engine: str) -> None:
    """Skip a test that says that it runs on the simulated engine only, with its reason."""
    for mark in request.node.iter_markers("not_under_wine"):
        if engine == "powershell":
            pytest.skip(f"simulated engine only: {NOT_UNDER_WINE[mark.args[0]]}")
        assert mark.args[0] in NOT_UNDER_WINE


@pytest.fixture
def world(lab: RunningLab, engine: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """Return the lab, whole again after the test."""
    skip_under_wine(request, engine)
    for name, host in lab.client.hosts().items():
        if not host["down"]:
            lab.client.reset_counters(name)
    changed = World(lab, engine)
    try:
        yield changed
        changed.client.clear_faults()
        assert changed.no_shell() == {}, "shells are left behind"
    finally:
        for name, ids in changed.shells().items():
            for shell in ids:
                changed.client.drop_shell(name, shell)
        changed.restore()


@pytest.fixture
def cli(world: World, lab: RunningLab, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a folder of its own; afterwards nothing secret may stand anywhere."""
    door = Cli(lab, tmp_path / "door")
    yield door
    assert door.leaks() == []


@pytest.fixture(params=["psrp", "winrs"])
def any_wire(request: pytest.FixtureRequest, cli: Cli, engine: str) -> Cli:
    """Return a command line on either wire."""
    cli.wire = str(request.param)
    cli.inventory(*LIVING)
    return cli


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Callable[..., tuple[Cli, World]]]:
    """Return how to start a lab with other hosts, simulated, for one test."""
    with contextlib.ExitStack() as stack:
        doors: list[tuple[Cli, World]] = []

        def start(*hosts: HostSpec) -> tuple[Cli, World]:
            running = stack.enter_context(running_lab(hosts))
            door, changed = Cli(running, tmp_path / f"door{len(doors)}"), World(running, "simulated")
            door.inventory(*(h.name for h in hosts))
            doors.append((door, changed))
            return door, changed

        yield start
        for door, changed in doors:
            changed.client.clear_faults()
            assert changed.no_shell() == {}, "shells are left behind"
            assert door.leaks() == []


def held(cli: Cli, host: str, connector: str) -> list[tuple[object, ...]]:
    """Return what the only snapshot of a host's connector holds, in a form that two snapshots share."""
    folder = cli.folder_of(host, connector)
    entries = manifest_of(folder)["entries"]
    for entry in entries:
        data = (folder / entry["stored"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], entry["path"]
    return sorted((e["item"], e["path"], e["size"], e["sha256"]) for e in entries)


def wait_for_bytes(world: World, host: str, count: int) -> None:
    """Wait until a host has sent so much: a transfer is under way."""
    end = time.monotonic() + 60
    while world.client.counters(host)["bytes_out"] < count:
        assert time.monotonic() < end, world.client.counters(host)
        time.sleep(0.01)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C."""
    process.send_signal(signal.SIGINT)
