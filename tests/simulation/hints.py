"""Hints of work on the broker: they are lost, repeated, reordered and late, and the broker may be away.

A hint that arrives goes to one consumer, in a thread of its process. A frozen process handles it when it continues.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from messaging.port import HintHandler, WorkHint
from tests.simulation.broker import Broker
from tests.simulation.history import History
from tests.simulation.threads import ThreadedRuntime
from tests.simulation.timeline import Timeline

LATE_S: Final = (0.0, 0.0, 0.0, 0.01, 1.0, 90.0)


@dataclass(frozen=True)
class _Consumer:
    runtime: ThreadedRuntime
    gateways: frozenset[str]
    handler: HintHandler


class Hints:
    """The queues of all gateways. ``rate`` is that of lost, repeated and late hints."""

    def __init__(
        self, chance: random.Random, history: History, timeline: Timeline, broker: Broker, rate: float
    ) -> None:
        self._chance, self._history, self._timeline = chance, history, timeline
        self._broker, self._rate = broker, rate
        self._consumers: list[_Consumer] = []

    def announce(self, hint: WorkHint, process: int) -> None:
        """Take a hint from ``process``."""
        copies = 1 if self._broker.reachable else 0
        if self._happens(0.1):
            copies = self._chance.choice([0, 0, 2, 3])
        self._note("announced", hint, process, copies=copies)
        for _ in range(copies):
            late_s = self._chance.choice(LATE_S) if self._happens(0.3) else 0.0
            self._timeline.after(late_s, partial(self._arrive, hint))

    def subscribe(self, runtime: ThreadedRuntime, gateways: Collection[str], handler: HintHandler) -> None:
        """Deliver hints of ``gateways`` to ``handler`` while the process of ``runtime`` lives."""
        self._consumers = [each for each in self._consumers if not each.runtime.dead]
        self._consumers.append(_Consumer(runtime, frozenset(gateways), handler))

    def _arrive(self, hint: WorkHint) -> None:
        consumers = [each for each in self._consumers if not each.runtime.dead and hint.gateway in each.gateways]
        if not consumers:
            return  # it expires
        consumer = self._chance.choice(consumers)
        self._note("hinted", hint, consumer.runtime.process)
        consumer.runtime.begin(lambda: consumer.handler(hint))

    def _happens(self, share: float) -> bool:
        return not self._broker.calm and self._chance.random() < share * self._rate

    def _note(self, what: str, hint: WorkHint, process: int, **fields: object) -> None:
        where = {"process": process, "gateway": hint.gateway, "id": hint.work_id}
        self._history.add(what, self._timeline.now, **where, **fields)


class HintQueue:
    """Implements messaging.port.WorkQueue for one process."""

    def __init__(self, hints: Hints, runtime: ThreadedRuntime) -> None:
        self._hints, self._runtime = hints, runtime

    def announce(self, hint: WorkHint, /) -> None:
        """See WorkQueue."""
        self._hints.announce(hint, self._runtime.process)

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """See WorkQueue."""
        self._hints.subscribe(self._runtime, gateways, handler)

    def close(self) -> None:
        """See WorkQueue."""
