"""Connector files: every one loads, says its sources, and errors name the place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from exremote.connector import (
    FOLDER,
    Connector,
    Expect,
    Sign,
    below,
    expand,
    matches,
    presence,
    program_of,
    resolve_roots,
    root_queries,
    root_services,
    settle,
    tidy,
)
from exremote.errors import ConnectorError

ALL = Connector.load_all()
SETUP = (r"hklm\software\microsoft\exchange\setup", "services")

SMALL = r"""
name = "small"
title = "Small"
exchange = ["2003"]
source = "a test"

[roots.one]
registry = 'HKLM\SOFTWARE\One'
value = "Path"
source = "a test"

[[file_tree]]
id = "tree"
path = "{one}"
source = "a test"

[[service]]
name = "SVC"
source = "a test"

[[presence]]
service = "SVC"
source = "a test"

[[check]]
id = "small.check"
title = "All is well"
fact = "tree.tree.count"
expect = { at_most = 0 }
severity = "warning"
remedy = "Mend it."
source = "a test"
"""


def load(folder: Path, text: str, name: str = "small") -> Connector:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return Connector.load(path)


def test_the_five_connectors_are_there() -> None:
    assert list(ALL) == ["calendar", "ccmail", "groupwise", "msmail", "notes"]


def test_services_stand_in_order_of_start() -> None:
    assert [s.name for s in ALL["groupwise"].services] == ["MSExchangeCoCo", "MSExchangeGWRtr", "LME-GWISE"]
    assert [s.name for s in ALL["notes"].services] == ["MSExchangeCoCo", "LME-NOTES"]
    assert [s.name for s in ALL["calendar"].services] == ["MSExchangeCoCo", "MSExchangeCalCon"]


def test_the_router_gets_more_than_three_minutes_to_stop() -> None:
    """It may sleep for three minutes while it reconnects (Q201147)."""
    router = next(s for s in ALL["groupwise"].services if s.name == "MSExchangeGWRtr")
    assert router.stop_deadline_s > 180


def test_conndata_is_one_item_of_both() -> None:
    notes, groupwise = (ALL[name].file_trees[0] for name in ("notes", "groupwise"))
    assert notes == groupwise
    assert notes.shared
    assert notes.left_out == (r"Gwrouter\archive\?*", "*.seq", "*.ck")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda p: p.stem)
def test_no_fact_without_a_source(path: Path) -> None:
    """Each table of an item, a service, a sign, a check says where it was read."""
    for block in re.split(r"\n(?=\[)", path.read_text(encoding="utf-8"))[1:]:
        if "first = [" in block:
            rules = [line for line in block.splitlines() if line.strip().startswith("{")]
            assert rules
            assert all("source" in line for line in rules)
        else:
            assert re.search(r"^source = \".+\"$", block, re.MULTILINE), block


def test_what_is_inferred_is_marked() -> None:
    signs = {sign.object: sign.sure for c in ALL.values() for sign in c.presence if sign.object}
    assert signs["msExchNotesConnector"] == "I"
    assert signs["msExchGroupWiseConnector"] == "S"
    assert next(f for f in ALL["notes"].named_files if f.id == "exchconn-ini").sure == "I"


def test_notes_secrets_are_secret() -> None:
    notes = ALL["notes"]
    assert next(f for f in notes.named_files if f.id == "notes-ini").secret
    for tree in notes.file_trees[1:]:
        assert "*.id" in tree.secret
        assert "Notes.ini" in tree.secret


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('severity = "warning"', 'severity = "bad"', 30, "severity"),
        ('fact = "tree.tree.count"', 'fact = "moon.phase"', 25, "unknown fact"),
        ('fact = "tree.tree.count"', 'fact = "tree.other.count"', None, "no item 'other'"),
        ("expect = { at_most = 0 }", "expect = { at_most = 0, exists = true }", 29, "exactly one of"),
        ("expect = { at_most = 0 }", 'expect = { newer_than = "1 hour" }', 29, "duration"),
        ('path = "{one}"', 'path = "{two}"', None, "{two} is no root"),
        ('name = "SVC"', 'name = "SVC"\nstop_dedline_s = 3', 19, "stop_dedline_s"),
        ("registry = 'HKLM\\SOFTWARE\\One'", "", 7, "exactly one way"),
        ('title = "Small"', "title = ", 3, "Invalid value"),
    ],
)
def test_an_error_names_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int | None, words: str
) -> None:
    assert old in SMALL
    with pytest.raises(ConnectorError) as caught:
        load(tmp_path, SMALL.replace(old, new))
    assert words in caught.value.text
    assert caught.value.file.endswith("small.toml")
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SMALL + "\nx = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        (SMALL + "\nx = " + "9" * 5000, "expected TOML"),
        (SMALL.replace("All is well", "All is w\xe4ll"), "expected UTF-8"),
        ("", "Field required"),
    ],
    ids=["brackets", "number", "latin", "empty"],
)
def test_a_file_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "small.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConnectorError, match=words):
        Connector.load(tmp_path / "small.toml")
    with pytest.raises(ConnectorError, match="cannot be read"):
        Connector.load(tmp_path)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('registry = "K"\nvalue = "V"\nbeside = "one"', "beside belongs to notes_ini"),
        ('notes_ini = "Directory"\nbeside = "one"', "leads back"),
        ('notes_ini = "Directory"\nbeside = "two"', "two is no root"),
        ('notes_ini = "Password"', "Input should be"),
    ],
)
def test_a_line_of_notes_ini_is_a_way_of_its_own(tmp_path: Path, rule: str, words: str) -> None:
    old = "registry = 'HKLM\\SOFTWARE\\One'\nvalue = \"Path\""
    assert old in SMALL
    with pytest.raises(ConnectorError, match=words):
        load(tmp_path, SMALL.replace(old, rule))


def test_what_a_function_needs_belongs_to_it(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="belong to function"):
        load(tmp_path, SMALL + 'services = ["X"]')
    function = SMALL.replace('fact = "tree.tree.count"\nexpect = { at_most = 0 }', 'function = "f"')
    with pytest.raises(ConnectorError, match=r"\{two\} is no root"):
        load(tmp_path, function + 'services = ["{two}"]')
    assert load(tmp_path, function + 'services = ["X", "Novell*"]').checks[0].services == ("X", "Novell*")


def test_a_root_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    loop = SMALL.replace("registry = 'HKLM\\SOFTWARE\\One'\nvalue = \"Path\"", 'under = "one"\npath = "x"')
    with pytest.raises(ConnectorError, match="leads back"):
        load(tmp_path, loop)


def test_two_files_must_say_the_same_of_what_they_share(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    other = SMALL.replace('name = "small"', 'name = "other"').replace("small.check", "other.check")
    (tmp_path / "other.toml").write_text(other)
    with pytest.raises(ConnectorError, match="item tree"):
        Connector.load_all(tmp_path)  # the tree is not shared
    shared = 'path = "{one}"\nshared = true'
    (tmp_path / "small.toml").write_text(SMALL.replace('path = "{one}"', shared))
    (tmp_path / "other.toml").write_text(other.replace('path = "{one}"', shared))
    assert list(Connector.load_all(tmp_path)) == ["other", "small"]
    (tmp_path / "other.toml").write_text(other.replace('path = "{one}"', shared).replace("One'", "Two'"))
    with pytest.raises(ConnectorError, match="root one"):
        Connector.load_all(tmp_path)


def test_the_file_bears_the_connectors_name(tmp_path: Path) -> None:
    (tmp_path / "else.toml").write_text(SMALL)
    with pytest.raises(ConnectorError, match=r"small\.toml"):
        Connector.load_all(tmp_path)


def test_roots_come_from_the_registry_before_the_service() -> None:
    images = {"msexchangesa": r'"E:\Exch\Bin\mad.exe"'}
    roots = resolve_roots(ALL.values(), {SETUP: "D:\\Exchsrvr\\"}, images, {})
    assert roots["exchsrvr"] == r"D:\Exchsrvr"
    assert roots["conndata"] == r"D:\Exchsrvr\Conndata"
    roots = resolve_roots(ALL.values(), {SETUP: None}, images, {})
    assert roots["exchsrvr"] == r"E:\Exch"


def test_half_a_path_is_no_root() -> None:
    """It would be looked up below the host's current folder."""
    for text in ("Exchsrvr", "C:Exchsrvr", "", " "):
        assert resolve_roots(ALL.values(), {SETUP: text}, {}, {})["conndata"] is None


def test_the_operators_word_goes_before_the_directorys() -> None:
    attributes = {("msexchgroupwiseconnector", "msexchgwiseapigatewaypath"): "\\\\nw\\sys\\api\\"}
    assert resolve_roots(ALL.values(), {}, {}, {}, attributes)["gateway"] == r"\\nw\sys\api"
    said = {"groupwise_api": r"\\other\sys\api"}
    assert resolve_roots(ALL.values(), {}, {}, said, attributes)["gateway"] == r"\\other\sys\api"
    assert resolve_roots(ALL.values(), {}, {}, {})["gateway"] is None


def test_what_the_roots_need_is_asked_once() -> None:
    queries = root_queries(ALL.values())
    assert queries.count((r"HKLM\SOFTWARE\Microsoft\Exchange\Setup", "Services")) == 1
    assert (r"HKLM\SOFTWARE\Lotus\Notes", "DataPath") in queries
    assert root_services(ALL.values()) == ("MSExchangeSA", "MSExchangeMSMI")


@pytest.mark.parametrize(
    ("image", "program"),
    [
        (r'"C:\Program Files\Exchsrvr\bin\mad.exe"', r"C:\Program Files\Exchsrvr\bin\mad.exe"),
        (r"C:\Program Files\bin\Dispatch.exe -cexchconn.ini", r"C:\Program Files\bin\Dispatch.exe"),
        (r'"C:\a b\x.exe" -l"C:\y.exe"', r"C:\a b\x.exe"),
        (r"C:\odd.exe.d\x.EXE -v", r"C:\odd.exe.d\x.EXE"),
        ("", ""),
    ],
)
def test_the_program_of_a_command_line(image: str, program: str) -> None:
    assert program_of(image) == program


@pytest.mark.parametrize(
    ("path", "pattern", "yes"),
    [
        (r"a\b.SEQ", "*.seq", True),
        ("b.seq", "*.seq", True),
        ("b.seqx", "*.seq", False),
        (r"Gwrouter\archive\x", r"Gwrouter\archive\?*", True),
        (r"gwrouter\ARCHIVE\x\y", r"Gwrouter\archive\?*", True),
        (r"Gwrouter\archive", r"Gwrouter\archive\?*", False),
        (r"x\Gwrouter\archive\y", r"Gwrouter\archive\?*", False),
        ("a[1].ck", "*[1].ck", True),
    ],
)
def test_patterns(path: str, pattern: str, yes: bool) -> None:
    assert matches(path, pattern) is yes


def test_a_template_with_an_unknown_root_has_no_path() -> None:
    assert expand(r"{one}\x", {"one": None}) is None
    assert expand(r"{one}\x", {}) is None
    assert expand(r"{one}\x", {"one": r"C:\a"}) == r"C:\a\x"


@pytest.mark.parametrize(
    ("said", "folder", "file"),
    [
        ("D:\\", "D:\\", r"D:\x"),
        ('"D:\\"', "D:\\", r"D:\x"),
        ("D:", "D:\\", r"D:\x"),
        ("D:\\a\\", r"D:\a", r"D:\a\x"),
        (r"\\nw\sys\\", r"\\nw\sys", r"\\nw\sys\x"),
        ("", "", "\\x"),
    ],
)
def test_only_the_root_of_a_drive_ends_in_a_backslash(said: str, folder: str, file: str) -> None:
    assert tidy(said) == folder
    assert below(folder, "x") == file
    assert expand(r"{one}\x", {"one": folder}) == (file if folder else None)
    assert expand("{one}", {"one": folder}) == (folder or None)


def test_every_root_may_be_that_of_a_drive() -> None:
    images = {"msexchangesa": r'"E:\Bin\mad.exe"'}
    for registry, root in (({SETUP: "D:\\"}, "D:\\"), ({}, "E:\\")):
        roots = resolve_roots(ALL.values(), registry, images, {"groupwise_api": "F:\\"})
        assert (roots["exchsrvr"], roots["conndata"]) == (root, f"{root}Conndata")
        assert roots["gateway"] == "F:\\"


def test_where_an_unknown_root_was_looked_for_is_said_in_words() -> None:
    notes = ALL["notes"]
    assert list(notes.sought("{notes_data}", {"directory": "Data"})) == [
        "the line Directory= of Notes.ini (it says Data, which is no full path)",
        r"the value DataPath of HKLM\SOFTWARE\Lotus\Notes",
    ]
    assert list(notes.sought(r"{conndata}\x", {})) == [
        r"the value Services of HKLM\SOFTWARE\Microsoft\Exchange\Setup",
        "the program of the service MSExchangeSA",
    ]
    assert "the attribute msExchNotesNotesINI of msExchNotesConnector in the directory" in list(
        notes.sought("{notes_ini}", {})
    )


def test_a_duration_is_seconds() -> None:
    assert Expect(newer_than="2h").seconds == 7200
    assert Expect(older_than="7d").seconds == 7 * 86400


def test_a_sign_has_one_form() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Sign(service="a", image="a", source="x")


ROOTS = {"conndata": r"C:\Exch\Conndata"}
FOLDER_GWISE = r"c:\exch\conndata\dxagwise"


@pytest.mark.parametrize(
    ("services", "images", "folders", "objects", "state"),
    [
        (True, True, [FOLDER_GWISE], True, "present"),
        (True, False, [], True, "present"),
        (True, False, [], False, "partial"),
        (False, False, [FOLDER_GWISE], True, "partial"),
        (False, False, [FOLDER_GWISE], False, "partial"),
        (False, False, [], False, "absent"),
    ],
)
def test_the_evidence_ladder(
    services: bool, images: bool, folders: list[str], objects: bool, state: str
) -> None:
    """One sign alone is half an installation, and so is a connector without its service (domain.md 3.3)."""
    name = "msexchgroupwiseconnector"
    seen = presence(
        ALL["groupwise"], ROOTS, {"lme-gwise": services}, {"lme-gwise": images}, folders, {name: objects}
    )
    assert seen.state == state
    assert len(seen.found) + len(seen.missing) == 4


def test_what_nobody_could_ask_is_neither_found_nor_missing() -> None:
    seen = presence(ALL["groupwise"], {}, {}, {}, None, {})
    assert (seen.state, seen.found, seen.missing) == ("unknown", (), ())


def test_an_inferred_sign_that_is_absent_says_nothing() -> None:
    seen = presence(
        ALL["notes"], ROOTS, {"lme-notes": True}, {"lme-notes": True}, [], {"msexchnotesconnector": False}
    )
    assert (seen.state, seen.missing) == ("present", ())


@dataclass(frozen=True)
class State:
    """A service as a host says it is."""

    name: str
    image_path: str = ""
    display_name: str = ""
    exists: bool = True


MTA = r'"D:\MSMCON\Bin\mta.exe" -x'
STATES = (
    State("MSExchangeMSMI", MTA),
    State("Vienna 1", MTA),
    State("B", MTA),
    State("Gone", MTA, "", False),
)


def test_pc_mtas_are_found_by_their_program_and_start_behind_the_interchange() -> None:
    """Whatever the administrator calls them; each has its key exported under a name that is a file's."""
    here = settle(ALL["msmail"], STATES, {}, ())
    assert [s.name for s in here.services[:4]] == ["MSExchangeMSMI", "Vienna 1", "B", "MSExchangeATMTA"]
    keys = {key.path.rpartition("\\")[2]: key.id for key in here.registry_keys if "pc-mta-" in key.id}
    assert keys["B"] == "msmail-pc-mta-B"
    assert re.fullmatch(r"msmail-pc-mta-Vienna-1-[0-9a-f]{8}", keys["Vienna 1"])
    assert here.searched == ("Vienna 1", "B")
    assert settle(here, STATES, {}, ()) == here


def test_what_reaches_netware_is_recorded_and_the_operators_word_stands_alone() -> None:
    states = (State("NWCWorkstation"), State("nwfs", "", "Novell Client"), State("Other"))
    here = settle(ALL["groupwise"], states, {}, ())
    assert here.recorded == ("NWCWorkstation", "nwfs")
    assert here.services == ALL["groupwise"].services
    assert settle(ALL["groupwise"], states, {"netware_service": "other"}, ()).recorded == ("Other",)


def test_a_folder_that_the_host_does_not_name_is_no_part_of_it() -> None:
    for parts, there in (((), False), (("undelivered-mail",), True)):
        trees = settle(ALL["ccmail"], (), {}, parts).file_trees
        assert ("ccmail-undelivered" in {tree.id for tree in trees}) is there


def test_a_line_of_a_value_and_the_name_of_a_file_are_roots() -> None:
    shares = r"hklm\system\currentcontrolset\services\lanmanserver\shares"
    parameters = r"hklm\system\currentcontrolset\services\msexchangeccmc\parameters"
    said = {
        (shares, "maildat$"): "CSCFlags=0\npath=E:\\Msmcon\\Maildata\\\nType=0",
        (parameters, "import"): r"D:\cc\Import32",
        (parameters, "export"): "Export32.exe",
    }
    roots = resolve_roots(ALL.values(), said, {}, {})
    assert (roots["maildata_share"], roots["maildata"]) == (r"E:\Msmcon\Maildata", r"E:\Msmcon\Maildata")
    assert (roots["ccmail_import"], roots["ccmail_import_name"]) == (r"D:\cc\Import32", "Import32.exe")
    assert (roots["ccmail_export"], roots["ccmail_export_name"]) == (None, "Export32.exe")
    moved = {"msexchangemsmi": r"F:\Msmcon\Bin\Mt.exe"}
    assert resolve_roots(ALL.values(), said, moved, {})["maildata"] == r"F:\Msmcon\Maildata"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[roots.one]\n", '[roots.one]\nline = "x"\n', None),
        ('value = "Path"', 'value = "Path"\nbeside = "one"', "beside belongs to notes_ini"),
        (
            "[[presence]]",
            '[[found_service]]\nid = "x"\nsource = "s"\n\n[[presence]]',
            "by names, or by program",
        ),
        (
            "[[presence]]",
            '[[found_service]]\nid = "x"\nprogram = "p"\nafter = "NONE"\nsource = "s"\n\n[[presence]]',
            "NONE is no service of this file",
        ),
    ],
)
def test_found_services_and_lines_are_held_against_the_form(
    tmp_path: Path, old: str, new: str, words: str | None
) -> None:
    text = SMALL.replace(old, new, 1)
    if words is None:
        assert load(tmp_path, text).roots["one"].line == "x"
        return
    with pytest.raises(ConnectorError, match=words):
        load(tmp_path, text)
