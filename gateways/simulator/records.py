"""Requests to a simulated provider, and its records of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from domain.events import Kind
from domain.money import Money
from gateways.simulator.rows import TrueStatus


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """One parsed request; ``key`` is None at a provider without idempotency keys.

    ``hold``: a deposit whose money is held until a capture. ``original``: the provider's id of the deposit that a
    refund, capture or void names.
    """

    kind: Kind
    reference: str
    money: Money
    key: str | None
    hold: bool = False
    original: str | None = None

    @property
    def effect(self) -> TrueStatus:
        """Its status once it is carried out."""
        return TrueStatus.AUTHORIZED if self.hold else TrueStatus.SUCCESS


@dataclass(slots=True)
class Record:
    """One accepted request under the provider's own ``id``; ``ready`` is set when its status is on disk.

    Of a deposit: ``ended_by`` is the id of the capture or void of its hold that is under way or done,
    ``captured_minor`` what was captured, ``refunded_minor`` the refunds that are under way or done.
    """

    request: PaymentRequest
    id: str
    status: TrueStatus
    code: str | None = None
    ended_by: str | None = None
    captured_minor: int | None = None
    refunded_minor: int = 0
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def taken_minor(self) -> int:
        """What a deposit took."""
        return self.request.money.minor if self.captured_minor is None else self.captured_minor
