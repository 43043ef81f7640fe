"""A review is closed once, whether or not a write fails."""

from __future__ import annotations

import pytest

from actors.operations.close_review import CloseReviewOperation
from actors.replies import Closed, NotStored
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.operations.fixtures import (
    AWAY,
    UNCERTAIN,
    WHO,
    open_review,
)
from tests.actors.support import Trouble, TroubledStore, stream


@pytest.mark.parametrize("trouble", [None, AWAY, Trouble(UNCERTAIN, after=True), Trouble(UNCERTAIN, after=False)])
def test_a_review_is_closed_once(
    customers: Customers, store: TroubledStore, trouble: Trouble | Exception | None
) -> None:
    """Both callers get the same reply, and one event is stored, whether or not a write fails."""
    request = open_review(customers)
    again = CloseReviewOperation(request.command, request.review, WHO)
    again.deadline = request.deadline
    store.inject("append", trouble)
    for one in (request, again):
        customers.router.tell(stream("c1"), one)
    customers.run(DEADLINE_S - 1.0)
    assert customers.types().count("ReviewClosed") == 1
    for one in (request, again):
        assert answer(one) == Closed(request.command.review_id) or isinstance(answer(one), NotStored)
    assert answer(again) == Closed(request.command.review_id)
    view = customers.real.review("main", request.command.review_id)
    assert view is not None
    assert view.review.state == "closed"
