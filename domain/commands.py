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


Command = Receive | RecordSubmission | RecordOutcome | Discard | OpenReview
