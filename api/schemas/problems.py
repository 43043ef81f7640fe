"""The problem document (RFC 9457) that every error response contains."""

from __future__ import annotations

from marshmallow import Schema, fields

from api.schemas.common import integer, text
from domain.account import Status


class ProblemSchema(Schema):
    """A problem document."""

    type = text(
        "The problem's type. It is stable, so programs can rely on it.",
        pattern="^/problems/[a-z0-9-]+$",
        example="/problems/invalid-request",
    )
    title = text("A short description of the type.")
    status = integer("The HTTP status code.", minimum=400, maximum=599)
    detail = text("A description of this occurrence.")
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "The wrong fields and headers by name, each with its messages."},
    )
    transaction_id = fields.String(
        metadata={"description": "With `outcome-unknown`: the transaction to get later.", "format": "uuid"}
    )
    available = fields.String(
        metadata={
            "description": "With `insufficient-funds`: the customer's available balance. With `amount-too-large`: what "
            "is left to refund or held."
        }
    )
    currency = fields.String(metadata={"description": "With `available`: its currency."})
    transaction_status = fields.String(
        metadata={
            "description": "With `not-possible-now`: the status of the transaction.",
            "enum": [status.value for status in Status],
        }
    )
    resolution = fields.String(
        metadata={"description": "With `not-discardable`: the path at which an operator can resolve the transaction."}
    )
    generation = fields.Integer(metadata={"description": "With `position-unknown`: the current generation."})
    problems = fields.List(fields.String(), metadata={"description": "With `not-ready`: what is not ready."})
