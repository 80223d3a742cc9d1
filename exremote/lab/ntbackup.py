"""The simulated ntbackup of a machine, and the scripts that start, watch and clear away a job of it.

It keeps to the rules of the scripts, and to winlab's stand-in: the same faults, by the same names, from the
same registry key. What only a simulation can do has names of its own: WritesNothing, Killed, Language,
Version.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from exremote.lab.binding import Arguments
from exremote.lab.files import Missing
from exremote.lab.machine import Machine, RunningJob, from_ticks, ticks
from exremote.lab.tape import TapeFile, TapeSet, tape
from exremote.lab.tasks import Task, checked_task, run_task, scheduler_of
from exremote.lab.trees import refused
from exremote.lab.wsman.engine import Call, Long, Record, ScriptThrew

FAULTS = r"HKLM\SOFTWARE\winlab\ntbackup"
PLAIN_FOLDER = re.compile(r"[A-Za-z]:\\[A-Za-z0-9 ._\\-]+")
ANY_FOLDER = re.compile(r"([A-Za-z]:|\\\\[A-Za-z0-9._-]+)\\[A-Za-z0-9 ._$\\-]+")
PLAIN_NAME = re.compile(r"[A-Za-z0-9.-]+")
LOGS = r"Local Settings\Application Data\Microsoft\Windows NT\NTBackup\data"
SUFFIXES = ("bkf", "bks", "cmd", "bat", "go", "run", "end", "rc", "pid", "task")
"""Of the files that a job has."""
VERSION = "5.2.3790.3959"
"""Of ntbackup.exe, unless the value Version of the key of faults says another one."""
_WORDS = {
    # Lab data: no log of a Windows in these languages was at hand.
    "German": ("Labor: Sicherungsprotokoll", "Labor: fertig."),
    "Japanese": ("ラボ: バックアップ", "ラボ: 完了"),
}


def _number(machine: Machine, name: str) -> int:
    return machine.registry.number(FAULTS, name)


def _version(machine: Machine) -> str:
    return machine.registry.text(FAULTS, "Version") or VERSION


def program_of(machine: Machine) -> str:
    """Return where ntbackup is on a machine, or an empty text: Windows Server 2008 has none."""
    path = rf"{machine.os.system_root}\System32\ntbackup.exe"
    return path if machine.files.is_file(path) else ""


def start_job(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Start-NtBackupJob: one job in a folder of its own."""
    yield _started(machine, arguments, "")


def start_task(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Start-NtBackupTask: the same, by a scheduled task."""
    task, folder, name = (arguments.text(each) for each in ("Task", "Folder", "Name"))
    for why in checked_task(task, folder):
        raise refused("ExRemote.BadArgument", why)
    if not scheduler_of(machine):
        raise refused("ExRemote.SchedulerMissing", "There is no schtasks.exe on this host.")
    yield _started(machine, arguments, task or name)


def _started(machine: Machine, arguments: Arguments, task: str) -> dict[str, object]:
    """Start a job, by a task if one is named. Return the answer. Raise ScriptThrew."""
    folder, name = arguments.text("Folder"), arguments.text("Name")
    order = arguments.text("Arguments")
    if not PLAIN_FOLDER.fullmatch(folder):
        raise refused("ExRemote.BadArgument", f"'{folder}' is not a full path of plain letters.")
    if not PLAIN_NAME.fullmatch(name) or re.search(r"[^ -~]|[%&|<>^!]", order):
        raise refused("ExRemote.BadArgument", f"'{name}' or its command line has a sign of its own.")
    program = program_of(machine)
    if not program:
        raise refused("ExRemote.ProgramMissing", "There is no ntbackup.exe on this host.")
    with machine.lock:
        settle(machine)
        if machine.foreign_ntbackup or machine.job is not None:
            raise refused("ExRemote.JobRunning", "ntbackup runs already (process 4711).")
        node = machine.files.get(folder)
        if node is not None and any(not child.is_directory for child in node.children.values()):
            raise refused("ExRemote.JobThere", f"{folder} holds files of another job.")
        now = machine.now()
        base, lines = rf"{folder}\{name}", arguments.texts("Selection")
        put = machine.files.write
        put(
            f"{base}.bks",
            ("\ufeff" + "".join(f"{x}\r\n" for x in lines)).encode("utf-16-le"),
            modified=ticks(now),
        )
        command = f'@echo off\r\n"{program}" {order}\r\n>"{base}.end" echo %ERRORLEVEL%\r\nmove\r\n'
        put(f"{base}.cmd", command.encode("ascii"), modified=ticks(now))
        process = 0
        if not task:
            machine.job = _begin(machine, folder, name, lines, order)
            process = machine.job.process
            put(f"{base}.pid", str(process).encode(), modified=ticks(now))
        else:
            _by_task(machine, arguments, base, task)
    return {"Folder": folder, "Started": True, "ProcessId": process, "Private": True, "StartedUtc": now}


def _by_task(machine: Machine, arguments: Arguments, base: str, task: str) -> None:
    """Have a task begin a job whose command file is there. Raise ScriptThrew if it is refused."""
    files, folder, name = machine.files, arguments.text("Folder"), arguments.text("Name")
    prepared = bool(arguments.text("Task"))
    files.write(f"{base}.bat", f'move "{base}.go"\r\ncall "{base}.cmd"\r\n'.encode())
    files.write(f"{base}.go", name.encode())
    if prepared:
        home = folder.rpartition("\\")[0]
        files.write(rf"{home}\task\start.cmd", f'@call "{base}.bat"\r\n'.encode())
    else:
        files.write(f"{base}.task", name.encode())
        machine.tasks[name.lower()] = Task(f"{base}.bat")
    try:
        begins = run_task(machine, task, base, prepared)
    except ScriptThrew:
        files.remove(f"{base}.go")
        raise
    if begins:
        files.remove(f"{base}.go")
        files.write(f"{base}.run", b"")
        lines, order = arguments.texts("Selection"), arguments.text("Arguments")
        machine.job = _begin(machine, folder, name, lines, order, by_system=not prepared)


def _begin(
    machine: Machine, folder: str, name: str, lines: list[str], order: str, by_system: bool = True
) -> RunningJob:
    """Do what the whole job will have done: its files are there at once, its end comes when it comes.

    What runs `by_system`, or by WMI, gets at no share.
    """
    now = machine.now()
    place = next(iter(re.findall(r'/F "([^"]+)"', order)), rf"{folder}\{name}.bkf")
    unc = place.startswith("\\\\")
    lost = unc and (by_system or not machine.files.is_directory(place.rpartition("\\")[0]))
    method = next(iter(re.findall(r"/M (\w+)", order)), "normal")
    media = f"{name}.bkf created {now:%m/%d/%Y} at {now:%I:%M %p}"
    sets = [_set(machine, line, method) for line in lines if not line.endswith("/Exclude")]
    data = tape(sets, media=media, machine=machine.name, when=now)
    limit = _number(machine, "TruncateAt")
    hangs = _number(machine, "HangMs")
    if hangs:
        data = data[:2048]
    elif limit:
        data = data[:limit]
    drive = next((disk for disk in machine.disks if disk.root.upper() == place[:3].upper()), None)
    full = drive is not None and len(data) > drive.free
    if drive is not None and full:
        data = data[: drive.free]
    if not _number(machine, "WritesNothing") and not lost:
        machine.files.write(place, data, modified=ticks(now))
    code = _number(machine, "FailExitCode") or int(lost or full)
    if not hangs:
        log = _log(machine, media, sets, full, now.strftime("%m/%d/%Y at %I:%M %p"))
        path = rf"C:\Documents and Settings\labadmin\{LOGS}\backup01.log"
        machine.files.write(path, ("\ufeff" + log).encode("utf-16-le"), modified=ticks(now))
    ends = time.monotonic() + (hangs / 1000 if hangs else _number(machine, "TakesMs") / 1000)
    return RunningJob(folder, name, 4800, ends, bool(_number(machine, "Killed")), code, place if unc else "")


def _set(machine: Machine, line: str, method: str) -> TapeSet:
    if line == "SystemState":
        text = "\r\n".join(f"[{machine.name}\\{n}]" for n in range(4000)).encode()
        return TapeSet("System State", "System State", [TapeFile("SOFTWARE.reg", text, "Registry")], method)
    if line.startswith("JET "):
        device = line[4:].rstrip("\\")
        page = device.encode("utf-16-le") + b"lab data, no database "
        return TapeSet(device, device, [TapeFile("priv1.edb", page * 3000, stray=True)], method)
    device = line.rstrip("\\")
    return TapeSet(device, "lab", [TapeFile("boot.ini", b"[boot loader]\r\n")], method)


def _log(machine: Machine, media: str, sets: list[TapeSet], full: bool, when: str) -> str:
    language = machine.registry.text(FAULTS, "Language")
    if language:
        head, done = _WORDS[language]
        return "\r\n".join([head, f'"{media}"', *(f'"{one.device}"\r\n{done}' for one in sets), ""])
    lines = [
        "Backup Status",
        "Operation: Backup",
        "Active backup destination: File",
        f'Media name: "{media}"',
        "",
    ]
    for number, one in enumerate(sets, start=1):
        lines += [
            f'Backup of "{one.device} "',
            f"Backup set #{number} on media #1",
            "Backup Type: Normal",
            "",
        ]
        lines += [f"Backup started on {when}.", f"Backup completed on {when}.", "Files: 1", ""]
    if full or _number(machine, "LogError"):
        lines += ["Error: The device reported an error on a request to write data to media."]
        lines += ["The operation did not successfully complete.", ""]
    if _number(machine, "LogSkips"):
        lines += [r'Warning: Unable to open "C:\lab\held.dat" - skipped.', "Reason: It is in use.", ""]
    return "\r\n".join(lines)


def end_job(machine: Machine) -> None:
    """Have the job that runs be done, however long it would have taken."""
    if machine.job is not None:
        machine.job.ends = time.monotonic()
        settle(machine)


def settle(machine: Machine) -> None:
    """Let a job that is over leave its exit code, or nothing if it was killed."""
    job = machine.job
    if job is None or (job.ends and time.monotonic() < job.ends):
        return
    machine.job = None
    if job.tape and not machine.files.is_directory(job.tape.rpartition("\\")[0]):
        job.code = job.code or 1  # its share went away in the middle
    if not job.killed and machine.files.is_directory(job.folder):
        machine.files.write(
            rf"{job.folder}\{job.name}.rc", f"{job.code}\r\n".encode(), modified=ticks(machine.now())
        )


def get_job(machine: Machine, arguments: Arguments, source: Iterator[object], call: Call) -> Iterator[Record]:
    """Get-NtBackupJob: how a job stands."""
    folder = arguments.text("Folder")
    if not re.match(r"[A-Za-z]:\\", folder):
        raise refused("ExRemote.BadArgument", f"'{folder}' is not a full path.")
    with machine.lock:
        settle(machine)
        answer: dict[str, object] = {
            "Folder": folder,
            "State": "None",
            "Name": "",
            "ExitCode": 0,
            "Bytes": Long(-1),
            "StartedUtc": machine.now(),
            "ProcessId": 0,
            "Others": int(machine.job is not None) + int(machine.foreign_ntbackup),
            "Log": "",
            "Program": program_of(machine),
            "Versions": [f"ntbackup.exe|{_version(machine)}"] if program_of(machine) else [],
        }
        node = machine.files.get(folder)
        orders = [child for child in node.children.values() if child.name.endswith(".cmd")] if node else []
        if orders:
            answer |= _standing(machine, folder, orders[0].name[:-4], orders[0].modified, call.shell_id)
    yield answer


def _standing(machine: Machine, folder: str, name: str, since: int, shell_id: str) -> dict[str, object]:
    base, files = rf"{folder}\{name}", machine.files
    job = machine.job
    running = job is not None and (job.folder.lower(), job.name) == (folder.lower(), name)
    code = files.get(f"{base}.rc")
    order = files.get(f"{base}.cmd")
    said = b"".join(order.content.chunks()).decode() if order is not None and order.content else ""
    place = next(iter(re.findall(r' /F "([^"]+)"', said)), f"{base}.bkf")
    tape_node = files.get(place) if machine.may_use(place, shell_id) else None
    pid = files.get(f"{base}.pid")
    answer: dict[str, object] = {
        "Name": name,
        "State": "Ended"
        if code is not None
        else "Running"
        if running
        else "Waiting"
        if files.is_file(f"{base}.go")
        else "Lost",
        "StartedUtc": from_ticks(since),
        "Bytes": Long(tape_node.size if tape_node is not None else -1),
        "ProcessId": int(b"".join(pid.content.chunks())) if pid is not None and pid.content else 0,
    }
    if code is not None and code.content is not None:
        answer["ExitCode"] = int(b"".join(code.content.chunks()))
    if answer["State"] in ("Ended", "Lost"):
        path = rf"C:\Documents and Settings\labadmin\{LOGS}\backup01.log"
        log = files.get(path)
        answer["Log"] = path if log is not None and log.modified >= since - 20_000_000 else ""
    return answer


def remove_job(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Remove-NtBackupJob: the files of one job, and the job itself if that is wanted."""
    folder, name = arguments.text("Folder"), arguments.text("Name")
    if not ANY_FOLDER.fullmatch(folder) or not PLAIN_NAME.fullmatch(name):
        raise refused("ExRemote.BadArgument", f"'{folder}' and '{name}' are not a folder and a job.")
    ended, removed = 0, []
    with machine.lock:
        settle(machine)
        job = machine.job
        running = job is not None and (job.folder.lower(), job.name) == (folder.lower(), name)
        if running and not arguments.flag("End"):
            raise refused("ExRemote.JobRunning", f"The job in {folder} still runs (process 4800).")
        if running:
            machine.job, ended = None, 2
        keep = arguments.flag("Keep")
        go, task = rf"{folder}\{name}.go", rf"{folder}\{name}.task"
        if machine.files.is_file(go):
            machine.files.remove(go)
        if machine.files.is_file(task) and not arguments.flag("Keep"):
            machine.tasks.pop(name.lower(), None)
        node = machine.files.get(folder) if machine.may_use(folder, call.shell_id) else None
        for child in list(node.children.values()) if node is not None and not keep else ():
            if child.name.lower() in {f"{name}.{suffix}".lower() for suffix in SUFFIXES}:
                machine.files.remove(rf"{folder}\{child.name}")
                removed.append(child.name)
        left = [child.name for child in node.children.values()] if node is not None else []
        if node is not None and not left and not keep and not folder.startswith("\\\\"):
            try:
                machine.files.remove(folder)
            except Missing:
                left = []
    yield {"Folder": folder, "Ended": ended, "Removed": removed, "Left": left, "Error": ""}
