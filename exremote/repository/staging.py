"""Where one host's files of one run lie until they are whole. It never knows what a file was for."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from types import TracebackType

from exremote.repository import disk
from exremote.repository.objects import ObjectStore, ObjectWriter, whole_files
from exremote.repository.parts import Assembly


class Staging:
    """Where one host's files of one run lie until they are whole. Threads may share one."""

    def __init__(self, folder: Path, store: ObjectStore, kept: Path) -> None:
        """`kept`: where parts of known contents lie that killed runs left."""
        self._folder = folder
        self._kept = kept
        self._store = store
        self._writers: set[ObjectWriter] = set()  # those that are open
        with disk.said(folder, "making a folder for partial files"):
            disk.make_folder(folder)
            for done in sorted(whole_files(folder)):
                # Finished before a crash. What it was is forgotten: to be safe, it is a secret.
                store.add(done, disk.digest_of(done), done.stat().st_size, secret=True)

    def writer(self, key: str) -> ObjectWriter:
        """Given what this file is called within the run, open it; what came in before is still there."""
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        writer = ObjectWriter(self._folder / f"{name}.part", self._store, self._writers.discard)
        self._writers.add(writer)
        return writer

    def assembly(self, sha256: str, size: int) -> Assembly:
        """Given a content's digest and size, take up what there is of it, here or left by a killed run."""
        return Assembly(
            self._folder, self._kept, self._store, sha256, size, self._writers.add, self._writers.discard
        )

    def close(self) -> None:
        """Put finished files in place, keep unfinished ones. Raise RepositoryError if the system refuses."""
        for writer in list(self._writers):
            writer.close()
        self._store.settle()
        for folder in (self._folder, self._folder.parent, self._kept):
            disk.leave_folder(folder)

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(Exception):  # what broke the run is the news
            self.close()
