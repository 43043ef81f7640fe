"""Simulated providers with faults by chance; what they did is in the history, and survives every crash.

A call takes time. What was sent arrives whatever becomes of its sender, and a provider without keys may queue it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from greenlet import GreenletExit

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
from tests.simulation.threads import ThreadedRuntime

TIMEOUT_S: Final = 5.0
SETTLE_S: Final = 60.0
CODES: Final = {"insufficient_funds": Category.SOFT, "issuer_unavailable": Category.SOFT, "do_not_honor": Category.HARD}


@dataclass
class Fate:
    """What the provider has decided about one request that arrived; times are virtual seconds."""

    reference: str
    arrived: float
    visible: float
    """From when on lookups find it: before, it stands in the provider's queue."""
    final: str
    """What it ends as: success or a code."""
    final_at: float

    def answer(self, now: float) -> Outcome:
        """What the provider says of it."""
        if now < self.final_at:
            return Approved(self.reference, final=False)
        if self.final == "success":
            return Approved(self.reference, final=True)
        return Declined(self.final, CODES[self.final], "declined")


class SimulatedProvider:
    """Implements gateways.port.Gateway. ``calm`` switches all faults off; decisions already taken stand.

    ``die`` is called now and then right after an effect: the process is to end there.
    """

    currencies = frozenset({"USD", "JPY"})

    def __init__(
        self, name: str, chance: random.Random, history: History, rate: float, *, honours_keys: bool, looks_up: bool
    ) -> None:
        self.name, self.honours_keys, self.looks_up = name, honours_keys, looks_up
        self.idempotency_window_s = 20_000.0 if honours_keys else 0.0
        self._chance, self._history, self._rate = chance, history, rate
        self._fates: dict[str, list[Fate]] = {}
        self._to_come: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self.runtime: ThreadedRuntime | None = None
        self.die: Callable[[], None] = lambda: None
        self.calm = False
        self.outage_until = 0.0
        history.add(
            "gateway",
            0.0,
            name=name,
            keys=honours_keys,
            looks_up=looks_up,
            timeout_s=TIMEOUT_S,
            settle_s=SETTLE_S,
        )

    # gateways.port.Gateway

    def submit(self, order: Order) -> Outcome:
        """An effect of its own, or one for each key that is remembered, and whatever may go wrong there and back."""
        return self._call("submit", order, self._submit)

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """The truth at some moment between question and answer, unless the way is blocked."""
        return self._call("lookup", order, self._lookup)

    def close(self) -> None:
        """Nothing to close."""

    # the world

    def fail_for(self, seconds: float) -> None:
        """Nothing reaches the provider for so long."""
        self.outage_until = self._now() + seconds

    def catch_up(self) -> None:
        """Do what was to be done by now."""
        while self._to_come and self._to_come[0][0] <= self._now():
            heapq.heappop(self._to_come)[2]()

    def tell_truth(self) -> None:
        """Write what has become of everything into the history."""
        self.catch_up()
        for key, fates in self._fates.items():
            said = [[fate.reference, fate.final, fate.final_at <= self._now()] for fate in fates]
            self._history.add("truth", self._now(), gateway=self.name, key=key, fates=said)

    # a call

    def _call(self, verb: str, order: Order, do: Callable[[Order], Outcome | NotReceived]) -> Outcome:
        runtime, number = self._runtime, next(self._numbers)
        self._history.add(
            "call", self._now(), gateway=self.name, verb=verb, key=order.transaction_id, number=number, job=runtime.job
        )
        result = "unknown"
        try:
            outcome = do(order)
            result = type(outcome).__name__
        except NotSentError:
            result = "NotSent"
            raise
        except GreenletExit:
            result = ""
            raise
        finally:
            if result:
                self._history.add("ended", self._now(), gateway=self.name, number=number, result=result)
        return outcome  # type: ignore[return-value]  # a lookup's NotReceived is passed on to who asked for it

    def _submit(self, order: Order) -> Outcome:
        deadline = self._now() + TIMEOUT_S
        self._meet_faults_on_the_way(deadline)
        travel_s = self._some([0.0, 0.0, 0.0, 0.01, 0.5, 2.0])
        fate = self._fate(self._now() + travel_s, deadline)
        self._at(fate.arrived, lambda: self._arrive(order, fate))
        self._wait(travel_s)
        self.catch_up()
        if self._happens(0.01):
            self.die()
            self._wait(0.0)
        if self._happens(0.12) or (fate.visible > fate.arrived and self._happens(0.5)):
            self._wait(self._some([0.0, 0.5, deadline - self._now()]))
            raise OutcomeUnknownError(self._chance.choice(["reset", "garbage", "HTTP 500", "deadline"]))
        self._wait(self._some([0.0, 0.0, 0.01, 1.0]))
        if self.honours_keys:
            fate = self._fates[order.transaction_id][-1]
        return fate.answer(self._now())

    def _lookup(self, order: Order) -> Outcome | NotReceived:
        deadline = self._now() + TIMEOUT_S
        self._meet_faults_on_the_way(deadline)
        self._wait(self._some([0.0, 0.0, 0.01, 1.0]))
        self.catch_up()
        visible = [fate for fate in self._fates.get(order.transaction_id, ()) if fate.visible <= self._now()]
        answer = visible[-1].answer(self._now()) if visible else NotReceived()
        self._wait(self._some([0.0, 0.0, 0.01, 1.0, 3.0]))
        if self._happens(0.08):
            raise OutcomeUnknownError("HTTP 503")
        return answer

    def _meet_faults_on_the_way(self, deadline: float) -> None:
        if self._now() < self.outage_until:
            self._wait(self._some([0.0, 0.01, 2.0]))
            raise NotSentError("connection refused")
        if self.calm:
            return
        draw = self._chance.random() / self._rate if self._rate else 1.0
        if draw < 0.08:
            self._wait(self._some([0.0, 0.01, 2.0]))
            raise NotSentError("connect timeout")
        if draw < 0.16:
            self._wait(self._some([0.0, 0.5, deadline - self._now()]))
            raise OutcomeUnknownError("the request was lost")
        if draw < 0.17:
            raise ZeroDivisionError("a defect in the adapter")
        if draw < 0.18:
            self.fail_for(self._chance.choice([1.0, 30.0, 300.0]))

    # the provider's side

    def _fate(self, arrived: float, deadline: float) -> Fate:
        reference = f"{self.name[-1]}-{next(self._numbers)}"
        visible = arrived
        if not self.honours_keys and self._happens(0.15):  # queued, but never longer than is documented
            visible += self._chance.choice([0.3, 0.9, 0.999]) * (deadline + SETTLE_S - arrived)
        draw = self._chance.random()
        final = "success" if draw < 0.8 else self._chance.choice(sorted(CODES))
        final_at = visible + (self._chance.choice([0.1, 3.0, 60.0, 5000.0]) if 0.7 <= draw < 0.9 else 0.0)
        return Fate(reference, arrived, visible, final, final_at)

    def _arrive(self, order: Order, fate: Fate) -> None:
        known = self._fates.setdefault(order.transaction_id, [])
        if self.honours_keys and known and fate.arrived - known[-1].arrived <= self.idempotency_window_s:
            return
        known.append(fate)
        if fate.final == "success":
            self._at(fate.final_at, lambda: self._move_money(order, fate))

    def _move_money(self, order: Order, fate: Fate) -> None:
        self._history.add(
            "effect",
            fate.final_at,
            gateway=self.name,
            key=order.transaction_id,
            kind=order.kind.value,
            amount=order.money.text,
            currency=order.money.currency,
            customer=order.customer_id,
            id=fate.reference,
        )

    # small things

    @property
    def _runtime(self) -> ThreadedRuntime:
        assert self.runtime is not None
        return self.runtime

    def _now(self) -> float:
        return self._runtime.monotonic()

    def _at(self, when: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._to_come, (when, next(self._numbers), function))

    def _happens(self, share: float) -> bool:
        return not self.calm and self._chance.random() < share * self._rate

    def _some(self, seconds: list[float]) -> float:
        return 0.0 if self.calm else max(self._chance.choice(seconds), 0.0)

    def _wait(self, seconds: float) -> None:
        if not self.calm:
            self._runtime.pause(seconds)
