"""Operations decided in one write: none hides another, and work that the same write ends is not sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.messages import NotSent
from actors.operations.callback import Callback, CallbackOperation, StoredCallbackOperation
from actors.operations.waiting_callbacks import queue_of, stream_of_gateway
from actors.replies import Accepted, Adjusted, Taken, Uncertain
from domain.account import Refused, Status
from domain.commands import RecordCallback
from domain.money import Money
from domain.outcomes import Approved, NotReceived, Unknown
from store.codec import Metadata
from store.errors import CommitUncertainError
from store.port import Action, WorkItem
from store.queries import TransactionFilter
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.operations.fixtures import adjust, available
from tests.actors.support import GATEWAY, Trouble, TroubledStore

UNCERTAIN = CommitUncertainError("cut")


def test_a_repeated_callback_hides_no_other_report(customers: Customers) -> None:
    """The store recognises the repetition by its claim and stores the other part of the same write."""
    first, other = customers.deposited(), customers.deposited()
    yes = Approved(f"A-{first.work_id}", final=True)
    customers.callback(first, yes)
    customers.run()
    again = customers.callback(first, yes)
    customers.report(other, NotSent("refused"))
    customers.run(1.0)
    assert answer(again) == Taken()
    assert customers.real.work_counts() == {(GATEWAY, "queued"): 1}


def test_a_repeated_unmatched_callback_hides_no_other_stored_callback(customers: Customers) -> None:
    """The same must hold in a gateway's own stream."""
    gateway_stream = stream_of_gateway(GATEWAY)

    def unmatched(number: int, key: str) -> CallbackOperation:
        said = RecordCallback(f"ref-{number}", GATEWAY, "A-1", Money(100, "USD"), Approved("A-1", final=True))
        callback = Callback(GATEWAY, f"evt-{number}", b"{}")
        request = CallbackOperation(callback, Metadata("r"), unmatched=said, work_key=f"callback:{key}")
        request.deadline = customers.runtime.monotonic() + DEADLINE_S
        return request

    for number in (1, 2):
        customers.router.tell(gateway_stream, unmatched(number, str(number)))
    customers.run(1.0)
    items = {item.work_id: item for item in customers.real.claim_work(customers.owner, queue_of(GATEWAY), 10)}
    for key in ("98", "99"):  # the first is being stored while the others gather
        customers.router.tell(gateway_stream, unmatched(2, key))
    customers.router.tell(gateway_stream, StoredCallbackOperation(items["callback:1"], None))
    customers.run(1.0)
    assert customers.real.work_counts() == {(queue_of(GATEWAY), "queued"): 1, (queue_of(GATEWAY), "leased"): 1}


def second_sending(keyless: Customers) -> WorkItem:
    """Work without keys that was sent, never received, and is about to be sent again."""
    keyless.submit(keyless.deposited())
    keyless.run()
    keyless.report(keyless.sendable()[-1], Unknown("timeout"))
    keyless.run(100.0)
    for _ in range(10):
        (item,) = keyless.claim()
        if item.action is Action.SUBMIT:
            return item
        keyless.report(item, NotReceived())
        keyless.run()
        keyless.run(70.0)
    raise RuntimeError("it is never sent again")


@pytest.mark.parametrize(("callback_first", "together"), [(True, True), (False, True), (True, False)])
def test_what_a_callback_ends_is_not_sent(keyless: Customers, *, callback_first: bool, together: bool) -> None:
    """This holds also when one write has both the record of the sending and the end."""
    item = second_sending(keyless)
    before = len(keyless.sendable())
    if together:
        keyless.send()  # is being stored while the others gather
    steps: list[Callable[[], object]] = [
        lambda: keyless.submit(item, 2),
        lambda: keyless.callback(item, Approved(f"A-{item.work_id}", final=True)),
    ]
    for step in reversed(steps) if callback_first else steps:
        step()
    keyless.run(1.0)
    assert keyless.transaction(item.work_id).status is Status.COMPLETED
    assert len(keyless.sendable()) == before


@pytest.mark.parametrize("stored", [False, True])
def test_a_correction_in_doubt_is_not_refused_for_what_it_did_itself(
    customers: Customers, store: TroubledStore, *, stored: bool
) -> None:
    """The balance may be too low because the correction is stored: the reply is uncertain, or that it is done."""
    customers.completed(minor=1_000)
    store.inject("append", Trouble(UNCERTAIN, after=stored), UNCERTAIN)
    request = adjust(customers, -1_000)
    customers.run(DEADLINE_S)
    said = answer(request)
    assert isinstance(said, Adjusted | Uncertain)
    if isinstance(said, Adjusted):
        assert available(customers) == 0


def test_a_withdrawal_that_may_still_land_is_not_refused(customers: Customers, store: TroubledStore) -> None:
    """While the stream ends where its write would be appended, "refused" would be a guess."""
    customers.completed(minor=1_000)
    store.inject("append", UNCERTAIN, UNCERTAIN)
    first = customers.withdraw(minor=600)
    customers.withdraw(minor=700)
    customers.run(DEADLINE_S)
    assert not isinstance(answer(first), Refused)


def test_a_withdrawal_whose_cover_did_not_come_may_still_land(customers: Customers, store: TroubledStore) -> None:
    """Its write may land together with the deposit that covered it, although neither is on record now."""
    customers.completed(minor=1_000)
    cover = customers.deposited(minor=500)
    store.inject("append", None, UNCERTAIN, UNCERTAIN)
    customers.send(minor=1)  # is being stored while the others gather
    customers.report(cover, Approved("A-2", final=True))
    withdrawal = customers.withdraw(minor=1_200)
    customers.run_until(lambda: store.troubles_left == 0)
    customers.real.retire_owner(customers.owner, unsent=False)  # another process has the work: the report is fenced off
    customers.run(DEADLINE_S / 2)
    assert available(customers) == 1_000
    assert answer(withdrawal) == Uncertain(withdrawal.transaction_id)


@pytest.mark.parametrize(
    ("in_doubt", "doubtful_at", "version", "may_be"),
    [
        (False, None, 3, False),
        (True, None, 3, True),  # it is not known after which version that write would be appended
        (True, 3, 3, True),  # the stream still ends at that version
        (True, 3, 2, True),  # the load is older than the doubt
        (True, 3, 4, False),  # other events were appended after that version
    ],
)
def test_when_an_earlier_write_may_be_stored(
    customers: Customers, *, in_doubt: bool, doubtful_at: int | None, version: int, may_be: bool
) -> None:
    """Only while the stream ends where that write would be appended: the version key admits one write."""
    request = customers.send()
    request.in_doubt, request.doubtful_at = in_doubt, doubtful_at
    assert request.may_be_stored(version) is may_be


def test_a_deposit_has_the_time_of_its_decision(customers: Customers, store: TroubledStore) -> None:
    """However late it is stored, its id and its time agree, and lists ordered by time contain it."""
    store.inject("append", *[UNCERTAIN] * 2_000)
    request = customers.send()
    customers.run(600.0)
    store._trouble.clear()
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    created_at = customers.transaction(request.transaction_id).created_at
    found = customers.real.transactions("main", TransactionFilter(created_from=created_at), before=None, limit=10)
    assert [view.transaction.transaction_id for view in found] == [request.transaction_id]
