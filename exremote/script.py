"""Script, Effect, and the library of bundled PowerShell scripts. It never runs one and never changes a text.

What is known of a script is read from its own help and param block, once, when the library is loaded. A
script that does not keep the contract (ps_scripts/README.md) is refused there and then, by file and line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from exremote.errors import ScriptLibraryError

_SECTION = re.compile(r"^\.([A-Za-z]+)[ \t]*(.*)$")
_NOTE = re.compile(r"^(Effect|Rights|Errors):\s*(.*)$")
_PROPERTY = re.compile(r"([A-Za-z][A-Za-z0-9]*) \[([A-Za-z]+(?:\[\])?)\]")
_ERROR_ID = re.compile(r"ExRemote\.[A-Za-z]+")
_PARAM = re.compile(r"^param\s*\(", re.MULTILINE | re.IGNORECASE)
_BETWEEN = r"(?:\s|#[^\n]*|<#.*?#>)*"
_BRACKET = re.compile(_BETWEEN + r"\[", re.DOTALL)
_VARIABLE = re.compile(_BETWEEN + r"\$([A-Za-z][A-Za-z0-9]*)", re.DOTALL)
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"`]|`.|"")*"|<\#.*?\#>|\#[^\n]*|[()\[\]{},]""", re.DOTALL)
_TRUE = re.compile(r"\bMandatory\s*=\s*\$true\b", re.IGNORECASE)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_CALLED = {"security.securestring": "securestring", "int32": "int", "int64": "long", "boolean": "bool"}


class Effect(StrEnum):
    """What running a script twice means; retry and resume hang on it."""

    READ = "Read"
    """changes nothing"""
    CONVERGE = "Converge"
    """may be repeated, with the same end"""
    ONCE = "Once"
    """may not be repeated"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a script, as its param block declares it."""

    name: str
    """as it is passed, without the dollar sign"""
    type: str
    """string, string[], int, long, bool, switch, securestring, ..."""
    mandatory: bool
    """whether a call without it is wrong"""
    values: tuple[str, ...]
    """what ValidateSet allows; empty if it may be anything"""


@dataclass(frozen=True, slots=True)
class Script:
    """One bundled script, and what its help says of it."""

    name: str
    """path below the library without `.ps1`, with `/`: `Get-HostFact`, `wire/Receive-Call`"""
    text: str
    """the whole file, with line feeds"""
    effect: Effect
    """what running it twice means"""
    digest: str
    """SHA-256 over the text as UTF-8: its identity on both sides of the wire"""
    parameters: tuple[Parameter, ...]
    """in the order of the param block"""
    synopsis: str
    """one sentence"""
    description: str
    """what it does, lines joined"""
    outputs: tuple[str, ...]
    """the lines of .OUTPUTS"""
    output_properties: tuple[tuple[tuple[str, str], ...], ...]
    """for each of these lines the properties that it names, (name, type); empty where it names none"""
    rights: str
    """what the account must be allowed"""
    errors: tuple[str, ...]
    """the error ids that it can end with, `ExRemote.X`"""
    path: Path
    """where it was read"""

    def parameter(self, name: str) -> Parameter | None:
        """Given a name, in any case as PowerShell takes it, return the parameter, or None."""
        return next((one for one in self.parameters if one.name.lower() == name.lower()), None)


class ScriptLibrary:
    """The bundled scripts, by name and by digest."""

    def __init__(self, scripts: tuple[Script, ...], folder: Path) -> None:
        self.folder = folder
        self._by_name = {script.name: script for script in scripts}
        self._by_digest = {script.digest: script for script in scripts}

    @classmethod
    def load(cls, folder: Path | None = None) -> ScriptLibrary:
        """Given a folder (or none: the bundled one), read every script in it and below.

        Return the library. Raise ScriptLibraryError if there is none, or one does not keep its contract.
        """
        folder = folder or _bundled()
        try:
            paths = sorted(folder.rglob("*.ps1"))
        except OSError as error:
            raise ScriptLibraryError(f"cannot be listed: {error.strerror}", file=folder) from error
        if not paths:
            raise ScriptLibraryError(
                "holds no script (*.ps1).",
                file=folder,
                remedy="Reinstall exremote; the scripts belong to it.",
            )
        return cls(tuple(_read(path, folder) for path in paths), folder)

    def get(self, name: str) -> Script:
        """Given a name, return the script. Raise ScriptLibraryError if there is none of that name."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ScriptLibraryError(f"there is no script {name!r}.", file=self.folder) from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def by_digest(self, digest: str) -> Script | None:
        """Given the SHA-256 of a text, return the script that it is, or None."""
        return self._by_digest.get(digest)

    def __iter__(self) -> Iterator[Script]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)


def _bundled() -> Path:
    here = Path(__file__).resolve().parent
    installed = here / "_ps_scripts"
    return installed if installed.is_dir() else here.parent / "ps_scripts"


def _read(path: Path, folder: Path) -> Script:
    try:
        text = path.read_bytes().decode("ascii").replace("\r\n", "\n")
    except OSError as error:
        raise ScriptLibraryError(f"cannot be read: {error.strerror}", file=path) from error
    except UnicodeDecodeError as error:
        raise ScriptLibraryError(
            f"has a byte outside ASCII at {error.start}, which 2.0 reads in the server's own code page.",
            file=path,
        ) from None
    sections, body = _help(text, path)
    notes = _notes(sections["NOTES"])
    try:
        effect = Effect(notes.get("Effect", ""))
    except ValueError:
        raise ScriptLibraryError(
            f"'Effect: {notes.get('Effect', '')}' is not one of {', '.join(Effect)}.", file=path, key=".NOTES"
        ) from None
    outputs = tuple(line.strip() for line in sections["OUTPUTS"].splitlines() if line.strip())
    return Script(
        name=path.relative_to(folder).with_suffix("").as_posix(),
        text=text,
        effect=effect,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        parameters=_parameters(text, body, path),
        synopsis=" ".join(sections["SYNOPSIS"].split()),
        description=" ".join(sections["DESCRIPTION"].split()),
        outputs=outputs,
        output_properties=tuple(
            tuple((match[1], match[2]) for match in _PROPERTY.finditer(line)) for line in outputs
        ),
        rights=notes.get("Rights", ""),
        errors=tuple(_ERROR_ID.findall(notes.get("Errors", ""))),
        path=path,
    )


def _help(text: str, path: Path) -> tuple[dict[str, str], int]:
    """Return the sections of the help comment that a script begins with, and where its body begins."""
    end = text.find("#>")
    if not text.startswith("<#") or end < 0:
        raise ScriptLibraryError("does not begin with a help comment.", file=path, line=1)
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text[2:end].splitlines():
        if match := _SECTION.match(line):
            lines = sections.setdefault(match[1].upper(), [])
        else:
            lines.append(line.strip())
    found = {name: "\n".join(lines).strip() for name, lines in sections.items()}
    for name in ("SYNOPSIS", "DESCRIPTION", "EXAMPLE", "OUTPUTS", "NOTES"):
        if not found.get(name):
            raise ScriptLibraryError("is missing or empty in the help.", file=path, key=f".{name}")
    return found, end + 2


def _notes(text: str) -> dict[str, str]:
    """Return the `Word: text` lines of .NOTES; a line without such a word goes on with the one before."""
    notes: dict[str, str] = {}
    word = ""
    for line in text.splitlines():
        if match := _NOTE.match(line):
            word, line = match[1], match[2]
        if word:
            notes[word] = f"{notes.get(word, '')} {line}".strip()
    return notes


def _parameters(text: str, body: int, path: Path) -> tuple[Parameter, ...]:
    """Return what the script's param block declares. Raise ScriptLibraryError if there is none to be read."""
    start = _PARAM.search(text, body)
    if start is None:
        raise ScriptLibraryError("has no param block.", file=path)
    try:
        return tuple(
            _parameter(text[left:right])
            for left, right in _pieces(text, start.end())
            if text[left:right].strip()
        )
    except ValueError as error:
        line = text.count("\n", 0, start.start()) + 1
        raise ScriptLibraryError(str(error), file=path, line=line, key="param") from None


def _parameter(declaration: str) -> Parameter:
    """Return one parameter from its attributes, its type and its name. Raise ValueError if it is neither."""
    kind, mandatory, place = "object", False, 0
    values: tuple[str, ...] = ()
    while (bracket := _BRACKET.match(declaration, place)) is not None:
        *_, (_, close) = _pieces(declaration, bracket.end())
        inside, place = declaration[bracket.end() : close], close + 1
        name, is_attribute, arguments = inside.partition("(")
        name = name.strip().lower()
        if not is_attribute:
            kind = _CALLED.get(name, name)
        elif name == "parameter":
            mandatory = mandatory or _TRUE.search(arguments) is not None
        elif name == "validateset":
            values = tuple(one.replace("''", "'") for one in _STRING.findall(arguments))
    variable = _VARIABLE.match(declaration, place)
    if variable is None:
        raise ValueError(f"a parameter cannot be read: {' '.join(declaration.split())[:80]}")
    return Parameter(variable[1], kind, mandatory, values)


def _pieces(text: str, start: int) -> list[tuple[int, int]]:
    """Return where the parts between commas are, from behind an opening bracket to the one that closes it.

    Brackets inside, strings and comments are stepped over. Raise ValueError if nothing closes it.
    """
    pieces: list[tuple[int, int]] = []
    depth, left = 0, start
    for token in _TOKEN.finditer(text, start):
        mark = token[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}" and depth:
            depth -= 1
        elif mark in ")]}":
            return [*pieces, (left, token.start())]
        elif mark == "," and not depth:
            pieces.append((left, token.start()))
            left = token.end()
    raise ValueError("a bracket is not closed")
