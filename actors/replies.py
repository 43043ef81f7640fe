"""Replies to callers outside the actors: results of commands, and the state of the gateways. Plain values."""

from __future__ import annotations

from datetime import datetime

from domain.account import Account, Refused, Transaction
from domain.values import value


@value(frozen=True, slots=True)
class Accepted:
    """The command's events are durable. ``transaction``: its state after that commit."""

    transaction: Transaction


@value(frozen=True, slots=True)
class Replayed:
    """The same command was accepted before under the same idempotency key: ``transaction_id`` is what it became."""

    transaction_id: str


@value(frozen=True, slots=True)
class Adjusted:
    """The correction of a balance is durable. ``account``: its state after that write."""

    adjustment_id: str
    account: Account


@value(frozen=True, slots=True)
class Closed:
    """The review is closed, and that is durable."""

    review_id: str


@value(frozen=True, slots=True)
class Taken:
    """The callback and what follows from it are durable, now or since an earlier delivery."""


@value(frozen=True, slots=True)
class SignatureInvalid:
    """Signature verification failed. Nothing is stored."""


@value(frozen=True, slots=True)
class NotStored:
    """Nothing of the command is stored, and nothing ever will be. ``reason`` is for clients and operators."""

    reason: str
    retry_after_s: int = 1


@value(frozen=True, slots=True)
class Uncertain:
    """Whether the command is stored was not known by its deadline. A later read of ``transaction_id`` shows it.

    None when the command is about no transaction.
    """

    transaction_id: str | None


Reply = Accepted | Replayed | Adjusted | Closed | Taken | Refused | NotStored | Uncertain


@value(frozen=True, slots=True)
class BreakerStatus:
    """A circuit breaker as operators see it. ``error_percent`` and ``requests`` are of the rolling window."""

    state: str  # closed, open, half_open
    mode: str  # auto, open, closed
    error_percent: int
    requests: int
    opened_at: datetime | None
    reopens_at: datetime | None


@value(frozen=True, slots=True)
class BulkheadStatus:
    """How many calls run at a gateway, and how much work waits for a slot in this process."""

    in_flight: int
    waiting: int
    max_concurrent: int


@value(frozen=True, slots=True)
class GatewayStatus:
    """One gateway as operators see it."""

    name: str
    adapter: str
    currencies: tuple[str, ...]
    breaker: BreakerStatus
    bulkhead: BulkheadStatus
