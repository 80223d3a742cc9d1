"""Kill -9 right after an event of the journal, run again: as if it had never been killed.

No earlier snapshot is harmed, what there is can be verified at once, and the second run reaches the same,
leaving no shell, lock or staging.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

import pytest
from conftest import Cli, World
from matrix_verbs import SMALL_VERBS, VERBS, Verb, events, journals, killed, left_over, snapshots

from exremote.repository import Repository

TABLE = "2 Killed right after an event of the journal, and run again"
Record = Callable[[str, str, str, str], None]


def damaged(cli: Cli, before: Mapping[str, Mapping[str, bytes]]) -> str:
    """Return what is wrong with the repository: damage, or a snapshot of before that is not as it was."""
    if problems := list(Repository.open(cli.repository).verify()):
        return f"damaged: {problems}"
    after = snapshots(cli)
    wrong = [name for name, files in before.items() if after.get(name) != files]
    return f"earlier snapshots are changed: {wrong}" if wrong else ""


def one(cli: Cli, world: World, verb: Verb, last: int, usual: object) -> str:
    """Kill, look, run again, look. Return what is wrong, empty if nothing is."""
    before = snapshots(cli)
    args = verb.args(cli)
    if killed(cli, last, *args) == 0:
        return "it was not killed"
    if wrong := damaged(cli, before):
        return f"after the kill: {wrong}"
    again = cli(*args, code=None)
    if again.code:
        return f"the second run ended with {again.code}: {again.all[-300:]}"
    if verb.result(cli, world) != usual:
        return "the second run came to another result"
    if wrong := damaged(cli, before):
        return f"after the second run: {wrong}"
    if left := left_over(cli, world, verb):
        return f"left over: {left}"
    return ""


def sweep(cli: Cli, world: World, verb: Verb, record: Record, each: bool) -> None:
    """Kill after each event, or after the first of each kind."""
    cli.inventory(verb.host)
    verb.prepare(cli)
    shutil.copytree(cli.repository, cli.folder / "prepared")
    verb.spoil(world)
    old = journals(cli)
    cli(*verb.args(cli))
    new = journals(cli) - old
    usual = verb.result(cli, world)
    # A command that plans first has a journal for that, and a longer one for the deed.
    kinds = max(([str(event["kind"]) for event in events([one])] for one in new), key=len)
    places = range(len(kinds)) if each else sorted({kinds.index(kind) for kind in kinds})
    wrong: dict[str, list[str]] = {}
    ok = dict.fromkeys(kinds, 0)
    for place in places:
        shutil.rmtree(cli.repository)
        shutil.copytree(cli.folder / "prepared", cli.repository)
        world.restore()
        verb.spoil(world)
        if fault := one(cli, world, verb, place + 1, usual):
            wrong.setdefault(kinds[place], []).append(f"after line {place + 1}: {fault}")
        else:
            ok[kinds[place]] += 1
    for kind, times in ok.items():
        text = "; ".join(wrong.get(kind, [])) or f"the same, {times} kill{'s' * (times != 1)}"
        record(TABLE, kind, f"{verb.name} of {verb.host}, {cli.wire}", text)
    assert wrong == {}


@pytest.mark.matrix
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("wire", ["psrp", "winrs"])
@pytest.mark.parametrize("verb", [*VERBS.values(), SMALL_VERBS["undo"], SMALL_VERBS["drill"]], ids=str)
def test_killed_after_each_event(cli: Cli, world: World, verb: Verb, wire: str, record_cell: Record) -> None:
    cli.wire = wire
    sweep(cli, world, verb, record_cell, each=True)


# A kill of a restore costs minutes on a real engine; `test_restore_bad_days.py` has one for every run.
@pytest.mark.not_under_wine("time")
@pytest.mark.matrix(share=True)
@pytest.mark.parametrize("verb", [SMALL_VERBS["backup"]], ids=str)
def test_killed_after_one_event_of_each_kind(cli: Cli, world: World, verb: Verb, record_cell: Record) -> None:
    sweep(cli, world, verb, record_cell, each=False)
