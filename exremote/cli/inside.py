"""The commands that look into snapshots: show, diff. They change nothing and ask no host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from exremote.cli import afar
from exremote.cli.common import (
    SNAPSHOT_HELP,
    InventoryOption,
    JsonOption,
    RepositoryOption,
    now,
    repository_path,
    speaking,
)
from exremote.errors import EXIT_BAD_NEWS, RepositoryError, UsageError
from exremote.facts import AccessLists, FactError
from exremote.regfile import RegFileError, differences, parse
from exremote.report import Report, size_text, time_text
from exremote.repository import (
    VOLATILE,
    Composed,
    Document,
    Entry,
    Repository,
    Snapshot,
    own_bytes,
    part_of,
    scopes,
)
from exremote.wording import count_text

LISTS = "access/"
"""Where a snapshot has the access lists of its items."""
LISTED = 20
"""Lines that a person gets of a long list; JSON has all."""


def show(
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT", help=SNAPSHOT_HELP)],
    files: Annotated[bool, typer.Option("--files", help="List every file, too.")] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what one snapshot holds: items, documents, what is missing, what was left out, findings."""
    with speaking(as_json, looks=True) as report:
        place = Repository.open(repository_path(repository, inventory))
        found = place.pick_current(snapshot, now())
        answer = described(place, found, files)
        if as_json:
            report.json(answer)
        else:
            tell(report, answer)


def described(place: Repository, snapshot: Snapshot | Composed, files: bool) -> dict[str, Any]:
    """Given a snapshot, return all that `show` says. Raise IntegrityError if its manifest is damaged.

    Newer tables that lie over it are named, and their files are among the others.
    """
    full, tables = snapshot, None
    if isinstance(snapshot, Composed):
        full, tables = snapshot.full, snapshot.tables
    manifest = snapshot.manifest
    head = manifest.head
    items: dict[str, dict[str, Any]] = {
        item: {"item": item, "files": 0, "bytes": 0, "secret": 0, "root": tree.root}
        for item, tree in manifest.trees.items()
    }
    for entry in manifest.entries:
        row = items.setdefault(
            entry.item, {"item": entry.item, "files": 0, "bytes": 0, "secret": 0, "root": ""}
        )
        row["files"] += 1
        row["bytes"] += entry.size
        row["secret"] += entry.secret
    for item, row in items.items():
        row["access_lists"] = own_lists(snapshot, item)
    assert isinstance(full, Snapshot)
    checks = place.checks(full)
    damage = place.damage_in(full) or (place.damage_in(tables) if tables is not None else "")
    answer: dict[str, Any] = {
        "id": head.id,
        "host": head.host,
        "connector": head.connector,
        "created": head.created,
        "kind": head.kind,
        "state": "damaged" if damage else "done" if head.complete else "incomplete",
        "damage": damage,
        "run": head.run,
        "made_in": head.repository,
        "software": head.software,
        "folder": snapshot.path,
        "files": head.files,
        "bytes": head.bytes,
        "checks": len(checks),
        "last_seen_unchanged": checks[-1].at if checks else None,
        "tables": None
        if tables is None
        else {"id": tables.id, "created": tables.created, "last_true": place.last_true(tables, now())},
        "items": list(items.values()),
        "documents": [{"name": d.stored, "bytes": d.size, "sha256": d.sha256} for d in manifest.documents],
        "elsewhere": afar.unseen(place, afar.distant_of([full])),
        "missing": [{"path": o.path, "reason": o.reason} for o in manifest.missing],
        "omitted": [{"path": o.path, "reason": o.reason} for o in manifest.omitted],
        "findings": [dict(f) for f in manifest.findings],
    }
    if files:
        answer["entries"] = [
            {
                "item": e.item,
                "path": e.path,
                "stored": e.stored,
                "bytes": e.size,
                "modified": e.modified,
                "attributes": e.attributes,
                "sha256": e.sha256,
                "secret": e.secret,
            }
            for e in manifest.entries
        ]
    return answer


def tell(report: Report, answer: Mapping[str, Any]) -> None:
    """Given what `show` says, print it for a person."""
    report.line(f"snapshot    {answer['host']}/{answer['id']}")
    for key in ("connector", "created", "kind", "state", "run", "software", "folder"):
        value = time_text(answer[key]) if key == "created" else answer[key]
        more = f": {answer['damage']}" if key == "state" and answer["damage"] else ""
        report.line(f"{key:<12}{value}{more}")
    report.line(f"{'size':<12}{count_text(answer['files'], 'file')}, {size_text(answer['bytes'])}")
    seen = answer["last_seen_unchanged"]
    checked = (
        f"{count_text(answer['checks'], 'check')}, the last {time_text(seen)}" if seen else "no check yet"
    )
    report.line(f"{'unchanged':<12}{checked}")
    if over := answer["tables"]:
        made, seen = time_text(over["created"]), time_text(over["last_true"])
        report.line(f"{'tables':<12}newer, of {made}, the host's at {seen}: {answer['host']}/{over['id']}")
    rows = [{**row, "size": size_text(row["bytes"])} for row in answer["items"]]
    columns = ["item", "files", "size", "root"]
    if any(row["access_lists"] is not None for row in rows):
        columns.append("access_lists")
    report.rows("Items", columns, rows, nothing="no items")
    rows = [{**row, "size": size_text(row["bytes"])} for row in answer["documents"]]
    report.rows("Documents", ["name", "size"], rows, nothing="no documents")
    for row in answer["elsewhere"]:
        size, where = size_text(row["bytes"]), afar.where(row["place"])
        report.line(f"on the {where}: {row['place']} ({size}, SHA-256 {row['sha256']}): {row['said']}")
    for title in ("missing", "omitted"):
        some = answer[title]
        for row in some if title == "missing" else some[:LISTED]:
            report.line(f"{title}: {row['path']}: {row['reason']}")
        if title == "omitted" and len(some) > LISTED:
            report.line(f"omitted: {len(some) - LISTED} more; --json has them all")
    for finding in answer["findings"]:
        words = [str(finding[key]) for key in ("verdict", "check", "evidence") if finding.get(key)]
        words = ["accepted", *words] if finding.get("accepted") else words
        said = finding.get("accepted") or finding.get("remedy")
        remedy = f" -> {said}" if said else ""
        report.line(f"finding: {': '.join(words)}{remedy}")
    rows = [{**row, "size": size_text(row["bytes"])} for row in answer.get("entries", ())]
    if "entries" in answer:
        report.rows("Files", ["item", "path", "size", "modified", "sha256"], rows, nothing="no files")


def diff(
    old: Annotated[str, typer.Argument(metavar="A", help=f"The earlier snapshot. {SNAPSHOT_HELP}")],
    new: Annotated[str, typer.Argument(metavar="B", help="The later one.")],
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 5 if they differ; without it the code is 0.")
    ] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs from A to B: files, registry values, services, other documents, what is missing.

    Times and attributes of files, and records of the asking itself, are not differences.
    """
    with speaking(as_json, looks=True) as report:
        place = Repository.open(repository_path(repository, inventory))
        first, second = place.pick_current(old, now()), place.pick_current(new, now())
        rows = list(files_between(*parts_to_compare(first, second)))
        alike = first.kind == second.kind or "tables" not in (first.kind, second.kind)
        if alike:
            rows += [*documents_between(first, second), *missing_between(first, second)]
        if as_json:
            name_a, name_b = f"{first.host}/{first.id}", f"{second.host}/{second.id}"
            report.json({"a": name_a, "b": name_b, "differ": bool(rows), "changes": rows})
        else:
            if not alike:
                report.note(
                    "note: one of the two holds tables alone: nothing else is held against each other"
                )
            if (first.host, first.connector) != (second.host, second.connector):
                report.note(
                    f"note: {first.host} {first.connector} is held against {second.host} {second.connector}"
                )
            columns = ["what", "kind", "where", "name", "old", "new"]
            report.rows(f"{first.id} and {second.id}", columns, rows, nothing="no difference")
        if rows and exit_code:
            raise typer.Exit(EXIT_BAD_NEWS)


def parts_to_compare(
    old: Snapshot | Composed, new: Snapshot | Composed
) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """Given two snapshots, return the files that can be held against each other: of tables and a full one,
    those of the tables' folder. Raise UsageError if the tables are of another place.
    """
    if "tables" not in (old.kind, new.kind) or old.kind == new.kind:
        return old.manifest.entries, new.manifest.entries
    if new.kind != "tables":
        after, before = parts_to_compare(new, old)
        return before, after
    covered = scopes(old.manifest, new.manifest)
    if covered is None:
        raise UsageError(
            f"{old.id} and {new.id} hold tables of two places.",
            "Compare two snapshots of one host's connector.",
        )
    folders = ((item, folder.rstrip("\\")) for item, folder in covered.items())
    parts = [e for item, folder in folders for e in part_of(old.manifest, item, folder)]
    return parts, new.manifest.entries


def files_between(old: Sequence[Entry], new: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """Given the files of two snapshots, return a row for each that is not the same content in both."""
    before = {(e.item, e.path): e for e in old}
    after = {(e.item, e.path): e for e in new}
    for key in sorted(before.keys() | after.keys()):
        a, b = before.get(key), after.get(key)
        if a is None or b is None or a.sha256 != b.sha256:
            what = "added" if a is None else "removed" if b is None else "changed"
            yield _row(what, "file", key[0], key[1], _size(a), _size(b)) | {
                "old_bytes": a.size if a else None,
                "new_bytes": b.size if b else None,
            }


def _size(entry: Entry | None) -> str | None:
    return None if entry is None else size_text(entry.size)


def _row(what: str, kind: str, where: str, name: str, old: str | None, new: str | None) -> dict[str, Any]:
    return {"what": what, "kind": kind, "where": where, "name": name, "old": old, "new": new}


def documents_between(old: Snapshot | Composed, new: Snapshot | Composed) -> Iterator[dict[str, Any]]:
    """Given two snapshots, return rows for their documents: by value, by service, or as a whole."""
    before, after = documents(old), documents(new)
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name), after.get(name)
        if a is not None and b is not None and a.sha256 == b.sha256:
            continue
        texts = (old.document(a) if a else None, new.document(b) if b else None)
        try:
            if name.startswith("registry/"):
                yield from registry_between(name, *texts)
                continue
            if name == "services.json":
                yield from services_between(*texts)
                continue
            if name.startswith(LISTS):
                yield from lists_between(name, *texts)
                continue
        except (RegFileError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass  # not in the form that we know: it differs, and that is all that can be said
        what = "added" if a is None else "removed" if b is None else "changed"
        sizes = (size_text(d.size) if d else None for d in (a, b))
        yield _row(what, "document", name, "", *sizes)


def documents(snapshot: Snapshot | Composed) -> dict[str, Document]:
    """Given a snapshot, return its documents by name, without those that differ from run to run anyway."""
    volatile = tuple(v.removesuffix("*") for v in VOLATILE)
    return {
        d.stored: d
        for d in snapshot.manifest.documents
        if d.stored != "SHA256SUMS" and not d.stored.startswith(volatile)
    }


_NO_KEYS = "Windows Registry Editor Version 5.00\n".encode("utf-16")


def registry_between(name: str, old: bytes | None, new: bytes | None) -> list[dict[str, Any]]:
    """Given the texts of an exported key, return a row for each key and value that differs."""
    rows = [
        _row(
            change.what,
            "registry key" if change.name is None else "registry value",
            change.key,
            "" if change.name is None else change.name or "(default)",
            change.old.text if change.old else None,
            change.new.text if change.new else None,
        )
        for change in differences(parse(old or _NO_KEYS), parse(new or _NO_KEYS))
    ]
    # The same values in another order, or another end of lines: the text differs, the registry does not.
    return [row | {"document": name} for row in rows]


def services_between(old: bytes | None, new: bytes | None) -> list[dict[str, Any]]:
    """Given the texts of services.json, return a row for each fact about a service that differs."""
    before, after = ({s["name"]: s for s in json.loads(text or b"[]")} for text in (old, new))
    rows = []
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name), after.get(name)
        if a is None or b is None:
            states = (s.get("state", "") if s else None for s in (a, b))
            rows.append(_row("added" if a is None else "removed", "service", name, "", *states))
            continue
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                values = (_text(s.get(key)) for s in (a, b))
                rows.append(_row("changed", "service", name, key, *values))
    return rows


def lists_between(name: str, old: bytes | None, new: bytes | None) -> Iterator[dict[str, Any]]:
    """Given the access lists of an item in two snapshots, return a row for each that differs; of one that has
    not looked for them nobody can tell, and that is said in a row.
    """
    item = name.removeprefix(LISTS).removesuffix(".tsv")
    if old is None or new is None:
        said = [None if text is None else "looked for" for text in (old, new)]
        yield _row("added" if old is None else "removed", "access lists", item, "", *said)
        return
    before, after = AccessLists.from_text(old), AccessLists.from_text(new)
    rows = [{**one.lists, **{p: f"unread: {e}" for p, e in one.unread.items()}} for one in (before, after)]
    for path in sorted(rows[0].keys() | rows[1].keys()):
        a, b = (found.get(path) for found in rows)
        if a != b:
            what = "added" if a is None else "removed" if b is None else "changed"
            yield _row(what, "access list", item, path, a, b)


def own_lists(snapshot: Snapshot | Composed, item: str) -> int | None:
    """Given a snapshot and an item, return how many access lists of its own it has; None if it has not looked
    for them, or if what it has cannot be read: `verify` names that.
    """
    found = next((d for d in snapshot.manifest.documents if d.stored == f"{LISTS}{item}.tsv"), None)
    if found is None:
        return None
    with suppress(FactError, RepositoryError):
        return len(AccessLists.from_text(snapshot.document(found)).lists)
    return None


def _text(value: object) -> str | None:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return None if value is None else str(value)


def missing_between(old: Snapshot | Composed, new: Snapshot | Composed) -> list[dict[str, Any]]:
    """Given two snapshots, return a row for each thing that only one of them lacks."""
    before = {o.path: o.reason for o in old.manifest.missing}
    after = {o.path: o.reason for o in new.manifest.missing}
    return [
        _row("removed" if path in before else "added", "missing", path, "", before.get(path), after.get(path))
        for path in sorted(before.keys() ^ after.keys())
    ]


def total_sizes(place: Repository) -> tuple[dict[tuple[str, str], int], int, int]:
    """Given a repository, return the bytes only one snapshot names, by snapshot, all named, and kept."""
    manifests = {}
    for snapshot in place.snapshots():
        with suppress(RepositoryError):
            manifests[snapshot.host, snapshot.id] = snapshot.manifest
    contents = {e.sha256: e.size for m in manifests.values() for e in m.entries}
    documents = sum(d.size for m in manifests.values() for d in m.documents)
    named = sum(e.size for m in manifests.values() for e in m.entries) + documents
    return own_bytes(manifests), named, sum(contents.values()) + documents
