"""Admission control: excess requests queue briefly, then get 503.

A bounded number of requests is processed at a time. A queued or refused request reaches no actor: it costs little, and
nothing of it is ever stored. So actors stay responsive under any number of clients, and calls to gateways proceed.
"""

from __future__ import annotations

from typing import Final

from pykka import Timeout

from actors.replies import NotStored
from actors.runtime.actor import Future
from actors.runtime.locks import ShortLock
from actors.runtime.runtime import Runtime
from actors.runtime.waiting import Waiting
from actors.stats import AdmissionStats

PATIENCE_S: Final = 1.0
"""How long an excess request is queued, accurate to one sweep. This also bounds the rate of refusals: clients that
retry at once, despite ``Retry-After``, would otherwise keep the process busy with refusals."""
RETRY_AFTER_MAX_S: Final = 3
"""Refusals carry ``Retry-After`` from 1 s up to this, in turn, so that clients do not all return in the same second."""


class Admission:
    """Admits at most ``inside_max`` requests at a time, in order of arrival."""

    def __init__(self, runtime: Runtime, inside_max: int, *, patience_s: float = PATIENCE_S) -> None:
        self._inside_max = inside_max
        self._patience = Waiting(runtime, patience_s)
        self._lock = ShortLock()
        self._outside: dict[Future[None], None] = {}  # a dictionary keeps the order, and any entry can be removed
        self._refused = 0
        self.inside = 0
        """The number of admitted requests."""

    def stats(self) -> AdmissionStats:
        """Statistics; never blocks."""
        return AdmissionStats(self.inside, self.outside, self._refused, self._inside_max)

    @property
    def outside(self) -> int:
        """The number of queued requests."""
        return len(self._outside)

    def enter(self) -> NotStored | None:
        """Admit a request until ``leave``; returns the refusal if its wait timed out. May block for a moment."""
        with self._lock:
            if self.inside < self._inside_max:  # then none is queued
                self.inside += 1
                return None
            turn: Future[None] = Future()
            self._outside[turn] = None
        try:
            self._patience.wait(turn)
        except Timeout:
            with self._lock:
                late = self._outside.pop(turn, turn) is None
                self._refused += late
            if late:
                return NotStored("Too many commands wait for their answer.", 1 + self._refused % RETRY_AFTER_MAX_S)
        return None

    def leave(self) -> None:
        """End an admitted request, and admit the one that is queued longest."""
        with self._lock:
            turn = next(iter(self._outside), None)
            if turn is None:
                self.inside -= 1
                return
            del self._outside[turn]
        turn.set()
