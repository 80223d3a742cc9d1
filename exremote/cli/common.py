"""What every command needs: options, inventory, repository, secrets, a run over hosts. It answers nothing."""

from __future__ import annotations

import errno
import getpass
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import typer

from exremote.connector import Connector
from exremote.credential import Secret
from exremote.errors import EXIT_INTERRUPTED, EXIT_OK, ConfigError, ExremoteError, RepositoryError, UsageError
from exremote.inventory import Host, Inventory, find_name, near
from exremote.journal import Journal, new_run_id
from exremote.report import Report, count_text
from exremote.repository import Repository, hold
from exremote.runner import (
    Outcome,
    Stopped,
    Visit,
    clear_dead_runs,
    each_host,
    exit_code,
    heard_once,
    leftover_shells,
    run_lock,
)
from exremote.script import ScriptLibrary
from exremote.session import Session


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


def _path(text: str) -> Path:
    """Given what stands for a path, return it; an empty text is a variable that was not set, not `.`."""
    if not str(text).strip():
        raise typer.BadParameter("this is an empty name.")
    return Path(text)


InventoryOption = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        "-i",
        metavar="FILE",
        parser=_path,
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
        parser=_path,
        envvar="EXREMOTE_REPOSITORY",
        help="The repository. Default: what the inventory says.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, for programs.")
]
HostsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="HOST", help="Hosts, groups or tag:NAME; none means all.")
]
ParallelOption = Annotated[int | None, typer.Option("--parallel", min=1, help="Hosts at a time.")]


@dataclass(frozen=True, slots=True)
class Run:
    """What a verb is handed for one run over hosts."""

    journal: Journal
    """What happened."""
    stage: Callable[[str, str], None]
    """Told what a host is doing; raises `Stopped` after an interrupt."""
    moved: Callable[[str, int, int], None]
    """Told of files and bytes that arrived from a host; raises `Stopped` after an interrupt."""
    accounts: Mapping[str, Secret]
    """By the credential's identity."""

    def api_account(self, host: Host) -> Secret | None:
        """Given a host, return the account for its second hop to the GroupWise API directory, if any."""
        return self.accounts[host.api_credential.identity] if host.api_credential else None


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


def load_inventory(path: Path | None, connectors: Sequence[str]) -> Inventory:
    """Given what the command line says, load the inventory. Raise UsageError if there is none."""
    candidates = [path] if path else default_inventories()
    for candidate in candidates:
        if is_file(candidate):
            return Inventory.load(candidate, connectors)
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
        if any(map(is_file, candidates)):
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


def ask_password(prompt: str) -> str:
    """Given a question, ask the person at the terminal and echo nothing."""
    return getpass.getpass(prompt, stream=sys.stderr)


def resolve_secrets(hosts: Sequence[Host]) -> dict[str, Secret]:
    """Given hosts, fetch each credential once, before any host is asked. Raise UsageError, InventoryError."""
    prompt = ask_password if sys.stdin is not None and sys.stdin.isatty() else None
    secrets: dict[str, Secret] = {}
    for host in hosts:
        for credential in (host.credential, host.api_credential):
            if credential is not None and credential.identity not in secrets:
                secrets[credential.identity] = credential.resolve(prompt)
    return secrets


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


def on_hosts(
    verb: str,
    hosts: Sequence[Host],
    work: Callable[[Run], Callable[[Host, Session], Outcome]],
    *,
    report: Report,
    repository: Repository | None,
    parallel: int,
    ends_with: Callable[[Sequence[Outcome]], int] = exit_code,
) -> list[Outcome]:
    """Given hosts and the work of one verb, do it on each, with a journal, and return the outcomes.

    `ends_with` makes the exit code of them: the journal records the one that the process ends with.
    """
    for host in hosts:
        if host.gateway is not None:
            raise UsageError(
                f"{host.name} is reached via {host.gateway.name}, which this version cannot do.",
                "Leave the host out of the command.",
            )
    secrets = resolve_secrets(hosts)
    folders = journal_folders(repository)
    folder = folders[0]
    leftovers = leftover_shells(folders, now())
    run_id = new_run_id(now())
    stop = threading.Event()
    ended = "failed"
    with ExitStack() as stack:
        for past in folders:
            clear_dead_runs(past)
        lock = hold(run_lock(folder, run_id), verb, run=run_id, since=now(), on_takeover=lambda who: None)
        stack.enter_context(lock)
        journal = Journal.create(folder, run_id, verb, [verb, *(h.name for h in hosts)], now)
        stack.callback(lambda: journal.close(ended))
        with report.progress(verb, [h.name for h in hosts]) as live:

            def stage(host: str, text: str) -> None:
                if stop.is_set():
                    raise Stopped
                live.stage(host, text)

            def moved(host: str, files: int, size: int) -> None:
                if stop.is_set():
                    raise Stopped
                live.moved(host, files, size)

            run = Run(journal, stage, moved, secrets)
            visit = Visit(ScriptLibrary.load(), secrets, journal, leftovers, work(run), stop, stage)
            outcomes = each_host(
                hosts,
                visit,
                parallel=parallel,
                stop=stop,
                on_outcome=lambda o: live.finished(o.host, o.message or o.state, o.state),
                on_stopping=lambda count: report.note(
                    f"stopping: {count_text(count, 'host')}; shells and locks are removed, mostly within 10 s"
                ),
            )
        ended = str(ends_with(outcomes))
        return outcomes


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Given an outcome, return what every JSON report says of a host."""
    return {
        "host": outcome.host,
        "state": outcome.state,
        "exit_code": outcome.exit_code,
        "message": outcome.message,
        "seconds": round(outcome.seconds, 3),
    }


def show_failed(report: Report, outcomes: Sequence[Outcome]) -> None:
    """Given outcomes, show the hosts that could not be worked on."""
    rows = [outcome_json(o) for o in outcomes if o.detail is None and o.exit_code != EXIT_OK]
    if rows:
        report.rows("Hosts without an answer", ["host", "state", "message"], rows, style_by="state")
