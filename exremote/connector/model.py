"""The form of a connector file: items, signs, checks, and how a file is read. It never asks a host."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from exremote.errors import ConnectorError

FOLDER = Path(__file__).parent.parent / "connectors"

Sure = Literal["S", "I", "R"]
Severity = Literal["info", "warning", "critical"]
_Some = Annotated[str, Field(min_length=1)]
_Texts = Annotated[
    tuple[_Some, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]

FACTS = (
    r"service\.[^.]+\.(state|start_mode|exists)",
    r"tree\.[^.]+\.(exists|count|bytes|oldest)",
    r"file\.[^.]+\.exists",
    r"table\.(lines|tabs)",
    r"notes_ini\.(exists|section|kittype|directory)",
    r"registry\.(text|exists)",
    r"api\.[^.]+\.[^.]+\.(exists|files|bytes|zero_byte|oldest|oldest_empty)",
    r"event\.count",
)
r"""The closed list of what a check may look at. `where` narrows it: patterns of files below the tree
(`tree`, `table`), `KEY|NAME` (`registry`), `SOURCE:ID,ID` (`event`)."""

OPERATORS = ("equals", "one_of", "at_most", "at_least", "older_than", "newer_than", "exists", "absent")
"""The closed list of what a check may expect. What these cannot say is a function of `checks.functions`."""

_DURATION = re.compile(r"([1-9][0-9]*)([mhd])")
PLACE = re.compile(r"\{([a-z_]+)\}")
ON_PATH = "on_path"
ROOTED = re.compile(r"[A-Za-z]:\\|\\\\[^\\]+\\[^\\]+")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class _Sourced(_Model):
    source: _Some
    """Where the fact was read."""
    sure: Sure = "S"
    """How sure it is."""


class RootRule(_Model):
    """How one root is found: exactly one way, or the first of several that gives an answer."""

    registry: str = ""
    """A key of the registry, with `value`."""
    value: str = ""
    """The value's name."""
    line: str = ""
    """With `registry`, of a value of several lines: what stands behind `LINE=` in it."""
    file_name: str = ""
    """With `registry`: only the last part of what it says, with this ending if it has none."""
    service: str = ""
    """A service whose program's folder it is, `up` folders higher."""
    up: int = 0
    """Folders to go up from the service's program file."""
    object: str = ""
    """A class of the directory, with `attribute`."""
    attribute: str = ""
    """The attribute's name."""
    variable: str = ""
    """A variable of the inventory (or `systemroot`, `computername`, which the host says itself)."""
    notes_ini: Literal["", "Directory", "KeyFileName"] = ""
    """A line of the Notes.ini that the connector uses. What it says is final: no other way is tried."""
    beside: str = ""
    """With `notes_ini`: the root that a relative name is relative to."""
    under: str = ""
    """Another root, with `path`."""
    path: str = ""
    """The path below it."""
    first: tuple[RootRule, ...] = ()
    """Rules in the order in which they are tried."""
    source: str = ""
    """Where the fact was read."""
    sure: Sure = "S"
    """How sure it is."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = ("registry", "service", "object", "variable", "notes_ini", "under", "first")
        if sum(bool(getattr(self, way)) for way in ways) != 1:
            raise ValueError(f"a root is found in exactly one way: {', '.join(ways)}")
        if (self.line or self.file_name) and not self.registry:
            raise ValueError("line and file_name belong to registry")
        if self.beside and not self.notes_ini:
            raise ValueError("beside belongs to notes_ini")
        for way, mate in (
            ("registry", "value"),
            ("service", "up"),
            ("object", "attribute"),
            ("under", "path"),
        ):
            if bool(getattr(self, way)) != bool(getattr(self, mate)):
                raise ValueError(f"{way} and {mate} belong together")
        if not self.first and not self.source:
            raise ValueError("source is missing")
        return self

    def ways(self) -> Iterator[RootRule]:
        """Return the plain rules that this one is made of, in order."""
        if not self.first:
            yield self
        for rule in self.first:
            yield from rule.ways()

    @property
    def words(self) -> str:
        """Return where this plain rule looks, as a person says it."""
        if self.registry:
            line = f"the line {self.line}= of " if self.line else ""
            return f"{line}the value {self.value} of {self.registry}"
        if self.service:
            return f"the program of the service {self.service}"
        if self.object:
            return f"the attribute {self.attribute} of {self.object} in the directory"
        if self.variable:
            return f"the variable {self.variable} of the inventory"
        return f"the line {self.notes_ini}= of Notes.ini"


class FileTree(_Sourced):
    """A folder and all below it."""

    id: _Some
    """Name of the item; the same in every connector that shares it."""
    path: _Some
    """Template of the folder's path, e.g. `{conndata}`."""
    exclude: _Texts = ()
    """Patterns of files that are listed and not copied."""
    work_files: _Texts = ()
    """Patterns of files that are not copied, and removed after a restore before services start."""
    secret: _Texts = ()
    """Patterns of files that only the owner may read in the repository."""
    tables: _Texts = ()
    """Patterns of the tables: saved often, and compared with the last snapshot."""
    mapping_tables: _Texts = ()
    """Patterns of the tables whose text health looks at."""
    in_transit: _Texts = ()
    """Patterns of messages on their way: saved, but not restored, or they would be delivered again."""
    extra: Literal["leave", "aside"] = "leave"
    """What a restore does with a file that the snapshot has not: it is named, and left or moved aside."""
    shared: bool = False
    """True if it is one item of the host, saved once a run."""
    optional: bool = False
    """True if a host without it lacks nothing."""
    because: str = ""
    """Why some of it is left out, for the snapshot's list."""
    part: str = ""
    """The word in the host's `backup` without which it is not saved; '' if it always is."""
    held: bool = False
    """True if services hold files of it open: whole it is only where they may be stopped for a copy."""
    moving: bool = False
    """True if files come and go in it: one that went before it could be read is left out, not missing."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return the patterns of all that is not copied."""
        return self.exclude + self.work_files

    @property
    def volatile(self) -> tuple[str, ...]:
        """Return the patterns of what changes on a healthy host from look to look."""
        return self.in_transit + self.tables + self.work_files

    @property
    def table_folder(self) -> str:
        r"""Return the folder that holds tables and nothing else (of `Tables\*`), '' if there is none: it can
        be saved alone.
        """
        whole = (pattern.removesuffix("\\*") for pattern in self.tables if pattern.endswith("\\*"))
        return next((folder for folder in whole if not set(folder) & set("*?\\")), "")


class NamedFile(_Sourced):
    """Single files, known by their full path."""

    id: _Some
    """Name of the item."""
    paths: _Texts
    r"""Templates of the files' full paths, best first; `{on_path}\NAME` is each on the PATH."""
    program: bool = False
    """True if health looks what program it is, and at its version."""
    take: Literal["first", "all"] = "first"
    """Take the first that is there, or all that are."""
    secret: bool = False
    """True if only the owner may read it in the repository."""
    shared: bool = False
    """True if it is one item of the host, saved once a run."""
    optional: bool = False
    """True if a host without it lacks nothing."""


class RegistryKey(_Sourced):
    """A key of the registry, with all below it."""

    id: _Some
    """Name of the item."""
    path: _Some
    r"""Template of the key, e.g. `HKLM\SOFTWARE\Lotus\Notes`."""
    restore: Literal["never", "values"] = "never"
    """`never`: evidence only; `values`: what differs is set, value by value. A key is never replaced."""
    values: _Texts = ()
    r"""Patterns of the values that a restore may set, as `Parameters\Name`; needed for a service's key."""
    shared: bool = False
    """True if it is one item of the host, saved once a run."""
    optional: bool = False
    """True if a host without it lacks nothing."""

    @model_validator(mode="after")
    def _values_are_named(self) -> Self:
        if self.values and self.restore != "values":
            raise ValueError("values belong to restore = 'values'")
        # A service's key carries its image path and account: it is never restored wholesale.
        if self.restore == "values" and not self.values and "\\services\\" in self.path.lower():
            raise ValueError(
                "of a service's key the values that a restore may set are named (values = [...])"
            )
        return self


class Service(_Sourced):
    """A service, in the order of start."""

    name: _Some
    """Short name."""
    stop_deadline_s: int = Field(default=120, gt=0)
    """How long a stop may take."""
    start_deadline_s: int = Field(default=120, gt=0)
    """How long a start may take."""
    grace_s: int = Field(default=20, ge=0)
    """How long it has to run after a start before it is taken for running; the number is exremote's."""
    why: str = ""
    """Why the deadline or the place in the order is what it is."""
    optional: bool = False
    """True if a connector may be whole without it: a site need not use it."""


class FoundService(_Sourced):
    """Services whose names nobody knows beforehand: their keys and their programs' versions are recorded."""

    id: _Some
    """Name of the kind."""
    names: _Texts = ()
    """Short names, or with `*` at the end beginnings of long ones; what a `{variable}` says stands alone."""
    program: str = ""
    """Instead: a part of the command line."""
    other_than: _Texts = ()
    """Short names that are not meant, though the program fits."""
    after: str = ""
    """With `program`: the service behind which they start; they are the connector's own."""
    why: str = ""
    """What they do."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.names) == bool(self.program) or bool(self.program) != bool(self.after):
            raise ValueError("services are found by names, or by program with after")
        return self


class HumanStep(_Sourced):
    """What only a person can do after a restore, before the connector's services start."""

    name: Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)*$")]
    """A word by which it is answered."""
    items: Annotated[_Texts, Field(min_length=1)]
    """The items after whose change it is due."""
    text: _Some
    """What to do, in a sentence or two."""


class ApiDirectory(_Sourced):
    """The directory of a GroupWise API gateway."""

    id: _Some
    """Name of the item."""
    path: _Some
    """Template of its path."""


class DirectoryObject(_Sourced):
    """The connector's objects of the directory."""

    id: _Some
    """Name of the item."""
    class_name: _Some
    """Their class."""


class Sign(_Sourced):
    """One rung of the evidence ladder: exactly one of its four forms."""

    service: str = ""
    """The service is registered."""
    image: str = ""
    """The program file of this service is there."""
    directory: str = ""
    """The folder of this template is there."""
    object: str = ""
    """The directory has an object of this class."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum(map(bool, (self.service, self.image, self.directory, self.object))) != 1:
            raise ValueError("a sign is exactly one of service, image, directory, object")
        return self


class Expect(_Model):
    """What a check expects: exactly one operator."""

    equals: str | int | None = None
    """The value is this."""
    one_of: _Texts | None = None
    """The value is one of these."""
    at_most: int | None = None
    """The number is not above this."""
    at_least: int | None = None
    """The number is not below this."""
    older_than: str | None = None
    """The time is longer ago than this (`30m`, `6h`, `7d`)."""
    newer_than: str | None = None
    """The time is not longer ago than this; no time at all is well."""
    exists: Literal[True] | None = None
    """It is there."""
    absent: Literal[True] | None = None
    """It is not there."""

    @model_validator(mode="after")
    def _one_operator(self) -> Self:
        if sum(getattr(self, name) is not None for name in OPERATORS) != 1:
            raise ValueError(f"expect has exactly one of {', '.join(OPERATORS)}")
        for text in (self.older_than, self.newer_than):
            if text is not None and not _DURATION.fullmatch(text):
                raise ValueError(f"{text!r} is no duration like 30m, 6h, 7d")
        return self

    @property
    def operator(self) -> str:
        """Return the operator's name."""
        return next(name for name in OPERATORS if getattr(self, name) is not None)

    @property
    def seconds(self) -> int:
        """Return the duration of `older_than` or `newer_than` in seconds."""
        match = _DURATION.fullmatch(self.older_than or self.newer_than or "")
        assert match is not None, "validated at load"
        return int(match[1]) * {"m": 60, "h": 3600, "d": 86400}[match[2]]


class Check(_Sourced):
    """An expectation as data, or the name of a function of `checks.functions`."""

    id: Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z0-9-]+)+$")]
    """Name of the check; `docs/checks.md` has a paragraph for each."""
    title: _Some
    """What is well, in words."""
    fact: str = ""
    """What is looked at: one of `FACTS`."""
    where: _Texts = ()
    """What narrows it."""
    expect: Expect | None = None
    """What is expected of it."""
    function: str = ""
    """Instead of fact and expect: a function of `checks.functions`."""
    on_path: _Texts = ()
    """Files that are looked for in the folders of the machine's PATH, for the function."""
    files: _Texts = ()
    """Files that are looked at and not saved, for the function: templates, with `*` or `?` in the last part
    only whether there is one."""
    spoils: bool = False
    """True if a snapshot is incomplete as long as this is worse than information."""
    services: _Texts = ()
    """Services that are asked for, for the function: short names (or a variable's), or with `*` at the end
    beginnings of long ones."""
    processes: _Texts = ()
    """Programs, by their file names, of which is asked whether they run, for the function."""
    severity: Severity
    """How bad it is if the expectation fails."""
    remedy: _Some
    """What to do then."""

    @model_validator(mode="after")
    def _fact_or_function(self) -> Self:
        if self.function:
            if self.fact or self.expect:
                raise ValueError("a check has a function, or fact and expect")
            return self
        if self.on_path or self.services or self.files or self.processes:
            raise ValueError("on_path, services, files and processes belong to function")
        if not any(re.fullmatch(form, self.fact) for form in FACTS):
            raise ValueError(f"unknown fact {self.fact!r}; a check looks at one of {', '.join(FACTS)}")
        if self.expect is None:
            raise ValueError("expect is missing")
        if self.fact.startswith(("table.", "registry.", "event.")) and not self.where:
            raise ValueError(f"{self.fact} needs where")
        return self


class Connector(_Model):
    """One mail connector: its items, services, signs and checks."""

    name: _Some
    """Short name, e.g. `groupwise`."""
    title: _Some
    """Its full name."""
    exchange: _Texts
    """Releases of Exchange that have it."""
    source: _Some
    """Where that was read."""
    roots: Mapping[str, RootRule]
    """How the names of the templates are found."""
    file_trees: tuple[FileTree, ...] = Field(default=(), alias="file_tree")
    """Folders."""
    named_files: tuple[NamedFile, ...] = Field(default=(), alias="named_file")
    """Single files."""
    registry_keys: tuple[RegistryKey, ...] = Field(default=(), alias="registry_key")
    """Keys of the registry."""
    services: tuple[Service, ...] = Field(alias="service", min_length=1)
    """Services in the order of start; stopped in reverse."""
    found_services: tuple[FoundService, ...] = Field(default=(), alias="found_service")
    """Services that a host has to be searched for; `settle` replaces them by those that it has."""
    recorded: tuple[str, ...] = ()
    """Services that are not the connector's own, and whose state is recorded all the same."""
    searched: tuple[str, ...] = ()
    """Services that were found by a search, its own or not: their programs' versions are recorded."""
    programs: tuple[str, ...] = ()
    """Parts of command lines by which the connector's own services were searched for."""
    api_directories: tuple[ApiDirectory, ...] = Field(default=(), alias="api_directory")
    """Directories of API gateways."""
    directory_objects: tuple[DirectoryObject, ...] = Field(default=(), alias="directory_object")
    """Objects of the directory."""
    human_steps: tuple[HumanStep, ...] = Field(default=(), alias="human_step")
    """What a person does after a restore, before the services start."""
    presence: tuple[Sign, ...] = Field(min_length=1)
    """Signs that it is installed."""
    checks: tuple[Check, ...] = Field(default=(), alias="check")
    """Expectations."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name in (name for template in self.templates() for name in PLACE.findall(template)):
            if name not in self.roots and name != ON_PATH:
                raise ValueError(f"{{{name}}} is no root of this file")
        for name in self.roots:
            self._follow(name, ())
        ids = [item.id for item in self.items()] + [check.id for check in self.checks]
        ids += [found.id for found in self.found_services]
        for found in self.found_services:
            if found.after and found.after not in [service.name for service in self.services]:
                raise ValueError(f"{found.id}: {found.after} is no service of this file")
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"{min(twice)} is there twice")
        for check in self.checks:
            kind, _, rest = check.fact.partition(".")
            if kind in ("tree", "file", "api") and rest.split(".")[0] not in ids:
                raise ValueError(f"check {check.id}: no item {rest.split('.')[0]!r}")
        for name in (name for step in self.human_steps for name in step.items):
            if name not in ids:
                raise ValueError(f"human_step: no item {name!r}")
        return self

    def _follow(self, name: str, seen: tuple[str, ...]) -> None:
        if name in seen:
            raise ValueError(f"root {name} leads back to itself")
        if name not in self.roots:
            raise ValueError(f"{name} is no root of this file")
        for rule in self.roots[name].ways():
            for other in filter(None, (rule.under, rule.beside)):
                self._follow(other, (*seen, name))

    def templates(self) -> Iterator[str]:
        """Return every text of the file that names a root between braces, or may."""
        yield from (tree.path for tree in self.file_trees)
        yield from (path for item in self.named_files for path in item.paths)
        yield from (key.path for key in self.registry_keys)
        yield from (api.path for api in self.api_directories)
        yield from (sign.directory for sign in self.presence)
        yield from (name for check in self.checks for name in (*check.services, *check.files))
        yield from (name for found in self.found_services for name in found.names)

    def sought(self, template: str, notes_ini: Mapping[str, str]) -> Iterator[str]:
        """Given a template whose path is unknown, and the lines of Notes.ini, return where its roots were
        looked for, as a person says it.
        """
        places = [name for name in PLACE.findall(template) if name in self.roots]
        if ON_PATH in PLACE.findall(template):
            yield "the folders of the machine's PATH"
        for rule in (rule for name in places for rule in self.roots[name].ways()):
            if rule.under:
                yield from self.sought(f"{{{rule.under}}}", notes_ini)
                continue
            line = notes_ini.get(rule.notes_ini.lower(), "")
            yield f"{rule.words} (it says {line}, which is no full path)" if line else rule.words

    def items(self) -> Iterator[FileTree | NamedFile | RegistryKey | ApiDirectory | DirectoryObject]:
        """Return the items that have an id, in the one order of kinds."""
        yield from self.file_trees
        yield from self.named_files
        yield from self.registry_keys
        yield from self.api_directories
        yield from self.directory_objects

    @classmethod
    def load(cls, path: Path) -> Connector:
        """Given a connector file, return the connector. Raise ConnectorError naming key and line."""
        try:
            text = path.read_text(encoding="utf-8")
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            raise ConnectorError(str(error), file=path, line=int(line[1]) if line else None) from error
        except UnicodeDecodeError:
            raise ConnectorError("expected UTF-8.", file=path) from None
        except OSError as error:
            raise ConnectorError(f"cannot be read: {error.strerror}.", file=path) from None
        except RecursionError:
            raise ConnectorError("expected TOML: it is nested too deep.", file=path) from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = first["loc"]
            raise ConnectorError(
                first["msg"].removeprefix("Value error, "),
                file=path,
                line=_line_of(text, place),
                key=".".join(map(str, place)),
            ) from error
        except ValueError as error:  # Python reads no number of more than 4,300 digits
            raise ConnectorError(f"expected TOML: {error}.", file=path) from None

    @classmethod
    def load_all(cls, folder: Path = FOLDER) -> Mapping[str, Connector]:
        """Given the folder of connector files, return the connectors by name. Raise ConnectorError if one
        is wrong, or two of them say different things of what they share.
        """
        connectors: dict[str, Connector] = {}
        said: dict[tuple[str, str], tuple[object, str]] = {}
        for path in sorted(folder.glob("*.toml")):
            connector = cls.load(path)
            if connector.name != path.stem:
                raise ConnectorError(f"the file is not called {connector.name}.toml", file=path, key="name")
            claims: list[tuple[str, str, object, bool]] = [
                ("root", name, rule, True) for name, rule in connector.roots.items()
            ]
            claims += [("item", item.id, item, getattr(item, "shared", False)) for item in connector.items()]
            claims += [("check", check.id, check, True) for check in connector.checks]
            claims += [
                ("service", item.name.lower(), item.model_copy(update={"source": "", "sure": "S"}), True)
                for item in connector.services
            ]
            for kind, name, claim, sharable in claims:
                before, other = said.setdefault((kind, name), (claim, connector.name))
                if other != connector.name and not (sharable and before == claim):
                    raise ConnectorError(f"{kind} {name} is not what {other}.toml says", file=path, key=name)
            connectors[connector.name] = connector
        return connectors


def _line_of(text: str, place: Sequence[int | str]) -> int | None:
    """Given a TOML text and the place of an error, return the line where a reader should look."""
    lines = text.splitlines()
    table, rest = str(place[0]) if place else "", place[1:]
    if rest and f"[{table}.{rest[0]}]" in lines:
        table, rest = f"{table}.{rest[0]}", rest[1:]
    wanted = rest[0] if rest and isinstance(rest[0], int) else 0
    headers = [n for n, line in enumerate(lines) if re.match(rf"\[+{re.escape(table)}\]+", line.strip())]
    if not table or len(headers) <= wanted:
        found = (n for n, line in enumerate(lines, 1) if re.match(rf"{re.escape(table)}\s*=", line))
        return next(found, None) if table else None
    start = headers[wanted]
    for key in reversed([part for part in rest if isinstance(part, str)]):
        for number in range(start + 1, len(lines)):
            if lines[number].startswith("["):
                break
            if re.match(rf"\s*{re.escape(key)}\s*=", lines[number]):
                return number + 1
    return start + 1
