"""What a host says of folders, files and tables. Never the text of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from exremote.compact import Compact
from exremote.facts.codec import between
from exremote.facts.parse import FactError, Record, take
from exremote.facts.reasons import in_words

_TICKS = between(0, 3_155_378_975_999_999_999)
"""What DateTime.Ticks can be: to the end of the year 9999."""


EntryState = Literal["file", "directory", "excluded", "reparse", "unreadable", "unhashed"]
"""What became of one entry of a tree."""


class _Entry(Protocol):
    """One line of a tree listing, as the pack format parses it."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def modified_ticks(self) -> int: ...
    @property
    def attributes(self) -> int: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def state(self) -> EntryState: ...
    @property
    def error_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a tree."""

    path: str
    r"""Relative to the tree, with `\`."""
    size: int
    """Bytes; -1 for a directory."""
    modified_ticks: int = field(metadata=_TICKS)
    """Last write time in .NET ticks (100 ns since the year 1, UTC)."""
    attributes: int
    """Windows file attributes."""
    sha256: str | None
    """Digest, if it was asked for and could be had."""
    state: EntryState
    """`file`: read whole; `excluded`: listed only; `unhashed`: not read, for nobody wanted a digest."""
    error_id: str = ""
    """Why it is unreadable, e.g. `ExRemote.FileLocked`."""


def _entry_of_row(
    path: str, size: int, ticks: int, attributes: int, digest: bytes | None, state: EntryState, error_id: str
) -> FileEntry:
    """Given the values of an entry as the pack format's listings keep them, return the entry."""
    return FileEntry(path, size, ticks, attributes, digest.hex() if digest else None, state, error_id)


@dataclass(frozen=True, slots=True)
class TreeFact:
    """A folder and all below it: `Get-FileTree`."""

    path: str
    """The folder on the host."""
    exists: bool
    """True if it is there."""
    files: int
    """Files, without those that were left out."""
    bytes: int
    """Their size."""
    digest: str
    """Identity of the tree; '' if it is not there."""
    entries: Sequence[FileEntry] = ()
    """Sorted by path; of a `Compact` each is made anew when it is looked at."""

    @classmethod
    def parse(cls, record: Record, entries: Iterable[_Entry] = ()) -> Self:
        """Given the summary record and the listing's entries, return the fact. Raise FactError."""
        script = "Get-FileTree"
        return cls(
            path=take(script, record, "Path", str),
            exists=take(script, record, "Exists", bool),
            files=take(script, record, "Files", int),
            bytes=take(script, record, "Bytes", int),
            digest=take(script, record, "Digest", str),
            entries=entries.read_as(_entry_of_row)
            if isinstance(entries, Compact)
            else tuple(
                FileEntry(e.path, e.size, e.modified_ticks, e.attributes, e.sha256, e.state, e.error_id)
                for e in entries
            ),
        )


@dataclass(frozen=True, slots=True)
class WriteFailure:
    """A file that could not be written: `Write-FilePack`."""

    index: int
    """Its number among those that were sent."""
    error_id: str
    """`ExRemote.AccessDenied`, `FileLocked`, `Damaged` or `WriteFailed`."""
    message: str
    """In the host's language."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given a record, return the failure. Raise FactError."""
        script = "Write-FilePack"
        return cls(
            take(script, record, "Index", int),
            take(script, record, "ErrorId", str),
            take(script, record, "Message", str),
        )


@dataclass(frozen=True, slots=True)
class RegistryExport:
    """A key as reg.exe wrote it: `Export-RegistryKey`. Not part of `HostFacts`."""

    exists: bool
    """True if the key is there."""
    data: bytes = field(repr=False)
    """The .reg file, byte for byte."""
    sha256: str
    """The digest that the host computed."""

    @classmethod
    def parse(cls, record: Record, data: bytes) -> Self:
        """Given the summary record and the bytes before it, return the fact. Raise FactError."""
        script = "Export-RegistryKey"
        exists = take(script, record, "Exists", bool)
        if take(script, record, "Bytes", int) != len(data):
            raise FactError(script, "Bytes", f"says {record['Bytes']}, and {len(data)} came")
        return cls(exists, data, take(script, record, "Sha256", str))


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One file that a connector names: whether it is there. Never its text."""

    path: str
    """Full path on the host."""
    exists: bool
    """True if it could be opened."""
    size: int = 0
    """Bytes."""
    sha256: str = ""
    """Digest of the whole file."""
    error: str = ""
    """Why it could not be read; '' if it is only not there."""
    modified_ticks: int = field(default=0, metadata=_TICKS)
    """Last write time in .NET ticks (100 ns since the year 1, UTC), after the last byte was read."""
    attributes: int = 0
    """Windows file attributes."""
    kind: str = ""
    """What program it is, if anybody looked: PE (Windows), NE or LE (16 bit), MZ (MS-DOS); '' if none."""
    version: str = ""
    """The version that the file carries, e.g. `6.5.7226.0`; '' if none, or if nobody looked."""

    @property
    def bits(self) -> int:
        """Return 16 for a program of 16 bit, 32 for one of Windows, 0 if that is not known."""
        return {"PE": 32, "NE": 16, "LE": 16, "MZ": 16}.get(self.kind, 0)

    @property
    def words(self) -> str:
        """Return what program it is, for people."""
        kinds = {"PE": "a program of Windows", "NE": "a program of 16 bit", "LE": "a program of 16 bit"}
        what = {**kinds, "MZ": "a program of MS-DOS"}.get(self.kind, "no known kind of program")
        return f"{what}, version {self.version or 'unknown'}"

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Get-FileFact"
        error = take(script, record, "Error", str)
        ticks = take(script, record, "ModifiedTicks", int)
        if not _TICKS["range"][0] <= ticks <= _TICKS["range"][1]:
            raise FactError(script, "ModifiedTicks", "the number is out of range")
        return cls(
            path=take(script, record, "Path", str),
            exists=take(script, record, "Exists", bool) and not error,
            size=take(script, record, "Size", int),
            sha256=take(script, record, "Sha256", str),
            error=in_words(error),
            modified_ticks=ticks,
            attributes=take(script, record, "Attributes", int),
            kind=take(script, record, "Kind", str),
            version=take(script, record, "Version", str),
        )


@dataclass(frozen=True, slots=True)
class TableText:
    """What health needs of a mapping table's text. Never the text."""

    path: str
    """Full path on the host."""
    lines: int
    """Lines with something on them."""
    tab_lines: tuple[int, ...]
    """Numbers of the lines, from 1, that have a tab in them."""

    @classmethod
    def read(cls, path: str, data: bytes) -> Self:
        """Given a table's bytes, return what is kept of them."""
        lines = data.splitlines()
        tabs = tuple(number for number, line in enumerate(lines, 1) if b"\t" in line)
        return cls(path, sum(1 for line in lines if line.strip()), tabs)


@dataclass(frozen=True, slots=True)
class NotesIni:
    """What health needs of a Notes.ini. Never the text, which may hold secrets."""

    path: str
    """Full path on the host."""
    exists: bool
    """True if it could be read."""
    has_section: bool = False
    """True if it has the line `[Notes]`."""
    has_kittype: bool = False
    """True if it has the line `KitType=1`."""
    directory: str = ""
    """What `Directory=` says; '' if it is missing."""
    key_file: str = ""
    """What `KeyFileName=` says, the name of the ID file; '' if it is missing."""

    @classmethod
    def read(cls, path: str, data: bytes) -> Self:
        """Given the file's bytes, return what is kept of them."""
        lines = [line.strip() for line in data.decode("latin-1").splitlines()]
        values: dict[str, str] = {}
        for name, mark, value in (line.partition("=") for line in lines):
            if mark:  # of two lines with one name Windows takes the first
                values.setdefault(name.strip().lower(), value.strip())
        return cls(
            path=path,
            exists=True,
            has_section="[notes]" in (line.lower() for line in lines),
            has_kittype=values.get("kittype") == "1",
            directory=values.get("directory", ""),
            key_file=values.get("keyfilename", ""),
        )

    @property
    def lines(self) -> Mapping[str, str]:
        """Return the lines that name a place, by their names in lower case."""
        return {"directory": self.directory, "keyfilename": self.key_file}
