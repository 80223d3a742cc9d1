"""How facts of a host are collected. It asks with `Read` scripts only, unless a probe is wanted.

It never judges. What a script refuses is noted with the reason; a host that is lost is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, Protocol

from exremote.checks.expectation import event_ids
from exremote.checks.finding import names
from exremote.connector import (
    Connector,
    FileTree,
    expand,
    matches,
    presence,
    resolve_roots,
    root_queries,
    root_services,
)
from exremote.credential import Secret as Account
from exremote.errors import ExremoteError, ScriptFailed, TransferMismatch
from exremote.facts import (
    ApiDirectoryFact,
    ConnectorObject,
    EventCount,
    HostFact,
    HostFacts,
    NamedFile,
    NotesIni,
    Presence,
    RegistryValue,
    ServiceState,
    TableText,
    TreeFact,
    in_words,
    reason_of,
)
from exremote.inventory import Host
from exremote.pack import FileBegin, FileData, FileEnd, FileError, Listing, PackError, PackReader

EVENT_HOURS = 24
"""How far back events are counted."""
MAX_TEXT = 1 << 20
"""How much of a table or Notes.ini is looked at."""
MAX_READ = 1 << 30
"""How much of a file is read for its digest: no file that a connector names is so large."""
SLACK = 16 << 20
"""How much a file may grow while it is read."""
UNPLACED = (
    "Answer what else is unknown of this host first: the place comes from its registry and its services "
    "(`exremote inventory show HOST` has the variables that can say it)."
)
"""What can be done where nobody knows where something is."""


class Asker(Protocol):
    """What collecting needs of a session."""

    def host_fact(self) -> HostFact:
        """Ask what the host is."""

    def registry_values(self, values: Sequence[tuple[str, str]]) -> Sequence[RegistryValue]:
        """Ask for values of the registry by key and name."""

    def service_states(self, names: Sequence[str]) -> Sequence[ServiceState]:
        """Ask how services are."""

    def file_tree(
        self, path: str, exclude: Sequence[str] = (), known: Listing | None = None, hashed: bool = True
    ) -> TreeFact:
        """Ask what is below a folder."""

    def read_pack(
        self, path: str, files: Sequence[str], start_index: int = 0, start_offset: int = 0
    ) -> Iterator[bytes]:
        """Read files of a folder."""

    def resume(self, script: str, attempt: Callable[[], None], mark: Callable[[], object]) -> None:
        """Attempt a reading until it is done or patience is at its end."""

    def connector_objects(self, class_name: str) -> Sequence[ConnectorObject]:
        """Ask the directory for the objects of a class."""

    def api_directory(
        self, path: str, probe: bool = False, account: Account | None = None
    ) -> ApiDirectoryFact:
        """Ask what an API directory holds."""

    def event_summary(self, sources: Sequence[str], hours: int) -> Sequence[EventCount]:
        """Ask how often events were logged."""


def collect(
    session: Asker,
    host: Host,
    connectors: Mapping[str, Connector],
    *,
    probe: bool,
    now: datetime,
    trees: Literal["list", "hash"] = "list",
    known: Mapping[str, Listing] | None = None,
    api_account: Account | ExremoteError | None = None,
) -> HostFacts:
    """Given an open session, ask the host all that the connectors need to know, in few calls.

    `known` is what the repository last saw of the trees: of what is the same nothing travels. A question
    that a script refuses is noted with the reason, and the rest goes on.
    Raise HostError if the host is lost.
    """
    errand = _Errand(
        session,
        host,
        connectors,
        HostFacts(host.name, now, address=host.address),
        trees == "hash",
        known or {},
    )
    errand.ask_host()
    errand.ask_shared_trees()
    errand.ask_presence()
    errand.ask_own_trees()
    errand.ask_files()
    errand.ask_api(probe, api_account)
    errand.ask_events()
    return replace(errand.facts, unavailable=errand.unavailable, remedies=errand.remedies)


@dataclass(slots=True)
class _Errand:
    """One collecting: what was asked so far."""

    session: Asker
    host: Host
    connectors: Mapping[str, Connector]
    facts: HostFacts
    hashed: bool
    known: Mapping[str, Listing]
    unavailable: dict[str, str] = field(default_factory=dict)
    remedies: dict[str, str] = field(default_factory=dict)

    def _unanswered(self, question: str, reason: str, remedy: str) -> None:
        """Given a question without an answer, note the reason, and what can be done about it."""
        self.unavailable[question] = reason
        if remedy:
            self.remedies[reason] = remedy

    def _refused(self, question: str, error: ScriptFailed) -> None:
        """Given a question that a script refused, note the reason: without the host, which findings name."""
        self._unanswered(question, reason_of(error), error.remedy)

    def ask_host(self) -> None:
        """Ask for the host, the registry and the services: enough for the roots."""
        every = self.connectors.values()
        try:
            self.facts = replace(self.facts, host_fact=self.session.host_fact())
        except ScriptFailed as error:
            self._refused("host", error)
        keys = [expand(key.path, self._own_roots()) for c in every for key in c.registry_keys]
        checks = [check for c in every for check in c.checks if check.fact.startswith("registry.")]
        questions = [*root_queries(every), *((key, "") for key in keys if key)]
        questions += [(key, name) for key, _, name in (check.where[0].partition("|") for check in checks)]
        try:
            registry = self.session.registry_values(list(dict.fromkeys(questions)))
            self.facts = replace(self.facts, registry=tuple(registry))
        except ScriptFailed as error:
            self._refused("registry", error)
        services = [*root_services(every), *(service.name for c in every for service in c.services)]
        try:
            states = self.session.service_states(list(dict.fromkeys(services)))
            self.facts = replace(self.facts, services=tuple(states))
        except ScriptFailed as error:
            self._refused("services", error)
        self._resolve()

    def _own_roots(self) -> dict[str, str]:
        """Return what the host itself says of its name and its Windows directory."""
        fact = self.facts.host_fact
        return {"computername": fact.computer_name, "systemroot": fact.system_root} if fact else {}

    def _resolve(self) -> None:
        """Find the roots with all that is known by now."""
        attributes: dict[tuple[str, str], str | None] = {}
        for class_name in {o.class_name for o in self.facts.connector_objects}:
            one = self._own_object(class_name)
            for name, value in reversed(one.attributes if one else ()):
                attributes[class_name.lower(), name.lower()] = value
        roots = resolve_roots(
            self.connectors.values(),
            {(v.key.lower(), v.name.lower()): v.text if v.exists else None for v in self.facts.registry},
            {s.name.lower(): s.image_path for s in self.facts.services if s.exists},
            {**self._own_roots(), **self.host.variables},
            attributes,
        )
        self.facts = replace(self.facts, roots=roots)

    def _own_object(self, class_name: str) -> ConnectorObject | None:
        """Given a class, return this host's object: the directory holds those of the whole organisation."""
        name = re.escape(self.facts.host_fact.computer_name if self.facts.host_fact else "")
        mine = [
            one
            for one in self.facts.connector_objects
            if one.class_name.lower() == class_name.lower()
            and name
            and re.search(rf"(?<![\w-]){name}(?![\w-])", one.distinguished_name, re.IGNORECASE)
        ]
        # Another server's object would lead to another server's gateway: rather none.
        return mine[0] if len(mine) == 1 else None

    def _listed(self, name: str) -> bool | None:
        return None if self.host.connectors is None else name in self.host.connectors

    def _ask_tree(self, item: FileTree) -> None:
        """Ask for one tree, if its place is known."""
        path = expand(item.path, self.facts.roots)
        if path is None:
            reason = f"nothing on the host says where its folder {item.id} is"
            self._unanswered(f"tree {item.id}", reason, UNPLACED)
            return
        known = self.known.get(item.id) if self.hashed else None
        try:
            tree = self.session.file_tree(path, item.left_out, known, self.hashed)
        except ScriptFailed as error:
            self._refused(f"tree {item.id}", error)
            return
        self.facts = replace(self.facts, trees={**self.facts.trees, item.id: tree})

    def ask_shared_trees(self) -> None:
        """Ask for the trees whose folders are signs of a connector, once each, where one may be there."""
        for tree in {t.id: t for c in self.connectors.values() for t in c.file_trees if t.shared}.values():
            listed = {self._listed(c.name) for c in self.connectors.values() if tree in c.file_trees}
            known = expand(tree.path, self.facts.roots) is not None
            if True in listed or (known and (None in listed or not self.hashed)):
                self._ask_tree(tree)

    def ask_presence(self) -> None:
        """Find out which connectors are there; ask the directory about those that may be."""
        folders: set[str] | None = None
        for tree in self.facts.trees.values():
            folders = folders or set()
            folders |= {tree.path.lower()} if tree.exists else set()
            folders |= {f"{tree.path}\\{e.path}".lower() for e in tree.entries if e.size < 0}
        first = self._presences(folders, {})
        classes = [
            wanted.class_name
            for name, seen in first.items()
            if seen.listed or seen.state in ("present", "partial")
            for wanted in self.connectors[name].directory_objects
        ]
        objects: dict[str, bool] = {}
        for class_name in dict.fromkeys(classes):
            try:
                found = tuple(self.session.connector_objects(class_name))
            except ScriptFailed as error:
                self._refused(f"object {class_name}", error)
                continue
            self.facts = replace(self.facts, connector_objects=self.facts.connector_objects + found)
            if not found or self._own_object(class_name):
                objects[class_name.lower()] = bool(found)
        self._resolve()
        self.facts = replace(self.facts, connectors=self._presences(folders, objects))

    def _presences(self, folders: set[str] | None, objects: Mapping[str, bool]) -> Mapping[str, Presence]:
        services = {s.name.lower(): s.exists for s in self.facts.services}
        images = {s.name.lower(): s.image_exists for s in self.facts.services}
        result = {}
        for name, connector in self.connectors.items():
            seen = presence(connector, self.facts.roots, services, images, folders, objects)
            result[name] = Presence(self._listed(name), seen.found, seen.missing, seen.state)
        return result

    def _there(self) -> list[Connector]:
        """Return the connectors whose items are asked for; one that is not listed is judged, not hashed."""
        states = {
            True: ("present", "partial", "absent", "unknown"),
            None: ("present", "partial"),
            False: () if self.hashed else ("present",),
        }
        there = self.facts.connectors.items()
        return [self.connectors[name] for name, seen in there if seen.state in states[seen.listed]]

    def ask_own_trees(self) -> None:
        """Ask for the trees that belong to one connector alone."""
        for connector in self._there():
            for tree in connector.file_trees:
                if not tree.shared:
                    self._ask_tree(tree)

    def ask_files(self) -> None:
        """Read the mapping tables and the named files, one call a folder; keep what is needed of the text."""
        there = self._there()
        for item in {tree.id: tree for c in there for tree in c.file_trees}.values():
            tree = self.facts.trees.get(item.id)
            wanted = [
                e.path
                for e in (tree.entries if tree else ())
                if 0 <= e.size <= MAX_TEXT and any(matches(e.path, p) for p in item.mapping_tables)
            ]
            if tree is not None and wanted:
                self._read_tables(tree.path, wanted)
        answers: dict[str, tuple[NamedFile, bytes]] = {}
        for file in {file.id: file for c in there for file in c.named_files}.values():
            places = [path for template in file.paths if (path := expand(template, self.facts.roots))]
            if not places:
                reason = f"nothing on the host says where its file {file.id} is"
                self._unanswered(f"file {file.id}", reason, UNPLACED)
                continue
            paths = list({path.lower(): path for path in places}.values())
            found = []
            for path in paths:
                if path.lower() not in answers:
                    answers[path.lower()] = self._read_file(path)
                found.append(answers[path.lower()])
            self.facts = replace(
                self.facts, files={**self.facts.files, file.id: tuple(named for named, _ in found)}
            )
            if file.id == "notes-ini":
                self._note_ini(found)

    def _note_ini(self, candidates: Sequence[tuple[NamedFile, bytes]]) -> None:
        """Given the candidates for Notes.ini, keep what health needs of the first that is there."""
        ini = NotesIni(names(file.path for file, _ in candidates), False)
        for file, data in candidates:
            if file.exists and not ini.exists:
                ini = NotesIni.read(file.path, data)
        self.facts = replace(self.facts, notes_ini=ini)

    def _read_tables(self, folder: str, wanted: Sequence[str]) -> None:
        """Given a folder and its mapping tables, keep what health needs of their text."""
        try:
            answers = self._read(folder, wanted)
        except ScriptFailed as error:
            self._refused("tables", error)
            return
        read = tuple(TableText.read(file.path, data) for file, data in answers if file.exists)
        self.facts = replace(self.facts, tables=self.facts.tables + read)
        for file, _ in answers:
            if not file.exists:
                self.unavailable[f"table {file.path}"] = f"{file.path}: {file.error or 'it is gone'}"

    def _read_file(self, path: str) -> tuple[NamedFile, bytes]:
        """Given a full path, return the file as it is."""
        folder, _, name = path.rpartition("\\")
        try:
            return self._read(folder, [name])[0]
        except ScriptFailed as error:
            gone = error.error_id == "ExRemote.PathMissing"
            return NamedFile(path, False, error="" if gone else reason_of(error)), b""

    def _read(self, folder: str, wanted: Sequence[str]) -> list[tuple[NamedFile, bytes]]:
        """Given a folder and names, return each file as it is, and its first MiB. Raise HostError."""
        # A drive without its backslash would mean the folder where the drive happens to stand.
        folder = folder + "\\" if folder.endswith(":") else folder
        base = folder.rstrip("\\") + "\\"
        answers: list[tuple[NamedFile, bytes]] = []

        def attempt() -> None:
            answers.clear()
            reader, data, path, attributes, most = PackReader(), bytearray(), "", 0, 0
            try:
                for plain in self.session.read_pack(folder, wanted):
                    for event in reader.feed(plain):
                        match event:
                            case FileBegin():
                                path, attributes = base + wanted[event.index], event.attributes
                                data.clear()
                                most = min(event.size + SLACK, MAX_READ)
                            case FileData():
                                most -= len(event.data)
                                if most < 0:
                                    raise self._endless(path)
                                data += event.data[: max(0, MAX_TEXT - len(data))]
                            case FileEnd():
                                file = NamedFile(
                                    path,
                                    True,
                                    event.size,
                                    event.sha256,
                                    modified_ticks=event.modified_ticks,
                                    attributes=attributes,
                                )
                                answers.append((file, bytes(data)))
                            case FileError():
                                answers.append((_not_read(base + wanted[event.index], event), b""))
                reader.finish()
            except (PackError, IndexError) as error:
                raise TransferMismatch(
                    self.host.name, f"the stream of {folder} is damaged: {error}"
                ) from error
            if len(answers) != len(wanted):
                raise TransferMismatch(
                    self.host.name, f"{len(wanted)} files of {folder} were asked for, {len(answers)} came"
                )

        self.session.resume("Read-FilePack", attempt, lambda: 0)
        return answers

    def _endless(self, path: str) -> ScriptFailed:
        return ScriptFailed(
            self.host.name,
            f"{path} is longer than it was said to be, and was not read to its end",
            script="Read-FilePack",
            error_id="Session.EndlessAnswer",
        )

    def ask_api(self, probe: bool, account: Account | ExremoteError | None) -> None:
        """Ask for the API directories; probe them if that is wanted. Without their account nobody asks."""
        for item in (item for connector in self._there() for item in connector.api_directories):
            path = expand(item.path, self.facts.roots)
            if path is None:
                reason = "neither the inventory's variable groupwise_api nor the directory says where it is"
                remedy = "Set variables = { groupwise_api = '...' } for the host in the inventory."
                self._unanswered(f"api {item.id}", reason, remedy)
                continue
            if isinstance(account, ExremoteError):
                reason = f"api_credential is not to be had: {account.message}"
                self._unanswered(f"api {item.id}", reason, account.remedy)
                continue
            try:
                fact = self.session.api_directory(path, probe, account)
            except ScriptFailed as error:
                fact = ApiDirectoryFact(
                    path, False, "", False, False, False, False, "", (), reason_unknown=reason_of(error)
                )
            fact = replace(fact, credential_given=account is not None)
            self.facts = replace(self.facts, api_directories={**self.facts.api_directories, item.id: fact})

    def ask_events(self) -> None:
        """Ask for the events that the checks name."""
        checks = [check for c in self._there() for check in c.checks if check.fact == "event.count"]
        sources = {where.partition(":")[0] for check in checks for where in check.where}
        wanted = {pair for check in checks for pair in event_ids(check)}
        if not sources:
            return
        try:
            events = self.session.event_summary(sorted(sources), EVENT_HOURS)
        except ScriptFailed as error:
            self._refused("events", error)
            return
        kept = tuple(e for e in events if (e.source.lower(), e.event_id) in wanted)
        self.facts = replace(self.facts, events=kept, event_hours=EVENT_HOURS)


def _not_read(path: str, event: FileError) -> NamedFile:
    """Given what the host said of a file that it did not send, return it: gone, or closed to us."""
    gone = event.error_id == "ExRemote.FileMissing"
    return NamedFile(path, False, error="" if gone else in_words(f"{event.error_id}: {event.message}"))
