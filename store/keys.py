"""API keys as the store has them: whose they are and what they permit. Of the secret only a digest is kept.

What a key looks like and how it is checked is the API's business; who makes and revokes keys is the operator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Scope(StrEnum):
    """What a key may be used for. None includes another."""

    WRITE = "payments:write"
    """Deposits and withdrawals."""
    READ = "payments:read"
    """Transactions, customers and events."""
    OPERATIONS = "operations"
    """What operators do: dead letters, reviews, breakers, corrections, metrics."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as whoever checks one needs it; ``digest`` is the SHA-256 of its secret part."""

    key_id: str
    digest: bytes = field(repr=False)
    merchant: str
    scopes: frozenset[Scope]
    live: bool
    """Neither revoked nor expired, by the store's clock."""
    lasts_s: float | None
    """Seconds until it expires; None: never."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be added."""

    key_id: str
    digest: bytes = field(repr=False)
    merchant: str
    scopes: frozenset[Scope]
    label: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as operators see it."""

    key_id: str
    merchant: str
    scopes: frozenset[Scope]
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Keyring(Protocol):
    """The keys, for whoever administers them. Every method raises StoreError."""

    def add(self, key: NewKey) -> None:
        """Keep a new key. Raises UnstorableError when there is one of that id."""

    def list(self, merchant: str | None = None) -> Sequence[ListedKey]:
        """All keys, or the merchant's, oldest first; revoked and expired ones as well."""

    def revoke(self, key_id: str) -> bool:
        """Let a key be good for nothing from now on; False when there is none of that id. Twice does no harm."""


def scopes_text(scopes: Iterable[Scope]) -> str:
    """As a column has them: in the order of their definition, a space between two."""
    given = frozenset(scopes)
    return " ".join(scope for scope in Scope if scope in given)


def scopes_of(text: str) -> frozenset[Scope]:
    """Back from ``scopes_text``. Raises ValueError for a scope of another version."""
    return frozenset(Scope(word) for word in text.split())
