"""Contract of the data that a review shows, and of callbacks that wait for their transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.events import ReviewClosed, ReviewOpened
from domain.gateway_report import BODY_MAX, TEXT_MAX, Expected, GatewayReport, Source
from store.backend import PaymentStore
from store.port import (
    Action,
    CloseWork,
    Committed,
    Fence,
    Head,
    OpenWork,
    Part,
    StreamKey,
    WorkChange,
    WorkState,
    Write,
)
from store.verify import verify
from tests.store.builders import OWNER, START, Customer, Step, move

COMMITTED = Committed()
REPORT = GatewayReport(
    Source.CALLBACK, "gatewayA", START, "evt-7", "t1", "A-2", "odd", None, "2.00", "EUR", None, "{}", 2
)
EXPECTED = Expected("gatewayA", "pending", "100.00", "USD")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        (REPORT, EXPECTED),
        (GatewayReport(Source.LOOKUP, "gatewayA", START, message="timeout"), EXPECTED),
        (REPORT, None),
        (replace(REPORT, body="\U0001f4b6\\u0000\"'\n\x7f" * (BODY_MAX // 8), status="\u00e9" * TEXT_MAX), EXPECTED),
    ],
    ids=["nothing", "a callback", "a lookup", "without a transaction", "odd characters"],
)
def test_a_review_shows_the_report(store: PaymentStore, said: GatewayReport | None, expected: Expected | None) -> None:
    """The list, the single review and an audit show what its event contains, also when it is closed."""
    customer = Customer("c")
    deposit = customer.deposit("t1")
    opened = customer.write(Step((ReviewOpened("r1", "t1", "odd", said, expected),)))
    assert store.append([deposit, opened]) == [COMMITTED] * 2
    for closed in (False, True):
        if closed:
            customer.now = START + timedelta(hours=1)
            assert store.append([customer.write(Step((ReviewClosed("r1", "looked"),)))]) == [COMMITTED]
        view = store.review("main", "r1")
        assert view is not None
        assert (view.review.said, view.review.expected) == (said, expected)
        assert list(store.reviews("main", None, before=None, limit=10)) == [view]
        with store.audit() as audit:
            assert list(audit.reviews(customer.stream)) == [view.review]
            assert [it.text for it in verify(audit) if "has no work" not in it.text] == []


def test_the_gateway_of_a_review(store: PaymentStore) -> None:
    """The gateway is that of the report, of the record, or of the stream. An old review of a customer has none."""
    customer, gateway = Customer("c"), Customer("gatewayB", "gateways")
    reviews = (
        ReviewOpened("r1", None, "odd", replace(REPORT, gateway="gatewayX"), EXPECTED),
        ReviewOpened("r2", None, "odd", None, EXPECTED),
        ReviewOpened("r3", None, "odd"),
    )
    store.append([customer.write(Step(reviews)), gateway.write(Step((ReviewOpened("r4", None, "odd"),)))])
    views = {it.review.review_id: it.gateway for it in store.reviews("main", None, before=None, limit=10)}
    assert views == {"r1": "gatewayX", "r2": "gatewayA", "r3": None, "r4": "gatewayB"}


def keep(store: PaymentStore, *numbers: int, gateway: str = "gatewayA") -> None:
    """Store waiting callbacks of one gateway."""
    for number in numbers:
        work = OpenWork(
            f"callback:{number}", None, f"callbacks:{gateway}", Action.APPLY, "CallbackReceived", None, b"{}"
        )
        assert store.append([Write(StreamKey("gateways", gateway), Head(), (Part(work=(work,)),))]) == [COMMITTED]


def waiting(store: PaymentStore, queue: str | None = None, merchant: str = "main") -> list[str]:
    """The last characters of the ids in the list, page by page."""
    found: list[str] = []
    before = None
    while page := store.waiting_callbacks(merchant, queue, before=before, limit=2):
        assert len(page) <= 2
        found += [it.item.work_id[-1] for it in page]
        before = page[-1].item.work_id
    return found


def test_waiting_callbacks_are_listed(store: PaymentStore) -> None:
    """They are listed newest first, of all gateways or of one, for the merchant main only. Other work is not listed."""
    assert waiting(store) == []
    keep(store, 1, 2, 4)
    keep(store, 3, 5, gateway="gatewayB")
    assert store.append([Customer("c").deposit("t1")]) == [COMMITTED]
    assert waiting(store) == ["5", "4", "3", "2", "1"]
    assert waiting(store, "callbacks:gatewayB") == ["5", "3"]
    assert waiting(store, "callbacks:absent") == []
    assert waiting(store, merchant="other") == []
    (newest, *_) = store.waiting_callbacks("main", None, before=None, limit=1)
    assert (newest.item.payload, newest.item.action, newest.state) == (b"{}", Action.APPLY, WorkState.QUEUED)
    assert newest.item.stream == StreamKey("gateways", "gatewayB")


def test_a_callback_waits_until_it_is_matched_or_parked(
    store: PaymentStore, pass_time: Callable[[float], None]
) -> None:
    """A callback is listed also while a process leases it. A parked one is a dead letter instead."""
    keep(store, 1, 2, 3)
    items = {it.work_id[-1]: it for it in store.claim_work(OWNER, "callbacks:gatewayA", 10)}
    assert waiting(store) == ["3", "2", "1"]
    gateway = StreamKey("gateways", "gatewayA")
    changes: dict[str, WorkChange] = {
        "1": CloseWork("callback:1"),
        "2": move("callback:2", action=Action.APPLY, delay_s=60),
        "3": move("callback:3", action=Action.APPLY, state=WorkState.PARKED),
    }
    for key, change in changes.items():
        part = Part(fence=Fence(items[key].work_id, items[key].token), work=(change,))
        assert store.append([Write(gateway, Head(), (part,))]) == [COMMITTED]
    assert waiting(store) == ["2"]
    (letter,) = store.waiting_callbacks("main", None, before=None, limit=5)
    assert letter.item.attempts == 1
    assert letter.next_attempt_at is not None
    pass_time(61)
    assert waiting(store) == ["2"]
