"""What a schedule needs, its files, and the commands that switch it on and off. It decides no time.

A file that another wrote is never replaced or removed; where switching on fails, nothing of ours is left.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import platformdirs

from exremote.cli.timetable import FOLDER, MARK, Job, service_text, task_xml, timer_text
from exremote.credential import Credential
from exremote.errors import UsageError
from exremote.inventory import Host, Inventory


class Kind(StrEnum):
    """What a schedule is written for."""

    USER = "systemd-user"
    SYSTEM = "systemd-system"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True)
class Written:
    """What a job becomes: its files, and what makes the system take them."""

    files: tuple[tuple[Path, bytes], ...]
    """each with its content"""
    install: tuple[tuple[str, ...], ...]
    """the commands behind the writing"""
    before_removal: tuple[tuple[str, ...], ...]
    """the commands before the files go"""
    after_removal: tuple[tuple[str, ...], ...]
    """those behind it"""


class Needs:
    """What a job needs besides its files: the secrets that the inventory's credentials refer to."""

    def __init__(self, kind: Kind, name: str, hosts: Sequence[Host], said: Path | None) -> None:
        self._kind = kind
        self._credentials: dict[Credential, list[str]] = {}
        for host in hosts:
            for credential in host.credentials:
                self._credentials.setdefault(credential, []).append(host.name)
        asked = [h for c, names in self._credentials.items() if c.kind == "prompt" for h in names]
        if asked:
            raise UsageError(
                f"The credential of {', '.join(dict.fromkeys(asked))} is asked for at a terminal, "
                "and there is none.",
                "Use { keyring = ... } or { file = ... } in the inventory.",
            )
        self.variables = list(dict.fromkeys(self._variables()))
        own = platformdirs.user_config_path("exremote") if kind == Kind.USER else Path("/etc/exremote")
        path = (said or own / f"{name}.env") if self.variables and kind != Kind.WINDOWS else None
        self.file = str(path.absolute()) if path else ""
        """the file of variables; '' if none is needed"""

    def _variables(self) -> Iterator[str]:
        for credential in self._credentials:
            if credential.kind == "environment":
                yield credential.reference
            if credential.username_reference:
                yield credential.username_reference

    def words(self, site: Inventory | None) -> Iterator[str]:
        """Yield a sentence for each thing that must be there before it can run."""
        if self.file:
            lines = ", ".join(f"{variable}=..." for variable in self.variables)
            yield f"write {self.file}, readable for its owner alone (chmod 600), with {lines}"
        elif self.variables:
            yield (
                f"the task gets no variable of yours: {', '.join(self.variables)} must be set for its user "
                "for good; better, use credential = { file = ... } in the inventory"
            )
        kinds = {credential.kind: credential for credential in self._credentials}
        if "file" in kinds:
            yield "each credential file must be the file of the user that it runs as, and of nobody else"
        if "keyring" in kinds:
            yield (
                "a keyring is mostly locked while its user is not logged on; where it is, use "
                "credential = { file = ... } in the inventory"
            )
        if self._kind == Kind.USER:
            yield "while you are not logged on, it runs only after: loginctl enable-linger"
        if site is not None and self._kind != Kind.USER:
            yield "its user must own the repository, and be able to read the inventory"


def program() -> list[str]:
    """Return how exremote is called: the program beside this Python, else this Python with the module."""
    own = Path(sys.executable).with_name("exremote.exe" if os.name == "nt" else "exremote")
    # -P: no module of the folder that it runs in is taken for one of ours.
    return [str(own)] if own.is_file() else [sys.executable, "-P", "-m", "exremote"]


def me(kind: Kind) -> str:
    """Return who installs it, as the system knows that user."""
    domain = os.environ.get("USERDOMAIN", "") if kind == Kind.WINDOWS else ""
    return f"{domain}\\{getpass.getuser()}" if domain else getpass.getuser()


# ---------------------------------------------------------------- files


def bare(name: str, kind: Kind) -> Job:
    """Given a name, return a job with nothing but that: enough to know its files."""
    return Job(name, ("exremote",), "", "", None, system=kind == Kind.SYSTEM)


def written(job: Job, kind: Kind, folder: Path | None) -> Written:
    """Given a job, return its files, and what switches it on and off."""
    if kind == Kind.WINDOWS:
        place = folder or platformdirs.user_config_path("exremote")
        path, task = place / f"exremote-{job.name}.xml", f"\\{FOLDER}\\{job.name}"
        return Written(
            ((path, task_xml(job).encode("utf-16")),),
            ((schtasks(), "/Create", "/TN", task, "/XML", str(path), "/F"),),
            ((schtasks(), "/Delete", "/TN", task, "/F"),),
            (),
        )
    usual = (
        Path("/etc/systemd/system") if job.system else platformdirs.user_config_path() / "systemd" / "user"
    )
    place, unit = folder or usual, f"exremote-{job.name}"
    control = ("systemctl",) if job.system else ("systemctl", "--user")
    return Written(
        (
            (place / f"{unit}.service", service_text(job).encode()),
            (place / f"{unit}.timer", timer_text(job).encode()),
        ),
        ((*control, "daemon-reload"), (*control, "enable", "--now", f"{unit}.timer")),
        ((*control, "disable", "--now", f"{unit}.timer"),),
        ((*control, "daemon-reload"),),
    )


def schtasks() -> str:
    """Return the program that makes tasks, by its full path: never by a bare name that another may bear."""
    return str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "schtasks.exe"))


def write_files(made: Written, switch: bool) -> bool:
    """Given what is to be there, write it and switch it on. Return whether it was there before.

        Raise UsageError if another's file is in its place, or the system refuses; what was not there is then
    gone.
    """
    old = {path: path.read_bytes() for path, _ in made.files if ours(path)}
    try:
        for path, data in made.files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for command in made.install if switch else ():
            call(command)
    except (OSError, UsageError) as error:
        for path, _ in made.files:
            if path in old:
                path.write_bytes(old[path])
            else:
                path.unlink(missing_ok=True)
        if isinstance(error, UsageError):
            raise
        raise refused("cannot be written", error) from error
    return bool(old)


def remove_files(made: Written, switch: bool) -> list[Path]:
    """Given what there may be, switch it off and remove its files. Return these. Raise UsageError."""
    there = [path for path, _ in made.files if ours(path)]
    if not there:
        raise UsageError(f"There is no schedule of that name: no {made.files[0][0]}.", "Name it with --name.")
    for command in made.before_removal if switch else ():
        call(command)
    try:
        for path in there:
            path.unlink()
    except OSError as error:
        raise refused("cannot be removed", error) from error
    for command in made.after_removal if switch else ():
        call(command)
    return there


def ours(path: Path) -> bool:
    """Given a path, return whether a file of ours is there. Raise UsageError if it is somebody else's."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refused("cannot be read", error) from error
    if not any(MARK.encode(code) in data for code in ("utf-8", "utf-16-le")):
        raise UsageError(f"{path} was not written by exremote schedule.", "Use another name: --name NAME.")
    return True


def refused(what: str, error: OSError) -> UsageError:
    """Given what the system refused, return it as an error of ours."""
    return UsageError(
        f"{error.filename} {what}: {error.strerror}.", "Use the rights that it takes, or --dir FOLDER."
    )


def call(command: Sequence[str]) -> None:
    """Given a command of the system, run it. Raise UsageError with what it says if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands of `written` alone
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be run: {error.strerror}.",
            "With --dir FOLDER the files are written all the same.",
        ) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UsageError(
            f"`{' '.join(command)}` ended with {done.returncode}: {said}", "Nothing was switched."
        )
