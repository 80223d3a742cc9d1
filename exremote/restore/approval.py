"""Whether a plan is still the one that somebody approved. Pure."""

from __future__ import annotations

from exremote.changes import ChangePlan
from exremote.errors import PlanRefused
from exremote.wording import count_text

ONLY_PLANNED = "planned"
"""What is said of a host that was only looked at: whether more is to come, its errand does not know."""
_SAID = 3
"""How many differences from an approved plan are told."""


def check_approved(host: str, approved: ChangePlan | None, now: ChangePlan) -> None:
    """Given a host, the plan that was approved for it and the plan as it is now, do nothing if they are one.

    Raise PlanRefused with what differs if they are not, or none was approved for the host.
    """
    if approved is not None and approved.digest == now.digest:
        return
    drift = approved.drift(now) if approved is not None else []
    more = f" And {count_text(len(drift) - _SAID, 'more difference')}." if len(drift) > _SAID else ""
    raise PlanRefused(
        f"{host}: the server is not what it was when the plan was approved. "
        f"{' '.join(drift[:_SAID])}{more}".rstrip(),
        "Look at the plan again and approve that. Nothing of it was done.",
    )
