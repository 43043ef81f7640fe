"""A customer's account: its state, and the transitions of a transaction.

``domain.state_machine`` decides on commands and applies events.

::

    (new) ─Received─▶ pending ─OutcomeUnknown─▶ unknown
                        │                         │
                        ├──────── Processed ◀─────┤
                        │             ▼           │
                        │         processed ─Completed─▶ completed
                        │             │
                        └── Failed ◀──┴───────────┘      (terminal: completed, failed)
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
from domain.money import Money
from domain.outcomes import Category
from domain.values import value


class Status(StrEnum):
    """The state of a transaction, as clients see it."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    PROCESSED = "processed"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether the status is final."""
        return self in TERMINAL


RESOLVED: Final = "resolved"
"""The code of a failure that an operator recorded."""
INSUFFICIENT_FUNDS: Final = "insufficient-funds"
"""The code of the refusal of a withdrawal above the available balance."""
DISCARDED: Final = "discarded"
"""The code of a failure by an operator's discard."""
TERMINAL: Final = frozenset({Status.COMPLETED, Status.FAILED})

TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = MappingProxyType(
    {
        Status.PENDING: frozenset({Status.UNKNOWN, Status.PROCESSED, Status.FAILED}),
        Status.UNKNOWN: frozenset({Status.PROCESSED, Status.FAILED}),
        Status.PROCESSED: frozenset({Status.COMPLETED, Status.FAILED}),
        Status.COMPLETED: frozenset(),
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
    """One deposit or withdrawal. ``version`` is the stream version of its newest event."""

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
