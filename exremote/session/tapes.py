"""The question about a tape file that lies on the host: its blocks come home, its data does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

from exremote.facts import TapeFile
from exremote.pack import PackError, PieceReader
from exremote.session.answers import same_path
from exremote.session.line import Fields
from exremote.session.share_hop import ShareHop

T = TypeVar("T")


class Tapes(ShareHop):
    """One host's tape files."""

    def read_tape(self, path: str, walk: Callable[[Iterable[bytes | int]], T]) -> tuple[TapeFile, T]:
        """Given a tape file's full path, and what walks through it, return the file and what that found.

        On a share that went away no file is missing: then ScriptFailed is raised, too.
        `walk` gets bytes, and the numbers of those left out between, up to the file's end; it is called once
        more where the line was lost. Raise ScriptFailed if the file cannot be read, or another HostError.
        """
        name = "Read-TapeBlock"

        def once() -> tuple[TapeFile, T]:
            found: list[TapeFile] = []
            still_there = self._on_share(path.rpartition("\\")[0])
            # Hashing takes as long as the disk needs; the host's own deadline holds.
            with closing(self._run(name, {"Path": path}, self.host.deadlines.host_s)) as records:

                def pieces() -> Iterator[bytes | int]:
                    reader, summary = PieceReader(), list[Fields]()
                    yield from reader.read(self._blocks(records, summary))
                    found.append(TapeFile.parse(self._summary(name, summary)))
                    yield reader.rest(found[0].size)

                walked = walk(pieces())
            if not found:
                raise PackError("pieces that were not read to their end")
            if not same_path(found[0].path, path):
                raise self._mismatch(f"the answer about {path} (it names {found[0].path[:200]!r})")
            if not found[0].exists:
                still_there()
            return found[0], walked

        return self._retry(name, self._library.get(name).effect, once)
