"""The lanes of an errand: one in the caller's thread, more beside it where that pays. It moves nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from exremote.errors import HostError
from exremote.session import Session
from exremote.transfer.board import LEAST_SHARE, Board, Share
from exremote.transfer.carrier import Aborted, Carrier, StepBack
from exremote.transport import Kind

_LOOK_S = 0.25
_WORTH_S = 0.5
"""A share that takes less than this is not taken over from another lane."""


def work_off(
    session: Session,
    board: Board[Any],
    share: Share[Any],
    script: str,
    attempt: Callable[[], None],
    mark: Callable[[], object],
) -> None:
    """Given a lane's session and share, attempt it with patience until there is nothing (worth it) to be had.

    Raise what `attempt` raises when its patience ends.
    """
    pace = session.pace
    while board.take(share, int(pace.rate * _WORTH_S) if pace.known else LEAST_SHARE):
        session.resume(script, attempt, mark)


class Crew:
    """Who works off a board."""

    def __init__(
        self,
        carrier: Carrier,
        board: Board[Any],
        lane: Callable[[Session], None],
        wire: Callable[[], Kind],
    ) -> None:
        """Given the streams, the board, what a lane does with its session, and on which wire."""
        self._carrier = carrier
        self._board = board
        self._lane = lane
        self._wire = wire
        self._lock = threading.Lock()
        self._first: Session | None = None
        self._threads: list[threading.Thread] = []
        self._looked = 0.0
        self._error: BaseException | None = None

    def run(self) -> None:
        """Work all off. Raise what ended it: HostError if the host is lost."""
        try:
            while self._error is None and not self._board.wait(_LOOK_S):
                self._first_lane()
        except Aborted:
            pass  # what ended it is told below
        except BaseException as error:
            self.end(error)
        finally:
            self._gather()
        if self._error is not None:
            raise self._error

    def _gather(self) -> None:
        """Wait for all lanes. An error, and a person's Ctrl-C meanwhile, has them end soon."""
        while True:
            try:
                if self._error is not None:
                    self._carrier.abort()
                for thread in self._threads:
                    if thread.ident is not None:  # else a person's Ctrl-C came before it was started
                        thread.join()
                return
            except KeyboardInterrupt as error:
                self.end(error)

    def end(self, error: BaseException) -> None:
        """Given what ends the errand for good, have all lanes end. The first one counts."""
        with self._lock:
            self._error = self._error or error

    def look(self) -> None:
        """Called by each lane between blocks: open another one if that pays. Raise Aborted at the end."""
        if self._error is not None:
            raise Aborted
        first = self._first
        if first is None or time.monotonic() - self._looked < _LOOK_S:
            return
        with self._lock:
            if time.monotonic() - self._looked < _LOOK_S:
                return  # another lane has just looked
            self._looked = time.monotonic()
            running = 1 + sum(thread.is_alive() for thread in self._threads)
            if not self._carrier.wants_more(running, first.pace, self._board.left):
                return
            self._carrier.opened(running + 1, first.wire)
            thread = threading.Thread(
                target=self._beside,
                args=[first.wire],
                name=f"{threading.current_thread().name} stream",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()

    def _first_lane(self) -> None:
        """Work in this thread. Raise HostError."""
        wire = self._wire()
        beside = wire != self._carrier.session.wire
        session = self._carrier.take(wire) if beside else self._carrier.session
        self._first = session
        try:
            self._work(session, beside)
        except StepBack as error:
            self._carrier.step_back(error.reason)
        finally:
            self._first = None
            self._carrier.rested()

    def _beside(self, wire: Kind) -> None:
        """Be another lane, in a thread of its own. What becomes of it, the first lane tells."""
        try:
            self._work(self._carrier.take(wire), True)
        except StepBack as error:
            self._carrier.step_back(error.reason)
        except HostError as error:
            self._carrier.lost(error)
        except Aborted:
            pass
        except BaseException as error:  # carried over to the first lane's thread
            self.end(error)

    def _work(self, session: Session, beside: bool) -> None:
        """Given a session, have a lane work with it until there is nothing more for it."""
        try:
            self._lane(session)
        except BaseException:
            if beside:
                session.close()
            raise
        if beside:
            self._carrier.give_back(session)
