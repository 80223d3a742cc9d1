"""Every misfortune that the lab can make, on each command and wire.

Healed without a person: exit 0, the same result as on a good day, and the journal tells what happened.
Or said clearly: a sentence, the right exit code, nothing of before lost, and the same result when it is over.
In both cases no shell, lock or part is left.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from conftest import CONNDATA, Cli, World, held
from matrix_faults import HEALED, SAID, Healed, Said, Scene
from matrix_report import WORD
from matrix_verbs import VERBS, Verb, journals, left_over, snapshots, told

from exremote.lab.client import RunningLab
from exremote.lab.site import HostSpec

SHARE = ("reset in a response", "server rebooted in mid-pack", "shell quota full for a while")
PATIENCE_S = 900.0
"""For one command: over WinRS each script is a PowerShell of its own, and under Wine that takes seconds."""
Record = Callable[[str, object], None]
Usual = Callable[[World, Verb, str], tuple[object, int]]


@pytest.fixture(scope="module")
def usual(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Usual:
    """Return what a command comes to on a good day, and how many requests carry its bulk, by wire."""
    known: dict[tuple[str, str], tuple[object, int]] = {}

    def measure(world: World, verb: Verb, wire: str) -> tuple[object, int]:
        if (verb.name, wire) not in known:
            cli = Cli(lab, tmp_path_factory.mktemp(f"{verb}-{wire}"), wire)
            cli.inventory(verb.host)
            verb.prepare(cli)
            lab.client.reset_counters(verb.host)
            verb.spoil(world)
            cli(*verb.args(cli), timeout_s=PATIENCE_S)
            requests = int(lab.client.counters(verb.host)["actions"][verb.request])
            known[verb.name, wire] = verb.result(cli, world), requests
            world.restore()
        return known[verb.name, wire]

    return measure


def under(fault: Healed | Said, world: World, verb: Verb) -> None:
    """Skip where an engine cannot make it, or where it concerns another command."""
    if fault.verbs and verb.name not in fault.verbs:
        pytest.skip(f"it happens to {', '.join(fault.verbs)}")
    if world.engine == "powershell" and fault.simulated:
        pytest.skip(f"simulated engine only: {fault.reason}")


def heals(cli: Cli, world: World, verb: Verb, fault: Healed, usual: Usual, record: Record) -> None:
    under(fault, world, verb)
    wanted, requests = usual(world, verb, cli.wire)
    scene = Scene(cli, world, verb, requests)
    cli.inventory(verb.host, retry=fault.retry, defaults=fault.defaults)
    verb.prepare(cli)
    before = snapshots(cli)
    verb.spoil(world)
    fault.befall(scene)
    old = journals(cli)
    cli(*verb.args(cli), timeout_s=PATIENCE_S)
    tale = told(journals(cli) - old)
    assert not fault.counted or world.struck() >= 1, "it did not happen"
    assert verb.result(cli, world) == wanted
    assert {name: snapshots(cli)[name] for name in before} == before
    assert tale or fault.silent, "the journal does not tell what happened"
    world.client.clear_faults()
    stays = world.shells() if cli.wire in fault.stays else {}
    assert [len(ids) for ids in stays.values()] == ([1] if cli.wire in fault.stays else [])
    for host, ids in stays.items():
        world.client.drop_shell(host, ids[0])
    assert left_over(cli, world, verb) == []
    record(WORD, "0" + (f", {tale}" if tale else "") + (", its shell stays a while" if stays else ""))


def is_said(cli: Cli, world: World, verb: Verb, fault: Said, usual: Usual, record: Record) -> None:
    under(fault, world, verb)
    wanted, requests = usual(world, verb, cli.wire)
    scene = Scene(cli, world, verb, requests)
    cli.inventory(verb.host)
    verb.prepare(cli)
    before = snapshots(cli)
    verb.spoil(world)
    args = verb.args(cli)
    run = fault.befall(scene) or cli
    ran = run(*args, code=None, timeout_s=PATIENCE_S)
    assert ran.code in (fault.code if isinstance(fault.code, tuple) else (fault.code,)), ran.all
    assert re.search(fault.sentence, ran.out + ran.err, re.S), ran.all
    assert verb.host in ran.all
    assert {name: snapshots(cli)[name] for name in before} == before
    cli("verify")
    world.restore()
    scene.over()
    verb.spoil(world)
    again = cli(*args, code=None)
    assert again.code == 0, again.all
    if ran.code != 3:  # else the one that lacks something is there as well
        assert verb.result(cli, world) == wanted
    assert left_over(cli, world, verb) == []
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


@pytest.mark.matrix(
    table="1 Said clearly, and nothing lost", row="certificate changed", column="backup, {wire}"
)
@pytest.mark.not_under_wine("wire")
@pytest.mark.parametrize("wire", ["psrp", "winrs"])
def test_a_certificate_that_is_another_one(
    private: Callable[..., tuple[Cli, World]], lab: RunningLab, wire: str, record_property: Record
) -> None:
    """The file of the inventory is that of another lab: 21, and with the right one all is well."""
    cli, _ = private(HostSpec("EXTLS01", ("calendar",), https=True))
    cli.wire = wire
    cli.init()
    secure = "scheme = 'https'\nverify = '{}'"
    cli.inventory("EXTLS01", extra={"EXTLS01": secure.format(cli.lab.trust)})
    cli("backup")
    before = snapshots(cli)
    cli.inventory("EXTLS01", extra={"EXTLS01": secure.format(lab.trust)})
    ran = cli("backup", code=21)
    assert re.search(r"EXTLS01\s+failed\s.*its TLS certificate is not trusted", ran.out)
    assert snapshots(cli) == before
    cli.inventory("EXTLS01", extra={"EXTLS01": secure.format(cli.lab.trust)})
    cli("backup")
    record_property(WORD, "21, then 0")


@pytest.mark.matrix(table="0 Healed without a person", row="path too long", column="backup, {wire}")
@pytest.mark.not_under_wine("records")
@pytest.mark.parametrize("wire", ["psrp", "winrs"])
def test_a_path_that_is_too_long_here(cli: Cli, world: World, wire: str, record_property: Record) -> None:
    """No file system of ours takes such a name: the file is stored under a cut one, and named by its own."""
    verb = VERBS["backup"]
    cli.wire = wire
    cli.inventory(verb.host)
    verb.prepare(cli)
    name = rf"Tables\{'long' * 70}.tbl"
    world.write(verb.host, rf"{CONNDATA}\{name}", b"far down")
    cli(*verb.args(cli), timeout_s=PATIENCE_S)
    digest = hashlib.sha256(b"far down").hexdigest()
    assert ("conndata", name, 8, digest) in held(cli, verb.host, "groupwise")
    cli("verify")
    assert left_over(cli, world, verb) == []
    record_property(WORD, "0, under a cut name")
