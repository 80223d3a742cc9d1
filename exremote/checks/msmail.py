"""Judges what is special to the connector for Microsoft Mail. It never asks a host."""

from __future__ import annotations

from exremote.checks.finding import UNREADABLE, Finding, Verdict, finding, names, why
from exremote.connector import Check, tidy
from exremote.facts import HostFacts

INTERCHANGE = "MSExchangeMSMI"
BINARIES = "\\msmcon\\bin\\"
NO_MTA = ("msexchangemsmi", "msexchangeatmta")


def place(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether the interchange's program and the share name one post office."""
    by_program, by_share = facts.roots.get("msmcon"), facts.roots.get("maildata_share")
    chosen = facts.roots.get("maildata")
    if by_program is None or by_share is None:
        lacking = "program of the interchange" if by_program is None else "share Maildat$"
        words = (
            f"the post office is taken to be {chosen or 'nowhere'}; the {lacking} does not say where it is"
        )
        # The share's lack is a check of its own.
        return finding(facts, check, Verdict.OK if chosen else Verdict.UNKNOWN, words, connector)
    first, second = tidy(by_program) + "\\Maildata", tidy(by_share)
    words = f"the program says {first}, the share {second}"
    if first.lower() == second.lower():
        return finding(facts, check, Verdict.OK, words, connector)
    if said := facts.roots.get("maildata_said"):
        return finding(facts, check, Verdict.INFO, f"{words}, the inventory {said}", connector)
    return finding(facts, check, Verdict(check.severity), words, connector)


def pc_mtas(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return which PC MTAs the host has, by their programs."""
    if facts.service(INTERCHANGE) is None:
        return finding(facts, check, Verdict.UNKNOWN, why(facts, "services"), connector)
    found = [s for s in facts.services if BINARIES in s.image_path.lower() and s.name.lower() not in NO_MTA]
    dark = [s.name for s in facts.services if s.exists and not s.readable]
    words = names(f"{s.name} ({s.display_name}): {s.state}" for s in found) or "no PC MTA was found"
    if dark:
        words += f"; {names(dark)}: {UNREADABLE}"
        return finding(facts, check, Verdict.UNKNOWN, words, connector)
    return finding(facts, check, Verdict.OK if found else Verdict(check.severity), words, connector)


def account(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether the interchange has the account of the System Attendant."""
    own, other = facts.service(INTERCHANGE), facts.service("MSExchangeSA")
    if own is None or other is None or not (own.account and other.account):
        reason = why(facts, "services") if own is None or other is None else "an account could not be read"
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    words = f"{INTERCHANGE} logs on as {own.account}, MSExchangeSA as {other.account}"
    same = own.account.lower() == other.account.lower()
    return finding(facts, check, Verdict.OK if same else Verdict(check.severity), words, connector)


def dirsync_role(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return which role the operator says that this side of the synchronization has."""
    role, service = facts.roots.get("dirsync_role"), facts.service("MSExchangeDX")
    if role:
        return finding(facts, check, Verdict.OK, f"{role}, as the inventory says", connector)
    if service is None:
        return finding(facts, check, Verdict.UNKNOWN, why(facts, "services"), connector)
    if not service.exists:
        words = "the service MSExchangeDX is not here: there is nothing to know"
        return finding(facts, check, Verdict.OK, words, connector)
    words = f"MSExchangeDX is here ({service.state or 'in no known state'}); no key or file says its role"
    return finding(facts, check, Verdict.UNKNOWN, words, connector, check.remedy)
