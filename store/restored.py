"""How a database that was put back to an earlier state is marked, and what an operator compares then. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from store.port import StoredEvent, StreamKey


class OpenTransaction(NamedTuple):
    """A transaction on record that has no end: the provider may know more of it."""

    transaction_id: str
    stream: StreamKey
    kind: str
    gateway: str
    amount_minor: int
    currency: str
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """The database after it was marked."""

    generation: int
    newest: StoredEvent | None
    """The last event that is on record."""
    unfinished: Sequence[OpenTransaction]
    """By gateway, oldest first."""


class Restoring(Protocol):
    """A store on which no service works."""

    def mark(self, at_least: int) -> Restored:
        """Begin the next generation, or the one with the number ``at_least`` if that is higher; in one transaction."""
