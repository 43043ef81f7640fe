"""Events of the feed and of customers, with and without global positions."""

from __future__ import annotations

from marshmallow import Schema, fields

from api.fields import EventPlace, Position, Wait
from api.schemas.common import PageSchema, integer, next_cursor, strings, text, time


class EventSchema(Schema):
    """An event in an answer."""

    position = integer(
        "The position among all events, ascending. It includes the generation, so positions of an earlier one differ.",
        minimum=1,
    )
    generation = integer("How often the database was restored to an earlier state.", minimum=0)
    stream_name = text("The merchant of the customer.", example="main")
    stream_id = text("The customer's id.", example="12345")
    version = integer("The number of the event in its stream: 1, 2, 3 without gaps.", minimum=1)
    type = text("The event type.", example="DepositReceived")
    occurred_at = time("When it occurred.")
    data = fields.Dict(required=True, metadata={"description": "The fields of this event type."})
    metadata = strings("The origin of the event: correlation id, causation id, trace context, and who caused it.")
    hash = text("The hexadecimal SHA-256 of this event and the hash before it in the stream.", pattern="^[0-9a-f]{64}$")


class MerchantEventSchema(EventSchema):
    """An event in an answer where API keys are required.

    It has no position, which would reveal the volume of other merchants.
    """

    class Meta:
        """``cursor`` replaces the position."""

        exclude = ("position",)

    cursor = text("Send it as `after` to get the events after this one.", pattern="^[A-Za-z0-9_-]+$")


class EventListSchema(Schema):
    """A page of events."""

    items = fields.List(fields.Nested(EventSchema), required=True)
    next_cursor = next_cursor()


class MerchantEventListSchema(Schema):
    """A page of a merchant's events."""

    items = fields.List(fields.Nested(MerchantEventSchema), required=True)
    next_cursor = next_cursor()


def _wait() -> Wait:
    return Wait(metadata={"description": "Seconds to wait for an event when there is none yet."})


class EventsQuery(PageSchema):
    """The query of the feed."""

    after = Position(
        metadata={"description": "The position of the last event that you have, `0` for none, or `latest`."}
    )
    wait = _wait()


class MerchantEventsQuery(PageSchema):
    """The query of a merchant's feed."""

    after = EventPlace(
        metadata={
            "description": "The `cursor` of the last event that you have, or `latest`. Default: before the first event."
        }
    )
    wait = _wait()
