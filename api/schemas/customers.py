"""Customers: their balances, adjustments, and the query of their events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from marshmallow import Schema, fields

from api.fields import Currency, Cursor, SignedAmount
from api.paging import CursorKind
from api.problems import invalid
from api.schemas.common import AMOUNT, PageSchema, customer_id, integer, read_fields, text
from api.schemas.transactions import CorrectionSchema
from domain.money import Money, MoneyError, parse_signed


class BalanceSchema(Schema):
    """A customer's balance in one currency."""

    currency = text("An ISO 4217 code.", example="USD")
    available = text("The amount available for withdrawals.", pattern=AMOUNT, example="90.00")
    reserved = text("The amount held by withdrawals in progress.", pattern=AMOUNT, example="10.00")


class CustomerSchema(Schema):
    """A customer in an answer."""

    customer_id = customer_id()
    version = integer("The version of the customer's newest event.", minimum=1)
    balances = fields.List(fields.Nested(BalanceSchema), required=True)


class VersionsQuery(PageSchema):
    """The query of the list of a customer's events."""

    cursor = Cursor(CursorKind.VERSIONS)


class AdjustmentSchema(CorrectionSchema):
    """The body of an adjustment."""

    amount = SignedAmount(
        required=True, metadata={"description": "The amount to add to the available balance. It may be negative."}
    )
    currency = Currency(required=True, metadata={"description": "An ISO 4217 code.", "example": "USD"})


class Adjustment(NamedTuple):
    """A validated adjustment."""

    money: Money
    reason: str
    evidence: str


_ADJUSTMENT: Final = AdjustmentSchema()


def read_adjustment(raw: Mapping[str, Any]) -> Adjustment:
    """Load the adjustment in the JSON object ``raw``. Raises ProblemError that names every wrong field."""
    given = read_fields(raw, _ADJUSTMENT)
    try:
        money = parse_signed(given["amount"], given["currency"])
    except MoneyError as error:
        raise invalid({"amount": [str(error)]}) from None
    return Adjustment(money, given["reason"], given["evidence"])
