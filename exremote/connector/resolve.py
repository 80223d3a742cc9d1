"""Roots, paths and evidence from what a host answered: pure functions of plain values. It never judges."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from exremote.connector.model import PLACE, ROOTED, Connector, RootRule


def matches(path: str, pattern: str) -> bool:
    r"""Given a relative path and a pattern, return whether it is meant: `*` and `?`, any case; a pattern
    without `\` speaks of the file's name, one with `\` of the whole path.
    """
    subject = path if "\\" in pattern else path.rpartition("\\")[2]
    form = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(form, subject, re.IGNORECASE | re.DOTALL) is not None


def expand(template: str, roots: Mapping[str, str | None]) -> str | None:
    """Given a template and the roots, return the path, or None if a root is unknown."""
    if any(not roots.get(name) for name in PLACE.findall(template)):
        return None
    return PLACE.sub(lambda place: roots[place[1]] or "", template)


def root_queries(connectors: Iterable[Connector]) -> tuple[tuple[str, str], ...]:
    """Given connectors, return the registry values (key, name) that their roots need."""
    rules = (rule for c in connectors for root in c.roots.values() for rule in root.ways())
    return tuple(dict.fromkeys((rule.registry, rule.value) for rule in rules if rule.registry))


def root_services(connectors: Iterable[Connector]) -> tuple[str, ...]:
    """Given connectors, return the services whose image paths their roots need."""
    rules = (rule for c in connectors for root in c.roots.values() for rule in root.ways())
    return tuple(dict.fromkeys(rule.service for rule in rules if rule.service))


def program_of(image_path: str) -> str:
    """Given a service's command line, return the path of its program, without quotes and arguments."""
    text = image_path.strip()
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    match = re.match(r".*?\.exe(?=\s|$)", text, re.IGNORECASE)
    return match[0] if match else text


def resolve_roots(
    connectors: Iterable[Connector],
    registry: Mapping[tuple[str, str], str | None],
    image_paths: Mapping[str, str],
    variables: Mapping[str, str],
    attributes: Mapping[tuple[str, str], str | None] | None = None,
) -> Mapping[str, str | None]:
    """Given registry values by (key, name), image paths by service, variables, and directory attributes by
    (class, attribute), all in lower case, return each root's path, or None where nothing gives one.
    """
    rules = {name: rule for connector in connectors for name, rule in connector.roots.items()}

    def resolve(name: str) -> str | None:
        return next(filter(None, map(answer, rules[name].ways())), None)

    def answer(rule: RootRule) -> str | None:
        if rule.under:
            parent = resolve(rule.under)
            return None if parent is None else f"{parent}\\{rule.path}"
        if rule.variable:
            return (variables.get(rule.variable) or "").rstrip("\\") or None
        if rule.registry:
            text = registry.get((rule.registry.lower(), rule.value.lower()))
        elif rule.object:
            text = (attributes or {}).get((rule.object.lower(), rule.attribute.lower()))
        else:
            text = program_of(image_paths.get(rule.service.lower(), "")).rsplit("\\", rule.up)[0]
        text = (text or "").strip().strip('"').rstrip("\\")
        # Half a path would be looked up below the host's current folder: rather no root than a wrong one.
        return text if ROOTED.match(f"{text}\\") else None

    return {name: resolve(name) for name in rules}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a connector on a host."""

    state: Literal["present", "partial", "absent", "unknown"]
    """`present`: its service and another sign; `partial`: one sign alone, or signs but no service."""
    found: tuple[str, ...]
    """Signs that were found, in words."""
    missing: tuple[str, ...]
    """Signs that were looked for and not found."""


def presence(
    connector: Connector,
    roots: Mapping[str, str | None],
    services: Mapping[str, bool],
    images: Mapping[str, bool],
    directories: Collection[str] | None,
    objects: Mapping[str, bool],
) -> Evidence:
    """Given what a host answered (services and program files by short name, the folders that are there or
    None if nobody looked, classes of the directory that have an object; all in lower case), return the
    evidence for a connector. A sign that nobody could look for is neither found nor missing; nor is an
    inferred one that is not there, for it may never have been.
    """
    found: list[str] = []
    missing: list[str] = []
    asked = False
    for sign in connector.presence:
        seen: bool | None
        if sign.service:
            words, seen = f"service {sign.service}", services.get(sign.service.lower())
            asked = asked or seen is not None
        elif sign.image:
            words, seen = f"program file of {sign.image}", images.get(sign.image.lower())
        elif sign.directory:
            path = expand(sign.directory, roots)
            words = f"folder {path or sign.directory}"
            seen = None if path is None or directories is None else path.lower() in directories
        else:
            words, seen = f"directory object {sign.object}", objects.get(sign.object.lower())
        if seen:
            found.append(words)
        elif seen is not None and sign.sure == "S":
            missing.append(words)
    if not found:
        return Evidence("absent" if asked else "unknown", (), tuple(missing))
    whole = len(found) > 1 and any(words.startswith("service ") for words in found)
    return Evidence("present" if whole else "partial", tuple(found), tuple(missing))
