"""What every fact is read with: records of scripts, property by property. It knows no script."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

Record = Mapping[str, object]
T = TypeVar("T")
LONG = (-(2**63), 2**63 - 1)
"""The range of a [long]; nothing that a script answers is larger, and Python would count on for ever."""


class FactError(ValueError):
    """A script answered something that its contract does not say: which script, which property."""

    def __init__(self, script: str, name: str, message: str) -> None:
        super().__init__(f"{script}: {name}: {message}")
        self.script = script
        self.property = name


def take(script: str, record: Record, name: str, kind: type[T]) -> T:
    """Given a record, return a property of exactly this type. Raise FactError if it is something else."""
    if name not in record:
        raise FactError(script, name, "the answer lacks this property")
    value = record[name]
    if value is None and kind is str:
        value = ""  # a [string] that is $null arrives as nothing
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise FactError(script, name, f"expected {kind.__name__}, got {type(value).__name__}")
    if isinstance(value, int) and not LONG[0] <= value <= LONG[1]:
        raise FactError(script, name, "the number is out of range")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise FactError(script, name, "the time has no zone")
    return value


def texts(script: str, record: Record, name: str) -> tuple[str, ...]:
    """Given a record, return a property that is a list of texts. Raise FactError if it is not one."""
    if name not in record:
        raise FactError(script, name, "the answer lacks this property")
    value = record[name]
    if value is None:
        return ()  # an empty [string[]] may arrive as nothing
    if isinstance(value, str):
        return (value,)  # and PowerShell unrolls an array of one
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise FactError(script, name, "expected a list of texts")
    return tuple(value)
