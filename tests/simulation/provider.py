"""Simulated providers; their actions are in the history and survive every crash.

A request that was sent arrives even if its sender dies, and a provider without keys may queue it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Final

from domain.outcomes import (
    AUTHORIZATION_CANCELLED,
    AUTHORIZATION_EXPIRED,
    Approved,
    Authorization,
    Category,
    Declined,
    NotReceived,
    Outcome,
)
from gateways.port import Order
from tests.simulation.callback_delivery import Notifier
from tests.simulation.history import History
from tests.simulation.holds import Hold, Holds
from tests.simulation.provider_callbacks import Callbacks
from tests.simulation.timeline import Timeline

TIMEOUT_S: Final = 5.0
SETTLE_S: Final = 60.0
TOLD_PENDING: Final = 0.8
"""Share of the orders with a callback, among orders that the provider does not decide at once."""
TOLD: Final = 0.5
"""Share of the orders with a callback, among all others."""
CODES: Final = {"insufficient_funds": Category.SOFT, "issuer_unavailable": Category.SOFT, "do_not_honor": Category.HARD}


SAID: Final = {"success": "completed", AUTHORIZATION_CANCELLED: "cancelled", AUTHORIZATION_EXPIRED: "expired"}
"""What a callback says about a result; of any other it says that it failed."""


@dataclass
class Fate:
    """The provider's decision about one request that arrived; times are virtual seconds."""

    reference: str
    arrived: float
    visible: float
    """The time from which lookups find it. Before, it waits in the provider's queue."""
    final: str
    """Its final result: success or a code."""
    final_at: float
    hold: Hold | None = None
    """The money that it holds, if it is to be captured later."""

    def answer(self, now: float) -> Outcome:
        """The provider's answer about it at the time ``now``."""
        if now < self.final_at:
            return Approved(self.reference, final=False)
        if self.final != "success":
            return Declined(self.final, CODES.get(self.final), "declined")
        if self.hold is None:
            return Approved(self.reference, final=True)
        code = self.hold.gone(now)
        return Authorization(self.reference, self.hold.expires_at) if code is None else Declined(code, None, "gone")


class SimulatedProvider:
    """A simulated provider. ``calm`` switches all faults off; earlier decisions stay valid."""

    def __init__(
        self,
        name: str,
        chance: random.Random,
        history: History,
        timeline: Timeline,
        rate: float,
        *,
        honours_keys: bool,
        looks_up: bool,
        notifier: Notifier,
        callbacks: Callbacks,
    ) -> None:
        self.name, self.honours_keys, self.looks_up = name, honours_keys, looks_up
        self.key_window_s = 20_000.0 if honours_keys else 0.0
        self.chance, self.rate = chance, rate
        self._history, self._timeline = history, timeline
        self._notifier, self._callbacks = notifier, callbacks
        self._fates: dict[str, list[Fate]] = {}
        self.holds = Holds(name, history, timeline)
        self._to_come: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self.calm = False
        self._outage_until = 0.0
        history.add(
            "gateway",
            0.0,
            name=name,
            keys=honours_keys,
            looks_up=looks_up,
            timeout_s=TIMEOUT_S,
            settle_s=SETTLE_S,
        )

    # for the world

    def fail_for(self, seconds: float) -> None:
        """Make the provider unreachable for this time."""
        self._outage_until = self._timeline.now + seconds

    def record_outcomes(self) -> None:
        """Write the true outcome of every order into the history."""
        self._catch_up()
        now = self._timeline.now
        for key, fates in self._fates.items():
            said = [[fate.reference, fate.final, fate.final_at <= now] for fate in fates]
            self._history.add("truth", now, gateway=self.name, key=key, fates=said)

    @property
    def held(self) -> set[str]:
        """The orders whose money it holds now."""
        self._catch_up()
        return self.holds.held

    def settled(self, key: str) -> str | None:
        """The outcome of the order; None if it is open or was never received."""
        self._catch_up()
        now = self._timeline.now
        fates = [fate for fate in self._fates.get(key, ()) if fate.visible <= now]
        if not fates or any(now < fate.final_at for fate in fates):
            return None
        held = [fate.hold for fate in fates if fate.hold is not None and fate.final == "success"]
        if held:
            if any(hold.taken_by for hold in held):
                return None  # its capture or void tells
            return "failed" if all(hold.gone(now) for hold in held) else "authorized"
        return "completed" if any(fate.final == "success" for fate in fates) else "failed"

    def happens(self, share: float) -> bool:
        """Whether a fault occurs that has this share of the cases at the usual rate of faults."""
        return not self.calm and self.chance.random() < share * self.rate

    # for lookups

    @property
    def reachable(self) -> bool:
        """Whether there is no outage now."""
        return self._timeline.now >= self._outage_until

    def new_number(self) -> int:
        """A number for a call."""
        return next(self._numbers)

    def take(self, order: Order, arrived: float, deadline: float) -> Fate:
        """Receive ``order``, which arrives even if its sender dies; return the decision about it."""
        fate = self._fate(arrived, deadline)
        if order.manual_capture:
            fate.hold = self._hold(order, fate)
        self._at(arrived, lambda: self._arrive(order, fate))
        if self.chance.random() < (TOLD if fate.final_at == fate.visible else TOLD_PENDING):
            self._notifier.at(fate.final_at + self._callbacks.late_s(), lambda: self._tell(order, fate))
        return fate

    def answer(self, order: Order, fate: Fate, at: float) -> Outcome:
        """The provider's answer at the time ``at`` to the request with this ``fate``."""
        self._catch_up()
        if self.honours_keys:
            fate = [known for known in self._fates[order.transaction_id] if known.arrived <= at][-1]
            if at > fate.final_at and self.happens(0.3):
                return fate.answer(fate.final_at)  # the answer to a key is the first one again
        return fate.answer(at)

    def look_up(self, order: Order, at: float) -> Outcome | NotReceived:
        """The provider's answer to a lookup of ``order`` at the past time ``at``."""
        self._catch_up()
        visible = [fate for fate in self._fates.get(order.transaction_id, ()) if fate.visible <= at]
        return visible[-1].answer(at) if visible else NotReceived()

    # actions

    def _fate(self, arrived: float, deadline: float) -> Fate:
        reference = f"{self.name[-1]}-{next(self._numbers)}"
        visible = arrived
        if not self.honours_keys and self.happens(0.15):  # queued, but never longer than documented
            visible += self.chance.choice([0.3, 0.9, 0.999]) * (deadline + SETTLE_S - arrived)
        draw = self.chance.random()
        final = "success" if draw < 0.8 else self.chance.choice(sorted(CODES))
        final_at = visible + (self.chance.choice([0.1, 3.0, 60.0, 5000.0]) if 0.7 <= draw < 0.9 else 0.0)
        return Fate(reference, arrived, visible, final, final_at)

    def _arrive(self, order: Order, fate: Fate) -> None:
        known = self._fates.setdefault(order.transaction_id, [])
        if self.honours_keys and known and fate.arrived - known[-1].arrived <= self.key_window_s:
            return
        known.append(fate)
        self._at(fate.visible, lambda: self._decide(order, fate))

    def _decide(self, order: Order, fate: Fate) -> None:
        """Decide on the request when it leaves the provider's queue. A child needs its parent."""
        if fate.final == "success" and order.parent_id is not None:
            code = self.holds.refusal(order, fate.final_at)
            if code is not None:
                fate.final, fate.final_at = code, fate.visible
        if fate.final == "success":
            self._at(fate.final_at, lambda: self._move_money(order, fate))

    def _hold(self, order: Order, fate: Fate) -> Hold:
        """The hold of an order, which the provider may cancel by itself, or let expire."""
        draw, lasts_s = self.chance.random(), self.chance.choice([3.0, 200.0, 20_000.0, 400_000.0])
        gone_at = fate.final_at + lasts_s if draw < 0.3 else None
        code = AUTHORIZATION_CANCELLED if draw < 0.2 else AUTHORIZATION_EXPIRED
        ends_at = None if draw < 0.6 else self._timeline.clock() + timedelta(seconds=lasts_s)
        return Hold(fate.reference, order, ends_at, gone_at, code)

    def _move_money(self, order: Order, fate: Fate) -> None:
        if fate.hold is not None:
            self.holds.begin(fate.hold, fate.final_at)
            if fate.hold.gone_at is not None:
                self._at(fate.hold.gone_at, lambda: self._cancel(order, fate))
            return
        self.holds.moved(order, fate.final_at, fate.reference)
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
            parent=order.parent_id,
            original=order.parent_reference,
        )

    def _cancel(self, order: Order, fate: Fate) -> None:
        """Release a hold that is neither captured nor voided, and sometimes report it."""
        assert fate.hold is not None
        if self.holds.cancel(fate.hold) and self.chance.random() < TOLD:
            status = "cancelled" if fate.hold.code == AUTHORIZATION_CANCELLED else "expired"
            self._callbacks.tell(self.name, order, fate.reference, status)

    def _tell(self, order: Order, fate: Fate) -> None:
        """Send a callback about the outcome, unless the request repeated an earlier one."""
        self._catch_up()
        if fate in self._fates[order.transaction_id]:
            status = SAID.get(fate.final, "failed")
            if status == "completed" and fate.hold is not None:
                status = "authorized"
            self._callbacks.tell(self.name, order, fate.reference, status)

    def _at(self, when: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._to_come, (when, next(self._numbers), function))

    def _catch_up(self) -> None:
        """Do all actions that are due by now."""
        while self._to_come and self._to_come[0][0] <= self._timeline.now:
            heapq.heappop(self._to_come)[2]()
