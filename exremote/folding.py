"""How Windows compares the names of files, registry keys and services.

A capital letter and its small one are the same; nothing else is. NTFS and the registry put each UTF-16
unit into its capital by a table of theirs, one for one, before they compare (recalled). So `Maße` and
`Masse` are two files of one folder, though `str.casefold`, which is made for people's texts, holds them
for one.
"""

from __future__ import annotations


class _Small(dict[int, int]):
    """The small letter of each letter, as it is asked for."""

    def __missing__(self, code: int) -> int:
        """Pair only what is a pair in both directions, so that no two letters become one by a detour."""
        letter = chr(code)
        small = letter.lower()
        found = ord(small) if code < 0x10000 and len(small) == 1 and small.upper() == letter else code
        self[code] = found
        return found


_SMALL = _Small()


def folded(name: str) -> str:
    """Return a name or path in small letters: two are the same to Windows if these are equal.

    It is careful where the tables of Unicode and of a Windows of 2003 may differ: what is no pair of
    one capital and one small letter (`ß`, dotless `ı`, the Kelvin sign) stays itself.
    """
    return name.lower() if name.isascii() else name.translate(_SMALL)
