"""Callbacks that wait for their transaction."""

from __future__ import annotations

from marshmallow import Schema, fields

from api.fields import Cursor
from api.paging import CursorKind
from api.schemas.common import PageSchema, gateway_filter, integer, next_cursor, text, time, time_or_null
from api.schemas.reviews import body, body_bytes, reported


class WaitingCallbackSchema(Schema):
    """A verified callback that waits for its transaction, in an answer."""

    id = text("The id of the stored callback.", example="callback:019ab000-0000-7000-8000-000000000001")
    gateway = text("The gateway that sent it.", example="gatewayA")
    event_id = reported("The callback's event id.", example="evt_7")
    reference = reported("Our reference in the callback.")
    gateway_reference = reported("The gateway's own reference.", example="A-1")
    status = reported("The status in the gateway's own words.", example="completed")
    amount = reported("The amount in the gateway's notation.", example="100.00")
    currency = reported("The currency in the gateway's notation.", example="USD")
    body = body()
    body_bytes = body_bytes()
    received_at = time("When it was received.")
    waits_until = time_or_null("When it becomes a review. Null when the stored callback is unreadable.")
    attempts = integer("Attempts to match it so far.", minimum=0)
    next_attempt_at = time_or_null("When the next attempt is made.")


class WaitingCallbackListSchema(Schema):
    """A page of waiting callbacks, newest first."""

    items = fields.List(fields.Nested(WaitingCallbackSchema), required=True)
    next_cursor = next_cursor()


class WaitingCallbacksQuery(PageSchema):
    """The query of the list of waiting callbacks."""

    cursor = Cursor(CursorKind.CALLBACKS)
    gateway = gateway_filter()
