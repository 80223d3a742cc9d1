"""The questions that a host can be asked; only here are bundled scripts named. It judges no answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace

from exremote.credential import Secret as Account
from exremote.errors import (
    HostError,
)
from exremote.facts import (
    ApiDirectoryFact,
    ConnectorObject,
    EventCount,
    FactError,
    HostFact,
    NamedFile,
    RegistryExport,
    RegistryValue,
    ServiceState,
    TreeFact,
    WriteFailure,
)
from exremote.folding import folded
from exremote.pack import Listing, Outline, PackError, SealedBlock, encode_lines, parse_listing
from exremote.script import Effect
from exremote.session.answers import same_path, wrong_listing
from exremote.session.jobs import Jobs
from exremote.session.line import Fields
from exremote.session.scratch import Scratch
from exremote.session.security import Security
from exremote.session.tapes import Tapes
from exremote.transport import (
    PAUSE,
    Value,
)

AHEAD = 4 << 20
"""Plain bytes that a host is sent ahead of what it has written: more would only fill its memory."""


class Session(Security, Jobs, Scratch, Tapes):
    """One host and one thread: its questions and their answers, and what can be done to it."""

    def host_fact(self, on_path: Sequence[str] = (), processes: Sequence[str] = ()) -> HostFact:
        """Ask what the host is, and, given names of files, where they lie in the folders of its PATH, and
        which of these programs run. Return the fact. Raise HostError.
        """
        name = "Get-HostFact"

        def read(records: Iterator[object]) -> HostFact:
            return HostFact.parse(self._summary(name, [self._fields(name, r) for r in records]))

        return self._ask(name, {"OnPath": on_path or None, "ProcessName": processes or None}, read)

    def registry_values(self, values: Sequence[tuple[str, str]]) -> list[RegistryValue]:
        """Given pairs of key and name, return each value, there or not. Raise HostError."""
        if not values:
            return []
        asked = [f"{key}|{name}" for key, name in values]
        name = "Get-RegistryValue"
        return self._each(name, {"Value": asked}, RegistryValue.parse, asked, lambda v: f"{v.key}|{v.name}")

    def service_states(
        self, names: Sequence[str], titles: Sequence[str] = (), programs: Sequence[str] = ()
    ) -> list[ServiceState]:
        """Given short names, beginnings of long ones and parts of command lines, return the state of each
        named service, there or not, then of those that are found so, and of those that they depend on.
        Raise HostError.
        """
        if not names:
            return []
        name = "Get-ServiceState"

        def runs(state: ServiceState) -> bool:
            image = folded(state.image_path)
            return any(folded(part) in image for part in programs) or not state.readable

        def due(before: Sequence[ServiceState], further: ServiceState) -> bool:
            found = [state for state in before[len(names) :] if programs and runs(state)]
            needed = {folded(each) for state in (*before[: len(names)], *found) for each in state.depends_on}
            title = folded(further.display_name)
            called = title.startswith(tuple(folded(t) for t in titles))
            return folded(further.name) in needed or called or (bool(programs) and runs(further))

        parameters: dict[str, Value] = {"Name": names, "Title": titles or None, "Program": programs or None}
        return self._each(name, parameters, ServiceState.parse, names, lambda s: s.name, due)

    def file_facts(self, paths: Sequence[str], hashed: bool = True) -> list[NamedFile]:
        """Given full paths, return each file as it is, there or not; see Get-FileFact. Raise HostError.

        Not `hashed`: each is opened, and not read. One that no gateway could reach spoils no other.
        """
        aside = {path: why for path in paths if (why := self._no_way(path))}
        asked = [path for path in paths if path not in aside]
        name = "Get-FileFact"
        parameters: dict[str, Value] = {"Path": asked, "NoHash": None if hashed else True}
        found = self._each(name, parameters, NamedFile.parse, asked, lambda file: file.path) if asked else []
        facts = iter(found)
        return [NamedFile(p, False, error=aside[p]) if p in aside else next(facts) for p in paths]

    def _no_way(self, path: str) -> str:
        """Given a path, return why no gateway leads there; '' if one does, or if the host itself is asked."""
        return self._hop.route.no_way(path) if self._hop is not None else ""

    def file_tree(
        self,
        path: str,
        exclude: Sequence[str] = (),
        known: Listing | None = None,
        hashed: bool = True,
        deadline_s: float | None = None,
    ) -> TreeFact:
        """Given a folder, return it with all below; of what is as `known` says nothing has to travel.

        `deadline_s`: another one than that of a script. Raise TransferMismatch if the listing that arrived is
        not the one that was sent, or another HostError.
        """
        name = "Get-FileTree"
        outlines = [Outline.of(known)] if known else []

        def once() -> TreeFact:
            outline = outlines.pop() if outlines else None  # what went wrong with it is asked for without
            parameters: dict[str, Value] = {
                "Path": path,
                "Exclude": exclude or None,
                "Known": (outline.text if outline else "") or None,
                "NoHash": None if hashed else True,
            }
            summary: list[Fields] = []
            with closing(self._run(name, parameters, deadline_s)) as records:
                listing = parse_listing(self._bounded(name, self._blocks(records, summary)))
            record = self._summary(name, summary)
            if outline is not None and outline.text and record.get("Exists") is True:
                listing = outline.filled(str(record.get("Changed")), listing)
            fact = TreeFact.parse(record, listing.entries)
            if not same_path(fact.path, path):
                raise self._mismatch(f"the listing of {path} (it names {fact.path[:200]!r})")
            if wrong := wrong_listing(fact, listing, exclude, hashed):
                raise self._mismatch(f"the listing of {path} ({wrong})")
            return fact

        return self._retry(name, self._library.get(name).effect, once)

    def read_pack(
        self, path: str, files: Sequence[str], start_index: int = 0, start_offset: int = 0
    ) -> Generator[bytes, None, None]:
        """Given a folder and relative names, yield the plain bytes of a pack, from a file and offset on.

        Not retried here: who stores the bytes knows where to go on (see `resume`). Raise HostError.
        """
        parameters: dict[str, Value] = {
            "Path": path,
            "Files": encode_lines(files),
            "StartIndex": start_index or None,
            "StartOffset": start_offset or None,
        }
        summary: list[Fields] = []
        try:
            # Gigabytes may take longer than one script may; only the host's own deadline holds.
            with closing(self._run("Read-FilePack", parameters, self.host.deadlines.host_s)) as records:
                yield from self._blocks(records, summary)
            self._summary("Read-FilePack", summary)
        except (HostError, FactError, PackError) as error:
            raise self._sorted_out("Read-FilePack", error) from None

    def write_pack(
        self,
        path: str,
        files: Sequence[str],
        blocks: Iterable[SealedBlock],
        written: Callable[[int], None] = lambda size: None,
    ) -> list[WriteFailure]:
        """Given a folder, relative names and a pack of them, write it. `written` is told of plain bytes.

        Return the files that could not be written. Little more goes out than the host has worked off. Not
        retried here: who has the files knows where to go on (see `resume`). Raise HostError.
        """
        name = "Write-FilePack"
        parameters: dict[str, Value] = {"Path": path, "Files": encode_lines(files)}
        sent = done = 0

        def paced() -> Iterator[object]:
            nonlocal sent
            for block in blocks:
                while self.wire == "psrp" and sent - done >= AHEAD:
                    yield PAUSE
                yield block.record
                sent += block.plain

        failures: list[WriteFailure] = []
        summary: list[Fields] = []
        try:
            with closing(self._run(name, parameters, self.host.deadlines.host_s, paced())) as records:
                for record in records:
                    if isinstance(record, int):
                        written(record - done)
                        done = record
                    elif "Index" in (fields := self._fields(name, record)):
                        failures.append(WriteFailure.parse(fields))
                    else:
                        summary.append(fields)
            self._summary(name, summary)
            written(sent - done)
        except (HostError, FactError, PackError) as error:
            raise self._sorted_out(name, error) from None
        return failures

    def export_registry_key(self, key: str) -> RegistryExport:
        """Given a key, return it as reg.exe writes it, there or not. Raise HostError."""

        def read(records: Iterator[object]) -> RegistryExport:
            summary: list[Fields] = []
            data = b"".join(self._bounded("Export-RegistryKey", self._blocks(records, summary)))
            record = self._summary("Export-RegistryKey", summary)
            if not same_path(str(record.get("Key")), key):
                raise self._mismatch(f"the export of {key} (it names {str(record.get('Key'))[:200]!r})")
            if record.get("Exists") is not True and data:
                raise self._mismatch(f"the export of {key} (it is said not to exist)")
            if record.get("Exists") is True and hashlib.sha256(data).hexdigest() != record.get("Sha256"):
                raise self._mismatch(f"the export of {key}")
            return RegistryExport.parse(record, data)

        return self._ask("Export-RegistryKey", {"Key": key}, read)

    def api_directory(
        self, path: str, probe: bool = False, account: Account | None = None
    ) -> ApiDirectoryFact:
        """Given a GroupWise API directory, return its queues and, if asked, whether it can be written to.

        With an account the share is connected first, and let go in every outcome: without one a second
        hop from the host to a file server fails. Raise HostError.
        """

        def ask() -> ApiDirectoryFact:
            parameters: dict[str, Value] = {"Path": path, "Probe": probe or None}
            with closing(self._run("Test-ApiDirectory", parameters)) as records:
                fact = ApiDirectoryFact.parse([self._fields("Test-ApiDirectory", r) for r in records])
            return replace(fact, credential_given=account is not None)

        def connected() -> ApiDirectoryFact:
            assert account is not None
            self._connect_share(path, account)
            try:
                return ask()
            finally:
                with suppress(HostError):
                    self._drain("Disconnect-Share", {"Path": path})

        return self._retry("Test-ApiDirectory", Effect.CONVERGE, ask if account is None else connected)

    def connector_objects(self, class_name: str) -> tuple[ConnectorObject, ...]:
        """Given a class, return the directory's objects of it. Raise HostError."""
        return tuple(self._all("Get-ConnectorObject", {"Class": class_name}, ConnectorObject.parse))

    def event_summary(self, sources: Sequence[str], hours: int) -> tuple[EventCount, ...]:
        """Given event sources and hours, return how often each event was logged since. Raise HostError."""
        parameters: dict[str, Value] = {"Source": sources, "SinceHours": hours}
        return tuple(self._all("Get-EventSummary", parameters, EventCount.parse)) if sources else ()
