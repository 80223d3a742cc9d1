"""What is on a host now, as far as an aim is about it. It reads, and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from exremote import health, regfile
from exremote.connector import Connector
from exremote.credential import Secret as Account
from exremote.errors import ExremoteError, PlanRefused, ScriptFailed
from exremote.facts import FileEntry, accounts_in, reason_of
from exremote.folding import folded
from exremote.health.reading import read_files
from exremote.inventory import Host
from exremote.pack import Listing, parse_listing
from exremote.regfile import RegFile
from exremote.repository import Snapshot
from exremote.restore.aim import Aim, KeyAim, TreeAim
from exremote.restore.lists import Lists
from exremote.restore.planning import Standing, rule_of
from exremote.runner import root_of
from exremote.session import ListRoot, Session

FOLDER_MISSING = "ExRemote.PathMissing"
"""What a script says of a folder that is not there."""


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
    strangers: bool = False,
) -> Standing:
    """Given an open session and what is wanted, ask what is there instead. `known` are listings of the trees.

    `strangers`: the host is asked whether it knows the accounts that access lists are to name.

    Raise HostError if the host is lost, or something that a restore hangs on cannot be read.
    """
    facts = health.collect(
        session, host, connectors, probe=probe, now=now, trees="list", api_account=api_account
    )
    if unasked := health.unasked(facts):
        raise PlanRefused(f"{host.name}: {unasked}", "`exremote doctor` says what is in the way.")
    trees = {tree.item: _tree(session, host, tree, connectors, known.get(tree.item)) for tree in aim.trees}
    keys = {key.item: _key(session, key) for key in aim.keys}
    return Standing(facts, trees, keys, _lists(session, aim, connectors, strangers))


def _lists(session: Session, aim: Aim, connectors: Mapping[str, Connector], strangers: bool) -> Lists:
    """Given what is wanted, return the access lists that are there now, where any are wanted."""
    roots: dict[str, ListRoot] = {}
    accounts: set[str] = set()
    for tree in aim.trees:
        if tree.lists is None:
            continue
        rule = rule_of(tree.item, connectors)
        if rule is not None:
            roots[tree.item] = root_of(tree.root, rule.left_out)
        elif names := named(tree):
            roots[tree.item] = ListRoot(tree.root, tuple(names))
        accounts.update(sid for sddl in tree.lists.lists.values() for sid in accounts_in(sddl))
    try:
        found, unknown = session.access_lists(list(roots.values()), sorted(accounts) if strangers else ())
    except ScriptFailed as error:
        return Lists(why=reason_of(error))
    return Lists(dict(zip(roots, found, strict=True)), unknown)


def named(tree: TreeAim) -> list[str]:
    """Given single files, return their relative paths, each once."""
    return list({folded(path): path for path in (*tree.listed, *tree.spelt.values())}.values())


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
        # Work files are left out, so no digest tells of them: only the whole listing says which lie there.
        fact = session.file_tree(tree.root, rule.left_out, None if rule.work_files else known)
        return {folded(entry.path): entry for entry in fact.entries}
    names = named(tree)
    found: dict[str, FileEntry] = {}
    try:
        answers = read_files(session, host.name, tree.root, names) if names else []
    except ScriptFailed as error:
        if error.error_id != FOLDER_MISSING:
            raise
        return {}  # with its folder the file is gone, too
    for name, (file, _) in zip(names, answers, strict=True):
        if file.exists or file.error:
            digest = file.sha256 if file.exists else None
            found[folded(name)] = FileEntry(
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
