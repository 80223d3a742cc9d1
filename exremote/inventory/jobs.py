"""Whether what a host's table ntbackup says goes together: pure. It reads no file and asks no host."""

from __future__ import annotations

from exremote.folding import folded
from exremote.inventory.model import NtBackup

MADE = "docs/ntbackup.md has the command that makes the task."


def job_problem(said: NtBackup, gateway: str) -> tuple[str, str] | None:
    """Given how ntbackup saves a host, and the name of its gateway (or ''), return what was expected, as the
    end of `expected ...`, with a remedy (or ''); None if all goes together.
    """
    job, kept = (f"{folded(path)}\\" for path in (said.folder, said.bkf_folder))
    if gateway and (said.on_share or said.start in ("system", "task")):
        what = f"bkf_folder = '{said.bkf_folder}'" if said.on_share else f'start = "{said.start}"'
        return (
            f"no {what} for a host behind {gateway}: Windows 2000 has no schtasks.exe to start the job with",
            "Leave start and task out for it; its .bkf goes into the repository, or to a drive of its own.",
        )
    if said.start == "task" and not said.task:
        return 'task = "NAME" beside start = "task": a task that an administrator has made', MADE
    if said.task and said.start != "task":
        return f'start = "task" beside task = "{said.task}"', "Say both, or leave both out."
    if said.on_share and said.start != "task":
        return (
            f'start = "task" for a bkf_folder on a share ({said.bkf_folder}): what WMI or the system runs '
            "has no rights on the network",
            f'Say start = "task" and task = "NAME"; {MADE}',
        )
    if said.share_credential is not None and not said.on_share:
        return (
            "a bkf_folder on a share beside share_credential, which is for nothing else",
            r"Say bkf_folder = '\\SERVER\SHARE\FOLDER', or leave share_credential out.",
        )
    if said.folder and said.bkf_folder and not said.on_share and job[0] != kept[0]:
        return (
            f"folder and bkf_folder on one drive: a .bkf is moved from {said.folder} to {said.bkf_folder}, "
            "and not copied",
            "Leave folder out: then jobs write below bkf_folder.",
        )
    if any(kept == f"{job}{part}\\" for part in ("systemstate", "storagegroups")):
        return f"another bkf_folder: {said.bkf_folder} is the folder that a job writes in", ""
    return None
