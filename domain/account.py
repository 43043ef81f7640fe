"""A customer's account: its state, and the transitions of a transaction.

``domain.state_machine`` decides on commands and applies events.

::

    (new) ─Received─▶ pending ─OutcomeUnknown─▶ unknown
                        │                         │
                        ├──────── Processed ◀─────┤
                        │             ▼           │
                        │         processed ─Completed─▶ completed
                        │             │
                        └── Failed ◀──┴───────────┘      (terminal: completed, voided, failed)

A deposit with manual capture goes from pending, unknown or processed to ``authorized``, and from there to completed
(by a capture), voided (by a void) or failed (the gateway released the money by itself).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.events import (
    Kind,
)
from domain.money import Money, minor_to_text
from domain.outcomes import Category
from domain.values import value


class Status(StrEnum):
    """The state of a transaction, as clients see it."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    PROCESSED = "processed"
    AUTHORIZED = "authorized"
    COMPLETED = "completed"
    VOIDED = "voided"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether the status is final."""
        return self in TERMINAL


RESOLVED: Final = "resolved"
"""The code of a failure that an operator recorded."""
INSUFFICIENT_FUNDS: Final = "insufficient-funds"
"""The code of the refusal of a withdrawal or refund above the available balance."""
DISCARDED: Final = "discarded"
"""The code of a failure by an operator's discard."""
NOT_POSSIBLE_NOW: Final = "not-possible-now"
"""The code of a refusal by the present state of a transaction, which may change."""
AMOUNT_TOO_LARGE: Final = "amount-too-large"
"""The code of a refused refund or capture above what is left."""
NOT_SUPPORTED: Final = "not-supported"
"""The code of a refused operation that the gateway cannot carry out."""
TRANSIENT_REFUSALS: Final = frozenset({NOT_POSSIBLE_NOW})
"""Codes of refusals by a state that may change. Such a refusal is never recorded under an idempotency key."""
TERMINAL: Final = frozenset({Status.COMPLETED, Status.VOIDED, Status.FAILED})

TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = MappingProxyType(
    {
        Status.PENDING: frozenset({Status.UNKNOWN, Status.PROCESSED, Status.AUTHORIZED, Status.FAILED}),
        Status.UNKNOWN: frozenset({Status.PROCESSED, Status.AUTHORIZED, Status.FAILED}),
        Status.PROCESSED: frozenset({Status.AUTHORIZED, Status.COMPLETED, Status.FAILED}),
        Status.AUTHORIZED: frozenset({Status.COMPLETED, Status.VOIDED, Status.FAILED}),
        Status.COMPLETED: frozenset(),
        Status.VOIDED: frozenset(),
        Status.FAILED: frozenset(),
    }
)
"""Every change of status that the record may hold; any other is an IllegalTransitionError."""


class UnknownTransactionError(LookupError):
    """The account does not hold the transaction that the command names; it must be loaded first."""


class IllegalTransitionError(Exception):
    """An event does not follow from the state before it: the record or the code is wrong."""


@value(frozen=True, slots=True)
class Failure:
    """Why a transaction failed, in the normalised codes that every gateway maps its own codes to."""

    code: str
    category: Category | None
    message: str


@value(frozen=True, slots=True)
class Transaction:
    """One transaction. ``version`` is the stream version of the newest event that changed it.

    ``reserved``: a withdrawal or refund took its amount from the available balance. Amounts are in minor units of its
    currency. ``captured_minor`` is None unless an authorization was captured; ``refunding_minor`` is the sum of the
    refunds under way. ``ended_by`` is the capture or void of this authorization that is under way or done.
    """

    transaction_id: str
    kind: Kind
    customer_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]
    status: Status
    reserved: bool
    submissions: int
    gateway_reference: str | None
    failure: Failure | None
    version: int
    created_at: datetime
    updated_at: datetime
    correlation_id: str | None = None
    manual_capture: bool = False
    parent_id: str | None = None
    parent_reference: str | None = None
    reason: str | None = None
    captured_minor: int | None = None
    refunded_minor: int = 0
    refunding_minor: int = 0
    ended_by: str | None = None
    authorization_expires_at: datetime | None = None

    @property
    def taken_minor(self) -> int:
        """What a completed deposit took: the captured amount, or all of it where capture is automatic."""
        return self.money.minor if self.captured_minor is None else self.captured_minor


@value(frozen=True, slots=True)
class Balance:
    """A customer's balance in one currency, in minor units; neither part is ever negative."""

    available: int = 0
    reserved: int = 0


@value(frozen=True, slots=True)
class Account:
    """The state that a decision needs: version, balances, and the transactions concerned."""

    customer_id: str
    version: int = 0
    balances: Mapping[str, Balance] = field(default_factory=dict)
    transactions: Mapping[str, Transaction] = field(default_factory=dict)

    def transaction(self, transaction_id: str) -> Transaction:
        """The transaction with this id. Raises UnknownTransactionError."""
        try:
            return self.transactions[transaction_id]
        except KeyError:
            raise UnknownTransactionError(transaction_id) from None


@value(frozen=True, slots=True)
class Refused:
    """The command is refused and no event is recorded. ``code`` names the problem, ``detail`` explains it to people.

    ``facts`` are values for programs, such as the available amount. ``replayed``: the same command was refused before
    under the same idempotency key, and this is the recorded refusal.
    """

    code: str
    detail: str
    facts: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False


def short_of(account: Account, money: Money) -> Refused | None:
    """The refusal of a command that takes ``money``; None when it is available."""
    currency = money.currency
    available = account.balances.get(currency, Balance()).available
    if available >= money.minor:
        return None
    text = minor_to_text(available, currency)
    detail = f"{text} {currency} available, {money.text} requested."
    return Refused(INSUFFICIENT_FUNDS, detail, {"available": text, "currency": currency})
