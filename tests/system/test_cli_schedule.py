"""`exremote schedule`: what it writes is what systemd and Windows take, runs, holds no secret, and goes
again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from keep_support import Door, backup

INVENTORY = """
repository = '{repository}'
[defaults]
credential = {{ environment = "EXREMOTE_NIGHT", username = 'DOM\\svc' }}
[hosts.EXCH01]
[hosts.EXCH02]
credential = {{ prompt = true, username = 'DOM\\svc' }}
"""
SECRET = "scheduled-secret-of-the-night"
SPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    found = Door(tmp_path)
    site = tmp_path / "the site.toml"
    site.write_text(INVENTORY.format(repository=found.place.path), encoding="utf-8")
    found.more |= {"EXREMOTE_INVENTORY": str(site), "EXREMOTE_REPOSITORY": "", "EXREMOTE_NIGHT": SECRET}
    return found


def test_a_systemd_timer_is_written_runs_and_goes(door: Door) -> None:
    units = door.folder / "units"
    line = ["--", "backup", "EXCH01", "--only", "tables"]
    shown = door("schedule", "--every", "15m", "--dir", str(units), *line)
    assert "[Timer]" in shown.out
    assert "only shown" in shown.err
    assert not units.exists()

    made = door("schedule", "--every", "15m", "--install", "--dir", str(units), "--json", *line).json
    name = "exremote-backup-exch01-only-tables"
    service, timer = ((units / f"{name}.{kind}").read_text() for kind in ("service", "timer"))
    assert [file["text"] for file in made["files"]] == [service, timer]
    assert "OnUnitActiveSec=900\n" in timer
    assert f'--inventory "{door.folder / "the site.toml"}"' in service, "found from any folder"
    [variables] = re.findall(r"^EnvironmentFile=(.+)$", service, re.MULTILINE)
    assert variables in made["needs"][0]
    assert "EXREMOTE_NIGHT=" in made["needs"][0]
    assert not any(SECRET in ran.all for ran in door.ran)
    assert not any(SECRET in path.read_text() for path in units.iterdir())

    # What it calls is a command that works, wherever it is called.
    backup(door.place, 1)
    door(
        "schedule",
        "--at",
        "sun 02:30",
        "--at",
        "4:05",
        "--name",
        "weekly",
        "--install",
        "--dir",
        str(units),
        "--",
        "status",
    )
    weekly = (units / "exremote-weekly.service").read_text()
    [call] = re.findall(r"^ExecStart=(.+)$", weekly, re.MULTILINE)
    done = subprocess.run(shlex.split(call), capture_output=True, text=True, cwd="/", env=door.environment)
    assert (done.returncode, "EXCH02" in done.stdout) == (5, True), done.stderr
    times = (units / "exremote-weekly.timer").read_text()
    assert "OnCalendar=Sun *-*-* 02:30:00\nOnCalendar=*-*-* 04:05:00\nPersistent=true\n" in times

    assert "replaced" in door("schedule", "--every", "1h", "--install", "--dir", str(units), *line).out
    assert "OnUnitActiveSec=3600\n" in (units / f"{name}.timer").read_text()
    (units / "exremote-mine.service").write_text("[Unit]\n")
    for args in (("--install", "--every", "1h", "--", "prune"), ("--remove",)):
        ran = door("schedule", "--name", "mine", "--dir", str(units), *args, code=2)
        assert "was not written by exremote schedule" in ran.err.replace("\n", " ")
    for gone in (name, "exremote-weekly"):
        door("schedule", "--remove", "--name", gone.removeprefix("exremote-"), "--dir", str(units))
    assert [path.name for path in units.iterdir()] == ["exremote-mine.service"]
    assert "no schedule of that name" in door("schedule", "--remove", "--name", name, code=2).err


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
def test_systemd_finds_nothing_wrong(door: Door) -> None:
    odd = door.folder / "100% $HOME 'odd' \"folder\""
    odd.mkdir()
    door(
        "schedule",
        "--every",
        "15m",
        "--install",
        "--dir",
        str(door.folder),
        "--name",
        "odd",
        "--",
        "export",
        "EXCH01/notes",
        "--into",
        str(odd),
        "-r",
        str(odd),
    )
    units = [str(door.folder / f"exremote-odd.{kind}") for kind in ("service", "timer")]
    home = {**os.environ, "XDG_RUNTIME_DIR": str(door.folder)}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, env=home
    )
    ours = [line for line in done.stderr.splitlines() if "exremote" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_a_task_of_windows_is_what_its_scheduler_takes(door: Door) -> None:
    args = ("--kind", "windows", "--user", "DOM\\svc", "--install", "--dir", str(door.folder), "--name", "t")
    made = door(
        "schedule", "--every", "90m", *args, "--json", "--", "backup", "EXCH01", "--only", "tables"
    ).json
    assert "must be set for its user for good" in made["needs"][0]
    path = door.folder / "exremote-t.xml"
    assert path.read_bytes()[:2] == b"\xff\xfe", "UTF-16 with its mark, as schtasks reads it"
    task = ElementTree.fromstring(path.read_bytes().decode("utf-16").partition("\n")[2])
    assert task.tag == f"{SPACE}Task"
    found = {e.tag.removeprefix(SPACE): e.text for e in task.iter()}
    assert (found["UserId"], found["LogonType"], found["Interval"]) == ("DOM\\svc", "S4U", "PT90M")
    assert found["Command"] == str(Path(sys.executable).with_name("exremote"))
    assert f'--inventory "{door.folder / "the site.toml"}"' in (found["Arguments"] or "")
    assert SECRET not in path.read_bytes().decode("utf-16")
    [command] = made["commands"]
    assert command[1:] == ["/Create", "/TN", "\\exremote\\t", "/XML", str(path), "/F"]
    assert command[0].endswith("schtasks.exe")
    assert Path(door("schedule", "--remove", *args[:2], *args[5:], "--json").json["removed"][0]) == path
    assert not path.exists()


@pytest.mark.skipif(os.name == "nt", reason="systemd is Linux's")
def test_it_is_switched_on_and_off_and_nothing_is_left_where_that_fails(door: Door) -> None:
    """A program stands in for systemctl, so that no machine gets a timer from a test."""
    told, tools = door.folder / "told", door.folder / "tools"
    tools.mkdir()
    program = tools / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {shlex.quote(str(told))}\n'
        'test -z "$REFUSE" || { echo no bus >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    door.more["PATH"] = f"{tools}:{os.environ['PATH']}"
    units = door.folder / "config" / "systemd" / "user"
    args = ("schedule", "--name", "n", "--every", "15m", "--install", "--", "status")
    door.more["REFUSE"] = "1"
    assert "no bus" in door(*args, code=2).err
    assert list(units.iterdir()) == []
    door.more["REFUSE"] = ""
    door(*args)
    assert {path.name for path in units.iterdir()} == {"exremote-n.service", "exremote-n.timer"}
    door("schedule", "--name", "n", "--remove")
    assert list(units.iterdir()) == []
    assert told.read_text().splitlines() == [
        "--user daemon-reload",
        "--user daemon-reload",
        "--user enable --now exremote-n.timer",
        "--user disable --now exremote-n.timer",
        "--user daemon-reload",
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-- backup EXCH01", "Say when"),
        ("--every 15m -- restore EXCH01", "restore cannot be scheduled"),
        ("--at 25:00 -- backup EXCH01", "25:00 is no time"),
        ("--every 15m -- backup --onyl tables", "No such option"),
        ("--every 15m -- forget --keep-last 3", "Add --yes"),
        ("--every 15m -- backup EXCH02", "asked for at a terminal"),
    ],
)
def test_a_mistake_does_not_wait_for_the_night(door: Door, line: str, sentence: str) -> None:
    assert sentence in " ".join(door("schedule", *shlex.split(line), code=2).err.split())
