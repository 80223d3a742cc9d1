"""Each file of a repository flipped, cut, removed, renamed, swapped: `verify` names it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from keep_support import AT, Door, backup

from exremote.journal import Journal, new_run_id

TABLE = "3 Each file of a repository, mutated"
Record = Callable[[str, str, str, str], None]
NOT_OURS = ("README.txt",)
"""Made for a person, and read by nobody else: nothing hangs on it."""
NOT_EXPORTED = ("SHA256SUMS", "facts.json")
"""Of a snapshot: an export makes its own sums, and facts belong to no host's disk."""


@dataclass
class Mutation:
    """Something done to one file, and how to undo it."""

    place: Path
    aside: Path
    others: list[Path]
    """Files of the same role, to swap with."""
    undo: list[Callable[[], object]] = field(default_factory=list)

    def _write(self, path: Path, data: bytes) -> bool:
        mode, before = path.stat().st_mode, path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(data)
        path.chmod(mode)
        self.undo.append(lambda: (path.chmod(0o600), path.write_bytes(before), path.chmod(mode)))
        return True

    def flip(self) -> bool:
        """Turn one bit over."""
        data = bytearray(self.place.read_bytes())
        data[len(data) // 2] ^= 1
        return self._write(self.place, bytes(data))

    def cut(self) -> bool:
        """Take the second half away."""
        data = self.place.read_bytes()
        return self._write(self.place, data[: len(data) // 2])

    def empty(self) -> bool:
        """Take all of it away."""
        return self._write(self.place, b"")

    def remove(self) -> bool:
        """Take the file away."""
        shutil.move(self.place, self.aside)
        self.undo.append(lambda: shutil.move(self.aside, self.place))
        return True

    def rename(self) -> bool:
        """Give it another name, in the same folder."""
        other = self.place.with_name("x" + self.place.name)
        self.place.rename(other)
        self.undo.append(lambda: other.rename(self.place))
        return True

    def swap(self) -> bool:
        """Let it and another of its role change places."""
        data = self.place.read_bytes()
        other = next((o for o in self.others if o.read_bytes() != data), None)
        if other is None:
            return False
        swapped = other.with_name(other.name + ".swap")
        for one, two in ((self.place, swapped), (other, self.place), (swapped, other)):
            one.rename(two)
        back = ((self.place, swapped), (other, self.place), (swapped, other))
        self.undo.append(lambda: [one.rename(two) for one, two in back])
        return True

    def over(self) -> None:
        """Undo it."""
        for one in reversed(self.undo):
            one()


KINDS = ("flip", "cut", "empty", "remove", "rename", "swap")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Door:
    """Return a repository with all kinds of files: two hosts, three snapshots, checks, journals."""
    door = Door(tmp_path_factory.mktemp("kept"))
    for host, days in (("EXCH01", (1, 2)), ("EXCH02", (1,))):
        for day in days:
            with running(door, day, host) as journal:
                snapshot = backup(door.place, day, host=host)
                said = {"host": host, "connector": "groupwise", "snapshot": snapshot.id}
                journal.event("committed", **said, complete=True)
            for later in (0.2, 0.4):
                with running(door, day + later, host) as journal:
                    door.place.record_check(snapshot, journal.run_id, AT + timedelta(days=day + later))
                    journal.event("unchanged", **said)
    door("verify")
    return door


@contextlib.contextmanager
def running(door: Door, day: float, host: str) -> Iterator[Journal]:
    """Let a run of a day be journaled."""
    at = AT + timedelta(days=day)
    command = ["backup", host]
    journal = Journal.create(door.place.runs_folder, new_run_id(at), "backup", command, lambda: at)
    yield journal
    journal.close("done")


def files(door: Door) -> list[Path]:
    """Return every file that is to be missed."""
    top = door.place.path
    found = sorted(p for p in top.rglob("*") if p.is_file() and p.name not in NOT_OURS)
    return [p for p in found if p.relative_to(top).parts[0] not in ("damage", "locks", "partial")]


def role(door: Door, path: Path) -> str:
    """Return what kind of file it is."""
    parts = path.relative_to(door.place.path).parts
    if parts[0] == "snapshots":
        return "/".join(("snapshots", "HOST", "ID", *parts[3:]))
    return parts[0] if len(parts) == 1 else f"{parts[0]}/...{path.suffix}"


def mutation_of(door: Door, path: Path) -> Mutation:
    """Return a file's mutations."""
    alike = [p for p in files(door) if role(door, p) == role(door, path) and p != path]
    return Mutation(path, door.folder / f"aside-{path.name}", alike)


def named(door: Door, path: Path) -> tuple[str, ...]:
    """Return by which names a file may be told: of manifest and digest nobody knows which lies."""
    place = path.relative_to(door.place.path)
    pairs = {"manifest.sha256": "manifest.json", "manifest.json": "manifest.sha256"}
    twin = place.with_name(pairs.get(place.name, place.name))
    if place.parts[0] == "runs":
        return (place.stem,)
    return place.as_posix(), twin.as_posix()


def problems(door: Door) -> tuple[int, set[str], str]:
    """Return the exit code of `verify`, the places that it names, and all that it says."""
    ran = door("verify", "--json", code=None)
    if "problems" not in ran.json:
        return ran.code, set(), ran.all
    places = {one["place"] for one in ran.json["problems"]}
    journals = door("runs", "--all", "--json", code=None)
    return ran.code, places, ran.all + journals.all


def told(door: Door, path: Path) -> str:
    """Return what is wrong with how damage of a file is told, empty if nothing is."""
    place = path.relative_to(door.place.path)
    if place.parts[0] == "runs":
        rows = {row["run"]: row for row in door("runs", "--all", "--json", code=None).json}
        row = rows.get(place.stem, {})
        journal = str(row.get("journal", ""))
        return "" if journal.startswith("damaged") or not row else f"runs shows {row['state']}, {journal}"
    code, places, said = problems(door)
    if path.name == "repository.toml" and code == 10 and path.name in said:
        return ""
    if code != 13:
        return f"verify ended with {code}"
    if not places & set(named(door, path)):
        return f"verify does not name it: {sorted(places)}"
    return shown_as_good(door, path)


def shown_as_good(door: Door, path: Path) -> str:
    """Return which command calls good what verify has found damaged, empty if none does."""
    parts = path.relative_to(door.place.path).parts
    if parts[0] != "snapshots":
        return ""
    host, id_ = parts[1:3]
    rows = {row["id"]: row["state"] for row in door("snapshots", host, "--json", code=None).json}
    if rows.get(id_) == "done":
        return "snapshots lists it as done"
    target = door.folder / "exported"
    code = door("export", f"{host}/{id_}", "--into", str(target), code=None).code
    shutil.rmtree(target, ignore_errors=True)
    if code == 0 and path.name not in NOT_EXPORTED:
        return "export ends well"
    return ""


def mutate(door: Door, path: Path, kind: str) -> str | None:
    """Do it, look, undo it. Return what is wrong with how it was told, empty if nothing, None if not done."""
    mutation = mutation_of(door, path)
    try:
        if not getattr(mutation, kind)():
            return None
        return told(door, path)
    finally:
        mutation.over()
        shutil.rmtree(door.place.path / "damage", ignore_errors=True)  # what `verify` noted of it


@pytest.mark.matrix
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", KINDS)
def test_each_file(kept: Door, kind: str, record_cell: Record) -> None:
    wrong: dict[str, list[str]] = {}
    done: dict[str, int] = {}
    for path in files(kept):
        name = role(kept, path)
        said = mutate(kept, path, kind)
        if said:
            wrong.setdefault(name, []).append(f"{path.relative_to(kept.place.path)}: {said}")
        elif said is not None:
            done[name] = done.get(name, 0) + 1
    for name in {**done, **wrong}:
        record_cell(TABLE, name, kind, "; ".join(wrong.get(name, [])) or f"named, {done[name]}x")
    assert wrong == {}
    assert len(done) >= (8 if kind == "swap" else 10)  # not each role has a twin to swap with


@pytest.mark.matrix(share=True)
@pytest.mark.parametrize("kind", ["flip", "remove", "swap"])
def test_one_file_of_each_snapshot_at_once(kept: Door, kind: str) -> None:
    """One `verify` names them all; each is of another role, and of a snapshot of its own or of none."""
    todo: dict[str, Path] = {}
    used: set[str] = set()
    for path in files(kept):
        place = path.relative_to(kept.place.path)
        if place.parts[0] not in ("snapshots", "checks"):
            continue
        whose = "/".join(place.with_suffix("").parts[1:3])
        if role(kept, path) not in todo and whose not in used:
            todo[role(kept, path)] = path
            used.add(whose)
    done = []
    try:
        for path in todo.values():
            mutation = mutation_of(kept, path)
            done.append((path, mutation, getattr(mutation, kind)()))
        code, places, _ = problems(kept)
        assert code == 13
        missed = [str(p) for p, _, was_done in done if was_done and not places & set(named(kept, p))]
        assert missed == []
    finally:
        for _, mutation, _ in reversed(done):
            mutation.over()
    kept("verify")
