"""How facts become findings. Pure: no clock (facts carry the host's own), no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from exremote.checks.expectation import expectation
from exremote.checks.finding import Finding, Verdict, finding, why
from exremote.checks.functions import FUNCTIONS
from exremote.checks.host import judge_host, judge_presence, judge_release
from exremote.checks.items import judge_items, judge_services, judge_tree
from exremote.checks.rules import RULES
from exremote.connector import Connector, FileTree, Service, matches
from exremote.facts import FileEntry, HostFacts, Presence, in_words
from exremote.health.settling import settled
from exremote.wording import count_text

BASICS: Mapping[str, str] = {
    "host": "what it is",
    "registry": "what its registry has",
    "services": "which services it has",
}
"""The questions that all else hangs on, in words."""


def unasked(facts: HostFacts) -> str:
    """Given facts, return which of the questions that all else hangs on were not answered, and why; or ''."""
    lacking = {name: words for name, words in BASICS.items() if name in facts.unavailable}
    if not lacking:
        return ""
    said = "; ".join(f"the host did not say {words} ({facts.unavailable[n]})" for n, words in lacking.items())
    return with_remedy(said, facts)


def with_remedy(reason: str, facts: HostFacts) -> str:
    """Given a reason, return it with what can be done about it, if anybody knows."""
    remedy = facts.remedy(reason) if reason else ""
    return f"{reason.rstrip('.')}. {remedy}" if remedy else reason


def machine_of(facts: HostFacts) -> str:
    """Given facts, return which machine it is by its own word; '' if it did not say."""
    host = facts.host_fact
    return f"{host.computer_name} in {host.domain}".upper() if host and host.computer_name else ""


def twins(machines: Mapping[str, str]) -> Iterator[tuple[Sequence[str], str]]:
    """Given machines by the inventory's names, yield the names of each that has several, and a sentence."""
    for machine in sorted(set(machines.values()) - {""}):
        same = sorted(name for name, each in machines.items() if each == machine)
        if len(same) > 1:
            yield (
                same,
                f"{' and '.join(same)} are one machine, {machine}, by its own word: it is asked, and saved, "
                "under each name. Correct the addresses in the inventory, or take one of them out.",
            )


def rank(verdict: Verdict) -> int:
    """Given a verdict, return how bad it is, from 0."""
    return verdict.rank


def worst(findings: Iterable[Finding]) -> Verdict:
    """Given findings, return the worst verdict among those that are not accepted; ok if there are none."""
    return max((f.verdict for f in findings if not f.accepted), key=rank, default=Verdict.OK)


def judge(facts: HostFacts, connectors: Mapping[str, Connector]) -> tuple[Finding, ...]:
    """Given facts and the connectors to judge by, return what every check says; worst first."""
    connectors = settled(connectors, facts)
    findings = list(judge_host(facts))
    there: list[Connector] = []
    for name, connector in connectors.items():
        seen = facts.connectors.get(name, Presence(None, (), (), "unknown"))
        findings += judge_presence(facts, name, seen)
        if _is_judged(seen):
            there.append(connector)
    owners = _owners(there)
    services: dict[str, tuple[Service, str]] = {}
    for connector in there:
        for service in connector.services:
            services.setdefault(service.name, (service, owners[service.name]))
    findings += judge_services(facts, services)
    trees = {item.id: item for connector in there for item in connector.file_trees}
    for tree in trees.values():
        working = [s.name for c in there if tree in c.file_trees for s in c.services]
        findings += judge_tree(facts, tree, owners[tree.id], working)
    for connector in there:
        findings += judge_release(facts, connector.name, connector.exchange)
        findings += judge_items(facts, connector, owners)
        for check in connector.checks:
            if check.function:
                findings.append(FUNCTIONS[check.function](facts, check, owners[check.id]))
            else:
                findings.append(expectation(facts, check, owners[check.id], trees))
    # What several connectors share was said once for each of them.
    return tuple(sorted(dict.fromkeys(findings), key=lambda finding: -finding.verdict.rank))


def _is_judged(seen: Presence) -> bool:
    """Given what speaks for a connector, return whether its items are worth a look: a leftover's are not."""
    return seen.state == "present" or (bool(seen.listed) and seen.state in ("partial", "unknown"))


def _owners(connectors: Sequence[Connector]) -> Mapping[str, str]:
    """Given connectors, return whose each item, service and check is; '' if several share it."""
    owners: dict[str, str] = {}
    for connector in connectors:
        claims = [item.id for item in connector.items()]
        claims += [service.name for service in connector.services]
        claims += [check.id for check in connector.checks]
        for name in claims:
            owners[name] = "" if name in owners else connector.name
    return owners


def judge_tables(
    facts: HostFacts, connector: str, item: FileTree, previous: Mapping[str, int]
) -> tuple[Finding, ...]:
    """Given a tree's files with sizes as the last snapshot has them, and facts as they are now, return a
    finding for each table that was emptied or halved, is gone or cannot be read; one that all is well if
    none is.
    """
    rule, tree = RULES["table.shrunk"], facts.trees.get(item.id)
    tables = {
        path: size
        for path, size in previous.items()
        if size > 0 and any(matches(path, pattern) for pattern in item.tables)
    }
    if tree is None:
        return (finding(facts, rule, Verdict.UNKNOWN, why(facts, f"tree {item.id}"), connector),)
    count = len(tables)
    for entry in tree.entries:  # what is well under its own name needs no other look: of a million, most are
        before = tables.get(entry.path)
        if before is not None and _table({entry.path: entry}, entry.path, before)[0] is Verdict.OK:
            del tables[entry.path]
    places = {place for path in tables for place in _on_the_way(path.lower())}
    now = {low: entry for entry in tree.entries if (low := entry.path.lower()) in places}
    findings = []
    for path, before in sorted(tables.items()):
        verdict, words = _table(now, path.lower(), before)
        if verdict is not Verdict.OK:
            findings.append(finding(facts, rule, verdict, f"{path} {words}", connector))
    well = f"{count_text(count, 'table')} compared with the last snapshot"
    return tuple(findings) or (finding(facts, rule, Verdict.OK, well, connector),)


def _on_the_way(path: str) -> list[str]:
    """Given a path, return it and the folders that it lies in."""
    return [path, *(path[:n] for n, char in enumerate(path) if char == "\\")]


def _table(now: Mapping[str, FileEntry], path: str, before: int) -> tuple[Verdict, str]:
    """Given the entries of a tree, a table and its size before, return how it is now, and in words."""
    had = f"it had {count_text(before, 'byte')}"
    for place in _on_the_way(path):
        closed = now.get(place)
        # What is below a link, or a folder that may not be listed, may be there all the same.
        if closed is not None and closed.state in ("unreadable", "reparse"):
            reason = in_words(closed.error_id or "") or "a link to another place"
            return Verdict.UNKNOWN, f"cannot be read ({reason}); {had}"
    after = now.get(path)
    if after is None or after.size < 0:
        return Verdict.CRITICAL, f"is gone; {had}"
    if after.size == 0:
        return Verdict.CRITICAL, f"was emptied; {had}"
    if after.size * 2 <= before:
        return Verdict.WARNING, f"shrank from {before} to {after.size} bytes"
    return Verdict.OK, ""
