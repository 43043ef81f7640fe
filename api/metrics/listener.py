"""Update the meters from the actors' notifications: cheap, because every deposit passes here, and without errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from actors.messages import CallResult, Unanswered
from actors.replies import Reply, SignatureInvalid
from api.metrics.meters import Meters
from domain.account import Status, Transaction
from domain.events import (
    Authorized,
    Completed,
    Event,
    Failed,
    OutcomeUnknown,
    Processed,
    Received,
    Recorded,
    ReviewClosed,
    ReviewOpened,
    Voided,
)
from store.codec import Metadata
from store.ids import made_at_s
from store.port import AppendResult, MoveWork, StreamKey, WorkItem

_ENTERS: Final[Mapping[type[Event], Status]] = {
    Received: Status.PENDING,
    OutcomeUnknown: Status.UNKNOWN,
    Processed: Status.PROCESSED,
    Authorized: Status.AUTHORIZED,
    Completed: Status.COMPLETED,
    Voided: Status.VOIDED,
    Failed: Status.FAILED,
}
"""The status that a transaction enters by an event."""
_LABELS: Final[Mapping[type, str]] = {SignatureInvalid: "unverified"}
"""Labels of results that are not named as their classes."""
_REVIEWS: Final[Mapping[type[Event], str]] = {ReviewOpened: "opened", ReviewClosed: "closed"}


class MetricsListener:
    """An ``actors.listeners.Listener``. Series are few, so each is looked up once by its labels and kept."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        count, observations = meters.tallies.count, meters.tallies.observations
        self._accepted = cache(lambda kind, gateway: count(meters.accepted.labels(kind, gateway)).step)
        self._entered = cache(lambda kind, gateway, to: count(meters.transactions.labels(kind, gateway, to)).step)
        self._final = cache(
            lambda kind, gateway, to: observations(meters.final_seconds.labels(kind, gateway, to)).observe
        )
        self._call = cache(
            lambda gateway, action, result: count(meters.calls.labels(gateway, action, _snake(result))).step
        )
        self._call_seconds = cache(
            lambda gateway, action: observations(meters.call_seconds.labels(gateway, action)).observe
        )
        self._append = cache(lambda result: count(meters.appends.labels(_snake(result))).step)
        self._batch_writes = observations(meters.batch_writes).observe
        self._append_seconds = observations(meters.append_seconds).observe

    def recorded(
        self,
        stream: StreamKey,  # noqa: ARG002  # the port's name
        events: Sequence[tuple[Recorded, Metadata]],
        transactions: Mapping[str, Transaction],
    ) -> None:
        """Count the events and the transactions that changed their status."""
        for recorded, _ in events:
            event = recorded.event
            status = _ENTERS.get(type(event))
            if status is None:
                state = _REVIEWS.get(type(event))
                if state is not None:
                    self._meters.reviews.labels(state).inc()
                continue
            known = transactions.get(getattr(event, "transaction_id", ""))
            if known is None:
                continue
            kind, gateway = known.kind, known.gateway
            self._entered(kind, gateway, status)()
            if status is Status.PENDING:
                self._accepted(kind, gateway)()
            elif status is Status.AUTHORIZED or (status.terminal and known.authorization_expires_at is None):
                # The end of an authorization measures how long the client waited, not the service and the gateway.
                self._ended(recorded, known, status)

    def _ended(self, recorded: Recorded, known: Transaction, status: Status) -> None:
        try:
            made_at = made_at_s(known.transaction_id)
        except ValueError:  # not an id of this service, so it has no time
            return
        self._final(known.kind, known.gateway, status)(max(recorded.occurred_at.timestamp() - made_at, 0.0))

    def appended(self, results: Sequence[AppendResult | Unanswered], duration_s: float) -> None:
        """Count the writes of a commit, and its duration."""
        for result in results:
            self._append(type(result).__name__)()
        self._batch_writes(len(results))
        self._append_seconds(duration_s)

    def called(self, item: WorkItem, result: CallResult, duration_s: float) -> None:
        """Count a call to a gateway, and its duration."""
        self._call(item.gateway, item.action, type(result).__name__)()
        self._call_seconds(item.gateway, item.action)(duration_s)

    def breaker_changed(self, gateway: str, state: str) -> None:
        """Count a change of a circuit breaker."""
        self._meters.breaker_changes.labels(gateway, state).inc()

    def dead_letter(self, item: WorkItem, move: MoveWork) -> None:
        """Count a dead letter."""
        self._meters.dead_letters.labels(item.gateway, move.state).inc()

    def leases_lost(self) -> None:
        """Count the loss of a process's leases."""
        self._meters.leases_lost.inc()

    def taken_over(self, count: int) -> None:
        """Count work that was taken over from dead processes."""
        self._meters.taken_over.inc(count)

    def called_back(self, gateway: str, answer: Reply | SignatureInvalid) -> None:
        """Count an answer to a callback."""
        result = _LABELS.get(type(answer)) or _snake(type(answer).__name__)
        self._meters.callbacks.labels(gateway, result).inc()


@cache
def _snake(name: str) -> str:
    """``NotSent`` as ``not_sent``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
