"""What is asked of the new machine for each step, and handed to `checks`. It changes nothing there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from exremote import regfile
from exremote.connector import below
from exremote.errors import ScriptFailed
from exremote.facts import HostFact
from exremote.folding import folded
from exremote.recover import checks
from exremote.recover.bringing import READ_ME, read_me
from exremote.recover.instructions import temporary
from exremote.recover.original import BUILD, SETUP_FOLDER, document
from exremote.recover.steps import Evidence, RecoveryPlan
from exremote.regfile import RegFile
from exremote.repository import Repository
from exremote.session import Session

SETUP = r"HKLM\SOFTWARE\Microsoft\Exchange\Setup"
PENDING = "restore.env"
"""What a restore leaves until its hard recovery (aa996213)."""
DATABASES = ("priv1.edb", "pub1.edb")
"""The databases of a first storage group, in Mdbdata; others have names that a site gave them."""


def after_reinstall(plan: RecoveryPlan, session: Session, fact: HostFact, place: str) -> Iterator[Evidence]:
    """Given where the new machine answers, ask it what step 4 wants to know."""
    states = session.service_states([checks.STORE])
    yield from checks.reinstalled(plan.original, fact, states[0] if states else None, place)


def stranger(plan: RecoveryPlan, session: Session) -> str:
    """Given a session at the old address, return why that is not the new machine; empty if it is.

    What was brought lies there still, for a System State leaves files alone. The lost server has none of it.
    """
    path = below(plan.folder, READ_ME)
    (there,) = session.file_facts([path])
    if there.exists and there.sha256 == hashlib.sha256(read_me(plan)).hexdigest():
        return ""
    return f"another machine answers there: it has no {path} as it was brought; the lost server, perhaps"


def after_return(
    plan: RecoveryPlan, repository: Repository, session: Session, fact: HostFact
) -> Iterator[Evidence]:
    """Ask the machine what step 5 wants to know."""
    yield from checks.returned(plan.original, fact)
    saved = plan.part("systemstate")
    if saved is None:
        yield Evidence("registry", "unknown", "the repository has no System State to compare with")
    else:
        was = _exports(repository, saved.snapshot)
        now: dict[str, RegFile | None] = {}
        for key in was:
            export = session.export_registry_key(key)
            now[key] = regfile.parse(export.data) if export.exists else None
        yield from checks.registry(was, now, saved.snapshot)
    if plan.original.registered:
        yield from checks.registered(
            plan.original.registered, session.service_states(plan.original.registered)
        )


def _exports(repository: Repository, name: str) -> dict[str, RegFile]:
    """Given a snapshot of a System State, return its registry texts by their key."""
    snapshot = repository.find(name)
    found: dict[str, RegFile] = {}
    for one in snapshot.manifest.documents:
        if one.stored.startswith("registry/") and (data := document(snapshot, one.stored)):
            text = regfile.parse(data)
            if text.keys:
                found[next(iter(text.keys)).replace("HKEY_LOCAL_MACHINE", "HKLM", 1)] = text
    return found


def after_setup(plan: RecoveryPlan, session: Session) -> Iterator[Evidence]:
    """Ask the machine what step 6 wants to know."""
    names = (SETUP_FOLDER, *BUILD)
    folder, *builds = session.registry_values([(SETUP, name) for name in names])
    states = session.service_states([*checks.BASE, *plan.original.registered])
    yield from checks.installed(plan.original, folder, builds, states)


def after_groups(plan: RecoveryPlan, session: Session) -> Iterator[Evidence]:
    """Ask the machine what step 7 wants to know."""
    states = session.service_states([checks.STORE])
    place = temporary(plan.folder)
    waiting: list[str] = []
    with suppress(ScriptFailed):  # a temporary place that cannot be looked into says nothing
        for entry in session.file_tree(place, hashed=False).entries:
            if folded(entry.path).rpartition("\\")[2] == PENDING:
                waiting.append(below(place, entry.path))
    folder = below(plan.original.exchange_folder or "", "Mdbdata")
    databases = session.file_facts([below(folder, name) for name in DATABASES], hashed=False)
    yield from checks.groups_restored(states[0] if states else None, waiting, databases, folder)
