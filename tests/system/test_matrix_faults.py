"""Every misfortune that the lab can make, on each command and wire.

Healed without a person: exit 0, the same result as on a good day, and the journal tells what happened.
Or said clearly: a sentence, the right exit code, nothing of before lost, and the same result when it is over.
In both cases no shell, lock or part is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from conftest import Cli, World
from matrix_faults import HEALED, SAID, Healed, Said, Scene
from matrix_report import WORD
from matrix_verbs import VERBS, Verb, left_over, snapshots, told

from exremote.lab.client import RunningLab

SHARE = ("reset in a response", "server rebooted in mid-pack", "shell quota full for a while")
Record = Callable[[str, object], None]
Usual = Callable[[Verb, str], tuple[object, int]]


@pytest.fixture(scope="module")
def usual(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Usual:
    """Return what a command comes to on a good day, and how many requests carry its bulk, by wire."""
    known: dict[tuple[str, str], tuple[object, int]] = {}

    def measure(verb: Verb, wire: str) -> tuple[object, int]:
        if (verb.name, wire) not in known:
            cli = Cli(lab, tmp_path_factory.mktemp(f"{verb}-{wire}"), wire)
            cli.inventory(verb.host)
            verb.prepare(cli)
            lab.client.reset_counters(verb.host)
            cli(*verb.args)
            requests = int(lab.client.counters(verb.host)["actions"][verb.request])
            known[verb.name, wire] = verb.result(cli), requests
        return known[verb.name, wire]

    return measure


def under(fault: Healed | Said, world: World) -> None:
    """Skip where an engine cannot make it."""
    if world.engine == "powershell" and fault.simulated:
        pytest.skip(f"simulated engine only: {fault.reason}")


def heals(cli: Cli, world: World, verb: Verb, fault: Healed, usual: Usual, record: Record) -> None:
    under(fault, world)
    wanted, requests = usual(verb, cli.wire)
    scene = Scene(cli, world, verb, requests)
    cli.inventory(verb.host, retry=fault.retry, defaults=fault.defaults)
    verb.prepare(cli)
    before = snapshots(cli)
    fault.befall(scene)
    cli(*verb.args)
    assert not fault.counted or world.struck() >= 1, "it did not happen"
    assert verb.result(cli) == wanted
    assert {name: snapshots(cli)[name] for name in before} == before
    tale = told(cli, verb.args[0])
    assert tale or fault.silent, "the journal does not tell what happened"
    world.client.clear_faults()
    assert left_over(cli, world) == []
    record(WORD, "0" + (f", {tale}" if tale else ""))


def is_said(cli: Cli, world: World, verb: Verb, fault: Said, usual: Usual, record: Record) -> None:
    under(fault, world)
    wanted, requests = usual(verb, cli.wire)
    scene = Scene(cli, world, verb, requests)
    cli.inventory(verb.host)
    verb.prepare(cli)
    before = snapshots(cli)
    run = fault.befall(scene) or cli
    ran = run(*verb.args, code=None)
    assert ran.code == fault.code, ran.all
    assert re.search(fault.sentence, ran.out + ran.err, re.S), ran.all
    assert verb.host in ran.all
    assert {name: snapshots(cli)[name] for name in before} == before
    cli("verify")
    world.restore()
    scene.over()
    again = cli(*verb.args, code=None)
    assert again.code == 0, again.all
    if fault.code != 3:
        assert verb.result(cli) == wanted
    assert left_over(cli, world) == []
    record(WORD, f"{ran.code}, then 0")


CELLS = {"row": "{fault}", "column": "{verb}, {wire}"}


@pytest.mark.matrix(table="0 Healed without a person", **CELLS)
@pytest.mark.parametrize("wire", ["psrp", "winrs"])
@pytest.mark.parametrize("verb", VERBS.values(), ids=str)
@pytest.mark.parametrize("fault", HEALED, ids=str)
def test_it_heals(
    cli: Cli, world: World, verb: Verb, fault: Healed, wire: str, usual: Usual, record_property: Record
) -> None:
    cli.wire = wire
    heals(cli, world, verb, fault, usual, record_property)


@pytest.mark.matrix(table="1 Said clearly, and nothing lost", **CELLS)
@pytest.mark.parametrize("wire", ["psrp", "winrs"])
@pytest.mark.parametrize("verb", VERBS.values(), ids=str)
@pytest.mark.parametrize("fault", SAID, ids=str)
def test_it_is_said(
    cli: Cli, world: World, verb: Verb, fault: Said, wire: str, usual: Usual, record_property: Record
) -> None:
    cli.wire = wire
    is_said(cli, world, verb, fault, usual, record_property)


@pytest.mark.matrix(share=True)
@pytest.mark.parametrize("fault", [f for f in HEALED if f.name in SHARE], ids=str)
def test_a_share_heals(cli: Cli, world: World, fault: Healed, usual: Usual, record_property: Record) -> None:
    heals(cli, world, VERBS["backup"], fault, usual, record_property)
