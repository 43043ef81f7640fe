"""The port to a payment provider: orders, outcomes and callbacks. Each gateway has one adapter file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.events import Kind
from domain.money import Money
from domain.outcomes import NotReceived, Outcome
from domain.values import value


@value(frozen=True, slots=True)
class Order:
    """An order to a provider: ``kind`` for ``money``. ``transaction_id`` is its reference and idempotency key."""

    transaction_id: str
    kind: Kind
    money: Money
    customer_id: str
    details: Mapping[str, str]


class SignatureInvalidError(Exception):
    """Verification of a callback failed. The text is for logs and holds no secret, signature or body."""


class RawMembers(NamedTuple):
    """The members of a callback as received, for operators; None when absent or neither text nor number.

    They are not validated, and no decision depends on them.
    """

    reference: str | None = None
    gateway_reference: str | None = None
    status: str | None = None
    amount: str | None = None
    currency: str | None = None


class WebhookPayload(NamedTuple):
    """A callback's report: how the order with our ``reference`` ended.

    ``gateway_reference`` is the provider's own reference, and ``money`` the amount that it moved or did not move. It
    has not been compared with the record. ``reference``, visible ASCII of at most 200 characters, may match nothing.
    """

    reference: str
    gateway_reference: str
    money: Money
    outcome: Outcome
    raw: RawMembers = RawMembers()


class UnusablePayload(NamedTuple):
    """A verified callback that cannot be applied. ``problem`` is the reason, and quotes nothing of the body.

    ``reference`` is our reference in it, if readable, in the form of WebhookPayload's. It assigns the review to a
    transaction. An unusable callback changes no status.
    """

    problem: str
    reference: str | None = None
    raw: RawMembers = RawMembers()


class Callbacks(Protocol):
    """Verification and parsing of one provider's callbacks. Both are pure computations."""

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Verify the signature; return the event id that identifies repetitions: 1 to 255 visible ASCII characters.

        ``headers`` have their names in lower case. ``body`` is exactly as received. Raises SignatureInvalidError: a
        header is missing or malformed, no live secret made the signature, or the timestamp is more than 300 s off
        ``now``.
        """

    def read(self, body: bytes) -> WebhookPayload | UnusablePayload:
        """Parse the verified ``body``."""


class Gateway(Protocol):
    """One configured provider. Its methods block up to the total deadline and may be called from many threads.

    A decline is a value; an error means that there is no outcome (see ``domain.outcomes``).
    """

    @property
    def name(self) -> str:
        """The name that clients send as ``gateway``."""

    @property
    def currencies(self) -> frozenset[str]:
        """The ISO 4217 codes that the provider accepts."""

    @property
    def honours_keys(self) -> bool:
        """Whether two requests with one key surely have one effect."""

    @property
    def looks_up(self) -> bool:
        """Whether the provider supports lookups; without them ``lookup`` is never called."""

    @property
    def idempotency_window_s(self) -> float:
        """Time after its first use for which the provider remembers a key; 0 without keys."""

    @property
    def callbacks(self) -> Callbacks | None:
        """Its callbacks; None when it sends none, or has no secrets."""

    def submit(self, order: Order) -> Outcome:
        """Send ``order`` to the provider. Raises NotSentError, OutcomeUnknownError."""

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Look up ``order`` at the provider. Raises NotSentError, OutcomeUnknownError without a definite answer."""

    def close(self) -> None:
        """Close pooled connections; calls in progress may still finish."""
