"""Files from a host into the repository: which way they take, side by side, and after what breaks."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from exremote.connector import Connector
from exremote.credential import Secret
from exremote.errors import HostError, TransferMismatch
from exremote.inventory import Deadlines, Host, Inventory, RetryPolicy
from exremote.lab import behaviour
from exremote.lab.behaviour import Answer
from exremote.lab.files import Fixed
from exremote.lab.site import HostSpec
from exremote.lab.world import World
from exremote.lab.wsman.engine import Record
from exremote.repository import Repository, Staging
from exremote.session import Session, Throttle
from exremote.transfer import Carrier, Copied, pull_tree

EX01 = "EXT01"
ROOT = r"C:\Data"
MIB = 1 << 20
LARGE = random.Random(3).randbytes(24 * MIB)
SMALL = {f"small{number:02d}.tbl": random.Random(number).randbytes(4000 + number) for number in range(40)}
SHA256 = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    world = World([HostSpec(EX01, winrm=3)])
    try:
        yield world
    finally:
        world.stop()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """Return a host with one large file between small ones, as new; no shell may be left."""
    files = shared.machine(EX01).files
    files.write(rf"{ROOT}\large.bin", Fixed(LARGE), modified=631_139_040_000_000_000)
    for name, data in SMALL.items():
        files.write(rf"{ROOT}\{name}", Fixed(data), modified=631_139_040_000_000_000)
    shared.endpoint.set_line(EX01)
    shared.endpoint.counters(EX01).reset()
    yield shared
    shared.clear_faults()
    left = shared.shells(EX01)
    for shell in left:
        shared.endpoint.drop_shell(EX01, str(shell["id"]))
    assert left == []


@dataclass
class Pull:
    """One host's transfer into a repository, and what was heard of it."""

    world: World
    repository: Repository
    events: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    run: str = "run1"
    throttle: Throttle | None = None

    def host(self, **changes: Any) -> Host:
        site = Inventory.load(self.world.inventory, list(Connector.load_all()))
        patience = RetryPolicy(attempts=3, total_s=20.0, first_wait_s=0.05)
        return replace(site.hosts[EX01], **{"retry": patience, "deadlines": Deadlines(), **changes})

    def __call__(self, before: Callable[[], None] = lambda: None, **changes: Any) -> Copied:
        """Ask for the tree, do what happens meanwhile, then bring it."""
        account = Secret(self.world.user, self.world.password)
        hear = lambda kind, fields: self.events.append((kind, fields))  # noqa: E731
        with Session(self.host(**changes), account, on_event=hear, throttle=self.throttle) as session:
            fact = session.file_tree(ROOT)
            before()
            with (
                self.repository.staging(self.run, EX01) as staging,
                Carrier(session, True) as carrier,
            ):
                try:
                    return self._pull(carrier, staging, fact.entries)
                finally:
                    self.warnings = carrier.warnings

    def _pull(self, carrier: Carrier, staging: Staging, entries: Any) -> Copied:
        return pull_tree(carrier, self.repository, staging, item="data", root=ROOT, listing=entries)

    def heard(self, kind: str) -> list[Mapping[str, object]]:
        return [fields for what, fields in self.events if what == kind]

    def wires(self) -> list[object]:
        return [fields["wire"] for fields in self.heard("shell") if fields["what"] == "opened"]

    def check(self, copied: Copied, **missing: str) -> None:
        """All that is not missing is here, as it was on the host."""
        contents = {"large.bin": LARGE, **SMALL}
        assert {o.path.rpartition("\\")[2] for o in copied.missing} == set(missing)
        assert {e.path for e in copied.entries} == contents.keys() - missing.keys()
        for entry in copied.entries:
            data = self.repository.object_path(entry.sha256).read_bytes()
            assert data == contents[entry.path]


@pytest.fixture
def pull(world: World, tmp_path: Path) -> Pull:
    return Pull(world, Repository.create(tmp_path / "repository"))


def lie(monkeypatch: pytest.MonkeyPatch, told: Callable[..., Iterator[Record]]) -> None:
    """Have Read-FilePack answered by something else."""
    honest = behaviour.ANSWERS["Read-FilePack"]
    answer: Answer = lambda *args: told(honest, *args)  # noqa: E731
    monkeypatch.setitem(cast(MutableMapping[str, Answer], behaviour.ANSWERS), "Read-FilePack", answer)


def test_bulk_goes_over_a_raw_stream_beside_the_session(pull: Pull, world: World) -> None:
    pull.check(pull())
    assert pull.wires() == ["psrp", "raw"]
    assert world.endpoint.counters(EX01).bytes_out < 1.40 * len(LARGE)
    assert not pull.warnings


def test_where_the_inventory_says_wire_it_goes_over_that(pull: Pull) -> None:
    pull.check(pull(bulk="wire"))
    assert pull.wires() == ["psrp"]


def test_on_a_long_line_streams_run_side_by_side(pull: Pull, world: World) -> None:
    """Latency alone bounds the line: three streams bring what one would in a third of the time."""
    world.endpoint.set_line(EX01, latency_s=0.15)
    pull.check(pull(streams=3))
    assert len(pull.heard("stream-opened")) == 2
    assert pull.wires() == ["psrp", "raw", "raw", "raw"]
    assert world.endpoint.counters(EX01).bytes_out < 1.55 * len(LARGE), "too much came twice"


def test_streams_side_by_side_stay_below_a_rate_together(pull: Pull, world: World) -> None:
    """As many as reach it are opened on a long line, and what all of them carry is held."""
    world.endpoint.set_line(EX01, latency_s=0.15)
    pull.throttle = Throttle(8_000_000)
    began = time.monotonic()
    pull.check(pull(streams=3))
    assert pull.wires().count("raw") >= 2
    assert time.monotonic() - began >= world.endpoint.counters(EX01).bytes_out / 8_000_000 - 1


@pytest.mark.parametrize("fault", ["Create:1:quota", "Create:1:fault=5", "Command:1:fault=5"])
def test_a_host_that_refuses_raw_streams_is_read_the_other_way(pull: Pull, world: World, fault: str) -> None:
    pull.check(pull(lambda: world.fault(f"{EX01}:{fault}") and None))
    assert len(pull.heard("bulk-stepped-back")) == 1
    assert "raw streams do not work with this host" in pull.warnings[0]


def test_a_raw_stream_that_brings_damage_is_given_up(pull: Pull, world: World) -> None:
    """The file comes over the other wire; what came whole is not fetched again."""
    pull.check(pull(lambda: world.fault(f"{EX01}:Read-FilePack:40:corrupt") and None))
    assert len(pull.heard("bulk-stepped-back")) == 1
    assert pull.wires() == ["psrp", "raw"]


def test_damage_on_the_other_wire_too_is_said(pull: Pull, world: World) -> None:
    with pytest.raises(HostError):
        pull(lambda: world.fault(f"{EX01}:Read-FilePack:40-:corrupt") and None)


@pytest.mark.parametrize(
    "fault", ["Receive:30:cut=4096", "Receive:30:gone", "Receive:30:lost", "Receive:30:close"]
)
def test_a_stream_that_breaks_goes_on(pull: Pull, world: World, fault: str) -> None:
    pull.check(pull(lambda: world.fault(f"{EX01}:{fault}") and None))
    assert not pull.heard("bulk-stepped-back")
    assert world.endpoint.counters(EX01).bytes_out < 1.45 * len(LARGE)


def test_streams_that_break_side_by_side_go_on(pull: Pull, world: World) -> None:
    world.endpoint.set_line(EX01, latency_s=0.1)
    happens = [
        f"{EX01}:Receive:{number}:{what}" for number, what in ((20, "cut=900"), (31, "gone"), (44, "lost"))
    ]
    pull.check(pull(lambda: [world.fault(text) for text in happens] and None))
    assert pull.heard("stream-opened")


def test_a_large_file_that_changed_since_the_listing_is_read_whole(pull: Pull, world: World) -> None:
    changed = LARGE + b"more"

    def change() -> None:
        world.machine(EX01).files.write(
            rf"{ROOT}\large.bin", Fixed(changed), modified=631_139_050_000_000_000
        )

    copied = pull(change)
    (entry,) = [e for e in copied.entries if e.path == "large.bin"]
    assert pull.repository.object_path(entry.sha256).read_bytes() == changed
    assert not copied.missing


def test_a_large_file_whose_time_lies_is_read_twice(pull: Pull, world: World) -> None:
    """Another content of the same size and time: taken when two reads agree, never after one."""
    changed = bytes(reversed(LARGE))

    def change() -> None:
        world.machine(EX01).files.write(
            rf"{ROOT}\large.bin", Fixed(changed), modified=631_139_040_000_000_000
        )

    copied = pull(change)
    (entry,) = [e for e in copied.entries if e.path == "large.bin"]
    assert pull.repository.object_path(entry.sha256).read_bytes() == changed


def test_a_killed_run_leaves_half_of_a_large_file_to_the_next(pull: Pull, world: World) -> None:
    world.fault(f"{EX01}:Receive:30-:close")
    with pytest.raises(HostError):
        pull()
    world.clear_faults()
    assert pull.repository.salvage(list) == ["run1"]
    world.endpoint.counters(EX01).reset()
    pull.run = "run2"
    copied = pull()
    pull.check(copied)
    assert copied.sent_bytes < 0.75 * len(LARGE)
    assert list((pull.repository.path / "partial").iterdir()) == []


def test_a_file_that_claims_to_be_endless_is_not_read(pull: Pull, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it is as large as a disk; the others are brought all the same."""

    def told(honest: Answer, *args: Any) -> Iterator[Record]:
        import struct

        from exremote.lab.packing import blocks

        for record in honest(*args):
            if (
                isinstance(record, bytes)
                and record[:2] == b"\0F"
                and struct.unpack_from("<q", record, 30)[0] > MIB
            ):
                yield from blocks([record[1:30] + struct.pack("<q", 1 << 50) + record[38:]])
            else:
                yield record

    lie(monkeypatch, told)
    copied = pull()
    pull.check(copied, **{"large.bin": "has grown"})
    assert "has grown" in copied.missing[0].reason


def test_a_digest_that_lies_is_no_digest(pull: Pull, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(honest: Answer, *args: Any) -> Iterator[Record]:
        for record in honest(*args):
            if isinstance(record, bytes):
                record = record.replace(bytes.fromhex(SHA256)[:8], b"\0" * 8)
            yield record

    lie(monkeypatch, told)
    with pytest.raises(TransferMismatch):
        pull(bulk="wire")
