"""A schedule of misfortunes: what goes wrong on which host, at which request or record, and how.

One line a fault, `HOST:WHAT:WHEN:EFFECT`, as in `EXSICK01:Receive:3:cut=4096`:

- HOST is a name, wildcards allowed.
- WHAT is a request (`Create`, `Command`, `Send`, `Receive`, `Signal`, `Delete`, `any`), `Logon` (a proof of a
  password has come, right or wrong), a bundled script (`Read-FilePack`: its records are counted), or `host`.
- WHEN counts from 1, from the moment the fault is added: `3`, `2-5`, `4-`, `*`.
- EFFECT is a name with a value if it needs one, and `,for=SECONDS` if it ends by the clock.

It keeps the schedule and counts; it never does the damage itself, and knows nothing of HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

BEFORE = {
    "close": "the connection is closed instead of an answer",
    "reset": "the connection is reset instead of an answer",
    "status": "HTTP status VALUE instead of an answer",
    "fault": "WSManFault VALUE instead of an answer",
    "quota": "no shell left for this user",
    "delay": "VALUE seconds pass first",
    "gone": "the shell dies",
    "restart": "the WinRM service restarts: all shells and connections are gone",
    "reboot": "the host restarts: all shells are gone, and connections are refused for VALUE seconds",
}
"""Effects on a request, before it is carried out."""
AFTER = {
    "cut": "the answer ends after VALUE bytes, then the connection is closed",
    "reset-after": "the answer ends after VALUE bytes, then the connection is reset",
    "hang-up": "the answer is sent, then the connection is closed, as an idle one is",
    "lost": "the work is done, its answer is not sent",
    "corrupt": "the byte at VALUE of the answer is changed (default: in the middle of the data)",
    "bad-mic": "the answer is sealed with a wrong signature",
    "forget": "the connection has to be authenticated anew",
}
"""Effects on an answer."""
RECORDS = {
    "corrupt": "the last byte of the record is changed",
    "shorten": "the second half of the record is missing",
    "skip": "the record is missing",
    "throw": "the script ends with error id VALUE",
    "error": "an error record with id VALUE comes first",
    "delay": "VALUE seconds pass first",
    "gone": "the shell dies",
    "end": "the script ends here, as if it were done",
    "bomb": "the record is a deflated block that inflates to VALUE MiB",
    "endless": "the record comes again and again",
    "unplug": "the host no longer answers its gateway (until faults are cleared)",
}
"""Effects on a record of a script."""
HOST = {
    "refused": "connections are refused (for=SECONDS, or until faults are cleared)",
    "disk-full": "every disk is full (for=SECONDS, or until faults are cleared)",
    "restart": "the WinRM service restarts: all shells and connections are gone",
}
"""Effects on a host as a whole."""
REQUESTS = frozenset(
    {
        "any",
        "Create",
        "Command",
        "Send",
        "Receive",
        "Signal",
        "Delete",
        "Get",
        "Disconnect",
        "Reconnect",
        "Logon",
    }
)
_NEEDS_VALUE = frozenset(
    {"status", "fault", "delay", "cut", "throw", "error", "reboot", "reset-after", "bomb"}
)
_NUMBERS = _NEEDS_VALUE - {"throw", "error"} | {"corrupt"}
_FOREVER = 2**62


def _lines(effects: Mapping[str, str]) -> str:
    return "\n".join(
        f"  {name}{'=VALUE' if name in _NEEDS_VALUE else ''}: {what}" for name, what in effects.items()
    )


_FORM = (
    "A fault is HOST:WHAT:WHEN:EFFECT, as in EXSICK01:Receive:3:cut=4096. HOST may have wildcards. WHEN "
    "counts from 1, from now on: 3, 2-5, 4- or *. An effect ends by the clock with ,for=SECONDS behind it."
)
HELP = f"""Have something go wrong in the running lab.

{_FORM}

WHAT is a request ({", ".join(sorted(REQUESTS))}); before it is carried out:
{_lines(BEFORE)}
or its answer:
{_lines(AFTER)}

WHAT is a bundled script, whose records are counted, as Read-FilePack:
{_lines(RECORDS)}

WHAT is host, the host as a whole:
{_lines(HOST)}
"""
"""All that can go wrong, for whoever asks at the command line."""


class FaultText(ValueError):
    """The text of a fault does not say what a fault can say."""


@dataclass(slots=True)
class Fault:
    """One line of the schedule."""

    host: str
    what: str
    first: int
    last: int
    effect: str
    value: str = ""
    seconds: float = 0.0
    """Ends so long after it was added; 0: never."""
    added: float = field(default_factory=time.monotonic)
    seen: int = 0
    """How many requests or records of its kind there were since it was added."""
    struck: int = 0
    """How often it did harm."""

    @property
    def number(self) -> float:
        """The value, as a number."""
        return float(self.value or 0)

    @property
    def over(self) -> bool:
        """Whether it can do no more harm."""
        return self.seen >= self.last or bool(self.seconds and time.monotonic() - self.added >= self.seconds)

    def __str__(self) -> str:
        when = "*" if (self.first, self.last) == (1, _FOREVER) else str(self.first)
        if self.last == _FOREVER and self.first > 1:
            when += "-"
        elif self.last not in (self.first, _FOREVER):
            when += f"-{self.last}"
        value = f"={self.value}" if self.value else ""
        limit = f",for={self.seconds:g}" if self.seconds else ""
        return f"{self.host}:{self.what}:{when}:{self.effect}{value}{limit}"


def _when(text: str) -> tuple[int, int]:
    if text in ("", "*"):
        return 1, _FOREVER
    first, dash, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise FaultText(f"{text!r} is not a count: write 3, 2-5, 4- or *")
    low = int(first)
    high = low if not dash else int(last) if last else _FOREVER
    if not 1 <= low <= high:
        raise FaultText(f"{text!r} counts from 1 upwards")
    return low, high


def parse(text: str) -> Fault:
    """Given one line, return the fault. Raise FaultText if it is not one."""
    parts = text.strip().split(":", 3)
    if len(parts) != 4 or not all((parts[0], parts[1], parts[3])):
        raise FaultText(f"{text!r} is not HOST:WHAT:WHEN:EFFECT, as in EXSICK01:Receive:3:cut=4096")
    host, what, when, tail = parts
    what = next((name for name in REQUESTS if name.lower() == what.lower()), what)
    head, *options = tail.split(",")
    effect, _, value = head.partition("=")
    allowed = HOST if what == "host" else BEFORE | AFTER if what in REQUESTS else RECORDS
    if effect not in allowed:
        raise FaultText(f"{effect!r} cannot happen to {what!r}; there are: {', '.join(sorted(allowed))}")
    if effect in _NEEDS_VALUE and not value:
        raise FaultText(f"{effect!r} needs a value: {effect}=...")
    first, last = _when(when)
    fault = Fault(host.upper(), what, first, last, effect, value)
    try:
        if value and effect in _NUMBERS:
            float(value)
        for option in options:
            name, _, seconds = option.partition("=")
            if name != "for":
                raise FaultText(f"{option!r}: the only option is for=SECONDS")
            fault.seconds = float(seconds)
    except ValueError as error:
        raise FaultText(str(error)) from error
    return fault


class Schedule:
    """All faults that wait or happen. Safe to use from several threads."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, text: str) -> Fault:
        """Add the fault that a line describes. Return it. Raise FaultText."""
        fault = parse(text)
        with self._lock:
            self._faults.append(fault)
        return fault

    def all(self) -> list[Fault]:
        """Return all faults that were added and not cleared, spent ones too."""
        with self._lock:
            return list(self._faults)

    def clear(self, host: str = "") -> list[Fault]:
        """Forget the faults of one host, or all. Return those that were forgotten."""
        with self._lock:
            gone = [fault for fault in self._faults if not host or fault.host == host.upper()]
            self._faults = [fault for fault in self._faults if fault not in gone]
        return gone

    def waits_for(self, host: str, what: str) -> bool:
        """Return whether any fault may still strike such an event."""
        with self._lock:
            return any(fault.what == what and self._meant(fault, host) for fault in self._faults)

    def strike(self, host: str, what: str, effects: frozenset[str] | dict[str, str]) -> list[Fault]:
        """Count one event of a host for all faults with one of these effects.

        Return those that strike now.
        """
        due = []
        with self._lock:
            for fault in self._faults:
                if fault.effect not in effects or not self._meant(fault, host):
                    continue
                if fault.what != what and not (fault.what == "any" and what in REQUESTS - {"Logon"}):
                    continue
                fault.seen += 1
                if fault.first <= fault.seen <= fault.last:
                    fault.struck += 1
                    due.append(fault)
        return due

    @staticmethod
    def _meant(fault: Fault, host: str) -> bool:
        return not fault.over and fnmatchcase(host.upper(), fault.host)
