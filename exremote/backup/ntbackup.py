"""What a backup does with what ntbackup saves of one host: a job for each part, one after the other.

`systemstate` and `storagegroups` stand where a connector's name stands in a snapshot; they are no connectors
and have no file among these. A job's files leave the host when its snapshot was committed and read back, and
not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from exremote import __version__, health
from exremote.backup.errand import Taken, is_modern, lacks
from exremote.backup.identity import identity_of
from exremote.backup.parts import GROUP_CLASS, PartFacts, groups_of, plan_part
from exremote.backup.programs import IDENTITY, judge_programs
from exremote.backup.staying import drop, note_ahead, put_aside, share_trouble, take_away
from exremote.backup.verdict import findings_of, judge_job
from exremote.connector import Connector
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, HostError, IntegrityError, ScriptFailed
from exremote.facts import ConnectorObject, HostFact, HostFacts
from exremote.health import Finding
from exremote.health.places import services_to_ask
from exremote.inventory import Acceptance, Host
from exremote.journal import Journal
from exremote.ntbackup import Part
from exremote.plan import Plan, RunNtBackup
from exremote.repository import Elsewhere, Need, Repository, Room, Snapshot, SnapshotDraft
from exremote.runner import Harvest, JobEnd, Outcome, State, Workplace, execute, to_document
from exremote.session import Session
from exremote.transfer import Carrier

LISTS = (8 << 20) + (1 << 20)
"""Bytes of the rest of a snapshot, about: the catalogue above all."""


@dataclass(frozen=True, slots=True)
class JobErrand:
    """The jobs of one host; everything that all hosts of the run share."""

    repository: Repository
    """Where everything goes."""
    journal: Journal
    """What happened."""
    dry_run: bool
    """Plan only."""
    now: Callable[[], datetime]
    """Our clock."""
    stage: Callable[[str, str], None]
    """Told what a host is doing."""
    moved: Callable[[str, int, int], None]
    """Told of files and bytes that arrived."""
    room: Room
    """The room on the repository's volume, as all hosts of the run share it."""
    accepted: tuple[Acceptance, ...] = ()
    """Findings that the site lives with."""
    connectors: Mapping[str, Connector] = field(default_factory=dict)
    """What a machine may carry: the accounts of its services are noted."""

    @contextmanager
    def guard(self, host: Host) -> Iterator[None]:
        """Given a host, return the lock that its jobs are done under: one of their own, for they are long."""
        if self.dry_run:
            yield
            return
        with self.repository.lock(
            "exremote backup (ntbackup)",
            name=f"ntbackup-{host.name}",
            run=self.journal.run_id,
            since=self.now(),
            on_takeover=lambda who: self.journal.event("lock-taken-over", host=host.name, was=who),
        ):
            try:
                yield
            finally:
                self.room.release(host.name)

    def __call__(self, host: Host, session: Session, parts: Sequence[Part]) -> Outcome:
        """Given a host, a session and what to save, do the jobs. Raise HostError if the host is lost."""
        started = self.now()
        self.stage(host.name, "asking")
        host_fact = session.host_fact()
        objects, why = _storage_groups(session)
        taken = Taken(machine=health.machine_of(HostFacts(host.name, started, host_fact)))
        for part in parts:
            taken = taken.joined(self._part(host, session, part, host_fact, objects, why))
        done = not taken.missing
        return Outcome(
            host.name,
            State.DONE if done else State.INCOMPLETE,
            EXIT_OK if done else EXIT_INCOMPLETE,
            lacks(taken.missing),
            (self.now() - started).total_seconds(),
            taken,
        )

    def _part(
        self,
        host: Host,
        session: Session,
        part: Part,
        host_fact: HostFact,
        objects: tuple[ConnectorObject, ...],
        why: str,
    ) -> Taken:
        """Given a part, do its job and commit its snapshot. Return what came in. Raise HostError."""
        started = self.now()
        trouble, tapes = "", host.ntbackup.bkf_folder if host.ntbackup.on_share else ""
        if tapes:
            trouble = share_trouble(session, tapes)
        facts = PartFacts(
            host_fact,
            session.ntbackup_job(host.ntbackup.folder_on(host_fact.system_root, part), tapes),
            (host.ntbackup.storage_groups or groups_of(host_fact.computer_name, objects))
            if part == "storagegroups"
            else (),
            why or "the directory has none of this server, and the inventory names none",
            self._last_bytes(host, part),
            trouble,
        )
        plan = plan_part(host, part, facts, (host_fact.utc_now or started) + (self.now() - started))
        self.journal.event("planned", host=host.name, plan=plan.digest, steps=len(plan.steps))
        missing = tuple((part, gap.what, gap.reason) for gap in plan.gaps)
        if self.dry_run or not plan.steps:
            return Taken(missing=missing, plan=plan)
        others = services_to_ask(self.connectors.values(), host.variables)
        identity, exports = identity_of(session, facts, objects, why, others)
        note_ahead(self.repository, host.name, plan.steps[0])
        whole = HostFacts(host.name, started, host_fact)
        self.stage(host.name, f"ntbackup: {part}")
        with (
            self.repository.staging(self.journal.run_id, host.name) as staging,
            Carrier(session, is_modern(whole)) as carrier,
        ):
            place = Workplace(
                session,
                carrier,
                self.repository,
                staging,
                self.journal,
                whole,
                partial(self._arrived, host),
                reserve=lambda contents: self.room.reserve(
                    host.name, Need(contents, LISTS, sum(contents.values()))
                ),
            )
            harvest = execute(plan, place)
        self.stage(host.name, "verifying")
        differ = judge_programs(self.repository, host.name, part, facts)
        return self._keep(host, session, part, plan, harvest, whole, identity, exports, differ, started)

    def _keep(
        self,
        host: Host,
        session: Session,
        part: Part,
        plan: Plan,
        harvest: Harvest,
        facts: HostFacts,
        identity: Mapping[str, object],
        exports: Mapping[str, bytes],
        told: tuple[Finding, ...],
        started: datetime,
    ) -> Taken:
        """Given what came in, and what is `told` already, judge and commit it, clear the host. Return it."""
        step = plan.steps[0]
        assert isinstance(step, RunNtBackup)
        end = harvest.jobs.get(part)
        stays: Elsewhere | None = None
        stuck = False
        documents = {
            IDENTITY: to_document(identity),
            **exports,
            "facts.json": to_document(facts.to_json()),
        }
        if end is not None:
            judgement = judge_job(end, step.sets)
            for what, reason in judgement.bad:
                harvest.lack((part,), what, reason)
            told += findings_of(host.name, part, judgement)
            documents["job.json"] = to_document(_record(step, end))
            if end.tape is not None:
                documents["catalogue.tsv"] = end.catalogue
            if end.file is not None:
                self.stage(host.name, "keeping")
                stays, why = self._stay(session, host, step, end, [reason for _, reason in judgement.bad])
                if why:
                    harvest.lack((part,), end.file.path, why)
                stuck = stays is None and not judgement.bad
        findings = health.accept(told, self.accepted, self.now().date())
        snapshot = self._commit(
            _draft(host, part, harvest, documents, findings, started, self.journal.run_id, stays)
        )
        warnings = [f"{part}: {f.verdict}: {f.evidence}" for f in findings if not f.accepted]
        if end is not None and not end.private:
            warnings.append(
                f"{part}: others than administrators could read {step.folder} while the job was there"
            )
        if end is not None and end.done and not stuck:
            if stays is None:
                warnings += drop(self.repository, self.journal, session, host.name, step, end)
            warnings += self._clear(session, step, end)
        if snapshot.complete:
            gone = take_away(self.repository, self.journal, session, host.name, part)
            warnings += [f"{part}: {sentence}" for sentence in gone]
        missing = tuple((part, lack.path, lack.reason) for lack in harvest.missing.get(part, ()))
        return Taken(
            ((part, snapshot.id, "new" if snapshot.complete else "incomplete"),),
            findings,
            missing,
            tuple(warnings),
            plan,
            harvest.sent_files,
            harvest.sent_bytes,
        )

    def _stay(
        self, session: Session, host: Host, step: RunNtBackup, end: JobEnd, bad: Sequence[str]
    ) -> tuple[Elsewhere | None, str]:
        """Given a job whose .bkf was looked at on the host, keep it there if it is good. Return it, or why
        not.
        """
        if bad:
            return None, "it is no backup, and was taken from the host with the job's other files"
        return put_aside(self.repository, self.journal, session, host.name, step, end)

    def _commit(self, draft: SnapshotDraft) -> Snapshot:
        """Given a draft, commit it and read it back. Raise IntegrityError if it is not what it should be."""
        snapshot = self.repository.commit(draft)
        for problem in self.repository.verify(snapshot):
            raise IntegrityError(
                f"the new snapshot is not what its manifest says, and was put aside: {problem.message}",
                path=self.repository.reject(snapshot),
                entry=problem.place,
                expected=problem.expected,
                actual=problem.actual,
            )
        self.journal.event(
            "committed",
            host=draft.host,
            connector=draft.connector,
            snapshot=snapshot.id,
            complete=snapshot.complete,
        )
        return snapshot

    def _clear(self, session: Session, step: RunNtBackup, end: JobEnd) -> list[str]:
        """Given a job whose files are here, or of no use, take them from the host. Return sentences."""
        left = f"{step.item}: files of the job are still in {step.folder} on the host"
        try:
            gone = session.remove_ntbackup_job(step.folder, end.job.name)
        except HostError as error:
            return [f"{left}, a .bkf among them; the next run removes them. {error.message}"]
        mine = [name for name in gone.left if name.startswith(end.job.name)]
        return (
            [f"{left} ({', '.join(mine)}); the next run removes them. {gone.error}".strip()] if mine else []
        )

    def _last_bytes(self, host: Host, part: Part) -> int:
        latest = self.repository.latest(host.name, part, now=self.now())
        if latest is None:
            return 0
        manifest = latest.manifest
        return max((*(e.size for e in manifest.entries), *(e.size for e in manifest.elsewhere)), default=0)

    def _arrived(self, host: Host, files: int, size: int) -> None:
        self.room.arrived(host.name, size)
        self.moved(host.name, files, size)


def _storage_groups(session: Session) -> tuple[tuple[ConnectorObject, ...], str]:
    """Ask the directory for storage groups. Return them, or why they are unknown. Raise HostError."""
    try:
        return session.connector_objects(GROUP_CLASS), ""
    except ScriptFailed as error:
        remedy = "say storage_groups = [...] in the host's table ntbackup of the inventory"
        return (), f"the directory does not answer ({error.message}); {remedy}"


def _draft(
    host: Host,
    part: Part,
    harvest: Harvest,
    documents: Mapping[str, bytes],
    findings: Sequence[Finding],
    started: datetime,
    run: str,
    stays: Elsewhere | None,
) -> SnapshotDraft:
    """Given what came in and was judged, return the draft of the part's snapshot."""
    copied = harvest.copied.get(part)
    missing = tuple(harvest.missing.get(part, ()))
    return SnapshotDraft(
        host=host.name,
        connector=part,
        created=started,
        run=run,
        complete=not missing,
        entries=copied.entries if copied else (),
        omitted=copied.omitted if copied else (),
        missing=missing,
        documents=documents,
        findings=tuple(finding.to_json() for finding in findings),
        elsewhere=(stays,) if stays is not None else (),
        software=f"exremote {__version__}",
    )


def _record(step: RunNtBackup, end: JobEnd) -> dict[str, object]:
    """Given a job and how it ended, return what a person wants to know of it years later."""
    log = end.log
    return {
        "name": end.job.name,
        "selection": list(step.lines),
        "sets": list(step.sets),
        "arguments": step.arguments if end.job.name == step.name else "",
        "state": end.job.state,
        "exit_code": end.job.exit_code,
        "stopped": end.stopped,
        "started": end.job.started.isoformat(),
        "bytes": end.job.bytes,
        "log": {
            "path": end.job.log,
            "language": log.language or "unknown",
            "completed": log.completed,
            "bad": list(log.bad),
            "warnings": list(log.warnings),
        }
        if log
        else None,
        "tape": end.tape.to_json() if end.tape else None,
    }
