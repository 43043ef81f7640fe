"""Review rows follow from events only."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.account import IllegalTransitionError
from domain.events import Completed, Kind, Recorded, ReviewClosed, ReviewOpened
from store.port import Review
from store.projection import project_review
from tests.store.builders import START

OPENED = Recorded(4, START, ReviewOpened("r1", "t1", "odd"))
CLOSED = Recorded(7, START + timedelta(hours=1), ReviewClosed("r1", "looked"))
OPEN_ROW = Review("r1", "t1", "odd", "open", START, None)
CLOSED_ROW = Review("r1", "t1", "odd", "closed", START, START + timedelta(hours=1))


def test_a_review_is_opened_and_closed() -> None:
    """The row keeps the reason and the time of its opening, and gets the time of its closing."""
    assert project_review(None, OPENED) == OPEN_ROW
    assert project_review(OPEN_ROW, CLOSED) == CLOSED_ROW


def test_other_events_have_no_review() -> None:
    """An event that does not concern a review has no row."""
    assert project_review(None, Recorded(1, START, Completed(Kind.DEPOSIT, "t1"))) is None


@pytest.mark.parametrize(
    ("before", "recorded"), [(OPEN_ROW, OPENED), (CLOSED_ROW, OPENED), (None, CLOSED), (CLOSED_ROW, CLOSED)]
)
def test_a_review_is_opened_once_and_closed_once(before: Review | None, recorded: Recorded) -> None:
    """A review is opened once and closed once. Any other order is an error of the record."""
    with pytest.raises(IllegalTransitionError):
        project_review(before, recorded)
