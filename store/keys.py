"""API keys in the store: their merchant and their scopes. Only a digest of the secret is stored.

The API defines the format of a key and checks it; operators create and revoke keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domain.values import value


class Scope(StrEnum):
    """What a key permits. No scope includes another."""

    WRITE = "payments:write"
    """Deposits and withdrawals."""
    READ = "payments:read"
    """Transactions, customers and events."""
    OPERATIONS = "operations"
    """Operator commands: dead letters, reviews, breakers, corrections, metrics."""


@value(frozen=True, slots=True)
class ApiKey:
    """A key for the check of a request; ``digest`` is the SHA-256 of its secret part."""

    key_id: str
    digest: bytes = field(repr=False)
    merchant: str
    scopes: frozenset[Scope]
    live: bool
    """Neither revoked nor expired, by the store's clock."""
    lasts_s: float | None
    """Seconds until it expires; None: it never expires."""


@value(frozen=True, slots=True)
class NewKey:
    """A key to be added."""

    key_id: str
    digest: bytes = field(repr=False)
    merchant: str
    scopes: frozenset[Scope]
    label: str
    expires_at: datetime | None

    def listed(self, created_at: datetime) -> ListedKey:
        """Return the key as operators see it after its creation."""
        return ListedKey(self.key_id, self.merchant, self.scopes, self.label, created_at, self.expires_at, None)


@value(frozen=True, slots=True)
class ListedKey:
    """A key as operators see it."""

    key_id: str
    merchant: str
    scopes: frozenset[Scope]
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ApiKeyStore(Protocol):
    """The keys, for checking those of requests. Every method raises StoreUnavailableError."""

    def api_key(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, live or not; None when there is none."""

    def has_api_keys(self) -> bool:
        """Whether there is any live key."""


class Keyring(Protocol):
    """The keys, for their administration. Every method raises StoreError."""

    def add(self, key: NewKey) -> ListedKey:
        """Add a key. Raises UnstorableError when its id exists, or when a value cannot be stored."""

    def list(self, merchant: str | None = None) -> Sequence[ListedKey]:
        """Return all keys, or those of the merchant, oldest first, revoked and expired ones included."""

    def revoke(self, key_id: str) -> bool:
        """Revoke a key at once; False when there is none with this id. Repeating the call does no harm."""


def scopes_text(scopes: Iterable[Scope]) -> str:
    """Return the scopes as a column holds them: in the order of their definition, separated by spaces."""
    given = frozenset(scopes)
    return " ".join(scope for scope in Scope if scope in given)


def scopes_of(text: str) -> frozenset[Scope]:
    """Read what ``scopes_text`` wrote; a scope of another version of the service permits nothing here."""
    words = frozenset(text.split())
    return frozenset(scope for scope in Scope if scope in words)
