"""The command line where it is almost right: names, empty paths, wrong options, patience."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT, Cli, World
from keep_support import Door, backup, damage
from small_servers import Servers

from exremote.lab.client import running_lab
from exremote.lab.site import HostSpec
from exremote.repository import SnapshotDraft

pytestmark = pytest.mark.not_under_wine("apart")


HOST = "EXGW01"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


# ---------------------------------------------------------------- names of snapshots


def test_a_snapshot_goes_by_host_and_connector(door: Door) -> None:
    """In any case, with a slash at the end, too; a host alone if it has one connector."""
    backup(door.place, 1)
    newest = backup(door.place, 2)
    notes = backup(door.place, 3, host="EXCH02", connector="notes")
    backup(door.place, 4, host="EXCH02", connector="calendar")
    for name in ("EXCH01", "exch01/", "exch01/GroupWise", f"exch01/{newest.id}/", f"EXCH01/{newest.id[:9]}"):
        assert door("show", name, "--json").json["id"] == newest.id
    said = door("show", "exch02", code=2).err
    assert "several connectors" in said
    assert "EXCH02/calendar, EXCH02/notes" in said
    assert door("diff", "EXCH02/notes", notes.id).out == "no difference\n"
    assert door("export", "exch02/notes", "--into", "out", "--json").json["snapshot"] == f"EXCH02/{notes.id}"
    for name in ("EXCH02/msmail", "EXCH03", "1999"):
        said = door("show", name, code=12).err
        assert "EXCH02/notes" in said
        assert ".." not in said


def test_an_empty_repository_says_how_to_fill_it(door: Door) -> None:
    assert "`exremote backup` makes them" in door("show", "EXCH01", code=12).err


def test_the_newest_complete_one_is_meant_and_a_damaged_one_never(door: Door) -> None:
    good = backup(door.place, 1)
    hurt = backup(door.place, 2)
    backup(door.place, 3, complete=False)
    damage(hurt.path / "manifest.json")
    assert door("show", "EXCH01", "--json").json["id"] == good.id


# ---------------------------------------------------------------- empty paths, wrong options


def test_no_command_takes_an_empty_path(door: Door) -> None:
    """A variable that is not set is not the current folder."""
    backup(door.place, 1)
    before = sorted(p.name for p in door.folder.iterdir())
    for args in (
        ["init", ""],
        ["init", " "],
        ["init", "--repository", ""],
        ["export", "EXCH01", "--into", ""],
        ["copy", "--to", ""],
        ["health", "--save-facts", ""],
        ["health", "--facts", ""],
        ["inventory", "check", ""],
        ["snapshots", "-i", ""],
    ):
        assert "empty name" in door(*args, code=2).err, args
    assert sorted(p.name for p in door.folder.iterdir()) == before
    site = door.folder / "site.toml"
    site.write_text("repository = ' '\n[hosts.A]\ncredential = { prompt = true, username = 'u' }\n")
    assert "repository" in door("inventory", "check", "site.toml", code=2).err


def test_an_open_folder_is_closed_and_that_is_said(door: Door) -> None:
    folder = door.folder / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert f"others could enter {folder}" in door("init", "open").err
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (door.folder / "closed").mkdir(mode=0o700)
    assert door("init", "closed").err == ""
    assert door("init", "new", "--json").json["closed"] is False
    assert "Two folders are named" in door("init", "one", "--repository", "two", code=2).err


def test_a_wrong_command_line_is_json_for_a_program(door: Door) -> None:
    for args in (["health", "--nope"], ["snapshots", "--since", "x"], ["show"], ["init", ""]):
        ran = door(*args, "--json", code=2)
        assert ran.json["exit_code"] == 2
        assert ran.json["error"]
        assert ran.err
        assert door(*args, code=2).out == ""


def test_dates_are_shown_as_a_person_writes_them(door: Door) -> None:
    said = door("snapshots", "--since", "x", code=2).err
    assert "2026-03-24T10:15:00Z" in said
    assert "Value error" not in said
    assert "%Y" not in said + door("snapshots", "-h").out


def test_help_flows_at_any_width(door: Door) -> None:
    """No line of a paragraph ends before the next word would be too long."""
    for command in ("forget", "copy", "export", "unlock", "diff"):
        out = subprocess.run(
            door.command(command, "-h"),
            env=door.environment | {"COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        text = [line.strip() for line in out.partition("╭")[0].splitlines()][3:]
        for line, following in pairwise(text):
            if line and following:
                assert len(line) + 1 + len(following.split()[0]) > 76, (command, line)


def test_an_inventory_that_is_a_folder(door: Door) -> None:
    (door.folder / "site").mkdir()
    assert "is a folder" in door("inventory", "check", "site", code=2).err


def test_a_connector_in_a_pipe_has_tabs(door: Door) -> None:
    lines = [line.split("\t") for line in door("connectors", "notes").out.splitlines()]
    assert {len(cells) for cells in lines} == {5}
    assert {"file tree", "service", "check"} <= {cells[0] for cells in lines}


# ---------------------------------------------------------------- remedies that help


def test_a_repository_without_its_mark_is_not_told_to_be_emptied(door: Door) -> None:
    snapshot = backup(door.place, 1)
    mark = door.place.path / "repository.toml"
    text = mark.read_text()
    mark.unlink()
    for args in (["init"], ["snapshots"]):
        said = door(*args, code=10).err
        assert "lost its repository.toml" in said
        assert "empty" not in said
    mark.write_text(f'format = 1\nid = "{snapshot.manifest.head.repository}"\n')
    assert mark.read_text() == text
    door("verify")
    half = door.folder / "half"
    for name in ("objects", "snapshots"):
        (half / name).mkdir(parents=True)
    assert "delete it, and run `exremote init" in door("init", "half", code=10).err


def test_unlock_without_a_terminal_names_what_it_has(door: Door) -> None:
    lock = door.place.path / "locks" / "host-EXCH01.lock"
    lock.write_text(json.dumps({"nobody": "knows"}))
    said = door("unlock", code=4).err
    assert "--dry-run" not in said
    assert "--yes" in said
    door("unlock", "--yes")


def test_an_export_to_a_full_disk_speaks_of_the_export(door: Door) -> None:
    backup(door.place, 1, size=200_000)
    done = subprocess.run(
        door.command("export", "EXCH01", "--into", "out"),
        env=door.environment,
        cwd=door.folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.returncode == 10, done.stderr
    assert "Make room on the volume, delete out, and run it again" in done.stderr
    assert "partial" not in done.stderr


def test_what_forget_says_is_what_it_does(door: Door) -> None:
    for day in (1, 2, 3):
        backup(door.place, day)
    assert "none of 3 snapshots goes: each has a reason" in door("forget", "--keep-last", "3").out
    said = door("forget", "--keep-last", "1", "-n").out
    assert "2 of 3 snapshots would go, and 1 stay; nothing was changed" in said
    said = door("forget", "--keep-last", "1", "--yes").out
    assert "2 of 3 snapshots are to go, and 1 stay" in said
    assert "would" not in said
    assert "2 snapshots forgotten" in said
    door("forget", "--keep-last", "1")


def test_a_snapshot_without_files_has_documents(door: Door) -> None:
    door.place.commit(
        SnapshotDraft(
            "EXCH09", "calendar", backup(door.place, 1).created, "run9", documents={"services.json": b"[]"}
        )
    )
    assert "no files, and 1 document, in out;" in door("export", "EXCH09", "--into", "out").out


def test_the_lock_of_a_backup_names_its_run_once(cli: Cli, world: World) -> None:
    cli.init()
    world.fault(f"{HOST}:Create:*:delay=4")
    with cli.started("backup", HOST) as process:
        locks = cli.repository / "locks"
        while not list(locks.glob("host-*.lock")):
            assert process.poll() is None
        said = cli("prune", code=11).err
        world.client.clear_faults()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    time.sleep(4)  # the lab is late, and makes no shell for who is gone
    assert world.no_shell() == {}
    assert "locked by exremote backup (process" in said
    (run,) = [r["run"] for r in cli("runs", "--json").json if r["verb"] == "backup"]
    assert said.count(run) == 1


# ---------------------------------------------------------------- discover


@pytest.mark.not_under_wine("local")
def test_discover_answers_a_program_in_every_outcome(cli: Cli) -> None:
    cli.inventory("EXNOTES01", "EXDOWN01", retry="attempts = 1")
    (host,) = cli("inventory", "discover", "EXNOTES01", "--json").json["hosts"]
    assert (host["host"], host["exit_code"], host["error"]) == ("EXNOTES01", 0, "")
    assert host["line"] == 'connectors = ["calendar", "notes"]'
    lines = (cli.folder / "site.toml").read_text().splitlines()
    assert lines[host["at_line"] - 1] == "[hosts.EXNOTES01]"
    answer = cli("inventory", "discover", "EXDOWN01", "--json", code=20).json
    assert answer["exit_code"] == 20
    (host,) = answer["hosts"]
    assert (host["exit_code"], host["line"]) == (20, "")
    assert "no listener" in host["error"]


# ---------------------------------------------------------------- patience


def quick(cli: Cli, port: int, *lines: str, address: str = "127.0.0.1") -> None:
    """Write an inventory of one host, with the patience that is built in."""
    text = [
        "[defaults]\nauth = 'ntlm'",
        "credential = { environment = 'EXREMOTE_LAB_PASSWORD', username = 'LAB\\labadmin' }",
        f"[hosts.EX01]\naddress = '{address}'\nport = {port}",
        *lines,
    ]
    (cli.folder / "site.toml").write_text("\n".join(text) + "\n", encoding="utf-8")


@pytest.mark.not_under_wine("local")
@pytest.mark.parametrize(
    ("answer", "said"),
    [(404, "no WinRM at"), (501, "answers with HTTP 501"), (None, "does not resolve")],
)
def test_where_patience_does_not_help_it_is_tried_twice(
    cli: Cli, tmp_path: Path, answer: int | None, said: str
) -> None:
    with Servers(tmp_path) as servers:
        head = f"HTTP/1.1 {answer} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        port = servers.canned(head.encode()) if answer else 5985
        quick(cli, port, address="127.0.0.1" if answer else "nowhere.invalid")
        ran = cli("health", code=20, timeout_s=30)
    assert said in ran.out
    assert ran.err.count("trying again") == 1


@pytest.mark.not_under_wine("wire")
def test_a_plain_port_that_is_spoken_tls_to_says_so_at_once(cli: Cli, lab: object) -> None:
    """As http.sys does, the lab answers what is no HTTP; it is no network that is overloaded."""
    quick(cli, cli.lab.hosts[HOST], "scheme = 'https'")
    ran = cli("health", code=21, timeout_s=20)
    assert "does not speak TLS" in ran.out
    assert 'scheme = "http"' in ran.out
    assert "trying again" not in ran.err


@pytest.mark.not_under_wine("local")
def test_a_port_that_answers_no_handshake_names_that(cli: Cli, tmp_path: Path) -> None:
    with Servers(tmp_path) as servers:
        times = "deadlines = { connect_s = 1.5, operation_s = 1, read_s = 2 }"
        quick(cli, servers.deaf(), "scheme = 'https'", times)
        ran = cli("health", code=20, timeout_s=60)
    assert "answers no TLS handshake" in ran.out
    assert 'If it speaks plain HTTP, set scheme = "http"' in ran.out
    assert ran.err.count("trying again") == 1


# ---------------------------------------------------------------- the lab's own door


def lab_door(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run exremote-lab to its end, in a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "exremote.lab", *args],
        env={
            **os.environ,
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_a_second_lab_leaves_the_first_ones_note_alone(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "EXREMOTE_LAB_SITE": '[{"name": "EX01"}]'}
    command = [sys.executable, "-m", "exremote.lab", "up"]
    first = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        port = json.loads(first.stdout.readline())["hosts"]["EX01"]
        second = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert second.returncode == 0, second.stderr
        assert "another lab of yours is running" in second.stderr
        assert f"127.0.0.1:{port}" in lab_door(tmp_path, "list").stdout
    finally:
        first.communicate(timeout=30)
    assert "no lab is running" in lab_door(tmp_path, "list").stderr


def test_a_fault_that_can_strike_nothing_is_refused() -> None:
    with running_lab((HostSpec("EX01"), HostSpec("EX02", down=True))) as lab:
        for text, said in (
            ("EX09:Receive:3:close", "the lab has no host EX09; there are: EX01, EX02"),
            ("EX02:Receive:3:close", "nothing listens at EX02"),
            ("nonsense", "'nonsense' is not HOST:WHAT:WHEN:EFFECT"),
        ):
            with pytest.raises(Exception, match=said) as caught:
                lab.client.fault(text)
            assert "FaultText" not in str(caught.value)
        assert lab.client.fault("EX*:Receive:3:close") == "EX*:Receive:3:close"
        with pytest.raises(Exception, match="the lab has no EX09") as caught:
            lab.client.counters("EX09")
        assert "KeyError" not in str(caught.value)


def test_the_labs_help_and_errors(tmp_path: Path) -> None:
    said = lab_door(tmp_path, "fault", "-h").stdout
    for effect in ("cut=VALUE: the answer ends after", "disk-full: every disk is full", "throw=VALUE"):
        assert effect in said
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        done = lab_door(tmp_path, "demo", name)
        assert done.returncode == 1
        assert "Errno" not in done.stderr
        assert "name a folder" in done.stderr
    assert "empty name" in lab_door(tmp_path, "demo", "").stderr
