"""Names that a package gets from its modules when one is asked for: a command loads what it uses.

It imports nothing by itself. A package that uses it says its imports twice: once for those who read types,
once here; a test holds the two together.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping


def ondemand(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Given a package's name, and by module the names it has from there, return its `__getattr__`."""
    homes = {name: module for module, said in names.items() for name in said.split()}

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
