"""Events to canonical bytes and back, and the hash chain over them.

The canonical bytes of an event are its JSON with sorted keys and no white space. For the strings and integers used
here, this is the order of RFC 8785. The bytes are stored as they were hashed, so a later version of this file cannot
make an old event look changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, cast

import orjson

from domain.events import (
    EVENT_TYPES,
    Authorized,
    BalanceAdjusted,
    Completed,
    Event,
    Failed,
    Kind,
    OutcomeUnknown,
    Processed,
    Received,
    Recorded,
    ReviewClosed,
    ReviewOpened,
    Submitted,
    Voided,
    type_name,
)
from domain.gateway_report import Expected, GatewayReport, Source
from domain.money import MoneyError, parse_stored
from domain.outcomes import Category
from domain.values import value
from store import event_types as types
from store.errors import CorruptStoreError
from store.port import EncodedEvent, Head, StreamKey


@value(frozen=True, slots=True)
class Metadata:
    """The origin of an event. All events that follow from one request have the same ``correlation_id``.

    ``reason`` and ``evidence`` come from the operator who settled the outcome.
    """

    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None
    who: str | None = None
    reason: str | None = None
    evidence: str | None = None


def chain(before: bytes, body: bytes) -> bytes:
    """The hash of an event with canonical bytes ``body`` that follows one with the hash ``before``."""
    return sha256(before + body).digest()


def timestamp(at: datetime) -> str:
    """The time as RFC 3339 in UTC with microseconds."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    if utc.microsecond:  # orjson omits a fraction of zero, and is five times as fast
        return orjson.dumps(utc, option=orjson.OPT_UTC_Z)[1:-1].decode()
    return utc.isoformat(timespec="microseconds")[:26] + "Z"


def encode(stream: StreamKey, head: Head, recorded: Recorded, event_id: str, metadata: Metadata) -> EncodedEvent:
    """The stored form of ``recorded``, chained to ``head``, which must end just before it."""
    kind_of_event = type_name(recorded.event)
    body = orjson.dumps(
        {
            "data": data_of(recorded.event),
            "event_id": event_id,
            "metadata": _metadata(metadata),
            "occurred_at": timestamp(recorded.occurred_at),
            "stream_id": stream.id,
            "stream_name": stream.name,
            "type": kind_of_event,
            "version": recorded.version,
        },
        option=orjson.OPT_SORT_KEYS,
    )
    return EncodedEvent(event_id, recorded.version, kind_of_event, body, chain(head.hash, body))


def _metadata(metadata: Metadata) -> types.EventMetadata:
    pairs: types.EventMetadata = {"correlation_id": metadata.correlation_id}
    if metadata.causation_id is not None:
        pairs["causation_id"] = metadata.causation_id
    if metadata.traceparent is not None:
        pairs["traceparent"] = metadata.traceparent
    if metadata.who is not None:
        pairs["who"] = metadata.who
    if metadata.reason is not None:
        pairs["reason"] = metadata.reason
    if metadata.evidence is not None:
        pairs["evidence"] = metadata.evidence
    return pairs


def data_of(event: Event) -> Mapping[str, Any]:
    """The event's own fields as JSON values. Amounts are text with all decimals."""
    return _ENCODERS[type(event)](event)


def report_data(report: GatewayReport) -> types.ReportData:
    """``report`` as JSON values, without absent members."""
    pairs = ((name, getattr(report, name)) for name in _REPORT)
    present = {name: value for name, value in pairs if value is not None}
    return cast("types.ReportData", {"at": timestamp(report.at), **present})


def report_in(data: Mapping[str, Any]) -> GatewayReport:
    """The reverse of ``report_data``. Raises ValueError, KeyError, TypeError or AttributeError for other values."""
    known = {name: data[name] for name in _REPORT if name in data}
    return GatewayReport(**{**known, "source": Source(data["source"]), "at": datetime.fromisoformat(data["at"])})


def expected_data(expected: Expected) -> types.ExpectedData:
    """``expected`` as JSON values."""
    return cast("types.ExpectedData", {name: getattr(expected, name) for name in _EXPECTED})


def expected_in(data: Mapping[str, Any]) -> Expected:
    """The reverse of ``expected_data``. Raises KeyError or TypeError for other values."""
    return Expected(**{name: data[name] for name in _EXPECTED})


def report_text(report: GatewayReport) -> str:
    """``report`` as the JSON in a review's row."""
    return orjson.dumps(report_data(report)).decode()


def read_report(text: str) -> GatewayReport:
    """The reverse of ``report_text``. Raises ValueError."""
    try:
        return report_in(orjson.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"said: {error!r}") from error


def expected_text(expected: Expected) -> str:
    """``expected`` as the JSON in a review's row."""
    return orjson.dumps(expected_data(expected)).decode()


def read_expected(text: str) -> Expected:
    """The reverse of ``expected_text``. Raises ValueError."""
    try:
        return expected_in(orjson.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected: {error!r}") from error


_REPORT: Final = tuple(one.name for one in fields(GatewayReport) if one.name != "at")
_EXPECTED: Final = tuple(one.name for one in fields(Expected))
_RESERVING: Final = frozenset({Kind.WITHDRAWAL, Kind.REFUND})
_MANUAL: Final = "manual"
_IS_MANUAL: Final[Mapping[str | None, bool]] = {None: False, _MANUAL: True}
"""By the member ``capture`` of a received event."""


def _received(event: Received) -> types.ReceivedData:
    data: types.ReceivedData = {
        "transaction_id": event.transaction_id,
        "gateway": event.gateway,
        "amount": event.money.text,
        "currency": event.money.currency,
        "details": dict(event.details),
    }
    if event.kind in _RESERVING:
        data["reserved"] = event.reserved
    if event.manual_capture:
        data["capture"] = _MANUAL
    if event.parent_id is not None:
        data["parent_id"] = event.parent_id
    if event.parent_reference is not None:
        data["parent_reference"] = event.parent_reference
    if event.reason is not None:
        data["reason"] = event.reason
    return data


def _completed(event: Completed) -> types.CompletedData:
    captured = event.captured
    if captured is None:
        return {"transaction_id": event.transaction_id}
    return {
        "transaction_id": event.transaction_id,
        "captured_amount": captured.text,
        "currency": captured.currency,
    }


def _submitted(event: Submitted) -> types.SubmittedData:
    return {"transaction_id": event.transaction_id, "attempt": event.attempt}


def _outcome_unknown(event: OutcomeUnknown) -> types.OutcomeUnknownData:
    return {"transaction_id": event.transaction_id, "reason": event.reason}


def _processed(event: Processed) -> types.ProcessedData:
    return {"transaction_id": event.transaction_id, "gateway_reference": event.gateway_reference}


def _authorized(event: Authorized) -> types.AuthorizedData:
    return {
        "transaction_id": event.transaction_id,
        "gateway_reference": event.gateway_reference,
        "expires_at": timestamp(event.expires_at),
    }


def _voided(event: Voided) -> types.EndedData:
    return {"transaction_id": event.transaction_id}


def _failed(event: Failed) -> types.FailedData:
    data: types.FailedData = {
        "transaction_id": event.transaction_id,
        "code": event.code,
        "category": event.category,
        "message": event.message,
    }
    if event.gateway_reference is not None:
        data["gateway_reference"] = event.gateway_reference
    return data


def _adjusted(event: BalanceAdjusted) -> types.BalanceAdjustedData:
    return {
        "adjustment_id": event.adjustment_id,
        "amount": event.money.text,
        "currency": event.money.currency,
        "reason": event.reason,
        "evidence": event.evidence,
    }


def _review_opened(event: ReviewOpened) -> types.ReviewOpenedData:
    data: types.ReviewOpenedData = {
        "review_id": event.review_id,
        "transaction_id": event.transaction_id,
        "reason": event.reason,
    }
    if event.said is not None:
        data["said"] = report_data(event.said)
    if event.expected is not None:
        data["expected"] = expected_data(event.expected)
    return data


def _review_closed(event: ReviewClosed) -> types.ReviewClosedData:
    return {"review_id": event.review_id, "reason": event.reason}


_ENCODERS: Final[dict[type, Callable[[Any], Mapping[str, Any]]]] = {
    Received: _received,
    Submitted: _submitted,
    OutcomeUnknown: _outcome_unknown,
    Processed: _processed,
    Authorized: _authorized,
    Completed: _completed,
    Voided: _voided,
    Failed: _failed,
    BalanceAdjusted: _adjusted,
    ReviewOpened: _review_opened,
    ReviewClosed: _review_closed,
}

_DECODERS: Final[dict[type, Callable[[Any, Mapping[str, Any]], Event]]] = {
    Received: lambda kind, d: Received(
        kind,
        d["transaction_id"],
        d["gateway"],
        parse_stored(d["amount"], d["currency"]),
        d["details"],
        d.get("reserved", False),
        _IS_MANUAL[d.get("capture")],
        d.get("parent_id"),
        d.get("parent_reference"),
        d.get("reason"),
    ),
    Submitted: lambda kind, d: Submitted(kind, d["transaction_id"], d["attempt"]),
    OutcomeUnknown: lambda kind, d: OutcomeUnknown(kind, d["transaction_id"], d["reason"]),
    Processed: lambda kind, d: Processed(kind, d["transaction_id"], d["gateway_reference"]),
    Authorized: lambda kind, d: Authorized(
        kind, d["transaction_id"], d["gateway_reference"], datetime.fromisoformat(d["expires_at"])
    ),
    Completed: lambda kind, d: Completed(
        kind,
        d["transaction_id"],
        parse_stored(d["captured_amount"], d["currency"]) if "captured_amount" in d else None,
    ),
    Voided: lambda kind, d: Voided(kind, d["transaction_id"]),
    Failed: lambda kind, d: Failed(
        kind,
        d["transaction_id"],
        d["code"],
        None if d["category"] is None else Category(d["category"]),
        d["message"],
        d.get("gateway_reference"),
    ),
    BalanceAdjusted: lambda _, d: BalanceAdjusted(
        d["adjustment_id"], parse_stored(d["amount"], d["currency"]), d["reason"], d["evidence"]
    ),
    ReviewOpened: lambda _, d: ReviewOpened(
        d["review_id"],
        d["transaction_id"],
        d["reason"],
        report_in(d["said"]) if "said" in d else None,
        expected_in(d["expected"]) if "expected" in d else None,
    ),
    ReviewClosed: lambda _, d: ReviewClosed(d["review_id"], d["reason"]),
}


@value(frozen=True, slots=True)
class Body:
    """The canonical bytes of an event, read back."""

    event_id: str
    stream: StreamKey
    version: int
    type: str
    occurred_at: datetime
    data: Mapping[str, Any]
    metadata: types.EventMetadata


def read_body(body: bytes) -> Body:
    """Read canonical bytes without the event's own fields. Raises CorruptStoreError."""
    try:
        raw = orjson.loads(body)
        return Body(
            raw["event_id"],
            StreamKey(raw["stream_name"], raw["stream_id"]),
            raw["version"],
            raw["type"],
            datetime.fromisoformat(raw["occurred_at"]),
            raw["data"],
            raw["metadata"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStoreError(f"an event's bytes cannot be read: {error!r}") from error


def decode(body: bytes) -> Recorded:
    """The event in canonical bytes. Raises CorruptStoreError when this version does not have such an event."""
    return recorded_in(read_body(body))


def recorded_in(raw: Body) -> Recorded:
    """The event in bytes that were read. Raises CorruptStoreError when this version does not have such an event."""
    try:
        cls, kind = EVENT_TYPES[raw.type]
        event = _DECODERS[cls](kind, raw.data)
        return Recorded(raw.version, raw.occurred_at, event, raw.metadata.get("correlation_id"))
    except (ValueError, KeyError, TypeError, AttributeError, MoneyError) as error:
        raise CorruptStoreError(f"an event of type {raw.type!r} cannot be read: {error!r}") from error
