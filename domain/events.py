"""Events of a customer's stream, named in the past tense, and their stable stored names.

One class serves all kinds of transactions; the stored type carries the kind: ``DepositReceived``, ``RefundReceived``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.gateway_report import Expected, GatewayReport
from domain.money import Money
from domain.outcomes import Category
from domain.values import value


class Kind(StrEnum):
    """The type of a transaction: what its call to the provider does with the money."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    REFUND = "refund"
    """Gives back a part or all of a completed deposit, its parent."""
    CAPTURE = "capture"
    """Takes a part or all of the held money of its parent, an authorized deposit. The rest is released."""
    VOID = "void"
    """Releases the held money of its parent, an authorized deposit."""

    @property
    def ends_authorization(self) -> bool:
        """Whether it ends an authorization. An authorized deposit has at most one such child that did not fail."""
        return self is Kind.CAPTURE or self is Kind.VOID


@value(frozen=True, slots=True)
class Received:
    """The command is durable, and not sent yet.

    ``reserved``: a withdrawal or refund took it from the available balance. ``manual_capture``: the money of
    a deposit is only held until a capture. A refund, capture or void names its ``parent_id`` and the gateway's own
    reference of the parent, ``parent_reference``. ``reason``: the client's, of a refund.
    """

    kind: Kind
    transaction_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]
    reserved: bool = False
    manual_capture: bool = False
    parent_id: str | None = None
    parent_reference: str | None = None
    reason: str | None = None


@value(frozen=True, slots=True)
class Submitted:
    """Attempt number ``attempt`` (from 1) is about to be sent to a gateway without idempotency keys."""

    kind: Kind
    transaction_id: str
    attempt: int


@value(frozen=True, slots=True)
class OutcomeUnknown:
    """The gateway may or may not have acted."""

    kind: Kind
    transaction_id: str
    reason: str


@value(frozen=True, slots=True)
class Processed:
    """The gateway accepted the transaction under ``gateway_reference``; the final outcome follows.

    None: an operator recorded it without a reference.
    """

    kind: Kind
    transaction_id: str
    gateway_reference: str | None


@value(frozen=True, slots=True)
class Authorized:
    """The gateway holds the money of a deposit until ``expires_at``, under ``gateway_reference``.

    The reference is None when an operator recorded it before the gateway had reported one.
    """

    kind: Kind
    transaction_id: str
    gateway_reference: str | None
    expires_at: datetime


@value(frozen=True, slots=True)
class Completed:
    """Final: the money moved. ``captured``: the part of an authorized deposit that was taken."""

    kind: Kind
    transaction_id: str
    captured: Money | None = None


@value(frozen=True, slots=True)
class Voided:
    """Final: the gateway released the money of an authorized deposit, and nothing moved."""

    kind: Kind
    transaction_id: str


@value(frozen=True, slots=True)
class Failed:
    """Final: the money surely did not move. ``gateway_reference``: from the gateway's report, if it had one."""

    kind: Kind
    transaction_id: str
    code: str
    category: Category | None
    message: str
    gateway_reference: str | None = None


@value(frozen=True, slots=True)
class BalanceAdjusted:
    """An operator corrected the available balance by ``money``, which may be negative."""

    adjustment_id: str
    money: Money
    reason: str
    evidence: str


@value(frozen=True, slots=True)
class ReviewOpened:
    """Something contradicts the record, so that an operator must review it.

    ``said``: the gateway's report, ``expected``: the record at that time. Events of earlier versions have neither.
    """

    review_id: str
    transaction_id: str | None
    reason: str
    said: GatewayReport | None = None
    expected: Expected | None = None


@value(frozen=True, slots=True)
class ReviewClosed:
    """An operator closed the review with ``reason``."""

    review_id: str
    reason: str


TransactionEvent = Received | Submitted | OutcomeUnknown | Processed | Authorized | Completed | Voided | Failed
AccountEvent = BalanceAdjusted | ReviewOpened | ReviewClosed
"""Events that change no transaction."""
Event = TransactionEvent | AccountEvent

TRANSACTION_EVENTS: Final[tuple[type[TransactionEvent], ...]] = (
    Received,
    Submitted,
    OutcomeUnknown,
    Processed,
    Authorized,
    Completed,
    Voided,
    Failed,
)
_OF_DEPOSITS_ONLY: Final = frozenset({Authorized, Voided})

TYPE_NAMES: Final[dict[tuple[type, Kind | None], str]] = {
    **{
        (cls, kind): kind.value.capitalize() + cls.__name__
        for cls in TRANSACTION_EVENTS
        for kind in Kind
        if kind is Kind.DEPOSIT or cls not in _OF_DEPOSITS_ONLY
    },
    (BalanceAdjusted, None): "BalanceAdjusted",
    (ReviewOpened, None): "ReviewOpened",
    (ReviewClosed, None): "ReviewClosed",
}
"""Class and kind to stored type name."""
VOCABULARY: Final = 2
"""The revision of the set of events, which processes publish while several versions share a database.

1: deposits and withdrawals. 2: authorizations, refunds, captures and voids.
"""
EVENT_TYPES: Final[dict[str, tuple[type, Kind | None]]] = {name: key for key, name in TYPE_NAMES.items()}
"""Stored type name to class and kind, such as ``DepositReceived`` to ``(Received, Kind.DEPOSIT)``."""


def type_name(event: Event) -> str:
    """The stable name that ``event`` is stored under."""
    return TYPE_NAMES[type(event), getattr(event, "kind", None)]


@value(frozen=True, slots=True)
class Recorded:
    """An event with its version in the stream and its time: the input of ``evolve``.

    ``correlation_id`` is the one in its metadata. A transaction keeps that of its first event.
    """

    version: int
    occurred_at: datetime
    event: Event
    correlation_id: str | None = None
