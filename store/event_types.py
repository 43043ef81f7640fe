"""The JSON of events: the members that ``store.codec`` writes, as types, from which the published schemas are made.

Consumers rely on these members. A new one is ``NotRequired``, because stored events lack it. A member is never removed,
renamed or given another meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict

from msgspec import Meta

from domain.events import (
    Authorized,
    BalanceAdjusted,
    Completed,
    Failed,
    Kind,
    OutcomeUnknown,
    Processed,
    Received,
    ReviewClosed,
    ReviewOpened,
    Submitted,
    Voided,
)
from domain.gateway_report import Source
from domain.outcomes import Category

_AMOUNT_PATTERN: Final = r"(0|[1-9][0-9]*)(\.[0-9]+)?"

Amount = Annotated[
    str, Meta(pattern=f"^{_AMOUNT_PATTERN}$", description="An amount with all decimals of its currency.")
]
SignedAmount = Annotated[
    str, Meta(pattern=f"^-?{_AMOUNT_PATTERN}$", description="An amount with all decimals of its currency.")
]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="The ISO 4217 code of the currency.")]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
TransactionId = Annotated[str, Meta(description="The id of the transaction.")]
GatewayReference = Annotated[str, Meta(description="The gateway's own id of the transaction.")]


class _ReceivedMembers(TypedDict):
    transaction_id: TransactionId
    gateway: Annotated[str, Meta(description="The name of the gateway.")]
    amount: Amount
    currency: Currency
    details: Annotated[Mapping[str, str], Meta(description="The details that the client sent.")]


class DepositReceivedData(_ReceivedMembers):
    """A deposit is durable, and not sent yet."""

    capture: NotRequired[Annotated[Literal["manual"], Meta(description="The gateway only holds the money at first.")]]


class WithdrawalReceivedData(_ReceivedMembers):
    """A withdrawal is durable, and not sent yet."""

    reserved: Annotated[bool, Meta(description="Whether the amount was taken from the available balance.")]


class ChildReceivedData(_ReceivedMembers):
    """A capture or void of an authorized deposit is durable, and not sent yet."""

    parent_id: Annotated[str, Meta(description="The id of the transaction that it belongs to.")]
    parent_reference: NotRequired[Annotated[str, Meta(description="The gateway's own id of the parent.")]]


class RefundReceivedData(ChildReceivedData):
    """A refund is durable, and not sent yet."""

    reserved: Annotated[bool, Meta(description="Whether the amount was taken from the available balance.")]
    reason: NotRequired[Annotated[str, Meta(description="The client's reason.")]]


class ReceivedData(_ReceivedMembers):
    """The members of all kinds."""

    reserved: NotRequired[bool]
    capture: NotRequired[Literal["manual"]]
    parent_id: NotRequired[str]
    parent_reference: NotRequired[str]
    reason: NotRequired[str]


class SubmittedData(TypedDict):
    """It is about to be sent to a gateway without idempotency keys."""

    transaction_id: TransactionId
    attempt: Annotated[int, Meta(ge=1, description="The number of the attempt.")]


class OutcomeUnknownData(TypedDict):
    """The gateway may or may not have acted."""

    transaction_id: TransactionId
    reason: str


class ProcessedData(TypedDict):
    """The gateway accepted it; the final outcome follows."""

    transaction_id: TransactionId
    gateway_reference: GatewayReference | None


class AuthorizedData(TypedDict):
    """The gateway holds the money of a deposit."""

    transaction_id: TransactionId
    gateway_reference: GatewayReference | None
    expires_at: Annotated[Time, Meta(description="When the gateway releases the money.")]


class EndedData(TypedDict):
    """It is final."""

    transaction_id: TransactionId


class CompletedData(EndedData):
    """Final: the money moved. Without a captured amount, the amount is that of the transaction."""

    captured_amount: NotRequired[Annotated[Amount, Meta(description="The captured part of an authorized deposit.")]]
    currency: NotRequired[Annotated[Currency, Meta(description="The currency of the captured amount.")]]


class FailedData(TypedDict):
    """Final: the money surely did not move."""

    transaction_id: TransactionId
    code: Annotated[str, Meta(description="The normalised code of the failure.")]
    category: Annotated[Category | None, Meta(description="Whether another attempt may succeed (soft) or not (hard).")]
    message: str
    gateway_reference: NotRequired[GatewayReference]


class BalanceAdjustedData(TypedDict):
    """An operator corrected the available balance by the amount."""

    adjustment_id: str
    amount: SignedAmount
    currency: Currency
    reason: str
    evidence: str


class ReportData(TypedDict):
    """The gateway's report. Members that it did not have are absent."""

    source: Source
    gateway: str
    at: Time
    event_id: NotRequired[str]
    reference: NotRequired[str]
    gateway_reference: NotRequired[str]
    status: NotRequired[str]
    code: NotRequired[str]
    amount: NotRequired[str]
    currency: NotRequired[str]
    message: NotRequired[str]
    body: NotRequired[str]
    body_bytes: NotRequired[int]


class ExpectedData(TypedDict):
    """The record of the transaction when the review was opened."""

    gateway: str
    status: str
    amount: str
    currency: str
    gateway_reference: str | None


class ReviewOpenedData(TypedDict):
    """Something contradicts the record, so that an operator must review it."""

    review_id: str
    transaction_id: TransactionId | None
    reason: str
    said: NotRequired[ReportData]
    expected: NotRequired[ExpectedData]


class ReviewClosedData(TypedDict):
    """An operator closed the review."""

    review_id: str
    reason: str


class EventMetadata(TypedDict):
    """The origin of an event."""

    correlation_id: Annotated[str, Meta(description="The same for all events that follow from one request.")]
    causation_id: NotRequired[str]
    traceparent: NotRequired[Annotated[str, Meta(description="The W3C trace context of the request.")]]
    who: NotRequired[Annotated[str, Meta(description="The key or operator that caused it.")]]
    reason: NotRequired[str]
    evidence: NotRequired[str]


class FeedEvent(TypedDict):
    """An event, as the feed of the API shows it."""

    position: Annotated[int, Meta(ge=1, description="The position among all events, ascending over generations.")]
    generation: Annotated[int, Meta(ge=0, description="How often the database was restored to an earlier state.")]
    stream_name: Annotated[str, Meta(description="The merchant of the customer.")]
    stream_id: Annotated[str, Meta(description="The customer's id.")]
    version: Annotated[int, Meta(ge=1, description="The number of the event in its stream: 1, 2, 3 without gaps.")]
    type: str
    occurred_at: Time
    data: Mapping[str, Any]
    metadata: EventMetadata
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 over the hash before it and this event.")]


DATA_TYPES: Final[Mapping[tuple[type, Kind | None], type]] = MappingProxyType(
    {
        (Received, Kind.DEPOSIT): DepositReceivedData,
        (Received, Kind.WITHDRAWAL): WithdrawalReceivedData,
        (Received, Kind.REFUND): RefundReceivedData,
        (Received, Kind.CAPTURE): ChildReceivedData,
        (Received, Kind.VOID): ChildReceivedData,
        **{(Submitted, kind): SubmittedData for kind in Kind},
        **{(OutcomeUnknown, kind): OutcomeUnknownData for kind in Kind},
        **{(Processed, kind): ProcessedData for kind in Kind},
        (Authorized, Kind.DEPOSIT): AuthorizedData,
        **{(Completed, kind): EndedData for kind in Kind},
        (Completed, Kind.DEPOSIT): CompletedData,
        (Voided, Kind.DEPOSIT): EndedData,
        **{(Failed, kind): FailedData for kind in Kind},
        (BalanceAdjusted, None): BalanceAdjustedData,
        (ReviewOpened, None): ReviewOpenedData,
        (ReviewClosed, None): ReviewClosedData,
    }
)
"""The data of each event, by the keys of ``domain.events.TYPE_NAMES``."""
