"""exremote-lab: simulated Exchange hosts behind a WinRM endpoint on loopback.

It never listens on another address, and leaves nothing behind when it ends.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from exremote.lab.client import LabClient, LabTrouble, state_file
from exremote.lab.faults import HELP, FaultText
from exremote.lab.site import STANDARD, SpecText, specs_from_json
from exremote.wording import flowing

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help=__doc__,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SITE_VARIABLE = "EXREMOTE_LAB_SITE"
ACTS = ("system-state", "reboot", "exchange", "storage-groups", "original-on", "original-off")
EXTRA = ("psrpcore", "cryptography")
"""What the extra `lab` installs: only a lab that listens needs it."""


def _path(text: str) -> Path:
    """Given what stands for a path, return it; an empty text is a variable that was not set, not `.`."""
    if not str(text).strip():
        raise typer.BadParameter("this is an empty name.")
    return Path(text)


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"exremote-lab: {error}", err=True)
    raise typer.Exit(1) from None


def _need_extra() -> None:
    """Refuse, by the name of the extra, where its libraries are not installed."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        _fail(LabTrouble(f"{', '.join(missing)} not installed; the lab needs: pip install 'exremote[lab]'"))


def up(
    wine: Annotated[
        bool, typer.Option("--wine", help="Play the hosts with EXREMOTE_LAB_POWERSHELL.")
    ] = False,
    latency: Annotated[float, typer.Option(help="Seconds added to each exchange.")] = 0.0,
    bandwidth: Annotated[int | None, typer.Option(help="Bits per second, each way, for each host.")] = None,
    stay: Annotated[
        bool,
        typer.Option("--stay", help="Do not end with standard input: for the background or a service."),
    ] = False,
    private: Annotated[bool, typer.Option("--private", hidden=True)] = False,
) -> None:
    """Start the lab, say how it is reached, and run until standard input ends or Ctrl-C comes.

    On a terminal it prints the lines to paste into another one, else one line of JSON. With `&` or
    `</dev/null` standard input ends at once, and the lab with it, unless --stay says otherwise. A second lab
    can run beside the first; list, fault, break and reset reach the first.
    """
    _need_extra()
    # These know the engines behind the endpoint, which `list` and `fault` do not need.
    from exremote.lab.control import Control
    from exremote.lab.wine import WineTrouble
    from exremote.lab.world import ENGINE_VARIABLE, PASSWORD_VARIABLE, World, engine_from_environment

    engine = engine_from_environment() if wine else []
    if wine and not engine:
        _fail(LabTrouble(f"--wine needs {ENGINE_VARIABLE}, as in: /path/to/psengine wine"))
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        specs = specs_from_json(os.environ[SITE_VARIABLE]) if SITE_VARIABLE in os.environ else STANDARD
        world = World(specs, engine=engine, latency_s=latency, bandwidth_bps=bandwidth)
    except (SpecText, WineTrouble) as error:
        _fail(error)
    control = Control(world)
    control.ended = ended
    said: dict[str, object] = {
        "user": world.user,
        "password_variable": PASSWORD_VARIABLE,
        "password": world.password,
        "inventory": str(world.inventory),
        "trust": str(world.folder / "trust.pem"),
        "control": control.url,
        "token": control.token,
        "hosts": {name: host.port for name, host in world.hosts.items()},
        "via": {name: host.via for name, host in world.hosts.items() if host.via},
        "engine": engine or "simulated",
    }
    noted = False
    try:
        noted = not private and _note(said)
        typer.echo(_for_people(said) if sys.stdout.isatty() else json.dumps(said))
        sys.stdout.flush()
        if not stay:
            threading.Thread(target=_until_input_ends, args=(ended, private), daemon=True).start()
        ended.wait()
    finally:
        if noted:
            state_file().unlink(missing_ok=True)
        control.close()
        world.stop()


def _note(said: dict[str, object]) -> bool:
    """Leave a note, for this user only, of how the lab is reached, unless another one of theirs is alive.

    Return whether it was left.
    """
    with suppress(LabTrouble):
        LabClient.of_this_user().hosts()
        typer.echo(
            "exremote-lab: another lab of yours is running; list, fault, break and reset reach that one, as "
            "long as it runs, and not this one",
            err=True,
        )
        return False
    state = state_file()
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.unlink(missing_ok=True)
    with os.fdopen(
        os.open(state, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(said, file)
    return True


def _for_people(said: Mapping[str, Any]) -> str:
    """Given how the lab is reached, return the lines that a person pastes into another terminal."""
    folder = Path(sys.executable).parent
    word, quote = ("set", str) if os.name == "nt" else ("export", shlex.quote)
    lines = [f"The lab runs: {', '.join(said['hosts'])}. In another terminal:", ""]
    for name, value in (
        ("EXREMOTE_INVENTORY", said["inventory"]),
        (said["password_variable"], said["password"]),
        ("EXREMOTE_REPOSITORY", str(Path("exremote-lab-repository").absolute())),
    ):
        lines.append(f"  {word} {name}={quote(value)}")
    lines += [f"  {quote(str(folder / 'exremote'))} {what}" for what in ("init", "health", "backup")]
    return "\n".join([*lines, "", "Ctrl-C ends it. What can go wrong is up to you: exremote-lab fault -h"])


def _until_input_ends(ended: threading.Event, private: bool) -> None:
    while sys.stdin is not None and sys.stdin.buffer.read(4096):
        pass
    if not private and not ended.is_set():
        typer.echo("exremote-lab: standard input ended, so the lab ends (--stay keeps it)", err=True)
    ended.set()


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", parser=_path, help="Where the demo's repository goes.")
    ] = Path("exremote-demo"),
) -> None:
    """Show exremote at work on the lab's hosts; the repository stays."""
    _need_extra()
    from exremote.lab.demo import run_demo

    try:
        raise typer.Exit(run_demo(folder, typer.echo))
    except (FileExistsError, NotADirectoryError):
        _fail(LabTrouble(f"{folder} is a file, or lies below one: name a folder, there or not"))
    except OSError as error:
        _fail(LabTrouble(f"{error.filename or folder}: {error.strerror}; name another folder"))
    except LabTrouble as error:
        _fail(error)


def list_() -> None:
    """Show the hosts of the running lab, and what is to go wrong."""
    try:
        client = LabClient.of_this_user()
        for name, host in client.hosts().items():
            what = "nothing listens" if host["down"] else ", ".join(host["connectors"]) or "no connector"
            if host["lost"]:
                what = f"lost; in its place {host['machine']}, to be 127.0.0.1:{host['original_port']} again"
            if host["away"]:
                what += " (it is starting, or does not come up)"
            typer.echo(f"{name:<16} 127.0.0.1:{host['port']:<6} {what}")
        for fault in client.faults():
            typer.echo(f"{fault['text']}  ({fault['struck']} times so far)")
    except LabTrouble as error:
        _fail(error)


def fault(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="FAULT", help="HOST:WHAT:WHEN:EFFECT, as EXGW01:Receive:3:cut=4096"),
    ],
) -> None:
    """Have something go wrong in the running lab."""
    try:
        client = LabClient.of_this_user()
        for text in texts:
            typer.echo(client.fault(text))
    except (LabTrouble, FaultText) as error:
        _fail(error)


def break_(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host of the running lab, with a connector.")],
) -> None:
    """Break a host of the running lab in every way that a restore mends, and say how.

    A table is deleted and one is changed, a registry value is wrong, the connector's service is stopped and
    disabled, and work files lie about. Only starting the lab anew, or a restore, mends it; a DisplayName,
    which is set wrong where there is no Calendar connector, no restore sets (docs/restore.md).
    """
    try:
        for what, where in LabClient.of_this_user().break_host(host):
            typer.echo(f"{what:<21} {where}")
    except LabTrouble as error:
        _fail(error)


Host = Annotated[str, typer.Argument(metavar="HOST", help="A host of the running lab.")]


def lose(
    host: Host,
    name: Annotated[str, typer.Option(help="Computer name of the new Windows.")] = "TEMP01",
    os_: Annotated[str | None, typer.Option("--os", help="2000, 2003 or 2008r2; else as it was.")] = None,
    system_root: Annotated[str | None, typer.Option(help="Its Windows folder; else as it was.")] = None,
    service_pack: Annotated[str | None, typer.Option(help="In words; else as it was.")] = None,
    drive: Annotated[
        list[str] | None, typer.Option(help="A drive, as C:; repeat it. Else as it was.")
    ] = None,
) -> None:
    """Lose a host of the running lab, and have a new Windows answer at another port.

    Nothing answers any more where the lost machine did. The new one has no Exchange, is in no domain, and
    takes the same account. What brings it to the lost one's place is `act`.
    """
    try:
        client = LabClient.of_this_user()
        typer.echo(client.replace(host, name, os_, system_root, service_pack, drive)["said"])
    except LabTrouble as error:
        _fail(error)


def act(
    host: Host,
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"{', '.join(ACTS)}.")],
    stale: Annotated[bool, typer.Option("--stale", help="system-state: from an older set.")] = False,
    away: Annotated[float | None, typer.Option(help="reboot: seconds in which nothing answers.")] = None,
    move: Annotated[bool | None, typer.Option(help="reboot: to the lost machine's port, or not.")] = None,
    component: Annotated[
        list[str] | None, typer.Option(help="exchange: a connector that is ticked; repeat it. Else all.")
    ] = None,
    service_pack: Annotated[
        bool | None, typer.Option(help="exchange: its service pack again, as well.")
    ] = None,
    last_set: Annotated[bool | None, typer.Option(help="storage-groups: Last Backup Set is ticked.")] = None,
    mount: Annotated[bool | None, typer.Option(help="storage-groups: and Mount after restore.")] = None,
    temp: Annotated[str | None, typer.Option(help="storage-groups: the temporary folder.")] = None,
) -> None:
    """Do at a host's console what only a person can.

    `system-state`: ntbackup's window restores it, for the next start. `reboot`: with it the machine is in the
    lost one's place. `exchange`: setup /disasterrecovery. `storage-groups`: they are restored, and mounted.
    `original-on` and `original-off`: the lost machine answers again, or does not.
    """
    given = {
        "stale": stale or None,
        "away_s": away,
        "move": move,
        "components": component or None,
        "service_pack": service_pack,
        "last_set": last_set,
        "mount": mount,
        "temp": temp,
    }
    try:
        client = LabClient.of_this_user()
        if what in ("original-on", "original-off"):
            answer = client.revive(host, off=what == "original-off")
        else:
            answer = client.act(host, what, **{key: one for key, one in given.items() if one is not None})
        typer.echo(answer["said"])
    except LabTrouble as error:
        _fail(error)


def reset() -> None:
    """Forget all that was to go wrong, and count anew."""
    try:
        client = LabClient.of_this_user()
        client.clear_faults()
        for name, host in client.hosts().items():
            if not host["down"]:
                client.reset_counters(name)
    except LabTrouble as error:
        _fail(error)


for _name, _function in (
    ("up", up),
    ("demo", demo),
    ("list", list_),
    ("fault", fault),
    ("break", break_),
    ("lose", lose),
    ("act", act),
    ("reset", reset),
):
    app.command(_name, help=HELP if _name == "fault" else flowing(_function.__doc__))(_function)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
