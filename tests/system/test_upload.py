"""Files from here to a host: few requests, resumed at any byte, and read back by the host."""

from __future__ import annotations

import hashlib
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exremote.connector import Connector
from exremote.credential import Secret
from exremote.errors import HostError, RepositoryError, ScriptFailed, TransferMismatch
from exremote.inventory import Deadlines, Inventory, RetryPolicy
from exremote.lab.site import HostSpec
from exremote.lab.world import World, engine_from_environment
from exremote.session import Session
from exremote.transfer import Outgoing, Pushed, push_files

EX01 = "EXU01"
ROOT = r"C:\WINDOWS\Temp\exremote-1"
MIB = 1 << 20
TICKS = 631_139_040_000_000_000
WIRES = pytest.mark.parametrize("wire", ["psrp", "winrs"])


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    world = World([HostSpec(EX01, winrm=3)])
    try:
        yield world
    finally:
        world.stop()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """Return the host as new; no shell may be left."""
    shared.endpoint.counters(EX01).reset()
    yield shared
    shared.clear_faults()
    files = shared.machine(EX01).files
    files.full = False
    if files.is_directory(ROOT):
        files.remove(ROOT)
    left = shared.shells(EX01)
    for shell in left:
        shared.endpoint.drop_shell(EX01, str(shell["id"]))
    assert left == []


@pytest.fixture
def outgoing(tmp_path: Path) -> Callable[..., list[Outgoing]]:
    """Return what makes files to be sent."""

    def make(contents: dict[str, bytes]) -> list[Outgoing]:
        files = []
        for number, (path, data) in enumerate(contents.items()):
            source = tmp_path / f"source{number}"
            source.write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            files.append(Outgoing(path, source, len(data), sha256, TICKS + number, 0x21))
        return files

    return make


Heard = list[tuple[str, Mapping[str, object]]]


def connect(world: World, heard: Heard | None = None, **changes: Any) -> Session:
    site = Inventory.load(world.inventory, list(Connector.load_all()))
    patience = RetryPolicy(attempts=3, total_s=20.0, first_wait_s=0.05)
    host = replace(site.hosts[EX01], **{"retry": patience, "deadlines": Deadlines(), **changes})
    hear = lambda kind, fields: (heard if heard is not None else []).append((kind, fields))  # noqa: E731
    return Session(host, Secret(world.user, world.password), on_event=hear)


def push(
    world: World, files: list[Outgoing], fresh: bool = True, heard: Heard | None = None, **changes: Any
) -> Pushed:
    with connect(world, heard, **changes) as session:
        return push_files(session, ROOT, files, fresh=fresh)


def check(world: World, contents: dict[str, bytes]) -> None:
    """All is there, byte for byte, with its time and attributes, and nothing else."""
    files = world.machine(EX01).files
    found = {name: node for name, node in files.walk(ROOT) if not node.is_directory}
    assert found.keys() == contents.keys()
    for number, (name, data) in enumerate(contents.items()):
        assert found[name].content is not None
        assert b"".join(found[name].content.chunks()) == data
        assert (found[name].modified, found[name].attributes) == (TICKS + number, 0x21)


def some(count: int, size: int) -> dict[str, bytes]:
    chance = random.Random(count)
    return {rf"part{n % 7}\file{n:04d}.dat": chance.randbytes(size) for n in range(count)}


@WIRES
def test_files_of_all_kinds_come_whole(
    world: World, outgoing: Callable[..., list[Outgoing]], wire: str
) -> None:
    contents = {
        **some(40, 3000),
        "empty": b"",
        "zeros": bytes(3 * MIB),
        "text.reg": ('"Name"="' + "value" * 40_000 + '"\r\n').encode("utf-16-le"),
        "Übersicht 漢字.tbl": b"name",
        "noise": random.Random(1).randbytes(3 * MIB + 1),
    }
    pushed = push(world, outgoing(contents), wire=wire)
    assert (pushed.sent_files, pushed.failed) == (len(contents), ())
    check(world, contents)


def test_what_is_there_is_not_sent_again(world: World, outgoing: Callable[..., list[Outgoing]]) -> None:
    contents = some(20, 3000)
    files = outgoing(contents)
    push(world, files)
    assert push(world, files, fresh=False) == Pushed()
    world.machine(EX01).files.write(rf"{ROOT}\part0\file0000.dat", b"changed")
    again = push(world, files, fresh=False)
    assert (again.sent_files, again.sent_bytes) == (1, pytest.approx(3000, abs=200))
    check(world, contents)


def test_a_thousand_files_take_few_requests(world: World, outgoing: Callable[..., list[Outgoing]]) -> None:
    contents = some(1000, 4096)
    push(world, outgoing(contents))
    counters = world.endpoint.counters(EX01)
    assert counters.exchanges <= 32
    assert counters.bytes_in < 1.86 * 1000 * 4096
    check(world, contents)


BREAKS = [
    "Send:9:close",
    "Send:9:lost",
    "Send:12:gone",
    "Send:9:cut=10",
    "Receive:3:lost",
    "Send:9:status=503",
]


@pytest.mark.parametrize("fault", BREAKS)
def test_an_upload_that_breaks_goes_on(
    world: World, outgoing: Callable[..., list[Outgoing]], fault: str
) -> None:
    """It is not begun anew: what the host has of a file is looked at, and the rest is sent."""
    contents = {"large": random.Random(2).randbytes(24 * MIB), **some(10, 5000)}
    world.fault(f"{EX01}:{fault}")
    pushed = push(world, outgoing(contents))
    assert pushed.failed == ()
    assert world.endpoint.counters(EX01).bytes_in < 1.8 * 24 * MIB * 1.6
    check(world, contents)


def test_more_than_a_command_may_be_sent_goes_in_several(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    """PSRP's quota of 50 MB for one command holds for the lab as well."""
    contents = {"large": random.Random(4).randbytes(70 * MIB)}
    push(world, outgoing(contents))
    assert world.endpoint.counters(EX01).bytes_in < 1.80 * 70 * MIB
    check(world, contents)


def test_a_full_disk_there_is_said(world: World, outgoing: Callable[..., list[Outgoing]]) -> None:
    push(world, outgoing({"first": b"makes the folder"}))
    files = outgoing({"large": random.Random(2).randbytes(2 * MIB)})
    world.machine(EX01).files.full = True
    with pytest.raises(ScriptFailed) as caught:
        push(world, files)
    assert caught.value.error_id == "ExRemote.DiskFull"


def test_a_file_that_cannot_be_written_is_named_and_the_others_come(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    contents = some(6, 2000)
    files = outgoing(contents)
    push(world, files[:1])
    world.machine(EX01).files.write(rf"{ROOT}\{files[0].path}", b"other").locked = True
    pushed = push(world, files)
    assert [path for path, _ in pushed.failed] == [files[0].path]
    assert "locked" in pushed.failed[0][1]
    assert pushed.sent_files == 5


def test_a_file_that_went_meanwhile_here_is_said(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    files = outgoing(some(3, 2000))
    files[1].source.unlink()
    with pytest.raises(RepositoryError, match="cannot be read"):
        push(world, files)


def test_a_file_that_is_shorter_here_than_was_said_is_never_taken_for_whole(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    files = outgoing({"large": random.Random(2).randbytes(2 * MIB), "other": b"other"})
    files[0].source.write_bytes(files[0].source.read_bytes()[:MIB])
    with pytest.raises(RepositoryError, match=r"source0: was changed here .* less than its 2097152 bytes"):
        push(world, files)


def test_a_file_that_is_another_one_here_is_not_laid_at_the_hosts_door(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    files = outgoing({"a": b"x" * 1000, "other": b"other"})
    files[0].source.write_bytes(b"y" * 1000)
    with pytest.raises(RepositoryError, match=r"source0: was changed here .* its content is another one"):
        push(world, files)


def test_a_host_that_keeps_another_content_is_named(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    machine = world.machine(EX01)
    machine.spoils = 99
    try:
        with pytest.raises(TransferMismatch, match="a came to be another file than was sent, 3 times"):
            push(world, outgoing({"a": b"x" * 1000}))
    finally:
        machine.spoils = 0


def test_of_a_file_that_has_grown_here_what_was_wanted_goes(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    """And no more: 60 MiB behind it are past what PSRP takes for one command."""
    contents = {"a": b"x" * 1000, "b": b"other"}
    files = outgoing(contents)
    with files[0].source.open("ab") as file:
        file.write(random.Random(1).randbytes(60 * MIB))
    assert push(world, files).sent_files == 2
    check(world, contents)


@WIRES
def test_a_file_that_has_all_but_its_time_gets_that_alone(
    world: World, outgoing: Callable[..., list[Outgoing]], wire: str
) -> None:
    """As a run leaves it that was killed between its last byte and its end."""
    contents = {"large": random.Random(3).randbytes(2 * MIB), "empty": b""}
    for name, data in contents.items():
        world.machine(EX01).files.write(rf"{ROOT}\{name}", data)
    pushed = push(world, outgoing(contents), fresh=False, wire=wire)
    assert (pushed.sent_files, pushed.failed) == (2, ())
    assert pushed.sent_bytes < 400
    check(world, contents)
    assert push(world, outgoing(contents), fresh=False, wire=wire) == Pushed()


@pytest.mark.parametrize("send", range(2, 9))
def test_a_line_that_breaks_before_the_end_of_a_file_leaves_no_wrong_time(
    world: World, outgoing: Callable[..., list[Outgoing]], send: int
) -> None:
    """All data of the first file come in one block, and its end is in the next one."""
    first = random.Random(1).randbytes(262144 - 37 - 5 - 20)
    contents = {"exact": first, "large": random.Random(2).randbytes(2 * MIB)}
    world.fault(f"{EX01}:Send:{send}:gone")
    assert push(world, outgoing(contents)).failed == ()
    check(world, contents)


def test_a_host_that_keeps_no_such_time_is_not_asked_for_ever(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    """A disk with FAT has times of two seconds: what a whole script wrote is as good as it gets."""
    wanted = [replace(file, modified_ticks=TICKS + 5_000_000) for file in outgoing({"a": b"content"})]
    push(world, wanted)
    node = world.machine(EX01).files.find(rf"{ROOT}\a")

    def rounded(_: int, __: int) -> None:
        node.modified = TICKS

    rounded(0, 0)
    with connect(world) as session:
        pushed = push_files(session, ROOT, wanted, fresh=False, progress=rounded)
    assert (pushed.sent_files, pushed.failed) == (1, ())


class Breaking(Heard):
    """What is heard, where the line breaks again and again, each time after the same number of requests."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._arm()

    def append(self, event: tuple[str, Mapping[str, object]]) -> None:
        super().append(event)
        if event[0] == "retry":
            self._arm()

    def _arm(self) -> None:
        self._world.fault(f"{EX01}:Send:18:close")


def test_a_line_that_breaks_every_few_megabytes_ends_no_upload(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    """The host says how far it is less often than that: what it is found to have counts as headway."""
    contents = {"large": random.Random(2).randbytes(20 * MIB)}
    heard = Breaking(world)
    push(
        world, outgoing(contents), heard=heard, retry=RetryPolicy(attempts=3, total_s=60.0, first_wait_s=0.05)
    )
    assert kinds(heard).count("retry") > 3
    check(world, contents)


def test_a_file_that_got_shorter_there_between_two_scripts_is_sent_again(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    contents = {"large": random.Random(4).randbytes(34 * MIB)}
    files, cut = outgoing(contents), []

    def progress(_: int, size: int) -> None:
        found = dict(world.machine(EX01).files.walk(ROOT)).get("large")
        if not cut and found is not None and found.content is not None and found.content.size >= 31 * MIB:
            cut.append(size)
            found.content.cut(5 * MIB)

    with connect(world) as session:
        pushed = push_files(session, ROOT, files, fresh=True, progress=progress)
    assert cut
    assert (pushed.sent_files, pushed.failed) == (1, ())
    check(world, contents)


def kinds(heard: Heard) -> list[str]:
    return [kind for kind, _ in heard]


@pytest.fixture
def long_line(world: World) -> Iterator[World]:
    world.endpoint.set_line(EX01, latency_s=0.15)
    yield world
    world.endpoint.set_line(EX01)


def all_go_once(world: World, outgoing: Callable[..., list[Outgoing]], contents: dict[str, bytes]) -> None:
    """All is sent over several streams, and nothing of it twice."""
    heard: Heard = []
    size = sum(map(len, contents.values()))
    pushed = push(world, outgoing(contents), heard=heard, streams=3)
    assert (pushed.sent_files, pushed.failed) == (len(contents), ())
    assert abs(pushed.sent_bytes - size) < 9000
    assert "stream-opened" in kinds(heard)
    assert world.endpoint.counters(EX01).bytes_in < 1.9 * size, "too much went twice"
    check(world, contents)


def test_on_a_long_line_files_go_side_by_side(
    long_line: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    """Latency alone bounds the line: another stream is opened, and each file goes once."""
    all_go_once(long_line, outgoing, some(16, MIB))


@pytest.mark.parametrize("fault", ["Create:2:quota", "Send:35:gone", "Send:30:lost"])
def test_what_a_broken_stream_had_begun_goes_another_way(
    long_line: World, outgoing: Callable[..., list[Outgoing]], fault: str
) -> None:
    contents = some(16, MIB)
    heard: Heard = []
    long_line.fault(f"{EX01}:{fault}")
    pushed = push(long_line, outgoing(contents), heard=heard, streams=3)
    assert (pushed.sent_files, pushed.failed) == (16, ())
    assert "stream-opened" in kinds(heard)
    assert {"stream-lost", "retry"} & set(kinds(heard))
    check(long_line, contents)


class Filling(Heard):
    """What is heard, where the disk is full from the second stream on."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._files = world.machine(EX01).files

    def append(self, event: tuple[str, Mapping[str, object]]) -> None:
        super().append(event)
        self._files.full = self._files.full or event[0] == "stream-opened"


def test_a_full_disk_ends_all_streams(long_line: World, outgoing: Callable[..., list[Outgoing]]) -> None:
    files, heard = outgoing(some(16, MIB)), Filling(long_line)
    with pytest.raises(ScriptFailed) as caught:
        push(long_line, files, heard=heard, streams=3)
    assert "stream-opened" in kinds(heard)
    assert caught.value.error_id == "ExRemote.DiskFull"


def test_on_a_long_line_one_large_file_goes_side_by_side(
    long_line: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    """In pieces, which the host joins; a second one goes on when the first is full."""
    contents = {"deep\\large": random.Random(5).randbytes(24 * MIB), "small": b"small"}
    all_go_once(long_line, outgoing, contents)


class Killed(BaseException):
    """What ends an upload in its middle."""


def test_a_large_file_whose_upload_was_killed_goes_on_in_its_pieces(
    long_line: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    contents = {"large": random.Random(5).randbytes(24 * MIB)}
    files, machine = outgoing(contents), long_line.machine(EX01)

    def there() -> int:
        return sum(node.content.size for _, node in machine.files.walk(ROOT) if node.content is not None)

    def progress(_: int, __: int) -> None:
        found = [name for name, node in machine.files.walk(ROOT) if not node.is_directory]
        if len(found) > 1 and there() > 14 * MIB:
            raise Killed

    with pytest.raises(Killed), connect(long_line, streams=3) as session:
        push_files(session, ROOT, files, fresh=True, progress=progress)
    was_there = there()
    pushed = push(long_line, files, fresh=False, streams=3)
    assert (pushed.sent_files, pushed.failed) == (1, ())
    assert pushed.sent_bytes < 24 * MIB - was_there + 9000
    check(long_line, contents)


CUT = 5 * MIB
"""Where the second piece of a file of 12 MiB begins; the third one begins at 8 MiB."""


@pytest.mark.parametrize(
    ("first", "pieces", "sent"),
    [
        pytest.param(CUT, {CUT: 3 * MIB, 8 * MIB: 4 * MIB}, 0, id="all there"),
        pytest.param(7 * MIB, {CUT: 3 * MIB, 8 * MIB: 4 * MIB}, 0, id="one half joined"),
        pytest.param(8 * MIB, {8 * MIB: 4 * MIB}, 0, id="one joined"),
        pytest.param(12 * MIB, {8 * MIB: 4 * MIB}, 0, id="all joined, one not removed"),
        pytest.param(CUT, {CUT: MIB, 8 * MIB: 4 * MIB}, 2 * MIB, id="one half sent"),
        pytest.param(MIB, {8 * MIB: 4 * MIB}, 7 * MIB, id="one never begun"),
        pytest.param(0, {CUT: 3 * MIB, 8 * MIB: 0}, 9 * MIB, id="two hardly begun"),
    ],
)
@pytest.mark.parametrize("fault", ["", "Receive:3:gone", "Send:1:lost", "Write-FilePack:1:gone"])
def test_pieces_that_another_run_left_are_joined(
    world: World,
    outgoing: Callable[..., list[Outgoing]],
    first: int,
    pieces: dict[int, int],
    sent: int,
    fault: str,
) -> None:
    data = random.Random(6).randbytes(12 * MIB)
    files = world.machine(EX01).files
    files.write(rf"{ROOT}\large", data[:first])
    for start, size in pieces.items():
        files.write(rf"{ROOT}\large.exremote-{start}", data[start : start + size])
    if fault:
        world.fault(f"{EX01}:{fault}")
    pushed = push(world, outgoing({"large": data}), fresh=False)
    assert (pushed.sent_files, pushed.failed) == (1, ())
    assert pushed.sent_bytes < sent + (9000 if not fault else 5 * MIB)
    check(world, {"large": data})


def test_a_file_that_is_called_like_a_piece_is_none(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    contents = {"large": random.Random(6).randbytes(12 * MIB), f"large.exremote-{CUT}": b"somebody's own"}
    pushed = push(world, outgoing(contents))
    assert (pushed.sent_files, pushed.failed) == (2, ())
    check(world, contents)
    assert push(world, outgoing(contents), fresh=False) == Pushed()
    check(world, contents)


def test_a_piece_that_is_spoiled_is_sent_again(world: World, outgoing: Callable[..., list[Outgoing]]) -> None:
    data = random.Random(6).randbytes(12 * MIB)
    files = world.machine(EX01).files
    files.write(rf"{ROOT}\large", data[:CUT])
    files.write(rf"{ROOT}\large.exremote-{CUT}", data[CUT:-1] + bytes([data[-1] ^ 1]))
    pushed = push(world, outgoing({"large": data}), fresh=False)
    assert (pushed.sent_files, pushed.failed) == (1, ())
    check(world, {"large": data})


def test_no_other_content_is_taken_for_an_empty_file(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    world.machine(EX01).files.write(rf"{ROOT}\empty", b"?")
    pushed = push(world, outgoing({"empty": b""}), fresh=False)
    assert (pushed.sent_files, pushed.failed) == (1, ())
    check(world, {"empty": b""})


def test_what_is_lost_there_again_and_again_ends_an_upload(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    """The host says how far it is, breaks, and has nothing of it: that is no headway, whatever it said."""
    files = world.machine(EX01).files

    class Losing(Breaking):
        def append(self, event: tuple[str, Mapping[str, object]]) -> None:
            if event[0] == "retry" and files.is_directory(ROOT):
                files.remove(ROOT)
            super().append(event)

    heard = Losing(world)
    with pytest.raises(HostError):
        push(
            world,
            outgoing({"large": random.Random(2).randbytes(20 * MIB)}),
            heard=heard,
            retry=RetryPolicy(attempts=3, total_s=60.0, first_wait_s=0.05),
        )
    assert kinds(heard).count("retry") < 8


def test_a_file_that_is_held_for_a_moment_there_is_tried_again(
    world: World, outgoing: Callable[..., list[Outgoing]]
) -> None:
    contents = {"a": b"x" * 1000, "b": b"other"}
    files = outgoing(contents)
    push(world, files[:1])
    node = world.machine(EX01).files.write(rf"{ROOT}\a", b"other")
    node.locked = True
    release = threading.Timer(1.0, setattr, (node, "locked", False))
    release.start()
    try:
        assert push(world, files).failed == ()
    finally:
        release.join()
    check(world, contents)


def test_a_name_that_leads_out_is_refused(world: World, outgoing: Callable[..., list[Outgoing]]) -> None:
    with pytest.raises(HostError, match="leads out of the root"):
        push(world, outgoing({r"..\evil.dll": b"x"}))


@pytest.fixture(scope="module")
def windows() -> Iterator[World]:
    """Return a host whose scripts Microsoft's engine runs, under Wine."""
    world = World([HostSpec(EX01, winrm=3)], engine=engine_from_environment())
    try:
        yield world
    finally:
        world.stop()


@pytest.mark.wine
@pytest.mark.skipif(
    not engine_from_environment(), reason="EXREMOTE_LAB_POWERSHELL is not set: no real PowerShell"
)
@WIRES
def test_the_real_engine_writes_the_same(
    windows: World, outgoing: Callable[..., list[Outgoing]], wire: str
) -> None:
    contents = {
        **some(30, 3000),
        "empty": b"",
        "zeros": bytes(MIB),
        "Übersicht 漢字.tbl": b"name",
        "noise": random.Random(1).randbytes(3 * MIB + 1),
    }
    files = outgoing(contents)
    prefix = windows.hosts[EX01].prefix
    assert prefix is not None
    place = prefix.path(ROOT)
    shutil.rmtree(place, ignore_errors=True)
    pushed = push(windows, files, wire=wire)
    assert (pushed.sent_files, pushed.failed) == (len(contents), ())
    for name, data in contents.items():
        assert prefix.path(rf"{ROOT}\{name}").read_bytes() == data
    (place / "noise").write_bytes(contents["noise"][:MIB])
    (place / "zeros").write_bytes(b"other")
    again = push(windows, files, fresh=False, wire=wire)
    assert again.sent_files == 2
    assert again.sent_bytes < 3.2 * MIB
    assert (place / "noise").read_bytes() == contents["noise"]
    (place / "noise").write_bytes(contents["noise"][: MIB + 7])
    for start in (MIB, 2 * MIB):
        (place / f"noise.exremote-{start}").write_bytes(contents["noise"][start:][: 2 * MIB])
    (place / f"noise.exremote-{MIB}").write_bytes(contents["noise"][MIB : 2 * MIB])
    joined = push(windows, files, fresh=False, wire=wire)
    assert (joined.sent_files, joined.failed) == (1, ())
    assert joined.sent_bytes < 500
    assert not list(place.glob("*.exremote-*"))
    assert (place / "noise").read_bytes() == contents["noise"]
    with connect(windows, wire=wire) as session:
        entries = {e.path: e for e in session.file_tree(ROOT).entries}
    for number, name in enumerate(contents):
        assert (entries[name].modified_ticks, entries[name].attributes & 0x27) == (TICKS + number, 0x21)
