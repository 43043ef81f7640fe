"""What gateways say of their own accord: stored and applied in one commit, once for each of their event ids.

What is said of a transaction that nobody knows is kept as work and matched again later; whatever cannot be applied is
for a person. A gateway's own stream (``stream_of_gateway``) holds what belongs to no customer.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from actors.customer.batch import REVIEW_SCOPE, Batch, Entry, with_said
from actors.messages import AboutWork, Request
from actors.replies import Taken
from domain.account import Refused, decide, review_of
from domain.commands import RecordCallback
from domain.events import Event, ReviewOpened
from domain.money import Money, MoneyError
from domain.outcomes import Approved, Declined
from domain.references import are_same_bodies
from domain.said import Said, Source, plain_body
from gateways.port import RawMembers
from store.codec import Metadata, said_data, said_in, timestamp
from store.errors import CorruptStoreError
from store.port import (
    GATEWAYS,
    Action,
    Claim,
    CloseWork,
    Fence,
    MoveWork,
    OpenWork,
    Part,
    StreamKey,
    WorkChange,
    WorkItem,
    WorkState,
)

EVENT_TYPE: Final = "CallbackReceived"
"""What the work of a callback that is not matched yet goes by."""
MATCHED_WITHIN: Final = timedelta(hours=1)
"""How long a callback about an unknown transaction is kept before a person is asked."""
MATCH_AFTER_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0)

_REVIEW_AGAIN: Final = "review-again"
_UNKNOWN: Final = "A callback names a transaction that is not on record."
_OTHER_BODY: Final = "A callback came again under its event id with another body."


_NOTHING_SAID: Final = RawMembers()

REVIEW_SCOPES: Final = frozenset({REVIEW_SCOPE, _REVIEW_AGAIN})


class Callback(NamedTuple):
    """A verified callback: told from others by ``event_id``, kept as ``body``, as it came but for card numbers."""

    gateway: str
    event_id: str
    body: bytes

    def __repr__(self) -> str:
        """Without the body: that belongs into no log."""
        return f"Callback({self.gateway!r}, {self.event_id!r})"

    @property
    def claim(self) -> Claim:
        """What makes it happen once."""
        return Claim(f"callback:{self.gateway}", self.event_id, self.body)

    def said(self, verbatim: RawMembers, at: datetime) -> Said:
        """The callback's content for people. ``verbatim`` holds no card numbers."""
        reference, gateway_reference, status, amount, currency = verbatim
        return Said(
            source=Source.CALLBACK,
            gateway=self.gateway,
            at=at,
            event_id=self.event_id,
            reference=reference,
            gateway_reference=gateway_reference,
            status=status,
            amount=amount,
            currency=currency,
            body=plain_body(self.body),
            body_bytes=len(self.body),
        )


_QUEUE: Final = "callbacks:"


def queue_of(gateway: str) -> str:
    """What the work of its stored callbacks goes by in place of the gateway: that is worked on whatever calls do."""
    return f"{_QUEUE}{gateway}"


def gateway_of(queue: str) -> str:
    """The gateway that work in ``queue`` is about."""
    return queue.removeprefix(_QUEUE)


def stream_of_gateway(gateway: str) -> StreamKey:
    """Where that stands which belongs to no customer."""
    return StreamKey(GATEWAYS, gateway)


class CallbackRequest(Request):
    """A new callback, to be stored and applied.

    ``command``: its meaning for a transaction of this stream. Without one, ``problem`` is the reason why it cannot be
    applied, or ``unmatched`` is its meaning for an unknown transaction. ``about``: the transaction of this stream that
    a callback with a ``problem`` names. ``verbatim``: its members, for people.
    """

    __slots__ = ("about", "callback", "command", "problem", "repeated", "reviewed", "unmatched", "verbatim", "work_key")

    def __init__(
        self,
        callback: Callback,
        metadata: Metadata,
        *,
        command: RecordCallback | None = None,
        problem: str | None = None,
        about: str | None = None,
        unmatched: RecordCallback | None = None,
        work_key: str = "",
        verbatim: RawMembers = _NOTHING_SAID,
    ) -> None:
        super().__init__(metadata)
        self.callback = callback
        self.command: RecordCallback | None = command
        self.problem, self.unmatched, self.work_key = problem, unmatched, work_key
        self.about, self.verbatim = about, verbatim
        self.repeated: bytes | None = None  # the body that its event id came with first
        self.reviewed = False  # a person was asked about it before

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, when that is known."""
        return self.about if self.command is None else self.command.transaction_id

    @property
    def unique(self) -> Hashable:
        """Its event id: in a batch once."""
        return (self.callback.gateway, self.callback.event_id)


class CallbackReport(AboutWork):
    """A stored callback whose turn has come again. ``command``: its transaction has been found, in this stream."""

    __slots__ = ("command", "crashes", "event_ids", "fenced", "in_doubt", "item", "reviewed")

    def __init__(self, item: WorkItem, command: RecordCallback | None) -> None:
        self.item, self.command = item, command
        self.event_ids: list[str] = []
        self.reviewed = self.in_doubt = self.fenced = False
        self.crashes = 0

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, when that is known."""
        return None if self.command is None else self.command.transaction_id


def add_callback(batch: Batch, request: CallbackRequest) -> None:
    """Decide on a callback that just came."""
    callback = request.callback
    claims: tuple[Claim, ...] = (callback.claim,)
    events: list[Event] = []
    work: tuple[WorkChange, ...] = ()
    repeated = request.repeated
    if repeated is not None and (request.reviewed or are_same_bodies(repeated, callback.body)):
        batch.entries.append(Entry(request, None, answer=Taken()))
        return
    if repeated is not None:
        claims, events = (), [_review(batch, request.transaction_id, _OTHER_BODY)]
    elif request.command is not None:
        events = _decided(batch, request.command, reviewed=request.reviewed)
        work = _closing(request.command, events)
    elif request.problem is not None:
        events = [] if request.reviewed else [_review(batch, request.about, request.problem)]
    else:
        assert request.unmatched is not None
        payload = _payload(request.unmatched, callback.said(request.verbatim, batch.now), request.metadata)
        work = (OpenWork(request.work_key, None, queue_of(callback.gateway), Action.APPLY, EVENT_TYPE, None, payload),)
    events = with_said(events, lambda: callback.said(request.verbatim, batch.now))
    recorded = batch.record(events, request.metadata, request.event_ids)
    claims += _review_claims(callback.gateway, callback.event_id, events, repeated=repeated is not None)
    batch.add_part(Part(events=recorded, claims=claims, work=work), request)
    batch.entries.append(Entry(request, None, answer=Taken()))


def add_stored_callback(batch: Batch, report: CallbackReport) -> None:
    """Decide on a stored callback: apply it if its transaction is known by now, ask a person after an hour."""
    item = report.item
    stored = read_payload(item)
    events: list[Event] = []
    work: tuple[WorkChange, ...] = (CloseWork(item.work_id),)
    if report.command is not None:
        events = _decided(batch, report.command, reviewed=report.reviewed)
        work += _closing(report.command, events)
    elif batch.now < stored.waits_until:
        work = (_later(item),)
    elif not report.reviewed:
        events = [_review(batch, None, _UNKNOWN)]
    events = with_said(events, lambda: stored.said)
    recorded = batch.record(events, stored.metadata, report.event_ids)
    claims = _review_claims(gateway_of(item.gateway), stored.event_id, events, repeated=False)
    batch.add_part(Part(events=recorded, claims=claims, fence=Fence(item.work_id, item.token), work=work), report)
    batch.entries.append(Entry(report, None))


def later(item: WorkItem) -> MoveWork:
    """The work of a callback that could not be looked at now."""
    return replace(_later(item), attempts=item.attempts)


class Stored(NamedTuple):
    """What the work of an unmatched callback carries; ``command.transaction_id`` is what the gateway called it."""

    event_id: str
    command: RecordCallback
    said: Said
    metadata: Metadata

    @property
    def waits_until(self) -> datetime:
        """The time at which it becomes a review."""
        return self.said.at + MATCHED_WITHIN


def read_payload(item: WorkItem) -> Stored:
    """See Stored. Raises CorruptStoreError."""
    try:
        raw = orjson.loads(item.payload or b"")
        outcome: Approved | Declined = Approved(raw["gateway_reference"], final=True)
        if not raw["completed"]:
            outcome = Declined(raw["code"], None, raw["message"])
        money = Money(raw["minor"], raw["currency"])
        command = RecordCallback(raw["reference"], gateway_of(item.gateway), raw["gateway_reference"], money, outcome)
        metadata = Metadata(raw["correlation_id"], raw["causation_id"])
        said = said_in(raw["said"]) if "said" in raw else _said_before(raw, command)
        return Stored(raw["event_id"], command, said, metadata)
    except (ValueError, KeyError, TypeError, AttributeError, MoneyError) as error:
        raise CorruptStoreError(f"the payload of {item.work_id!r} cannot be read: {error!r}") from error


def _said_before(raw: Mapping[str, Any], command: RecordCallback) -> Said:
    """The content of a callback that an earlier version of the service stored, which kept less of it."""
    return Said(
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


def _payload(command: RecordCallback, said: Said, metadata: Metadata) -> bytes:
    outcome = command.outcome
    return orjson.dumps(
        {
            "said": said_data(said),
            "event_id": said.event_id,
            "reference": command.transaction_id,
            "gateway_reference": command.reference,
            "minor": command.money.minor,
            "currency": command.money.currency,
            "completed": isinstance(outcome, Approved),
            "code": outcome.code if isinstance(outcome, Declined) else None,
            "message": outcome.message if isinstance(outcome, Declined) else None,
            "received_at": timestamp(said.at),
            "correlation_id": metadata.correlation_id,
            "causation_id": metadata.causation_id,
        }
    )


def _later(item: WorkItem) -> MoveWork:
    delay_s = MATCH_AFTER_S[min(item.attempts, len(MATCH_AFTER_S) - 1)]
    return MoveWork(
        item.work_id, Action.APPLY, WorkState.QUEUED, delay_s, item.attempts + 1, item.errors, item.certainty
    )


def _decided(batch: Batch, command: RecordCallback, *, reviewed: bool) -> list[Event]:
    batch.known(command.transaction_id)
    decision = decide(batch.account, command)
    assert not isinstance(decision, Refused)  # what happened cannot be refused
    return [event for event in decision if not (reviewed and isinstance(event, ReviewOpened))]


def _closing(command: RecordCallback, events: list[Event]) -> tuple[WorkChange, ...]:
    """The transaction has its end: its work is over, and the late answer of whoever has it is fenced off."""
    ends = any(not isinstance(event, ReviewOpened) for event in events)
    return (CloseWork(command.transaction_id),) if ends else ()


def _review(batch: Batch, transaction_id: str | None, reason: str) -> ReviewOpened:
    if transaction_id is not None:
        return review_of(batch.account, batch.known(transaction_id), reason)
    # The version is taken once in a stream, and so is an id that is made of it.
    return ReviewOpened(f"{batch.stream.id}.{batch.account.version + 1}", None, reason)


def _review_claims(gateway: str, event_id: str, events: list[Event], *, repeated: bool) -> tuple[Claim, ...]:
    """One review for each event id, and one more when that came with different bodies."""
    scope = _REVIEW_AGAIN if repeated else REVIEW_SCOPE
    key = f"callback:{gateway}:{event_id}"
    return tuple(Claim(scope, key, event.review_id.encode()) for event in events if isinstance(event, ReviewOpened))
