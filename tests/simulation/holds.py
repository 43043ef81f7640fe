"""The holds of one simulated provider, and what refunds, captures and voids find of their parents there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.events import Kind
from domain.outcomes import AUTHORIZATION_CANCELLED
from gateways.port import Order
from tests.simulation.history import History
from tests.simulation.timeline import Timeline


@dataclass(eq=False)
class Hold:
    """The money that the provider holds under its ``reference``; times are virtual seconds.

    ``gone_at``: when the provider releases it by itself, with this ``code``, unless it is captured or voided before.
    """

    reference: str
    order: Order
    expires_at: datetime | None
    gone_at: float | None
    code: str
    began: bool = False
    taken_by: str | None = None
    """The capture or void that succeeds."""
    released_at: float | None = None
    """When a void released it."""
    cancelled: bool = False

    def gone(self, now: float) -> str | None:
        """The code under which it is held no longer; None while it is held, and after a capture."""
        if self.released_at is not None and now >= self.released_at:
            return AUTHORIZATION_CANCELLED
        gone = self.taken_by is None and self.gone_at is not None and now >= self.gone_at
        return self.code if gone else None


class Holds:
    """All holds of one provider, by its own references."""

    def __init__(self, name: str, history: History, timeline: Timeline) -> None:
        self._name, self._history, self._timeline = name, history, timeline
        self._holds: dict[str, Hold] = {}
        self._moved: set[str] = set()

    @property
    def held(self) -> set[str]:
        """The orders whose money is held now."""
        return {
            hold.order.transaction_id
            for hold in self._holds.values()
            if hold.taken_by is None and hold.gone(self._timeline.now) is None
        }

    @property
    def known(self) -> set[str]:
        """The orders whose money was held at some time."""
        return {hold.order.transaction_id for hold in self._holds.values()}

    def begin(self, hold: Hold, at: float) -> None:
        """Begin to hold the money."""
        hold.began = True
        self._holds[hold.reference] = hold
        order = hold.order
        self._history.add(
            "hold",
            at,
            gateway=self._name,
            key=order.transaction_id,
            kind=order.kind.value,
            amount=order.money.text,
            currency=order.money.currency,
            customer=order.customer_id,
            id=hold.reference,
        )

    def cancel(self, hold: Hold) -> bool:
        """Release a hold, unless it is captured or voided. Returns whether it is released."""
        hold.cancelled = hold.taken_by is None
        if hold.cancelled:
            self._released(hold, by="gateway")
        return hold.cancelled

    def refusal(self, order: Order, final_at: float) -> str | None:
        """The code under which a child is declined; None if its parent permits it. It then ends the hold."""
        original = order.parent_reference or ""
        if order.kind is Kind.REFUND:
            return None if original in self._moved else "do_not_honor"
        hold = self._holds.get(original)
        if hold is None or hold.taken_by is not None:
            return "do_not_honor"
        if hold.cancelled:
            return hold.code
        hold.taken_by = order.transaction_id
        if order.kind is Kind.VOID:
            hold.released_at = final_at
        return None

    def moved(self, order: Order, at: float, reference: str) -> None:
        """Note that the money of ``order`` was moved or released."""
        self._moved.add(reference)
        if order.kind is Kind.CAPTURE and order.parent_reference is not None:
            self._moved.add(order.parent_reference)
        elif order.kind is Kind.VOID and order.parent_reference is not None:
            self._released(self._holds[order.parent_reference], by=order.transaction_id, at=at)

    def _released(self, hold: Hold, by: str, at: float | None = None) -> None:
        when = hold.gone_at if at is None else at
        assert when is not None
        self._history.add("release", when, gateway=self._name, key=hold.order.transaction_id, by=by)
