"""Reviews, and what a gateway reported: shared with waiting callbacks."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from api.fields import Choice, Cursor
from api.paging import CursorKind
from api.schemas.common import (
    AMOUNT,
    OperatorCommandSchema,
    PageSchema,
    next_cursor,
    text,
    text_or_null,
    time,
    time_or_null,
)
from domain.account import Status
from domain.gateway_report import Source


def reported(description: str, **words: Any) -> fields.String:
    """A text that a gateway reported."""
    return text_or_null(f"{description} At most 255 characters, with card numbers masked.", **words)


def body() -> fields.String:
    """The beginning of a callback's body."""
    return text_or_null(
        "The first 4096 characters of the callback's body. Card numbers are masked, and bytes that are not text are "
        "escaped.",
        example='{"event_id": "evt_7", "reference": "019ab000-…", "status": "settled", "amount": "100.00"}',
    )


def body_bytes() -> fields.Integer:
    """The length of a callback's body."""
    return fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "The length of the whole body in bytes.", "minimum": 0},
    )


class ReviewSaidSchema(Schema):
    """What the gateway reported; absent members are null."""

    source = text(
        "How it was received: by a `callback`, an `answer` to a call that sent the transaction, or a `lookup`.",
        enum=[source.value for source in Source],
    )
    gateway = text("The gateway.", example="gatewayA")
    at = time("When it was received.")
    event_id = reported("The callback's event id.", example="evt_7")
    reference = reported("Our reference, which is a transaction id.")
    gateway_reference = reported("The gateway's own reference.", example="A-1")
    status = reported("The status. In a callback, in the gateway's own words.", example="settled")
    code = reported("The code of a decline.", example="do_not_honor")
    amount = reported("The amount in the gateway's notation.", example="100.00")
    currency = reported("The currency in the gateway's notation.", example="USD")
    message = reported("The outcome of the call or the lookup.")
    body = body()
    body_bytes = body_bytes()


class ReviewExpectedSchema(Schema):
    """The state of the transaction when the review was opened."""

    gateway = text("The gateway that executes the transaction.", example="gatewayA")
    status = text("The transaction's status.", enum=[status.value for status in Status])
    amount = text("The transaction's amount.", pattern=AMOUNT, example="100.00")
    currency = text("An ISO 4217 code.", example="USD")
    gateway_reference = text_or_null("The gateway's own reference, if it was known.", example="A-1")


class ReviewSchema(Schema):
    """A review in an answer."""

    id = text("The review's id.")
    transaction_id = text_or_null("The transaction that it is about.", format="uuid")
    customer_id = text_or_null("The customer. Null when the review is about a gateway only.")
    gateway = text_or_null("The gateway. Null when an earlier version of the service did not record it.")
    reason = text("Why the review was opened.")
    state = text("`open` until an operator closes it.", enum=["open", "closed"])
    opened_at = time("When it was opened.")
    closed_at = time_or_null("When it was closed.")
    said = fields.Nested(
        ReviewSaidSchema,
        required=True,
        metadata={"description": "What the gateway reported. Null for reviews of earlier versions of the service."},
    )
    expected = fields.Nested(
        ReviewExpectedSchema,
        required=True,
        metadata={"description": "What was on record. Null when no transaction is known."},
    )


class ReviewListSchema(Schema):
    """A page of reviews, newest first."""

    items = fields.List(fields.Nested(ReviewSchema), required=True)
    next_cursor = next_cursor()


class ReviewsQuery(PageSchema):
    """The query of the list of reviews."""

    cursor = Cursor(CursorKind.REVIEWS)
    state = Choice({"open": "open", "closed": "closed"}, metadata={"description": "Select this state only."})


class CloseReviewSchema(OperatorCommandSchema):
    """The body of a command that closes a review."""
