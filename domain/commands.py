"""Commands on a customer's stream, named in the imperative. They contain all ids and external facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from domain.events import Kind
from domain.money import Money
from domain.outcomes import Outcome, Unknown
from domain.values import value


@value(frozen=True, slots=True)
class Receive:
    """Accept a deposit or withdrawal under the new id ``transaction_id``.

    ``checked``: a withdrawal reserves its amount, and is refused above the available balance. ``manual_capture``: the
    money of a deposit is only held.
    """

    kind: Kind
    transaction_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]
    checked: bool = True
    manual_capture: bool = False


@value(frozen=True, slots=True)
class ReceiveChild:
    """Accept a refund, capture or void of ``parent_id`` under the new id ``transaction_id``.

    ``minor``: the amount in minor units; None is what is left to refund, or all that is held. ``checked``: a refund
    reserves its amount, and is refused above the available balance.
    """

    kind: Kind
    transaction_id: str
    parent_id: str
    minor: int | None = None
    reason: str | None = None
    checked: bool = True


@value(frozen=True, slots=True)
class RecordSubmission:
    """Record, before the first byte is sent, that attempt number ``attempt`` (from 1) is about to be sent."""

    transaction_id: str
    attempt: int


@value(frozen=True, slots=True)
class RecordOutcome:
    """Record the outcome of a call or a lookup. ``expires_at``: the end of a hold whose end is not reported."""

    transaction_id: str
    outcome: Outcome | Unknown
    expires_at: datetime | None = None


@value(frozen=True, slots=True)
class Discard:
    """End a transaction whose attempts surely never reached its gateway; ``reason`` is the operator's.

    The record alone cannot prove this: the issuer of the command must have checked it.
    """

    transaction_id: str
    reason: str


@value(frozen=True, slots=True)
class OpenReview:
    """Open a review for an operator: the outcome stays unknown, or something contradicts the record."""

    transaction_id: str
    reason: str


@value(frozen=True, slots=True)
class RecordCallback:
    """Record a callback of ``gateway``: an outcome, with the gateway's ``reference`` and ``money``.

    ``expires_at``: the end of a hold whose end is not reported.
    """

    transaction_id: str
    gateway: str
    reference: str
    money: Money
    outcome: Outcome
    expires_at: datetime | None = None


class Resolution(StrEnum):
    """The outcomes that an operator can confirm."""

    COMPLETED = "completed"
    AUTHORIZED = "authorized"
    """Of a deposit with manual capture: the gateway holds the money."""
    FAILED = "failed"


@value(frozen=True, slots=True)
class Resolve:
    """Record the outcome that an operator confirmed elsewhere, after reviewing ``version``.

    ``expires_at``: the end of the hold when the outcome is ``authorized``.
    """

    transaction_id: str
    outcome: Resolution
    version: int
    reason: str
    expires_at: datetime | None = None


@value(frozen=True, slots=True)
class Adjust:
    """Correct the available balance by ``money``, which may be negative."""

    adjustment_id: str
    money: Money
    reason: str
    evidence: str


@value(frozen=True, slots=True)
class CloseReview:
    """Close the open review ``review_id``."""

    review_id: str
    reason: str


TransactionCommand = RecordSubmission | RecordOutcome | RecordCallback | Discard | OpenReview | Resolve
"""Commands about an existing transaction."""
Command = Receive | ReceiveChild | TransactionCommand | Adjust | CloseReview
