"""Gates: who may try a credential, and when nobody may any more, so that a wrong password locks no account.

A gate knows credentials by what they are equal to, and never looks into one. It never retries.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from exremote.errors import LogonRefused

MOST_UNCLEAR = 2
"""Proofs of a password that may stay without an answer, by credential and by host: it may have been wrong."""
REMEDY = "Correct the credential, then run again; nothing more was tried, to lock no account."


class Gate:
    """Lets one host try a credential before all others.

    Hosts that share a credential wait until one of them was let in. Once it was refused, none tries it
    again, not even where it had been taken before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[Hashable, threading.RLock] = {}  # a thread may come twice
        self._proven: set[Hashable] = set()
        self._refused: dict[Hashable, str] = {}

    def refused_by(self, key: Hashable) -> str:
        """Given what identifies a credential, return the host that refused it in this run, or ''."""
        return self._refused.get(key, "")

    def refuse(self, key: Hashable, host: str) -> None:
        """Given what identifies a credential and the host that refused it, let nobody try it any more."""
        self._refused.setdefault(key, host)

    @contextmanager
    def turn(self, key: Hashable) -> Iterator[None]:
        """Given what identifies a credential, wait until it is proven or refused, or it is one's own turn.

        The body tries it, and calls `refuse` if it was refused; a body that ends well proves it.
        """
        if key in self._proven:
            yield
            return
        with self._lock:
            turn = self._turns.setdefault(key, threading.RLock())
        with turn:
            yield
            self._proven.add(key)


@dataclass(slots=True)
class Proof:
    """A proof of a password that is about to leave for a host."""

    accepted: bool | None = None
    """What came of it: taken, refused, or None as long as the host has not said."""
    sent: bool = True
    """Whether it left at all; False where an answer says that nobody was asked."""


class LogonGate(Gate):
    """The gate for log-ons to hosts. It counts the proofs of a password that a host never answered."""

    def __init__(self) -> None:
        super().__init__()
        self._proven_at: set[tuple[Hashable, str]] = set()
        self._unclear: Counter[Hashable] = Counter()

    def check(self, key: Hashable, host: str) -> None:
        """Given a credential and a host, return if it may be tried there. Raise LogonRefused if not."""
        if refused_by := self.refused_by(key):
            raise LogonRefused(
                host, f"not tried: {refused_by} refused the same credential in this run.", REMEDY
            )
        unclear = 0 if (key, host) in self._proven_at else self._unclear[key, host]
        if key not in self._proven:
            unclear = max(unclear, self._unclear[key])
        if unclear < MOST_UNCLEAR:
            return
        raise LogonRefused(
            host,
            f"not tried again: {MOST_UNCLEAR} times the line broke after the password had been sent, "
            "and nobody can tell whether it was taken.",
            "Run `exremote doctor` for the host; nothing more was tried, to lock no account.",
        )

    @contextmanager
    def proof(self, key: Hashable, host: str) -> Iterator[Proof]:
        """Given a credential and a host, let the body send a proof of it, alone as long as it is unproven.

        The body says what came of it; one that ends without that counts as unclear. Raise LogonRefused if
        it may not be tried (any more).
        """
        if (key, host) in self._proven_at:
            self.check(key, host)
            yield Proof()  # taken here before: what comes of it now is its sender's to read
            return
        if key in self._proven:
            with self._judged(key, host) as proof:
                yield proof
            return
        with self._lock:
            turn = self._turns.setdefault(key, threading.RLock())
        with turn, self._judged(key, host) as proof:
            yield proof

    @contextmanager
    def _judged(self, key: Hashable, host: str) -> Iterator[Proof]:
        """Let the body send a proof, and keep what came of it."""
        self.check(key, host)
        proof = Proof()
        try:
            yield proof
        finally:
            with self._lock:
                if proof.accepted:
                    self._proven.add(key)
                    self._proven_at.add((key, host))
                elif proof.accepted is not None:
                    self._refused.setdefault(key, host)
                elif proof.sent:
                    self._unclear[key] += 1
                    self._unclear[key, host] += 1
