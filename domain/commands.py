"""The commands that a customer's stream decides on, imperative. Ids and facts of the world arrive inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, Declined, Unknown


@dataclass(frozen=True, slots=True)
class Receive:
    """Take on a deposit or withdrawal under the new id ``transaction_id``.

    ``checked``: a withdrawal reserves its amount and is refused when too little is available.
    """

    kind: Kind
    transaction_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]
    checked: bool = True


@dataclass(frozen=True, slots=True)
class RecordSubmission:
    """Write down, before the first byte goes out, that attempt number ``attempt`` (from 1) is about to be sent."""

    transaction_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """Write down what a call, a lookup or a callback said of a transaction."""

    transaction_id: str
    outcome: Approved | Declined | Unknown


@dataclass(frozen=True, slots=True)
class Discard:
    """Give a transaction up of which every attempt surely never reached its gateway; ``reason`` is a person's.

    Whether that is so the record alone cannot tell: whoever issues the command has made sure of it.
    """

    transaction_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class OpenReview:
    """Ask for a person: nothing else will settle the transaction, or something about it cannot be right."""

    transaction_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordCallback:
    """Write down what ``gateway`` said of its own accord, under its own ``reference`` and about ``money``.

    It says how the transaction ended.
    """

    transaction_id: str
    gateway: str
    reference: str
    money: Money
    outcome: Approved | Declined


@dataclass(frozen=True, slots=True)
class Resolve:
    """A person who asked elsewhere says how the transaction ended; he saw it at ``version``."""

    transaction_id: str
    completed: bool
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Adjust:
    """A person corrects what a customer has available by ``money``, which may be negative."""

    adjustment_id: str
    money: Money
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class CloseReview:
    """A person has looked at what the open review ``review_id`` asked for."""

    review_id: str
    reason: str


TransactionCommand = RecordSubmission | RecordOutcome | RecordCallback | Discard | OpenReview | Resolve
"""Those about a transaction that is there."""
Command = Receive | TransactionCommand | Adjust | CloseReview
