"""What is on a host now, as far as an aim is about it. It reads, and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from exremote import health, regfile
from exremote.connector import Connector
from exremote.credential import Secret as Account
from exremote.errors import ExremoteError, PlanRefused, ScriptFailed
from exremote.facts import FileEntry
from exremote.health.reading import read_files
from exremote.inventory import Host
from exremote.pack import Listing, parse_listing
from exremote.regfile import RegFile
from exremote.repository import Snapshot
from exremote.restore.aim import Aim, KeyAim, TreeAim
from exremote.restore.planning import Standing, rule_of
from exremote.session import Session


def look(
    session: Session,
    host: Host,
    aim: Aim,
    connectors: Mapping[str, Connector],
    *,
    known: Mapping[str, Listing],
    now: datetime,
    api_account: Account | ExremoteError | None,
    probe: bool = False,
) -> Standing:
    """Given an open session and what is wanted, ask what is there instead. `known` are listings of the trees.

    Raise HostError if the host is lost, or something that a restore hangs on cannot be read.
    """
    facts = health.collect(
        session, host, connectors, probe=probe, now=now, trees="list", api_account=api_account
    )
    if unasked := health.unasked(facts):
        raise PlanRefused(f"{host.name}: {unasked}", "`exremote doctor` says what is in the way.")
    trees = {tree.item: _tree(session, host, tree, connectors, known.get(tree.item)) for tree in aim.trees}
    return Standing(facts, trees, {key.item: _key(session, key) for key in aim.keys})


def listings(snapshots: Sequence[Snapshot]) -> dict[str, Listing]:
    """Given snapshots, return the listing of each tree in them: of what is the same nothing has to travel."""
    found: dict[str, Listing] = {}
    for snapshot in snapshots:
        for item, tree in snapshot.manifest.trees.items():
            with suppress(OSError, ValueError):  # without it, one full listing travels
                listing = parse_listing((snapshot.path / "trees" / f"{item}.tsv").read_bytes())
                if tree.digest and listing.digest == tree.digest:
                    found[item] = listing
    return found


def _tree(
    session: Session,
    host: Host,
    tree: TreeAim,
    connectors: Mapping[str, Connector],
    known: Listing | None,
) -> dict[str, FileEntry]:
    """Given a folder, return what lies in it now, by path in lower case."""
    rule = rule_of(tree.item, connectors)
    if rule is not None:
        fact = session.file_tree(tree.root, rule.left_out, known)
        return {entry.path.casefold(): entry for entry in fact.entries}
    names = list(tree.spelt.values())
    found: dict[str, FileEntry] = {}
    try:
        answers = read_files(session, host.name, tree.root, names) if names else []
    except ScriptFailed as error:
        if error.error_id != "ExRemote.PathMissing":
            raise
        return found  # a server that was made anew: not even the folder is there
    for name, (file, _) in zip(names, answers, strict=True):
        if file.exists or file.error:
            digest = file.sha256 if file.exists else None
            found[name.casefold()] = FileEntry(
                name,
                file.size,
                file.modified_ticks,
                file.attributes,
                digest,
                "file" if digest else "unreadable",
            )
    return found


def _key(session: Session, key: KeyAim) -> RegFile | None:
    """Given a registry item, return it as it is now; None if it is not there."""
    export = session.export_registry_key(short_key(key.key))
    return regfile.parse(export.data) if export.exists else None


def short_key(key: str) -> str:
    r"""Given a key as an export spells it, return it as scripts take it: `HKLM\...`."""
    top, _, rest = key.partition("\\")
    return f"HKLM\\{rest}" if top.upper() == "HKEY_LOCAL_MACHINE" else key
