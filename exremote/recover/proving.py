"""Step 9: services that ran on the lost server run, and health finds nothing critical that is new.

It asks and judges; it changes nothing but the probe file that a GroupWise connector is proven with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from exremote import health
from exremote.connector import Connector
from exremote.credential import Secret as Account
from exremote.errors import ExremoteError
from exremote.health import Verdict
from exremote.inventory import Host
from exremote.recover import checks
from exremote.recover.steps import Evidence, RecoveryPlan, Saved
from exremote.repository import Composed, Repository, Snapshot
from exremote.restore import parts_of
from exremote.session import Session
from exremote.wording import count_text, size_text

OLD = timedelta(days=7)
"""A System State is to be saved weekly at least (Microsoft's Windows backup set)."""


def backup_text(host: str, what: str) -> str:
    """Return what to do where something is not saved, or is old."""
    return f"`exremote backup {host} --only {what}`, or have your own set at hand."


def saved_evidence(
    repository: Repository, one: Saved, now: datetime, *, rehearsed: bool = False
) -> Iterator[Evidence]:
    """Yield whether a snapshot is whole, and how old it is: too old is wrong as long as nothing is lost."""
    try:
        snapshot = repository.named(one.snapshot)
        damage = next((problem for part in parts_of([snapshot]) for problem in repository.verify(part)), None)
    except ExremoteError as error:
        yield Evidence(one.of, "wrong", error.message, error.remedy)
        return
    days = (now - one.as_of).days
    age = f"{one.snapshot}, {count_text(days, 'day')} old, {size_text(one.bytes)}"
    if damage is not None:
        yield Evidence(
            one.of, "wrong", f"{age}: {damage.message}", "Take another one; `exremote verify` says more."
        )
    elif one.of == "systemstate" and now - one.as_of > OLD:
        said = f"{age}, every byte read: weekly at least, says Microsoft"
        yield Evidence(one.of, "wrong" if rehearsed else "unknown", said, backup_text(snapshot.host, one.of))
    elif one.away:
        shared = all(place.startswith("\\\\") for place in one.away)
        lies = "a share" if shared else "the server's own disk"
        keep = "see that the share outlives the server" if shared else "keep a copy of it elsewhere"
        yield Evidence(
            one.of,
            "unknown",
            f"{age}, every byte read; its .bkf is not in the repository, but on {lies}, "
            f"{', '.join(one.away)}",
            f"While the server lives, `exremote verify --on-host` looks at it; {keep}.",
        )
    else:
        yield Evidence(one.of, "ok", f"{age}, every byte read")


def findings_before(snapshots: Sequence[Snapshot | Composed]) -> set[tuple[str, str]]:
    """Given snapshots, return check and verdict of what health found when they were made."""
    return {
        (str(found.get("check")), str(found.get("verdict")))
        for snapshot in snapshots
        for found in snapshot.manifest.findings
    }


def prove(
    plan: RecoveryPlan,
    host: Host,
    session: Session,
    connectors: Mapping[str, Connector],
    repository: Repository,
    now: datetime,
    account: Account | ExremoteError | None,
) -> Iterator[Evidence]:
    """Given a recovered machine, yield whether it does what the lost one did. Raise HostError."""
    names = [one.of for one in plan.connectors]
    facts = health.collect(
        session, host, connectors, probe="groupwise" in names, now=now, api_account=account
    )
    yield from checks.running(plan.original.services, facts.services)
    chosen = {name: connectors[name] for name in names if name in connectors}
    before = findings_before([repository.named(one.snapshot) for one in plan.connectors])
    bad = [f for f in health.judge(facts, chosen) if f.verdict.rank >= Verdict.WARNING.rank]
    for finding in bad:
        said = f"{finding.verdict}: {finding.evidence}"
        known = (finding.check, str(finding.verdict)) in before
        if finding.verdict is Verdict.CRITICAL and not known:
            yield Evidence(f"health {finding.check}", "wrong", said, finding.remedy)
        else:
            yield Evidence(
                f"health {finding.check}", "unknown", f"{said}{', as it was before' if known else ''}"
            )
    if not any(f.verdict is Verdict.CRITICAL for f in bad):
        yield Evidence("health", "ok", f"nothing critical is found of {', '.join(names)}")
