"""What people order about a customer or a transaction: requests like commands, recorded with who, why and on what.

Each is decided in a batch with everything else of the customer, and carried out once however often its write is tried.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Self

from actors.customer.batch import Batch, Entry, Refusal
from actors.customer.idempotency import IdempotencyKey, claim_of
from actors.messages import Request
from actors.replies import Adjusted, Closed
from domain.account import Refused, Status, decide
from domain.commands import Adjust, CloseReview, Resolve
from store.codec import Metadata
from store.port import Action, Claim, CloseWork, Fence, Part, Review, WorkItem, WorkState
from store.queries import DeadLetter

_ADJUSTMENT = "adjustment"
_REVIEW_CLOSED = "review-closed"


class ResolveRequest(Request):
    """A person says how a transaction ended. ``item`` is its work as he saw it: nobody may have taken it up since.

    ``under_way``: a process has that in hand, to send it.
    """

    __slots__ = ("command", "item", "under_way")

    def __init__(self, command: Resolve, item: WorkItem | None, metadata: Metadata, *, under_way: bool) -> None:
        super().__init__(metadata)
        self.command: Resolve = command
        self.item, self.under_way = item, under_way

    @classmethod
    def on(cls, work: DeadLetter | None, command: Resolve, metadata: Metadata) -> Self:
        """The request for a transaction with this ``work``. Without work it has its end, or is about to have it."""
        under_way = work is None or (work.item.action is Action.SUBMIT and work.state is WorkState.LEASED)
        return cls(command, None if work is None else work.item, metadata, under_way=under_way)

    @property
    def transaction_id(self) -> str:
        """The transaction that it is about."""
        return self.command.transaction_id

    @property
    def work_id(self) -> str | None:
        """The transaction's."""
        return None if self.item is None else self.item.work_id


class AdjustRequest(Request):
    """A person corrects a balance."""

    __slots__ = ("command", "stored")

    def __init__(self, command: Adjust, metadata: Metadata, once: IdempotencyKey | None = None) -> None:
        super().__init__(metadata, once)
        self.command: Adjust = command
        self.stored = False  # an earlier write of it is

    @property
    def own_id(self) -> str:
        """The adjustment's id."""
        return self.command.adjustment_id

    def may_be_stored(self, version: int) -> bool:  # noqa: ARG002  # no row shows it, only its claim does
        """See Request."""
        return self.in_doubt


class CloseReviewRequest(Request):
    """Close ``review``. If it is closed already, a commit confirms that."""

    __slots__ = ("command", "review", "stored")

    def __init__(self, command: CloseReview, review: Review, metadata: Metadata) -> None:
        super().__init__(metadata)
        self.command: CloseReview = command
        self.review = review
        self.stored = review.state == "closed"  # by an earlier write of this request, or by another one

    @property
    def unique(self) -> Hashable:
        """The review: in a batch once."""
        return ("review", self.command.review_id)


def add_resolution(batch: Batch, request: ResolveRequest) -> None:
    """Decide on a person's word about a transaction. Its work is closed, so that no late answer is recorded."""
    command, item = request.command, request.item
    known = batch.known(command.transaction_id)
    wanted = Status.COMPLETED if command.completed else Status.FAILED
    if request.in_doubt and known.status is wanted:  # an earlier write of it was stored, for all that can be told
        batch.entries.append(Entry(request, known))
        return
    decision = decide(batch.account, command)
    if not isinstance(decision, Refused) and request.under_way:
        detail = "It is on its way to its gateway just now. Look again in a while."
        decision = Refused("still-under-way", detail)
    if isinstance(decision, Refused):
        batch.refusals.append(Refusal(request, decision))
        return
    events = batch.record(decision, request.metadata, request.event_ids)
    fence = None if item is None else Fence(item.work_id, item.token)
    work = (CloseWork(command.transaction_id if item is None else item.work_id),)
    batch.add_part(Part(events=events, fence=fence, work=work), request)
    batch.entries.append(Entry(request, batch.account.transactions[command.transaction_id]))


def add_adjustment(batch: Batch, request: AdjustRequest) -> None:
    """Decide on a correction; refused for a customer of whom nothing is on record, whose name must be a mistake."""
    command = request.command
    if not request.stored:
        decision = decide(batch.account, command)
        if batch.account.version == 0:
            decision = Refused("no-such-customer", "Nothing is on record of this customer.")
        if isinstance(decision, Refused):
            batch.refusals.append(Refusal(request, decision))
            return
        own = Claim(_ADJUSTMENT, command.adjustment_id, b"")
        claims = (own,) if request.once is None else (own, claim_of(request.once, command.adjustment_id))
        events = batch.record(decision, request.metadata, request.event_ids)
        batch.add_part(Part(events=events, claims=claims), request)
        batch.touch(command.money.currency)
    batch.entries.append(Entry(request, None, answer=Adjusted(command.adjustment_id, batch.account)))


def add_closing(batch: Batch, request: CloseReviewRequest) -> None:
    """Close a review, once."""
    review_id = request.command.review_id
    if not request.stored:
        decision = decide(batch.account, request.command)
        assert not isinstance(decision, Refused)
        events = batch.record(decision, request.metadata, request.event_ids, before=request.review)
        batch.add_part(Part(events=events, claims=(Claim(_REVIEW_CLOSED, review_id, b""),)), request)
    batch.entries.append(Entry(request, None, answer=Closed(review_id)))


def is_own(held: Claim) -> bool:
    """Whether a claim that was held shows that the order was carried out before."""
    return held.scope in {_ADJUSTMENT, _REVIEW_CLOSED}
