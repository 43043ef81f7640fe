"""When a review of a transaction opens: once for each finding, and never for what is settled without an operator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.messages import CallResult, NotSent, Written
from actors.operations.outcome import OutcomeOperation
from domain.account import Status
from domain.gateway_report import Expected, GatewayReport, Source
from domain.outcomes import Approved, Category, Declined, NotReceived, Unknown
from store.errors import CommitUncertainError
from store.port import Action, Claim, Committed, Head, Part, Review, WorkItem, Write
from tests.actors.customer.fault_injection import Fatal
from tests.actors.customer.fixtures import KEYLESS, POLICY, Customers
from tests.actors.support import GATEWAY, Trouble, TroubledStore, stream

DAY_S = 86_400.0
ACCEPTED = Approved("A-1", final=False)
SILENCE: list[CallResult] = [Unknown("timeout"), NotSent("refused")]


def reviews(customers: Customers) -> list[Review]:
    """The reviews that were opened."""
    with customers.real.audit() as audit:
        return list(audit.reviews(stream()))


def lookup(customers: Customers, result: CallResult, after_s: float) -> WorkItem:
    """Claim the work after ``after_s`` and report ``result`` for it."""
    customers.run(after_s)
    [item] = customers.claim()
    assert item.action is Action.RESOLVE
    customers.report(item, result)
    customers.run()
    return item


@pytest.mark.parametrize("result", SILENCE)
@pytest.mark.parametrize("first", [Unknown("timeout"), ACCEPTED])
def test_a_day_without_an_answer_is_reviewed_once(keyless: Customers, first: CallResult, result: CallResult) -> None:
    """No review opens before a day; then one does, and the status stays."""
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


def test_a_review_of_an_earlier_version_is_not_opened_again(keyless: Customers) -> None:
    """The reason is part of the stored claim, and so its text never changes."""
    item = keyless.deposited()
    key = f"{item.work_id}:A day of lookups has not told what became of it."
    part = Part(claims=(Claim("review", key, b"of-an-earlier-version"),))
    assert keyless.real.append([Write(stream(), Head(), (part,))]) == [Committed()]
    keyless.report(item, ACCEPTED)
    keyless.run()
    for _ in range(2):
        lookup(keyless, Unknown("timeout"), DAY_S + 60.0)
    assert reviews(keyless) == []


@pytest.mark.parametrize("result", SILENCE)
def test_what_is_looked_up_while_pending_is_reviewed_as_well(customers: Customers, result: CallResult) -> None:
    """A review opens also when the same lookup makes the outcome unknown: with keys a lost lease may lead there."""
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
def test_an_answer_after_days_needs_no_review(customers: Customers, result: CallResult, status: Status) -> None:
    """No review opens, however late the answer comes, also when the money must be sent again."""
    item = customers.deposited()
    customers.report(replace(item, attempts=POLICY.max_retries + POLICY.dead_letter_attempts), Unknown("timeout"))
    customers.run()
    lookup(customers, result, 3 * DAY_S)
    assert reviews(customers) == []
    assert customers.transaction(item.work_id).status is status


def test_never_received_counts_and_needs_no_review(keyless: Customers) -> None:
    """Without keys a first lookup after days begins the wait, and opens no review."""
    item = keyless.deposited()
    keyless.report(item, Unknown("timeout"))
    keyless.run()
    keyless.router.tell(stream(), Written(0, None))  # type: ignore[arg-type]  # an answer to no request
    lookup(keyless, NotReceived(), 3 * DAY_S)
    keyless.run(KEYLESS.settle_s)
    assert reviews(keyless) == []
    [again] = keyless.claim()
    assert again.action is Action.SUBMIT


def test_a_day_of_lookups_shows_what_the_last_one_came_to(keyless: Customers) -> None:
    """The review has what is on record, for the operator to send to the provider."""
    item = keyless.deposited()
    keyless.report(item, Unknown("timeout"))
    keyless.run()
    lookup(keyless, NotSent("connection refused"), DAY_S + 60.0)
    [review] = reviews(keyless)
    assert review.said == GatewayReport(
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
    """The review has the lookup's result and the earlier answer."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run()
    lookup(customers, result, 60.0)
    [review] = reviews(customers)
    assert review.said == GatewayReport(Source.LOOKUP, GATEWAY, review.opened_at, reference=item.work_id, **said)  # type: ignore[arg-type]
    assert review.expected == Expected(GATEWAY, "processed", "100.00", "USD", "A-1")


def test_a_late_answer_that_contradicts_shows_both(customers: Customers) -> None:
    """A report of a process that no longer has the work is evidence, and is in the review."""
    item = customers.completed()
    customers.report(item, Declined("do_not_honor", Category.HARD, "no", "A-9"))
    customers.run()
    [review] = reviews(customers)
    assert review.said is not None
    assert (review.said.source, review.said.status, review.said.code) == (Source.ANSWER, "failed", "do_not_honor")
    assert review.expected is not None
    assert review.expected.status == "completed"


@pytest.mark.parametrize("times", [2, 5])
def test_a_gateway_that_contradicts_itself_at_every_lookup_is_reviewed_once(customers: Customers, times: int) -> None:
    """The same contradiction again opens no further review."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run()
    for _ in range(times):
        lookup(customers, Approved("A-2", final=True), DAY_S)
    assert len(reviews(customers)) == 1
    assert customers.transaction(item.work_id).status is Status.PROCESSED


def test_two_contradictions_are_two_reviews(customers: Customers) -> None:
    """Each contradiction opens a review of its own."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run()
    lookup(customers, Approved("A-2", final=True), 60.0)
    lookup(customers, NotReceived(), DAY_S + 60.0)
    assert len(reviews(customers)) == 2


@pytest.mark.parametrize("stored", [False, True])
def test_an_uncertain_commit_opens_one_review(customers: Customers, store: TroubledStore, *, stored: bool) -> None:
    """It also moves the work once."""
    item = customers.deposited()
    customers.report(item, ACCEPTED)
    customers.run(60.0)
    [item] = customers.claim()
    store.inject("append", Trouble(CommitUncertainError("cut"), after=stored), CommitUncertainError("cut"))
    customers.report(item, Approved("A-2", final=True))
    customers.run(5.0)
    assert len(reviews(customers)) == customers.types().count("ReviewOpened") == 1
    customers.run(DAY_S)
    [again] = customers.claim()
    assert again.attempts == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [OutcomeOperation, Written])
def test_a_death_opens_one_review(customers: Customers, *, kind: type, after: bool) -> None:
    """This holds for every message that the actor dies of."""
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
    """Contradictions of several transactions in one write open one review each."""
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
