"""A host that serves torn files: the lab's World in this process, its answers bent; the CLI in another."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exremote.lab import behaviour
from exremote.lab.packing import blocks, decode_names
from exremote.lab.site import HostSpec
from exremote.lab.world import PASSWORD_VARIABLE, World
from exremote.lab.wsman.engine import Long

CONNDATA = r"C:\Program Files\Exchsrvr\Conndata"
TABLE = r"Tables\torn.tbl"
TIME = 638_000_000_000_000_000


@pytest.fixture
def world() -> Iterator[World]:
    world = World([HostSpec("EXN", ("notes",))])
    world.machine("EXN").files.write(rf"{CONNDATA}\{TABLE}", b"A" * 300_000, modified=TIME)
    yield world
    world.stop()


def run(world: World, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("EXREMOTE", "XDG_"))}
    environment |= {
        PASSWORD_VARIABLE: world.password,
        "EXREMOTE_INVENTORY": str(world.inventory),
        "EXREMOTE_REPOSITORY": str(folder / "repository"),
        "XDG_STATE_HOME": str(folder / "state"),
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "exremote", *args]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def bend(monkeypatch: pytest.MonkeyPatch, contents: list[bytes]) -> list[bytes]:
    """Let the table's content be the next of these at each read of it, at the same time and size."""
    usual = behaviour.ANSWERS["Read-FilePack"]
    served: list[bytes] = []

    def answer(machine: Any, arguments: Any, source: Any, call: Any) -> Iterator[Any]:
        names = decode_names(arguments.text("Files"))
        if TABLE not in names:
            yield from usual(machine, arguments, source, call)
            return

        def pack() -> Iterator[bytes]:
            for index, name in enumerate(names):
                if name == TABLE:
                    data = contents[min(len(served), len(contents) - 1)]
                    served.append(data)
                    ticks = TIME
                else:
                    node = machine.files.open(rf"{CONNDATA}\{name}")
                    data = b"".join(node.content.chunks())
                    ticks = machine.files.find(rf"{CONNDATA}\{name}").modified
                begin = struct.pack("<IqqIq", index, 0, ticks, 32, len(data))
                yield b"F" + struct.pack("<I", len(begin)) + begin
                for start in range(0, len(data), 65536):
                    piece = data[start : start + 65536]
                    yield b"D" + struct.pack("<I", len(piece)) + piece
                end = struct.pack("<qq", len(data), ticks) + hashlib.sha256(data).digest()
                yield b"E" + struct.pack("<I", len(end)) + end
            yield b"Z" + struct.pack("<II", 4, len(names))

        yield from blocks(pack())
        yield {"Files": Long(len(names)), "Bytes": Long(0), "Failed": 0}

    monkeypatch.setitem(behaviour.ANSWERS, "Read-FilePack", answer)
    return served


def backup(world: World, folder: Path) -> dict[str, Any]:
    assert run(world, folder, "init").returncode == 0
    ran = run(world, folder, "backup", "--only", "notes", "--json")
    report = json.loads(ran.stdout)
    assert ran.returncode == report["exit_code"]
    (host,) = report["hosts"]
    return dict(host)


def test_a_torn_read_that_no_time_betrays_is_read_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing's digest says that one read was torn; the next one agrees with it and is stored."""
    torn, whole = b"A" * 150_000 + b"B" * 150_000, b"A" * 300_000
    served = bend(monkeypatch, [torn, whole])
    host = backup(world, tmp_path)
    assert (host["state"], served) == ("done", [torn, whole])
    (stored,) = (tmp_path / "repository" / "snapshots" / "EXN").glob("*/files/conndata/Tables/torn.tbl")
    assert stored.read_bytes() == whole


def test_a_file_that_changed_once_and_then_stands_still_is_taken(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two reads that agree are proof, whatever the listing had."""
    new = b"N" * 300_000
    assert bend(monkeypatch, [new]) == []
    assert backup(world, tmp_path)["state"] == "done"
    (stored,) = (tmp_path / "repository" / "snapshots" / "EXN").glob("*/files/conndata/Tables/torn.tbl")
    assert stored.read_bytes() == new


def test_a_file_whose_reads_never_agree_is_reported_and_not_stored(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bend(monkeypatch, [bytes([65 + n]) * 300_000 for n in range(1, 9)])
    host = backup(world, tmp_path)
    assert (host["state"], host["exit_code"]) == ("incomplete", 3)
    (missing,) = [m for m in host["missing"] if "torn.tbl" in m["what"]]
    assert "changes from read to read" in missing["reason"]
    assert not list((tmp_path / "repository" / "snapshots").glob("*/*/files/conndata/Tables/torn.tbl"))
