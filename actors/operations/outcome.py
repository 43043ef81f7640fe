"""Outcome: record the result of a call to a gateway, and decide the next step of the work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from actors.customer.context import CustomerContext
from actors.customer.operation import Batch
from actors.customer.restored import Standing
from actors.customer.work_operation import WorkOperation
from actors.gateways.retry_policy import RetryPolicy, next_step, ran_a_day
from actors.messages import CallResult
from actors.operations.leases import announce_move, give_back, metadata_of
from actors.operations.related_work import announce, expiry_of, parents_work
from actors.operations.reviews import review_claims, with_report, without_reviews
from domain.commands import OpenReview, RecordOutcome
from domain.events import Event, ReviewOpened
from domain.gateway_report import GatewayReport, Source, storable_text
from domain.outcomes import Approved, Authorization, Declined, NotReceived, Unknown
from store.port import Action, Claim, Fence, Lease, MoveWork, Part, StreamKey, WorkChange, WorkItem

logger: Final = logging.getLogger(__name__)

_NOT_SETTLED: Final = "A day of lookups has not told what became of it."
"""Part of a stored claim (``review_claims``), like the reasons in the domain: another text opens each review again."""
_EVIDENCE: Final = (Approved, Authorization, Declined, Unknown)
"""Results that are evidence about the transaction."""


class OutcomeOperation(WorkOperation):
    """The ``result`` of a call for ``item``, which began at ``asked_at`` on the monotonic clock (None: no call)."""

    __slots__ = ("asked_at", "gone", "move", "others", "result", "reviewed", "stale")

    def __init__(self, item: WorkItem, result: CallResult, asked_at: float | None = None) -> None:
        super().__init__(item)
        self.result = result
        self.asked_at = asked_at
        self.move: MoveWork | None = None
        self.others: tuple[WorkChange, ...] = ()  # what becomes of the work of its transaction's parent
        self.stale = False  # another owner has the work already: the result is evidence only
        self.gone = False  # its transaction is no longer on record: the result becomes a review
        self.reviewed = False  # a review of it was opened before

    @property
    def fields(self) -> dict[str, str | None]:
        """See Operation."""
        return {**super().fields, "result": type(self.result).__name__}

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Record what the result adds. A stale one changes nothing, but a contradiction of the record is reviewed."""
        self.move, self.others = None, ()
        if self.gone:
            self._record_evidence(
                batch, with_report(self._lost_record(batch), lambda: _gateway_report(self, batch.now))
            )
        else:
            policy, chance = context.policies[self.item.gateway], context.runtime.random()
            left_s = self._settlement_left_s(policy, context)
            decision = self._decision(batch, left_s, context)
            if self.stale:
                self._record_evidence(batch, [event for event in decision if isinstance(event, ReviewOpened)])
            else:
                self._record(batch, decision, policy, chance, left_s)
        batch.on_commit(self)

    def _record(
        self, batch: Batch, decision: Sequence[Event], policy: RetryPolicy, chance: float, left_s: float
    ) -> None:
        item = self.item
        events = batch.record(decision, metadata_of(item), self.event_ids)
        status, held_s = None, 0.0
        if item.transaction is not None:
            # Not held when the result led to no decision. Then the item's own copy is used.
            known = batch.account.transactions.get(item.transaction.transaction_id, item.transaction)
            status = known.status
            if known.authorization_expires_at is not None:
                held_s = (known.authorization_expires_at - batch.now).total_seconds()
            if events:
                self.others = parents_work(batch, known.transaction_id, decision)
        change = next_step(
            item,
            self.result,
            policy,
            now=batch.now,
            chance=chance,
            status=status,
            settlement_left_s=left_s,
            held_s=held_s,
        )
        # A plan made in this batch is newer than the call, so it stays. One of an earlier batch has renewed the token.
        replanned = isinstance(change, MoveWork) and batch.replans(item.work_id)
        fence, work = Fence(item.work_id, item.token), self.others if replanned else (change, *self.others)
        batch.add_part(Part(events=events, claims=review_claims(decision), fence=fence, work=work), self)
        self.move = change if isinstance(change, MoveWork) and not replanned else None

    def _record_evidence(self, batch: Batch, evidence: Sequence[Event]) -> None:
        events = batch.record(evidence, metadata_of(self.item), self.event_ids)
        if events:
            batch.add_part(Part(events=events, claims=review_claims(evidence)), self)

    def _decision(self, batch: Batch, left_s: float, context: CustomerContext) -> Sequence[Event]:
        """The events that the result adds to the record."""
        item, transaction, result = self.item, self.item.transaction, self.result
        if transaction is None:
            return ()
        decision: Sequence[Event] = ()
        if isinstance(result, _EVIDENCE):
            held = isinstance(result, Authorization)
            expires_at = expiry_of(transaction.gateway, batch.now, context) if held else None
            decision = batch.decided(RecordOutcome(transaction.transaction_id, result, expires_at))
        status = batch.account.transactions.get(transaction.transaction_id, transaction).status
        if not self.stale and ran_a_day(item, result, batch.now, status=status, settlement_left_s=left_s):
            decision = [*decision, *batch.decided(OpenReview(transaction.transaction_id, _NOT_SETTLED))]
        decision = with_report(decision, lambda: _gateway_report(self, batch.now))
        return without_reviews(decision) if self.reviewed else decision

    def _lost_record(self, batch: Batch) -> list[Event]:
        """A review of a transaction that is no longer on record; none if there is one already."""
        transaction, result = self.item.transaction, self.result
        if self.reviewed or transaction is None:
            return []
        match result:
            case Approved(reference=reference, final=final):
                said = f"was {'carried out' if final else 'accepted'} under the reference {reference}"
            case Authorization(reference=reference):
                said = f"was authorized under the reference {reference}"
            case Declined(code=code):
                said = f"was declined ({code})"
            case _:
                said = "may have been carried out: no answer came"
        money = transaction.money
        reason = (
            f"The store was restored to an earlier state, and a {transaction.kind} of {money.text} {money.currency} by"
            f" {transaction.gateway} is not on record. It {said}."
        )
        review_id = f"{transaction.transaction_id}.{batch.account.version + 1}"
        return [ReviewOpened(review_id, transaction.transaction_id, reason)]

    def _settlement_left_s(self, policy: RetryPolicy, context: CustomerContext) -> float:
        """How long a provider without keys may still receive what it reports as never received."""
        if policy.honours_keys(self.item) or not isinstance(self.result, Unknown | NotReceived):
            return 0.0
        # This process's own sender has ended its attempt. Any other sender may have a permit that has just begun.
        # The process that this one took the work over from may have taken it over itself, from that sender.
        own = self.item.action is Action.SUBMIT and self.asked_at is not None
        sent_within_s = 0.0 if own else policy.permit_s
        settle_s = policy.settles_after_s(self.item)
        return context.settlement.left_s(self.item, settle_s, self.asked_at, sent_within_s=sent_within_s)

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:  # noqa: ARG002
        """Pass on work that is to be done again."""
        announce(self.others, self.item.gateway, context)
        if not self.stale and (self.move is None or self.move.action is Action.SUBMIT):
            context.settlement.forget(self.item.work_id)
        announce_move(self.item, self.move, context)

    def replayed(self, held: Claim) -> bool:  # noqa: ARG002
        """See Operation: the review is open already."""
        self.reviewed = True
        return False

    def with_standing(self, standing: Standing, lease: Lease | None, context: CustomerContext) -> bool:
        """See WorkOperation."""
        if standing is Standing.GONE:
            return self.transaction_lost()
        if standing.reissued and lease is not None:
            if not isinstance(self.result, _EVIDENCE):
                return False  # it adds nothing to the record: its work is given back as sent
            self.item = replace(self.item, token=lease.token)
            return True
        logger.warning("a stale owner's report is kept as evidence only", extra={"fields": self.fields})
        self.stale = True
        if isinstance(self.result, Approved | Authorization):
            context.settlement.accepted(self.item.work_id)
        return True

    def transaction_lost(self) -> bool:
        """See WorkOperation."""
        if self.gone or not isinstance(self.result, _EVIDENCE):
            return False
        self.gone, self.event_ids = True, []
        return True

    def simplify(self) -> bool:
        """See Operation: the work continues with an unknown outcome, which has no content that could fail."""
        self.result, self.event_ids = Unknown("the gateway's answer cannot be recorded"), []
        return True

    def poisoned(self, stream: StreamKey, context: CustomerContext) -> None:
        """See Operation."""
        give_back(stream, self.item, context)


def _gateway_report(operation: OutcomeOperation, at: datetime) -> GatewayReport:
    """What the gateway answered to a call, for operators."""
    item, result = operation.item, operation.result
    source = Source.LOOKUP if item.action is Action.RESOLVE else Source.ANSWER
    report = GatewayReport(source, item.gateway, at, reference=item.work_id)
    match result:
        case Approved(reference=reference, final=final):
            return replace(
                report, gateway_reference=storable_text(reference), status="completed" if final else "processed"
            )
        case Authorization(reference=reference):
            return replace(report, gateway_reference=storable_text(reference), status="authorized")
        case Declined(code=code, message=message, reference=reference):
            known = None if reference is None else storable_text(reference)
            return replace(
                report,
                gateway_reference=known,
                status="failed",
                code=storable_text(code),
                message=storable_text(message),
            )
        case NotReceived():
            return replace(report, message="The gateway says that it never received it.")
        case _:
            return replace(report, message=storable_text(result.reason))
