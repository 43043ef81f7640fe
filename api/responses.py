"""The shapes of the answers, for OpenAPI. What is sent is built in ``api.views``; tests hold both together."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from domain.account import Status
from domain.events import Kind
from domain.outcomes import Category
from domain.said import Source


def _text(description: str, **words: Any) -> fields.String:
    return fields.String(required=True, metadata={"description": description, **words})


def _text_or_null(description: str, **words: Any) -> fields.String:
    return fields.String(required=True, allow_none=True, metadata={"description": description, **words})


def _integer(description: str, **words: Any) -> fields.Integer:
    return fields.Integer(required=True, metadata={"description": description, **words})


def _time(description: str) -> fields.String:
    return _text(description, format="date-time", example="2026-11-22T12:00:00.000000Z")


def _time_or_null(description: str) -> fields.String:
    return _text_or_null(description, format="date-time")


def _strings(description: str) -> fields.Dict:
    return fields.Dict(
        keys=fields.String(), values=fields.String(), required=True, metadata={"description": description}
    )


def _next_cursor() -> fields.String:
    return _text_or_null("Send it as `cursor` for the next page; null on the last one.")


_AMOUNT = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"


class FailureSchema(Schema):
    """Why a transaction failed."""

    code = _text("Normalised over all gateways.", example="do_not_honor")
    category = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "`soft`: worth another attempt. `hard`: not.",
            "enum": [*(category.value for category in Category), None],
        },
    )
    message = _text("For people.")


class TransactionSchema(Schema):
    """A deposit or withdrawal as it stands."""

    transaction_id = _text("UUIDv7: later ones sort behind earlier ones.", format="uuid")
    type = fields.Enum(Kind, by_value=True, required=True, metadata={"type": "string"})
    status = fields.Enum(
        Status,
        by_value=True,
        required=True,
        metadata={
            "type": "string",
            "description": "`pending`: durable, not yet answered by the gateway. `unknown`: the gateway may or may "
            "not have acted, and it is being found out. `processed`: the gateway accepted it, the final word is "
            "still to come. `completed` and `failed` are final.",
        },
    )
    amount = _text("With all of the currency's decimals.", pattern=_AMOUNT, example="100.00")
    currency = _text("ISO 4217.", example="USD")
    gateway = _text("The gateway that carries it out.", example="gatewayA")
    customer_id = _text("Your own id of the customer.", example="12345")
    details = _strings("As they were sent.")
    gateway_reference = _text_or_null("The gateway's own id, once it is known.", example="A-1")
    failure = fields.Nested(FailureSchema, required=True, metadata={"description": "Null unless it failed."})
    attention = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "What people should know: its work is a dead letter, is parked, or is under review.",
            "enum": ["dead_letter", "parked", "review", None],
        },
    )
    version = _integer("The stream version of its newest event.", minimum=1)
    created_at = _time("When it was received.")
    updated_at = _time("When its newest event was recorded.")


class BalanceSchema(Schema):
    """What a customer has in one currency."""

    currency = _text("ISO 4217.", example="USD")
    available = _text("Free for withdrawals.", pattern=_AMOUNT, example="90.00")
    reserved = _text("Held by withdrawals under way.", pattern=_AMOUNT, example="10.00")


class CustomerSchema(Schema):
    """A customer as the record has it."""

    customer_id = _text("Your own id of the customer.", example="12345")
    version = _integer("The version of the newest event of the stream.", minimum=1)
    balances = fields.List(fields.Nested(BalanceSchema), required=True)


def _generation() -> fields.Integer:
    return _integer("The number of times that the database was restored to an earlier state.", minimum=0)


class EventSchema(Schema):
    """Something that happened, as it is recorded for good."""

    position = _integer(
        "The place among all events, ascending. It includes the generation, so positions of an earlier one differ.",
        minimum=1,
    )
    generation = _generation()
    stream_name = _text("The merchant whose customer it is.", example="main")
    stream_id = _text("The customer.", example="12345")
    version = _integer("The place in the stream: 1, 2, 3 without gaps.", minimum=1)
    type = _text("What happened.", example="DepositReceived")
    occurred_at = _time("When it happened.")
    data = fields.Dict(required=True, metadata={"description": "The event's own fields."})
    metadata = _strings("What led to it: correlation and causation ids, trace parent, who.")
    hash = _text("SHA-256 over the hash before it and this event, hexadecimal.", pattern="^[0-9a-f]{64}$")


class MerchantEventSchema(EventSchema):
    """The same where API keys are required: without the position, which reveals the volume of others."""

    class Meta:
        """Replaced by ``cursor``."""

        exclude = ("position",)

    cursor = _text("Send it as `after` to get the events after this one.", pattern="^[A-Za-z0-9_-]+$")


class BreakerSchema(Schema):
    """The circuit breaker in front of a gateway."""

    state = _text("`closed` lets calls through.", enum=["closed", "open", "half_open"])
    mode = _text("Whether a person holds it open or closed.", enum=["auto", "open", "closed"])
    error_percent = _integer("Technical failures in the rolling window.", minimum=0, maximum=100)
    requests = _integer("Calls in the rolling window.", minimum=0)
    opened_at = _time_or_null("When it opened.")
    reopens_at = _time_or_null("When it lets a probe through.")


class BulkheadSchema(Schema):
    """The bounded slots for calls to a gateway."""

    in_flight = _integer("Calls under way.", minimum=0)
    waiting = _integer("Work that waits for a slot.", minimum=0)
    max_concurrent = _integer("Slots.", minimum=1)


class GatewaySchema(Schema):
    """A configured gateway."""

    name = _text("What commands send as `gateway`.", example="gatewayA")
    adapter = _text("The code that speaks to it.", example="gateway_a")
    currencies = fields.List(fields.String(), required=True, metadata={"description": "ISO 4217 codes it takes."})
    breaker = fields.Nested(BreakerSchema, required=True)
    bulkhead = fields.Nested(BulkheadSchema, required=True)


class AttemptErrorSchema(Schema):
    """What went wrong with one attempt."""

    at = _time("When.")
    error = _text("For people.")


class DeadLetterSchema(Schema):
    """A piece of work that failed too often, or that nothing can do."""

    id = _text("The id of the work.")
    transaction_id = _text_or_null("The transaction that it is about.", format="uuid")
    gateway = _text("The gateway that it is for.", example="gatewayA")
    action = _text("`submit`: send the transaction. `resolve`: find out what became of it.", example="submit")
    event_type = _text("The event that led to it.", example="DepositReceived")
    state = _text("`waiting`: tried again by itself. `parked`: only when a person says so.", enum=["waiting", "parked"])
    attempts = _integer("Attempts so far.", minimum=0)
    next_attempt_at = _time_or_null("When it is tried again by itself; null when parked.")
    errors = fields.List(
        fields.Nested(AttemptErrorSchema), required=True, metadata={"description": "Of its attempts, oldest first."}
    )
    created_at = _time("When the work came up.")


class DeadLetterListSchema(Schema):
    """A page of dead letters, newest first."""

    items = fields.List(fields.Nested(DeadLetterSchema), required=True)
    next_cursor = _next_cursor()


def _said_text(description: str, **words: Any) -> fields.String:
    return _text_or_null(f"{description} Text for people, at most 255 characters; card numbers are masked.", **words)


def _body() -> fields.String:
    return _text_or_null(
        "The first 4096 characters of the callback's body. Card numbers are masked; what is not text is escaped.",
        example='{"event_id": "evt_7", "reference": "019ab000-…", "status": "settled", "amount": "100.00"}',
    )


def _body_bytes() -> fields.Integer:
    return fields.Integer(
        required=True, allow_none=True, metadata={"description": "The length of the whole body.", "minimum": 0}
    )


class ReviewSaidSchema(Schema):
    """What the gateway said; null for absent members."""

    source = _text(
        "`callback`, `answer` (to a call that sends the transaction), or `lookup` (a question about it).",
        enum=[source.value for source in Source],
    )
    gateway = _text("The gateway.", example="gatewayA")
    at = _time("When it was received.")
    event_id = _said_text("The callback's event id.", example="evt_7")
    reference = _said_text("Our reference, which is a transaction id.")
    gateway_reference = _said_text("The gateway's own reference.", example="A-1")
    status = _said_text("The status; for a callback in the gateway's words.", example="settled")
    code = _said_text("The code of a decline.", example="do_not_honor")
    amount = _said_text("The amount as the gateway words it.", example="100.00")
    currency = _said_text("The currency as the gateway words it.", example="USD")
    message = _said_text("The outcome of the call or the lookup.")
    body = _body()
    body_bytes = _body_bytes()


class ReviewExpectedSchema(Schema):
    """What was on record of the transaction when the review was opened."""

    gateway = _text("The gateway that carries it out.", example="gatewayA")
    status = _text("The transaction's status.", enum=[status.value for status in Status])
    amount = _text("The transaction's amount.", pattern=_AMOUNT, example="100.00")
    currency = _text("ISO 4217.", example="USD")
    gateway_reference = _text_or_null("The gateway's own reference, if it was known.", example="A-1")


class ReviewSchema(Schema):
    """Something that a person must look at, or has looked at."""

    id = _text("The review's id.")
    transaction_id = _text_or_null("The transaction that it is about.", format="uuid")
    customer_id = _text_or_null("The customer; null when it is about a gateway alone.")
    gateway = _text_or_null("The gateway concerned; null where an earlier version did not record it.")
    reason = _text("What is wrong.")
    state = _text("Whether somebody still has to look.", enum=["open", "closed"])
    opened_at = _time("When it was opened.")
    closed_at = _time_or_null("When somebody said that he looked.")
    said = fields.Nested(
        ReviewSaidSchema, required=True, metadata={"description": "Null for a review of an earlier version."}
    )
    expected = fields.Nested(
        ReviewExpectedSchema, required=True, metadata={"description": "Null when no transaction is known."}
    )


class ReviewListSchema(Schema):
    """A page of reviews, newest first."""

    items = fields.List(fields.Nested(ReviewSchema), required=True)
    next_cursor = _next_cursor()


class WaitingCallbackSchema(Schema):
    """A verified callback that waits for its transaction."""

    id = _text("The id under which it is stored.", example="callback:019ab000-0000-7000-8000-000000000001")
    gateway = _text("The gateway that sent it.", example="gatewayA")
    event_id = _said_text("The callback's event id.", example="evt_7")
    reference = _said_text("Our reference in the callback.")
    gateway_reference = _said_text("The gateway's own reference.", example="A-1")
    status = _said_text("The status as the gateway words it.", example="completed")
    amount = _said_text("The amount as the gateway words it.", example="100.00")
    currency = _said_text("The currency as the gateway words it.", example="USD")
    body = _body()
    body_bytes = _body_bytes()
    received_at = _time("When it was received.")
    waits_until = _time_or_null("When it becomes a review; null when it cannot be read.")
    attempts = _integer("The number of attempts to match it.", minimum=0)
    next_attempt_at = _time_or_null("The time of the next attempt.")


class WaitingCallbackListSchema(Schema):
    """A page of waiting callbacks, newest first."""

    items = fields.List(fields.Nested(WaitingCallbackSchema), required=True)
    next_cursor = _next_cursor()


class CountSchema(Schema):
    """How many there were."""

    count = _integer("So many.", minimum=0)


class TransactionListSchema(Schema):
    """A page of transactions, newest first."""

    items = fields.List(fields.Nested(TransactionSchema), required=True)
    next_cursor = _next_cursor()


class EventListSchema(Schema):
    """A page of events."""

    items = fields.List(fields.Nested(EventSchema), required=True)
    next_cursor = _next_cursor()


class MerchantEventListSchema(Schema):
    """A page of a merchant's events."""

    items = fields.List(fields.Nested(MerchantEventSchema), required=True)
    next_cursor = _next_cursor()


class GatewayListSchema(Schema):
    """A page of gateways, names ascending."""

    items = fields.List(fields.Nested(GatewaySchema), required=True)
    next_cursor = _next_cursor()


class StateSchema(Schema):
    """How the service is."""

    status = _text("For machines.", enum=["ok", "ready"])


class ProblemSchema(Schema):
    """What went wrong (RFC 9457)."""

    type = _text("Stable for programs.", pattern="^/problems/[a-z0-9-]+$", example="/problems/invalid-request")
    title = _text("The type in words.")
    status = _integer("The HTTP status.", minimum=400, maximum=599)
    detail = _text("What went wrong this time.")
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Each wrong field or header and what is wrong with it."},
    )
    transaction_id = fields.String(
        metadata={"description": "With `outcome-unknown`: ask for it later.", "format": "uuid"}
    )
    available = fields.String(metadata={"description": "With `insufficient-funds`: what the customer has."})
    currency = fields.String(metadata={"description": "With `insufficient-funds`: of the amount available."})
    resolution = fields.String(
        metadata={"description": "With `not-discardable`: where a person may settle the transaction."}
    )
    generation = fields.Integer(metadata={"description": "With `position-unknown`: the present generation."})
    problems = fields.List(fields.String(), metadata={"description": "With `not-ready`: what is missing."})
