"""The outcome of a gateway call: a value for a definite answer, an error otherwise.

::

    GatewayError
    ├── NotSentError          the request surely never reached the provider; sending again is safe
    └── OutcomeUnknownError   it may have reached it; only a lookup, a callback or the same key can continue
"""

from __future__ import annotations

from enum import StrEnum

from domain.values import value


class Category(StrEnum):
    """Whether another attempt by the customer may succeed (soft) or not (hard)."""

    HARD = "hard"
    SOFT = "soft"


@value(frozen=True, slots=True)
class Approved:
    """The gateway accepted the transaction under its own ``reference``; ``final`` when the money has moved."""

    reference: str
    final: bool


@value(frozen=True, slots=True)
class Declined:
    """A well-formed answer that the money does not move. ``code`` is the normalised code.

    ``reference`` is the gateway's own, if the answer has one.
    """

    code: str
    category: Category | None
    message: str
    reference: str | None = None


@value(frozen=True, slots=True)
class Unknown:
    """Whether the gateway acted is not known; ``reason`` is for operators."""

    reason: str


@value(frozen=True, slots=True)
class NotReceived:
    """Result of a lookup: the gateway has never received this transaction."""


Outcome = Approved | Declined


class GatewayError(Exception):
    """A call to a gateway without an outcome. The text is for logs and operators and holds no secret."""


class NotSentError(GatewayError):
    """The request surely never reached the provider (DNS, refused, connect timeout, no slot)."""


class OutcomeUnknownError(GatewayError):
    """The request may have reached the provider: timeout, reset, 5xx, an unreadable answer."""
