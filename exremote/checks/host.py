"""Judges the host itself and whether it has the connectors that it should. It never asks a host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exremote.checks.finding import UNREADABLE, Finding, Verdict, finding, names, why
from exremote.checks.rules import RULES
from exremote.connector import program_of, tidy
from exremote.facts import HostFact, HostFacts, Presence

GIB = 1 << 30
LONGEST_VERSION = 40
"""How much of a version is shown."""


def judge_host(facts: HostFacts) -> Iterator[Finding]:
    """Given facts, return the findings that are the host's own."""
    yield _exchange(facts)
    host = facts.host_fact
    if host is None:
        for name in ("host.name", "host.powershell", "host.clock", "host.disk-space", "host.rights"):
            yield finding(facts, RULES[name], Verdict.UNKNOWN, why(facts, "host"))
        return
    yield finding(facts, RULES["host.name"], *_name(facts, host))
    major = host.powershell_major
    verdict = Verdict.OK if major is not None else Verdict.UNKNOWN
    if major is not None and major < 2:
        verdict = Verdict.CRITICAL
    words = f"PowerShell {host.powershell_version[:LONGEST_VERSION] or 'of no version'}"
    yield finding(facts, RULES["host.powershell"], verdict, words)
    if host.utc_now is None:
        yield finding(facts, RULES["host.clock"], Verdict.UNKNOWN, "only WMI tells, which was not asked")
    else:
        skew = (host.utc_now - facts.collected_at).total_seconds()
        words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
        yield finding(facts, RULES["host.clock"], Verdict.WARNING if abs(skew) > 300 else Verdict.OK, words)
    yield _disks(facts)
    verdict = Verdict.OK if host.is_administrator else Verdict.WARNING
    words = f"{host.user_name} is {'' if host.is_administrator else 'no '}administrator"
    yield finding(facts, RULES["host.rights"], verdict, words)


def _name(facts: HostFacts, host: HostFact) -> tuple[Verdict, str]:
    """Return whether the host goes by the name or the address that the inventory has for it."""
    if not host.computer_name:
        return Verdict.UNKNOWN, "it says no name of its own"
    if host.goes_by(facts.host, facts.address):
        return Verdict.OK, f"it calls itself {host.computer_name}"
    known_as = facts.host + (f" at {facts.address}" if facts.address not in ("", facts.host) else "")
    return Verdict.WARNING, f"it calls itself {host.computer_name}; the inventory has it as {known_as}"


def _exchange(facts: HostFacts) -> Finding:
    """Return whether the registry's root and the System Attendant's program agree."""
    rule = RULES["host.exchange"]
    key = next((v for v in facts.registry if v.key.lower().endswith("\\exchange\\setup")), None)
    service = facts.service("MSExchangeSA")
    if key is None or service is None:
        return finding(facts, rule, Verdict.UNKNOWN, why(facts, "registry" if key is None else "services"))
    if not key.exists and not service.exists:
        listed = [name for name, presence in facts.connectors.items() if presence.listed]
        verdict = Verdict.CRITICAL if listed else Verdict.INFO
        return finding(facts, rule, verdict, "neither the key nor the service MSExchangeSA is there")
    if key.exists and not service.exists:
        words = f"the key says {key.text}, and the service MSExchangeSA is not there"
        return finding(facts, rule, Verdict.CRITICAL, words)
    by_service = tidy(program_of(service.image_path).rsplit("\\", 2)[0])
    by_key = tidy(key.text)
    words = f"the key says {by_key or 'nothing'}, the service MSExchangeSA {by_service}"
    if service.exists and not service.readable:
        return finding(facts, rule, Verdict.UNKNOWN, f"{service.name}: {UNREADABLE}")
    same = by_key.lower() == by_service.lower()
    return finding(facts, rule, Verdict.OK if same else Verdict.WARNING, words)


def _disks(facts: HostFacts) -> Finding:
    """Return whether the drives that matter have room."""
    host = facts.host_fact
    assert host is not None, "the caller looked"
    paths = [host.system_root, *(root for root in facts.roots.values() if root)]
    drives = sorted({path[:3].upper() for path in paths if path[1:3] == ":\\"})
    disks = {disk.root.upper(): disk for disk in host.disks}
    short = [d for d in drives if d in disks and disks[d].free < max(GIB, disks[d].total // 20)]
    words = "; ".join(
        f"{d} {disks[d].free / GIB:.1f} of {disks[d].total / GIB:.1f} GiB free"
        if d in disks
        else f"{d} unknown"
        for d in drives
    )
    verdict = Verdict.OK if all(d in disks for d in drives) and drives else Verdict.UNKNOWN
    return finding(
        facts, RULES["host.disk-space"], Verdict.WARNING if short else verdict, words or "no drive"
    )


def judge_presence(facts: HostFacts, name: str, presence: Presence) -> Iterator[Finding]:
    """Given what speaks for a connector, return whether it is listed and whole."""
    evidence = f"found: {names(presence.evidence) or 'nothing'}"
    if presence.missing:
        evidence += f"; not found: {names(presence.missing)}"
    rule, remedy, verdict = RULES["connector.listed"], "", Verdict.OK
    if presence.state == "unknown":
        verdict = Verdict.UNKNOWN
    elif presence.listed and presence.state == "absent":
        verdict = Verdict.CRITICAL
        remedy = f'Take "{name}" out of the host\'s connectors in the inventory, or reinstall the connector.'
    elif presence.listed is False and presence.state == "present":
        verdict = Verdict.WARNING
        remedy = f'Add "{name}" to the host\'s connectors in the inventory: nothing of it is backed up.'
    yield finding(facts, rule, verdict, evidence, name, remedy)
    if presence.state in ("present", "partial"):
        whole = presence.state == "present" and not presence.missing
        verdict = Verdict.OK if whole else Verdict.WARNING
        yield finding(facts, RULES["connector.complete"], verdict, evidence, name)


def judge_release(facts: HostFacts, name: str, releases: Sequence[str]) -> Iterator[Finding]:
    """Given a connector and the releases of Exchange that have it, return whether this host can have one.

    Only of those that Exchange 2003 lacks there is anything to say.
    """
    if "2003" in releases:
        return
    rule, host = RULES["connector.release"], facts.host_fact
    if host is None:
        yield finding(facts, rule, Verdict.UNKNOWN, why(facts, "host"), name)
        return
    fits = host.os_version.startswith("5.0.")
    words = (
        f"only Exchange {' and '.join(releases)} has it, on Windows 2000; Windows here is {host.os_version}"
    )
    yield finding(facts, rule, Verdict.OK if fits else Verdict.INFO, words, name)
