"""Contract of the lists of reviews and of all events: order, pages, and what a merchant sees."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.events import ReviewClosed, ReviewOpened
from store.backend import PaymentStore
from store.port import Committed, Review, StreamKey
from store.queries import ReviewKey, ReviewView
from store.verify import verify
from tests.store.builders import START, Customer, Step

COMMITTED = Committed()


def fill(store: PaymentStore) -> Customer:
    """Reviews z1 y2 x2 w3 of main's customers and a gateway, in seconds after START; x2 closed; another merchant's."""
    a, b, stranger = Customer("a"), Customer("b"), Customer("a", "other")
    gateway = Customer("gatewayA", "gateways")
    for customer, review_id, second in (
        (a, "z1", 1),
        (gateway, "y2", 2),
        (b, "x2", 2),
        (a, "w3", 3),
        (stranger, "s", 2),
    ):
        customer.now = START + timedelta(seconds=second)
        transaction_id = None if customer is gateway else f"t-{review_id}"
        writes = [] if transaction_id is None else [customer.deposit(transaction_id)]
        writes.append(customer.write(Step((ReviewOpened(review_id, transaction_id, f"odd {review_id}"),))))
        assert store.append(writes) == [COMMITTED] * len(writes)
    b.now = START + timedelta(hours=1)
    assert store.append([b.write(Step((ReviewClosed("x2", "looked"),)))]) == [COMMITTED]
    return b


def listed(store: PaymentStore, state: str | None = None, before: ReviewKey | None = None, limit: int = 100) -> str:
    """The first letters of the ids in the order of the list."""
    return "".join(view.review.review_id[0] for view in store.reviews("main", state, before=before, limit=limit))


@pytest.mark.parametrize(("state", "expected"), [(None, "wyxz"), ("open", "wyz"), ("closed", "x")])
def test_reviews_newest_first(store: PaymentStore, state: str | None, expected: str) -> None:
    """The reviews of the merchant and the gateways, newest first, at one instant by id, in pages of any size."""
    fill(store)
    assert listed(store, state) == expected
    for limit in (1, 2, 3):
        paged, before = "", None
        while page := store.reviews("main", state, before=before, limit=limit):
            assert len(page) <= limit
            paged += "".join(view.review.review_id[0] for view in page)
            before = ReviewKey.from_text(page[-1].key.text)
        assert paged == expected


def test_a_cursor_in_the_list_of_reviews_stays_valid(store: PaymentStore) -> None:
    """Reviews that are opened or closed between two pages neither shift nor repeat the remaining ones."""
    fill(store)
    first = store.reviews("main", None, before=None, limit=2)
    late, a = Customer("late"), Customer("c")
    late.now = START + timedelta(seconds=9)
    store.append([late.write(Step((ReviewOpened("v9", None, "odd"),))), a.write(Step((ReviewOpened("u", None, "?"),)))])
    assert listed(store, before=first[-1].key) == "xzu"


def test_a_single_review(store: PaymentStore) -> None:
    """A review is shown with its stream, open and closed. A gateway's review is shown to the merchant main only."""
    customer = fill(store)
    at = START + timedelta(seconds=2)
    view = store.review("main", "x2")
    assert view == ReviewView(customer.stream, Review("x2", "t-x2", "odd x2", "closed", at, START + timedelta(hours=1)))
    assert view is not None
    assert view.customer_id == "b"
    assert view in store.reviews("main", "closed", before=None, limit=10)
    view = store.review("main", "y2")
    assert view is not None
    assert (view.customer_id, view.stream.id) == (None, "gatewayA")
    others = [one.review.review_id for one in store.reviews("other", None, before=None, limit=10)]
    assert others == ["s"]
    for merchant, review_id in (
        ("main", "s"),
        ("other", "x2"),
        ("other", "y2"),
        ("main", "none"),
        ("main", "\x00"),
        ("main", "\ud800"),
    ):
        assert store.review(merchant, review_id) is None


def test_reviews_of_gateways_pass_the_audit(store: PaymentStore) -> None:
    """Streams of gateways are checked like those of customers, and no problems are found in them."""
    fill(store)
    with store.audit() as audit:
        assert StreamKey("gateways", "gatewayA") in list(audit.streams())
        assert list(verify(audit)) == []


@pytest.mark.parametrize("text", ["", ".", "1", "1.", ".r", "x.r", "-1.r", "1" * 30 + ".r", "\u0661.r"])
def test_other_texts_are_not_keys_of_reviews(text: str) -> None:
    """Only the text of a key is read as one."""
    with pytest.raises(ValueError, match="not the key of a review"):
        ReviewKey.from_text(text)


def test_the_text_of_a_key() -> None:
    """A key is unchanged in its text to the microsecond, also with dots in the id."""
    key = ReviewKey(START, "t1.4")
    assert ReviewKey.from_text(key.text) == key


def test_all_events_in_order(store: PaymentStore) -> None:
    """Events of all streams or of one merchant, ascending after any position, up to the given number."""
    mine, stranger = Customer("a"), Customer("a", "other")
    for number in range(4):
        assert store.append([mine.deposit(f"m{number}"), stranger.deposit(f"o{number}")]) == [COMMITTED] * 2
    everything = list(store.all_events(None, after=0, limit=100))
    positions = [event.position for event in everything]
    assert positions == sorted(set(positions))
    assert [event.stream for event in everything] == [mine.stream, stranger.stream] * 4
    assert list(store.all_events(None, after=positions[2], limit=3)) == everything[3:6]
    assert list(store.all_events("other", after=0, limit=100)) == everything[1::2]
    assert list(store.all_events("other", after=positions[1], limit=2)) == everything[3:6:2]
    assert list(store.all_events("absent", after=0, limit=100)) == []
    assert list(store.all_events("main", after=positions[-1], limit=100)) == []
    assert everything[0] == store.stream_events(mine.stream, after=0, limit=1)[0]
