"""What changes a host: its services, files and registry values, one script a deed. It decides nothing.

Each deed may be repeated with the same end, so a line that was lost is no reason to stop. What cannot be done
to one file or value is told of that one, and the rest goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TypeVar

from exremote.errors import ScriptFailed
from exremote.facts import (
    FactError,
    RegistryDeed,
    RegistrySetting,
    RemovedFile,
    ServiceChange,
    StartMode,
    WantedState,
)
from exremote.pack import PackError, encode_lines, seal_settings
from exremote.session import places
from exremote.session.line import Fields, Line
from exremote.transport import Value

T = TypeVar("T")
START_S = 120.0
"""What a script may need beside the waiting that it was told to do."""


class Deeds(Line):
    """One host and one thread: what can be done to it."""

    def set_service(
        self,
        name: str,
        state: WantedState | None,
        deadline_s: float,
        start_mode: StartMode | None = None,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> ServiceChange:
        """Given a service, bring it to a state and a start mode (None: that stays), waiting so long.

        What depends on it is stopped before it. `waited` is told every few seconds. Return what became of it.
        Raise ScriptFailed (ExRemote.ServiceMissing, ServiceStuck with the state it hangs in, ServiceDisabled,
        ServiceDenied, ServiceFailed if Windows refuses or it stops again while it starts), or another
        HostError.
        """
        script = "Set-ServiceState"
        seconds = max(1, min(86400, math.ceil(deadline_s)))
        parameters: dict[str, Value] = {
            "Name": name,
            "State": state,
            "StartMode": start_mode,
            "DeadlineSeconds": seconds,
        }

        def once() -> ServiceChange:
            summary: list[Fields] = []
            with closing(self._run(script, parameters, seconds + START_S)) as records:
                for record in records:
                    if isinstance(record, int):
                        waited(record / 1000)
                    else:
                        summary.append(self._fields(script, record))
            change = ServiceChange.parse(self._summary(script, summary))
            if change.name.casefold() != name.casefold() or (state is not None and change.state != state):
                raise FactError(script, "output", f"{change.name[:200]!r} is {change.state[:50]!r}")
            return change

        return self._retry(script, self._library.get(script).effect, once)

    def remove_files(
        self, root: str, patterns: Sequence[str], names: Sequence[str] = ()
    ) -> list[RemovedFile]:
        """Given a folder, remove the files directly in it that match (`*.seq`), and the named ones below it.

        Return them, and those that match further below, which stay. Nothing behind a link is looked at or
        removed. Raise PlanRefused for a place or a pattern that no plan may have, HostError.
        """
        if not patterns and not names:
            return []
        parameters: dict[str, Value] = {
            "Path": places.folder(root),
            "Pattern": places.patterns(patterns) or None,
            "Files": encode_lines(places.below(names)) if names else None,
        }
        return self._lines(
            "Remove-WorkFile", parameters, lambda lines: [RemovedFile.parse(line) for line in lines]
        )

    def set_registry_values(self, values: Sequence[RegistrySetting]) -> list[RegistryDeed]:
        """Given values of HKLM, set or remove each, byte for byte, and have it read back. Keys are made.

        A key is the one of that path that PowerShell on the host sees, as in an export: on a 64-bit Windows,
        of which Exchange 2003 knows nothing, the keys of 32-bit programs have `Wow6432Node` in their path.
        A kind, or data, that .NET there cannot write unchanged (text without its NUL, say) fails as
        ExRemote.KindUnsupported. Raise PlanRefused for another key, or too much at once, HostError.
        """
        if not values:
            return []
        try:
            blocks = list(seal_settings((places.key(v.key), v.name, v.kind, v.data) for v in values))
        except PackError as error:
            raise self._too_much("Set-RegistryValue", error) from None

        def read(lines: Sequence[Sequence[str]]) -> list[RegistryDeed]:
            _each("Set-RegistryValue", lines, values)
            return [RegistryDeed.parse(line, value) for line, value in zip(lines, values, strict=True)]

        return self._lines("Set-RegistryValue", {}, read, blocks)

    def _too_much(self, script: str, error: PackError) -> ScriptFailed:
        return ScriptFailed(
            self.host.name, f"{script} was not run: {error}.", script=script, error_id="ExRemote.BadArgument"
        )

    def _lines(
        self,
        script: str,
        parameters: Mapping[str, Value],
        read: Callable[[Sequence[Sequence[str]]], list[T]],
        source: Sequence[bytes] | None = None,
    ) -> list[T]:
        """Given a script that answers with lines and a summary, and what reads their fields, return what was
        read. Raise HostError.
        """

        def once() -> list[T]:
            summary: list[Fields] = []
            # As long as thousands of files take; only the host's own deadline holds.
            with closing(self._run(script, parameters, self.host.deadlines.host_s, source)) as records:
                data = b"".join(self._bounded(script, self._blocks(records, summary)))
            self._summary(script, summary)
            return read(list(_split(script, data)))

        return self._retry(script, self._library.get(script).effect, once)


def _each(script: str, lines: Sequence[object], asked: Sequence[object]) -> None:
    """Raise FactError unless there is one answer for each thing that was asked for."""
    if len(lines) != len(asked):
        raise FactError(script, "output", f"expected {len(asked)} answers, got {len(lines)}")


def _split(script: str, data: bytes) -> Iterator[list[str]]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise FactError(script, "output", "a line that is no UTF-8") from None
    if text and not text.endswith("\n"):
        raise FactError(script, "output", "a line that does not end")
    for line in text.split("\n")[:-1]:
        yield line.split("\t")
