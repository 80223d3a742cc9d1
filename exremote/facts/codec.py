"""Data classes to plain JSON and back, by their type hints. It knows no fact, and lets no number or time
through that could not be counted with.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from exremote.compact import Compact
from exremote.facts.parse import LONG, FactError

_RANGE = "range"


def between(least: int, most: int) -> Mapping[str, tuple[int, int]]:
    """Given bounds, return the metadata of a data class's field that keep its number within them."""
    return {_RANGE: (least, most)}


def encode(value: Any) -> Any:
    """Given a fact or a part of one, return it as plain JSON."""
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | Compact):
        return [encode(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


class _Listed(list[Any]):
    """A sequence as JSON's encoder takes it, which goes through lists alone; no record of it is kept."""

    def __init__(self, records: Sequence[Any]) -> None:
        super().__init__()
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._records)


def part(value: Any) -> Any:
    """Given what JSON has no form for, return the same one level down: an encoder asks for the rest in turn.

    So a folder of 100,000 files is never there as that many tables at once.
    """
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Compact):
        return _Listed(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


@cache
def _ranges(cls: type) -> Mapping[str, tuple[int, int]]:
    return {f.name: f.metadata[_RANGE] for f in dataclasses.fields(cls) if _RANGE in f.metadata}


def decode(kind: Any, value: Any, place: str) -> Any:
    """Given a type and plain JSON, return the value of that type. Raise FactError if it is not one."""
    wrong = FactError("facts file", place, f"this is no {getattr(kind, '__name__', kind)}")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return decode(next(a for a in arguments if a is not type(None)), value, place)
    if origin is typing.Literal:
        if not isinstance(value, str) or value not in arguments:
            raise FactError("facts file", place, f"expected one of {', '.join(arguments)}")
        return value
    if origin in (tuple, Sequence):
        if not isinstance(value, list):
            raise wrong
        arguments = arguments if origin is tuple else (*arguments, ...)
        if arguments[-1] is not ... and len(arguments) != len(value):
            raise wrong
        kinds = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        pairs = zip(kinds, value, strict=True)
        return tuple(decode(k, item, f"{place}[{n}]") for n, (k, item) in enumerate(pairs))
    if not isinstance(value, Mapping) and (origin is Mapping or dataclasses.is_dataclass(kind)):
        raise wrong
    if origin is Mapping:
        return {key: decode(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        if unknown := value.keys() - hints.keys():
            raise FactError("facts file", f"{place}.{min(unknown)}", "this version does not know it")
        parts = {key: decode(hints[key], item, f"{place}.{key}") for key, item in value.items()}
        for name, (least, most) in _ranges(typing.cast(type, kind)).items():
            if name in parts and not least <= parts[name] <= most:
                raise FactError("facts file", f"{place}.{name}", "the number is out of range")
        try:
            return typing.cast(Any, kind)(**parts)
        except TypeError as error:
            raise FactError("facts file", place, str(error)) from error
    if kind is datetime:
        try:
            moment = datetime.fromisoformat(value)
            zoned = moment.tzinfo is not None
            moment = moment.astimezone(UTC) if zoned else moment
        except (TypeError, ValueError, OverflowError):  # the last: in UTC it is beside the calendar
            raise wrong from None
        if not zoned:
            raise FactError("facts file", place, "the time has no zone")
        return moment
    if type(value) is not kind:
        raise wrong
    if kind is int and not LONG[0] <= value <= LONG[1]:
        raise FactError("facts file", place, "the number is out of range")
    return value
