"""The review rows that follow from events. Pure: the builders of a Write and ``store.folding`` use it.

Transactions and balances need no projection here: ``domain.state_machine.evolve`` makes them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from domain.account import IllegalTransitionError
from domain.events import Recorded, ReviewClosed, ReviewOpened
from store.port import Review

OPEN: Final = "open"
CLOSED: Final = "closed"


def project_review(before: Review | None, recorded: Recorded) -> Review | None:
    """The row of the review after ``recorded``, or None when the event concerns no review.

    ``before`` is the row of that review before it. Raises IllegalTransitionError when the event does not follow: a
    review is opened once and closed once.
    """
    event = recorded.event
    if isinstance(event, ReviewOpened):
        if before is not None:
            raise IllegalTransitionError(f"review {event.review_id} opened twice")
        about = (event.review_id, event.transaction_id, event.reason)
        return Review(*about, OPEN, recorded.occurred_at, None, event.said, event.expected)
    if isinstance(event, ReviewClosed):
        if before is None or before.state != OPEN:
            raise IllegalTransitionError(f"review {event.review_id} closed, but it is not open")
        return replace(before, state=CLOSED, closed_at=recorded.occurred_at)
    return None
