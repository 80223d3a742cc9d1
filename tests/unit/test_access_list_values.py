"""Access lists as values: what a host may say of them, their document, and what of them differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exremote.changes import FileChange, ListChange, SwapFiles
from exremote.connector import Connector
from exremote.facts import (
    INHERIT,
    MADE_UP,
    AccessLists,
    FactError,
    FileEntry,
    accounts_in,
    parse_access_lists,
)
from exremote.plan import ListedItem
from exremote.restore.aim import Content, TreeAim
from exremote.restore.lists import Lists, plan_lists, saved_lists
from exremote.runner.lists import counted, root_of

ROOT = "C:\\Conndata"
BA, STRANGER = "S-1-5-32-544", "S-1-5-21-1-2-3-1001"
ONE = f"O:{BA}D:P(D;OICI;0x2;;;S-1-1-0)(A;OICI;0x1f01ff;;;{BA})"
TWO = f"O:{BA}D:(A;;0x1200a9;;;{STRANGER})"


@pytest.mark.parametrize(
    "line",
    [
        ["0", "D:(XA;;0x1;;;S-1-1-0)", "a"],
        ["0", "D:(A;;FA;;;BA)", "a"],
        ["0", f"{ONE}\x00", "a"],
        ["0", "!Boom", "a"],
        ["0", "", "a"],
        ["1", ONE, "a"],
        ["-1", ONE, "a"],
        ["0", ONE],
        ["0", ONE, "a", "b"],
        ["0" * 5000, ONE, "a"],
    ],
)
def test_what_is_no_list_of_what_was_asked_for_is_refused(line: list[str]) -> None:
    with pytest.raises(FactError):
        parse_access_lists([line], 1)


def test_the_document_says_the_same_and_is_for_people_too() -> None:
    lists = AccessLists({"b": TWO, "": ONE, "A\\c d": ONE}, {"B\\x": "ExRemote.AccessDenied"})
    text = lists.to_text()
    assert text.decode().splitlines()[1:] == [
        f"{ONE}\t.",
        f"{ONE}\tA\\c d",
        f"{TWO}\tb",
        "!ExRemote.AccessDenied\tB\\x",
    ]
    assert AccessLists.from_text(text) == lists
    assert AccessLists.from_text(AccessLists().to_text()) == AccessLists()
    for broken in (b"\xff\n", b"nothing\n", text.replace(b"D:P", b"D:X"), text[: text.index(b"\t.")]):
        with pytest.raises(FactError):
            AccessLists.from_text(broken)


def test_a_root_that_cannot_be_looked_at_says_so_alone() -> None:
    gone, wine = parse_access_lists(
        [["0", "!ExRemote.PathMissing", ""], ["1", "O:S-1-5-21-0-0-0-1000D:(A;;0x1;;;S-1-1-0)", "a"]], 2
    )
    assert (gone.lists, gone.reason) == ({}, "ExRemote.PathMissing")
    assert (wine.lists, wine.reason) == ({}, MADE_UP)
    assert accounts_in(TWO) == {STRANGER}
    assert accounts_in(ONE) == set()


def entry(path: str, state: str = "file", attributes: int = 0x20) -> FileEntry:
    return FileEntry(path, -1 if state == "directory" else 1, 1, attributes, None, state)  # type: ignore[arg-type]


def tree(lists: AccessLists, *files: str, folders: tuple[str, ...] = ()) -> TreeAim:
    content = {name: Content(name, "0" * 64, 1, 1, 32, None) for name in files}  # type: ignore[arg-type]
    return TreeAim("conndata", ROOT, content, {name: name for name in files}, folders=folders, lists=lists)


def planned(
    aim: TreeAim, now: Lists, there: dict[str, FileEntry], *sent: FileChange, anew: bool = False
) -> tuple[list[ListChange], int, list[str]]:
    swap = SwapFiles("conndata", ROOT, "C:\\s", "C:\\a", sent)
    rule = next(t for t in Connector.load_all()["notes"].file_trees if t.id == "conndata")
    step, notes = plan_lists(aim, now, there, swap, (), rule, anew)
    return (list(step.lists), step.inherit, notes) if step else ([], 0, notes)


def test_only_what_differs_or_would_be_lost_is_set() -> None:
    there = {name: entry(name) for name in ("same", "other", "sent", "plain", "tables\\live.tbl", "extra")}
    there |= {"folder": entry("folder", "directory", 0x10), "link": entry("link", "reparse", 0x410)}
    now = Lists(
        {
            "conndata": AccessLists(
                {"same": ONE, "other": TWO, "sent": ONE, "tables\\live.tbl": TWO, "extra": ONE}
            )
        }
    )
    aim = tree(
        AccessLists({"Same": ONE, "Sent": ONE, "folder": ONE, "": TWO, "link": ONE}),
        "same", "other", "sent", "plain", "tables\\live.tbl", "link",
        folders=("folder",),
    )  # fmt: skip
    swaps = (FileChange("sent", "1" * 64, "0" * 64), FileChange("plain", "", "0" * 64))
    changes, inherit, notes = planned(aim, now, there, *swaps)
    assert {(c.path, c.was, c.will) for c in changes} == {
        ("", INHERIT, TWO),
        ("folder", INHERIT, ONE),
        ("other", TWO, INHERIT),
        ("sent", ONE, ONE),
    }
    assert (inherit, notes) == (1, [])
    assert "extra" not in {c.path for c in changes}


def test_a_folder_that_is_made_has_its_list_also_among_what_is_volatile() -> None:
    made, there = "Gwrouter\\new", {"gwrouter\\old": entry("Gwrouter\\old", "directory", 0x10)}
    aim = tree(AccessLists({made: ONE, "Gwrouter\\old": ONE}), folders=(made, "Gwrouter\\old"))
    rule = next(t for t in Connector.load_all()["notes"].file_trees if t.id == "conndata")
    swap = SwapFiles("conndata", ROOT, "C:\\s", "C:\\a", ())
    step, notes = plan_lists(aim, Lists({"conndata": AccessLists()}), there, swap, (made,), rule)
    assert step is not None
    assert (step.lists, notes) == ((ListChange(made, "", ONE),), [])


def test_what_is_not_copied_is_not_looked_at_and_no_list_of_it_is_changed() -> None:
    notes = next(t for t in Connector.load_all()["notes"].file_trees if t.id == "conndata")
    assert root_of(ROOT, notes.left_out).skip == ("Gwrouter\\archive",)
    assert root_of(ROOT, ("Bin\\*", "A\\B\\?*", "*\\?*", "a*\\*", "*.seq", "x")).skip == ("Bin", "A\\B")
    # The folder's list is in no snapshot: that is no word for one that inherits.
    rule = next(t for t in Connector.load_all()["ccmail"].file_trees if "*\\?*" in t.exclude)
    lists = {"sub\\closed": ONE, "sub": ONE}
    saved = counted(AccessLists(lists), ListedItem(rule.id, ("ccmail",), ROOT, (), rule.left_out))
    aim = replace(tree(saved, folders=("sub", "sub\\closed")), item=rule.id)
    there = {path: entry(path, "directory", 0x10) for path in aim.folders}
    swap = SwapFiles(rule.id, ROOT, "C:\\s", "C:\\a", ())
    assert plan_lists(aim, Lists({rule.id: AccessLists(lists)}), there, swap, (), rule) == (None, [])


def test_accounts_that_nobody_knows_and_lists_that_nobody_could_read_are_left_and_named() -> None:
    there = {name: entry(name) for name in ("a", "b", "c")}
    aim = tree(AccessLists({"a": TWO}, {"c": "ExRemote.AccessDenied"}), "a", "b", "c")
    now = AccessLists({"c": ONE}, {"b": "ExRemote.AccessDenied"})
    changes, _, notes = planned(aim, Lists({"conndata": now}, frozenset({STRANGER})), there)
    assert changes == []
    assert f"the account {STRANGER} is unknown to this host" in notes[0]
    assert notes[0].endswith(f": {ROOT}\\a")
    assert notes[1].endswith(f"are not set: {ROOT}\\b, {ROOT}\\c")
    # An account that the host's own lists name is none that somebody brought from elsewhere.
    named = AccessLists({"x": TWO, "c": ONE}, {"b": "ExRemote.AccessDenied"})
    changes, _, notes = planned(aim, Lists({"conndata": named}, frozenset({STRANGER})), there)
    assert [(c.path, c.will) for c in changes] == [("a", TWO)]
    assert len(notes) == 1


def test_after_a_run_that_was_broken_off_each_file_inherits_anew_and_nothing_twice() -> None:
    there = {name: entry(name) for name in ("a", "b")}
    now = Lists({"conndata": AccessLists({"a": ONE})})
    aim = tree(AccessLists({"a": ONE}), "a", "b", "not-there")
    assert planned(aim, now, there) == ([], 0, [])
    changes, inherit, _ = planned(aim, now, there, anew=True)
    assert {(c.path, c.was, c.will) for c in changes} == {("a", ONE, ONE), ("b", INHERIT, INHERIT)}
    assert inherit == 0


def test_what_is_saved_before_is_what_the_plan_touches() -> None:
    swap = SwapFiles("conndata", ROOT, "C:\\s", "C:\\a", (FileChange("Gone", "1" * 64, ""),))
    aim = tree(AccessLists({"a": TWO}), "a")
    there = {"a": entry("a"), "gone": entry("gone")}
    now = Lists({"conndata": AccessLists({"a": ONE, "gone": ONE, "else": ONE})})
    step, _ = plan_lists(aim, now, there, swap, (), None)
    assert step is not None
    found = AccessLists({"a": ONE, "gone": ONE, "else": ONE}, {"other": "ExRemote.ReadFailed"})
    assert saved_lists(step, swap, (), found) == AccessLists({"a": ONE, "gone": ONE})
    # Without a step what is moved away loses its list, too; one that nobody could read is kept as that.
    assert saved_lists(None, swap, (), found) == AccessLists({"gone": ONE})
    assert saved_lists(None, None, ["ELSE"], found) == AccessLists({"else": ONE})
    unread = AccessLists({}, {"Gone": "ExRemote.AccessDenied", "else": "ExRemote.AccessDenied"})
    assert saved_lists(step, swap, (), unread) == AccessLists({}, {"Gone": "ExRemote.AccessDenied"})


def test_without_an_answer_none_is_set_and_that_is_said() -> None:
    aim = tree(AccessLists({"a": ONE}), "a")
    for now in (Lists(why="More than 20000"), Lists({"conndata": AccessLists(reason=MADE_UP)})):
        changes, inherit, notes = planned(aim, now, {"a": entry("a")}, FileChange("a", "", "0" * 64))
        assert (changes, inherit) == ([], 0)
        assert notes == [f"access lists of {ROOT} cannot be read now, so none is set: {now.why or MADE_UP}"]
