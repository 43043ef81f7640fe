"""What a gateway's answer means: a value when the gateway spoke, an error when it cannot be told.

::

    GatewayError
    ├── NotSentError          the request surely never reached the provider; sending again is safe
    └── OutcomeUnknownError   it may have reached it; only a lookup, a callback or the same key may go on from here
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """Whether a decline is worth another attempt by the customer (soft) or not (hard)."""

    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Approved:
    """The gateway accepted the transaction under its own ``reference``; ``final`` when the money has moved."""

    reference: str
    final: bool


@dataclass(frozen=True, slots=True)
class Declined:
    """The gateway said, in a well-formed answer, that the money does not move. ``code`` is the normalised code.

    ``reference`` is the gateway's own, if it named one.
    """

    code: str
    category: Category | None
    message: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say yet whether the gateway acted; ``reason`` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotReceived:
    """A lookup's answer: the gateway has never seen this transaction."""


Outcome = Approved | Declined


class GatewayError(Exception):
    """A call to a gateway gave no outcome. The text is for logs and people and holds no secret."""


class NotSentError(GatewayError):
    """The request surely never reached the provider (DNS, refused, connect timeout, no slot)."""


class OutcomeUnknownError(GatewayError):
    """The request may have reached the provider: timeout, reset, 5xx, an answer that cannot be understood."""
