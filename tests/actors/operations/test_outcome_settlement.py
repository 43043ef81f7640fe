"""Without keys "never received" leads to another sending only if the lookup was late enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from actors.customer.actor import RETRY_S
from actors.operations.outcome import OutcomeOperation
from domain.account import Status
from domain.outcomes import Approved, NotReceived, Unknown
from store.errors import StoreUnavailableError
from store.port import Action, DeliveryCertainty, WorkItem
from tests.actors.customer.fixtures import KEYLESS, Customers
from tests.actors.support import OWNER, TroubledStore, stream

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
    """Record a lookup that reports "never received", and return the work after that."""
    asked_at = keyless.runtime.monotonic() if asked_at is None else asked_at
    keyless.router.tell(stream(), OutcomeOperation(item, NotReceived(), asked_at))
    keyless.run(40.0)
    [again] = keyless.claim()
    return again


def test_an_early_lookup_is_repeated(keyless: Customers, sent: WorkItem) -> None:
    """Before the settlement delay ends nothing is sent, and the schedule continues."""
    assert never_received(keyless, sent).action is Action.RESOLVE


def test_a_lookup_after_the_delay_permits_another_sending(keyless: Customers, sent: WorkItem) -> None:
    """The next attempt has the next number, and is sent when it is due."""
    keyless.run(KEYLESS.settle_s)
    again = never_received(keyless, sent)
    assert (again.action, again.attempts) == (Action.SUBMIT, 0)
    assert again.transaction is not None
    assert again.transaction.status is Status.UNKNOWN


def test_an_early_answer_does_not_count_after_the_delay(
    keyless: Customers, store: TroubledStore, sent: WorkItem
) -> None:
    """The store may be unavailable until the delay ends: an earlier lookup proves nothing about later arrivals."""
    store.inject("append", *[AWAY] * round(3 * KEYLESS.settle_s / RETRY_S))
    asked_at = keyless.runtime.monotonic()
    keyless.router.tell(stream(), OutcomeOperation(sent, NotReceived(), asked_at))
    keyless.run_until(lambda: store.troubles_left == 0)
    assert keyless.runtime.monotonic() > asked_at + KEYLESS.settle_s
    keyless.run(40.0)
    [again] = keyless.claim()
    assert again.action is Action.RESOLVE


def test_an_early_answer_that_comes_late_does_not_count(keyless: Customers, sent: WorkItem) -> None:
    """The cause of the delay between the provider and the customer does not matter."""
    asked_at = keyless.runtime.monotonic()
    keyless.run(2 * KEYLESS.settle_s)
    assert never_received(keyless, sent, asked_at).action is Action.RESOLVE


DAY_S = 86_400.0
PERMIT_S = 25.0


def lost(keyless: Customers) -> tuple[WorkItem, WorkItem]:
    """A deposit whose lease was lost during the sending: the work as its sender has it, and as claimed."""
    keyless.submit(keyless.deposited())
    keyless.run()
    [out] = keyless.sendable()
    keyless.real.retire_owner(OWNER, unsent=False)
    keyless.real.register_owner(OWNER)
    [again] = keyless.claim()
    assert (again.action, again.certainty) == (Action.SUBMIT, DeliveryCertainty.SENT)
    return out, again


def not_sent_again(keyless: Customers, item: WorkItem) -> None:
    """Check that work that may be sent already is not sent: the supervisor reports "unknown" without a call."""
    keyless.router.tell(stream(), OutcomeOperation(item, Unknown("it may be sent")))
    keyless.run(KEYLESS.lookup_after_s[0])


def test_a_late_approval_forbids_another_sending(keyless: Customers) -> None:
    """Its lease was lost, so it is not recorded. But what was accepted is never sent again, even after "not found"."""
    out, again = lost(keyless)
    not_sent_again(keyless, again)
    keyless.report(out, Approved("B-1", final=True))
    keyless.run()
    for _ in range(5):
        [item] = keyless.claim()
        assert item.action is Action.RESOLVE
        keyless.report(item, NotReceived())
        keyless.run(DAY_S)
    assert keyless.submitted() == [(again.work_id, 1)]
    assert keyless.types().count("ReviewOpened") == 1
    [item] = keyless.claim()
    keyless.report(item, Approved("B-1", final=True))
    keyless.run()
    assert keyless.transaction(item.work_id).status is Status.COMPLETED
    assert keyless.real.work_counts() == {}


@pytest.mark.parametrize("stale_first", [False, True])
def test_a_late_approval_counts_whenever_it_comes(keyless: Customers, *, stale_first: bool) -> None:
    """It counts before and after the work is in doubt, and also when the answer is not final."""
    out, again = lost(keyless)
    if stale_first:
        keyless.report(out, Approved("B-1", final=False))
        keyless.run()
    not_sent_again(keyless, again)
    if not stale_first:
        keyless.report(out, Approved("B-1", final=False))
        keyless.run()
    keyless.run(3 * KEYLESS.settle_s)
    [item] = keyless.claim()
    assert never_received(keyless, item).action is Action.RESOLVE


@pytest.mark.parametrize(
    ("waited_s", "action"),
    [
        (KEYLESS.settle_s, Action.RESOLVE),
        (KEYLESS.settle_s + 1.0, Action.RESOLVE),
        (KEYLESS.settle_s + PERMIT_S - 1.0, Action.RESOLVE),
        (KEYLESS.settle_s + PERMIT_S, Action.RESOLVE),
        (KEYLESS.settle_s + PERMIT_S + 1.0, Action.SUBMIT),
    ],
)
def test_a_sender_that_lost_its_lease_may_still_begin(keyless: Customers, waited_s: float, action: Action) -> None:
    """The delay begins when the permit expires, not when another process reads the attempt."""
    patient = replace(keyless, policy=replace(KEYLESS, permit_s=PERMIT_S))
    _, again = lost(patient)
    not_sent_again(patient, again)
    patient.run(waited_s - KEYLESS.lookup_after_s[0])
    [item] = patient.claim()
    assert never_received(patient, item).action is action


def test_a_sender_that_has_reported_starts_no_more_attempts(keyless: Customers) -> None:
    """After its report, only the provider's own queue can delay the order."""
    patient = replace(keyless, policy=replace(KEYLESS, permit_s=PERMIT_S))
    patient.submit(patient.deposited())
    patient.run()
    [out] = patient.sendable()
    patient.report(out, Unknown("timeout"))
    patient.run(KEYLESS.settle_s + 1.0)
    [item] = patient.claim()
    assert never_received(patient, item).action is Action.SUBMIT


@pytest.mark.parametrize(
    ("waited_s", "action"),
    [
        (KEYLESS.settle_s, Action.RESOLVE),
        (KEYLESS.settle_s + 1.0, Action.RESOLVE),
        (KEYLESS.settle_s + PERMIT_S, Action.RESOLVE),
        (KEYLESS.settle_s + PERMIT_S + 1.0, Action.SUBMIT),
    ],
)
def test_a_lookup_waits_for_the_sender_too(
    keyless: Customers, another_process: Callable[[], Customers], waited_s: float, action: Action
) -> None:
    """The process that took the work over may have ended as well, so its permit may have just begun."""
    patient = replace(keyless, policy=replace(KEYLESS, permit_s=PERMIT_S))
    _, again = lost(patient)
    not_sent_again(patient, again)
    third = replace(another_process(), policy=patient.policy)
    [item] = third.claim()
    third.report(item, NotReceived())
    third.run(waited_s)
    [item] = third.claim()
    assert never_received(third, item).action is action
