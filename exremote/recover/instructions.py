"""What a person does at the console, in words: the steps that no machine can do for him. It asks nobody.

Facts about Windows and Exchange carry their source where they stand in the text; `(R)` marks what is recalled
and could not be read anywhere, above all the words in windows of programs.
"""

from __future__ import annotations

from collections.abc import Sequence

from exremote.recover.editions import build_text
from exremote.recover.steps import Original, Question, Saved, Step, place_in
from exremote.wording import size_text

VERIFY = "verify-snapshots"
REINSTALL = "reinstall-windows"
BRING = "bring-files"
SYSTEM_STATE = "restore-system-state"
BACK = "restart-restored"
EXCHANGE = "install-exchange"
GROUPS = "restore-storage-groups"
RESTART = "restart-recovered"
CONNECTORS = "restore-connectors"
PROVE = "prove-connectors"

LAST_SET = "last-backup-set"
MOUNTED = "mounted"

_WINDOWS = {"5.0": "Windows 2000 Server", "5.2": "Windows Server 2003"}


def windows_text(version: str) -> str:
    """Given a version of Windows, return its name, as far as Exchange 2000 and 2003 run on it."""
    return _WINDOWS.get(".".join(version.split(".")[:2]), f"Windows {version}".strip())


def _known(*facts: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value or "unknown") for name, value in facts)


def verify(saved: Sequence[Saved]) -> Step:
    """Return steps 1 to 3: a lost server cannot be saved any more, so what was saved is proven."""
    names = ", ".join(one.of for one in saved)
    return Step(
        VERIFY,
        1,
        "machine",
        f"verify what was saved: {names}",
        facts=tuple((one.of, one.snapshot) for one in saved),
        checked=("every byte of each snapshot is what its manifest says",),
    )


def reinstall(original: Original, reached_at: str, gateway: str = "") -> Step:
    """Return step 4: Windows under another name, and a listener, or what its gateway needs."""
    name = original.computer_name
    old = original.os_version.startswith("5.0")
    if gateway:
        listener = (
            f"{gateway} asks it by file sharing, RPC and WMI: leave the services Server and Remote Registry "
            "running and its administrative shares (C$, ADMIN$) there, and let TCP 445 or 139 and 135 pass. "
            f"From {gateway} this has to answer: net view \\\\{reached_at}"
        )
    elif old:
        listener = (
            "Windows 2000 has no WinRM: it is reached through a gateway. Name one in the inventory (via; "
            "docs/gateway.md), or nothing of what follows can be looked at."
        )
    else:
        listener = (
            "Install .NET Framework 2.0 with its service pack: NetFx20SP1_x86.exe /q /norestart (I). Then "
            "KB968930, which is PowerShell 2.0 and WinRM 2.0: WindowsServer2003-KB968930-x86-ENG.exe /quiet "
            "/norestart (I; the last letters are the language's), and restart. Then type: "
            'powershell -Command "Enable-PSRemoting -Force". This has to show a listener: winrm enumerate '
            "winrm/config/listener"
        )
    parts = (
        f"Keep the lost {name} off the network until the new machine was restarted with its System State "
        "(step 5 of the tip).",
        f"Install {windows_text(original.os_version)} into "
        f"{original.system_root or 'the same folder as before'}, in a workgroup, under a computer name that "
        f"is not {name}. A System State goes only onto the same "
        "Windows folder (KB 811944), the same drive letters and the same or identical hardware (KB 249694).",
        f"Install {original.service_pack or 'the same service pack as before'}.",
        "Install SMTP and NNTP of Internet Information Services: setup of Exchange wants both."
        if old
        else "",
        listener,
        f"exremote asks for it at {reached_at}{f' through {gateway}' if gateway else ''}.",
    )
    return Step(
        REINSTALL,
        4,
        "person",
        "reinstall Windows under another name, and make it reachable",
        tuple(part for part in parts if part),
        _known(
            ("System", windows_text(original.os_version)),
            ("Version", original.os_version),
            ("Service pack", original.service_pack),
            ("Windows folder", original.system_root),
            ("Drives", ", ".join(original.drives)),
            ("Computer name", f"any but {name}"),
            ("Role", original.role),
        ),
        (
            "its name is another one",
            "version, service pack and Windows folder are those of the lost server",
            "every drive is there",
            "the account is an administrator",
            "no Exchange runs on it",
            "the lost server does not answer any more",
        ),
    )


def bring(folder: str, parts: Sequence[Saved]) -> Step:
    """Return the step that brings what is needed at the console."""
    what = ", ".join(f"{one.of} ({size_text(one.bytes)})" for one in parts) or "instructions alone"
    return Step(
        BRING,
        4,
        "machine",
        f"put what you need at the console into {folder}: {what}",
        tuple(
            f"Without `recover`: `exremote export {one.snapshot} --into NEW_FOLDER`, and copy "
            f"files/{one.of} from there to {folder}\\{one.of}."
            for one in parts
        ),
        facts=tuple((one.of, one.snapshot) for one in parts),
        checked=("each file has, read on the host, the digest that the snapshot has",),
    )


def system_state(original: Original, saved: Saved | None, folder: str) -> Step:
    """Return step 5: the System State, by ntbackup's window, and a restart."""
    source = (
        f"In ntbackup's window choose Restore, and catalog {_tapes(saved, folder)} "
        "(R: Tools, Catalog a backup file)."
        if saved is not None
        else "exremote holds no System State of this server: take the newest one that you have (tape, share)."
    )
    ticks = "System State"
    if saved is not None and saved.whole_set:
        ticks = "System State and the volumes of Windows beside it, both of the same set (aa996476)"
    return Step(
        SYSTEM_STATE,
        5,
        "person",
        "restore the System State, and restart",
        (
            "At the console start ntbackup. Files cannot be restored from a command line.",
            source,
            f"Tick {ticks}; restore to the original location. It overwrites what is there.",
            "When it says that it is complete, restart the computer. It comes back under its old name.",
        ),
        _known(
            ("Computer name afterwards", original.computer_name),
            ("Domain afterwards", original.domain),
            ("Set", saved.snapshot if saved is not None else "not in the repository"),
        ),
        (f"nothing before the restart, all of it then: see {BACK}",),
    )


def back(original: Original, at: str) -> Step:
    """Return the wait for the restart of step 5."""
    return Step(
        BACK,
        5,
        "machine",
        f"wait until it comes back as {original.computer_name}",
        (f"exremote asks for it at {at}, with the account of the inventory.",),
        checked=(
            "it was started anew",
            "name and domain are the old ones",
            "the registry is that of the set, value by value where the snapshot has them",
            "the services of each connector are registered again",
        ),
    )


def exchange(original: Original, titles: Sequence[str]) -> Step:
    """Return step 6: setup in disaster recovery mode."""
    return Step(
        EXCHANGE,
        6,
        "person",
        "setup /disasterrecovery, with every connector that was there",
        (
            "From the media of the same version of Exchange type: setup /disasterrecovery",
            "Set the action of every component that was installed to Disaster Recovery (R), among them: "
            + (", ".join(titles) or "no connector is known"),
            "Do not let it create a new store. Do not delete the server's object or its computer account.",
            "Then install the service pack of Exchange that was there, also with /disasterrecovery (R).",
        ),
        _known(
            ("Folder of Exchange", original.exchange_folder),
            ("Build of Exchange", build_text(original.exchange_build)),
            ("Connectors", ", ".join(titles)),
        ),
        (
            "Exchange lies in the same folder",
            "its build is the same",
            "each connector's services are there, with their programs",
        ),
    )


def groups(original: Original, saved: Saved | None, folder: str) -> Step:
    """Return step 7: storage groups, with both boxes asked for."""
    names = ", ".join(f'"{name}"' for name in original.storage_groups) or "all that the set has"
    source = (
        f"In ntbackup's window choose Restore, and catalog {_tapes(saved, folder)}."
        if saved is not None
        else "exremote holds no storage groups of this server: take the newest set that you have."
    )
    return Step(
        GROUPS,
        7,
        "person",
        "restore the storage groups",
        (
            "The service MSExchangeIS has to run, and the stores have to be dismounted. Say of each store "
            "that it can be overwritten by a restore (R).",
            source,
            f"Tick the storage groups: {names}.",
            f"As the temporary place for log and patch files name {temporary(folder)}, which is to be empty: "
            "never the folder of the logs or of the databases (aa996213).",
            "Tick Last Backup Set if this is the only set, or the last one: it starts the hard recovery "
            "(KB 232938). If it was forgotten, type: eseutil /cc and the folder in which Restore.env lies.",
            "Have the databases mounted after the restore, or mount them by hand when it is complete.",
        ),
        _known(
            ("Storage groups", names),
            ("Set", saved.snapshot if saved is not None else "not in the repository"),
            ("Temporary place", temporary(folder)),
        ),
        (
            "the service MSExchangeIS runs",
            "no Restore.env waits for its hard recovery in the temporary place",
            "the databases in the folder Mdbdata are held open",
        ),
        (
            Question(LAST_SET, "Was Last Backup Set ticked, for the last set?"),
            Question(MOUNTED, "Are all databases mounted?"),
        ),
    )


def _tapes(saved: Saved, folder: str) -> str:
    """Return where the set lies on the new machine."""
    shared = [place for place in saved.away if place.startswith("\\\\")]
    own = [place for place in saved.away if place not in shared]
    or_there = f" (or {', '.join(own)}, if that disk is in it)" if own else ""
    or_there += f" (or, on its share, {', '.join(shared)})" if shared else ""
    return ", ".join(f"{folder}\\{saved.of}\\{name}" for name in saved.names) + or_there


def temporary(folder: str) -> str:
    """Given the folder on the new machine, return where logs and patch files go meanwhile."""
    return f"{folder}\\restore-temp"


def restart() -> Step:
    """Return the restart of step 8."""
    return Step(
        RESTART,
        8,
        "machine",
        "wait until it was restarted",
        ("Restart the computer.",),
        checked=("it was started anew", "it answers under its name"),
    )


def connectors(saved: Sequence[Saved]) -> Step:
    """Return the restore of step 8."""
    names = ", ".join(one.of for one in saved)
    return Step(
        CONNECTORS,
        8,
        "machine",
        f"restore {names}: files and registry values, work files erased, services started",
        (
            "Without `recover`: `exremote restore` of each, or by hand as docs/restore-by-hand.md says. "
            "Erase *.seq and *.ck directly in Conndata before a service of Notes or GroupWise starts.",
        ),
        facts=tuple((one.of, one.snapshot) for one in saved),
        checked=("each file and value is what the snapshot has", "what is replaced is saved before"),
    )


def prove(original: Original) -> Step:
    """Return step 9."""
    return Step(
        PROVE,
        9,
        "machine",
        "prove that the connectors start, and work",
        ("Without `recover`: start the services, see that they run and stay, and that mail goes both ways.",),
        facts=(("Services", ", ".join(original.services) or "unknown"),),
        checked=("every service that ran, runs", "health finds nothing critical that was not there before"),
    )


LEGEND = (
    "(R) stands where something is recalled, (I) where it is inferred: no page of Microsoft's at hand has "
    "these words. KB 232938, aa996213 and the like are pages of Microsoft's."
)
"""What the signs in the steps mean."""


def console_text(host: str, folder: str, steps: Sequence[Step]) -> str:
    """Given the plan's steps, return the text file that lies beside the files on the new machine."""
    lines = [
        f"Recovery of {host}: what to do at this console.",
        f"This folder: {folder}",
        "The tip is Microsoft's KB 328835; exremote counts its own steps beside the tip's nine.",
        LEGEND,
        "",
    ]
    return "\n".join([*lines, *steps_text(steps)])


def steps_text(steps: Sequence[Step]) -> list[str]:
    """Given the plan's steps, return the lines of those that a person does, or could without exremote."""
    lines: list[str] = []
    for step in steps:
        if step.who != "person" and not step.text:
            continue
        lines += [f"{place_in(steps, step.name)}: {step.title}  [{step.name}]"]
        lines += [f"  {number}. {text}" for number, text in enumerate(step.text, start=1)]
        lines += [f"     {name}: {value}" for name, value in step.facts]
        lines += [f"  Answer beside it: {question.text}" for question in step.asks]
        lines.append("")
    return lines
