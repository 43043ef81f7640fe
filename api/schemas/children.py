"""Refunds, captures and voids: the bodies of the commands, and the query of the list of a transaction's children."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from marshmallow import RAISE

from api.fields import Amount, Cursor, Reason
from api.paging import CursorKind
from api.problems import invalid
from api.schemas.common import PageSchema, read_valid_fields
from api.schemas.loading import RequestSchema
from domain.money import MoneyError, parse_amount


class VoidSchema(RequestSchema):
    """The body of a void, which has no fields."""

    class Meta:
        """Unknown fields are refused."""

        unknown = RAISE


class CaptureSchema(VoidSchema):
    """The body of a capture."""

    amount = Amount(
        metadata={
            "description": "The amount to take, in the currency of the deposit. The rest is released. Default: all "
            "that is held.",
            "example": "60.00",
        }
    )


class RefundSchema(VoidSchema):
    """The body of a refund."""

    amount = Amount(
        metadata={
            "description": "The amount to give back, in the currency of the deposit. Default: what is left of what the "
            "deposit took.",
            "example": "10.00",
        }
    )
    reason = Reason(metadata={"description": "Your reason, kept on record."})


class ChildrenQuery(PageSchema):
    """The query of the list of a transaction's children."""

    cursor = Cursor(CursorKind.TRANSACTIONS)


class ChildCommand(NamedTuple):
    """A validated refund, capture or void. ``minor``: the amount in minor units, None by default."""

    minor: int | None
    reason: str | None


def read_child(raw: Mapping[str, Any], schema: VoidSchema, currency: str) -> ChildCommand:
    """Load the command in the JSON object ``raw``, for a parent in ``currency``.

    Raises ProblemError that names every wrong field.
    """
    given, wrong = read_valid_fields(raw, schema)
    amount: str | int | Decimal | None = given.get("amount")
    minor: int | None = None
    try:
        if amount is not None:
            minor = parse_amount(amount, currency).minor
    except MoneyError as error:
        wrong["amount"] = [str(error)]
    if wrong:
        raise invalid(wrong)
    return ChildCommand(minor, given.get("reason"))
