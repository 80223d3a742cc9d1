"""Which wire bulk takes, and how many streams side by side. It reads no stream.

What answers a question in one or two messages goes over the session's own wire. Bulk goes over raw streams
where that saves enough, and steps back where a host refuses them, or brings something else than it sent.
Where the line is long, so that most of the time is spent waiting for answers, more streams are opened beside.
"""

from __future__ import annotations

import math
import threading
from types import TracebackType
from typing import Self

from exremote.errors import HostError
from exremote.session import Pace, Session
from exremote.transport import Kind

LEAST_ANSWERS = 32
"""Answers over PSRP from which on raw streams pay for the shell that they need."""
LEAST_LATENCY_S = 0.004
"""Of a line where another stream brings anything."""
LEAST_LEFT_S = 3.0
"""Work for so long is left when another stream is opened: it takes a second or two to begin."""
IDLE_S = 120.0
"""Seconds after which the session's own shell may be gone: 180 are asked for."""
WIRE_BYTES = 1.8
"""Bytes on the wire for each byte of a file, at most, over PSRP."""


class StepBack(Exception):
    """Raw streams do not work with this host, for a reason; its own wire may."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Aborted(Exception):
    """Another stream of the same errand failed for good."""


class Carrier:
    """The streams to one host, for all its items; to be closed."""

    def __init__(self, session: Session, modern: bool) -> None:
        """Given the session that is open, and whether the host has PowerShell 3.0 or newer.

        Who listens to the session hears "bulk-stepped-back" (reason), "stream-opened" (streams, wire) and
        "stream-lost" (error).
        """
        self.session = session
        self.warnings: list[str] = []
        """Sentences for the operator."""
        host = session.door
        usual = host.envelope_kb == 150
        self._envelope_kb = 500 if modern and usual else host.envelope_kb
        self._raw = host.bulk == "auto"
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._most = host.streams
        self._fill = 1
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all streams but the session. Never raise an error."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def wire_for(self, size: int) -> Kind:
        """Given about how many bytes are to come, return the wire for them."""
        # WinRS asks for no more than at first, whatever the host would take.
        envelope_kb = self.session.door.envelope_kb if self.session.wire == "winrs" else self._envelope_kb
        answers = size * WIRE_BYTES / (envelope_kb * 1024)
        return "raw" if self._raw and answers >= LEAST_ANSWERS else self.session.wire

    def take(self, wire: Kind) -> Session:
        """Given a wire, return a session beside the first one, an idle or a new one."""
        with self._lock:
            for number, session in enumerate(self._idle):
                if session.wire == wire:
                    return self._idle.pop(number)
        return self.session.beside(wire, self._envelope_kb, self._going_on)

    def give_back(self, session: Session) -> None:
        """Given a session that is as good as before, keep it for the next item."""
        with self._lock:
            self._idle.append(session)

    def rested(self) -> None:
        """Told that the session was not used for a while: a shell that the host has forgotten is given up."""
        if self.session.pace.idle_s > IDLE_S:
            self.session.close()

    def abort(self) -> None:
        """Have all streams beside the first one end, soon."""
        self._stopped.set()

    def _going_on(self) -> None:
        if self._stopped.is_set():
            raise Aborted

    def step_back(self, reason: str) -> None:
        """Given why raw streams do not work here, use the host's own wire from now on."""
        with self._lock:
            first, self._raw = self._raw, False
            if first:
                self.warnings.append(
                    f"raw streams do not work with this host ({reason}); its files came the slower way."
                )
        if first:
            self.session.tell("bulk-stepped-back", {"reason": reason})

    def lost(self, error: HostError) -> None:
        """Given why a stream beside the first one was lost, open no more of them."""
        self._most = 1
        self.session.tell("stream-lost", {"error": error.text})

    def opened(self, streams: int, wire: Kind) -> None:
        """Given that another stream is about to be opened, tell."""
        self.session.tell("stream-opened", {"streams": streams, "wire": wire})

    def wants_more(self, running: int, pace: Pace, left: int) -> bool:
        """Given how many streams run, the pace of the first, and the bytes to come, return if one more pays.

        A stream waits a latency for each answer. As many as fill the line are wanted, not more. That is told
        by those that run alone or are few: of many each waits for the line, and looks busy.
        """
        throttle = self.session.throttle
        if running >= self._most or not pace.known or (throttle is not None and throttle.holds):
            return False
        latency_s = min(pace.latency_s, self.session.pace.latency_s)
        if latency_s < LEAST_LATENCY_S or left < LEAST_LEFT_S * pace.rate * running:
            return False
        busy = 1 - latency_s / max(pace.answer_s, latency_s * 1.05)
        self._fill = max(self._fill, math.ceil(1 / busy - 0.2))
        return running < self._fill
