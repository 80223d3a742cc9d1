"""The simulated answer of the script that removes a scratch key; it keeps to the rules of the script."""

from __future__ import annotations

import re
from collections.abc import Iterator

from exremote.lab.binding import Arguments
from exremote.lab.machine import Machine
from exremote.lab.registry import KeyDenied
from exremote.lab.trees import refused
from exremote.lab.wsman.engine import Call, Record


def scratch_key_remove(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Remove-ScratchKey: a key of exremote's own, with all below."""
    key = arguments.text("Key")
    if not re.fullmatch(r"HKLM\\SOFTWARE\\exremote-[a-z0-9-]{1,100}", key, re.IGNORECASE):
        raise refused("ExRemote.BadArgument", f"'{key}' is no scratch key of exremote.", "InvalidArgument")
    with machine.lock:
        try:
            there = machine.registry.find(key) is not None
            if there:
                machine.registry.remove(key)
        except KeyDenied:
            message = f"{key}: Access to the registry key '{key}' is denied."
            raise refused("ExRemote.KeyDenied", message, "PermissionDenied") from None
    yield {"Key": key, "Exists": there, "Removed": there}
