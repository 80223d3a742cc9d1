"""Whether each step could be done now: what is there, what lacks, what nobody knows. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime

from exremote.credential import Secret as Account
from exremote.errors import EXIT_BAD_NEWS, EXIT_OK, ExremoteError, HostError, PlanRefused
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.recover import asking, instructions
from exremote.recover.editions import build_text
from exremote.recover.proving import backup_text, saved_evidence
from exremote.recover.reaching import Answered, place_text, quick, same_place, temporary_host, who_answers
from exremote.recover.record import HostRecord
from exremote.recover.steps import Evidence, RecoveryPlan, evidence_to_json
from exremote.repository import Composed, Repository, Snapshot
from exremote.runner import Outcome, State, Stopped, failed, interrupted, tell_end
from exremote.session import Session
from exremote.wording import count_text, size_text

_PERSON = "only a person can see to it"

Rehearsal = list[tuple[str, list[Evidence]]]
"""By step: what speaks for it and against it."""
REHEARSED = "rehearsed"


def rehearse(
    plan: RecoveryPlan,
    host: Host,
    at: str | None,
    repository: Repository,
    session: Callable[[Host], AbstractContextManager[Session]],
    accounts: Mapping[str, Account | ExremoteError],
    now: datetime,
    stage: Callable[[str], None],
    under_way: HostRecord | None = None,
) -> Rehearsal:
    """Given a plan, ask of every step whether it could be done now. Return the answers in its order.

    `under_way`: how far a recovery of the host is, if one is under way: its machine is not the lost one.
    """
    before = temporary_host(host, at)
    saved: list[Evidence] = []
    for one in plan.saved:
        stage(f"verifying {one.snapshot}")
        saved += list(saved_evidence(repository, one, now, rehearsed=True))
    if plan.part("systemstate") is None:
        saved.append(
            Evidence(
                "systemstate", "wrong", "there is no snapshot of it", backup_text(plan.host, "systemstate")
            )
        )
    if plan.part("storagegroups") is None:
        saved.append(
            Evidence("storagegroups", "wrong", "there is none", backup_text(plan.host, "storagegroups"))
        )
    found: Rehearsal = [("snapshots", saved)]
    machine = list(_machine(plan, host, before, session, accounts, stage, under_way))
    medium = plan.original
    for step in plan.steps:
        match step.name:
            case instructions.REINSTALL:
                windows = instructions.windows_text(medium.os_version)
                media = f"media of {windows}, {medium.service_pack or 'its service pack'}, and the drivers"
                found.append((step.name, [*machine, Evidence("media", "unknown", f"{media}: {_PERSON}")]))
            case instructions.BRING:
                found.append((step.name, list(_room(plan))))
            case instructions.EXCHANGE:
                build = build_text(medium.exchange_build) or "unknown"
                media = f"media of Exchange, build {build}, with its service pack"
                found.append((step.name, [Evidence("media", "unknown", f"{media}: {_PERSON}")]))
            case instructions.CONNECTORS:
                found.append((step.name, list(_drills(repository, plan, host, now))))
            case _:
                pass
    return found


def _machine(
    plan: RecoveryPlan,
    host: Host,
    before: Host | None,
    session: Callable[[Host], AbstractContextManager[Session]],
    accounts: Mapping[str, Account | ExremoteError],
    stage: Callable[[str], None],
    under_way: HostRecord | None,
) -> Iterator[Evidence]:
    """Yield who answers at both addresses, and whether the accounts are to be had."""
    back = under_way is not None and under_way.is_done(instructions.BACK)
    for what, each in (("account", host), ("account before tip step 5", before)):
        account = accounts.get(each.credential.identity) if each is not None else None
        if isinstance(account, ExremoteError):
            yield Evidence(what, "wrong", account.message, account.remedy)
        elif account is not None:
            yield Evidence(what, "ok", "its password is to be had here")
    stage("looking who answers at its address")
    answer = who_answers(host, session)
    if isinstance(answer, Answered):
        who = f"{answer.fact.computer_name if answer.fact else 'somebody'} answers at {place_text(host)}"
        if under_way is not None and answer.fact is not None and (back or same_place(before or host, host)):
            yield _recovered(who, host, under_way, session)
        else:
            yield Evidence("lost server", "unknown", f"{who}: it is not lost today")
    else:
        yield Evidence("lost server", "ok", f"nobody answers at {place_text(host)}")
    if before is None:
        yield Evidence(
            "address",
            "wrong",
            "nobody says where the new machine would be reached",
            "Say recover_address in the inventory, or --at ADDRESS.",
        )
    elif not same_place(before, host) and not back:
        stage("looking who answers at the temporary address")
        try:
            with session(quick(before)) as line:
                yield from asking.after_reinstall(plan, line, line.host_fact(), place_text(before))
        except HostError as error:
            yield Evidence(
                "new machine", "unknown", f"nobody answers at {place_text(before)} today: {error.message}"
            )


def _recovered(
    who: str,
    host: Host,
    record: HostRecord,
    session: Callable[[Host], AbstractContextManager[Session]],
) -> Evidence:
    """Return whether who answers in the lost server's place is the machine that is recovered there."""
    try:
        with session(quick(host)) as line:
            stranger = asking.stranger(record.plan, line)
    except HostError as error:
        stranger = f"whether that is the machine that is recovered nobody can tell: {error.message}"
    if stranger:
        return Evidence("lost server", "unknown", f"{who}. {stranger}")
    said = f"{who}: the machine that is being recovered, {record.progress} steps are done"
    return Evidence("lost server", "ok", said)


def _room(plan: RecoveryPlan) -> Iterator[Evidence]:
    size = sum(one.bytes for one in plan.saved if one.of in ("systemstate", "storagegroups"))
    if size:
        yield Evidence("room", "unknown", f"{size_text(size)} are wanted in {plan.folder} of the new machine")


def _drills(repository: Repository, plan: RecoveryPlan, host: Host, now: datetime) -> Iterator[Evidence]:
    """Yield when the snapshots of connectors were last proven to restore."""
    where = "" if host.drill_on else " --on HOST --folder FOLDER"
    for one in plan.connectors:
        snapshot: Snapshot | Composed = repository.named(one.snapshot)
        full = snapshot.full if isinstance(snapshot, Composed) else snapshot
        # An older snapshot's drill says that such snapshots restore; this one's says more.
        proofs = [
            proof
            for other in repository.snapshots(full.host, full.connector)
            for proof in repository.proofs(other)
        ]
        last = max(proofs, key=lambda proof: proof.at, default=None)
        if last is None:
            yield Evidence(
                f"drill of {one.of}",
                "wrong",
                "it was never drilled",
                f"`exremote drill {plan.host}/{one.of}{where}`",
            )
        elif not last.green:
            yield Evidence(f"drill of {one.of}", "wrong", f"the last one was not green: {last.said}")
        else:
            days = (now - last.at).days
            yield Evidence(
                f"drill of {one.of}", "ok", f"{count_text(days, 'day')} ago, green, {last.seconds:.0f} s"
            )


def rehearsed(
    plan: RecoveryPlan | PlanRefused,
    host: Host,
    at: str | None,
    repository: Repository,
    session: Callable[[Host], AbstractContextManager[Session]],
    accounts: Mapping[str, Account | ExremoteError],
    now: datetime,
    stage: Callable[[str, str], None],
    found: dict[str, Rehearsal],
    journal: Journal,
    under_way: HostRecord | None = None,
) -> Outcome:
    """Given a host's plan, or why there can be none, and how far a recovery of it is that is under way,
    rehearse it, and put what was found under its name. Return the outcome.
    """
    journal.event("host-started", host=host.name)
    outcome = interrupted(host)
    try:
        answers: Rehearsal
        if isinstance(plan, PlanRefused):
            said = plan.message.removeprefix(f"{host.name}: ").rstrip(".")
            answers = [("snapshots", [Evidence("connectors", "wrong", said, plan.remedy)])]
        else:
            answers = rehearse(
                plan,
                host,
                at,
                repository,
                session,
                accounts,
                now,
                lambda text: stage(host.name, text),
                under_way,
            )
        found[host.name] = answers
        for step, evidence in answers:
            journal.event(REHEARSED, host=host.name, step=step, evidence=evidence_to_json(evidence))
        missing = sum(e.verdict == "wrong" for _, evidence in answers for e in evidence)
        code = EXIT_BAD_NEWS if missing else EXIT_OK
        outcome = Outcome(host.name, State.DONE, code, f"{count_text(missing, 'thing')} missing")
    except Stopped:
        pass
    except ExremoteError as error:
        outcome = failed(host, error)
    finally:
        tell_end(journal, outcome)
    return outcome
