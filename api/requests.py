"""What callers may send: the schemas that validate bodies and query strings, and that OpenAPI is made from.

Owns the rules between fields, such as an amount and its currency; knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from api.fields import (
    Amount,
    Choice,
    Currency,
    Cursor,
    Details,
    EventPlace,
    Limit,
    Position,
    QueryTimestamp,
    Reason,
    SignedAmount,
    Text,
    Wait,
)
from api.paging import CursorKind
from api.patterns import CUSTOMER_ID, GATEWAY_NAME, NEW_CUSTOMER_ID
from api.problems import invalid
from api.screening.names import printable_errors, refuse_flood
from api.views import LETTER_STATES
from domain.account import Status
from domain.events import Kind
from domain.money import Money, MoneyError, parse_amount, parse_signed
from store.port import WorkState

_LETTER_STATES: Final = {word: state for state, word in LETTER_STATES.items()}
_CUSTOMER_ID_WRONG: Final = "Not 1 to 128 of A-Z a-z 0-9 . _ : @ -"
_NEW_CUSTOMER_ID_WRONG: Final = f'{_CUSTOMER_ID_WRONG}; not "." or "..", which clients remove from paths.'
_GATEWAY_WRONG: Final = "No such gateway."


def _gateway_filter() -> Text:
    return Text(GATEWAY_NAME, _GATEWAY_WRONG, metadata={"description": "Only those of this gateway."})


def _letter_state() -> Choice[WorkState]:
    description = "`waiting`: tried again by itself. `parked`: only when a person says so."
    return Choice(_LETTER_STATES, metadata={"description": description})


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
        NEW_CUSTOMER_ID,
        _NEW_CUSTOMER_ID_WRONG,
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


class OrderSchema(Schema):
    """An order of a person, who must say why."""

    class Meta:
        """Nothing that is not understood is taken."""

        unknown = RAISE

    reason = Reason(required=True, metadata={"description": "Why, for the record."})


class BreakerOrderSchema(OrderSchema):
    """How a gateway's circuit breaker shall be."""

    mode = Choice(
        {mode: mode for mode in ("open", "closed", "auto")},
        required=True,
        metadata={
            "description": "`open`: no calls. `closed`: all calls, whatever comes of them. `auto`: as calls go.",
            "example": "auto",
        },
    )


class DiscardSchema(OrderSchema):
    """Why a dead letter is given up."""


class CloseReviewSchema(OrderSchema):
    """What came of a person's look."""


class CorrectionSchema(OrderSchema):
    """What a person sets right, and what shows that he may."""

    evidence = Reason(required=True, metadata={"description": "What shows it: a statement, a ticket, a name."})


class ResolutionSchema(CorrectionSchema):
    """How a transaction ended."""

    outcome = Choice({"completed": True, "failed": False}, required=True)
    version = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(min=1, max=2**53),
        metadata={"description": "The transaction's, as you saw it."},
    )


class AdjustmentSchema(CorrectionSchema):
    """By how much a balance is corrected."""

    amount = SignedAmount(required=True, metadata={"description": "Added to what is available; may be negative."})
    currency = Currency(required=True, metadata={"description": "ISO 4217.", "example": "USD"})


class RetrySchema(Schema):
    """Which dead letters are meant; without any field all of them."""

    class Meta:
        """A misspelt field must not make it all of them."""

        unknown = RAISE

    gateway = _gateway_filter()
    state = _letter_state()


class PageSchema(Schema):
    """Which page of a list is wanted."""

    limit = Limit(metadata={"description": "Items on a page."})


class TransactionsQuery(PageSchema):
    """Which transactions are wanted; filters that are given must all fit."""

    cursor = Cursor(CursorKind.TRANSACTIONS)
    customer_id = Text(CUSTOMER_ID, _CUSTOMER_ID_WRONG, metadata={"description": "Only this customer's."})
    status = fields.Enum(Status, by_value=True, metadata={"type": "string", "description": "Only those that stand so."})
    gateway = _gateway_filter()
    type = fields.Enum(
        Kind, by_value=True, metadata={"type": "string", "description": "Only deposits, or only withdrawals."}
    )
    created_from = QueryTimestamp(metadata={"description": "Only those created at this time or later."})
    created_to = QueryTimestamp(metadata={"description": "Only those created before this time."})


class VersionsQuery(PageSchema):
    """Which part of a stream is wanted."""

    cursor = Cursor(CursorKind.VERSIONS)


class GatewaysQuery(PageSchema):
    """Which page of the gateways is wanted."""

    cursor = Cursor(CursorKind.GATEWAYS)


class DeadLettersQuery(PageSchema):
    """Which dead letters are wanted; filters that are given must all fit."""

    cursor = Cursor(CursorKind.DEAD_LETTERS)
    gateway = _gateway_filter()
    state = _letter_state()


class WaitingCallbacksQuery(PageSchema):
    """The filters for waiting callbacks."""

    cursor = Cursor(CursorKind.CALLBACKS)
    gateway = _gateway_filter()


class ReviewsQuery(PageSchema):
    """Which reviews are wanted."""

    cursor = Cursor(CursorKind.REVIEWS)
    state = Choice({"open": "open", "closed": "closed"}, metadata={"description": "Only those."})


class EventsQuery(PageSchema):
    """Which events are wanted."""

    after = Position(metadata={"description": "The last position that you have; 0, the default, for none; `latest`."})
    wait = Wait(metadata={"description": "Seconds to wait for an event when there is none."})


class MerchantEventsQuery(PageSchema):
    """The filters for a merchant's events."""

    after = EventPlace(
        metadata={
            "description": "The `cursor` of the last event that you have, or `latest`. Absent: from the first event."
        }
    )
    wait = Wait(metadata={"description": "Seconds to wait for an event when there is none."})


class Adjustment(NamedTuple):
    """A validated correction of a balance."""

    money: Money
    reason: str
    evidence: str


class Payment(NamedTuple):
    """A validated command, with the defaults filled in."""

    customer_id: str
    gateway: str
    money: Money
    details: Mapping[str, str]


_COMMAND: Final = CommandSchema()


def read_fields(raw: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The fields of the JSON object ``raw`` as ``schema`` loads them. Raises ProblemError that names the wrong ones."""
    refuse_flood(raw, schema.fields)
    try:
        loaded: dict[str, Any] = schema.load(raw)
    except ValidationError as error:
        raise invalid(printable_errors(error.messages_dict)) from None
    return loaded


_ADJUSTMENT: Final = AdjustmentSchema()


def read_adjustment(raw: Mapping[str, Any]) -> Adjustment:
    """The correction in the JSON object ``raw``. Raises ProblemError, which names every field that is wrong."""
    given = read_fields(raw, _ADJUSTMENT)
    try:
        money = parse_signed(given["amount"], given["currency"])
    except MoneyError as error:
        raise invalid({"amount": [str(error)]}) from None
    return Adjustment(money, given["reason"], given["evidence"])


def known_gateway(given: Mapping[str, Any], gateways: Collection[str]) -> str | None:
    """The field ``gateway`` of a filter, if it is there. Raises ProblemError when no such one is configured."""
    gateway: str | None = given.get("gateway")
    if gateway is not None and gateway not in gateways:
        raise invalid({"gateway": [_GATEWAY_WRONG]})
    return gateway


def read_payment(raw: Mapping[str, Any], gateways: Mapping[str, frozenset[str]], default_currency: str) -> Payment:
    """The command in the JSON object ``raw``; ``gateways`` are the configured ones with their currencies.

    Raises ProblemError, which names every field that is wrong and not only the first.
    """
    refuse_flood(raw, _COMMAND.fields)
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
