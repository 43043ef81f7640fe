"""The outcome of a gateway call: a value for a definite answer, an error otherwise.

::

    GatewayError
    ├── NotSentError          the request surely never reached the provider; sending again is safe
    └── OutcomeUnknownError   it may have reached it; only a lookup, a callback or the same key can continue
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.values import value


class Category(StrEnum):
    """Whether another attempt by the customer may succeed (soft) or not (hard)."""

    HARD = "hard"
    SOFT = "soft"


@value(frozen=True, slots=True)
class NextAction:
    """What the customer must do before the gateway continues: visit ``url``, before ``expires_at`` if that is known."""

    type: str  # redirect
    url: str
    expires_at: datetime | None = None


@value(frozen=True, slots=True)
class Approved:
    """The gateway accepted the transaction under its own ``reference``; ``final`` when the money has moved.

    ``next_action``: it continues only after the customer has acted. Never with ``final``.
    """

    reference: str
    final: bool
    next_action: NextAction | None = None


@value(frozen=True, slots=True)
class Authorization:
    """The gateway holds the money under its own ``reference``, and takes it only when it is captured.

    ``expires_at``: the end of the hold, if the gateway reports it.
    """

    reference: str
    expires_at: datetime | None = None


@value(frozen=True, slots=True)
class Declined:
    """A well-formed answer that the money does not move. ``code`` is the normalised code.

    ``reference`` is the gateway's own, if the answer has one.
    """

    code: str
    category: Category | None
    message: str
    reference: str | None = None


AUTHORIZATION_EXPIRED: Final = "authorization_expired"
AUTHORIZATION_CANCELLED: Final = "authorization_cancelled"
DUPLICATE_TRANSACTION: Final = "duplicate_transaction"
"""The code of a decline: the gateway has carried out a capture or void of this authorization before."""
AUTHORIZATION_GONE: Final = frozenset({AUTHORIZATION_EXPIRED, AUTHORIZATION_CANCELLED})
"""Codes of a decline: the gateway no longer holds the money. A capture or void that is declined with such a code ends
its parent as well."""


@value(frozen=True, slots=True)
class Unknown:
    """Whether the gateway acted is not known; ``reason`` is for operators."""

    reason: str


@value(frozen=True, slots=True)
class NotReceived:
    """Result of a lookup: the gateway has never received this transaction."""


Outcome = Approved | Authorization | Declined


class GatewayError(Exception):
    """A call to a gateway without an outcome. The text is for logs and operators and holds no secret."""


class NotSentError(GatewayError):
    """The request surely never reached the provider (DNS, refused, connect timeout, no slot)."""


class OutcomeUnknownError(GatewayError):
    """The request may have reached the provider: timeout, reset, 5xx, an unreadable answer."""
