"""The stage that asks whether ntbackup could save a host: program, room, share, task. It starts nothing."""

from __future__ import annotations

import ntpath
from typing import TYPE_CHECKING

from exremote.doctor.stage import Stage, failed, ok, skipped, unknown, warning
from exremote.errors import EXIT_BAD_NEWS, ScriptFailed
from exremote.facts import HostFact
from exremote.inventory.jobs import MADE

if TYPE_CHECKING:
    from exremote.doctor.case import Case


def ntbackup(case: Case) -> Stage:
    """Look at what a job of the System State or the storage groups needs, where the inventory wants one."""
    settings, fact = case.host.ntbackup, case.fact
    assert fact is not None, "the stage language went well"
    parts = [part for part in case.host.backup if part != "connectors"]
    if not parts and not settings.on_share and not settings.task:
        return skipped("the inventory has neither systemstate nor storagegroups in backup of this host")
    folder = settings.folder_on(fact.system_root, parts[0] if parts else "systemstate")
    share = settings.bkf_folder if settings.on_share else ""
    try:
        found = case.session.ntbackup_job(folder)
        if not found.program:
            return failed(
                "there is no ntbackup.exe on this host (Windows Server 2008 and newer have none).",
                "Leave systemstate and storagegroups out of backup for it.",
            )
        if problem := _room(case, fact, folder):
            return failed(problem, "Make room, or say another ntbackup.folder in the inventory.")
        if share:
            case.session.check_share(share)
        # Where a newer Windows keeps its tasks is unknown.
        old = fact.os_version.startswith("5.")
        task = _task(case, fact) if settings.start == "task" and old else ""
    except ScriptFailed as error:
        # The script answered: it is the share that did not, or that let nobody in.
        return failed(error.message, error.remedy, error.exit_code if not share else EXIT_BAD_NEWS)
    words = [f"ntbackup {dict(found.versions).get('ntbackup.exe', '')}".strip(), f"jobs write to {folder}"]
    if share:
        words.append(f"{share} answers")
    if settings.start == "task":
        if not old:
            return unknown(f"{', '.join(words)}; where this Windows keeps its tasks is unknown")
        if task:
            return warning(f"{', '.join(words)}; {task}", MADE)
        words.append(f"the task {settings.task} is there")
    if found.others:
        words.append(f"a job runs now ({found.name or 'not one of exremote'})")
    return ok(", ".join(words))


def _room(case: Case, fact: HostFact, folder: str) -> str:
    """Return why there is no room for a job's folder, as far as the inventory says what is wanted."""
    settings = case.host.ntbackup
    disk = fact.disk_of(folder)
    if disk is None:
        return f"the host has no drive {ntpath.splitdrive(folder)[0]} for {folder}."
    least = settings.least_free_gb * 1e9
    if disk.free < least and not settings.on_share:
        free = disk.free / 1e9
        return f"drive {disk.root} has {free:.1f} GB free, and {settings.least_free_gb:g} are asked for."
    return ""


def _task(case: Case, fact: HostFact) -> str:
    r"""Return why the prepared task may not be there: `%SystemRoot%\Tasks\NAME.job` (recalled)."""
    path = f"{fact.system_root}\\Tasks\\{case.host.ntbackup.task}.job"
    (file,) = case.session.file_facts([path], hashed=False)
    if file.exists:
        return ""
    return f"the task {case.host.ntbackup.task} seems not to be there: no file {path} (recalled)."
