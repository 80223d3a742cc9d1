"""The questions about ntbackup, and the deeds: start one job, take one job away. It judges no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress

from exremote.errors import ScriptFailed
from exremote.facts import NtBackupJob, RemovedJob, StartedJob
from exremote.session.answers import same_path
from exremote.session.share_hop import ShareHop
from exremote.transport import Value

START_S = 120.0
"""Seconds that the start of a job may take."""


class Jobs(ShareHop):
    """One host's jobs of ntbackup."""

    def ntbackup_job(self, folder: str, tape_folder: str = "") -> NtBackupJob:
        """Given a job's folder, return how the job stands, and what ntbackup is there. Raise HostError.

        `tape_folder`: where its .bkf is, if that is a share. One that is away does not fail it: then no .bkf
        is to be seen.
        """
        script = "Get-NtBackupJob"

        def once() -> NtBackupJob:
            with suppress(ScriptFailed):
                self._on_share(tape_folder)
            return NtBackupJob.parse(self._answer(script, {"Folder": folder}))

        fact = self._retry(script, self._library.get(script).effect, once)
        if not same_path(fact.folder, folder):
            raise self._mismatch(f"the answer about {folder} (it names {fact.folder[:200]!r})")
        return fact

    def start_ntbackup(
        self, folder: str, job: str, lines: Sequence[str], arguments: str, how: str
    ) -> StartedJob:
        """Given a job, start it. Never tried twice: who is not answered asks how the job stands.

        `how`: `Wmi` or `Direct`. Raise HostError.
        """
        parameters: dict[str, Value] = {
            "Folder": folder,
            "Name": job,
            "Selection": lines,
            "Arguments": arguments,
            "Start": how,
        }
        return self._start("Start-NtBackupJob", parameters)

    def start_ntbackup_task(
        self, folder: str, job: str, lines: Sequence[str], arguments: str, task: str
    ) -> StartedJob:
        """Given a job, have a scheduled task start it: the one of that name, or ('') one of the system, made
        for it. Never tried twice. Raise HostError.
        """
        parameters: dict[str, Value] = {
            "Folder": folder,
            "Name": job,
            "Selection": lines,
            "Arguments": arguments,
            "Task": task or None,
        }
        return self._start("Start-NtBackupTask", parameters)

    def _start(self, name: str, parameters: dict[str, Value]) -> StartedJob:
        def once() -> StartedJob:
            # A WMI that is out of order may never answer.
            return StartedJob.parse(self._answer(name, parameters, START_S))

        return self._retry(name, self._library.get(name).effect, once)

    def remove_ntbackup_job(
        self, folder: str, name: str, *, end: bool = False, keep: bool = False
    ) -> RemovedJob:
        """Given a job, take its files away. `end` it if it runs; with `keep` do no more.

        On a share, that has to answer behind it. Raise HostError.
        """
        parameters: dict[str, Value] = {
            "Folder": folder,
            "Name": name,
            "End": end or None,
            "Keep": keep or None,
        }
        script = "Remove-NtBackupJob"

        def once() -> RemovedJob:
            still_there = self._on_share(folder)
            removed = RemovedJob.parse(self._answer(script, parameters))
            still_there()
            return removed

        return self._retry(script, self._library.get(script).effect, once)

    def pause(self, seconds: float) -> None:
        """Wait on this side; an interrupt ends it."""
        self._stopping()
        self._sleep(seconds)
        self._stopping()

    def _answer(
        self, name: str, parameters: dict[str, Value], deadline_s: float | None = None
    ) -> Mapping[str, object]:
        """Given a script that answers with one object, return that."""
        with closing(self._run(name, parameters, deadline_s)) as records:
            return self._summary(name, [self._fields(name, record) for record in records])
