"""Which names are one name to Windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.folding import folded
from exremote.transfer.pull import is_secret


@pytest.mark.parametrize(
    ("one", "other"),
    [("NOTES.INI", "notes.ini"), ("ÜBER", "über"), ("Ÿ", "ÿ"), ("ΣΑΣ", "σασ"), ("Жук", "жУК")],
)
def test_capital_and_small_letters_are_the_same(one: str, other: str) -> None:
    assert one != other
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Maße", "Masse"),
        ("MAẞE", "Maße"),
        ("ﬁnal", "final"),
        ("İ", "i"),
        ("ı", "i"),
        ("\u212a", "k"),
        ("σ", "ς"),
    ],
)
def test_nothing_else_is(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@given(st.text())
def test_a_folded_name_stays_so_and_keeps_its_length(name: str) -> None:
    small = folded(name)
    assert folded(small) == small
    assert len(small) == len(name)
    assert folded(name.casefold()) == name.casefold() or not name.isascii()


def test_a_pattern_of_secrets_means_its_own_letters() -> None:
    assert is_secret(r"keys\MASSE.ID", ["masse.*"])
    assert not is_secret(r"keys\Maße.id", ["masse.*"])
