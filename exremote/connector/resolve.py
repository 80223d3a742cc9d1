"""Roots, paths and evidence from what a host answered: pure functions of plain values. It never judges."""

from __future__ import annotations

import ntpath
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from exremote.connector.model import PLACE, ROOTED, Connector, RootRule

_SLOT = re.compile(PLACE.pattern + r"(\\?)")


def matches(path: str, pattern: str) -> bool:
    r"""Given a relative path and a pattern, return whether it is meant: `*` and `?`, any case; a pattern
    without `\` speaks of the file's name, one with `\` of the whole path.
    """
    subject = path if "\\" in pattern else path.rpartition("\\")[2]
    return _form(pattern).fullmatch(subject) is not None


@cache
def _form(pattern: str) -> re.Pattern[str]:
    """Given a pattern of a connector file, return what it means: a million paths are held against it."""
    form = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.compile(form, re.IGNORECASE | re.DOTALL)


def tidy(path: str) -> str:
    r"""Given a folder as somebody wrote it, return it without quotes and without a `\` at its end: only the
    root of a drive keeps that, for `D:` alone is the folder where the drive happens to stand.
    """
    text = path.strip().strip('"').rstrip("\\")
    return f"{text}\\" if re.fullmatch("[A-Za-z]:", text) else text


def below(folder: str, path: str) -> str:
    r"""Given a folder and a relative path, return the full path: the root of a drive has its `\` already."""
    return folder.rstrip("\\") + "\\" + path


def expand(template: str, roots: Mapping[str, str | None]) -> str | None:
    """Given a template and the roots, return the path, or None if a root is unknown."""
    if any(not roots.get(name) for name in PLACE.findall(template)):
        return None

    def fill(slot: re.Match[str]) -> str:
        root = roots[slot[1]] or ""
        return below(root, "") if slot[2] else root

    return _SLOT.sub(fill, template)


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
    notes_ini: Mapping[str, str] | None = None,
) -> Mapping[str, str | None]:
    """Given registry values by (key, name), image paths by service, variables, directory attributes by
    (class, attribute), and lines of Notes.ini, all in lower case, return each root's path, or None where
    nothing gives one.
    """
    rules = {name: rule for connector in connectors for name, rule in connector.roots.items()}

    def resolve(name: str) -> str | None:
        return next((found for rule in rules[name].ways() if (found := answer(rule)) is not None), "") or None

    def answer(rule: RootRule) -> str | None:
        """Return what a rule gives, None if it says nothing, '' if what it says is final and no full path."""
        if rule.under:
            parent = resolve(rule.under)
            return None if parent is None else below(parent, rule.path)
        if rule.variable:
            return tidy(variables.get(rule.variable) or "") or None
        if rule.notes_ini:
            line = tidy((notes_ini or {}).get(rule.notes_ini.lower(), ""))
            beside = resolve(rule.beside) if rule.beside else None
            path = tidy(ntpath.normpath(ntpath.join(beside or "", line)))
            return None if not line else path if _is_full(path) else ""
        if rule.registry:
            text = registry.get((rule.registry.lower(), rule.value.lower()))
            if rule.line:
                lines = (line.partition("=") for line in (text or "").splitlines())
                text = next((said for name, _, said in lines if name.lower() == rule.line.lower()), None)
            if rule.file_name:
                name = tidy(text or "").rpartition("\\")[2]
                return f"{name}{'' if ntpath.splitext(name)[1] else rule.file_name}" if name else None
        elif rule.object:
            text = (attributes or {}).get((rule.object.lower(), rule.attribute.lower()))
        else:
            text = program_of(image_paths.get(rule.service.lower(), "")).rsplit("\\", rule.up)[0]
        text = tidy(text or "")
        return text if _is_full(text) else None

    return {name: resolve(name) for name in rules}


def _is_full(path: str) -> bool:
    """Return whether a path begins at a drive's root or a share. Half a path would be looked up below the
    host's current folder: rather no root than a wrong one.
    """
    return ROOTED.match(below(path, "")) is not None


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
