"""How facts of a host are collected. It asks with `Read` scripts only, unless a probe is wanted.

It never judges. What a script refuses is noted with the reason; a host that is lost is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, Protocol

from exremote.checks.expectation import event_ids
from exremote.checks.finding import names
from exremote.connector import (
    ROOTED,
    Connector,
    FileTree,
    NamedFile,
    below,
    expand,
    matches,
    presence,
    program_of,
    resolve_roots,
    root_queries,
)
from exremote.credential import Secret as Account
from exremote.errors import ExremoteError, ScriptFailed
from exremote.facts import (
    ApiDirectoryFact,
    ConnectorObject,
    EventCount,
    HostFact,
    HostFacts,
    NotesIni,
    Presence,
    RegistryValue,
    ServiceState,
    TableText,
    TreeFact,
    reason_of,
)
from exremote.facts import NamedFile as FileFact
from exremote.health.places import known_folders, names_on_path, places_of, services_to_ask
from exremote.health.reading import MAX_TEXT, PackSource, read_file, read_files
from exremote.health.settling import settled
from exremote.inventory import Host
from exremote.pack import Listing

NOTES_INI = "notes-ini"
"""The named file whose lines say where other things are."""
EVENT_HOURS = 24
"""How far back events are counted."""
UNPLACED = (
    "Answer what else is unknown of this host first: the place comes from its registry and its services "
    "(`exremote inventory show HOST` has the variables that can say it)."
)
"""What can be done where nobody knows where something is."""


class Asker(PackSource, Protocol):
    """What collecting needs of a session."""

    def host_fact(self, on_path: Sequence[str] = (), processes: Sequence[str] = ()) -> HostFact:
        """Ask what the host is, which folders of its PATH hold a file of these names, and which of these
        programs run.
        """

    def registry_values(self, values: Sequence[tuple[str, str]]) -> Sequence[RegistryValue]:
        """Ask for values of the registry by key and name."""

    def service_states(
        self, names: Sequence[str], titles: Sequence[str] = (), programs: Sequence[str] = ()
    ) -> Sequence[ServiceState]:
        """Ask how services are, those that they depend on, those whose long names begin so, and those that
        have such a part in their command lines.
        """

    def file_facts(self, paths: Sequence[str]) -> Sequence[FileFact]:
        """Ask what files are, and which versions of programs."""

    def file_tree(
        self, path: str, exclude: Sequence[str] = (), known: Listing | None = None, hashed: bool = True
    ) -> TreeFact:
        """Ask what is below a folder."""

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
    errand.ask_notes_ini()
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
    read: dict[str, tuple[FileFact, bytes]] = field(default_factory=dict)
    remedies: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bool] = field(default_factory=dict)

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
        checks = [check for c in every for check in c.checks]
        try:
            on_path = list(dict.fromkeys(name for check in checks for name in check.on_path))
            on_path = list(dict.fromkeys(on_path + names_on_path(self.connectors.values(), {})))
            processes = list(dict.fromkeys(name for check in checks for name in check.processes))
            self.facts = replace(self.facts, host_fact=self.session.host_fact(on_path, processes))
        except ScriptFailed as error:
            self._refused("host", error)
        services, titles, programs = services_to_ask(self.connectors.values(), self.host.variables)
        try:
            states = self.session.service_states(services, titles, programs)
            self.facts = replace(self.facts, services=tuple(states))
        except ScriptFailed as error:
            self._refused("services", error)
        self.connectors = settled(self.connectors, self.facts, self.host.variables, self.host.backup)
        every = self.connectors.values()
        keys = [expand(key.path, self._own_roots()) for c in every for key in c.registry_keys]
        wheres = [where for check in checks for where in check.where if "|" in where]
        questions = [*root_queries(every), *((key, "") for key in keys if key)]
        questions += [(key, name) for key, _, name in (where.partition("|") for where in wheres)]
        try:
            registry = self.session.registry_values(list(dict.fromkeys(questions)))
            self.facts = replace(self.facts, registry=tuple(registry))
        except ScriptFailed as error:
            self._refused("registry", error)
        self._resolve()
        self._ask_path()

    def _ask_path(self) -> None:
        """Ask for files of the PATH whose names only the registry has."""
        host = self.facts.host_fact
        more = [
            name
            for name in names_on_path(self.connectors.values(), self.facts.roots)
            if name not in names_on_path(self.connectors.values(), {})
        ]
        if host is None or not more:
            return
        try:
            found = self.session.host_fact(more).on_path
        except ScriptFailed as error:
            self._refused("path", error)
            return
        self.facts = replace(
            self.facts, host_fact=replace(host, on_path=(host.on_path or ()) + (found or ()))
        )

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
            self.facts.notes_ini.lines if self.facts.notes_ini else None,
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
            self._unanswered(f"tree {item.id}", self._unplaced(item.path), UNPLACED)
            return
        known = self.known.get(item.id) if self.hashed else None
        try:
            tree = self.session.file_tree(path, item.left_out, known, self.hashed)
        except ScriptFailed as error:
            self._refused(f"tree {item.id}", error)
            return
        self.facts = replace(self.facts, trees={**self.facts.trees, item.id: tree})

    def _unplaced(self, *templates: str) -> str:
        """Given the templates of an item whose place nobody knows, return the reason."""
        owner = next(c for c in self.connectors.values() if set(templates) <= set(c.templates()))
        said = self.facts.notes_ini.lines if self.facts.notes_ini else {}
        sought = dict.fromkeys(words for template in templates for words in owner.sought(template, said))
        return f"nothing says where it is; looked at: {', '.join(sought)}"

    def ask_shared_trees(self) -> None:
        """Ask for the trees whose folders are signs of a connector, once each, where one may be there."""
        for tree in {t.id: t for c in self.connectors.values() for t in c.file_trees if t.shared}.values():
            listed = {self._listed(c.name) for c in self.connectors.values() if tree in c.file_trees}
            known = expand(tree.path, self.facts.roots) is not None
            if True in listed or (known and (None in listed or not self.hashed)):
                self._ask_tree(tree)

    def ask_presence(self) -> None:
        """Find out which connectors are there; ask the directory about those that may be."""
        first = self._presences({})
        classes = [
            wanted.class_name
            for name, seen in first.items()
            if seen.listed or seen.state in ("present", "partial")
            for wanted in self.connectors[name].directory_objects
        ]
        for class_name in dict.fromkeys(classes):
            try:
                found = tuple(self.session.connector_objects(class_name))
            except ScriptFailed as error:
                self._refused(f"object {class_name}", error)
                continue
            self.facts = replace(self.facts, connector_objects=self.facts.connector_objects + found)
            if not found or self._own_object(class_name):
                self.objects[class_name.lower()] = bool(found)
        self._resolve()
        self.facts = replace(self.facts, connectors=self._presences(self.objects))

    def _presences(self, objects: Mapping[str, bool]) -> Mapping[str, Presence]:
        services = {s.name.lower(): s.exists for s in self.facts.services}
        images = {s.name.lower(): s.image_exists for s in self.facts.services if s.readable}
        result = {}
        for name, connector in self.connectors.items():
            folders = known_folders(connector, self.facts)
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
        # Now more folders are known, and folders are signs.
        self.facts = replace(self.facts, connectors=self._presences(self.objects))

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
        named = {file.id: file for c in there for file in c.named_files}.values()
        self._look_at([file for file in named if file.program])
        for file in named:
            if file.id not in self.facts.files:
                self._ask_file(file, listed=not file.program)

    def _look_at(self, files: Sequence[NamedFile]) -> None:
        """Given named files that are programs, look at them, at those of services that were searched for, and
        at what the checks name.
        """
        wanted = {path.lower(): path for file in files for path in places_of(file, self.facts)}
        others: dict[str, str] = {}
        searched = {name.lower() for connector in self._there() for name in connector.searched}
        for state in self.facts.services:
            path = program_of(state.image_path)
            if state.name.lower() in searched and ROOTED.match(path):
                others[path.lower()] = path
        for name in (name for connector in self._there() for c in connector.checks for name in c.files):
            if place := expand(name, self.facts.roots):
                others[place.lower()] = place
        if not wanted and not others:
            return
        try:
            facts = self.session.file_facts(list({**wanted, **others}.values()))
        except ScriptFailed as error:
            self._refused("files", error)
            return
        self.read.update({fact.path.lower(): (fact, b"") for fact in facts})
        self.facts = replace(self.facts, looked_at=tuple(f for f in facts if f.path.lower() in others))

    def ask_notes_ini(self) -> None:
        """Read the Notes.ini before the trees: it says where some of them are."""
        for file in (file for connector in self._there() for file in connector.named_files):
            if file.id == NOTES_INI:
                found = self._ask_file(file, listed=False)
                ini = NotesIni(names(fact.path for fact in found), False)
                for fact in found:
                    if fact.exists and not ini.exists:
                        ini = NotesIni.read(fact.path, self.read[fact.path.lower()][1])
                self.facts = replace(self.facts, notes_ini=ini)
                self._resolve()

    def _ask_file(self, file: NamedFile, listed: bool = True) -> Sequence[FileFact]:
        """Given single files, note each candidate as it is and return them; `listed` says that it is enough
        if a tree lists one.
        """
        places = places_of(file, self.facts)
        if not places:
            self._unanswered(f"file {file.id}", self._unplaced(*file.paths), UNPLACED)
            return ()
        found = []
        for path in places:
            fact = self._in_tree(path) if listed else None
            if fact is None:
                if path.lower() not in self.read:
                    self.read[path.lower()] = read_file(self.session, self.host.name, path)
                fact = self.read[path.lower()][0]
            found.append(fact)
        self.facts = replace(self.facts, files={**self.facts.files, file.id: tuple(found)})
        return found

    def _in_tree(self, path: str) -> FileFact | None:
        """Given a full path, return the file as the listing of a tree has it, None if no tree lists it, or
        could not read it. So two round trips are saved, and a secret does not travel for a look at it.
        """
        for tree in self.facts.trees.values():
            root = below(tree.path, "").lower()
            rest = path.lower().removeprefix(root)
            for entry in tree.entries if path.lower().startswith(root) else ():
                if entry.path.lower() == rest and entry.state in ("file", "unhashed"):
                    return FileFact(
                        below(tree.path, entry.path),
                        True,
                        entry.size,
                        entry.sha256 or "",
                        modified_ticks=entry.modified_ticks,
                        attributes=entry.attributes,
                    )
        return None

    def _read_tables(self, folder: str, wanted: Sequence[str]) -> None:
        """Given a folder and its mapping tables, keep what health needs of their text."""
        try:
            answers = read_files(self.session, self.host.name, folder, wanted)
        except ScriptFailed as error:
            self._refused("tables", error)
            return
        read = tuple(TableText.read(file.path, data) for file, data in answers if file.exists)
        self.facts = replace(self.facts, tables=self.facts.tables + read)
        for file, _ in answers:
            if not file.exists:
                self.unavailable[f"table {file.path}"] = f"{file.path}: {file.error or 'it is gone'}"

    def ask_api(self, probe: bool, account: Account | ExremoteError | None) -> None:
        """Ask for the API directories; probe them if that is wanted. Without their account nobody asks."""
        for item in (item for connector in self._there() for item in connector.api_directories):
            path = expand(item.path, self.facts.roots)
            if path is None:
                remedy = "Set variables = { groupwise_api = '...' } for the host in the inventory."
                self._unanswered(f"api {item.id}", self._unplaced(item.path), remedy)
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
        checks = [check for c in self._there() for check in c.checks if any(event_ids(check))]
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
