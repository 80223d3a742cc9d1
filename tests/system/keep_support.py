"""A repository made without any host, and the command line on it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Cli, Ran

from exremote.journal import journals, list_runs
from exremote.repository import Entry, Omission, Repository, Snapshot, SnapshotDraft, stored_path

AT = datetime(2026, 3, 22, 10, 15, tzinfo=UTC)
REG = "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Lotus]\r\n"


def backup(
    place: Repository,
    day: float,
    *,
    host: str = "EXCH01",
    connector: str = "groupwise",
    size: int = 2000,
    files: Mapping[str, bytes] | None = None,
    complete: bool = True,
    registry: str = REG,
    state: str = "Running",
) -> Snapshot:
    """Make a snapshot of a day: one content of its own, one that all share, one that is secret."""
    contents = {
        "Dxamex\\Amap.tbl": b"day %d " % round(day * 24) * (size // 8) + host.encode(),
        "Tables\\same.tbl": b"always the same " * 100,
        "Notes.ini": b"[Notes]\r\nsecret",
    }
    contents = {**contents, **(files or {})}
    run = f"run{round(day * 24)}"
    entries = []
    with place.staging(run, host) as staging:
        for path, data in contents.items():
            writer = staging.writer(path)
            writer.write(data)
            sha256 = writer.finish(secret=path == "Notes.ini")
            secret = path == "Notes.ini"
            stored = stored_path("conndata", path)
            entries.append(Entry("conndata", path, stored, len(data), sha256, AT, 32, secret))
    service = [{"name": "LME-GWISE", "state": state, "depends_on": ["MSExchangeCoCo"]}]
    return place.commit(
        SnapshotDraft(
            host,
            connector,
            AT + timedelta(days=day),
            run,
            complete=complete,
            entries=tuple(entries),
            missing=() if complete else (Omission("C:\\Conndata\\locked.dat", "is locked"),),
            omitted=(Omission("C:\\Conndata\\lab.seq", "a work file"),),
            documents={
                "registry/connector.reg": registry.encode("utf-16"),
                "services.json": json.dumps(service).encode(),
                "facts.json": b"{}",
            },
            findings=({"check": "service.running", "verdict": "warning", "evidence": "it is slow"},),
        )
    )


def damage(path: Path) -> None:
    """Change one bit in the middle of a file."""
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@dataclass
class Door:
    """The command line on a repository that was made without any host."""

    folder: Path
    ran: list[Ran] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)
    """Environment over the usual one; what is empty is not there."""

    def __post_init__(self) -> None:
        self.place = Repository.create(self.folder / "repository")

    @property
    def environment(self) -> dict[str, str]:
        """Return what a command gets: nothing of the developer's own settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("EXREMOTE", "XDG_", "FORCE_"))}
        given = {
            **kept,
            "EXREMOTE_REPOSITORY": str(self.place.path),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "300",
            **self.more,
        }
        return {name: value for name, value in given.items() if value}

    def command(self, *args: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "exremote", *args]

    def __call__(self, *args: str, code: int | None = 0, typed: str | None = None) -> Ran:
        """Run a command to its end, at a terminal if something is typed; it must end with this code."""
        if typed is None and Cli.warm is not None:
            ran = Ran(args, *Cli.warm.run(args, self.environment, self.folder, 120.0))
        elif typed is None:
            done = subprocess.run(
                self.command(*args),
                env=self.environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                encoding="utf-8",
                stdin=subprocess.DEVNULL,
            )
            ran = Ran(args, done.returncode, done.stdout, done.stderr)
        else:
            pty = pytest.importorskip("pty")
            ours, theirs = pty.openpty()
            os.write(ours, typed.encode())
            done = subprocess.run(
                self.command(*args),
                env=self.environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                encoding="utf-8",
                stdin=theirs,
            )
            os.close(ours)
            os.close(theirs)
            ran = Ran(args, done.returncode, done.stdout, done.stderr)
        told = f"{' '.join(args)} ended with {ran.code}\n--- out\n{ran.out}\n--- err\n{ran.err}"
        assert code is None or ran.code == code, told
        assert "Traceback" not in ran.all, told
        self.ran.append(ran)
        return ran

    def ids(self) -> list[str]:
        """Return the ids of the snapshots, oldest first."""
        return [s.id for s in Repository.open(self.place.path).snapshots()]

    def events(self, verb: str) -> list[dict[str, Any]]:
        """Return the events of the newest journal of a verb; it must be intact and have ended."""
        record = next(r for r in list_runs(journals(self.place.runs_folder)) if r.verb == verb)
        assert record.intact
        assert record.ended is not None
        return [{"kind": e.kind, **e.fields} for e in record.events]

    def whole(self) -> None:
        """All that is there can be verified, and no lock is left."""
        assert list(Repository.open(self.place.path).verify()) == []
        assert list((self.place.path / "locks").iterdir()) == []


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def forge(snapshot: Snapshot, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a manifest says, and make all sums agree with it, as somebody would who knows how."""
    data = json.loads((snapshot.path / "manifest.json").read_bytes())
    change(data)
    with suppress(KeyError, TypeError, AttributeError, UnicodeEncodeError, StopIteration):
        sums = next(d for d in data["documents"] if d["stored"] == "SHA256SUMS")
        files = [f for f in (*data["documents"], *data["entries"]) if f is not sums]
        lines = "".join(sorted(f"{f['sha256']}  {f['stored']}\n" for f in files)).encode()
        sums.update(size=len(lines), sha256=hashlib.sha256(lines).hexdigest())
        overwrite(snapshot.path / "SHA256SUMS", lines)
    write_manifest(snapshot, text_of(data))


def text_of(data: Mapping[str, Any]) -> bytes:
    """Return a manifest as exremote writes it: what is no list or object stands on the first line."""
    rest = {k: v for k, v in data.items() if k in ("entries", "documents", "trees", "omitted", "missing")}
    head = {k: v for k, v in data.items() if k not in rest and k != "findings"}
    rest |= {"findings": data["findings"]} if "findings" in data else {}
    return json.dumps(head)[:-1].encode() + b",\n" + json.dumps(rest)[1:].encode()


def write_manifest(snapshot: Snapshot, text: bytes) -> None:
    """Put a text in the place of a manifest, with its digest."""
    overwrite(snapshot.path / "manifest.json", text)
    overwrite(
        snapshot.path / "manifest.sha256", f"{hashlib.sha256(text).hexdigest()}  manifest.json\n".encode()
    )


def overwrite(path: Path, data: bytes) -> None:
    """Write over a file that is read-only."""
    path.chmod(0o600)
    path.write_bytes(data)
