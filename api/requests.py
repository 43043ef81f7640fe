"""What callers may send: the schemas that validate bodies and query strings, and that OpenAPI is made from.

Owns the rules between fields, such as an amount and its currency; knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from marshmallow import RAISE, Schema, ValidationError, fields

from api.fields import Amount, Currency, Cursor, Details, Limit, Text, Timestamp
from api.names import printable_errors
from api.paging import CursorKind
from api.patterns import CUSTOMER_ID, GATEWAY_NAME
from api.problems import invalid
from domain.account import Status
from domain.events import Kind
from domain.money import Money, MoneyError, parse_amount

_CUSTOMER_ID_WRONG: Final = "Not 1 to 128 of A-Z a-z 0-9 . _ : @ -"
_GATEWAY_WRONG: Final = "No such gateway."


class CommandSchema(Schema):
    """The body of a deposit or withdrawal."""

    class Meta:
        """Nothing that is not understood is taken."""

        unknown = RAISE

    amount = Amount(
        required=True,
        metadata={
            "description": "Positive, at most 10^12 minor units, at most the currency's decimals by value "
            "(JPY `1.0` is 1). A string keeps every digit on its way.",
            "example": 100.0,
        },
    )
    gateway = Text(
        GATEWAY_NAME,
        _GATEWAY_WRONG,
        required=True,
        metadata={"description": "One of `GET /v1/gateways`.", "example": "gatewayA"},
    )
    customer_id = Text(
        CUSTOMER_ID,
        _CUSTOMER_ID_WRONG,
        required=True,
        metadata={"description": "Your own id of the customer.", "example": "12345"},
    )
    currency = Currency(
        metadata={
            "description": "ISO 4217, one that the gateway takes; the service's default currency when absent.",
            "example": "USD",
        }
    )
    details = Details(
        load_default=dict, metadata={"description": "Passed on to the gateway.", "example": {"order": "7"}}
    )


class PageSchema(Schema):
    """Which page of a list is wanted."""

    limit = Limit(metadata={"description": "Items on a page."})


class TransactionsQuery(PageSchema):
    """Which transactions are wanted; filters that are given must all fit."""

    cursor = Cursor(CursorKind.TRANSACTIONS)
    customer_id = Text(CUSTOMER_ID, _CUSTOMER_ID_WRONG, metadata={"description": "Only this customer's."})
    status = fields.Enum(Status, by_value=True, metadata={"type": "string", "description": "Only those that stand so."})
    gateway = Text(GATEWAY_NAME, _GATEWAY_WRONG, metadata={"description": "Only those of this gateway."})
    type = fields.Enum(
        Kind, by_value=True, metadata={"type": "string", "description": "Only deposits, or only withdrawals."}
    )
    created_from = Timestamp(metadata={"description": "Only those created at this time or later."})
    created_to = Timestamp(metadata={"description": "Only those created before this time."})


class VersionsQuery(PageSchema):
    """Which part of a stream is wanted."""

    cursor = Cursor(CursorKind.VERSIONS)


class GatewaysQuery(PageSchema):
    """Which page of the gateways is wanted."""

    cursor = Cursor(CursorKind.GATEWAYS)


class Payment(NamedTuple):
    """A validated command, with the defaults filled in."""

    customer_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]


_COMMAND: Final = CommandSchema()


def read_payment(raw: Mapping[str, Any], gateways: Mapping[str, frozenset[str]], default_currency: str) -> Payment:
    """The command in the JSON object ``raw``; ``gateways`` are the configured ones with their currencies.

    Raises ProblemError, which names every field that is wrong and not only the first.
    """
    wrong: dict[str, list[str]] = {}
    try:
        given: Mapping[str, Any] = _COMMAND.load(raw)
    except ValidationError as error:
        wrong = printable_errors(error.messages_dict)
        given = error.valid_data if isinstance(error.valid_data, dict) else {}

    currencies = gateways.get(given["gateway"]) if "gateway" in given else None
    if currencies is None and "gateway" not in wrong:
        wrong["gateway"] = [_GATEWAY_WRONG]
    currency: str | None = None if "currency" in wrong else given.get("currency", default_currency)
    if currency is not None and currencies is not None and currency not in currencies:
        missing = "" if "currency" in given else f"Missing, and {currency} is the default. "
        wrong["currency"] = [f"{missing}The gateway does not take {currency}."]
    money = _money(given, currency, wrong)
    if wrong or money is None:
        raise invalid(wrong)
    return Payment(given["customer_id"], given["gateway"], money, given["details"])


def _money(given: Mapping[str, Any], currency: str | None, wrong: dict[str, list[str]]) -> Money | None:
    """The command's money, or None with its fault in ``wrong``; without a ``currency``, what is wrong in any."""
    if "amount" not in given:
        return None
    amount: str | int | Decimal = given["amount"]
    try:
        if currency is not None:
            return parse_amount(amount, currency)
        try:
            parse_amount(amount, "JPY")  # no decimals, and so the largest amounts
        except MoneyError:
            parse_amount(amount, "KWD")  # the most decimals
    except MoneyError as error:
        wrong["amount"] = [str(error)]
    return None
