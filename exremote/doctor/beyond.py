"""The stages behind a gateway: what it sees of the way to the host, and the log-on there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exremote.doctor.stage import Stage, failed, ok, unknown, warning
from exremote.errors import ExremoteError, Unreachable

if TYPE_CHECKING:
    from exremote.doctor.case import Case


def gateway(case: Case) -> Stage:
    """Ask the gateway for the name, the ports and the SMB of the way; nobody logs on at the host."""
    host = case.host
    seen = case.session.approach()
    if seen is None or host.gateway is None:
        return unknown("it is asked directly")
    troubles = seen.troubles(host.gateway.wmi)
    if not troubles:
        words = f"{seen.asker} reaches {', '.join(seen.addresses[:4])}: "
        return ok(words + ", ".join(f"TCP {port} is {state}" for port, state in seen.ports.items()))
    sentence = "; ".join(each.sentence for each in troubles) + "."
    fix = " ".join(each.remedy for each in troubles)
    if any(each.fatal for each in troubles):
        return failed(sentence, fix, Unreachable.exit_code)
    return warning(sentence, fix)


def target(case: Case) -> Stage:
    """Have the gateway log on at the host, once."""
    if isinstance(case.own_account, ExremoteError):
        error = case.own_account
        return failed(error.message, error.remedy, error.exit_code)
    case.session.open()
    who = case.own_account.username if case.own_account is not None else "who we are at the gateway"
    return ok(f"{case.host.door.name} was let in there as {who}")
