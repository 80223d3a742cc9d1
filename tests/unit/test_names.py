"""Names from a host: none leaves its folder, none is lost, none is in another one's way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.errors import RepositoryError, plain_path
from exremote.repository.names import (
    Distinct,
    UnsafeName,
    check_stored,
    checked_host,
    checked_word,
    extended,
    folded,
    remote_name,
    safe_relative,
    stored_path,
)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "..",
        "..\\boot.ini",
        "a\\..\\..\\b",
        "a\\.\\b",
        "\\a",
        "\\\\server\\share",
        "C:\\boot.ini",
        "c:boot.ini",
        "a\\\\b",
        "a\\",
        "../etc/passwd",
        "a/b",
        "a\0b",
        "\\\\?\\C:\\a",
    ],
)
def test_a_name_that_would_leave_its_folder_is_refused(bad: str) -> None:
    with pytest.raises(UnsafeName) as caught:
        safe_relative(bad)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("remote", "stored"),
    [
        ("GWRouter\\Gwise.tbl", "GWRouter/Gwise.tbl"),
        ("Ümläut\\ with space", "Ümläut/ with space"),
        ("con", "%63on"),
        ("a\\NUL.txt", "a/%4EUL.txt"),
        ("com1 .log", "%63om1 .log"),
        ("LPT¹", "%4CPT¹"),
        ("trailing.", "trailing%2E"),
        ("trailing ", "trailing%20"),
        ("...", "..%2E"),
        ("a\\file:stream", "a/file%3Astream"),
        ("100%", "100%25"),
        ("%41", "%2541"),
        ("tab\tline\n", "tab%09line%0A"),
        ("console", "console"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_what_a_file_system_would_stumble_over_is_escaped_and_comes_back(remote: str, stored: str) -> None:
    assert safe_relative(remote) == stored
    assert remote_name(stored) == remote


COMPONENT = st.text(st.characters(blacklist_characters="\\/\0"), min_size=1, max_size=12)
REMOTE = st.lists(COMPONENT, min_size=1, max_size=4).map("\\".join)


@given(REMOTE)
def test_every_name_is_refused_or_comes_back_exactly(remote: str) -> None:
    try:
        stored = safe_relative(remote)
    except UnsafeName:
        return
    assert remote_name(stored) == remote
    check_stored(stored)
    assert not any(part in ("..", ".", "") or part[-1] in ". " for part in stored.split("/"))
    assert not set(stored) & set('<>:"|?*\\\n\r\t')


@given(st.lists(REMOTE, unique=True, max_size=12))
def test_different_names_have_different_places(remotes: list[str]) -> None:
    stored = []
    for remote in remotes:
        try:
            stored.append(safe_relative(remote))
        except UnsafeName:
            continue
    assert len(set(stored)) == len(stored)


def test_a_name_that_is_too_long_is_cut_and_stays_its_own() -> None:
    for long in ("x" * 255, "漢" * 200, "%" * 120, "x" * 198 + ". " * 20):
        stored = safe_relative(long)
        assert len(stored.encode()) <= 200
        assert stored.startswith("%~")
        check_stored(stored)
        assert safe_relative(long + "y") != stored
    deep = "\\".join(["folder"] * 300)
    stored = safe_relative(deep)
    assert "/" not in stored
    assert len(stored.encode()) <= 200
    check_stored(stored)
    assert safe_relative(deep + "2") != stored


NAMES = ["README", "Readme", "readme", "a\\X", "A\\x", "a\\x", "straße", "STRASSE", "é", "e\u0301"]


@given(st.permutations(NAMES))
def test_names_that_differ_in_case_alone_get_places_of_their_own(names: list[str]) -> None:
    distinct = Distinct()
    placed = {name: distinct.place(safe_relative(name)) for name in names}
    assert len({folded(p) for p in placed.values()}) == len(names)
    assert all(remote_name(stored) == name for name, stored in placed.items())
    assert distinct.place(safe_relative(names[-1])) == placed[names[-1]]


@given(st.lists(st.text("aA%4161ſsSkK", min_size=1, max_size=6), unique=True, max_size=40))
def test_distinct_never_gives_two_the_same(names: list[str]) -> None:
    distinct = Distinct()
    placed = [distinct.place(safe_relative(name)) for name in names]
    assert len({folded(p) for p in placed}) == len(names)


def test_a_stored_path_is_under_its_item() -> None:
    assert stored_path("conndata", "GWRouter\\a.tbl") == "files/conndata/GWRouter/a.tbl"
    with pytest.raises(UnsafeName):
        stored_path("../x", "a")
    for bad in ("../x", "/x", "a//b", "a/..", "a\\b", "nul", "x.", "a:b", "", "x" * 256):
        with pytest.raises(UnsafeName):
            check_stored(bad)


def test_a_host_name_that_tries_to_leave_the_repository_is_refused() -> None:
    assert checked_host("EXCH01.example.org") == "EXCH01.example.org"
    for bad in ("..", "../EXCH01", "a/b", "a\\b", "", ".hidden", "NUL", "con.example", "x.", "a b", "x" * 64):
        with pytest.raises(UnsafeName):
            checked_host(bad)
        with pytest.raises(UnsafeName):
            checked_word(bad if len(bad) < 64 else "x" * 101, "a run")


def test_windows_gets_the_form_that_has_no_limit() -> None:
    assert extended("/srv/backup", windows=False) == "/srv/backup"
    for path, long in (
        ("D:\\backup", "\\\\?\\D:\\backup"),
        ("\\\\nas\\backup", "\\\\?\\UNC\\nas\\backup"),
    ):
        assert extended(path, windows=True) == long
        assert extended(long, windows=True) == long
        assert plain_path(long) == path
    assert plain_path("/srv/backup") == "/srv/backup"
    error = RepositoryError("it is away.", path=r"\\?\UNC\NAS01\backup\exremote")
    assert error.said == r"\\NAS01\backup\exremote: it is away."  # as a person finds it
