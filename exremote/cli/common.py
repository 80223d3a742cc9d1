"""What every command needs: options, inventory, repository, the end. It answers nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from exremote.connector import Connector
from exremote.errors import EXIT_INTERRUPTED, EXIT_OK, ConfigError, ExremoteError, RepositoryError, UsageError
from exremote.inventory import Inventory, find_name, near
from exremote.report import Report
from exremote.repository import Repository
from exremote.runner import (
    heard_once,
)


def _own_folder(find: Callable[[str], Path]) -> Path | None:
    """Given how to find one of this user's folders, return it; None if nobody knows where his home is."""
    try:
        folder = find("exremote")
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


def default_inventories() -> list[Path]:
    """Return where the inventory may lie if nobody says: in the current folder, else with this user."""
    own = _own_folder(platformdirs.user_config_path)
    return [Path("inventory.toml"), *([own / "inventory.toml"] if own else [])]


def path_from(text: str) -> Path:
    """Given what stands for a path, return it; an empty text is a variable that was not set, not `.`."""
    if not str(text).strip():
        raise typer.BadParameter("this is an empty name.")
    path = Path(text)
    if not path.is_absolute():
        try:
            os.getcwd()  # noqa: PTH109 - it is only asked whether there is one
        except OSError:
            raise typer.BadParameter("the current folder is gone: name a full path.") from None
    return path


InventoryOption = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        "-i",
        metavar="FILE",
        parser=path_from,
        envvar="EXREMOTE_INVENTORY",
        help=f"The inventory (TOML). Default: inventory.toml here, else {default_inventories()[-1]}.",
    ),
]
RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        "--repository",
        "-r",
        metavar="FOLDER",
        parser=path_from,
        envvar="EXREMOTE_REPOSITORY",
        help="The repository. Default: what the inventory says.",
    ),
]
SNAPSHOT_HELP = "An id or its beginning, HOST/ and that, or HOST/CONNECTOR for the newest one."
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, for programs.")
]
HostsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="HOST", help="Hosts, groups or tag:NAME; none means all.")
]
ParallelOption = Annotated[int | None, typer.Option("--parallel", min=1, help="Hosts at a time.")]


def from_environment(context: typer.Context, name: str) -> bool:
    """Given a command's context and a parameter, return whether the environment said it, not the line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def now() -> datetime:
    """Return our clock, in UTC; handed to whoever needs the time."""
    return datetime.now(UTC)


@contextmanager
def speaking(as_json: bool, looks: bool = False) -> Iterator[Report]:
    """Given whether a program reads, yield the report; an error that comes through gives the exit code.

    `looks` says that the answer is all that the command is for: then it must arrive. What a run did is
    told by its own exit code, whether or not anybody reads the answer. SIGTERM and the like are an
    interrupt, as Ctrl-C is: what is held is let go.
    """
    report = Report(as_json=as_json)
    code = EXIT_OK
    with heard_once():
        try:
            yield report
        except ExremoteError as error:
            report.error(error)
            code = error.exit_code
        except KeyboardInterrupt:
            report.error(ExremoteError("interrupted."), EXIT_INTERRUPTED)
            code = EXIT_INTERRUPTED
        except typer.Exit as left:
            code = left.exit_code
    if report.trouble:
        report.note(f"error: standard output cannot be written ({report.trouble}); the answer is not whole.")
        code = code or (UsageError.exit_code if looks else EXIT_OK)
    if code != EXIT_OK:
        raise typer.Exit(code)


def is_file(path: Path) -> bool:
    """Given a path, return whether a file is there; one that the system does not let us see is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Given a path, return whether a folder is there; one that the system does not let us see is not."""
    return os.path.isdir(path)  # noqa: PTH112 - says no where the system refuses


def load_inventory(path: Path | None, connectors: Sequence[str]) -> Inventory:
    """Given what the command line says, load the inventory. Raise UsageError if there is none."""
    candidates = [path] if path else default_inventories()
    for candidate in candidates:
        if is_file(candidate):
            return Inventory.load(candidate, connectors)
    if path is not None and is_folder(path):
        raise UsageError(
            f"The inventory {path} is a folder.", f"Name the file, such as {path / 'site.toml'}."
        )
    raise UsageError(
        f"There is no inventory at {' or '.join(str(c) for c in candidates)}.",
        "Name one with --inventory FILE or EXREMOTE_INVENTORY; `exremote inventory example` prints a form.",
    )


def site_if_any(path: Path | None) -> Inventory | None:
    """Given what the command line says, return the inventory if there is one that can be read."""
    try:
        return load_inventory(path, list(Connector.load_all()))
    except (UsageError, ConfigError):
        return None


def repository_path(path: Path | None, inventory_path: Path | None) -> Path:
    """Given what the command line says, return where the repository is. Raise UsageError if nobody says."""
    if path is None:
        candidates = [inventory_path] if inventory_path else default_inventories()
        if inventory_path is not None or any(map(is_file, candidates)):  # one that is named has to be there
            path = load_inventory(inventory_path, list(Connector.load_all())).repository
    if path is None:
        raise UsageError(
            "No repository is named.",
            'Use --repository FOLDER, EXREMOTE_REPOSITORY, or `repository = "FOLDER"` in the inventory.',
        )
    return path


def known_connector(name: str, known: Collection[str], option: str = "") -> str:
    """Given a name in any case, return the connector's own. Raise UsageError if there is none of it.

    `option` is what takes the name, and may be repeated.
    """
    found = find_name(known, name)
    if found is not None:
        return found
    remedy = f"{near(name, known)} There are: {', '.join(sorted(known))}.".strip()
    if option and all(find_name(known, part.strip()) for part in name.split(",")):
        remedy = f"Repeat the option: {' '.join(f'{option} {part.strip()}' for part in name.split(','))}."
    raise UsageError(f"There is no connector {name}.", remedy)


def known_repository(path: Path | None, inventory_path: Path | None) -> Repository | None:
    """Given what the command line says, return the repository if there is one to keep journals in.

    Return None if nobody names one, or it is not made yet: a check comes before `init`. Raise
    RepositoryError if what the command line names is there and is none.
    """
    if path is not None:
        return Repository.open(path) if os.path.lexists(path) else None
    try:
        return Repository.open(repository_path(None, inventory_path))
    except (UsageError, RepositoryError):
        return None


def runs_folder() -> Path:
    """Return where journals of runs without a repository go: a check leaves one too.

    Raise RepositoryError if this user has no place for them.
    """
    own = _own_folder(platformdirs.user_state_path)
    folder = (own or Path("~")) / "runs"
    try:
        if own is None:
            raise FileNotFoundError(errno.ENOENT, "nobody knows where this user's home is")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        open_to_others = folder.stat().st_mode & 0o077
    except OSError as error:
        variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME"
        raise RepositoryError(
            f"the journals of this user cannot be kept here: {error.strerror or error}.",
            path=folder,
            remedy=f"Set {variable} to a folder that can be written, or name a repository that exists: "
            "then they are kept there.",
        ) from error
    if open_to_others:
        with suppress(OSError):
            folder.chmod(0o700)
    return folder


def journal_folders(repository: Repository | None) -> list[Path]:
    """Given the repository if there is one, return the folders of journals: the first takes new ones.

    Raise RepositoryError if there is none at all; with a repository, a user needs no place of his own.
    """
    if repository is None:
        return [runs_folder()]
    found = [repository.runs_folder]
    with suppress(RepositoryError):
        found.append(runs_folder())
    return found
