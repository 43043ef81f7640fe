"""Callbacks that wait for their transaction: their queue, the payload of their work, and when they are matched again.

Also the stream of a gateway, which holds the callbacks that belong to no customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from domain.commands import RecordCallback
from domain.gateway_report import GatewayReport, Source
from domain.money import Money, MoneyError
from domain.outcomes import Approved, Authorization, Declined, Outcome
from store.codec import Metadata, report_data, report_in, timestamp
from store.errors import CorruptStoreError
from store.port import GATEWAYS, Action, MoveWork, StreamKey, WorkItem, WorkState

EVENT_TYPE: Final = "CallbackReceived"
"""The event type in the work of a callback that is not matched yet."""
MATCHED_WITHIN: Final = timedelta(hours=1)
"""How long a callback about an unknown transaction waits before it becomes a review."""
MATCH_AFTER_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
"""The waits between two attempts to match it; the last one repeats."""
_QUEUE: Final = "callbacks:"


def queue_of(gateway: str) -> str:
    """The queue of a gateway's waiting callbacks, which is worked on even while calls to the gateway are not."""
    return f"{_QUEUE}{gateway}"


def gateway_of(queue: str) -> str:
    """The gateway that work in ``queue`` is about."""
    return queue.removeprefix(_QUEUE)


def stream_of_gateway(gateway: str) -> StreamKey:
    """The stream of what belongs to no customer."""
    return StreamKey(GATEWAYS, gateway)


class Stored(NamedTuple):
    """The payload of a waiting callback's work. ``command.transaction_id`` is the reference that the gateway sent."""

    event_id: str
    command: RecordCallback
    report: GatewayReport
    metadata: Metadata

    @property
    def waits_until(self) -> datetime:
        """The time at which it becomes a review."""
        return self.report.at + MATCHED_WITHIN


def read_payload(item: WorkItem) -> Stored:
    """See Stored. Raises CorruptStoreError."""
    try:
        raw = orjson.loads(item.payload or b"")
        outcome = _outcome_in(raw)
        money = Money(raw["minor"], raw["currency"])
        command = RecordCallback(raw["reference"], gateway_of(item.gateway), raw["gateway_reference"], money, outcome)
        metadata = Metadata(raw["correlation_id"], raw["causation_id"])
        report = report_in(raw["said"]) if "said" in raw else _report_before(raw, command)
        return Stored(raw["event_id"], command, report, metadata)
    except (ValueError, KeyError, TypeError, AttributeError, MoneyError) as error:
        raise CorruptStoreError(f"the payload of {item.work_id!r} cannot be read: {error!r}") from error


def _outcome_in(raw: Mapping[str, Any]) -> Outcome:
    if "authorized_until" in raw:
        until = raw["authorized_until"]
        return Authorization(raw["gateway_reference"], None if until is None else datetime.fromisoformat(until))
    if raw["completed"]:
        return Approved(raw["gateway_reference"], final=raw.get("final", True))
    return Declined(raw["code"], None, raw["message"])


def _outcome_data(outcome: Outcome) -> Mapping[str, Any]:
    """The reverse of ``_outcome_in``.

    An authorization has no member "completed", so a process of an earlier version cannot read it as another outcome.
    """
    match outcome:
        case Authorization(expires_at=expires_at):
            return {"authorized_until": None if expires_at is None else timestamp(expires_at)}
        case Approved(final=final):
            return {"completed": True, "final": final}
        case Declined(code=code, message=message):
            return {"completed": False, "code": code, "message": message}


def _report_before(raw: Mapping[str, Any], command: RecordCallback) -> GatewayReport:
    """The content of a callback that an earlier version of the service stored, with fewer members."""
    return GatewayReport(
        source=Source.CALLBACK,
        gateway=command.gateway,
        at=datetime.fromisoformat(raw["received_at"]),
        event_id=raw["event_id"],
        reference=command.transaction_id,
        gateway_reference=command.reference,
        status="completed" if raw["completed"] else "failed",
        amount=command.money.text,
        currency=command.money.currency,
    )


def payload_of(command: RecordCallback, report: GatewayReport, metadata: Metadata) -> bytes:
    """What ``read_payload`` reads."""
    return orjson.dumps(
        {
            **_outcome_data(command.outcome),
            "said": report_data(report),
            "event_id": report.event_id,
            "reference": command.transaction_id,
            "gateway_reference": command.reference,
            "minor": command.money.minor,
            "currency": command.money.currency,
            "received_at": timestamp(report.at),
            "correlation_id": metadata.correlation_id,
            "causation_id": metadata.causation_id,
        }
    )


def wait_longer(item: WorkItem, attempts: int) -> MoveWork:
    """Match it again after the next wait; ``attempts`` is the number of attempts so far."""
    delay_s = MATCH_AFTER_S[min(item.attempts, len(MATCH_AFTER_S) - 1)]
    return MoveWork(item.work_id, Action.APPLY, WorkState.QUEUED, delay_s, attempts, item.errors, item.certainty)
