"""Credentials: a reference in the file, a secret in memory, `***` everywhere else."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import struct
import sys
import traceback
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.credential import (
    Credential,
    NotPrivate,
    Place,
    Secret,
    foreign_readers,
    parse_credential_file,
    read_private,
)
from exremote.errors import ExremoteError, InventoryError, UsageError

CANARY = "cAnArY-7f3e9"
PLACE = Place(Path("/site/inventory.toml"), 12, "hosts.EXCH01.credential")

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners of POSIX")


def credential(**said: str | bool) -> Credential:
    return Credential.refer(said, Path, host="EXCH01", place=PLACE)


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def assert_silent(error: BaseException) -> None:
    """The whole traceback, causes and contexts included, does not have the secret."""
    assert CANARY not in "".join(traceback.format_exception(error))
    assert CANARY not in repr(error)
    context = error.__context__
    while context is not None:
        assert CANARY not in str(context) + repr(context)
        context = context.__context__


def test_no_text_form_of_a_secret_has_the_password() -> None:
    """repr, str, format and an f-string inside a container show the user and `***`."""
    secret = Secret(r"EXAMPLE\svc", CANARY)
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert CANARY not in text
        assert "***" in text
        assert "svc" in text


def test_nothing_copies_a_secret_out() -> None:
    @dataclasses.dataclass
    class Holder:
        secret: Secret

    secret = Secret("svc", CANARY)
    for leak in (
        lambda: pickle.dumps(secret),
        lambda: copy.deepcopy(secret),
        lambda: dataclasses.asdict(Holder(secret)),
        lambda: dataclasses.asdict(secret),  # type: ignore[call-overload]
        lambda: vars(secret),
    ):
        with pytest.raises(TypeError) as caught:
            leak()  # type: ignore[no-untyped-call]
        assert_silent(caught.value)
    assert secret == Secret("svc", CANARY) != Secret("svc", "other")
    assert len({secret, Secret("svc", CANARY)}) == 1


# --- environment


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from a variable, the user from the file or from a variable."""
    monkeypatch.setenv("EXR_PASSWORD", CANARY)
    monkeypatch.setenv("EXR_USER", "alice")
    assert credential(environment="EXR_PASSWORD", username="bob").resolve() == Secret("bob", CANARY)
    both = credential(environment="EXR_PASSWORD", username_environment="EXR_USER")
    assert both.resolve() == Secret("alice", CANARY)
    assert CANARY not in repr(both) + both.text + both.identity
    assert "EXR_USER" in both.text


@pytest.mark.parametrize("value", [None, ""])
def test_environment_that_is_not_set_says_which_and_where(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """File, line, key, host and variable are in the message."""
    monkeypatch.delenv("EXR_PASSWORD", raising=False)
    if value is not None:
        monkeypatch.setenv("EXR_PASSWORD", value)
    with pytest.raises(InventoryError) as caught:
        credential(environment="EXR_PASSWORD", username="bob").resolve()
    for part in ("/site/inventory.toml:12: hosts.EXCH01.credential:", "EXCH01", "EXR_PASSWORD"):
        assert part in str(caught.value).replace("\\", "/")


# --- keyring


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A real backend of the keyring library that keeps its entries in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self, locked: bool = False) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked(f"cannot unlock with {CANARY}")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def restore_keyring() -> object:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


@pytest.mark.usefixtures("restore_keyring")
def test_keyring() -> None:
    """The keyring is asked for service and user; what is missing comes with the command to store it."""
    keyring.set_keyring(MemoryKeyring())
    reference = credential(keyring="exremote", username="bob")
    with pytest.raises(InventoryError, match='keyring set "exremote" "bob"'):
        reference.resolve()
    keyring.set_password("exremote", "bob", CANARY)
    assert reference.resolve() == Secret("bob", CANARY)


@pytest.mark.usefixtures("restore_keyring")
def test_keyring_without_backend_or_locked() -> None:
    """No backend and a locked one are errors of ours, without the backend's own text."""
    reference = credential(keyring="exremote", username="bob")
    keyring.set_keyring(keyring.backends.fail.Keyring())
    with pytest.raises(InventoryError, match="no keyring that can be used"):
        reference.resolve()
    keyring.set_keyring(MemoryKeyring(locked=True))
    with pytest.raises(InventoryError, match="KeyringLocked") as caught:
        reference.resolve()
    assert CANARY not in str(caught.value)


# --- file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'username = "EXAMPLE\\\\svc"\npassword = "a\\"b"\n',
            {"username": r"EXAMPLE\svc", "password": 'a"b'},
        ),
        (
            "username=EXAMPLE\\svc\r\npassword=p#a ss=w\\n\r\n",
            {"username": r"EXAMPLE\svc", "password": r"p#a ss=w\n"},
        ),
        ("# who\n\n  password = 'x y'  # comment\n", {"password": "x y"}),
        ("PASSWORD=ü", {"password": "ü"}),
    ],
)
def test_credential_file_is_toml_or_plain_lines(text: str, expected: dict[str, str]) -> None:
    """Quoted values are TOML strings, others are taken as they stand."""
    assert parse_credential_file(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CANARY, "line 1: expected username=... or password=..."),
        (f"username=bob\n{CANARY}=x", "line 2: expected username"),
        (f'password="{CANARY}', "line 1: expected the quoted password to be a TOML string"),
        (f"password={CANARY}\npassword={CANARY}", "line 2: password is there twice"),
        ("username=bob\npassword=", "line 2: expected a password"),
        ("username=bob", "expected a line password="),
        ("", "expected a line password="),
        (f"user={CANARY}", "line 1: expected username"),
    ],
)
@posix
def test_a_wrong_credential_file_is_not_quoted(tmp_path: Path, text: str, message: str) -> None:
    """The error names the line and what was expected, and nothing of what is there."""
    path = secret_file(tmp_path / "c", text)
    with pytest.raises(InventoryError) as caught:
        credential(file=str(path), username="bob").resolve()
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert_silent(caught.value)


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1))
def test_any_password_can_stand_in_a_file(password: str) -> None:
    """Between quotes, with backslash and quote escaped, any password comes back as it was."""
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_credential_file(f'password="{escaped}"')["password"] == password


@posix
def test_file_of_the_owner_alone_is_read(tmp_path: Path) -> None:
    """User and password from the file, a byte order mark notwithstanding."""
    path = tmp_path / "c"
    path.write_bytes(f"\ufeffusername=bob\npassword={CANARY}\n".encode())
    path.chmod(0o400)
    assert credential(file=str(path)).resolve() == Secret("bob", CANARY)
    assert credential(file=str(path), username="bob").resolve() == Secret("bob", CANARY)
    with pytest.raises(InventoryError, match="name different users") as caught:
        credential(file=str(path), username="eve").resolve()
    assert_silent(caught.value)


@posix
def test_file_without_user_needs_one_in_the_inventory(tmp_path: Path) -> None:
    """The user stands in the file or in the inventory."""
    path = secret_file(tmp_path / "c", f"password={CANARY}")
    assert credential(file=str(path), username="bob").resolve() == Secret("bob", CANARY)
    with pytest.raises(InventoryError, match="expected a line username="):
        credential(file=str(path)).resolve()


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o602])
def test_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Any permission for group or others is one too many; the remedy says how to take it away."""
    path = secret_file(tmp_path / "c", f"username=bob\npassword={CANARY}", mode)
    with pytest.raises(InventoryError, match=f"{mode:04o}.*chmod 600") as caught:
        credential(file=str(path)).resolve()
    assert_silent(caught.value)


@posix
def test_links_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    """Only a regular file under its own name is a credential file; a pipe does not hold the run up."""
    real = secret_file(tmp_path / "c", "password=x")
    link = tmp_path / "link"
    link.symlink_to(real)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path, message in [
        (link, "symbolic link"),
        (tmp_path, "not a regular file"),
        (pipe, "not a regular file"),
        (tmp_path / "none", "cannot be opened: No such file"),
        (Path("a\0b"), "no file can have that name"),
        (secret_file(tmp_path / "huge", "x" * 70000), "larger than 64 KiB"),
    ]:
        with pytest.raises(NotPrivate, match=message):
            read_private(path)


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Even root does not take a password from somebody else's file."""
    path = secret_file(tmp_path / "c", "password=x")
    os.chown(path, 65534, 65534)
    with pytest.raises(NotPrivate, match="another user"):
        read_private(path)


@posix
def test_a_file_that_is_not_utf8_is_not_quoted(tmp_path: Path) -> None:
    """A decoding error, which carries the bytes, does not get out."""
    path = tmp_path / "c"
    path.write_bytes(b"password=" + CANARY.encode() + b"\xff")
    path.chmod(0o600)
    with pytest.raises(InventoryError, match="expected UTF-8") as caught:
        credential(file=str(path)).resolve()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


# --- Windows access lists (the bytes, so they are tested anywhere)

ALICE, BOB = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
SYSTEM, ADMINISTRATORS, USERS, EVERYONE = "S-1-5-18", "S-1-5-32-544", "S-1-5-32-545", "S-1-1-0"
ALL, READ, WRITE_ONLY, GENERIC_READ, WRITE_DAC = 0x1F01FF, 0x120089, 0x100116, 0x80000000, 0x40000


def sid(text: str) -> bytes:
    _, revision, authority, *rest = text.split("-")
    return (
        struct.pack("<BB", int(revision), len(rest))
        + int(authority).to_bytes(6, "big")
        + b"".join(struct.pack("<I", int(part)) for part in rest)
    )


def descriptor(*entries: tuple[int, int, int, str], owner: str = ALICE, present: bool = True) -> bytes:
    aces = b""
    for kind, flags, mask, who in entries:
        body = struct.pack("<I", mask) + sid(who)
        aces += struct.pack("<BBH", kind, flags, 4 + len(body)) + body
    dacl = struct.pack("<BBHHH", 2, 0, 8 + len(aces), len(entries), 0) + aces
    owner_bytes = sid(owner)
    control = 0x8000 | (0x4 if present else 0)
    return struct.pack("<BBHIIII", 1, 0, control, 20, 0, 0, 20 + len(owner_bytes)) + owner_bytes + dacl


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([(0, 0, ALL, ALICE)], ""),
        ([(0, 0, ALL, ALICE), (0, 0, ALL, SYSTEM), (0, 0, ALL, ADMINISTRATORS)], ""),
        ([], ""),
        ([(0, 0, ALL, ALICE), (0, 0x10, READ, USERS)], USERS),
        ([(0, 0, READ, EVERYONE)], EVERYONE),
        ([(0, 0, GENERIC_READ, BOB)], BOB),
        ([(0, 0, WRITE_DAC, BOB)], BOB),
        ([(0, 0, WRITE_ONLY, BOB)], ""),
        ([(0, 0x08, ALL, BOB)], ""),
        ([(1, 0, ALL, EVERYONE), (0, 0, ALL, ALICE)], ""),
        ([(9, 0, READ, BOB)], BOB),
        ([(5, 0, READ, ALICE)], "kind that files do not have"),
    ],
)
def test_windows_access_lists(entries: list[tuple[int, int, int, str]], problem: str) -> None:
    """Whoever may read, or may grant reading, and is not owner, SYSTEM or Administrators is named."""
    answer = foreign_readers(descriptor(*entries))
    assert problem in answer
    assert bool(answer) == bool(problem)


def test_windows_access_lists_that_are_none() -> None:
    """No access list means everybody; bytes that are no descriptor are refused, not believed."""
    assert "everybody" in foreign_readers(descriptor(present=False))
    assert "cannot be understood" in foreign_readers(descriptor((0, 0, ALL, ALICE))[:-6])
    assert "cannot be understood" in foreign_readers(b"")


@given(st.binary(max_size=200))
def test_windows_access_lists_of_any_bytes_are_answered(data: bytes) -> None:
    """No bytes end in a traceback."""
    assert isinstance(foreign_readers(data), str)


# --- prompt


def test_prompt_is_refused_without_a_terminal() -> None:
    """The message names the account and the remedy."""
    with pytest.raises(UsageError, match=r"bob.*no terminal.*environment, keyring or file"):
        credential(prompt=True, username="bob").resolve(None)


def test_prompt_asks_for_user_and_host() -> None:
    """The question says whose password it is; an empty answer is none."""
    asked: list[str] = []

    def prompt(question: str) -> str:
        asked.append(question)
        return CANARY if len(asked) == 1 else ""

    reference = credential(prompt=True, username="bob")
    assert reference.resolve(prompt) == Secret("bob", CANARY)
    assert asked == ["Password of bob for EXCH01"]
    with pytest.raises(UsageError, match="No password of bob was given"):
        reference.resolve(prompt)


# --- references


def test_equal_references_are_one_credential_whoever_uses_them() -> None:
    """What was refused for one host is not tried again for the next."""
    one = Credential.refer({"keyring": "k", "username": "bob"}, Path, host="A", place=Place(Path("x"), 1))
    other = Credential.refer({"keyring": "k", "username": "bob"}, Path, host="B", place=Place(Path("x"), 9))
    assert one == other
    assert one.identity == other.identity
    different = [
        credential(keyring="k", username="eve"),
        credential(keyring="K", username="bob"),
        credential(environment="k", username="bob"),
        credential(file="k", username="bob"),
        credential(prompt=True, username="bob"),
        Credential(kind="none"),
    ]
    assert len({one.identity, *(each.identity for each in different)}) == len(different) + 1


def test_certificate_needs_no_secret() -> None:
    """The credential of certificate authentication is empty, and says so."""
    assert Credential(kind="none").resolve() == Secret("", "")
    assert "certificate" in Credential(kind="none").text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "exactly one of environment, keyring, file, prompt"),
        ({"keyring": "k", "file": "f", "username": "u"}, "exactly one of"),
        ({"username": "u"}, "exactly one of"),
        ({"environment": "V"}, "either username or username_environment"),
        ({"environment": "V", "username": "u", "username_environment": "W"}, "either username or"),
        ({"environment": f"{CANARY}", "username": "u"}, "the names of environment variables"),
        ({"keyring": "k"}, "username beside keyring"),
        ({"prompt": True}, "username beside prompt"),
        ({"keyring": "k", "username": "u", "username_environment": "W"}, "only beside environment"),
        ({"file": ""}, "something in file"),
        ({"keyring": "k", "username": "DOM\tuser"}, "single quotes"),
    ],
)
def test_wrong_references_say_what_was_expected(said: dict[str, str | bool], expected: str) -> None:
    """What was expected, and nothing of what is there: a password may stand in the wrong key."""
    with pytest.raises(ValueError, match=expected) as caught:
        credential(**said)
    assert_silent(caught.value)


def test_the_errors_are_ours() -> None:
    """Whatever resolve raises is in the tree of errors, with exit code 2."""
    for reference in (credential(file="/none/at/all"), credential(prompt=True, username="u")):
        with pytest.raises(ExremoteError) as caught:
            reference.resolve()
        assert caught.value.exit_code == 2
