"""The port to a payment provider: operations, orders, outcomes and callbacks. Each gateway has one adapter file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol

from domain.events import Kind
from domain.money import Money
from domain.outcomes import NotReceived, Outcome
from domain.values import value


class LookupMeans(Enum):
    """How a provider reports what became of an order."""

    NONE = "none"
    """No lookup. Unknown outcomes wait for the same key, a callback or an operator."""
    QUERY = "query"
    """It finds an order by our reference."""
    REPEAT = "repeat"
    """Sending again under the same key is the lookup. The answer may be a copy of the first one."""


@value(frozen=True, slots=True)
class OperationFacts:
    """What a provider guarantees about one kind of operation; durations in seconds.

    ``key_window_s``: the time after its first use for which it remembers an idempotency key; 0: it knows no keys.
    ``not_found_after_s``: until that time after an order, a lookup that finds nothing proves nothing.
    """

    key_window_s: float = 0.0
    lookup: LookupMeans = LookupMeans.QUERY
    not_found_after_s: float = 0.0

    @property
    def honours_keys(self) -> bool:
        """Whether two requests with one key surely have one effect, within the window."""
        return self.key_window_s > 0


@value(frozen=True, slots=True)
class Order:
    """An order to a provider: ``kind`` for ``money``. ``transaction_id`` is our reference of it.

    ``manual_capture``: the money of a deposit is only held until a capture. ``gateway_reference`` is the provider's
    own reference of this order, once it is known. A refund, capture or void has ``parent_id`` and the provider's
    reference of the parent, ``parent_reference``. ``return_url``: where a provider that redirects the customer sends
    the customer back to.
    """

    transaction_id: str
    kind: Kind
    money: Money
    customer_id: str
    details: Mapping[str, str]
    manual_capture: bool = False
    gateway_reference: str | None = None
    parent_id: str | None = None
    parent_reference: str | None = None
    return_url: str | None = None

    @property
    def key(self) -> str:
        """The idempotency key, the same for every attempt."""
        return self.transaction_id


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


class Notice(NamedTuple):
    """One report in a verified callback, applied once for each ``event_id``: 1 to 255 visible ASCII characters.

    Repetitions are compared by ``body``: the signed content, without parts that may change in a repetition.
    """

    event_id: str
    body: bytes
    payload: WebhookPayload | UnusablePayload


class Acceptance(NamedTuple):
    """The answer that a provider expects once all notices of a callback are stored."""

    status: int = 200
    media_type: str = "application/json"
    body: bytes = b'{"status":"ok"}'


class Callbacks(Protocol):
    """Verification and parsing of one provider's callbacks. Both are pure computations."""

    @property
    def acceptance(self) -> Acceptance:
        """The answer to an accepted callback."""

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Notice]:
        """Verify the callback, then parse it: the notices in it, in order.

        ``headers`` have their names in lower case. ``body`` is exactly as received. Raises SignatureInvalidError when
        any part is not verified: a header is missing or malformed, no live secret made the signature, or the timestamp
        is more than 300 s off ``now``. A verified notice that cannot be applied is an UnusablePayload.
        """


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
    def operations(self) -> Mapping[Kind, OperationFacts]:
        """The supported operations with the provider's guarantees. Others are refused before anything is recorded."""

    @property
    def holds(self) -> bool:
        """Whether it can hold the money of a deposit until a capture (``Order.manual_capture``)."""

    @property
    def reference_form(self) -> re.Pattern[str] | None:
        """The form of the provider's own references; None when it is not known.

        References that match in full are never masked as card numbers, because they must be sent back to the provider.
        It must be as narrow as possible: a card number of this form would be stored.
        """

    @property
    def callbacks(self) -> Callbacks | None:
        """Its callbacks; None when it sends none, or has no secrets."""

    def submit(self, order: Order) -> Outcome:
        """Send ``order`` to the provider. Raises NotSentError, OutcomeUnknownError."""

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Look up ``order`` at the provider. Raises NotSentError, OutcomeUnknownError without a definite answer.

        It is called only for operations with ``LookupMeans.QUERY``.
        """

    def close(self) -> None:
        """Close pooled connections; calls in progress may still finish."""


@value(frozen=True, slots=True)
class Continuation:
    """The second call for ``order``: ``details`` are what only the client has, such as the result of a redirect."""

    order: Order
    details: Mapping[str, str]

    @property
    def key(self) -> str:
        """The idempotency key of the second call. It differs from that of the first one."""
        return f"{self.order.key}.continue"


class Continues(Protocol):
    """An optional part of a gateway whose money moves only in a second call, after the customer has acted.

    The first call answers ``Approved`` with a ``next_action``. The second one is a submission of its own: it has its
    own key, and at a provider without keys its own record of the submission before the first byte is sent. The lookup
    of the order reports the outcome of both.
    """

    def proceed(self, continuation: Continuation) -> Outcome:
        """Send the second call. Raises NotSentError, OutcomeUnknownError."""
