"""Judges the expectations that connector files state as data. It never asks a host, and it has no clock.

The facts and operators are closed lists (`connector.FACTS`, `connector.OPERATORS`); what they cannot say
is a function next door (`functions`). What could not be looked at is unknown, never ok.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from exremote.checks.finding import (
    API_REMEDY,
    MANY,
    Finding,
    Verdict,
    clock,
    finding,
    listed,
    modified,
    names,
    why,
)
from exremote.connector import Check, FileTree, below, matches
from exremote.facts import EventCount, FileEntry, HostFacts, in_words
from exremote.wording import count_text

_EVENTS = re.compile(r"([^\\|:]+):([0-9]+(?:,[0-9]+)*)")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check looked at: a value and the words for it, or why it could not look."""

    value: object = None
    evidence: str = ""
    unknown: str = ""
    remedy: str = ""


def expectation(facts: HostFacts, check: Check, connector: str, items: Mapping[str, FileTree]) -> Finding:
    """Given a check as data, look at its fact and return the finding."""
    seen = look(facts, check, items)
    if seen.unknown:
        return finding(facts, check, Verdict.UNKNOWN, seen.unknown, connector, seen.remedy)
    verdict = Verdict.OK if holds(check, seen.value, clock(facts)) else Verdict(check.severity)
    return finding(facts, check, verdict, seen.evidence, connector)


def holds(check: Check, value: object, now: datetime) -> bool:
    """Given what was seen, return whether it is what the check expects."""
    expect = check.expect
    assert expect is not None, "validated at load"
    match expect.operator:
        case "equals":
            return str(value).lower() == str(expect.equals).lower()
        case "one_of":
            return str(value).lower() in [text.lower() for text in expect.one_of or ()]
        case "at_most" | "at_least":
            assert isinstance(value, int), f"{check.id}: {check.fact} is no number"
            return (expect.at_most is None or value <= expect.at_most) and (
                expect.at_least is None or value >= expect.at_least
            )
        case "newer_than":
            return value is None or _age(now, value) <= expect.seconds
        case "older_than":
            return value is not None and _age(now, value) > expect.seconds
        case "exists":
            return bool(value)
    return not value


def _age(now: datetime, value: object) -> float:
    assert isinstance(value, datetime), "only times have an age"
    return (now - value).total_seconds()


def look(facts: HostFacts, check: Check, items: Mapping[str, FileTree]) -> Seen:
    """Given a check as data, return what its fact is on this host."""
    kind, *path = check.fact.split(".")
    match kind:
        case "service":
            return _look_service(facts, path[0], path[1])
        case "tree":
            return _look_tree(facts, check, path[0], path[1])
        case "file":
            files = facts.files.get(path[0])
            if files is None:
                return Seen(unknown=why(facts, f"file {path[0]}"))
            there = [file.path for file in files if file.exists]
            return Seen(bool(there), names(there) or "not found")
        case "table":
            return _look_tables(facts, check, path[0], items)
        case "notes_ini":
            return _look_notes_ini(facts, path[0])
        case "registry":
            return _look_registry(facts, check, path[0])
        case "api":
            return _look_api(facts, path[0], path[1], path[2])
    return _look_events(facts, check)


def _look_service(facts: HostFacts, name: str, what: str) -> Seen:
    service = facts.service(name)
    if service is None:
        return Seen(unknown=why(facts, "services"))
    value = {"state": service.state, "start_mode": service.start_mode, "exists": service.exists}[what]
    return Seen(value, f"{name}: {value or 'not there'}")


def _look_tree(facts: HostFacts, check: Check, item: str, what: str) -> Seen:
    tree = listed(facts, item)
    if isinstance(tree, str):
        known = facts.trees.get(item)
        return Seen(known.exists, known.path) if known and what == "exists" else Seen(unknown=tree)
    if what == "exists":
        return Seen(True, tree.path)
    where = check.where or ("*",)
    for entry in tree.entries:
        prefix = f"{entry.path}\\".lower()
        if entry.size < 0 and entry.error_id and any(p.lower().startswith(prefix) for p in where):
            return Seen(
                unknown=f"{below(tree.path, entry.path)} cannot be listed: {in_words(entry.error_id)}"
            )
    count = size = 0
    first: list[str] = []
    oldest: FileEntry | None = None
    for entry in tree.entries:
        if entry.size >= 0 and any(matches(entry.path, pattern) for pattern in where):
            count, size = count + 1, size + entry.size
            first += [entry.path] if len(first) < MANY else []
            if oldest is None or entry.modified_ticks < oldest.modified_ticks:
                oldest = entry
    evidence = f"{count_text(count, 'file')}, {count_text(size, 'byte')} in {names(where)}"
    if oldest is not None:
        evidence += f": {names(first, count)}; the oldest is of {modified(oldest):%Y-%m-%d %H:%M} UTC"
    when = None if oldest is None else modified(oldest)
    return Seen({"count": count, "bytes": size, "oldest": when}[what], evidence)


def _look_tables(facts: HostFacts, check: Check, what: str, items: Mapping[str, FileTree]) -> Seen:
    read = [t for t in facts.tables if any(matches(t.path, f"*\\{pattern}") for pattern in check.where)]
    done = {table.path.lower() for table in read}
    unread = [
        path
        for item, tree in facts.trees.items()
        if item in items
        for entry in tree.entries
        if entry.size >= 0 and any(matches(entry.path, pattern) for pattern in check.where)
        if (path := below(tree.path, entry.path)).lower() not in done
    ]
    if what == "lines":
        worst = max((t.lines for t in read), default=0)
        evidence = "; ".join(f"{t.path}: {count_text(t.lines, 'line')}" for t in read)
    else:
        worst = sum(len(t.tab_lines) for t in read)
        evidence = "; ".join(
            f"{t.path}: tabs in line {names(map(str, t.tab_lines))}" for t in read if t.tab_lines
        )
        evidence = evidence or f"no tabs in {names(t.path for t in read)}"
    if (unread or not read) and holds(check, worst, clock(facts)):
        reasons = [facts.unavailable.get(f"table {path}", f"{path} was not read") for path in unread]
        refused = facts.unavailable.get("tables") if unread else ""
        return Seen(unknown=refused or names(reasons) or f"no table {names(check.where)} was seen")
    return Seen(worst, evidence)


def _look_notes_ini(facts: HostFacts, what: str) -> Seen:
    ini = facts.notes_ini
    if ini is None:
        return Seen(unknown=why(facts, "file notes-ini"))
    if what == "exists":
        return Seen(ini.exists, ini.path)
    if not ini.exists:
        return Seen(unknown="no Notes.ini could be read")
    value = {"section": ini.has_section, "kittype": ini.has_kittype, "directory": ini.directory}[what]
    words = {"section": "[Notes]", "kittype": "KitType=1", "directory": f"Directory={ini.directory}"}[what]
    return Seen(value, f"{ini.path}: {words}" if value else f"{ini.path} lacks the line {words}")


def _look_registry(facts: HostFacts, check: Check, what: str) -> Seen:
    key, _, name = check.where[0].partition("|")
    value = facts.value(key, name)
    if value is None:
        return Seen(unknown=why(facts, "registry"))
    words = f"{name}={value.text}" if value.exists else f"{key} has no value {name}"
    return Seen(value.text if what == "text" else value.exists, words)


def _look_api(facts: HostFacts, item: str, queue: str, what: str) -> Seen:
    directory = facts.api_directories.get(item)
    if directory is None:
        return Seen(unknown=why(facts, f"api {item}"))
    if directory.reason_unknown or not directory.exists:
        reason = directory.reason_unknown or f"{directory.path} could not be seen"
        return Seen(unknown=reason, remedy="" if directory.credential_given else API_REMEDY)
    fact = next((q for q in directory.queues if q.queue.lower() == queue.lower()), None)
    if fact is None or (not fact.exists and what != "exists"):
        return Seen(unknown=f"{below(directory.path, queue)} could not be seen")
    oldest = f", the oldest of {fact.oldest:%Y-%m-%d %H:%M} UTC" if fact.oldest else ""
    files = count_text(fact.files, "file")
    evidence = f"{queue}: {files}, {count_text(fact.bytes, 'byte')}, {fact.zero_byte} empty{oldest}"
    if what == "oldest_empty" and fact.zero_byte:
        if fact.oldest_empty is None:
            return Seen(unknown=f"{evidence}; how old the empty ones are is not known")
        evidence += f", the oldest empty one of {fact.oldest_empty:%Y-%m-%d %H:%M} UTC"
    return Seen(getattr(fact, what), evidence)


def _look_events(facts: HostFacts, check: Check) -> Seen:
    if "events" in facts.unavailable or not facts.event_hours:
        return Seen(unknown=why(facts, "events"))
    wanted = set(event_ids(check))
    found = [e for e in facts.events if (e.source.lower(), e.event_id) in wanted]
    evidence = "; ".join(
        f"{e.source} {e.event_id}: {count_text(e.count, 'time')}, "
        f"last {e.last:%Y-%m-%d %H:%M} UTC: {e.message}"
        for e in found
    )
    return Seen(sum(e.count for e in found), evidence or f"none in the last {facts.event_hours} hours")


def failures(events: Iterable[EventCount], checks: Iterable[Check]) -> Iterator[EventCount]:
    """Given events, yield those of which a check says that there should be none: others are no failures."""
    wanted = {pair for check in checks if check.fact == "event.count" for pair in event_ids(check)}
    return (event for event in events if (event.source.lower(), event.event_id) in wanted)


def event_ids(check: Check) -> Iterator[tuple[str, int]]:
    """Given a check, return source (in lower case) and number of each event that it looks at, in order."""
    for where in check.where:
        if found := _EVENTS.fullmatch(where):
            for number in found[2].split(","):
                yield found[1].lower(), int(number)
