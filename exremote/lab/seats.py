"""Where the machines of a lab answer: each at a listener of its own, or as a name that its gateway knows.

A host whose machine is lost has two places: the old one, and that of the machine in its stead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exremote.lab.behind import Behind
from exremote.lab.machine import Machine
from exremote.lab.reinstalling import CannotBe
from exremote.lab.wine import Prefix

if TYPE_CHECKING:
    from exremote.lab.world import World


def switch(world: World, name: str, *, on: bool, home: bool = False) -> None:
    """Have a host's machine answer, or not; `home`: the lost one, in its own place."""
    host = world.hosts[name]
    if host.via:
        seat = name.lower() if home else host.seat or name.lower()
        world.machine(host.via).behind[seat].down = not on
    elif on:
        world.endpoint.accept(name if home else world.listener(name))
    else:
        world.endpoint.refuse(name if home else world.listener(name), hold=True)


def check(world: World, name: str, called: str) -> None:
    """Raise CannotBe if a new machine of this name cannot have a place of its own."""
    host = world.hosts[name]
    if host.via and host.prefix is not None:
        raise CannotBe("under Wine a gateway and the host behind it are one Windows: it cannot be lost alone")
    if host.via and called.lower() in world.machine(host.via).behind.keys() - {host.seat}:
        raise CannotBe(f"{host.via} knows a {called} already: say another name")


def settle(world: World, name: str, number: int, machine: Machine, prefix: Prefix | None) -> tuple[int, str]:
    """Give a new machine a place beside the lost one's. Return its port, and how it is reached."""
    host = world.hosts[name]
    if host.via:
        behind = world.machine(host.via).behind
        if host.seat:
            del behind[host.seat]
        host.seat = machine.name.lower()
        behind[host.seat] = Behind(machine, {world.user: world.password}, host=name)
        return 0, machine.name
    listener = f"{name}/{number}"
    where = world.endpoint.add(world.site(listener, host.spec, machine, prefix))
    if host.listener:
        world.endpoint.remove(host.listener)
    host.listener = listener
    return where.port, f"127.0.0.1:{where.port}"


def put_back(world: World, name: str, machine: Machine) -> None:
    """Have the lost machine in its own place again, switched off, where another one stood meanwhile."""
    host = world.hosts[name]
    if host.via:
        behind = world.machine(host.via).behind
        behind[name.lower()] = Behind(machine, {world.user: world.password}, host=name)
    else:
        world.endpoint.play(name, world.site(name, host.spec, machine, None))
    switch(world, name, on=False, home=True)


def arrive(world: World, name: str, machine: Machine, *, home: bool) -> None:
    """Have a machine that was started answer again, `home`: in the place of the lost one."""
    host = world.hosts[name]
    if host.via:
        behind = world.machine(host.via).behind
        seat = name.lower() if home or not host.seat else host.seat
        behind[seat] = Behind(machine, {world.user: world.password}, host=name)
        if home and host.seat:
            del behind[host.seat]
            host.seat = ""
        return
    where = name if home else world.listener(name)
    world.endpoint.play(where, world.site(where, host.spec, machine, host.prefix))
    if home:
        world.endpoint.remove(host.listener)
        host.listener = ""
    world.endpoint.accept(where)


def place(world: World, name: str) -> str:
    """Return how a host's machine is reached now."""
    host = world.hosts[name]
    if host.via:
        return f"{(host.seat or name).upper()} through {host.via}"
    return f"127.0.0.1:{host.port}"
