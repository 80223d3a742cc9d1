"""What the blocks of a tape say, put together: sets, volumes, counts, faults, doubts. It reads no file.

A block belongs to the last directory, volume and set before it; nothing else links them (MTF 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from exremote.mtf.blocks import (
    ABORTED_SET,
    CORRUPT_OBJECT,
    LONG_NAME,
    METHOD_BITS,
    SOFT_FILEMARKS,
    Block,
    Stream,
    method_of,
)
from exremote.mtf.tape import DataSet, Fault, FaultKind, Found, Tape

MANY = 100
"""Faults and doubts that are listed; the rest is counted."""
MOST_SETS = 10_000
MOST_VOLUMES = 100
_NO_DATA = frozenset({"SPAD", "NACL", "PNAM", "FNAM", "CSUM", "CRPT"})
"""Streams that are not what a set was made for."""
_NO_SET = DataSet(0, "", "", "", "unknown", "", (), "", 0, 0, 0, 0, 0, False)


class Sets:
    """What was found so far."""

    def __init__(self, on_found: Callable[[Found], None]) -> None:
        self.flb = 0
        """bytes of a format logical block"""
        self.blocks = 0
        """that were read"""
        self._on_found = on_found
        self._tape: Block | None = None
        self._sets: list[DataSet] = []
        self._set = _NO_SET
        self._open = False
        self._type_bits = 0
        self._date = b""
        self._control = -1
        self._device = self._folder = ""
        self._folder_ids: set[int] = set()
        self._found: Found | None = None
        self._told: Found | None = None
        self._unnamed = False
        self._last = ""
        self._filemarks = 0
        self._marked = 0
        self._faults: list[Fault] = []
        self._more = 0
        self._doubts: dict[str, None] = {}

    @property
    def here(self) -> str:
        """Return where the walk is, for a sentence."""
        found = self._found or self._told
        if self._last in ("DIRB", "FILE", "CFIL") and found is not None:
            name = found.path or "without a name"
            return f"{found.kind} {name} (set {self._set.number})"
        of = f" of set {self._set.number}" if self._open and self._last != "TAPE" else ""
        return f"block {self._last or 'none'}{of}"

    def fault(self, kind: FaultKind, at: int, message: str) -> None:
        """Note what is broken."""
        if len(self._faults) < MANY:
            self._faults.append(Fault(kind, at, message))
        else:
            self._more += 1

    def doubt(self, sentence: str) -> None:
        """Note what cannot be told."""
        if len(self._doubts) < MANY:
            self._doubts.setdefault(sentence)

    # ------------------------------------------------------------ blocks

    def block(self, block: Block) -> None:
        """Given a block, take what it says."""
        self.blocks += 1
        self._last = block.kind
        if block.kind not in ("DIRB", "FILE", "CFIL"):
            self._told = None
        match block.kind:
            case "TAPE" if self._tape is None:
                self._tape, self.flb = block, block.number(84, 2)
                if (sequence := block.number(60, 2)) != 1:
                    what = f"it is medium {sequence} of a family, and the ones before are not in this file"
                    self.fault("other medium", block.at, what)
            case "TAPE":
                self.fault("corrupt", block.at, "a second TAPE block")
            case "SSET":
                self._begin_set(block)
            case "VOLB" | "DIRB" | "FILE" | "CFIL" | "ESPB" if not self._open:
                self.fault("corrupt", block.at, f"block {block.kind} outside of any set")
            case "VOLB":
                self._volume(block)
            case "DIRB":
                self._directory(block)
            case "FILE":
                self._file(block)
            case "CFIL":
                self._corrupt(block)
            case "ESET":
                self._end_set(block)
            case "SFMB":
                self._marked = block.number(56, 4)
                if self._marked != min(self._filemarks, block.number(52, 4)):
                    self.doubt(
                        f"filemark {self._filemarks + 1} names {self._marked} earlier ones; there are "
                        f"{self._filemarks}"
                    )
                self._filemarks += 1
            case "EOTM":
                # It stands where a medium was full; whether some ntbackup writes it to whole files is open.
                self.doubt(
                    "it has a block EOTM: either a writer's habit, or the family goes on in another file"
                )
            case "ESPB":
                pass
            case other:
                self.doubt(f"blocks of a kind that no description has: {other}")
        if self._open and block.kind not in ("SSET", "SFMB", "TAPE", "EOTM"):
            self._counted(block)

    def _counted(self, block: Block) -> None:
        if block.control <= self._control:
            self.doubt(
                f"set {self._set.number}: the running number of block {block.kind} at byte {block.at} does "
                "not go up"
            )
        self._control = block.control

    def block_ended(self) -> None:
        """Told that the streams of the last block are over."""
        if self._found is not None:
            if self._unnamed:
                self.doubt(f"set {self._set.number}: a long name was announced, and its stream is not there")
            self._told, self._found = self._found, None
            self._on_found(self._told)

    def named(self, name: str) -> None:
        """Given a name from a stream, take it for the object that it belongs to."""
        if self._found is None:
            return
        self._unnamed = False
        if self._found.kind == "directory":
            self._folder = _below(self._device, name)
            self._found = replace(self._found, path=self._folder)
        else:
            self._found = replace(self._found, path=self._file_path(self._found.kind, name))

    def stream(self, stream: Stream, end: int) -> None:
        """Given a stream whose data is over, take what it says."""
        if stream.kind == "CRPT":
            self.fault("corrupt", end, f"the tape marks a stream of {self.here} as not to be trusted")
            self._mark()
        elif stream.kind not in _NO_DATA and self._open:
            self._set = replace(self._set, bytes=self._set.bytes + stream.length)

    # ------------------------------------------------------------ sets

    def _begin_set(self, block: Block) -> None:
        if self._open:
            self._close(False)
            self.fault("not closed", block.at, f"{_called(self._sets[-1])} has no end")
        self._open = True
        self._type_bits, self._date = block.number(52, 4) & METHOD_BITS, block.data[88:93]
        self._control = -1
        self._device = self._folder = ""
        self._folder_ids = set()
        number = block.number(62, 2)
        self._set = DataSet(
            number,
            self._text(block, 64),
            self._text(block, 68),
            self._text(block, 76),
            method_of(self._type_bits),
            block.date(88),
            (),
            "",
            0,
            0,
            0,
            0,
            0,
            False,
        )
        due = self._sets[-1].number + 1 if self._sets else 1
        if number != due:
            self.fault("corrupt", block.at, f"set {number} begins where set {due} is due")

    def _end_set(self, block: Block) -> None:
        number = block.number(78, 2)
        if not self._open:
            # With a catalogue on the medium a set ends twice (MTF 7).
            if self._sets and number == self._sets[-1].number:
                return
            self.fault("corrupt", block.at, f"the end of set {number}, which did not begin")
            return
        closed = True
        for name, said, begun in (
            ("number", number, self._set.number),
            ("date", block.data[80:85], self._date),
            ("type", block.number(52, 4) & METHOD_BITS, self._type_bits),
        ):
            if said != begun:
                closed = False
                what = f"the end of {_called(self._set)} has another {name} than its beginning"
                self.fault("not closed", block.at, what)
        if block.attributes & ABORTED_SET:
            closed = False
            self.fault("aborted", block.at, f"{_called(self._set)} was broken off by the backup itself")
        corrupt = block.number(56, 4)
        if corrupt:
            self.fault("corrupt", block.at, f"{_called(self._set)} counts {corrupt} corrupt files")
        self._set = replace(self._set, corrupt_files=corrupt)
        self._close(closed)

    def _close(self, closed: bool) -> None:
        if len(self._sets) < MOST_SETS:
            self._sets.append(replace(self._set, closed=closed))
        else:
            self.fault("corrupt", 0, f"more than {MOST_SETS} sets")
        self._open = False

    # ------------------------------------------------------------ what is in a set

    def _volume(self, block: Block) -> None:
        self._device = self._text(block, 56)
        volumes = self._set.volumes
        if len(volumes) < MOST_VOLUMES:
            volumes = (*volumes, self._device)
        self._set = replace(self._set, volumes=volumes, machine=self._text(block, 64) or self._set.machine)
        self._folder = ""

    def _directory(self, block: Block) -> None:
        if len(self._folder_ids) < MOST_SETS:
            self._folder_ids.add(block.number(76, 4))
        self._folder_id = block.number(76, 4)
        self._folder = _below(self._device, self._text(block, 80))
        self._set = replace(self._set, directories=self._set.directories + 1)
        self._object("directory", self._folder, -1, block)

    def _file(self, block: Block) -> None:
        known = block.number(76, 4) == self._folder_id or block.number(76, 4) in self._folder_ids
        known = known and bool(self._set.directories)
        kind: Literal["file", "object"] = "file" if known else "object"
        self._set = replace(
            self._set, files=self._set.files + 1, objects=self._set.objects + (kind == "object")
        )
        # Of an object only the header is known to mean what it says.
        name = block.text(84)
        self._object(kind, self._file_path(kind, name or ""), block.displayable, block)

    _folder_id = 0

    def _object(
        self, kind: Literal["directory", "file", "object"], path: str, size: int, block: Block
    ) -> None:
        bits = block.number(52, 4) if kind != "object" else 0
        self._unnamed = bool(bits & LONG_NAME)
        self._found = Found(self._set.number, kind, path, size, block.date(56) if kind != "object" else "")
        if bits & CORRUPT_OBJECT:
            self.fault("corrupt", block.at, f"the tape marks {self.here} as corrupt")
            self._found = replace(self._found, corrupt=True)

    def _file_path(self, kind: str, name: str) -> str:
        return _below(self._folder or self._device, name) if kind == "file" else name

    def _corrupt(self, block: Block) -> None:
        bits = block.number(52, 4)
        reasons = {16: "its length changed", 17: "it could not be read", 18: "a deadlock"}
        why = ", ".join(text for bit, text in reasons.items() if bits & 1 << bit) or "no reason is given"
        where = block.number(64, 8)
        self.fault("corrupt", block.at, f"{self.here} is corrupt from its byte {where} on: {why}")
        self._mark()

    def _mark(self) -> None:
        if self._found is not None:
            self._found = replace(self._found, corrupt=True)
        elif self._told is not None:
            self._on_found(replace(self._told, corrupt=True))

    def _text(self, block: Block, offset: int) -> str:
        text = block.text(offset)
        if text is None:
            self.doubt(
                f"block {block.kind} at byte {block.at} has the address of a text that leads out of it"
            )
            return ""
        return text

    # ------------------------------------------------------------ the end

    def tape(self, size: int, walked: int, streams: int) -> Tape:
        """Given how long the file is and how far the walk came, return all that was found."""
        if self._open:
            self._close(False)
            self.fault("not closed", size, f"{_called(self._sets[-1])} has no end")
        tape = self._tape
        if tape is not None and not self._sets:
            self.fault("truncated", size, "there is no set in it")
        marked = tape is not None and tape.number(56, 4) & SOFT_FILEMARKS
        if marked and not self._faults and self._last not in ("SFMB", "EOTM"):
            self.fault("truncated", size, "the last filemark is missing")
        return Tape(
            size,
            walked,
            self._text(tape, 68) if tape else "",
            self._text(tape, 72) if tape else "",
            self._text(tape, 80) if tape else "",
            tape.number(86, 2) if tape else 0,
            self.flb,
            tuple(self._sets),
            self.blocks,
            streams,
            self._filemarks,
            tuple(self._faults),
            tuple(self._doubts),
            self._more,
        )


def _called(one: DataSet) -> str:
    return f"set {one.number}" + (f" ({one.name})" if one.name else "")


def _below(folder: str, name: str) -> str:
    """Given a folder and what is below it, its components parted by NUL, return the path."""
    parts = [part for part in name.split("\0") if part]
    return "\\".join([folder.rstrip("\\"), *parts]).lstrip("\\") if folder or parts else ""
