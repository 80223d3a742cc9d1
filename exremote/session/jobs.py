"""The questions about ntbackup, and the two deeds: start one job, take one job away. It judges no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from exremote.facts import NtBackupJob, RemovedJob, StartedJob
from exremote.facts.parse import Record
from exremote.session.answers import same_path
from exremote.session.line import Line
from exremote.transport import Value

T = TypeVar("T")
START_S = 120.0
"""Seconds that the start of a job may take."""


class Jobs(Line):
    """One host's jobs of ntbackup."""

    def ntbackup_job(self, folder: str) -> NtBackupJob:
        """Given a job's folder, return how the job stands, and what ntbackup is there. Raise HostError."""
        fact = self._one("Get-NtBackupJob", {"Folder": folder}, NtBackupJob.parse)
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
        name = "Start-NtBackupJob"

        def once() -> StartedJob:
            # A WMI that is out of order may never answer.
            with closing(self._run(name, parameters, START_S)) as records:
                return StartedJob.parse(self._summary(name, [self._fields(name, r) for r in records]))

        return self._retry(name, self._library.get(name).effect, once)

    def remove_ntbackup_job(
        self, folder: str, name: str, *, end: bool = False, keep: bool = False
    ) -> RemovedJob:
        """Given a job, take its files away. `end` it if it runs; with `keep` do no more. Raise HostError."""
        parameters: dict[str, Value] = {
            "Folder": folder,
            "Name": name,
            "End": end or None,
            "Keep": keep or None,
        }
        return self._one("Remove-NtBackupJob", parameters, RemovedJob.parse)

    def pause(self, seconds: float) -> None:
        """Wait on this side; an interrupt ends it."""
        self._stopping()
        self._sleep(seconds)
        self._stopping()

    def _one(self, name: str, parameters: dict[str, Value], parse: Callable[[Record], T]) -> T:
        """Given a script that answers with one object, return it parsed."""

        def read(records: Iterator[object]) -> T:
            return parse(self._summary(name, [self._fields(name, record) for record in records]))

        return self._ask(name, parameters, read)
