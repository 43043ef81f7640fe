"""Without keys "never received" leads to another sending only when it was asked late enough."""

from __future__ import annotations

import pytest

from actors.customer import RETRY_S
from actors.messages import OutcomeReport
from domain.account import Status
from domain.outcomes import NotReceived, Unknown
from store.errors import StoreUnavailableError
from store.port import Action, WorkItem
from tests.actors.customers import KEYLESS, Customers
from tests.actors.support import TroubledStore, stream

AWAY = StoreUnavailableError("away")


@pytest.fixture
def sent(keyless: Customers) -> WorkItem:
    """The lookup of a deposit that was just sent, with an unknown outcome."""
    keyless.submit(keyless.deposited())
    keyless.run()
    [cleared] = keyless.cleared()
    assert cleared.item is not None
    keyless.report(cleared.item, Unknown("timeout"))
    keyless.run(KEYLESS.lookup_after_s[0])
    [item] = keyless.claim()
    assert item.action is Action.RESOLVE
    return item


def never_received(keyless: Customers, item: WorkItem, asked_at: float | None = None) -> WorkItem:
    """The lookup says so, and that is recorded; the work as it is then."""
    asked_at = keyless.runtime.monotonic() if asked_at is None else asked_at
    keyless.router.tell(stream(), OutcomeReport(item, NotReceived(), asked_at))
    keyless.run(40.0)
    [again] = keyless.claim()
    return again


def test_asked_early_it_is_asked_again(keyless: Customers, sent: WorkItem) -> None:
    """Before the wait is over nothing is sent, and the schedule goes on."""
    assert never_received(keyless, sent).action is Action.RESOLVE


def test_asked_late_enough_it_is_sent_again(keyless: Customers, sent: WorkItem) -> None:
    """With the next number, once it is its turn."""
    keyless.run(KEYLESS.settle_s)
    again = never_received(keyless, sent)
    assert (again.action, again.attempts) == (Action.SUBMIT, 0)
    assert again.transaction is not None
    assert again.transaction.status is Status.UNKNOWN


def test_an_early_answer_does_not_ripen_on_its_way(keyless: Customers, store: TroubledStore, sent: WorkItem) -> None:
    """The store may be away until the wait is over: what was asked before says nothing of what arrived after."""
    store.befall("append", *[AWAY] * round(3 * KEYLESS.settle_s / RETRY_S))
    asked_at = keyless.runtime.monotonic()
    keyless.router.tell(stream(), OutcomeReport(sent, NotReceived(), asked_at))
    keyless.run_until(lambda: store.troubles_left == 0)
    assert keyless.runtime.monotonic() > asked_at + KEYLESS.settle_s
    keyless.run(40.0)
    [again] = keyless.claim()
    assert again.action is Action.RESOLVE


def test_an_early_answer_that_comes_late_does_not_count(keyless: Customers, sent: WorkItem) -> None:
    """Whatever held it up between the provider and the customer."""
    asked_at = keyless.runtime.monotonic()
    keyless.run(2 * KEYLESS.settle_s)
    assert never_received(keyless, sent, asked_at).action is Action.RESOLVE
