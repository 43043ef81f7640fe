"""Dead letters: work that failed too often, or that nothing can handle."""

from __future__ import annotations

from typing import Final

from marshmallow import RAISE, Schema, fields

from api.fields import Choice, Cursor
from api.paging import CursorKind
from api.schemas.common import (
    OperatorCommandSchema,
    PageSchema,
    gateway_filter,
    integer,
    next_cursor,
    text,
    text_or_null,
    time,
    time_or_null,
)
from api.schemas.loading import RequestSchema
from api.views import LETTER_STATES
from store.port import WorkState

_STATES: Final = {word: state for state, word in LETTER_STATES.items()}
_STATE_DESCRIPTION: Final = "`waiting`: retried automatically. `parked`: retried only by an operator."


def _state_filter() -> Choice[WorkState]:
    return Choice(_STATES, metadata={"description": f"Select this state only. {_STATE_DESCRIPTION}"})


class AttemptErrorSchema(Schema):
    """A failed attempt in an answer."""

    at = time("When the attempt failed.")
    error = text("A description for people.")


class DeadLetterSchema(Schema):
    """A dead letter in an answer."""

    id = text("The id of the work.")
    transaction_id = text_or_null("The transaction that it belongs to.", format="uuid")
    gateway = text("The gateway that it is for.", example="gatewayA")
    action = text(
        "What the work does. `submit`: send the transaction. `resolve`: look up its outcome.", example="submit"
    )
    event_type = text("The event that caused the work.", example="DepositReceived")
    state = text(_STATE_DESCRIPTION, enum=["waiting", "parked"])
    attempts = integer("Attempts so far.", minimum=0)
    next_attempt_at = time_or_null("When it is retried automatically. Null when parked.")
    errors = fields.List(
        fields.Nested(AttemptErrorSchema),
        required=True,
        metadata={"description": "The errors of its attempts, oldest first."},
    )
    created_at = time("When the work was created.")


class DeadLetterListSchema(Schema):
    """A page of dead letters, newest first."""

    items = fields.List(fields.Nested(DeadLetterSchema), required=True)
    next_cursor = next_cursor()


class DeadLettersQuery(PageSchema):
    """The query of the list of dead letters."""

    cursor = Cursor(CursorKind.DEAD_LETTERS)
    gateway = gateway_filter()
    state = _state_filter()


class RetrySchema(RequestSchema):
    """The body of a retry of many dead letters; without any field it selects all."""

    class Meta:
        """Unknown fields are refused: a misspelt filter must not select all."""

        unknown = RAISE

    gateway = gateway_filter()
    state = _state_filter()


class CountSchema(Schema):
    """The number of dead letters that a command affects."""

    count = integer("The number of dead letters that are retried.", minimum=0)


class DiscardSchema(OperatorCommandSchema):
    """The body of a command that discards a dead letter."""
