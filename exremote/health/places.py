"""Where to look, and for what, by the connector files and what a host has said so far. It asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exremote.connector import ON_PATH, Connector, NamedFile, below, expand, root_services, wanted_names
from exremote.facts import HostFacts

MARK = f"{{{ON_PATH}}}\\"
"""How the template of a file begins that is looked for in the folders of the PATH."""


def names_on_path(connectors: Iterable[Connector], roots: Mapping[str, str | None]) -> list[str]:
    """Given connectors and roots, return the names of files that the folders of the PATH are searched for."""
    named = [file for connector in connectors for file in connector.named_files]
    templates = [p.removeprefix(MARK) for file in named for p in file.paths if p.startswith(MARK)]
    return list(dict.fromkeys(name for template in templates if (name := expand(template, roots))))


def places_of(file: NamedFile, facts: HostFacts) -> list[str]:
    """Given a named file, return where it may be, best first, each place once."""
    host, places = facts.host_fact, list[str]()
    for template in file.paths:
        if not template.startswith(MARK):
            places += filter(None, [expand(template, facts.roots)])
            continue
        name = expand(template.removeprefix(MARK), facts.roots)
        on_path = host.on_path if host and host.on_path and name else ()
        places += [path for path in on_path if path.lower().endswith(f"\\{name}".lower())]
    return list({path.lower(): path for path in places}.values())


def services_to_ask(
    connectors: Iterable[Connector], variables: Mapping[str, str]
) -> tuple[list[str], list[str], list[str]]:
    """Given connectors and the operator's words, return the short names of services to ask for, beginnings of
    long ones, and parts of command lines.
    """
    every = list(connectors)
    found = [found for connector in every for found in connector.found_services]
    names = [*root_services(every), *(service.name for c in every for service in c.services)]
    said = [expand(name, variables) for c in every for check in c.checks for name in check.services]
    said += [name for kind in found for name in wanted_names(kind, variables)]
    names += [name for name in said if name and not name.endswith("*")]
    once: dict[str, str] = {}
    for name in names:
        once.setdefault(name.lower(), name)
    titles = dict.fromkeys(name[:-1] for name in said if name and name.endswith("*"))
    return list(once.values()), list(titles), [kind.program for kind in found if kind.program]


def known_folders(connector: Connector, facts: HostFacts) -> set[str] | None:
    """Given a connector, return the folders that are there, in lower case, or None if nobody looked for those
    that are its signs.
    """
    signs = [expand(sign.directory, facts.roots) for sign in connector.presence if sign.directory]
    folders: set[str] | None = None
    for tree in facts.trees.values():
        root = below(tree.path, "").lower()
        if any(sign and below(sign, "").lower().startswith(root) for sign in signs):
            folders = folders or set()
            folders |= {tree.path.lower()} if tree.exists else set()
            folders |= {below(tree.path, e.path).lower() for e in tree.entries if e.size < 0}
    return folders
