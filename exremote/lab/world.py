"""The running lab: an endpoint, a site for each machine, and the misfortunes between them.

It holds the lab's threads and ports and ends them all on `stop`. It never listens or asks
on another address than loopback.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path

from exremote.lab import faults as misfortunes
from exremote.lab import older
from exremote.lab.behaviour import BODIES, Behaviour
from exremote.lab.behind import Behind, named, put_before
from exremote.lab.console import console
from exremote.lab.faults import Fault, FaultText, Schedule
from exremote.lab.losing import Loss
from exremote.lab.machine import Machine
from exremote.lab.packing import bomb
from exremote.lab.site import HostSpec, SpecText, build
from exremote.lab.wine import Prefix, furnished
from exremote.lab.wsman.engine import Call, ErrorRecord, Record, RunScript, ScriptThrew
from exremote.lab.wsman.server import WINRM_2, Counters, Endpoint, Limits, Misfortune, RequestInfo, Site
from exremote.script import ScriptLibrary

PASSWORD_VARIABLE = "EXREMOTE_LAB_PASSWORD"  # noqa: S105 - its name, not its value
ENGINE_VARIABLE = "EXREMOTE_LAB_POWERSHELL"
USER = "labadmin"
_QUOTA = 2150859173
_HOST_EFFECTS = frozenset(misfortunes.HOST)


@dataclass(slots=True)
class Host:
    """One host of the running lab."""

    spec: HostSpec
    port: int
    machine: Machine | None = None
    """None: it is down."""
    prefix: Prefix | None = None
    """Where the real engine plays it."""
    listener: str = ""
    """The name of the endpoint's site where it answers now; empty: its own name."""
    via: str = ""
    """The host through which it is reached; empty: it answers itself."""
    seat: str = ""
    """The name by which the gateway knows its new machine, until that has the lost one's name."""
    loss: Loss | None = None
    """What is known of the machine that was lost, where another one stands in its place."""
    away: bool = False
    """Whether its machine is off, or starting."""
    trouble: str = ""
    """Why a start that nobody waited for failed."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while its machine is lost, or somebody is at its console."""


def spoiled(
    records: Iterator[Record],
    host: str,
    script: str,
    schedule: Schedule,
    call: Call,
    drop: Callable[[], None],
    unplug: Callable[[], object] = lambda: None,
) -> Iterator[Record]:
    """Yield the records of a script, spoilt as the schedule says. Raise ScriptThrew if it says so."""
    for record in records:
        current: Record = record
        keep = True
        for fault in schedule.strike(host, script, misfortunes.RECORDS):
            match fault.effect:
                case "corrupt" if isinstance(current, bytes) and current:
                    current = current[:-1] + bytes([current[-1] ^ 1])
                case "shorten" if isinstance(current, bytes):
                    current = current[: len(current) // 2]
                case "skip":
                    keep = False
                case "throw":
                    raise ScriptThrew(ErrorRecord(fault.value, "The lab was told to fail here."))
                case "error":
                    yield ErrorRecord(fault.value, "The lab was told to fail here.")
                case "delay":
                    call.stopping.wait(fault.number)
                case "gone":
                    drop()
                    return
                case "end":
                    return
                case "unplug":
                    unplug()
                case "bomb":
                    current = b"\1" + bomb(int(fault.number))
                case "endless":
                    while not call.stopping.is_set():
                        yield current
                    return
        if keep:
            yield current


def misfortune(struck: Sequence[Fault], size: int) -> Misfortune | None:
    """Return what happens to one request or answer of `size` bytes on which these faults strike."""
    if not struck:
        return None
    happens: dict[str, object] = {}
    for fault in struck:
        match fault.effect:
            case "close" | "lost" | "restart" | "reboot":
                happens["close"] = True
            case "reset":
                happens["reset"] = True
            case "reset-after":
                happens["cut_after"] = int(fault.number)
                happens["reset"] = True
            case "hang-up":
                happens["close_behind"] = True
            case "status":
                happens["status"] = int(fault.number)
            case "fault":
                happens["fault"] = int(fault.number)
            case "quota":
                happens["fault"] = _QUOTA
                happens["fault_message"] = "The lab was told that this user has no shell left."
            case "delay":
                happens["delay_s"] = fault.number
            case "gone":
                happens["drop_shell"] = True
            case "cut":
                happens["cut_after"] = int(fault.number)
            case "corrupt":
                happens["corrupt_at"] = int(fault.number) if fault.value else size // 2
            case "bad-mic":
                happens["bad_mic"] = True
            case "forget":
                happens["forget_authentication"] = True
    return Misfortune(**happens)  # type: ignore[arg-type]


class World:
    """All hosts of one lab."""

    def __init__(
        self,
        specs: Sequence[HostSpec],
        *,
        library: ScriptLibrary | None = None,
        engine: Sequence[str] = (),
        password: str = "",
        latency_s: float = 0.0,
        bandwidth_bps: int | None = None,
    ) -> None:
        """Start the hosts.

        `engine`: command line of a real PowerShell, without a mode; empty: the simulated one.
        """
        self.library = library or ScriptLibrary.load()
        self.schedule = Schedule()
        self.password = password or secrets.token_urlsafe(18)
        self.behaviours: dict[str, Behaviour] = {}
        self.hosts: dict[str, Host] = {}
        self._holders: list[socket.socket] = []
        self._timers: list[threading.Timer] = []
        self.endpoint = Endpoint(USER, self.password, latency_s=latency_s, bandwidth_bps=bandwidth_bps)
        self._folder = tempfile.TemporaryDirectory(prefix="exremote-lab-")
        self.folder = Path(self._folder.name)
        try:
            self._furnish(specs, list(engine))
            self.inventory = self._write_inventory()
        except BaseException:
            self.stop()
            raise

    @property
    def user(self) -> str:
        """The account, with its domain."""
        return f"{self.endpoint.domain}\\{self.endpoint.user}"

    def _furnish(self, specs: Sequence[HostSpec], engine: list[str]) -> None:
        self.engine = engine
        prefixes: dict[str, Prefix] = {}
        machines = {spec.name: build(spec) for spec in specs if not spec.down}
        gateways = self._put_behind(specs, machines)
        if engine:
            Prefix.template(engine)

            def make(name: str) -> None:
                def note(prefix: Prefix) -> None:
                    prefixes[name] = prefix

                furnished(machines[name], engine, note)

            with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
                made = [pool.submit(make, name) for name in machines if name not in gateways]
            for name, prefix in prefixes.items():
                self.hosts[name] = Host(
                    next(spec for spec in specs if spec.name == name), 0, machines[name], prefix
                )
            for one in made:
                one.result()
            self.hosts.clear()
            for name, behind in gateways.items():
                # One Windows plays both: it is asked for itself, by its name.
                prefixes[name] = prefixes[behind[0]]
        for spec in specs:
            if spec.via and not spec.down and spec.name in gateways.get(spec.via, ()):
                self.hosts[spec.name] = Host(
                    spec, 0, machines[spec.name], prefixes.get(spec.name), spec.via, spec.via
                )
                continue
            if spec.down:
                # A port that is bound and listens to nobody: refused for as long as the lab is there.
                holder = socket.socket()
                holder.bind(("127.0.0.1", 0))
                self._holders.append(holder)
                self.hosts[spec.name] = Host(spec, holder.getsockname()[1])
                continue
            machine = machines[spec.name]
            played_by = prefixes.get(spec.name)
            where = self.endpoint.add(self.site(spec.name, spec, machine, played_by))
            self.hosts[spec.name] = Host(spec, where.port, machine, played_by)

    def _put_behind(self, specs: Sequence[HostSpec], machines: Mapping[str, Machine]) -> dict[str, list[str]]:
        """Given all hosts, put those behind their gateways that are reached through one.

        One Windows under Wine plays gateway and host: the first has it, others answer themselves. Return the
        names behind each gateway. Raise SpecText.
        """
        behind: dict[str, list[str]] = {}
        for spec in specs:
            if spec.via and not (self.engine and spec.via in behind):
                if spec.via not in machines:
                    raise SpecText(f"{spec.name}: the lab has no host {spec.via} to reach it through")
                behind.setdefault(spec.via, []).append(spec.name)
        for gateway, names in behind.items():
            accounts = {self.user: self.password}
            hosts = {name.lower(): Behind(machines[name], accounts) for name in names if name in machines}
            put_before(machines[gateway], hosts)
        return behind

    def site(self, listener: str, spec: HostSpec, machine: Machine, prefix: Prefix | None) -> Site:
        """Return the listener of one machine, by a name of its own: the host's, or that and `/` and more."""
        run = self._script_runner(spec.name, machine)
        return Site(
            listener,
            run_script=run,
            run_command=console(machine.name, run, self.library),
            relay=self.engine if prefix else None,
            relay_environment=prefix.environment if prefix else None,
            limits=self._limits(spec),
            hook=self._hook,
            https=spec.https,
            latency_s=spec.latency_s,
            bandwidth_bps=spec.bandwidth_bps,
        )

    def listener(self, name: str) -> str:
        """Return the name of the listener where a host answers now. Raise KeyError."""
        return self.hosts[name].listener or name

    @staticmethod
    def _limits(spec: HostSpec) -> Limits:
        return WINRM_2 if spec.winrm == 2 else Limits()

    def _script_runner(self, name: str, machine: Machine) -> RunScript:
        behaviour = Behaviour(machine, self.library)
        self.behaviours.setdefault(name, behaviour)

        def run(
            text: str, parameters: Mapping[str, object], source: Iterator[object], call: Call
        ) -> Iterator[Record]:
            records = behaviour.run(text, parameters, source, call)
            script = behaviour.name_of(text).removeprefix(BODIES)
            about = named(parameters, machine.behind) or name
            if not self.schedule.waits_for(about, script):
                return records
            return spoiled(
                records,
                about,
                script,
                self.schedule,
                call,
                lambda: self._drop(name, call.shell_id),
                lambda: self._behind(about, down=True),
            )

        return run

    def _drop(self, name: str, shell_id: str) -> None:
        # From a thread of its own: it waits for the engine's thread, which may be the one that asks.
        where = self.listener(name)
        threading.Thread(target=self.endpoint.drop_shell, args=(where, shell_id), daemon=True).start()

    def _hook(self, info: RequestInfo) -> Misfortune | None:
        effects = misfortunes.BEFORE if info.phase == "request" else misfortunes.AFTER
        name = info.site.partition("/")[0]
        struck = self.schedule.strike(name, info.action, effects)
        for fault in struck:
            if fault.effect == "restart":
                self.restart(name)
            elif fault.effect == "reboot":
                self.endpoint.refuse(info.site)
                self.later(fault.number, self.endpoint.accept, info.site)
        return misfortune(struck, info.size)

    # --- what the control channel asks ---

    def fault(self, text: str) -> str:
        """Add a fault; what concerns a whole host happens at once. Return it as text. Raise FaultText."""
        self._check_host(misfortunes.parse(text))
        fault = self.schedule.add(text)
        if fault.what == "host":
            for name, host in self.hosts.items():
                if host.machine is not None and fault in self.schedule.strike(name, "host", _HOST_EFFECTS):
                    self._befall(name, host.machine, fault)
        return str(fault)

    def _check_host(self, fault: Fault) -> None:
        """Given a fault, raise FaultText if there is no host on which it could strike."""
        meant = [host for name, host in self.hosts.items() if fnmatchcase(name.upper(), fault.host)]
        if not meant:
            raise FaultText(f"the lab has no host {fault.host}; there are: {', '.join(self.hosts)}")
        if fault.effect == "unplug" and not all(host.via for host in meant):
            raise FaultText(f"{fault.host} is behind no gateway from which it could be unplugged")
        if all(host.machine is None for host in meant):
            raise FaultText(f"nothing listens at {fault.host}: nothing more can go wrong there")

    def clear_faults(self, host: str = "") -> int:
        """Forget faults, of one host or all, and mend what they broke. Return how many there were."""
        gone = self.schedule.clear(host)
        for name, one in self.hosts.items():
            if one.machine is not None and (not host or name == host.upper()):
                self._mend(name, one.machine)
        return len(gone)

    def _befall(self, name: str, machine: Machine, fault: Fault) -> None:
        if self._behind(name, down=fault.effect in ("refused", "restart")):
            if fault.effect == "disk-full":
                machine.files.full = True
            self.later(fault.seconds or 0.1, self._mend, name, machine) if fault.effect == "restart" else None
            return
        match fault.effect:
            case "disk-full":
                machine.files.full = True
            case "refused":
                self.endpoint.refuse(self.listener(name))
            case "restart":
                self.restart(name)
        if fault.seconds:
            self.later(fault.seconds, self._mend, name, machine)

    def _behind(self, name: str, *, down: bool) -> bool:
        """Given a host, have it answer its gateway or not. Return whether it is behind one."""
        if not (gateway := self.hosts[name].via):
            return False
        self.machine(gateway).behind[name.lower()].down = down
        return True

    def later(self, seconds: float, what: Callable[..., None], *args: object) -> None:
        """Do something after a time, if the lab is there then."""
        timer = threading.Timer(seconds, what, args)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _mend(self, name: str, machine: Machine) -> None:
        machine.files.full = False
        if not self._behind(name, down=False) and not self.hosts[name].away:
            self.endpoint.accept(self.listener(name))

    def restart(self, name: str) -> None:
        """Restart a host's WinRM service: all connections and shells are gone. Raise KeyError."""
        self.endpoint.refuse(self.listener(name))
        self.endpoint.accept(self.listener(name))

    def counters(self, name: str) -> dict[str, object]:
        """Return what was counted about a host. Raise KeyError."""
        counters: Counters = self.endpoint.counters(self.listener(name))
        return {
            key: dict(value) if isinstance(value, dict) else value
            for key, value in vars(counters).items()
            if not key.startswith("_")
        }

    def shells(self, name: str) -> list[dict[str, object]]:
        """Return the shells of a host. Raise KeyError."""
        return [asdict(shell) for shell in self.endpoint.shells(self.listener(name))]

    def set_limits(self, name: str, changes: Mapping[str, object]) -> None:
        """Change some quotas of a host. Raise KeyError for an unknown host, TypeError for a quota."""
        current = self.endpoint._service(self.listener(name)).site.limits
        values = {field.name: getattr(current, field.name) for field in fields(current)} | dict(changes)
        self.endpoint.set_limits(self.listener(name), Limits(**values))

    def machine(self, name: str) -> Machine:
        """Return the machine of a host. Raise KeyError if there is none of that name, or it is down."""
        machine = self.hosts[name].machine
        if machine is None:
            raise KeyError(name)
        return machine

    def stop(self) -> None:
        """End everything; leave nothing behind."""
        for timer in self._timers:
            timer.cancel()
        self.endpoint.stop()
        for holder in self._holders:
            holder.close()
        for host in self.hosts.values():
            if host.prefix is not None:
                host.prefix.close()  # twice is once
        self._folder.cleanup()

    # --- the inventory ---

    def _write_inventory(self) -> Path:
        """Write an inventory of these hosts, and what https clients have to trust. Return its path."""
        trust = self.folder / "trust.pem"
        trust.write_bytes(self.endpoint.certificate.pem)
        text = inventory_text(self.hosts, self.user, self.folder / "backup")
        path = self.folder / "lab.toml"
        path.write_text(text, encoding="utf-8")
        return path


def inventory_text(hosts: Mapping[str, Host], user: str, repository: Path) -> str:
    """Return an inventory in TOML for hosts of the lab."""
    lines = [
        "# Written by exremote-lab: the hosts of a lab on this computer. They are gone when the lab is.",
        f"repository = '{repository}'",
        "",
        "[defaults]",
        'auth = "ntlm"',
        f"credential = {{ environment = '{PASSWORD_VARIABLE}', username = '{user}' }}",
        "",
    ]
    gateways = {host.via for host in hosts.values()} - {""}
    for name in gateways & hosts.keys():
        lines += [f"[gateways.{name}]", 'address = "127.0.0.1"', f"port = {hosts[name].port}"]
        if hosts[name].prefix is not None:
            # Wine has neither log-ons at other computers nor WMI.
            lines += ['second_hop = "delegated"', "wmi = false"]
        lines.append("")
    for name, host in hosts.items():
        if name in gateways:
            continue
        lines += [f"[hosts.{name}]", 'address = "127.0.0.1"', f"port = {host.port}"]
        if host.via:
            lines[-2:] = [f'address = "{name}"', f'via = "{host.via}"']
        if host.spec.down:
            # It will not come back: there is no need to be as patient as with a real server.
            lines.append("retry = { attempts = 2, total_s = 5, first_wait_s = 0.5 }")
        if host.spec.https:
            lines += ['scheme = "https"', "verify = 'trust.pem'"]
        if said := variables_of(host.spec):
            pairs = ", ".join(f"{key} = '{text}'" for key, text in said.items())
            lines.append(f"variables = {{ {pairs} }}")
        if "groupwise" in host.spec.connectors:
            lines.append("probe = true")
        if "msmail" in host.spec.connectors and not host.spec.sick:
            lines.append('backup = ["connectors", "stopped-copy"]')
        lines.append("")
    return "\n".join(lines)


def variables_of(spec: HostSpec) -> dict[str, str]:
    """Given a host, return what its operator says in the inventory."""
    said = {}
    if "groupwise" in spec.connectors:
        said["groupwise_api"] = spec.api
        said["netware_media"] = "lab: shelf 3, disc 12"
    if "msmail" in spec.connectors:
        said["dirsync_role"] = "requestor"
    if "ccmail" in spec.connectors:
        said["ccmail_post_office"] = older.POST_OFFICE
    return said


def engine_from_environment() -> list[str]:
    """Return the command line of the real engine that the environment names, or nothing."""
    return os.environ.get(ENGINE_VARIABLE, "").split()
