"""Submission: record that work is about to be sent to a gateway without idempotency keys, then permit the sending."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from actors.customer.context import CustomerContext
from actors.customer.operation import Batch, Operation
from actors.customer.restored import Standing
from actors.customer.work_operation import WorkOperation
from actors.gateways.breaker import Permit
from actors.messages import NotSent, SubmissionRecorded
from actors.operations.leases import announce_move, give_back, metadata_of
from domain.account import Status
from domain.commands import RecordSubmission
from store.port import (
    Action,
    CloseWork,
    DeliveryCertainty,
    Fence,
    Lease,
    MoveWork,
    Part,
    StreamKey,
    WorkItem,
    WorkState,
)

logger: Final = logging.getLogger(__name__)


class SubmissionOperation(WorkOperation):
    """``item`` is about to be sent under ``permit``. The supervisor gets one SubmissionRecorded, whatever happens."""

    survives_defects = False
    __slots__ = ("announced", "move", "permit", "sendable")

    def __init__(self, item: WorkItem, permit: Permit) -> None:
        super().__init__(item)
        self.permit = permit
        self.sendable: WorkItem | None = None  # what may be sent once the batch is stored, if anything
        self.move: MoveWork | None = None
        self.announced = False  # SubmissionRecorded was sent: the work may be on its way

    def arrived_twice(self, in_hand: Iterable[Operation], context: CustomerContext) -> bool:
        """Whether this same submission is in hand: its record could be confused with that of the first one."""
        item = self.item
        twice = any(
            isinstance(it, SubmissionOperation) and (it.item.work_id, it.item.token) == (item.work_id, item.token)
            for it in in_hand
        )
        if twice:
            self._announce(None, context)
        return twice

    def decide(self, batch: Batch, context: CustomerContext) -> None:  # noqa: ARG002
        """Record the submission, unless the transaction was settled otherwise or the attempt was recorded before."""
        item = self.item
        assert item.transaction is not None
        transaction_id = item.transaction.transaction_id
        known = batch.known(transaction_id)
        self.sendable = self.move = None
        # Counted as at the claim of this token: an account in memory may lack earlier submissions of other processes.
        attempt = item.transaction.submissions + 1
        after = replace(item, token=item.token + 1, certainty=DeliveryCertainty.SENT)
        # An earlier write of this operation was stored if the token is the one that it left: any other process that
        # submitted this attempt had to claim the work first. Without a write of its own it is a second delivery.
        written = known.submissions >= attempt and self.in_doubt
        fence = Fence(item.work_id, after.token if written else item.token)
        if known.status not in {Status.PENDING, Status.UNKNOWN}:  # it was settled otherwise: nothing is to be sent
            change = CloseWork(item.work_id) if known.status.terminal else _resolve_soon(item)
            batch.add_part(Part(fence=fence, work=(change,)), self)
            self.move = change if isinstance(change, MoveWork) else None
        elif known.submissions >= attempt:
            batch.confirms = True
            batch.add_part(Part(fence=fence), self)
            self.sendable = replace(after, transaction=known)
        else:
            decision = batch.decided(RecordSubmission(transaction_id, attempt))
            events = batch.record(decision, metadata_of(item), self.event_ids)
            batch.add_part(Part(events=events, fence=fence, work=(_leased_as_sent(item),)), self)
            self.sendable = replace(after, transaction=batch.account.transactions[transaction_id])
        batch.on_commit(self)

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:
        """Permit the sending, unless a later operation of the same batch ended its transaction."""
        known = batch.account.transactions.get(self.transaction_id or "")
        ended = known is not None and known.status.terminal
        self._announce(None if ended else self.sendable, context)
        announce_move(self.item, self.move, context)

    def _announce(self, sendable: WorkItem | None, context: CustomerContext) -> None:
        """Send the supervisor what it may send; None: nothing, and the slot is free."""
        if self.announced:
            return
        self.announced = True  # first: a second time could be a second payment
        try:
            context.supervisor.tell(SubmissionRecorded(self.item.gateway, self.permit, sendable))
        except BaseException:
            self.announced = False
            raise

    def with_standing(self, standing: Standing, lease: Lease | None, context: CustomerContext) -> bool:  # noqa: ARG002
        """See WorkOperation: nothing is sent on a stale token."""
        logger.warning("another process has the work", extra={"fields": self.fields})
        self._announce(None, context)
        return False

    def actor_died(self) -> bool:
        """See Operation. After the announcement nothing is left to do here."""
        return not self.announced and super().actor_died()

    def poisoned(self, stream: StreamKey, context: CustomerContext) -> None:
        """Free the slot, and give the work back as not sent."""
        # Its write may be stored, so the work has one of two tokens. The fence rejects the other one.
        for token in (self.item.token, self.item.token + 1):
            result = NotSent("that it is about to be sent cannot be recorded")
            give_back(stream, replace(self.item, token=token), context, result)
        self._announce(None, context)


def _leased_as_sent(item: WorkItem) -> MoveWork:
    """The work stays leased, and counts as sent."""
    sent = DeliveryCertainty.SENT
    return MoveWork(item.work_id, item.action, WorkState.LEASED, 0.0, item.attempts, item.errors, certainty=sent)


def _resolve_soon(item: WorkItem) -> MoveWork:
    """The gateway has it already: look it up soon."""
    return MoveWork(item.work_id, Action.RESOLVE, WorkState.QUEUED, 0.0, 0, item.errors, item.certainty)
