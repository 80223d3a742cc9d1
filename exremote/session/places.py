"""Which places of a host may be changed: pure checks of paths, patterns and keys, before anything travels.

The scripts check the same again on the host, where links and short names show. It asks nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from exremote.errors import PlanRefused
from exremote.folding import folded

STAGING = "exremote-"
"""How the name of a folder begins that exremote made and may remove."""
_ROOT = re.compile(r"(?:[A-Za-z]:|\\\\[^\\/]+\\[^\\/]+)((?:\\[^\\]+)+)\\?")
_BAD = re.compile(r'[/:*?"<>|\x00-\x1f]')
_KEY = re.compile(r"(?:HKLM|HKEY_LOCAL_MACHINE)((?:\\[^\\]+)+)", re.IGNORECASE)


def folder(path: str) -> str:
    r"""Given a full path of a folder below a drive's or a share's root, return it without `\` at its end.

    Raise PlanRefused if it is none, or could be another place than it says.
    """
    found = _ROOT.fullmatch(path)
    if found is None or _strange(found[1][1:]):
        raise PlanRefused(
            f"{path[:200]!r} is not the full path of a folder below the root of a drive or a share.",
            "Nothing was changed there; correct where the path comes from.",
        )
    return path.rstrip("\\")


def staging(path: str) -> str:
    """Given the full path of a folder whose name begins with `exremote-`, return it. Raise PlanRefused."""
    place = folder(path)
    if not place.rpartition("\\")[2].lower().startswith(STAGING):
        raise PlanRefused(f"{path[:200]!r} is no folder of exremote: its name does not begin with {STAGING}.")
    return place


def below(paths: Iterable[str]) -> list[str]:
    """Given relative paths, return them. Raise PlanRefused if one leads out, or is named twice."""
    found = list(paths)
    for path in found:
        if not path or _strange(path):
            raise PlanRefused(f"{path[:200]!r} is not the name of a file below the folder.")
    if len({folded(path) for path in found}) < len(found):
        raise PlanRefused("One file is named twice.", "Nothing was changed; correct the list.")
    return found


def patterns(texts: Iterable[str]) -> list[str]:
    """Given patterns of file names, return them. Raise PlanRefused if one could match any file."""
    found = list(texts)
    for text in found:
        if re.search(r"[\\/:]", text) or not re.search(r"[^*?.\s]", text):
            raise PlanRefused(f"{text[:200]!r} is not a pattern of some file names.")
    return found


def key(path: str) -> str:
    """Given a key below HKEY_LOCAL_MACHINE, return it. Raise PlanRefused for any other."""
    if not _KEY.fullmatch(path):
        raise PlanRefused(f"{path[:200]!r} is no key below HKLM.", "Nothing was changed there.")
    return path


def _strange(path: str) -> bool:
    """Return whether a path below something is not one, or one that Windows takes for another."""
    return bool(_BAD.search(path)) or any(not name.rstrip(". ") for name in path.split("\\"))
