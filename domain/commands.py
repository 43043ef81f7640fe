"""Commands on a customer's stream, named in the imperative. They contain all ids and external facts."""

from __future__ import annotations

from collections.abc import Mapping

from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, Declined, Unknown
from domain.values import value


@value(frozen=True, slots=True)
class Receive:
    """Accept a deposit or withdrawal under the new id ``transaction_id``.

    ``checked``: a withdrawal reserves its amount, and is refused above the available balance.
    """

    kind: Kind
    transaction_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]
    checked: bool = True


@value(frozen=True, slots=True)
class RecordSubmission:
    """Record, before the first byte is sent, that attempt number ``attempt`` (from 1) is about to be sent."""

    transaction_id: str
    attempt: int


@value(frozen=True, slots=True)
class RecordOutcome:
    """Record the outcome of a call, a lookup or a callback."""

    transaction_id: str
    outcome: Approved | Declined | Unknown


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
    """Record a callback of ``gateway``: how the transaction ended, with the gateway's ``reference`` and ``money``."""

    transaction_id: str
    gateway: str
    reference: str
    money: Money
    outcome: Approved | Declined


@value(frozen=True, slots=True)
class Resolve:
    """Record the outcome that an operator confirmed elsewhere, after reviewing ``version``."""

    transaction_id: str
    completed: bool
    version: int
    reason: str


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
Command = Receive | TransactionCommand | Adjust | CloseReview
