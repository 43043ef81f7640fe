"""The port to a payment provider: what is sent, what comes back, what it says of its own accord later.

One adapter file per gateway implements it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.events import Kind
from domain.money import Money
from domain.outcomes import NotReceived, Outcome


@dataclass(frozen=True, slots=True)
class Order:
    """What a provider is asked to do: ``kind`` for ``money``, under our ``transaction_id`` as reference and key."""

    transaction_id: str
    kind: Kind
    money: Money
    customer_id: str
    details: Mapping[str, str]


class UnverifiedError(Exception):
    """A callback is not surely from its provider. The text is for logs; it holds no secret, signature or body."""


class Verbatim(NamedTuple):
    """The members of a callback as it words them, for people; None for one that is absent or not a text or number.

    They are not checked, and no decision depends on them.
    """

    reference: str | None = None
    gateway_reference: str | None = None
    status: str | None = None
    amount: str | None = None
    currency: str | None = None


class WebhookPayload(NamedTuple):
    """What a callback says: how the order that we sent under ``reference`` ended.

    ``gateway_reference`` is the provider's own reference, and ``money`` what it moved or did not move. Nothing of it
    has been compared with the record; ``reference``, visible ASCII of at most 200 characters, may be nobody's.
    """

    reference: str
    gateway_reference: str
    money: Money
    outcome: Outcome
    verbatim: Verbatim = Verbatim()


class Unusable(NamedTuple):
    """A verified callback that cannot be applied. ``problem`` is the reason, and repeats nothing of the body.

    ``reference`` is our order in it, in the form of a notice's, if it can be read: it assigns the review to a
    transaction. An unusable callback changes no status.
    """

    problem: str
    reference: str | None = None
    verbatim: Verbatim = Verbatim()


class Callbacks(Protocol):
    """How one provider's callbacks are verified, and then read. Both only compute."""

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The event id by which repetitions are told, 1 to 255 characters of visible ASCII.

        ``headers`` have their names in lower case; ``body`` is as it came, not parsed and written anew. Raises
        UnverifiedError: a header is missing or malformed, no live secret made the signature, or the timestamp is more
        than 300 s off ``now``.
        """

    def read(self, body: bytes) -> WebhookPayload | Unusable:
        """What ``body`` says, once it is verified."""


class Gateway(Protocol):
    """One configured provider. Its methods block up to the total deadline and may be called from many threads.

    A decline is a value; an error means that the outcome is not known (see ``domain.outcomes``).
    """

    @property
    def name(self) -> str:
        """The name that clients send as ``gateway``."""

    @property
    def currencies(self) -> frozenset[str]:
        """The ISO 4217 codes that the provider takes."""

    @property
    def honours_keys(self) -> bool:
        """Whether the same key twice is surely one effect."""

    @property
    def looks_up(self) -> bool:
        """Whether the provider can be asked what became of an order; else ``lookup`` is never called."""

    @property
    def idempotency_window_s(self) -> float:
        """For how long after its first use the provider remembers a key; 0 when it honours none."""

    @property
    def callbacks(self) -> Callbacks | None:
        """How its callbacks are taken; None when it makes none, or has no secrets."""

    def submit(self, order: Order) -> Outcome:
        """Ask the provider to move the money. Raises NotSentError, OutcomeUnknownError."""

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Ask what became of ``order``. Raises NotSentError, OutcomeUnknownError when that cannot be told now."""

    def close(self) -> None:
        """Close pooled connections; calls under way may still finish."""
