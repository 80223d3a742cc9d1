"""What ntbackup saves of a host: from facts to a plan of one job. Pure: it asks nobody and starts nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from exremote.facts import ConnectorObject, HostFact, NtBackupJob
from exremote.folding import folded
from exremote.inventory import Host, NtBackup
from exremote.ntbackup import Job, Part, storage_groups_job, system_state_job
from exremote.plan import Gap, Plan, RunNtBackup

GROUP_CLASS = "msExchStorageGroup"
"""Class of a storage group in the directory (S: Microsoft's CSS-Exchange names it)."""
YOUNG = timedelta(days=1)
"""A job that a broken-off run left behind is taken over while it is no older."""
GB = 10**9
ROOM_FACTOR = 1.2
"""More room than the last .bkf took is asked for."""
_OWN = re.compile(r"exremote-(systemstate|storagegroups)-[0-9TZ]+-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What a plan of one part is made from."""

    host_fact: HostFact
    """The host itself."""
    found: NtBackupJob
    """What lies in the job's folder, and what ntbackup is there."""
    groups: tuple[str, ...] = ()
    """Storage groups to be saved; none for the System State."""
    groups_unknown: str = ""
    """Why nobody can tell which they are; '' if somebody can."""
    last_bytes: int = 0
    """Of the .bkf in the last complete snapshot; 0 if there is none."""
    share_trouble: str = ""
    """Why the share that the .bkf goes to is not to be had; '' if it is, or none is needed."""


def groups_of(server: str, objects: Sequence[ConnectorObject]) -> tuple[str, ...]:
    """Given a server and storage groups of the directory, return the names of those that are its own.

    A recovery storage group (`msExchRestore`) is none that ntbackup saves (R).
    """
    below = folded(f",cn={server},cn=servers,")
    names = []
    for one in objects:
        name = one.distinguished_name
        if below in folded(name) and (one.first("msExchRestore") or "").upper() != "TRUE":
            names.append(
                one.first("cn") or re.sub(r"(?i)^CN=((?:\\.|[^,])*).*$", r"\1", name, flags=re.DOTALL)
            )
    return tuple(sorted(names))


def plan_part(host: Host, part: Part, facts: PartFacts, now: datetime) -> Plan:
    """Given the facts, return the plan of one job, or of none with the reason as its gap."""
    found, settings = facts.found, host.ntbackup
    gap = facts.share_trouble
    folder = settings.folder_on(facts.host_fact.system_root, part)
    if not found.program:
        gap = "there is no ntbackup.exe on this host (Windows Server 2008 and newer have none)"
    elif not gap and part == "storagegroups" and not facts.groups:
        gap = f"which storage groups the host has is unknown: {facts.groups_unknown}"
    if gap:
        return _no_plan(host, part, gap)
    try:
        job = _job(host, part, facts, folder, now)
    except ValueError as error:
        return _no_plan(host, part, f"{error}: say its storage_groups in the inventory")
    adopt, clear, gap = _left(job, found, now)
    if not gap and not adopt:
        gap = _in_the_way(found) or _no_room(folder, facts, settings)
    if gap:
        return _no_plan(host, part, gap)
    step = RunNtBackup(
        part,
        (part,),
        found.name if adopt else job.name,
        folder,
        job.lines,
        job.sets,
        job.arguments,
        settings.start,
        settings.stall_s,
        adopt,
        clear,
        settings.bkf_folder,
        settings.task,
    )
    return Plan(host.name, (part,), (step,))


def _job(host: Host, part: Part, facts: PartFacts, folder: str, now: datetime) -> Job:
    """Given the facts, return the job. Its name has the digest of its selection: so one is known again."""
    version, settings = facts.host_fact.os_version, host.ntbackup

    def named(name: str) -> Job:
        if part == "systemstate":
            mine = (folder.rpartition("\\")[0], "" if settings.on_share else settings.bkf_folder)
            own = dict.fromkeys(mine) if settings.windows_set else {}
            keep_out = [f"{path}\\" for path in own if path]
            return system_state_job(name, folder, version, settings.windows_set, keep_out)
        server = facts.host_fact.computer_name
        return storage_groups_job(name, folder, version, server, facts.groups, settings.method)

    said = "\n".join((*named("job").lines, settings.method if part == "storagegroups" else ""))
    if settings.on_share:
        # Others may write into the same folder, and it is the name of a file there.
        said += f"\n{host.name}\n{settings.bkf_folder}"
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    moment = now.astimezone(UTC)
    # To the millisecond: what an earlier job left on the host may not have the name of this one.
    stamp = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"
    job = named(f"exremote-{part}-{stamp}-{digest}")
    return replace(job, tape_folder=settings.bkf_folder) if settings.on_share else job


def _left(job: Job, found: NtBackupJob, now: datetime) -> tuple[bool, str, str]:
    """Given the new job and what lies in its folder, return whether that is taken over, the name of one that
    is cleared away first, and why neither can be.
    """
    if found.state == "None":
        return False, "", ""
    if _OWN.fullmatch(found.name) is None:
        return False, "", f"{found.folder} holds a job that is not exremote's ({found.name}); move it away"
    same = found.name.rpartition("-")[2] == job.name.rpartition("-")[2]
    if found.state == "Running":
        if same:
            return True, "", ""
        return False, "", f"a job of an earlier run with another selection still runs ({found.name})"
    good = found.state == "Ended" and found.exit_code == 0 and found.bytes > 0
    if same and good and found_age(found, now) < YOUNG:
        return True, "", ""
    return False, found.name, ""


def found_age(found: NtBackupJob, now: datetime) -> timedelta:
    """Given a job, return its age by the clock of its host; `now` is that of the host as well."""
    return max(now - found.started, timedelta())


def _in_the_way(found: NtBackupJob) -> str:
    if found.others:
        return "ntbackup runs already on this host, so nothing was started; run it again when that has ended"
    return ""


def _no_room(folder: str, facts: PartFacts, settings: NtBackup) -> str:
    """Return why there is no room on the drive of a job's folder. How much a share has, no host can tell."""
    need = max(int(settings.least_free_gb * GB), int(facts.last_bytes * ROOM_FACTOR))
    disk = facts.host_fact.disk_of(folder)
    if disk is None:
        return f"the host has no drive {folder[:2]} for {folder}; say ntbackup.folder in the inventory"
    if disk.free < need and not settings.on_share:
        return (
            f"drive {disk.root} has {disk.free} bytes free, and {need} are asked for before a job starts; "
            "make room, or say another ntbackup.folder in the inventory"
        )
    return ""


def _no_plan(host: Host, part: Part, reason: str) -> Plan:
    return Plan(host.name, (part,), (), (Gap((part,), "the job of ntbackup", reason),))
