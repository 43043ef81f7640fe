"""When a person is asked about a transaction: once for each thing, and never for what settles itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.messages import CallResult, NotSent, Written
from actors.operations.outcome import OutcomeOperation
from domain.account import Status
from domain.outcomes import Approved, Category, Declined, NotReceived, Unknown
from domain.said import Expected, Said, Source
from store.errors import CommitUncertainError
from store.port import Action, Review, WorkItem
from tests.actors.customer.fault_injection import Fatal
from tests.actors.customer.fixtures import KEYLESS, POLICY, Customers
from tests.actors.support import GATEWAY, Trouble, TroubledStore, stream

DAY_S = 86_400.0
ACCEPTED = Approved("A-1", final=False)
SILENCE: list[CallResult] = [Unknown("timeout"), NotSent("refused")]


def reviews(customers: Customers) -> list[Review]:
    """What people are asked to look at."""
    with customers.real.audit() as audit:
        return list(audit.reviews(stream()))


def lookup(customers: Customers, result: CallResult, after_s: float) -> WorkItem:
    """After so long the work is claimed and that is what it comes to."""
    customers.run(after_s)
    [item] = customers.claim()
    assert item.action is Action.RESOLVE
    customers.report(item, result)
    customers.run()
    return item


@pytest.mark.parametrize("result", SILENCE)
@pytest.mark.parametrize("first", [Unknown("timeout"), ACCEPTED])
def test_a_day_without_an_answer_is_told_once(keyless: Customers, first: CallResult, result: CallResult) -> None:
    """Before a day nobody is asked; then one person is, and the status stays what it was."""
    item = keyless.deposited()
    keyless.report(item, first)
    keyless.run()
    status = keyless.transaction(item.work_id).status
    lookup(keyless, result, 60.0)
    lookup(keyless, result, 60.0)
    assert reviews(keyless) == []
    for _ in range(3):
        lookup(keyless, result, DAY_S + 60.0)
    [review] = reviews(keyless)
    assert review.transaction_id == item.work_id
    assert review.state == "open"
    assert keyless.transaction(item.work_id).status is status
    assert keyless.types().count("ReviewOpened") == 1


@pytest.mark.parametrize("result", SILENCE)
def test_what_is_looked_up_while_it_is_pending_comes_to_a_person_as_well(
    customers: Customers, result: CallResult
) -> None:
    """Also when the same lookup makes its outcome unknown: with keys a lost lease may lead there."""
    item = customers.deposited()
    customers.report(replace(item, action=Action.RESOLVE), NotSent("refused"))
    customers.run()
    assert customers.transaction(item.work_id).status is Status.PENDING
    for _ in range(2):
        lookup(customers, result, DAY_S + 60.0)
        assert len(reviews(customers)) == 1
    expected = Status.UNKNOWN if isinstance(result, Unknown) else Status.PENDING
    assert customers.transaction(item.work_id).status is expected


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Approved("A-1", final=True), Status.COMPLETED),
        (Declined("do_not_honor", Category.HARD, "no"), Status.FAILED),
        (ACCEPTED, Status.PROCESSED),
        (NotReceived(), Status.UNKNOWN),
    ],
)
def test_an_answer_after_days_needs_nobody(customers: Customers, result: CallResult, status: Status) -> None:
    """However late it comes, also when it is that the money must be sent again."""
    item = customers.deposited()
    customers.report(replace(item, attempts=POLICY.max_retries + POLICY.dead_letter_attempts), Unknown("timeout"))
    customers.run()
    lookup(customers, result, 3 * DAY_S)
    assert reviews(customers) == []
    assert customers.transaction(item.work_id).status is status


def test_never_received_counts_at_last_and_needs_nobody(keyless: Customers) -> None:
    """Without keys a first lookup after days only begins the wait."""
    item = keyless.deposited()
    keyless.report(item, Unknown("timeout"))
    keyless.run()
    keyless.router.tell(stream(), Written(0, None))  # type: ignore[arg-type]  # of nobody's business
    lookup(keyless, NotReceived(), 3 * DAY_S)
    keyless.run(KEYLESS.settle_s)
    assert reviews(keyless) == []
    [again] = keyless.claim()
    assert again.action is Action.SUBMIT


def test_a_day_of_lookups_shows_what_the_last_one_came_to(keyless: Customers) -> None:
    """With what is on record, so that a person can go to the provider with it."""
    item = keyless.deposited()
    keyless.report(item, Unknown("timeout"))
    keyless.run()
    lookup(keyless, NotSent("connection refused"), DAY_S + 60.0)
    [review] = reviews(keyless)
    assert review.said == Said(
        Source.LOOKUP, GATEWAY, review.opened_at, reference=item.work_id, message="connection refused"
    )
    assert review.expected == Expected(GATEWAY, "unknown", "100.00", "USD")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Approved("A-2", final=True), {"gateway_reference": "A-2", "status": "completed"}),
        (
            Declined("do_not_honor", Category.HARD, "Declined: do not honor.", "A-2"),
            {
                "gateway_reference": "A-2",
                "status": "failed",
                "code": "do_not_honor",
                "message": "Declined: do not honor.",
            },
        ),
    ],
)
def test_an_answer_that_contradicts_shows_both(customers: Customers, result: CallResult, said: dict[str, str]) -> None:
    """What the lookup said, and what an answer before had said."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run()
    lookup(customers, result, 60.0)
    [review] = reviews(customers)
    assert review.said == Said(Source.LOOKUP, GATEWAY, review.opened_at, reference=item.work_id, **said)  # type: ignore[arg-type]
    assert review.expected == Expected(GATEWAY, "processed", "100.00", "USD", "A-1")


def test_a_late_answer_that_contradicts_shows_both(customers: Customers) -> None:
    """What a process said that does not have the work any more is evidence, and is shown."""
    item = customers.completed()
    customers.report(item, Declined("do_not_honor", Category.HARD, "no", "A-9"))
    customers.run()
    [review] = reviews(customers)
    assert review.said is not None
    assert (review.said.source, review.said.status, review.said.code) == (Source.ANSWER, "failed", "do_not_honor")
    assert review.expected is not None
    assert review.expected.status == "completed"


@pytest.mark.parametrize("times", [2, 5])
def test_a_gateway_that_contradicts_itself_at_every_lookup_is_told_once(customers: Customers, times: int) -> None:
    """The same contradiction again is no news."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run()
    for _ in range(times):
        lookup(customers, Approved("A-2", final=True), DAY_S)
    assert len(reviews(customers)) == 1
    assert customers.transaction(item.work_id).status is Status.PROCESSED


def test_two_contradictions_are_two_reviews(customers: Customers) -> None:
    """A person is asked about each thing that cannot be right."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run()
    lookup(customers, Approved("A-2", final=True), 60.0)
    lookup(customers, NotReceived(), DAY_S + 60.0)
    assert len(reviews(customers)) == 2


@pytest.mark.parametrize("stored", [False, True])
def test_an_uncertain_commit_opens_one_review(customers: Customers, store: TroubledStore, *, stored: bool) -> None:
    """And moves the work once."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run(60.0)
    [item] = customers.claim()
    store.befall("append", Trouble(CommitUncertainError("cut"), after=stored), CommitUncertainError("cut"))
    customers.report(item, Approved("A-2", final=True))
    customers.run(5.0)
    assert len(reviews(customers)) == customers.types().count("ReviewOpened") == 1
    customers.run(DAY_S)
    [again] = customers.claim()
    assert again.attempts == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [OutcomeOperation, Written])
def test_a_death_opens_one_review(customers: Customers, *, kind: type, after: bool) -> None:
    """Whatever the actor dies of meanwhile."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run(60.0)
    [item] = customers.claim()
    Fatal(customers, kind, after=after)
    customers.router._live.clear()
    customers.report(item, Approved("A-2", final=True))
    customers.run(5.0)
    assert len(reviews(customers)) == customers.types().count("ReviewOpened") == 1


def test_many_contradictions_in_one_write_are_one_review_each(customers: Customers) -> None:
    """What comes together about several transactions is told of each, once."""
    items = [customers.deposited() for _ in range(3)]
    for item in items:
        customers.report(item, ACCEPTED)
    customers.run(60.0)
    claimed = customers.claim()
    for item in [*claimed, *claimed]:
        customers.report(item, Approved("A-2", final=True))
    customers.run(5.0)
    assert sorted(review.transaction_id or "" for review in reviews(customers)) == sorted(it.work_id for it in items)
    customers.run(DAY_S)
    assert len(customers.claim()) == 3
