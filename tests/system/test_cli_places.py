"""Places that are none, and secrets that are no text: a sentence each, and never a character of a secret."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from keep_support import Door, backup

POSIX = os.name == "posix"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_a_name_that_no_system_takes_is_told(door: Door) -> None:
    backup(door.place, 1)
    long = "a" * 300
    for args, code in (
        (["init", long], 10),
        (["snapshots", "--repository", long], 10),
        (["export", "EXCH01", "--into", long], 10),
        (["copy", "--to", long], 10),
        (["health", "--facts", long], 2),
        (["health", "--inventory", long], 2),
    ):
        assert long in door(*args, code=code).err, args
    site = door.folder / "site.toml"
    lines = ["[hosts.A]", "scheme = 'https'", "credential = { environment = 'PASSWORD', username = 'u' }"]
    site.write_text("\n".join([*lines, f"verify = '{long}'"]))
    assert long in door("inventory", "check", "site.toml").out


@pytest.mark.skipif(not POSIX, reason="Windows keeps a folder that somebody stands in")
def test_a_current_folder_that_is_gone(door: Door) -> None:
    gone = door.folder / "gone"
    gone.mkdir()
    line = " ".join(door.command("init", "relative"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"cd '{gone}' && rmdir '{gone}' && exec {line}"],
        env=door.environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "the current folder is gone" in done.stderr


@pytest.mark.skipif(not POSIX, reason="needs a link that leads to itself, and /dev/zero")
def test_places_without_an_end(door: Door) -> None:
    backup(door.place, 1)
    (door.folder / "loop").symlink_to("loop")
    assert "loop" in door("export", "EXCH01", "--into", "loop/out", code=10).err
    assert "larger than facts can be" in door("health", "--facts", "/dev/zero", code=2).err


@pytest.mark.skipif(not POSIX, reason="the environment of Windows is text")
@pytest.mark.parametrize("wire", ["psrp", "winrs"])
def test_a_password_that_is_no_text_is_refused_before_it_is_tried(door: Door, wire: str) -> None:
    (door.folder / "site.toml").write_text(
        f"[defaults]\nwire = '{wire}'\nauth = 'ntlm'\n"
        "credential = { environment = 'PASSWORD', username = 'u' }\n"
        "[hosts.A]\naddress = '127.0.0.1'\nport = 1\n"
    )
    door.more = {"PASSWORD": os.fsdecode(b"gar\xe7on-secret")}
    for verb in ("health", "doctor"):
        said = door(verb, "A", "--inventory", "site.toml", code=2).all
        assert "the user or the password has bytes that are no text here" in said
        assert not any(piece in said for piece in ("xe7", "udce7", "secret"))


@pytest.mark.parametrize("wire", ["psrp", "winrs"])
def test_a_password_that_basic_cannot_send_is_not_quoted(door: Door, wire: str) -> None:
    (door.folder / "site.toml").write_text(
        f"[defaults]\nwire = '{wire}'\nauth = 'basic'\nencryption = 'never'\n"
        "credential = { environment = 'PASSWORD', username = 'u' }\n"
        "[hosts.A]\naddress = '127.0.0.1'\nport = 1\n"
    )
    door.more = {"PASSWORD": "\u0141\u00f3d\u017a-secret"}
    ran = door("health", "--inventory", "site.toml", code=21)
    assert "has a character outside latin-1" in ran.out
    assert "trying again" not in ran.err, "patience changes no password"
    files = [p.read_bytes().decode(errors="replace") for p in door.folder.rglob("*.jsonl")]
    for text in (ran.all, *files):
        assert not any(piece in text for piece in ("\u0141", "u0141", "secret", "position"))
