"""The port that marks a restored database, and the values that an operator compares. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from store.port import StoredEvent, StreamKey


class OpenTransaction(NamedTuple):
    """An unfinished transaction on record. The provider may have its outcome."""

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
    """The last event on record."""
    unfinished: Sequence[OpenTransaction]
    """The unfinished transactions, by gateway and oldest first."""


class Restoring(Protocol):
    """A store without a service."""

    def mark(self, at_least: int) -> Restored:
        """Begin the next generation, or number ``at_least`` if that is higher, in one transaction."""
