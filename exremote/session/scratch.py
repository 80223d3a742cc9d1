"""What exremote made on a host for a drill, and takes away again. It touches nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from exremote.errors import PlanRefused
from exremote.facts.parse import take
from exremote.session.line import Line

_KEY = re.compile(r"HKLM\\SOFTWARE\\exremote-[A-Za-z0-9-]{1,100}")
SCRIPT = "Remove-ScratchKey"


class Scratch(Line):
    """One host and one thread: its scratch keys."""

    def remove_scratch_key(self, key: str) -> bool:
        r"""Given `HKLM\SOFTWARE\exremote-...`, remove it with all below. Return whether it was there.

        Raise PlanRefused for any other key, HostError.
        """
        if not _KEY.fullmatch(key):
            raise PlanRefused(f"{key[:200]!r} is no scratch key of exremote.", "Nothing was changed.")

        def read(records: Iterator[object]) -> bool:
            record = self._summary(SCRIPT, [self._fields(SCRIPT, r) for r in records])
            return take(SCRIPT, record, "Exists", bool)

        return self._ask(SCRIPT, {"Key": key}, read)
