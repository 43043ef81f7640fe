"""The listener port: what actors report as it happens, for logs and metrics. The composition chooses the listeners."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from actors.messages import CallResult, Unanswered
from actors.replies import Reply, SignatureInvalid
from actors.work import read_context
from domain.account import Transaction
from domain.events import EVENT_TYPES, Received, Recorded, ReviewOpened, type_name
from domain.outcomes import Approved, Authorization, Declined, NotReceived
from store.codec import Metadata
from store.port import AppendResult, Committed, Conflict, MoveWork, StreamKey, WorkItem, WorkState

logger: Final = logging.getLogger("payments")


class Listener(Protocol):
    """Receives reports in the actors' threads: must neither block nor raise."""

    def recorded(
        self,
        stream: StreamKey,
        events: Sequence[tuple[Recorded, Metadata]],
        transactions: Mapping[str, Transaction],
    ) -> None:
        """``events`` are durable. ``transactions``: at least those of the events, as of the last one."""

    def appended(self, results: Sequence[AppendResult | Unanswered], duration_s: float) -> None:
        """One group commit has ended, with a result for each write."""

    def called(self, item: WorkItem, result: CallResult, duration_s: float) -> None:
        """A call to a gateway for ``item`` has ended."""

    def breaker_changed(self, gateway: str, state: str) -> None:
        """A gateway's breaker is now open, half_open or closed."""

    def dead_letter(self, item: WorkItem, move: MoveWork) -> None:
        """``item`` became a dead letter, and that is durable: re-sent later (dead), or left to an operator (parked)."""

    def leases_lost(self) -> None:
        """Other processes considered this process dead, and it lost its leases."""

    def taken_over(self, count: int) -> None:
        """The leases of dead processes were released: ``count`` pieces of work."""

    def called_back(self, gateway: str, answer: Reply | SignatureInvalid) -> None:
        """A callback in the name of a configured gateway gets ``answer``."""


class Listeners:
    """Passes every report to several listeners, in their order."""

    def __init__(self, *listeners: Listener) -> None:
        self._all = listeners

    def recorded(
        self,
        stream: StreamKey,
        events: Sequence[tuple[Recorded, Metadata]],
        transactions: Mapping[str, Transaction],
    ) -> None:
        """See Listener."""
        for one in self._all:
            one.recorded(stream, events, transactions)

    def appended(self, results: Sequence[AppendResult | Unanswered], duration_s: float) -> None:
        """See Listener."""
        for one in self._all:
            one.appended(results, duration_s)

    def called(self, item: WorkItem, result: CallResult, duration_s: float) -> None:
        """See Listener."""
        for one in self._all:
            one.called(item, result, duration_s)

    def breaker_changed(self, gateway: str, state: str) -> None:
        """See Listener."""
        for one in self._all:
            one.breaker_changed(gateway, state)

    def dead_letter(self, item: WorkItem, move: MoveWork) -> None:
        """See Listener."""
        for one in self._all:
            one.dead_letter(item, move)

    def leases_lost(self) -> None:
        """See Listener."""
        for one in self._all:
            one.leases_lost()

    def taken_over(self, count: int) -> None:
        """See Listener."""
        for one in self._all:
            one.taken_over(count)

    def called_back(self, gateway: str, answer: Reply | SignatureInvalid) -> None:
        """See Listener."""
        for one in self._all:
            one.called_back(gateway, answer)


Line = tuple[str, dict[str, Any]]
"""The message of a log line, and its fields."""


def log_each(lines: Iterable[Line]) -> None:
    """Log ``lines`` at INFO, one by one."""
    for message, fields in lines:
        logger.info(message, extra={"fields": fields})


class LogListener:
    """Logs one line for each step of a transaction, with its transaction and correlation id, without personal data.

    ``write`` takes the lines of events that were recorded together: the great majority of all lines.
    """

    def __init__(self, write: Callable[[Iterable[Line]], None] = log_each) -> None:
        self._write = write

    def recorded(
        self,
        stream: StreamKey,
        events: Sequence[tuple[Recorded, Metadata]],
        transactions: Mapping[str, Transaction],  # noqa: ARG002  # the port's name
    ) -> None:
        """See Listener."""
        self._write(_line(stream, recorded, metadata) for recorded, metadata in events)

    def appended(self, results: Sequence[AppendResult | Unanswered], duration_s: float) -> None:
        """See Listener."""
        if not logger.isEnabledFor(logging.DEBUG):
            return
        fields: Mapping[str, Any] = {
            "writes": len(results),
            "committed": sum(isinstance(result, Committed) for result in results),
            "conflicts": sum(isinstance(result, Conflict) for result in results),
            "duration_ms": round(duration_s * 1000, 1),
        }
        logger.debug("appended", extra={"fields": fields})

    def called(self, item: WorkItem, result: CallResult, duration_s: float) -> None:
        """See Listener."""
        answered = isinstance(result, Approved | Authorization | Declined | NotReceived)
        level = logging.DEBUG if answered else logging.WARNING
        if not logger.isEnabledFor(level):
            return
        fields: Mapping[str, Any] = {
            "transaction_id": item.work_id,
            "correlation_id": correlation_of(item),
            "gateway": item.gateway,
            "action": item.action,
            "attempt": item.attempts + 1,
            "result": type(result).__name__,
            "reason": getattr(result, "reason", None),
            "duration_ms": round(duration_s * 1000, 1),
        }
        logger.log(level, "gateway called", extra={"fields": fields})

    def breaker_changed(self, gateway: str, state: str) -> None:
        """See Listener."""
        logger.warning("breaker %s", state, extra={"fields": {"gateway": gateway, "state": state}})

    def dead_letter(self, item: WorkItem, move: MoveWork) -> None:
        """See Listener."""
        parked = move.state is WorkState.PARKED
        fields: Mapping[str, Any] = {
            "transaction_id": item.work_id,
            "correlation_id": correlation_of(item),
            "gateway": item.gateway,
            "action": item.action,
            "attempts": move.attempts,
            "next_attempt_in_s": None if parked else round(move.delay_s, 1),
            "reason": move.errors[-1].error if move.errors else None,
        }
        level, message = (logging.ERROR, "parked for an operator") if parked else (logging.WARNING, "dead letter")
        logger.log(level, message, extra={"fields": fields})

    def leases_lost(self) -> None:
        """See Listener."""
        logger.error("this process was considered dead; its leases were released")

    def taken_over(self, count: int) -> None:
        """See Listener."""
        logger.warning("took over work of dead processes", extra={"fields": {"count": count}})

    def called_back(self, gateway: str, answer: Reply | SignatureInvalid) -> None:
        """See Listener. Not logged here: its events are logged when recorded, its refusal where it is found."""


_LOGGED: Final = ("gateway", "gateway_reference", "code", "category", "reason", "attempt", "review_id")
"""The members of events in log lines. None holds personal data."""
_LOGGED_OF: Final = {
    cls: tuple(name for name in _LOGGED if name in {field.name for field in dataclasses.fields(cls)})
    for cls, _ in EVENT_TYPES.values()
}


def _line(stream: StreamKey, recorded: Recorded, metadata: Metadata) -> Line:
    event = recorded.event
    fields: dict[str, Any] = {
        "transaction_id": getattr(event, "transaction_id", None),
        "correlation_id": metadata.correlation_id,
        "stream_name": stream.name,
        "stream_id": stream.id,
        "version": recorded.version,
    }
    for name in _LOGGED_OF[type(event)]:
        value = getattr(event, name)
        if value is not None:
            fields[name] = value
    if isinstance(event, Received):
        fields["amount"], fields["currency"] = event.money.text, event.money.currency
    if isinstance(event, ReviewOpened):
        fields |= _review_fields(event)
    return type_name(event), fields


_LOGGED_REPORT: Final = {
    "source": "source",
    "gateway": "gateway",
    "event_id": "callback_event_id",
    "reference": "reference",
    "gateway_reference": "gateway_reference",
    "status": "said_status",
    "code": "code",
    "amount": "said_amount",
    "currency": "said_currency",
    "message": "said_message",
}
"""The members of GatewayReport in log lines, and their field names. Not the body, which may hold personal data."""
_LOGGED_EXPECTED: Final = {
    "gateway": "gateway",
    "status": "expected_status",
    "amount": "expected_amount",
    "currency": "expected_currency",
    "gateway_reference": "expected_gateway_reference",
}


def _review_fields(event: ReviewOpened) -> dict[str, str]:
    """The fields that an operator needs to contact the provider's support."""
    pairs = ((event.expected, _LOGGED_EXPECTED), (event.said, _LOGGED_REPORT))
    found = {shown: getattr(it, name) for it, names in pairs if it is not None for name, shown in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def correlation_of(item: WorkItem) -> str | None:
    """The correlation id that travels in the work's payload."""
    return None if item.payload is None else read_context(item.payload).correlation_id
