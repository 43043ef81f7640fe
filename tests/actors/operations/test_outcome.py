"""Recording of outcomes in a customer's stream: once, fenced, and never silently lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from actors.customer.batching import BATCH_MAX
from actors.customer.loading import CACHED_MAX
from actors.customer.poison import CRASHES_MAX
from actors.messages import NotSent
from actors.replies import Accepted
from domain.account import Status
from domain.outcomes import Approved, Category, Declined, Unknown
from store.errors import StoreUnavailableError
from store.port import Action, WorkItem
from tests.actors.customer.fixtures import POLICY, Customers, answer
from tests.actors.support import GATEWAY, OWNER, TroubledStore

DECLINED = Declined("do_not_honor", Category.HARD, "no")
SURROGATE = "A-\ud800"


def approved(item: WorkItem) -> Approved:
    """The final approval of ``item``."""
    return Approved(f"A-{item.work_id}", final=True)


def claimed_elsewhere(customers: Customers) -> WorkItem:
    """Let another process take all work over; returns that work."""
    customers.real.retire_owner(OWNER, unsent=True)
    customers.real.register_owner("owner-9")
    [item] = customers.real.claim_work("owner-9", GATEWAY, 10)
    return item


def test_a_final_approval_completes_and_closes_the_work(customers: Customers) -> None:
    """An approval ends as Processed and Completed in one write that closes the work."""
    item = customers.completed()
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert customers.real.work_counts() == {}
    assert customers.transaction(item.work_id).gateway_reference == f"A-{item.work_id}"


@pytest.mark.parametrize(
    ("result", "status", "work", "delay_s"),
    [
        (DECLINED, Status.FAILED, {}, None),
        (Approved("A-1", final=False), Status.PROCESSED, {(GATEWAY, "queued"): 1}, POLICY.lookup_after_s[0]),
        (Unknown("timeout"), Status.UNKNOWN, {(GATEWAY, "queued"): 1}, POLICY.retry_first_s),
        (NotSent("refused"), Status.PENDING, {(GATEWAY, "queued"): 1}, POLICY.retry_first_s),
    ],
)
def test_what_an_outcome_leaves(
    customers: Customers, result: Declined, status: Status, work: dict[tuple[str, str], int], delay_s: float | None
) -> None:
    """Each outcome leaves its status and its work, and the scheduler receives the due time of work that continues."""
    item = customers.deposited()
    customers.report(item, result)
    customers.run()
    assert customers.transaction(item.work_id).status is status
    assert customers.real.work_counts() == work
    assert all(due.delay_s <= (delay_s or 0.0) for due in customers.dues())
    assert len(customers.dues()) == (delay_s is not None)


def test_concurrent_reports_share_a_write(customers: Customers, store: TroubledStore) -> None:
    """Reports of one customer that come together are recorded together."""
    items = [customers.deposited() for _ in range(10)]
    store.batches.clear()
    for item in items:
        customers.report(item, approved(item))
    customers.run()
    assert len(store.batches) == 2
    assert all(customers.transaction(item.work_id).status is Status.COMPLETED for item in items)


def test_a_stale_owners_report_appends_nothing(customers: Customers) -> None:
    """When another process has the work already, a late answer changes nothing and opens no review."""
    item = customers.deposited()
    theirs = claimed_elsewhere(customers)
    customers.report(item, approved(item))
    customers.run()
    assert customers.types() == ["DepositReceived"]
    assert customers.real.work_counts() == {(GATEWAY, "leased"): 1}
    customers.report(theirs, approved(theirs))
    customers.run()
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]


def test_a_stale_report_that_contradicts_the_record_is_reviewed_once(customers: Customers) -> None:
    """A late answer that contradicts the record opens one review and changes no status."""
    item = customers.deposited()
    theirs = claimed_elsewhere(customers)
    customers.report(theirs, approved(theirs))
    customers.run()
    customers.report(item, DECLINED)
    customers.run()
    assert customers.types()[-2:] == ["DepositCompleted", "ReviewOpened"]
    assert customers.transaction(item.work_id).status is Status.COMPLETED
    with customers.real.audit() as audit:
        assert [review.transaction_id for review in audit.reviews(item.stream)] == [item.work_id]


def test_a_stale_report_does_not_hold_up_its_neighbours(customers: Customers) -> None:
    """In one write with a stale report, the others' outcomes are still recorded."""
    stale = customers.deposited()
    claimed_elsewhere(customers)
    items = [customers.deposited() for _ in range(3)]
    for item in (items[0], stale, items[1]):
        customers.report(item, approved(item))
    request = customers.send()
    customers.run()
    assert isinstance(answer(request), Accepted)
    assert [customers.transaction(item.work_id).status for item in items] == [
        Status.COMPLETED,
        Status.COMPLETED,
        Status.PENDING,
    ]
    assert customers.transaction(stale.work_id).status is Status.PENDING


def test_a_repeated_report_is_recorded_once(customers: Customers) -> None:
    """The same outcome reported twice is one outcome."""
    item = customers.deposited()
    for _ in range(2):
        customers.report(item, approved(item))
    customers.run()
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]


def test_a_report_outlives_an_outage_of_the_store(customers: Customers, store: TroubledStore) -> None:
    """An outcome is never given up because the store is away: it is recorded once the store is back."""
    item = customers.deposited()
    store.inject("append", *[StoreUnavailableError("away") for _ in range(30)])
    store.inject("load", *[StoreUnavailableError("away") for _ in range(30)])
    customers.report(item, approved(item))
    customers.run(3600.0)
    assert store.troubles_left == 0
    assert customers.transaction(item.work_id).status is Status.COMPLETED


def test_a_load_is_bounded_however_much_waits(customers: Customers, store: TroubledStore) -> None:
    """A load requests what the next write needs and what is held, not everything that waits."""
    items = [customers.deposited() for _ in range(4 * BATCH_MAX)]
    store.loads.clear()
    for item in items:
        customers.report(item, approved(item))
    customers.run()
    assert all(customers.transaction(item.work_id).status is Status.COMPLETED for item in items)
    assert store.loads, "all were in memory, so the test is meaningless"
    assert max(map(len, store.loads)) <= BATCH_MAX + CACHED_MAX


def test_a_report_for_a_customer_that_is_not_in_memory_loads_it(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """Any process can record an outcome: what it does not hold in memory it loads."""
    item = customers.deposited()
    other = another_process()
    other.report(item, approved(item))
    other.run()
    assert customers.transaction(item.work_id).status is Status.COMPLETED


def test_an_outcome_that_cannot_be_encoded_ends_as_unknown(customers: Customers) -> None:
    """An outcome whose reference is not valid text is not lost and does not loop: it is recorded as unknown."""
    item = customers.deposited()
    customers.report(item, Approved(SURROGATE, final=True))
    customers.run(60.0)
    assert customers.transaction(item.work_id).status is Status.UNKNOWN
    assert customers.router.deaths <= CRASHES_MAX + 1
    assert customers.router.at_rest


def test_a_poisonous_outcome_harms_no_neighbour(customers: Customers) -> None:
    """Operations beside an outcome that cannot be encoded are stored, answered and dispatched once."""
    poisoned, healthy = customers.deposited(), customers.deposited()
    first = customers.send()
    customers.report(poisoned, Approved(SURROGATE, final=True))
    customers.report(healthy, approved(healthy))
    second = customers.send()
    customers.run(60.0)
    assert isinstance(answer(first), Accepted)
    assert isinstance(answer(second), Accepted)
    assert customers.transaction(healthy.work_id).status is Status.COMPLETED
    ids = [item.work_id for item in customers.handed_over()]
    assert sorted(ids) == sorted(set(ids))
    assert len(ids) == 4
    assert [recorded.version for recorded in customers.events()] == list(range(1, len(customers.events()) + 1))


def test_a_report_of_a_transaction_that_is_not_on_record_is_given_up(customers: Customers) -> None:
    """An outcome without its transaction on record cannot be recorded: it is dropped and blocks no other."""
    item = customers.deposited()
    assert item.transaction is not None
    unknown = replace(item, work_id="w", transaction=replace(item.transaction, transaction_id="absent"))
    customers.report(unknown, approved(unknown))
    neighbour = customers.send()
    customers.run(60.0)
    assert isinstance(answer(neighbour), Accepted)
    assert customers.router.at_rest
    assert customers.router.deaths <= 2 * CRASHES_MAX + 2


def test_work_without_a_transaction_goes_on(customers: Customers) -> None:
    """Work without a transaction is moved like any other: it is parked for an operator, and does not loop."""
    item = customers.deposited()
    customers.report(replace(item, transaction=None), NotSent("the work names no transaction"))
    customers.run()
    assert customers.types() == ["DepositReceived"]
    assert customers.real.work_counts() == {(GATEWAY, "queued"): 1}
    customers.runtime.advance(POLICY.retry_first_s)
    [again] = customers.real.claim_work(OWNER, GATEWAY, 1)
    assert (again.action, again.attempts, again.token) == (Action.SUBMIT, 1, 3)
