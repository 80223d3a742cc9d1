"""What a host is asked, and told, about access lists of files and folders. It judges none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from exremote.facts import AccessLists, FileDeed, parse_access_lists
from exremote.facts.parse import texts
from exremote.folding import folded
from exremote.session import places
from exremote.session.deeds import Deeds, split_lines
from exremote.session.line import Fields
from exremote.transport import Value

ASK, SET = "Get-FileSecurity", "Set-FileSecurity"


@dataclass(frozen=True, slots=True)
class ListRoot:
    """One folder whose access lists are asked for."""

    path: str
    """full path on the host"""
    only: tuple[str, ...] = ()
    """relative paths; of this folder nothing else is looked at. Empty: all of it"""
    skip: tuple[str, ...] = ()
    """relative paths of folders in which nothing is looked at"""


class Security(Deeds):
    """One host and one thread: its access lists."""

    def access_lists(
        self, roots: Sequence[ListRoot], accounts: Sequence[str] = ()
    ) -> tuple[list[AccessLists], frozenset[str]]:
        """Given folders, return of each what does not merely inherit, and which of these SIDs the host
        does not know. A folder that no gateway could reach spoils no other. Raise HostError; ScriptFailed
        (ExRemote.TooMany) if that is too much.
        """
        aside = {root.path: why for root in roots if self._hop and (why := self._hop.route.no_way(root.path))}
        asked = [root for root in roots if root.path not in aside]
        if not asked:
            return [AccessLists(reason=aside[root.path]) for root in roots], frozenset()
        parameters: dict[str, Value] = {
            "Path": [root.path for root in asked],
            "Only": [f"{n}|{name}" for n, root in enumerate(asked) for name in root.only] or None,
            "Skip": [f"{n}|{name}" for n, root in enumerate(asked) for name in root.skip] or None,
            "Account": sorted(accounts) or None,
        }

        def once() -> tuple[list[AccessLists], frozenset[str]]:
            summary: list[Fields] = []
            with closing(self._run(ASK, parameters)) as records:
                data = b"".join(self._bounded(ASK, self._blocks(records, summary)))
            record = self._summary(ASK, summary)
            read = iter(parse_access_lists(split_lines(ASK, data), len(asked)))
            found = [
                AccessLists(reason=aside[root.path]) if root.path in aside else next(read) for root in roots
            ]
            return found, frozenset(texts(ASK, record, "Unknown")) & frozenset(accounts)

        return self._retry(ASK, self._library.get(ASK).effect, once)

    def set_access_lists(self, root: str, lists: Sequence[tuple[str, str]]) -> list[FileDeed]:
        """Given a folder and pairs of relative path (`''`: itself) and SDDL, set each and have it read back.

        A folder is set before what lies in it. `owner`: all but the owner was set. Return what became of
        each, in the order of the deed. Raise PlanRefused for places that no plan may have, HostError.
        """
        ordered = sorted(lists, key=lambda one: (one[0].count("\\") + bool(one[0]), folded(one[0])))
        places.below(path for path, _ in ordered if path)
        paths = [path for path, _ in ordered]
        lines = [f"{sddl}\t{path}" for path, sddl in ordered]
        return self._move(SET, {"Path": places.folder(root)}, lines, paths, named="Lists")
