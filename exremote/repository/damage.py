"""What `verify` found damaged, noted so that it counts as missing until it came anew.

A note is an empty file under damage/, named by the SHA-256 that the content should have. It is no part of any
snapshot, and says nothing of one: which name the content, their manifests know.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from exremote.repository import disk

_SHA256 = re.compile(r"[0-9a-f]{64}")


class DamageNotes:
    """The folder damage/ of a repository, there or not. All threads of a run share one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gate = threading.Lock()
        self._missing: set[str] | None = None

    def counts_as_missing(self, sha256: str) -> bool:
        """Given a digest, return whether its content is noted as damaged, and did not come since."""
        with self._gate:
            return sha256 in self._known()

    @property
    def any_noted(self) -> bool:
        """Whether any content counts as missing."""
        with self._gate:
            return bool(self._known())

    def _known(self) -> set[str]:
        """Return what counts as missing. Only with the gate held."""
        if self._missing is None:
            self._missing = self.read()
        return self._missing

    def came(self, sha256: str) -> None:
        """Given the digest of a content that is here anew, count it as here; its note stays as yet."""
        with self._gate:
            if self._missing is not None:
                self._missing.discard(sha256)

    def read(self) -> set[str]:
        """Return the digests that have a note now. Raise RepositoryError if nobody can tell."""
        try:
            return {path.name for path in self._folder.iterdir() if _SHA256.fullmatch(path.name)}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise disk.refusal(error, self._folder, "reading what is damaged") from error

    def add(self, digests: Collection[str]) -> None:
        """Given what was found damaged, note it. Raise RepositoryError if the system refuses."""
        if not digests:
            return
        with disk.said(self._folder, "noting what is damaged"):
            disk.make_folder(self._folder)
            for sha256 in digests:
                with suppress(FileExistsError):
                    disk.write_new(self._folder / sha256, b"", kept=False, sync=False)
            disk.sync_folders([self._folder, self._folder.parent])
        with self._gate:
            self._missing = None

    def clear(self, digests: Iterable[str]) -> None:
        """Given what is good again, take its notes away. Raise RepositoryError if the system refuses."""
        with disk.said(self._folder, "noting what is good again"):
            for sha256 in digests:
                disk.remove(self._folder / sha256)
                self.came(sha256)
        disk.leave_folder(self._folder)
