"""A provider that honours keys, with faults by chance; its ledger is in the history, and survives every crash."""

from __future__ import annotations

import random
from dataclasses import dataclass

from actors.runtime.simulated import SimulatedRuntime
from domain.outcomes import (
    Approved,
    Category,
    Declined,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
)
from gateways.port import Order
from tests.simulation.history import History


@dataclass
class Fate:
    """What the provider has decided about a reference, whenever anybody asks."""

    reference: str
    status: str  # success, pending, declined
    becomes: str | None = None  # of pending: success or declined
    at: float = 0.0
    began: float = 0.0


class SimulatedProvider:
    """Implements gateways.port.Gateway. ``calm`` switches all faults off; decisions already taken stand."""

    name = "gatewayA"
    currencies = frozenset({"USD", "JPY"})
    honours_keys = True
    idempotency_window_s = 20_000.0

    def __init__(self, chance: random.Random, history: History, rate: float) -> None:
        self._chance, self._history, self._rate = chance, history, rate
        self._fates: dict[str, Fate] = {}
        self._orders: dict[str, Order] = {}
        self.runtime: SimulatedRuntime | None = None
        self.calm = False
        self.outage_until = 0.0

    def submit(self, order: Order) -> Outcome:
        """One effect for each key that is remembered, and whatever may go wrong on the way there and back."""
        self._meet_faults_on_the_way()
        key = order.transaction_id
        self._history.add("call", self._now(), key=key)
        fate = self._fates.get(key)
        if fate is None or self._now() - fate.began > self.idempotency_window_s:
            fate = self._fates[key] = self._decide(order)
        self._settle(order)
        if not self.calm and self._chance.random() < 0.12 * self._rate:
            raise OutcomeUnknownError("the answer was lost")
        return self._answer(fate)

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """The truth, unless the way is blocked."""
        self._meet_faults_on_the_way()
        self._settle(order)
        fate = self._fates.get(order.transaction_id)
        return NotReceived() if fate is None else self._answer(fate)

    def close(self) -> None:
        """Nothing to close."""

    def _now(self) -> float:
        assert self.runtime is not None
        return self.runtime.monotonic()

    def _meet_faults_on_the_way(self) -> None:
        if self._now() < self.outage_until:
            raise NotSentError("connection refused")
        if self.calm:
            return
        draw = self._chance.random() / self._rate if self._rate else 1.0
        if draw < 0.08:
            raise NotSentError("connection refused")
        if draw < 0.16:
            raise OutcomeUnknownError("the request was lost")
        if draw < 0.17:
            raise ZeroDivisionError("a defect in the adapter")
        if draw < 0.18:
            self.outage_until = self._now() + self._chance.choice([1, 30, 300])

    def _decide(self, order: Order) -> Fate:
        draw, reference = self._chance.random(), f"A-{len(self._fates) + 1}"
        self._orders[order.transaction_id] = order
        now = self._now()
        if draw < 0.70:
            return Fate(reference, "success", began=now)
        if draw < 0.82:
            return Fate(reference, "declined", began=now)
        later = now + self._chance.choice([0.1, 3, 60, 5000])
        return Fate(reference, "pending", "success" if draw < 0.92 else "declined", later, now)

    def _settle(self, order: Order) -> None:
        """Let time do its work on a pending one; write an effect into the ledger once."""
        fate = self._fates.get(order.transaction_id)
        if fate is None:
            return
        if fate.status == "pending" and fate.becomes is not None and self._now() >= fate.at:
            fate.status = fate.becomes
        if fate.status == "success" and order.transaction_id in self._orders:
            known = self._orders.pop(order.transaction_id)
            self._history.add(
                "effect",
                self._now(),
                key=known.transaction_id,
                kind=known.kind.value,
                amount=known.money.text,
                currency=known.money.currency,
                customer=known.customer_id,
                id=fate.reference,
            )

    def _answer(self, fate: Fate) -> Outcome:
        if fate.status == "declined":
            return Declined("insufficient_funds", Category.SOFT, "declined")
        return Approved(fate.reference, final=fate.status == "success")
