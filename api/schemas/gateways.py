"""Gateways with their circuit breakers and bulkheads."""

from __future__ import annotations

from marshmallow import Schema, fields

from api.fields import Choice, Cursor
from api.paging import CursorKind
from api.schemas.common import OperatorCommandSchema, PageSchema, integer, next_cursor, text, time_or_null


class BreakerSchema(Schema):
    """A circuit breaker in an answer."""

    state = text(
        "`closed`: calls are permitted. `open`: no calls. `half_open`: one probe call is permitted.",
        enum=["closed", "open", "half_open"],
    )
    mode = text(
        "`auto`: the state follows the results of calls. `open`, `closed`: held by an operator.",
        enum=["auto", "open", "closed"],
    )
    error_percent = integer("Technical failures in the rolling window, in percent.", minimum=0, maximum=100)
    requests = integer("Calls in the rolling window.", minimum=0)
    opened_at = time_or_null("When it opened.")
    reopens_at = time_or_null("When it permits the next probe call.")


class BulkheadSchema(Schema):
    """A bulkhead, which bounds the concurrent calls to a gateway, in an answer."""

    in_flight = integer("Calls in progress.", minimum=0)
    waiting = integer("Pieces of work that wait for a slot.", minimum=0)
    max_concurrent = integer("The number of slots.", minimum=1)


class GatewaySchema(Schema):
    """A gateway in an answer."""

    name = text("The gateway's name, which commands send as `gateway`.", example="gatewayA")
    adapter = text("The adapter that calls the gateway.", example="gateway_a")
    currencies = fields.List(
        fields.String(), required=True, metadata={"description": "The ISO 4217 codes that it accepts."}
    )
    breaker = fields.Nested(BreakerSchema, required=True)
    bulkhead = fields.Nested(BulkheadSchema, required=True)


class GatewayListSchema(Schema):
    """A page of gateways by name, ascending."""

    items = fields.List(fields.Nested(GatewaySchema), required=True)
    next_cursor = next_cursor()


class GatewaysQuery(PageSchema):
    """The query of the list of gateways."""

    cursor = Cursor(CursorKind.GATEWAYS)


class BreakerOrderSchema(OperatorCommandSchema):
    """The body of a command that sets a breaker's mode."""

    mode = Choice(
        {mode: mode for mode in ("open", "closed", "auto")},
        required=True,
        metadata={
            "description": "`open`: no calls. `closed`: all calls, regardless of their results. `auto`: the "
            "results of calls decide.",
            "example": "auto",
        },
    )
