"""Transactions: deposit and withdrawal commands, the transaction in an answer, lists, and resolutions.

Refunds, captures and voids are in ``api.schemas.children``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from marshmallow import RAISE, Schema, fields, validate

from api.fields import Amount, Choice, Currency, Cursor, Details, QueryTimestamp, Reason, Text
from api.paging import CursorKind
from api.patterns import CORRELATION_ID, GATEWAY_NAME, GATEWAY_REFERENCE, NEW_CUSTOMER_ID, TRANSACTION_ID
from api.problems import invalid
from api.schemas.common import (
    AMOUNT,
    CUSTOMER_ID_WRONG,
    GATEWAY_WRONG,
    OperatorCommandSchema,
    PageSchema,
    customer_filter,
    customer_id,
    gateway_filter,
    integer,
    next_cursor,
    read_valid_fields,
    strings,
    text,
    text_or_null,
    time,
    time_or_null,
)
from api.schemas.loading import RequestSchema
from domain.account import Status
from domain.commands import Resolution
from domain.events import Kind
from domain.money import Money, MoneyError, parse_amount
from domain.outcomes import Category

_NEW_CUSTOMER_ID_WRONG: Final = f'{CUSTOMER_ID_WRONG}; not "." or "..", which clients remove from paths.'


class CommandSchema(RequestSchema):
    """The body of a withdrawal, and the common part of that of a deposit."""

    class Meta:
        """Unknown fields are refused."""

        unknown = RAISE

    amount = Amount(
        required=True,
        metadata={
            "description": "The amount: positive, at most 10^12 minor units, and with no more decimals than the "
            "currency has. Trailing zeros do not count, so JPY `1.0` is valid. Send a string to keep every digit "
            "exact.",
            "example": 100.0,
        },
    )
    gateway = Text(
        GATEWAY_NAME,
        GATEWAY_WRONG,
        required=True,
        metadata={"description": "The name of a gateway from `GET /v1/gateways`.", "example": "gatewayA"},
    )
    customer_id = Text(
        NEW_CUSTOMER_ID,
        _NEW_CUSTOMER_ID_WRONG,
        required=True,
        metadata={"description": "Your id of the customer.", "example": "12345"},
    )
    currency = Currency(
        metadata={
            "description": "An ISO 4217 code that the gateway accepts. Default: the default currency of the service.",
            "example": "USD",
        }
    )
    details = Details(
        load_default=dict,
        metadata={"description": "Your own data, passed to the gateway.", "example": {"order": "7"}},
    )


class DepositSchema(CommandSchema):
    """The body of a deposit."""

    capture = Choice(
        {"automatic": False, "manual": True},
        load_default=False,
        metadata={
            "description": "`manual`: the gateway only holds the money, until a capture or void. `automatic`: it takes "
            "the money at once.",
            "default": "automatic",
        },
    )


class FailureSchema(Schema):
    """Why a transaction failed."""

    code = text("The failure code, the same for all gateways.", example="do_not_honor")
    category = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "`soft`: a later attempt may succeed. `hard`: it will not.",
            "enum": [*(category.value for category in Category), None],
        },
    )
    message = text("A description for people.")


class TransactionSchema(Schema):
    """A transaction in an answer."""

    transaction_id = text("A UUIDv7. Ids sort by creation time.", format="uuid")
    type = fields.Enum(Kind, by_value=True, required=True, metadata={"type": "string"})
    status = fields.Enum(
        Status,
        by_value=True,
        required=True,
        metadata={
            "type": "string",
            "description": "`pending`: stored, and not yet answered by the gateway. `unknown`: whether the gateway "
            "executed it is not known; the service looks this up. `processed`: accepted by the gateway, with the final "
            "result still to come. `authorized`: the gateway holds the money of a deposit with manual capture. "
            "`completed`, `voided` and `failed` are final.",
        },
    )
    amount = text("The amount with all decimals of the currency.", pattern=AMOUNT, example="100.00")
    currency = text("An ISO 4217 code.", example="USD")
    gateway = text("The gateway that executes the transaction.", example="gatewayA")
    customer_id = customer_id()
    details = strings("The details of the command.")
    gateway_reference = text_or_null("The gateway's own id. Null until it is known.", example="A-1")
    failure = fields.Nested(
        FailureSchema, required=True, metadata={"description": "Why it failed. Null unless `status` is `failed`."}
    )
    parent_id = text_or_null("Of a refund, capture or void: the deposit that it belongs to. Else null.", format="uuid")
    reason = text_or_null("The reason of a refund, if the command had one. Else null.")
    captured_amount = text_or_null(
        "The amount that a capture took. Null unless an authorized deposit was captured.", pattern=AMOUNT
    )
    refunded_amount = text("The sum of its completed refunds.", pattern=AMOUNT, example="0.00")
    refunding_amount = text("The sum of its refunds in progress.", pattern=AMOUNT, example="0.00")
    authorization_expires_at = time_or_null("When the gateway's hold of the money ends. Null before the money is held.")
    attention = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Whether an operator should look at it. `dead_letter`: its work failed too often and is "
            "retried. `parked`: its work is retried only by an operator. `review`: it has an open review.",
            "enum": ["dead_letter", "parked", "review", None],
        },
    )
    version = integer("The version of its newest event in the customer's stream.", minimum=1)
    created_at = time("When the command was received.")
    updated_at = time("When its newest event was recorded.")


class TransactionListSchema(Schema):
    """A page of transactions, newest first."""

    items = fields.List(fields.Nested(TransactionSchema), required=True)
    next_cursor = next_cursor()


class TransactionsQuery(PageSchema):
    """The query of the list of transactions."""

    cursor = Cursor(CursorKind.TRANSACTIONS)
    customer_id = customer_filter()
    status = fields.Enum(Status, by_value=True, metadata={"type": "string", "description": "Select this status only."})
    gateway = gateway_filter()
    type = fields.Enum(Kind, by_value=True, metadata={"type": "string", "description": "Select this type only."})
    parent_id = Text(
        TRANSACTION_ID,
        "Not the id of a transaction.",
        metadata={"description": "Select the refunds, captures and voids of this transaction only."},
    )
    gateway_reference = Text(
        GATEWAY_REFERENCE,
        "Not 1 to 255 visible ASCII characters.",
        metadata={"description": "Select transactions with this `gateway_reference` only."},
    )
    correlation_id = Text(
        CORRELATION_ID,
        "Not 1 to 128 visible ASCII characters.",
        metadata={"description": "Select transactions of the request with this `X-Request-ID` only."},
    )
    created_from = QueryTimestamp(metadata={"description": "Select transactions created at this time or later."})
    created_to = QueryTimestamp(metadata={"description": "Select transactions created before this time."})


class CorrectionSchema(OperatorCommandSchema):
    """The body of a command by which an operator corrects the record."""

    evidence = Reason(
        required=True,
        metadata={"description": "The evidence, kept on record: for example a statement or a ticket."},
    )


class ResolutionSchema(CorrectionSchema):
    """The body of a resolution."""

    outcome = Choice(
        {outcome.value: outcome for outcome in Resolution},
        required=True,
        metadata={
            "description": "The status that the provider confirmed. `authorized` is for deposits with manual capture, "
            "in place of `completed`.",
        },
    )
    version = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(min=1, max=2**53),
        metadata={"description": "The `version` of the transaction that you reviewed."},
    )


class Payment(NamedTuple):
    """A validated command with its defaults."""

    customer_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]
    manual_capture: bool


def read_payment(
    raw: Mapping[str, Any], schema: CommandSchema, gateways: Mapping[str, frozenset[str]], default_currency: str
) -> Payment:
    """Load the command in the JSON object ``raw``; ``gateways`` are the configured ones with their currencies.

    Raises ProblemError that names every wrong field, not only the first.
    """
    given, wrong = read_valid_fields(raw, schema)
    currencies = gateways.get(given["gateway"]) if "gateway" in given else None
    if currencies is None and "gateway" not in wrong:
        wrong["gateway"] = [GATEWAY_WRONG]
    currency: str | None = None if "currency" in wrong else given.get("currency", default_currency)
    if currency is not None and currencies is not None and currency not in currencies:
        missing = "" if "currency" in given else f"Missing, and {currency} is the default. "
        wrong["currency"] = [f"{missing}The gateway does not accept {currency}."]
    money = _money(given, currency, wrong)
    if wrong or money is None:
        raise invalid(wrong)
    return Payment(given["customer_id"], given["gateway"], money, given["details"], given.get("capture", False))


def _money(given: Mapping[str, Any], currency: str | None, wrong: dict[str, list[str]]) -> Money | None:
    """The command's money, or None with an entry in ``wrong``.

    Without a ``currency``, an amount is wrong when it is wrong in every currency.
    """
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
