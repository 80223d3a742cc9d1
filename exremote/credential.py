"""Credential: a reference in the inventory (environment, keyring, file, prompt) that becomes a secret.

It never writes a secret, and never puts one into a repr, a log or the text of an exception.
What a file of secrets says is therefore never quoted in an error either, not even a wrong line of it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from exremote.errors import InventoryError, UsageError

MAX_FILE = 64 * 1024

Kind = Literal["environment", "keyring", "file", "prompt", "none"]
Prompt = Callable[[str], str]
"""Asks a question at the terminal, without echo, and returns the answer."""

_KINDS: Final[tuple[Kind, ...]] = ("environment", "keyring", "file", "prompt")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NotPrivate(ValueError):
    """A file of secrets cannot be read, or others than its owner may read it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is said: for the error about it."""

    file: Path
    """The file."""
    line: int | None = None
    """The line, counted from 1, where it is known."""
    key: str = ""
    """The dotted key."""


class Secret:
    """A user name and a password, in memory only: no text form has it, and nothing copies it out.

    Two are equal if they are one account with one password, whatever references led to them: Windows knows no
    case in names.
    """

    __slots__ = ("_password", "_username")

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password

    @property
    def username(self) -> str:
        """Return the account, as the inventory or the file names it."""
        return self._username

    @property
    def password(self) -> str:
        """Return the password itself."""
        return self._password

    def __repr__(self) -> str:
        return f"Secret(username={self._username!r}, password=***)"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Secret)
            and other._username.casefold() == self._username.casefold()
            and other._password == self._password
        )

    def __hash__(self) -> int:
        return hash((self._username.casefold(), self._password))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Where a secret is to be had; equal references are equal credentials."""

    kind: Kind
    """What holds the secret. `none` only with certificate authentication, which needs no password."""
    username: str = ""
    """The account, where the inventory says it."""
    reference: str = ""
    """The environment variable, the keyring's service, or the absolute path of the file."""
    username_reference: str = ""
    """The environment variable that holds the account, if the inventory does not say the account itself."""
    host: str = field(default="", compare=False)
    """For whom, in messages."""
    place: Place = field(default=Place(Path("inventory")), compare=False, repr=False)
    """Where the inventory says so."""

    @classmethod
    def refer(
        cls, said: Mapping[str, str | bool], locate: Callable[[str], Path], *, host: str, place: Place
    ) -> Credential:
        """Given a table such as `{ keyring = "exremote", username = "user" }`, make it a credential.

        `locate` makes a path of the file absolute. Return the credential. Raise ValueError with what was
        expected, never with what is there.
        """
        kinds: list[Kind] = [kind for kind in _KINDS if kind in said]
        if len(kinds) != 1:
            raise ValueError(f"exactly one of {', '.join(_KINDS)}")
        kind = kinds[0]
        username, variable = str(said.get("username", "")), str(said.get("username_environment", ""))
        reference = "" if kind == "prompt" else str(said[kind])
        if any(ord(char) < 32 for char in username):
            raise ValueError(
                "a username without control characters (in TOML: single quotes around DOMAIN\\user)"
            )
        if username and not username.rpartition("\\")[2].partition("@")[0].strip():
            raise ValueError("a name in the username, such as DOMAIN\\user or user@domain")
        if kind == "environment":
            if bool(username) == bool(variable):
                raise ValueError("either username or username_environment beside environment")
            names = [reference, variable] if variable else [reference]
            if not all(_VARIABLE_NAME.fullmatch(name) for name in names):
                raise ValueError("the names of environment variables: letters, digits and underscores")
        elif variable:
            raise ValueError("username_environment only beside environment")
        elif not username and kind != "file":
            raise ValueError(f"username beside {kind}")
        if not reference and kind != "prompt":
            raise ValueError(f"something in {kind}")
        return cls(
            kind=kind,
            username=username,
            reference=str(locate(reference)) if kind == "file" else reference,
            username_reference=variable,
            host=host,
            place=place,
        )

    @property
    def identity(self) -> str:
        """Return a text that is equal for equal references: what was refused once is not tried again."""
        return "\n".join((self.kind, self.username, self.reference, self.username_reference))

    @property
    def text(self) -> str:
        """Return the reference in words, as `inventory show` prints it."""
        if self.kind == "none":
            return "none (the certificate is the credential)"
        who = f"user {self.username}" if self.username else ""
        if self.username_reference:
            who = f"user from environment variable {self.username_reference}"
        what = {
            "environment": f"environment variable {self.reference}",
            "keyring": f"keyring {self.reference}",
            "file": f"file {self.reference}",
            "prompt": "prompt",
        }[self.kind]
        return f"{what}, {who}" if who else what

    def resolve(self, prompt: Prompt | None = None) -> Secret:
        """Given how to ask the person at the terminal (none: there is no terminal), fetch the secret.

        Return it. Raise UsageError if a prompt is needed and there is no terminal, InventoryError if
        the place that the inventory refers to has no secret or may be read by others.
        """
        match self.kind:
            case "environment":
                secret = self._from_environment()
            case "keyring":
                secret = self._from_keyring()
            case "file":
                secret = self._from_file()
            case "prompt":
                secret = self._from_prompt(prompt)
            case "none":
                return Secret("", "")
        try:
            for text in (secret.username, secret.password):
                text.encode("utf-16-le")
        except UnicodeEncodeError:
            # What it says has a character of the secret in it.
            raise self._error(
                f"{self.text}: the user or the password has bytes that are no text here.",
                "Write it as UTF-8, and run exremote where the character set is UTF-8 (LANG, LC_ALL).",
            ) from None
        return secret

    def _error(self, message: str, remedy: str = "") -> InventoryError:
        """Given a sentence, return the error that points at the reference in the inventory.

        It names no host: all whose references are equal share it.
        """
        return InventoryError(
            message, file=self.place.file, line=self.place.line, key=self.place.key, remedy=remedy
        )

    def _from_environment(self) -> Secret:
        """Read the named variables. Return the secret. Raise InventoryError if one is not set."""

        def read(name: str) -> str:
            value = os.environ.get(name, "")
            if not value:
                raise self._error(
                    f"the environment variable {name} is not set, or empty.", f"Set {name} for this process."
                )
            return value

        username = read(self.username_reference) if self.username_reference else self.username
        return Secret(username, read(self.reference))

    def _from_keyring(self) -> Secret:
        """Ask the keyring of this computer. Return the secret. Raise InventoryError if it has none."""
        import keyring
        import keyring.errors

        command = f'Store it with: keyring set "{self.reference}" "{self.username}"'
        try:
            password = keyring.get_password(self.reference, self.username)
        except keyring.errors.NoKeyringError:
            raise self._error(
                "this computer has no keyring that can be used.",
                "Install a keyring backend, or use environment, file or prompt.",
            ) from None
        except keyring.errors.KeyringError as error:
            # Only the class: a backend's own text is not ours to trust with a secret.
            raise self._error(
                f"the keyring refused ({type(error).__name__}).", "Unlock the keyring."
            ) from None
        if not password:
            raise self._error(
                f"the keyring has no password of {self.username} for {self.reference}.", command
            )
        return Secret(self.username, password)

    def _from_file(self) -> Secret:
        """Read the file that only its owner may read. Return the secret. Raise InventoryError otherwise."""
        path = Path(self.reference)
        try:
            text = read_private(path).decode("utf-8-sig")
            found = parse_credential_file(text)
        except NotPrivate as error:
            raise self._error(f"{path}: {error}") from None
        except UnicodeDecodeError:
            raise self._error(f"{path}: expected UTF-8.") from None
        except ValueError as error:
            raise self._error(f"{path}: {error}") from None
        username = found.get("username", "")
        if self.username and username and self.username != username:
            raise self._error(
                f"{path}: the file and the inventory name different users.", "Say the user in one place only."
            )
        if not (self.username or username):
            raise self._error(f"{path}: expected a line username=...")
        return Secret(self.username or username, found["password"])

    def _from_prompt(self, prompt: Prompt | None) -> Secret:
        """Ask the person at the terminal. Return the secret. Raise UsageError if nobody can be asked."""
        if prompt is None:
            raise UsageError(
                f"The password of {self.username} is to be asked for, and there is no terminal to ask at.",
                "Run it at a terminal, or refer to environment, keyring or file in the inventory.",
            )
        password = prompt(f"Password of {self.username}" + (f" for {self.host}" if self.host else ""))
        if not password:
            raise UsageError(f"No password of {self.username} was given.", "Run it again and type it.")
        return Secret(self.username, password)


def parse_credential_file(text: str) -> dict[str, str]:
    """Given the text of a credential file, read `username` and `password`, one a line, `#` a comment.

    A value in quotes is a TOML string; any other value is taken as it stands to the end of the line, so
    that a backslash or a `#` in it needs no thought. Return what was found, always with a password. Raise
    ValueError naming the line, never what is in it: a wrong line may be the password.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or key not in ("username", "password"):
            raise ValueError(f"line {number}: expected username=... or password=...")
        if key in found:
            raise ValueError(f"line {number}: {key} is there twice.")
        if value[:1] in ("'", '"'):
            try:
                value = tomllib.loads(f"value = {value}")["value"]
            except tomllib.TOMLDecodeError:
                raise ValueError(
                    f"line {number}: expected the quoted {key} to be a TOML string, or no quotes."
                ) from None
        if not value:
            raise ValueError(f"line {number}: expected a {key} behind the `=`.")
        found[key] = value
    if "password" not in found:
        raise ValueError("expected a line password=...")
    return found


def read_private(path: Path) -> bytes:
    """Given a file of secrets, read it if nobody but its owner may.

    The open file is checked, not its name, so it cannot be exchanged between check and read. On POSIX:
    not a symbolic link, a regular file, owned by the user of this process, no permission for group and
    others. (Access control lists are seen as far as the group bits show them.) On Windows: the access list
    lets nobody read but the owner, SYSTEM and Administrators; whether the owner is the user of this process
    is not checked, and a link is followed, to a file that is checked all the same.

    Return the bytes. Raise NotPrivate with the reason and the remedy.
    """
    try:
        # Not O_RDONLY alone: a link is refused, and a pipe does not hold us up.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPrivate("it is a symbolic link. Name the file itself.") from None
        raise NotPrivate(f"it cannot be opened: {error.strerror}.") from None
    except ValueError:
        raise NotPrivate("no file can have that name.") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotPrivate("it is not a regular file.")
        if problem := _readers_problem(handle):
            raise NotPrivate(problem)
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise NotPrivate(f"it cannot be read: {error.strerror}.") from None
    finally:
        os.close(handle)
    if len(content) > MAX_FILE:
        raise NotPrivate(f"it is larger than {MAX_FILE // 1024} KiB, which no credential is.")
    return content


if sys.platform == "win32":

    def _readers_problem(handle: int) -> str:
        """Given an open file, return why its secret is not its owner's alone, or nothing."""
        import ctypes
        import msvcrt
        from ctypes import wintypes

        owner_and_dacl = 0x1 | 0x4
        advapi = ctypes.WinDLL("advapi32", use_last_error=True)
        question = advapi.GetKernelObjectSecurity
        question.argtypes = [
            wintypes.HANDLE,
            wintypes.DWORD,
            ctypes.c_void_p,
            wintypes.DWORD,
            ctypes.POINTER(wintypes.DWORD),
        ]
        question.restype = wintypes.BOOL
        needed = wintypes.DWORD(0)
        os_handle = msvcrt.get_osfhandle(handle)
        question(os_handle, owner_and_dacl, None, 0, ctypes.byref(needed))
        buffer = ctypes.create_string_buffer(max(needed.value, 1))
        if not question(os_handle, owner_and_dacl, buffer, len(buffer), ctypes.byref(needed)):
            return f"its access list cannot be read (error {ctypes.get_last_error()})."
        return foreign_readers(buffer.raw)

else:

    def _readers_problem(handle: int) -> str:
        """Given an open file, return why its secret is not its owner's alone, or nothing."""
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            return "it belongs to another user. Let the user who runs exremote own it."
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            return f"others than its owner may use it (mode {mode:04o}). Run: chmod 600 on it."
        return ""


# SYSTEM, Administrators (either may take ownership of any file anyway), and OWNER RIGHTS.
_TRUSTED_SIDS = ("S-1-5-18", "S-1-5-32-544", "S-1-3-4")
# FILE_READ_DATA, WRITE_DAC, WRITE_OWNER, GENERIC_ALL, GENERIC_READ: to read, or to grant oneself reading.
_READING = 0x1 | 0x40000 | 0x80000 | 0x10000000 | 0x80000000
_INHERIT_ONLY, _DACL_PRESENT = 0x08, 0x0004
_ALLOWED, _DENYING = (0, 9), (1, 6, 10, 12)


def foreign_readers(descriptor: bytes) -> str:
    """Given a self-relative security descriptor ([MS-DTYP] 2.4.6), look who may read.

    Return why others than the owner may, or nothing.
    """
    remedy = "Remove inherited permissions, and grant only the user who runs exremote."
    try:
        _, _, control, owner_at, _, _, dacl_at = struct.unpack_from("<BBHIIII", descriptor)
        if not control & _DACL_PRESENT or not dacl_at:
            return f"it has no access list, so everybody may read it. {remedy}"
        allowed = {*_TRUSTED_SIDS, _sid(descriptor, owner_at)}
        (count,) = struct.unpack_from("<H", descriptor, dacl_at + 4)
        at = dacl_at + 8
        for _ in range(count):
            kind, flags, size = struct.unpack_from("<BBH", descriptor, at)
            (mask,) = struct.unpack_from("<I", descriptor, at + 4)
            if kind not in _DENYING and not flags & _INHERIT_ONLY and mask & _READING:
                if kind not in _ALLOWED:
                    return f"its access list has an entry of a kind that files do not have ({kind}). {remedy}"
                if (sid := _sid(descriptor, at + 8)) not in allowed:
                    return f"{sid} may read it as well. {remedy}"
            at += size
    except struct.error:
        return f"its access list cannot be understood. {remedy}"
    return ""


def _sid(descriptor: bytes, at: int) -> str:
    """Given where a security identifier begins, return its text form."""
    revision, count = struct.unpack_from("<BB", descriptor, at)
    authority = int.from_bytes(struct.unpack_from("6s", descriptor, at + 2)[0], "big")
    return "-".join(
        str(part)
        for part in ("S", revision, authority, *struct.unpack_from(f"<{count}I", descriptor, at + 8))
    )
