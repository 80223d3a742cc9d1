"""What changes a host: its services, files and registry values, one script a deed. It decides nothing.

Each deed may be repeated with the same end, so a line that was lost is no reason to stop. What cannot be done
to one file or value is told of that one, and the rest goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TypeVar

from exremote.errors import PlanRefused, ScriptFailed
from exremote.facts import (
    CopyFailure,
    FactError,
    FileDeed,
    RegistryDeed,
    RegistrySetting,
    RemovedFile,
    ServiceChange,
    StartMode,
    SwapFile,
    TreeCopy,
    WantedState,
    folder_removed,
    guard_started,
)
from exremote.folding import folded
from exremote.pack import PackError, encode_lines, seal_settings
from exremote.session import places
from exremote.session.line import Fields, Line
from exremote.transport import Value

T = TypeVar("T")
_SHA256 = re.compile("[0-9a-fA-F]{64}")
AT_ONCE = 4000
"""Files that one script moves: a call has an end, and the plan hears of it."""
GUARD_S = 60.0
"""How long a guard may take to be set up, in seconds."""
START_S = 120.0
"""What a script may need beside the waiting that it was told to do."""


class Deeds(Line):
    """One host and one thread: what can be done to it."""

    def set_service(
        self,
        name: str,
        state: WantedState | None,
        deadline_s: float,
        start_mode: StartMode | None = None,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> ServiceChange:
        """Given a service, bring it to a state and a start mode (None: that stays), waiting so long.

        What depends on it is stopped before it. `waited` is told every few seconds. Return what became of it.
        Raise ScriptFailed (ExRemote.ServiceMissing, ServiceStuck with the state it hangs in, ServiceDisabled,
        ServiceDenied, ServiceFailed if Windows refuses or it stops again while it starts), or another
        HostError.
        """
        script = "Set-ServiceState"
        seconds = max(1, min(86400, math.ceil(deadline_s)))
        parameters: dict[str, Value] = {
            "Name": name,
            "State": state,
            "StartMode": start_mode,
            "DeadlineSeconds": seconds,
        }

        def once() -> ServiceChange:
            summary: list[Fields] = []
            with closing(self._run(script, parameters, seconds + START_S)) as records:
                for record in records:
                    if isinstance(record, int):
                        waited(record / 1000)
                    else:
                        summary.append(self._fields(script, record))
            change = ServiceChange.parse(self._summary(script, summary))
            if folded(change.name) != folded(name) or (state is not None and change.state != state):
                raise FactError(script, "output", f"{change.name[:200]!r} is {change.state[:50]!r}")
            return change

        return self._retry(script, self._library.get(script).effect, once)

    def remove_files(
        self, root: str, patterns: Sequence[str], names: Sequence[str] = ()
    ) -> list[RemovedFile]:
        """Given a folder, remove the files directly in it that match (`*.seq`), and the named ones below it.

        Return them, and those that match further below, which stay. Nothing behind a link is looked at or
        removed. Raise PlanRefused for a place or a pattern that no plan may have, HostError.
        """
        if not patterns and not names:
            return []
        parameters: dict[str, Value] = {
            "Path": places.folder(root),
            "Pattern": places.patterns(patterns) or None,
            "Files": encode_lines(places.below(names)) if names else None,
        }
        return self._lines(
            "Remove-WorkFile", parameters, lambda lines: [RemovedFile.parse(line) for line in lines]
        )

    def swap_files(
        self,
        staging: str,
        root: str,
        aside: str,
        files: Sequence[SwapFile],
        swapped: Callable[[Sequence[FileDeed]], None] = lambda deeds: None,
    ) -> list[FileDeed]:
        r"""Given staged files, have each take its place below a folder, and what is there go aside.

        A staged file that is not what it has to be moves nothing; a file that is right already stays, and has
        its time and attributes set. Time and attributes are those of each `SwapFile`, also over a read-only
        file. What cannot be done is a deed that failed, and the rest goes on: ExRemote.Locked, Link (a way
        over a link), IsFolder, FileMissing and Damaged (staged), AsideTaken (an earlier one is kept there),
        NotMovedBack (what was there is aside, and nothing in its place), and others. All three folders are
        on one volume. A file keeps the access list that it got in staging. `swapped` is told after each few
        thousand. Raise PlanRefused for places that no plan may have, HostError.
        """
        places.below(file.path for file in files)
        roots = self._apart({"Staging": staging, "Path": root, "Aside": aside})

        def line(file: SwapFile) -> str:
            if not _SHA256.fullmatch(file.sha256) or file.size < 0:
                raise PlanRefused(f"{file.path[:200]!r} has no digest or no size that a file can have.")
            ticks, attributes = file.modified_ticks, file.attributes & 0x7FFFFFFF
            return f"{file.sha256}\t{file.size}\t{ticks}\t{attributes}\t{file.path}"

        lines = [line(file) for file in files]
        return self._move("Move-StagedFile", roots, lines, [file.path for file in files], swapped)

    def move_aside(self, root: str, aside: str, paths: Sequence[str]) -> list[FileDeed]:
        """Given files below a folder, move each aside, on the same volume, with its relative path.

        One that is aside already and no more in its place is `moved`, too. Return what became of each; see
        `swap_files` for what can fail. Raise PlanRefused, HostError.
        """
        names = places.below(paths)
        return self._move("Move-FileAside", self._apart({"Path": root, "Aside": aside}), names, names)

    def set_folders(self, root: str, folders: Sequence[str], present: bool) -> list[FileDeed]:
        """Given folders below a folder, make them, or remove those that are empty. The host looks again.

        One that has something in it is `full`, and stays. Return what became of each: ExRemote.IsFile, Link,
        BadName, AccessDenied, MakeFailed and RemoveFailed are failures. Raise PlanRefused, HostError.
        """
        # Made from above, removed from below: none is full only because of another one of them.
        names = sorted(places.below(folders), key=lambda name: name.count("\\"), reverse=not present)
        roots: dict[str, Value] = {"Path": places.folder(root), "Absent": None if present else True}
        return self._move("Set-Folder", roots, names, names, named="Folders")

    def remove_folder(self, path: str) -> bool:
        """Given a folder whose own name begins with `exremote-`, remove it and all below, links not followed.

        Return False if it is not there. Raise PlanRefused for any other folder, HostError.
        """
        script = "Remove-StagingFolder"
        place = places.staging(path)

        def once() -> bool:
            summary: list[Fields] = []
            with closing(self._run(script, {"Path": place}, self.host.deadlines.host_s)) as records:
                summary += [self._fields(script, record) for record in records if not isinstance(record, int)]
            return folder_removed(self._summary(script, summary))

        return self._retry(script, self._library.get(script).effect, once)

    def copy_tree(
        self, root: str, staging: str, copied: Callable[[int], None] = lambda size: None
    ) -> TreeCopy:
        """Given a folder, copy it with all below into a folder whose name begins with `exremote-`.

        `copied` is told of bytes now and then. Return what became of it. Raise PlanRefused for places
        that no plan may have, ScriptFailed (ExRemote.PathMissing, DiskFull), or another HostError.
        """
        script = "Copy-FileTree"
        parameters: dict[str, Value] = {"Path": places.folder(root), "Staging": places.staging(staging)}

        def once() -> TreeCopy:
            failures: list[CopyFailure] = []
            summary: list[Fields] = []
            # As long as gigabytes take; only the host's own deadline holds.
            with closing(self._run(script, parameters, self.host.deadlines.host_s)) as records:
                for record in records:
                    if isinstance(record, int):
                        copied(record)
                    elif "File" in (fields := self._fields(script, record)):
                        failures.append(CopyFailure.parse(fields))
                    else:
                        summary.append(fields)
            return TreeCopy.parse(self._summary(script, summary), failures)

        return self._retry(script, self._library.get(script).effect, once)

    def start_guard(self, folder: str, services: Sequence[str], seconds: float) -> bool:
        """Given services, have the host start them after so long, unless the folder is removed before.

        Return whether the guard waits. Raise PlanRefused for a place that no plan may have, ScriptFailed
        (ExRemote.BadArgument, StartFailed), RemoteTimeout if that takes too long, or another HostError.
        """
        script = "Start-ServiceGuard"
        after = max(1, min(86400, math.ceil(seconds)))
        parameters: dict[str, Value] = {
            "Folder": places.staging(folder),
            "Service": list(services),
            "Seconds": after,
        }

        # Once, and not for long: WMI that hangs must not keep everything else waiting.
        with closing(self._run(script, parameters, GUARD_S)) as records:
            return guard_started(self._summary(script, [self._fields(script, r) for r in records]))

    def set_registry_values(self, values: Sequence[RegistrySetting]) -> list[RegistryDeed]:
        """Given values of HKLM, set or remove each, byte for byte, and have it read back. Keys are made.

        A key is the one of that path that PowerShell on the host sees, as in an export: on a 64-bit Windows,
        of which Exchange 2003 knows nothing, the keys of 32-bit programs have `Wow6432Node` in their path.
        A kind, or data, that .NET there cannot write unchanged (text without its NUL, say) fails as
        ExRemote.KindUnsupported. Raise PlanRefused for another key, or too much at once, HostError.
        """
        if not values:
            return []
        try:
            blocks = list(seal_settings((places.key(v.key), v.name, v.kind, v.data) for v in values))
        except PackError as error:
            raise self._too_much("Set-RegistryValue", error) from None

        def read(lines: Sequence[Sequence[str]]) -> list[RegistryDeed]:
            _each("Set-RegistryValue", lines, values)
            return [RegistryDeed.parse(line, value) for line, value in zip(lines, values, strict=True)]

        return self._lines("Set-RegistryValue", {}, read, blocks)

    @staticmethod
    def _apart(roots: Mapping[str, str]) -> dict[str, Value]:
        """Given folders, return them as parameters. Raise PlanRefused if one is none, or two are the same."""
        found: dict[str, Value] = {name: places.folder(path) for name, path in roots.items()}
        if len({folded(str(path)) for path in found.values()}) < len(found):
            raise PlanRefused("Two of the folders between which files are to move are the same.")
        return found

    def _move(
        self,
        script: str,
        roots: Mapping[str, Value],
        lines: Sequence[str],
        paths: Sequence[str],
        moved: Callable[[Sequence[FileDeed]], None] = lambda deeds: None,
        named: str = "Files",
    ) -> list[FileDeed]:
        """Given a script, its folders and a line for each path, run it for a few thousand at a time."""
        deeds: list[FileDeed] = []
        for start in range(0, len(lines), AT_ONCE):
            asked = paths[start : start + AT_ONCE]

            def read(answers: Sequence[Sequence[str]], asked: Sequence[str] = asked) -> list[FileDeed]:
                _each(script, answers, asked)
                pairs = zip(answers, asked, strict=True)
                return [FileDeed.parse(script, answer, path) for answer, path in pairs]

            files = encode_lines(lines[start : start + AT_ONCE])
            done = self._lines(script, {**roots, named: files}, read)
            moved(done)
            deeds += done
        return deeds

    def _too_much(self, script: str, error: PackError) -> ScriptFailed:
        return ScriptFailed(
            self.host.name, f"{script} was not run: {error}.", script=script, error_id="ExRemote.BadArgument"
        )

    def _lines(
        self,
        script: str,
        parameters: Mapping[str, Value],
        read: Callable[[Sequence[Sequence[str]]], list[T]],
        source: Sequence[bytes] | None = None,
    ) -> list[T]:
        """Given a script that answers with lines and a summary, and what reads their fields, return what was
        read. Raise HostError.
        """

        def once() -> list[T]:
            summary: list[Fields] = []
            # As long as thousands of files take; only the host's own deadline holds.
            with closing(self._run(script, parameters, self.host.deadlines.host_s, source)) as records:
                data = b"".join(self._bounded(script, self._blocks(records, summary)))
            self._summary(script, summary)
            return read(list(split_lines(script, data)))

        return self._retry(script, self._library.get(script).effect, once)


def _each(script: str, lines: Sequence[object], asked: Sequence[object]) -> None:
    """Raise FactError unless there is one answer for each thing that was asked for."""
    if len(lines) != len(asked):
        raise FactError(script, "output", f"expected {len(asked)} answers, got {len(lines)}")


def split_lines(script: str, data: bytes) -> Iterator[list[str]]:
    """Given what a script answers in lines, yield the fields of each. Raise FactError if it is no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise FactError(script, "output", "a line that is no UTF-8") from None
    if text and not text.endswith("\n"):
        raise FactError(script, "output", "a line that does not end")
    for line in text.split("\n")[:-1]:
        yield line.split("\t")
