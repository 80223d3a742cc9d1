"""The lab's machines lost and replaced: where a new one answers, what is done at its console, its starts.

What a deed does to the machine is in `reinstalling`; here it reaches the endpoint and Wine. It gives nothing
of the lost machine's files back.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from exremote.lab import seats
from exremote.lab.machine import Machine, OperatingSystem
from exremote.lab.reinstalling import (
    TEMP,
    CannotBe,
    Changes,
    Standing,
    boot,
    new_windows,
    restore_groups,
    restore_state,
    set_up,
    start,
)
from exremote.lab.site import SYSTEMS
from exremote.lab.survey import Survey, survey
from exremote.lab.wine import Prefix, WineTrouble, furnished, run

if TYPE_CHECKING:
    from exremote.lab.world import Host, World

Answer = dict[str, Any]


@dataclass(slots=True)
class Loss:
    """A machine that was lost, and how far the one in its place has come."""

    machine: Machine
    """The lost one, as it was."""
    port: int
    """Where it answered."""
    was: Survey
    standing: Standing
    number: int = 1
    """Counts the machines that stood in its place."""
    moved: bool = False
    """Whether the new machine answers where the lost one did."""
    revived: bool = False
    """Whether the lost one answers again."""


def replace_machine(
    world: World,
    name: str,
    *,
    called: str = "TEMP01",
    os: str | None = None,
    system_root: str | None = None,
    service_pack: str | None = None,
    drives: Sequence[str] | None = None,
) -> Answer:
    """Lose a host's machine, and have a new Windows answer at a new port.

    A new machine that has not come to the lost one's place, or has only an older system state, is thrown
    away, and the lost one stays what it is.
    Return the port. Raise CannotBe, WineTrouble, KeyError.
    """
    host, machine = world.hosts[name], world.machine(name)
    with host.lock:
        _present(name, host, strays=True)
        loss = host.loss
        old = loss if loss is not None and (not loss.moved or loss.standing.stale) else None
        gone = old.machine if old is not None else machine
        if host.prefix is not None and (os or system_root or service_pack):
            raise CannotBe("under Wine every machine has Wine's own system, Windows folder and service pack")
        seats.check(world, name, called)
        new = new_windows(gone, called, _system(gone.os, os, system_root, service_pack), drives)
        seats.switch(world, name, on=False)
        try:
            if old is not None:
                loss = Loss(gone, old.port, old.was, Standing(), old.number + 1, revived=old.revived)
            else:
                loss = Loss(gone, host.port, survey(machine, host.prefix), Standing())
            prefix = _prefix(world, new, host.prefix) if host.prefix is not None else None
        except WineTrouble:
            seats.switch(world, name, on=True)  # nothing is lost
            raise
        if old is not None and old.moved and host.prefix is None:
            seats.put_back(world, name, gone)
        was_at = f"127.0.0.1:{loss.port}" if not host.via else f"{name} through {host.via}"
        port, at = seats.settle(world, name, loss.number, new, prefix)
        if host.prefix is not None:
            host.prefix.close()
        host.machine, host.prefix, host.port = new, prefix, port
        host.loss, host.away, host.trouble = loss, False, ""
    return {
        "port": port,
        "at": at,
        "original_port": loss.port,
        "name": new.name,
        "said": f"{gone.name} is lost: nothing answers at {was_at}. A new Windows, {new.name}, "
        f"answers at {at}, same account",
    }


def _system(
    was: OperatingSystem, os: str | None, system_root: str | None, service_pack: str | None
) -> OperatingSystem:
    if os is not None and os not in SYSTEMS:
        raise CannotBe(f"no system {os!r}; there are {', '.join(SYSTEMS)}")
    system = SYSTEMS[os] if os is not None else was
    if system_root is not None:
        system = replace(system, system_root=system_root)
    return system if service_pack is None else replace(system, service_pack=service_pack)


def _prefix(world: World, new: Machine, old: Prefix) -> Prefix:
    """Return a new machine under Wine, with the shares of other computers as the old one saw them."""
    prefix = furnished(new, world.engine)
    shares = old.folder / "unc"
    if shares.is_dir():
        shutil.rmtree(prefix.folder / "unc", ignore_errors=True)
        shutil.copytree(shares, prefix.folder / "unc")
    return prefix


def _present(name: str, host: Host, *, strays: bool = False) -> None:
    """Raise CannotBe if a host's machine is switched off or starting, so that nobody is at its console."""
    stray = host.loss is not None and host.loss.standing.stray
    if strays and (host.trouble or stray):
        return
    if host.trouble:
        raise WineTrouble(host.trouble)
    if host.away:
        raise CannotBe(f"{name} is starting, or does not come up: nothing can be done at its console")


def act(world: World, name: str, what: str, options: Mapping[str, Any]) -> Answer:
    """Do what a person does at a host's console. Return the port, and what was done in words.

    Raise CannotBe, WineTrouble, KeyError.
    """
    deeds: dict[str, tuple[Callable[..., Answer], set[str]]] = {
        "system-state": (_system_state, {"stale"}),
        "reboot": (_reboot, {"away_s", "move"}),
        "exchange": (_exchange, {"components", "service_pack"}),
        "storage-groups": (_storage_groups, {"last_set", "mount", "temp"}),
    }
    if what not in deeds:
        raise CannotBe(f"nobody does {what!r} at a console; there are {', '.join(deeds)}")
    deed, known = deeds[what]
    if strange := sorted(set(options) - known):
        raise CannotBe(f"{what} has no option {', '.join(strange)}; it has {', '.join(sorted(known))}")
    host, machine = world.hosts[name], world.machine(name)
    with host.lock:
        _present(name, host)
        answer = deed(world, name, host, machine, **options)
        return {"port": host.port, "name": machine.name, **answer}


def _loss(name: str, host: Host) -> Loss:
    if host.loss is None:
        raise CannotBe(f"{name} was not lost: lose it first (exremote-lab lose {name})")
    return host.loss


def _system_state(world: World, name: str, host: Host, machine: Machine, stale: bool = False) -> Answer:
    loss = _loss(name, host)
    with machine.lock:
        restore_state(loss.standing, loss.machine, stale)
    which = "an older system state" if stale else "the system state"
    return {
        "said": f"ntbackup has restored {which} of {loss.machine.name}; the next start brings it in force"
    }


def _reboot(
    world: World, name: str, host: Host, machine: Machine, away_s: float = 0.0, move: bool = True
) -> Answer:
    """Start the machine anew. With `away_s` this returns at once, and it is gone for so long."""
    loss = host.loss
    home = move and loss is not None and loss.standing.pending is not None and not loss.moved
    if home and loss is not None and loss.revived:
        raise CannotBe(
            f"{loss.machine.name} still answers at 127.0.0.1:{loss.port}, and the new machine would take its "
            f"name and place: switch it off first (exremote-lab act {name} original-off)"
        )
    host.away = True
    seats.switch(world, name, on=False)
    due = time.monotonic() + away_s

    def go() -> None:
        try:
            _start(host, machine)
        except WineTrouble as error:
            print(f"exremote-lab: {error}", file=sys.stderr)  # noqa: T201 - nobody else would hear of it
            return
        world.later(max(0.0, due - time.monotonic()), _arrive, world, name, host, machine, home)

    if away_s > 0:
        threading.Thread(target=go, name=f"start of {name}", daemon=True).start()
        return {"said": f"{machine.name} went away, and comes back in {away_s:g} s"}
    _start(host, machine)
    _arrive(world, name, host, machine, home)
    if host.away:
        return {
            "said": f"{machine.name} went away and does not come up: its Windows folder is not the system "
            "state's (KB 811944). Install it anew (lose again)"
        }
    return {"said": f"{machine.name} was started anew and answers at {seats.place(world, name)}"}


def _start(host: Host, machine: Machine) -> None:
    """Start a machine, with what its system state brings. Raise WineTrouble."""
    loss, changes = host.loss, Changes()
    with machine.lock:
        pending = loss is not None and loss.standing.pending is not None
        if loss is not None:
            changes = boot(machine, loss.standing, loss.machine)
        else:
            start(machine)
    if host.prefix is not None and not (loss is not None and loss.standing.stray):
        if pending:
            host.prefix.import_registry()
            _follow(host.prefix, Changes(programs=changes.programs))
        for attempt in (1, 2):
            try:
                host.prefix.stop()
                host.prefix.start()
                break
            except WineTrouble as error:
                # As where a machine is made: on a busy computer Wine's start fails now and then.
                if attempt == 2:
                    host.trouble = str(error)
                    raise


def _arrive(world: World, name: str, host: Host, machine: Machine, home: bool) -> None:
    """Have a machine that was started answer again, in the place of the lost one if it has its name."""
    loss = host.loss
    if loss is not None and loss.standing.stray:
        return
    with host.lock:
        if home and loss is not None:
            host.port, loss.moved = loss.port, True
        seats.arrive(world, name, machine, home=home)
        host.away = False


def _exchange(
    world: World,
    name: str,
    host: Host,
    machine: Machine,
    components: Sequence[str] | None = None,
    service_pack: bool = True,
) -> Answer:
    loss = _loss(name, host)
    had = host.spec.connectors
    chosen = tuple(had if components is None else components)
    with machine.lock:
        changes = set_up(machine, loss.standing, loss.machine, had, chosen, service_pack)
        if host.prefix is not None:
            _follow(host.prefix, changes)
    return {
        "said": f"setup /disasterrecovery has run on {machine.name}: {', '.join(chosen) or 'no connector'}"
    }


def _storage_groups(
    world: World,
    name: str,
    host: Host,
    machine: Machine,
    last_set: bool = True,
    mount: bool = True,
    temp: str = TEMP,
) -> Answer:
    loss = _loss(name, host)
    with machine.lock:
        changes = restore_groups(machine, loss.standing, last_set, mount, temp)
        if host.prefix is not None:
            _follow(host.prefix, changes)
    how = "wait for their hard recovery" if not last_set else "are mounted" if mount else "are not mounted"
    return {"said": f"ntbackup has restored the storage groups of {machine.name}; they {how}"}


def _follow(prefix: Prefix, changes: Changes) -> None:
    """Bring to Wine what became of the machine. Raise WineTrouble."""
    machine = prefix.machine
    for path in changes.gone:
        prefix.remove_file(path)
    for path in (*changes.folders, *changes.files):
        prefix.write_file(path)
    for path in changes.programs:
        prefix.write_program(path)
    for name in changes.removed:
        run([prefix.engine[0], "wine-run", "sc.exe", "delete", name], prefix.folder)
    for name in changes.registered:
        prefix.register_service(name)
    for key in changes.keys:
        prefix.set_registry(key)
    if changes.running:
        prefix.keep(running=changes.running, stays=False)
    if changes.held:
        prefix.keep(held=["|".join((path, *machine.holds[path])) for path in changes.held])


def lost(world: World, name: str, now: bool = False) -> Answer:
    """Return what the lost machine of a host was, or what the host's machine is now. Raise CannotBe."""
    host = world.hosts[name]
    with host.lock:
        if not now:
            loss = _loss(name, host)
            return {"name": loss.machine.name, "port": loss.port, **loss.was}
        _present(name, host)
        machine = world.machine(name)
        with machine.lock:
            return {"name": machine.name, "port": host.port, **survey(machine, host.prefix)}


def revive(world: World, name: str, off: bool = False) -> Answer:
    """Have the lost machine answer again beside the new one, or be off again. Raise CannotBe, KeyError."""
    host = world.hosts[name]
    with host.lock:
        loss = _loss(name, host)
        if host.prefix is not None:
            raise CannotBe(
                "under Wine a lost machine's files are gone: only the simulated engine revives one"
            )
        if loss.moved:
            raise CannotBe(f"{loss.machine.name} was recovered: the new machine has its place")
        seats.switch(world, name, on=not off, home=True)
        loss.revived = not off
    does = "is off" if off else "answers again"
    return {"port": loss.port, "said": f"the lost {loss.machine.name} {does} at 127.0.0.1:{loss.port}"}
