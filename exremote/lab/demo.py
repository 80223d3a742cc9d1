"""The demo: a lab in its own process, and the real commands against it, as a user would type them.

It imports nothing of the product: what it shows is what the command line does. It leaves the
repository behind and says where.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exremote.lab.client import LabTrouble, running_lab

PARTIAL = 3
"""The standard site has a host that cannot be reached: a run over all hosts ends incomplete."""


@dataclass(frozen=True, slots=True)
class Act:
    """One command of the demo, and how it must end on the standard site."""

    why: str
    """What the reader is about to see."""
    command: tuple[str, ...]
    """Arguments of `exremote`."""
    exit_code: int
    """The only one that is right here."""
    shows: tuple[str, ...]
    """Patterns that its output must have."""
    breaks: str = ""
    """A host that somebody breaks first; '' for none."""
    loses: str = ""
    """A host that is lost first, and has a new Windows in its place; '' for none."""
    deeds: tuple[tuple[str, Mapping[str, object]], ...] = ()
    """What a person does first at the console of the lost one's new machine."""


RUN = "RUN"
"""Stands in a command for the id of the last restore."""
RECOVERY = "RECOVERY"
"""Stands for the id of the last run of the recovery."""
AT = "AT"
"""Stands for where the new machine is reached."""
BROKEN = "EXGW01"
LOST = "EXNOTES01"
TEMPORARY = r"D:\exremote-recover\restore-temp"
"""Where `recover` has ntbackup put log files, with what D: is on the standard site."""


def _confirmed(step: str, why: str, *words: str, deeds: Sequence[str] = ()) -> Act:
    """Return the act in which a person says that he has done a step."""
    told: tuple[tuple[str, Mapping[str, object]], ...] = tuple(
        (deed, {"temp": TEMPORARY} if deed == "storage-groups" else {}) for deed in deeds
    )
    command = ("confirm", RECOVERY, step, "--by", "the administrator", *words)
    return Act(why, command, 0, ("confirmed by",), deeds=told)


def _resumed(why: str, code: int, *shows: str) -> Act:
    return Act(why, ("resume", RECOVERY), code, shows)


ACTS = (
    Act("Make an empty repository.", ("init",), 0, (r"repository \S+ made at",)),
    Act(
        "Check the connectors of seven servers. Two are sick, EXDOWN01 cannot be reached: exit code 3.",
        ("health",),
        PARTIAL,
        (
            "EXSICK01.*critical",
            "badfiles",
            "EXSICK02.*ccmail.tools",
            "EXSICK02.*ccmail.directory-sync",
            "EXDOWN01",
        ),
    ),
    Act(
        "Save them: a snapshot per server and connector. EXDOWN01 is unreachable: exit code 3.",
        ("backup",),
        PARTIAL,
        ("EXNOTES01", "EXGW01", "EXCCMAIL01", "EXDOWN01.*unreachable"),
    ),
    Act(
        "The same again: nothing has changed, so nothing is sent.",
        ("backup",),
        PARTIAL,
        (r"unchanged", r"0 files, 0 B"),
    ),
    Act("What the repository holds now.", ("snapshots",), 0, ("EXNOTES01.*notes", "EXSICK01.*groupwise")),
    Act("Read every byte of it and hold it against the manifests.", ("verify",), 0, ("no damage",)),
    Act(
        f"Somebody breaks {BROKEN}: tables, a service, work files. A restore shows its plan, and does it: "
        "save what is there, stop, put in place, erase work files, start, prove.",
        ("restore", f"{BROKEN}/groupwise", "--yes", "--grace", "0.5"),
        0,
        ("will stop", "lab0001.tbl", "Disabled -> Manual", "2 files put in place", "work files erased"),
        breaks=BROKEN,
    ),
    Act("And back: what was there before, as a plan of its own.", ("undo", RUN, "--yes"), 0, ("undo from",)),
    Act(
        f"What only ntbackup saves of {LOST}: System State and storage groups.",
        ("backup", LOST, "--only", "systemstate", "--only", "storagegroups"),
        0,
        ("systemstate new", "storagegroups new"),
    ),
    Act(
        f"{LOST} is lost. Could each step of its recovery be done now? No drill was ever made: exit code 5.",
        ("recover", LOST, "--rehearse", "--at", AT),
        5,
        ("every byte read", "nobody answers at", "never drilled"),
        loses=LOST,
    ),
    Act(
        "Recover it, along the nine steps of the tip. It waits for a person: exit code 6.",
        ("recover", LOST, "--yes", "--at", AT, "--grace", "0.5"),
        6,
        ("restore-system-state", "waiting.*reinstall-windows"),
    ),
    _confirmed("reinstall-windows", "Windows is installed, under another name."),
    _resumed("It is looked at; then what a person needs is put there.", 6, "3 of 10"),
    _confirmed("restore-system-state", "ntbackup, and a restart.", deeds=("system-state", "reboot")),
    _resumed("Is it itself again?", 6, "5 of 10"),
    _confirmed("install-exchange", "setup /disasterrecovery.", deeds=("exchange",)),
    _resumed("Is every component there?", 6, "6 of 10"),
    _confirmed(
        "restore-storage-groups",
        "ntbackup again: databases.",
        "--answer",
        "last-backup-set=yes",
        "--answer",
        "mounted=yes",
        deeds=("storage-groups",),
    ),
    Act(
        "Restarted. The plan for the connectors, and what a person has to see there.",
        ("resume", RECOVERY),
        6,
        ("8 of 10", "notes-client"),
        deeds=(("reboot", {}),),
    ),
    _confirmed("notes-client", "The Notes client opens.", "--words", "opens names.nsf"),
    _resumed("Connectors are restored, started, and proven.", 0, "10 of 10", "all 10 steps are done"),
    Act(
        "Who did what when, and what proved it (--html FILE makes a page to print).",
        ("evidence", RECOVERY),
        0,
        ("nothing critical", "each follows from the one before it"),
    ),
    Act(
        "Where the site stands, as a monitor asks: EXDOWN01 has no snapshot, so the exit code is 5.",
        ("status", "--max-age", "30m"),
        5,
        ("EXNOTES01.*notes.*ok", "EXMSMAIL01.*msmail.*ok", "EXDOWN01"),
    ),
)


def run_demo(folder: Path, say: Callable[[str], None]) -> int:
    """Given the folder for the repository and where to write, run the demo. Return its exit code."""
    repository = _new_place(folder.absolute())
    started = time.monotonic()
    wrong: list[str] = []
    at = ""
    say("Starting the lab: seven simulated Exchange servers behind WinRM on loopback ...")
    with running_lab() as lab:
        environment = {
            **os.environ,
            **lab.environment,
            "EXREMOTE_INVENTORY": str(lab.inventory),
            "EXREMOTE_REPOSITORY": str(repository),
        }
        if sys.stdout.isatty():
            # The commands write to us; what the reader sees is what a terminal would show.
            environment |= {"FORCE_COLOR": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
        for act in ACTS:
            say(f"\n# {act.why}")
            try:
                if act.breaks:
                    for what, where in lab.client.break_host(act.breaks):
                        say(f"  {what}: {where}")
                if act.loses:
                    new = lab.client.replace(act.loses)
                    at = str(new["at"])
                    say(f"  {new['said']}")
                for what, options in act.deeds:
                    say(f"  {lab.client.act(LOST, what, **options)['said']}")
            except LabTrouble as trouble:
                wrong.append(f"{act.command[0]}: {trouble}")
                break
            command = [_word(word, repository, at) for word in act.command]
            say(f"$ exremote {shlex.join(command)}")
            code, output = _run(command, environment, say)
            if amiss := _judge(act, code, output):
                wrong += amiss
                say("(what would come stands on this, and is left out)")
                break
    seconds = time.monotonic() - started
    say(f"\nThe demo took {seconds:.0f} s. The repository stays: {repository}")
    say("Look into it: the snapshots are plain files, and `sha256sum -c SHA256SUMS` works in each folder.")
    say("\nWhat to try next:")
    for name, arguments, what in (
        ("exremote", "-h", "all commands"),
        ("exremote", f"snapshots --repository {shlex.quote(str(repository))}", ""),
        ("exremote", "inventory example", "what to write for your own servers"),
        ("exremote-lab", "up", "a lab that stays, for your own commands; it says how to reach it"),
    ):
        say(f"  {_command(name)} {arguments}{'    # ' if what else ''}{what}")
    for line in wrong:
        say(f"NOT AS EXPECTED: {line}")
    return 1 if wrong else 0


def _command(name: str) -> str:
    """Given a command of ours, return it as it can be typed here: its path unless it is found without."""
    folder = Path(sys.executable).parent
    own = folder / (f"{name}.exe" if os.name == "nt" else name)
    found = shutil.which(name)
    if found and Path(found).absolute() == own.absolute():
        return name
    if own.exists():
        return shlex.quote(str(own))
    module = {"exremote": "exremote", "exremote-lab": "exremote.lab"}[name]
    return f"{shlex.quote(sys.executable)} -m {module}"


def _new_place(folder: Path) -> Path:
    """Given the demo's folder, return a name in it that nothing has: each demo leaves its own repository."""
    number = 1
    while (place := folder / f"repository-{number}").exists():
        number += 1
    folder.mkdir(parents=True, exist_ok=True)
    return place


def _word(word: str, repository: Path, at: str) -> str:
    """Given a word of a command, return what it stands for."""
    match word:
        case "RUN":
            return _last_run(repository, '"verb":"restore"', '"kind":"safety"') or word
        case "RECOVERY":
            return _last_run(repository, '"verb":"recover"') or word
        case "AT":
            return at or word
    return word


def _last_run(repository: Path, *marks: str) -> str:
    """Given the repository, return the id of the last run with these marks in its journal, or nothing."""
    paths = (repository / "runs").glob("*.jsonl")
    for path in sorted(paths, key=lambda p: p.stat().st_mtime_ns, reverse=True):
        text = path.read_text(encoding="utf-8")
        if all(mark in text for mark in marks):
            return path.stem
    return ""


def _run(
    command: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]
) -> tuple[int, str]:
    """Given arguments of `exremote`, run it; show its output as it comes and return exit code and output."""
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "exremote", *command],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=None if sys.stderr.isatty() else subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        say(line.rstrip("\n"))
        lines.append(line)
    code = process.wait()
    say(f"(exit code {code})")
    return code, "".join(lines)


def _judge(act: Act, code: int, output: str) -> list[str]:
    """Given how a command ended, return what is not as it must be on the standard site."""
    wrong = [] if code == act.exit_code else [f"{act.command[0]}: exit code {code}, not {act.exit_code}"]
    if sys.stdout.isatty():
        return wrong  # a table folds its words at the terminal's width; the exit code says enough
    wrong += [
        f"{act.command[0]}: no line with {pattern!r}"
        for pattern in act.shows
        if not re.search(pattern, output)
    ]
    return wrong
