"""A provider without idempotency keys that may lose, queue or refuse what it is sent, and a book of what it did."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from actors.runtime.simulated import SimulatedRuntime
from domain.outcomes import Approved, Category, Declined, NotReceived, NotSentError, Outcome, OutcomeUnknownError
from gateways.port import Order
from tests.actors.support import GATEWAY

TIMEOUT_S: Final = 5.0
SETTLE_S: Final = 60.0
DECLINED: Final = Declined("do_not_honor", Category.HARD, "no")
FATES: Final = ("answered", "answered", "silent", "lost", "queued", "refused", "declined")
"""What may become of a sending; ``silent`` is an effect without an answer."""


class KeylessProvider:
    """Implements gateways.port.Gateway: each sending that arrives is an effect of its own, sooner or later.

    ``fate`` decides what becomes of a sending. ``watch`` is told of each before anything happens.
    """

    def __init__(self, runtime: SimulatedRuntime, chance: random.Random, fates: tuple[str, ...] = FATES) -> None:
        self.name, self.currencies = GATEWAY, frozenset({"USD"})
        self.honours_keys, self.looks_up, self.idempotency_window_s = False, True, 0.0
        self.runtime, self._chance = runtime, chance
        self.fate: Callable[[Order], str] = lambda _: chance.choice(fates)
        self.watch: Callable[[Order], None] = lambda _: None
        self.sendings: Counter[str] = Counter()
        self.arrivals: list[tuple[float, str, bool]] = []
        """When a sending was, or will be, worked on; whose it is; whether the money moves then."""

    def submit(self, order: Order) -> Outcome:
        """See Gateway."""
        self.watch(order)
        fate = self.fate(order)
        if fate == "refused":
            raise NotSentError("connection refused")
        self.sendings[order.transaction_id] += 1
        if fate == "lost":
            raise OutcomeUnknownError("deadline")
        delay_s = self._chance.choice([0.2, 0.9, 0.999]) * (TIMEOUT_S + SETTLE_S) if fate == "queued" else 0.0
        self.arrivals.append((self.runtime.monotonic() + delay_s, order.transaction_id, fate != "declined"))
        if fate in {"silent", "queued"}:
            raise OutcomeUnknownError("reset")
        return self._found(order.transaction_id)[-1]

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """See Gateway; what stands in the queue is not found."""
        if self._chance.random() < 0.1:
            raise OutcomeUnknownError("HTTP 503")
        found = self._found(order.transaction_id)
        return found[-1] if found else NotReceived()

    def close(self) -> None:
        """See Gateway."""

    def effects(self) -> Counter[str]:
        """How often the money moved, or will have moved, for each transaction."""
        return Counter(key for _, key, moves in self.arrivals if moves)

    def _found(self, key: str) -> list[Outcome]:
        now = self.runtime.monotonic()
        arrived = [(moves, number) for number, (at, of, moves) in enumerate(self.arrivals) if of == key and at <= now]
        return [Approved(f"B-{number}", final=True) if moves else DECLINED for moves, number in arrived]
