"""How single files of a host are looked into: what each is, and how its text begins. It keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from exremote.connector import below, tidy
from exremote.errors import ScriptFailed, TransferMismatch
from exremote.facts import NamedFile, in_words, reason_of
from exremote.pack import FileBegin, FileData, FileEnd, FileError, PackError, PackReader

MAX_TEXT = 1 << 20
"""How much of a table or Notes.ini is looked at."""
MAX_READ = 1 << 30
"""How much of a file is read for its digest: no file that a connector names is so large."""
SLACK = 16 << 20
"""How much a file may grow while it is read."""


class PackSource(Protocol):
    """What reading needs of a session."""

    def read_pack(
        self, path: str, files: Sequence[str], start_index: int = 0, start_offset: int = 0
    ) -> Iterator[bytes]:
        """Read files of a folder."""

    def resume(self, script: str, attempt: Callable[[], None], mark: Callable[[], object]) -> None:
        """Attempt a reading until it is done or patience is at its end."""


def read_file(source: PackSource, host: str, path: str) -> tuple[NamedFile, bytes]:
    """Given a full path, return the file as it is, and its first MiB. Raise HostError if the host is lost."""
    folder, _, name = path.rpartition("\\")
    try:
        return read_files(source, host, folder, [name])[0]
    except ScriptFailed as error:
        gone = error.error_id == "ExRemote.PathMissing"
        return NamedFile(path, False, error="" if gone else reason_of(error)), b""


def read_files(
    source: PackSource, host: str, folder: str, wanted: Sequence[str]
) -> list[tuple[NamedFile, bytes]]:
    """Given a folder and names, return each file as it is, and its first MiB. Raise HostError."""
    folder = tidy(folder)
    answers: list[tuple[NamedFile, bytes]] = []

    def attempt() -> None:
        answers.clear()
        reader, data, path, attributes, most = PackReader(), bytearray(), "", 0, 0
        try:
            for plain in source.read_pack(folder, wanted):
                for event in reader.feed(plain):
                    match event:
                        case FileBegin():
                            path, attributes = below(folder, wanted[event.index]), event.attributes
                            data.clear()
                            most = min(event.size + SLACK, MAX_READ)
                        case FileData():
                            most -= len(event.data)
                            if most < 0:
                                raise _endless(host, path)
                            data += event.data[: max(0, MAX_TEXT - len(data))]
                        case FileEnd(size, ticks, sha256):
                            answers.append(
                                (NamedFile(path, True, size, sha256, "", ticks, attributes), bytes(data))
                            )
                        case FileError():
                            answers.append((_not_read(below(folder, wanted[event.index]), event), b""))
            reader.finish()
        except (PackError, IndexError) as error:
            raise TransferMismatch(host, f"the stream of {folder} is damaged: {error}") from error
        if len(answers) != len(wanted):
            raise TransferMismatch(
                host, f"{len(wanted)} files of {folder} were asked for, {len(answers)} came"
            )

    source.resume("Read-FilePack", attempt, lambda: 0)
    return answers


def _endless(host: str, path: str) -> ScriptFailed:
    return ScriptFailed(
        host,
        f"{path} is longer than it was said to be, and was not read to its end",
        script="Read-FilePack",
        error_id="Session.EndlessAnswer",
    )


def _not_read(path: str, event: FileError) -> NamedFile:
    """Given what the host said of a file that it did not send, return it: gone, or closed to us."""
    gone = event.error_id == "ExRemote.FileMissing"
    return NamedFile(path, False, error="" if gone else in_words(f"{event.error_id}: {event.message}"))
