"""A plan leaves nothing out in silence: what could not be asked, read or found is a gap, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from exremote.backup import choose, plan_backup
from exremote.connector import Connector
from exremote.connector import NamedFile as FileItem
from exremote.credential import Credential
from exremote.facts import HostFacts, NamedFile, Presence, TreeFact
from exremote.inventory import Host
from exremote.plan import CopyFiles, CopyTree, Plan
from exremote.transfer import is_secret

CONNECTORS = Connector.load_all()
HOST = Host(name="EX1", address="ex1", credential=Credential(kind="environment", username="u", reference="V"))
SEEN = {
    "notes": Presence(None, ("service LME-NOTES", "image"), (), "present"),
    "groupwise": Presence(None, (), ("service LME-GWISE",), "absent"),
    "calendar": Presence(None, (), (), "unknown"),
}
FACTS = HostFacts("EX1", datetime(2026, 11, 22, tzinfo=UTC), connectors=SEEN)


def planned(facts: HostFacts, host: Host = HOST) -> Plan:
    chosen, gaps, _ = choose(host, facts, CONNECTORS, ())
    return plan_backup("EX1", facts, chosen, {}, gaps)


def gaps_of(plan: Plan, connector: str) -> Mapping[str, str]:
    return {gap.what: gap.reason for gap in plan.gaps if connector in gap.connectors and gap.essential}


@pytest.mark.parametrize("question", ["host", "registry", "services"])
def test_an_unanswered_question_leaves_no_connector_out_in_silence(question: str) -> None:
    """Who may be there, and nobody can tell, is a gap; who is there lacks what hangs on the answer."""
    facts = replace(FACTS, unavailable={question: "it broke (Session.BadAnswer)"})
    plan = planned(facts)
    assert plan.connectors == ("notes",)
    for name in ("groupwise", "calendar"):
        assert "it broke" in gaps_of(plan, name)[f"connector {name}"]
    assert "it broke" in gaps_of(plan, "notes")["what hangs on an unanswered question"]


def test_a_connector_that_is_not_there_is_no_gap_when_all_was_answered() -> None:
    plan = planned(FACTS)
    assert not any("groupwise" in gap.connectors for gap in plan.gaps)


def test_a_listed_connector_that_is_not_there_is_a_gap() -> None:
    plan = planned(FACTS, replace(HOST, connectors=("groupwise",)))
    assert "listed, but not found" in gaps_of(plan, "groupwise")["connector groupwise"]


def with_files(item: str, *files: NamedFile) -> Plan:
    return planned(replace(FACTS, files={item: files}))


def item(name: str) -> FileItem:
    return next(i for i in CONNECTORS["notes"].named_files if i.id == name)


def test_a_gap_names_the_place_and_never_a_template() -> None:
    """Nobody knows what is meant by `{notes_data}`."""
    roots = {"notes_data": "D:\\", "notes_program": None}
    gaps = gaps_of(planned(replace(FACTS, roots=roots)), "notes")
    assert gaps["folder D:\\"] == "it was not looked for"
    assert gaps["folder notes-program"] == "its place is unknown"
    assert gaps["file notes-ini"] == gaps["file notes-id"] == "not found"
    assert not any("{" in text for pair in gaps.items() for text in pair)


def test_a_secret_file_is_a_secret_in_the_folder_that_holds_it_too() -> None:
    """An ID file may have any name; a bracket in it is no set of characters."""
    name = r"ids\[x] server.key"
    known = NamedFile(rf"D:\{name}", True, 1, "a" * 64)
    plan = planned(
        replace(
            FACTS,
            files={"notes-id": (known,), "exchconn-ini": (NamedFile(r"D:\Exchconn.ini", True, 1, "b" * 64),)},
            trees={"notes-data": TreeFact("D:\\", True, 1, 1, "d")},
        )
    )
    (tree,) = [step for step in plan if isinstance(step, CopyTree)]
    assert is_secret(name, tree.secret)
    assert not is_secret(r"ids\x server.key", tree.secret)
    assert not is_secret("Exchconn.ini", tree.secret)
    assert [
        (s.root, s.files, s.secret) for s in plan if isinstance(s, CopyFiles) and s.item == "notes-id"
    ] == [(r"D:\ids", ("[x] server.key",), True)]


def test_all_files_of_an_item_are_copied_whatever_folder_they_lie_in() -> None:
    """Two files of one name are two files, below what their folders have in common."""
    assert item("exchconn-ini").take == "all"
    plan = with_files(
        "exchconn-ini",
        NamedFile(r"C:\Exchsrvr\Bin\Exchconn.ini", True, 1, "a" * 64),
        NamedFile(r"C:\Exchsrvr\Conndata\Exchconn.ini", True, 1, "b" * 64),
        NamedFile(r"D:\Exchconn.ini", True, 1, "c" * 64),
    )
    steps = [step for step in plan if isinstance(step, CopyFiles)]
    assert [(s.item, s.root, s.files) for s in steps] == [
        ("exchconn-ini", r"C:\Exchsrvr", (r"Bin\Exchconn.ini", r"Conndata\Exchconn.ini")),
        ("exchconn-ini-2", "D:\\", ("Exchconn.ini",)),
    ]


def test_a_file_that_is_closed_to_us_is_a_gap_beside_those_that_are_not() -> None:
    plan = with_files(
        "exchconn-ini",
        NamedFile(r"C:\Exchsrvr\Bin\Exchconn.ini", False, error="ExRemote.AccessDenied: no"),
        NamedFile(r"C:\Exchsrvr\Conndata\Exchconn.ini", True, 1, "b" * 64),
    )
    assert gaps_of(plan, "notes")[r"file C:\Exchsrvr\Bin\Exchconn.ini"] == "ExRemote.AccessDenied: no"
    assert [s.root for s in plan if isinstance(s, CopyFiles)] == [r"C:\Exchsrvr\Conndata"]


def test_a_better_candidate_that_is_locked_is_a_gap() -> None:
    """The next Notes.ini may be another one: it is saved, and the right one is said to be missing."""
    assert item("notes-ini").take == "first"
    right = NamedFile(r"D:\cfg\Notes.ini", False, error="ExRemote.FileLocked: in use")
    other = NamedFile(r"C:\WINDOWS\Notes.ini", True, 1, "a" * 64)
    assert gaps_of(with_files("notes-ini", right, other), "notes")[r"file D:\cfg\Notes.ini"]
    later = NamedFile(r"D:\cfg\Notes.ini", False, error="ExRemote.FileLocked: in use")
    assert r"file D:\cfg\Notes.ini" not in gaps_of(with_files("notes-ini", other, later), "notes")
