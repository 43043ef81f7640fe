"""Close a review, on an operator's command."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.operation import Batch
from actors.replies import Closed
from domain.account import Refused
from domain.commands import CloseReview
from domain.state_machine import decide
from store.codec import Metadata
from store.port import Claim, Part, Review

_SCOPE: Final = "review-closed"


class CloseReviewOperation(CommandOperation):
    """Close ``review``, once. If it is closed already, a commit confirms that."""

    __slots__ = ("command", "review", "stored")

    def __init__(self, command: CloseReview, review: Review, metadata: Metadata) -> None:
        super().__init__(metadata)
        self.command: CloseReview = command
        self.review = review
        self.stored = review.state == "closed"  # by an earlier write of this operation, or by another one

    @property
    def unique(self) -> Hashable:
        """The review: in a batch once."""
        return ("review", self.command.review_id)

    def decide(self, batch: Batch, context: CustomerContext) -> None:  # noqa: ARG002
        """Record that the review is closed."""
        review_id = self.command.review_id
        if not self.stored:
            decision = decide(batch.account, self.command)
            assert not isinstance(decision, Refused)
            events = batch.record(decision, self.metadata, self.event_ids, before=self.review)
            batch.add_part(Part(events=events, claims=(Claim(_SCOPE, review_id, b""),)), self)
        self.answer = Closed(review_id)
        batch.on_commit(self)

    def replayed(self, held: Claim) -> bool:
        """See Operation."""
        if held.scope != _SCOPE:
            return super().replayed(held)
        self.stored = True
        return False
