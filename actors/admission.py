"""How many callers of a process may wait for the actors at a time. Others wait outside for a moment, then are refused.

It counts, and knows nothing of what they ask. Who waits outside or is refused has reached no actor: he costs little,
and nothing of his can ever be stored. So the actors have short turns however many callers come, and what calls to
gateways need of each turn stays theirs.
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
"""How long somebody waits outside, give or take a sweep. That also bounds how many refusals a second there can be:
clients that ask again at once, whatever they are told, would otherwise keep the process busy with nothing else."""
RETRY_AFTER_MAX_S: Final = 3
"""Who is refused is sent away for 1 s up to this, in turn, so that not all of them are back in the same second."""


class Admission:
    """Lets ``inside_max`` callers in at a time, in the order in which they came."""

    def __init__(self, runtime: Runtime, inside_max: int, *, patience_s: float = PATIENCE_S) -> None:
        self._inside_max = inside_max
        self._patience = Waiting(runtime, patience_s)
        self._lock = ShortLock()
        self._outside: dict[Future[None], None] = {}  # a dictionary keeps the order, and lets anybody leave
        self._refused = 0
        self.inside = 0
        """How many are in now."""

    def stats(self) -> AdmissionStats:
        """All of it in numbers; never blocks."""
        return AdmissionStats(self.inside, self.outside, self._refused, self._inside_max)

    @property
    def outside(self) -> int:
        """How many wait to be let in."""
        return len(self._outside)

    def enter(self) -> NotStored | None:
        """Come in, for as long as until ``leave``; or be told that there was no room. May block for a moment."""
        with self._lock:
            if self.inside < self._inside_max:  # then nobody waits outside
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
        """Go out again: whoever waits for the longest has the place."""
        with self._lock:
            turn = next(iter(self._outside), None)
            if turn is None:
                self.inside -= 1
                return
            del self._outside[turn]
        turn.set()
