"""docs/restore-by-hand.md, followed word for word by a shell that has four programs and none of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import CONNDATA, WITHHELD, Cli, manifest_of

from exremote.lab.client import RunningLab
from exremote.repository import Entry, Repository, Snapshot, SnapshotDraft, stored_path

PAGE = (Path(__file__).parents[2] / "docs" / "restore-by-hand.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
PROGRAMS = ("sha256sum", "cp", "mv", "iconv")
BASH = shutil.which("bash")
AT = datetime(2026, 3, 22, 10, 15, tzinfo=UTC)
FILES = {
    "Dxamex\\Amap.tbl": b"mapping",
    "Tables\\leer.tbl": b"",
    "100% sicher\\con\\50%.txt": b"a folder with the name of a device",
    "Umlaut ä\\ends with a dot.": b"dot",
    ".hidden": b"hidden",
    "a b\\'quoted' $HOME `x`.txt": b"for a shell to stumble over",
    "Case.txt": b"one",
    "CASE.TXT": b"two",
}

pytestmark = [
    pytest.mark.skipif(BASH is None, reason="needs bash"),
    pytest.mark.skipif(any(shutil.which(p) is None for p in PROGRAMS), reason=f"needs {', '.join(PROGRAMS)}"),
]


def follow(
    page: list[str], repository: Path, snapshot: str, tmp_path: Path
) -> subprocess.CompletedProcess[str]:
    """Do what the blocks say, in order, with the page's programs only; stop at the first that fails."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found
        if not (programs / name).exists():
            (programs / name).symlink_to(found)
    assert BASH
    return subprocess.run(
        [BASH, "--norc", "-euo", "pipefail", "-c", "\n".join(page)],
        env={
            "PATH": str(programs),
            "LC_ALL": "C.UTF-8",
            "REPOSITORY": str(repository),
            "SNAPSHOT": snapshot,
            "RESTORED": str(tmp_path / "restored"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def made(repository: Repository) -> Snapshot:
    """A snapshot with names that are escaped in it, a secret, and registry text."""
    entries = []
    with repository.staging("run1", "EXNOTES01") as staging:
        for path, data in FILES.items():
            writer = staging.writer(path)
            writer.write(data)
            sha256 = writer.finish(secret=path == ".hidden")
            place = stored_path("conndata", path)
            entries.append(Entry("conndata", path, place, len(data), sha256, AT, 32, path == ".hidden"))
    text = 'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Ä]\r\n"ü"="ß"\r\n'
    return repository.commit(
        SnapshotDraft(
            "EXNOTES01",
            "notes",
            AT,
            "run1",
            entries=tuple(entries),
            documents={"registry/client.reg": text.encode("utf-16"), "services.json": b'[{"name": "X"}]\n'},
        )
    )


def test_the_page_has_its_blocks_and_they_are_shell() -> None:
    assert len(BLOCKS) >= 6
    assert "exremote " not in "".join(BLOCKS)
    assert "python" not in "".join(BLOCKS)
    for block in BLOCKS:
        assert subprocess.run([str(BASH), "-n", "-c", block], check=False).returncode == 0, block


def test_whoever_follows_the_page_has_every_file_under_its_own_name(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "repository")
    snapshot = made(repository)
    done = follow(BLOCKS, repository.path, f"EXNOTES01/{snapshot.id}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot.id in done.stdout
    assert '"complete":true' in done.stdout
    assert '[{"name": "X"}]' in done.stdout
    top = tmp_path / "restored" / "files" / "conndata"
    got = {"\\".join(p.relative_to(top).parts): p.read_bytes() for p in top.rglob("*") if p.is_file()}
    assert got == FILES
    assert all(os.access(p, os.W_OK) and p.stat().st_mode & 0o277 == 0o200 for p in top.rglob("*"))
    text = (tmp_path / "restored" / "registry" / "client.reg.txt").read_text(encoding="utf-8")
    assert '"ü"="ß"' in text
    assert list(repository.verify()) == [], "the repository itself is as it was"


@pytest.mark.parametrize("name", ["files/conndata/Dxamex/Amap.tbl", "manifest.json", "registry/client.reg"])
def test_the_check_of_the_page_finds_what_is_damaged_and_names_it(tmp_path: Path, name: str) -> None:
    repository = Repository.create(tmp_path / "repository")
    snapshot = made(repository)
    path = snapshot.path / name
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = follow(BLOCKS, repository.path, f"EXNOTES01/{snapshot.id}", tmp_path)
    assert done.returncode != 0
    assert name in done.stdout + done.stderr
    assert not (tmp_path / "restored").exists()


def test_a_backup_of_a_host_is_restored_by_the_page_byte_for_byte(
    cli: Cli, lab: RunningLab, tmp_path: Path
) -> None:
    """Held against the host itself; the page says where each item belongs."""
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup", "--only", "notes")
    folder = cli.folder_of("EXNOTES01", "notes")
    done = follow(BLOCKS, cli.repository, f"EXNOTES01/{folder.name}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"root": "{CONNDATA}"'.replace("\\", "\\\\").lower() in done.stdout.lower()
    assert WITHHELD not in done.stdout
    manifest = manifest_of(folder)
    for entry in manifest["entries"]:
        file = (tmp_path / "restored" / "files" / entry["item"]).joinpath(*entry["path"].split("\\"))
        remote = rf"{manifest['trees'][entry['item']]['root']}\{entry['path']}"
        if not remote.lower().endswith((".exe", ".dll")):  # under Wine a service has another program file
            assert file.read_bytes() == lab.client.read_file("EXNOTES01", remote), remote
    read = (tmp_path / "restored" / "registry" / "notes-client.reg.txt").read_text(encoding="utf-8")
    assert "Windows Registry Editor Version 5.00" in read
    shutil.rmtree(tmp_path / "restored")
