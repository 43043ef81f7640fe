"""The record before a sending without keys: durable before anything is sent, once for each attempt, and fenced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actors.customer.batching import BATCH_MAX
from actors.messages import NotSent, NotTried, Passivate, SubmissionRecorded
from actors.replies import Accepted
from domain.account import Status
from domain.events import Completed, Failed, Kind, Processed
from domain.outcomes import Approved, NotReceived, Unknown
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import Action, DeliveryCertainty, WorkItem
from tests.actors.customer.fixtures import KEYLESS, Customers, answer
from tests.actors.support import GATEWAY, OWNER, TroubledStore, stream

UNCERTAIN = CommitUncertainError("cut")
AWAY = StoreUnavailableError("away")


def row(customers: Customers, owner: str = "looker") -> WorkItem:
    """Claim the only piece of work, as another owner."""
    customers.real.retire_owner(customers.owner, unsent=True)
    customers.real.register_owner(owner)
    [item] = customers.claim(owner)
    return item


def test_the_record_comes_before_the_permission(keyless: Customers) -> None:
    """Before the supervisor is notified, the attempt is on record, and the work counts as sent and stays leased."""
    item = keyless.deposited()
    seen: list[tuple[list[str], dict[tuple[str, str], int]]] = []
    tell = keyless.supervisor.tell

    def reported(message: object) -> None:
        if isinstance(message, SubmissionRecorded):
            seen.append((keyless.types(), keyless.real.work_counts()))
        tell(message)

    keyless.supervisor.tell = reported  # type: ignore[method-assign]
    request = keyless.submit(item, 7)
    keyless.run()
    assert seen == [(["DepositReceived", "DepositSubmitted"], {(GATEWAY, "leased"): 1})]
    [cleared] = keyless.cleared()
    assert (cleared.gateway, cleared.permit) == (GATEWAY, request.permit)
    assert cleared.item is not None
    assert (cleared.item.token, cleared.item.certainty, cleared.item.attempts) == (
        item.token + 1,
        DeliveryCertainty.SENT,
        0,
    )
    assert cleared.item.transaction == keyless.transaction(item.work_id)
    assert cleared.item.transaction.submissions == 1
    assert row(keyless).certainty is DeliveryCertainty.SENT


@pytest.mark.parametrize("result", [Approved("B-1", final=True), NotSent("refused"), NotTried("no"), Unknown("?")])
def test_the_outcome_is_recorded_under_the_token_of_the_submission(keyless: Customers, result: Any) -> None:
    """The outcome is recorded under the token that the submission left."""
    keyless.submit(keyless.deposited())
    keyless.run()
    [item] = keyless.sendable()
    keyless.report(item, result)
    keyless.run()
    status = keyless.transaction(item.work_id).status
    expected = {Approved: Status.COMPLETED, Unknown: Status.UNKNOWN}.get(type(result), Status.PENDING)
    assert status is expected
    if expected is Status.COMPLETED:
        assert keyless.real.work_counts() == {}
    else:
        keyless.runtime.advance(KEYLESS.lookup_after_s[0])
        [again] = keyless.claim()
        assert again.action is (Action.RESOLVE if isinstance(result, Unknown) else Action.SUBMIT)
        assert again.certainty is (
            DeliveryCertainty.SENT if isinstance(result, Unknown) else DeliveryCertainty.NOT_SENT
        )
        assert again.attempts == (1 if isinstance(result, NotSent) else 0)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_each_attempt_has_a_number_of_its_own(keyless: Customers, times: int) -> None:
    """An attempt that was not sent after all keeps its number; the next one has the next."""
    item = keyless.deposited()
    for _ in range(times):
        keyless.submit(item)
        keyless.run()
        keyless.report(keyless.sendable()[-1], NotSent("refused"))
        keyless.run()
        keyless.runtime.advance(10.0)
        [item] = keyless.claim()
    assert keyless.submitted() == [(item.work_id, number + 1) for number in range(times)]


def test_a_stale_owner_sends_nothing(keyless: Customers) -> None:
    """When another process has the work, nothing is written or sent, and the slot is free."""
    item = keyless.deposited()
    theirs = row(keyless)
    request = keyless.submit(item)
    keyless.run()
    assert keyless.cleared() == [SubmissionRecorded(GATEWAY, request.permit, None)]
    assert keyless.submitted() == []
    keyless.report(theirs, Approved("B-1", final=True))
    keyless.run()
    assert keyless.transaction(item.work_id).status is Status.COMPLETED


def test_an_actor_with_a_submission_in_hand_is_not_stopped(keyless: Customers) -> None:
    """Passivation at any moment loses no submission, also when the actor has to load first."""
    item = keyless.deposited()
    keyless.router.tell(stream(), Passivate())
    keyless.run()
    assert len(keyless.router) == 0
    keyless.submit(item)
    for _ in range(20):
        keyless.router.tell(stream(), Passivate())
        keyless.runtime.step()
    keyless.run()
    assert [it.work_id for it in keyless.sendable()] == [item.work_id]


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([Processed(Kind.DEPOSIT, "", "B-7")], {(GATEWAY, "queued"): 1}),
        ([Processed(Kind.DEPOSIT, "", "B-7"), Completed(Kind.DEPOSIT, "")], {}),
        ([Failed(Kind.DEPOSIT, "", "do_not_honor", None, "no")], {}),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_what_was_settled_meanwhile_is_not_sent(
    keyless: Customers, events: list[Any], left: dict[tuple[str, str], int], *, cached: bool
) -> None:
    """A transaction that is processed or has its end when its turn comes is not sent; its work continues, or ends."""
    item = keyless.deposited()
    keyless.on_record(item, *[replace(event, transaction_id=item.work_id) for event in events])
    if not cached:
        keyless.router.tell(stream(), Passivate())
        keyless.run()
    keyless.submit(item)
    keyless.run()
    assert [cleared.item for cleared in keyless.cleared()] == [None]
    assert keyless.submitted() == []
    assert keyless.real.work_counts() == left
    if left:
        assert [due.delay_s for due in keyless.dues()] == [0.0]
        [again] = keyless.claim()
        assert again.action is Action.RESOLVE


def test_submissions_share_a_write_with_all_that_waits(keyless: Customers, store: TroubledStore) -> None:
    """Commands, outcomes and submissions that come together cost one commit, and each gets its own answer."""
    items = [keyless.deposited() for _ in range(4)]
    keyless.submit(items[3])
    keyless.run()
    [out] = keyless.sendable()
    store.batches.clear()
    first = keyless.send()
    for number, item in enumerate(items[:3]):
        keyless.submit(item, number)
    keyless.report(out, Approved("B-1", final=True))
    second = keyless.send()
    keyless.run()
    assert len(store.batches) == 2
    assert isinstance(answer(first), Accepted)
    assert isinstance(answer(second), Accepted)
    assert len(keyless.sendable()) == 4
    assert keyless.transaction(out.work_id).status is Status.COMPLETED


def test_one_stale_submission_blocks_no_neighbour(keyless: Customers) -> None:
    """In one write with a stale submission, each of the others may be sent once."""
    stale = keyless.deposited()
    keyless.real.retire_owner(OWNER, unsent=True)
    keyless.real.register_owner(OWNER)
    keyless.real.register_owner("owner-9")
    assert keyless.claim("owner-9")
    items = [keyless.deposited() for _ in range(3)]
    requests = [keyless.submit(item, number) for number, item in enumerate([items[0], stale, items[1], items[2]])]
    keyless.run()
    assert sorted(item.work_id for item in keyless.sendable()) == sorted(item.work_id for item in items)
    assert [cleared.permit for cleared in keyless.cleared() if cleared.item is None] == [requests[1].permit]
    assert len(keyless.submitted()) == 3


def test_more_submissions_than_one_write_takes(keyless: Customers) -> None:
    """However many wait, each may be sent once."""
    items = [keyless.deposited() for _ in range(2 * BATCH_MAX + 3)]
    for number, item in enumerate(items):
        keyless.submit(item, number)
    keyless.run()
    assert [item.work_id for item in keyless.sendable()] == [item.work_id for item in items]


def elsewhere_never_received(keyless: Customers, other: Customers) -> WorkItem:
    """Another process takes the work, submits it, records that it never arrived, and dies."""
    [item] = other.claim()
    other.submit(item)
    other.run()
    [out] = other.sendable()
    other.report(out, Unknown("timeout"))
    other.run(KEYLESS.lookup_after_s[0])
    for _ in range(10):
        other.run(KEYLESS.settle_s)
        if taken := other.claim():
            if taken[0].action is Action.SUBMIT:
                break
            other.report(taken[0], NotReceived())
            other.run()
    other.real.retire_owner(other.owner, unsent=True)
    [again] = keyless.claim()
    assert again.action is Action.SUBMIT
    return again


def test_an_outdated_cache_leaves_no_work_leased(keyless: Customers, another_process: Callable[[], Customers]) -> None:
    """After an attempt of another process since the last load, work that is leased to this process is not dropped."""
    first = keyless.deposited()
    keyless.real.retire_owner(OWNER, unsent=True)
    other = another_process()
    keyless.real.register_owner(OWNER)
    other = replace(other, policy=KEYLESS)
    item = elsewhere_never_received(keyless, other)
    assert item.work_id == first.work_id
    keyless.submit(item)
    keyless.run()
    assert [it.token for it in keyless.sendable()] == [item.token + 1]
    assert keyless.submitted() == [(item.work_id, 1), (item.work_id, 2)]
