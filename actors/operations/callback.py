"""Callback: store what a gateway reports of its own accord and apply it in one commit, once for each event id.

A callback about an unknown transaction is stored as work, matched again later, and reviewed after an hour. A callback
that cannot be applied is reviewed.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.operation import Batch
from actors.customer.restored import Standing
from actors.customer.work_operation import WorkOperation
from actors.operations.leases import release
from actors.operations.related_work import announce, expiry_of, parents_work, work_after
from actors.operations.reviews import REVIEW_SCOPE, with_report, without_reviews
from actors.operations.waiting_callbacks import (
    EVENT_TYPE,
    gateway_of,
    payload_of,
    queue_of,
    read_payload,
    stream_of_gateway,
    wait_longer,
)
from actors.replies import NotStored, SignatureInvalid, Taken
from actors.runtime.runtime import Runtime
from domain.commands import RecordCallback
from domain.decisions import review_of
from domain.events import Event, ReviewOpened
from domain.gateway_report import GatewayReport, Source, storable_body
from domain.outcomes import Authorization
from domain.references import are_same_bodies
from gateways.port import Gateway, Notice, RawMembers, SignatureInvalidError, UnusablePayload
from store.codec import Metadata
from store.errors import StoreError
from store.port import Action, Claim, CloseWork, Fence, Lease, OpenWork, Part, Store, StreamKey, WorkChange, WorkItem

logger: Final = logging.getLogger(__name__)

_REVIEW_AGAIN: Final = "review-again"
_REVIEW_SCOPES: Final = frozenset({REVIEW_SCOPE, _REVIEW_AGAIN})
_UNKNOWN: Final = "A callback names a transaction that is not on record."
_OTHER_BODY: Final = "A callback came again under its event id with another body."
_NO_MEMBERS: Final = RawMembers()


class Callback(NamedTuple):
    """A verified notice of a callback, identified by ``event_id``. ``body``: see ``gateways.port.Notice``."""

    gateway: str
    event_id: str
    body: bytes

    def __repr__(self) -> str:
        """Without the body, which must not be logged."""
        return f"Callback({self.gateway!r}, {self.event_id!r})"

    @property
    def claim(self) -> Claim:
        """The claim that prevents a second application."""
        return Claim(f"callback:{self.gateway}", self.event_id, self.body)

    def report(self, raw: RawMembers, at: datetime) -> GatewayReport:
        """The callback's content for operators. ``raw`` has no card numbers."""
        reference, gateway_reference, status, amount, currency = raw
        return GatewayReport(
            source=Source.CALLBACK,
            gateway=self.gateway,
            at=at,
            event_id=self.event_id,
            reference=reference,
            gateway_reference=gateway_reference,
            status=status,
            amount=amount,
            currency=currency,
            body=storable_body(self.body),
            body_bytes=len(self.body),
        )


def verify_callback(
    gateway: Gateway, headers: Mapping[str, str], body: bytes, now: datetime
) -> Sequence[Notice] | SignatureInvalid:
    """Verify a callback, and parse its notices; ``headers`` by names in lower case."""
    callbacks = gateway.callbacks
    if callbacks is None:
        return SignatureInvalid()
    try:
        return callbacks.read(headers, body, now)
    except SignatureInvalidError as error:
        logger.warning("a callback is not verified: %s", error, extra={"fields": {"gateway": gateway.name}})
        return SignatureInvalid()


def operations_of(
    gateway: str, notices: Sequence[Notice], metadata: Metadata, *, store: Store, runtime: Runtime
) -> Sequence[tuple[StreamKey, CallbackOperation]] | NotStored:
    """The operations that apply verified ``notices``, with the streams that they belong to."""
    try:
        return [_operation(gateway, each, metadata, store, runtime) for each in notices]
    except StoreError as error:
        logger.warning("a callback was not stored: %s", error, extra={"fields": {"gateway": gateway}})
        return NotStored("The store is not available.")


def _operation(
    gateway: str, notice: Notice, metadata: Metadata, store: Store, runtime: Runtime
) -> tuple[StreamKey, CallbackOperation]:
    """The operation that applies ``notice``, and the stream that it belongs to. Raises StoreError."""
    payload = notice.payload
    callback = Callback(gateway, notice.event_id, notice.body)
    metadata = replace(metadata, causation_id=f"{gateway}:{notice.event_id}")
    operation = partial(CallbackOperation, callback, metadata, raw=payload.raw)
    unmatched = stream_of_gateway(gateway)
    if isinstance(payload, UnusablePayload):
        owner = None if payload.reference is None else _owner_at(gateway, payload.reference, store)
        about = None if owner is None else payload.reference
        return owner or unmatched, operation(problem=f"A callback cannot be read: {payload.problem}", about=about)
    command = RecordCallback(payload.reference, gateway, payload.gateway_reference, payload.money, payload.outcome)
    stream = store.stream_of(payload.reference)
    if stream is not None:
        return stream, operation(command=command)
    return unmatched, operation(unmatched=command, work_key=f"callback:{runtime.new_id()}")


def _owner_at(gateway: str, reference: str, store: Store) -> StreamKey | None:
    """The stream of the transaction if that is at this gateway, else None. Raises StoreError."""
    stream = store.stream_of(reference)
    if stream is None:
        return None
    known = store.load(stream, (reference,)).account.transactions.get(reference)
    return None if known is None or known.gateway != gateway else stream


class CallbackOperation(CommandOperation):
    """A new callback, to be stored and applied.

    ``command``: its meaning for a transaction of this stream. Without one, ``problem`` is the reason why it cannot be
    applied, or ``unmatched`` is its meaning for an unknown transaction. ``about``: the transaction of this stream that
    a callback with a ``problem`` names. ``raw``: its members as received, for operators.
    """

    __slots__ = (
        "about",
        "callback",
        "changes",
        "command",
        "held_body",
        "problem",
        "raw",
        "reviewed",
        "unmatched",
        "work_key",
    )

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
        raw: RawMembers = _NO_MEMBERS,
    ) -> None:
        super().__init__(metadata)
        self.callback = callback
        self.command: RecordCallback | None = command
        self.problem, self.unmatched, self.work_key = problem, unmatched, work_key
        self.about, self.raw = about, raw
        self.held_body: bytes | None = None  # the body under which its event id is on record
        self.reviewed = False  # a review of it was opened before
        self.changes: tuple[WorkChange, ...] = ()  # of the work of the transaction and its parent

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, if that is on record."""
        return self.about if self.command is None else self.command.transaction_id

    @property
    def unique(self) -> Hashable:
        """Its event id: in a batch once."""
        return (self.callback.gateway, self.callback.event_id)

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Record what it changes, open a review, or store it as work that waits for its transaction."""
        callback, held_body = self.callback, self.held_body
        self.answer, self.changes = Taken(), ()
        batch.on_commit(self)
        if held_body is not None and (self.reviewed or are_same_bodies(held_body, callback.body)):
            return
        claims: tuple[Claim, ...] = (callback.claim,)
        events: list[Event] = []
        work: tuple[WorkChange, ...] = ()
        if held_body is not None:
            claims, events = (), [_review(batch, self.transaction_id, _OTHER_BODY)]
        elif self.command is not None:
            events = _decided(batch, self.command, context, reviewed=self.reviewed)
        elif self.problem is not None:
            events = [] if self.reviewed else [_review(batch, self.about, self.problem)]
        else:
            work = (self._waiting_work(batch.now),)
        events = with_report(events, lambda: callback.report(self.raw, batch.now))
        recorded = batch.record(events, self.metadata, self.event_ids)
        if self.command is not None:
            self.changes = _work_after(batch, self.command, events, context)
        claims += _review_claims(callback.gateway, callback.event_id, events, again=held_body is not None)
        batch.add_part(Part(events=recorded, claims=claims, work=work + self.changes), self)

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:
        """Pass on moved work, then answer."""
        announce(self.changes, self.callback.gateway, context)
        super().after_commit(batch, context)

    def _waiting_work(self, now: datetime) -> OpenWork:
        assert self.unmatched is not None
        queue = queue_of(self.callback.gateway)
        payload = payload_of(self.unmatched, self.callback.report(self.raw, now), self.metadata)
        return OpenWork(self.work_key, None, queue, Action.APPLY, EVENT_TYPE, None, payload)

    def replayed(self, held: Claim) -> bool:
        """See Operation: it is on record, or a review of it is."""
        if held.scope in _REVIEW_SCOPES:
            self.reviewed = True
        else:
            self.held_body = held.value
        return False


class StoredCallbackOperation(WorkOperation):
    """A stored callback that is matched again. ``command``: its transaction has been found, in this stream."""

    __slots__ = ("changes", "command", "reviewed")

    def __init__(self, item: WorkItem, command: RecordCallback | None) -> None:
        super().__init__(item)
        self.command = command
        self.reviewed = False  # a review of it was opened before
        self.changes: tuple[WorkChange, ...] = ()  # of the work of the transaction and its parent

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, once that is found."""
        return None if self.command is None else self.command.transaction_id

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Apply it if its transaction is found; open a review after an hour; else let it wait longer."""
        item = self.item
        stored = read_payload(item)
        self.changes = ()
        events: list[Event] = []
        work: tuple[WorkChange, ...] = (CloseWork(item.work_id),)
        if self.command is not None:
            events = _decided(batch, self.command, context, reviewed=self.reviewed)
        elif batch.now < stored.waits_until:
            work = (wait_longer(item, item.attempts + 1),)
        elif not self.reviewed:
            events = [_review(batch, None, _UNKNOWN)]
        events = with_report(events, lambda: stored.report)
        recorded = batch.record(events, stored.metadata, self.event_ids)
        if self.command is not None:
            self.changes = _work_after(batch, self.command, events, context)
            work += self.changes
        claims = _review_claims(gateway_of(item.gateway), stored.event_id, events, again=False)
        batch.add_part(Part(events=recorded, claims=claims, fence=Fence(item.work_id, item.token), work=work), self)
        batch.on_commit(self)

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:  # noqa: ARG002
        """Pass on moved work."""
        announce(self.changes, gateway_of(self.item.gateway), context)

    def replayed(self, held: Claim) -> bool:  # noqa: ARG002
        """See Operation: the review is open already."""
        self.reviewed = True
        return False

    def with_standing(self, standing: Standing, lease: Lease | None, context: CustomerContext) -> bool:  # noqa: ARG002
        """See WorkOperation."""
        if standing is Standing.GONE:
            return self.transaction_lost()
        if standing.reissued and lease is not None:
            self.item = replace(self.item, token=lease.token)
            return True
        logger.warning("another process has the work", extra={"fields": self.fields})
        return False

    def transaction_lost(self) -> bool:
        """See WorkOperation."""
        self.command = None  # it is matched again later
        return True

    def poisoned(self, stream: StreamKey, context: CustomerContext) -> None:
        """See Operation: match it again later."""
        release(stream, self.item, wait_longer(self.item, self.item.attempts), context)


def _decided(batch: Batch, command: RecordCallback, context: CustomerContext, *, reviewed: bool) -> list[Event]:
    known = batch.known(command.transaction_id)
    if isinstance(command.outcome, Authorization):
        command = replace(command, expires_at=expiry_of(known.gateway, batch.now, context))
    decision = batch.decided(command)
    return without_reviews(decision) if reviewed else [*decision]


def _work_after(
    batch: Batch, command: RecordCallback, events: list[Event], context: CustomerContext
) -> tuple[WorkChange, ...]:
    """The work of an advanced transaction and of its parent. Its new token fences off the late answer of its owner."""
    if all(isinstance(event, ReviewOpened) for event in events):
        return ()
    transaction = batch.known(command.transaction_id)
    own = work_after(transaction, context.policies.get(transaction.gateway), batch.now)
    return (own, *parents_work(batch, command.transaction_id, events))


def _review(batch: Batch, transaction_id: str | None, reason: str) -> ReviewOpened:
    if transaction_id is not None:
        return review_of(batch.account, batch.known(transaction_id), reason)
    # A version is unique in its stream, and so is an id made of it.
    return ReviewOpened(f"{batch.stream.id}.{batch.account.version + 1}", None, reason)


def _review_claims(gateway: str, event_id: str, events: list[Event], *, again: bool) -> tuple[Claim, ...]:
    """One review for each event id, and one more when the id came with different bodies."""
    scope = _REVIEW_AGAIN if again else REVIEW_SCOPE
    key = f"callback:{gateway}:{event_id}"
    return tuple(Claim(scope, key, event.review_id.encode()) for event in events if isinstance(event, ReviewOpened))
