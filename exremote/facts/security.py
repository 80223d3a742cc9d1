"""Access lists and owners of files and folders: those that do not merely inherit, as SDDL. It judges none.

As a document of a snapshot they are text, a line a list, for people too; what stands in no line inherits all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from exremote.facts.parse import FactError
from exremote.folding import folded

SCRIPT = "Get-FileSecurity"
INHERIT = "D:"
"""The list of what inherits all, as `Set-FileSecurity` takes it."""
HEAD = "# Access lists (SDDL) of what does not merely inherit, and where: '.' is the folder itself.\n"
"""The first line of the document."""
_SDDL = re.compile(
    r"(O:S-1(-\d{1,20}){1,16})?"
    r"D:P?(\([AD];((OI|CI|NP|IO|ID)*);0x[0-9a-f]{1,8};;;S-1(-\d{1,20}){1,16}\))*"
)
_ERROR_ID = re.compile(r"!ExRemote\.[A-Za-z]{1,60}")
_SID = re.compile(r"S-1-[\d-]+")
MADE_UP = "what answers makes access lists up (Wine), and none of them is worth keeping"
"""Why nothing is kept of a host that is no Windows."""
_WINE = re.compile(r"O:S-1-5-21-0-0-0-\d+D:")
"""Wine's one user: no domain of Windows has such a number. It makes lists up from the rights of Unix."""


@dataclass(frozen=True, slots=True)
class AccessLists:
    """Below one root: the lists that are their own. What is in neither mapping inherits all."""

    lists: Mapping[str, str] = field(default_factory=dict)
    """SDDL by relative path, as the host spells it; `''` is the root"""
    unread: Mapping[str, str] = field(default_factory=dict)
    """error id by relative path"""
    reason: str = ""
    """why nothing can be said of the whole root: an error id, or words; empty if it could be looked at"""

    @classmethod
    def of(cls, lines: Iterable[Sequence[str]]) -> Self:
        """Given the fields of lines of one root, list or error and path. Raise FactError for what is none."""
        lists: dict[str, str] = {}
        unread: dict[str, str] = {}
        for said, path in lines:
            if not path and said.startswith("!"):
                return cls(reason=said[1:])
            if _SDDL.fullmatch(said):
                lists[path] = said
            elif _ERROR_ID.fullmatch(said):
                unread[path] = said[1:]
            else:
                raise FactError(SCRIPT, "output", f"{said[:200]!r} is no access list")
        if any(map(_WINE.match, lists.values())):
            return cls(reason=MADE_UP)
        return cls(lists, unread)

    def to_text(self) -> bytes:
        """Return it as the document of a snapshot, sorted by path."""
        rows = [(path, sddl) for path, sddl in self.lists.items()]
        rows += [(path, f"!{error}") for path, error in self.unread.items()]
        rows.sort(key=lambda row: (folded(row[0]), row[0]))
        return (HEAD + "".join(f"{said}\t{path or '.'}\n" for path, said in rows)).encode()

    @classmethod
    def from_text(cls, data: bytes) -> Self:
        """Given what `to_text` made, return it. Raise FactError if it is something else."""
        try:
            lines = data.decode().split("\n")
        except UnicodeDecodeError:
            raise FactError("a document", "access lists", "this is no UTF-8") from None
        rows = [line.partition("\t") for line in lines if line and not line.startswith("#")]
        if any(not path for _, _, path in rows):
            raise FactError("a document", "access lists", "a line names no place")
        return cls.of((said, "" if path == "." else path) for said, _, path in rows)


def accounts_in(sddl: str) -> set[str]:
    """Given a list, return the SIDs in it that only one domain or one computer knows."""
    return {sid for sid in _SID.findall(sddl) if sid.startswith("S-1-5-21-")}


def parse_access_lists(lines: Iterable[Sequence[str]], roots: int) -> list[AccessLists]:
    """Given the fields of the script's lines and the number of roots that were asked about, return what is
    said of each. Raise FactError if it breaks the contract.
    """
    found: list[list[tuple[str, str]]] = [[] for _ in range(roots)]
    for line in lines:
        if len(line) != 3 or not re.fullmatch(r"\d{1,4}", line[0]) or int(line[0]) >= roots:
            raise FactError(SCRIPT, "output", "a line about no root that was asked about")
        found[int(line[0])].append((line[1], line[2]))
    return [AccessLists.of(some) for some in found]
