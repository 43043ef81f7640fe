"""A listener that records events of a simulated process in the history, and delays the thread that calls it."""

from __future__ import annotations

import random

from actors.messages import CallResult
from store.port import MoveWork, StreamKey, WorkItem
from tests.simulation.history import History
from tests.simulation.threads import ThreadedRuntime


class SlowListener:
    """Writes breaker changes into the history, and sometimes delays a thread that passes on a result."""

    def __init__(self, history: History, runtime: ThreadedRuntime, chance: random.Random, rate: float) -> None:
        self._history, self._runtime, self._chance, self._rate = history, runtime, chance, rate

    def recorded(self, stream: StreamKey, events: object, transactions: object) -> None:
        """Do nothing, because the store records commits."""

    def appended(self, results: object, duration_s: float) -> None:
        """Ignore."""

    def called(self, item: WorkItem, result: CallResult, duration_s: float) -> None:  # noqa: ARG002  # the port's names
        """Maybe pause the call's thread before it reports."""
        if not self._runtime.dead and not self._runtime.calm and self._chance.random() < 0.03 * self._rate:
            self._runtime.pause(self._chance.choice([0.01, 0.5, 4.0, 90.0]))

    def breaker_changed(self, gateway: str, state: str) -> None:
        """Record the change."""
        if not self._runtime.dead:
            where = {"process": self._runtime.process, "gateway": gateway}
            self._history.add("breaker", self._runtime.monotonic(), state=state, **where)

    def dead_letter(self, item: WorkItem, move: MoveWork) -> None:
        """Ignore."""

    def leases_lost(self) -> None:
        """Ignore."""

    def taken_over(self, count: int) -> None:
        """Ignore."""

    def called_back(self, gateway: str, answer: object) -> None:
        """Ignore."""
