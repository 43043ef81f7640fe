"""Resolutions by an operator: recorded on the state that the operator saw, and never while a process sends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.replies import Accepted
from domain.account import Refused, Status
from domain.commands import Resolution, Resolve
from domain.outcomes import Approved, Unknown
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.operations.fixtures import (
    UNCERTAIN,
    resolution,
    resolve,
    unknown,
)
from tests.actors.support import Trouble, TroubledStore


@pytest.mark.parametrize("completed", [True, False])
def test_a_resolution_ends_the_transaction_and_its_work(customers: Customers, *, completed: bool) -> None:
    """Its events have the operator, reason and evidence; a late answer changes nothing."""
    item = unknown(customers)
    request = resolve(customers, item, completed=completed)
    customers.run()
    assert isinstance(answer(request), Accepted)
    end = customers.transaction(item.work_id)
    assert end.status is (Status.COMPLETED if completed else Status.FAILED)
    assert customers.real.work_counts() == {}
    last = customers.real.stream_events(item.stream, after=2, limit=10)
    assert all(b'"evidence":"ticket 7"' in event.body and b'"who":"ann"' in event.body for event in last)


def test_a_transaction_being_sent_cannot_be_resolved(customers: Customers) -> None:
    """A call may be running for a pending transaction that is no dead letter."""
    item = customers.deposited()
    refused = resolve(customers, item)
    customers.run()
    said = answer(refused)
    assert isinstance(said, Refused)
    assert said.code == "still-under-way"
    assert customers.transaction(item.work_id).status is Status.PENDING


def test_a_dead_letter_can_be_resolved_while_no_process_takes_it_up(customers: Customers) -> None:
    """Its token fences the resolution."""
    item = customers.dead_letter()
    done = resolve(customers, item)
    customers.run()
    assert isinstance(answer(done), Accepted)

    other = customers.dead_letter()
    late = resolve(customers, other, completed=False)
    customers.run(4_000.0)  # it is due
    assert isinstance(answer(late), Accepted)

    third = customers.dead_letter()
    command = Resolve(third.work_id, Resolution.COMPLETED, customers.transaction(third.work_id).version, "r")
    request = resolution(customers, third, command)
    customers.run(4_000.0)
    assert [claimed.work_id for claimed in customers.claim()] == [third.work_id]
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    customers.router.tell(third.stream, request)
    customers.run()
    said = answer(request)
    assert isinstance(said, Refused)
    assert said.code == "dead-letter-busy"
    assert customers.transaction(third.work_id).status is Status.PENDING


def test_what_another_process_did_meanwhile_makes_it_stale(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """The version is confirmed at the stream's head, not in memory."""
    item = unknown(customers)
    version = customers.transaction(item.work_id).version
    other = another_process()
    (claimed,) = other.claim() or other.claim() or [item]
    other.callback(claimed, Approved("A-1", final=True))
    customers.run()
    request = resolve(customers, item, completed=False, version=version)
    customers.run()
    said = answer(request)
    assert isinstance(said, Refused)
    assert said.code == "stale-version"
    assert customers.transaction(item.work_id).status is Status.COMPLETED


@pytest.mark.parametrize("stored", [False, True])
def test_a_resolution_in_doubt_gets_the_recorded_answer(
    customers: Customers, store: TroubledStore, *, stored: bool
) -> None:
    """There is one end, and the reply reports it."""
    item = unknown(customers)
    store.inject("append", Trouble(UNCERTAIN, after=stored), UNCERTAIN)
    request = resolve(customers, item)
    customers.run(DEADLINE_S)
    assert isinstance(answer(request), Accepted)
    assert customers.types()[-2:] == ["DepositProcessed", "DepositCompleted"]
    assert customers.types().count("DepositCompleted") == 1


def test_what_is_being_sent_again_cannot_be_resolved(customers: Customers) -> None:
    """Unknown at a gateway with keys, and about to be sent again under the same key: the money may still move."""
    item = customers.deposited()
    customers.report(item, Unknown("timeout"))
    customers.run(10.0)
    assert [claimed.work_id for claimed in customers.claim()] == [item.work_id]
    assert customers.transaction(item.work_id).status is Status.UNKNOWN
    refused = resolve(customers, item, completed=False)
    customers.run()
    said = answer(refused)
    assert isinstance(said, Refused)
    assert said.code == "still-under-way"


def test_a_resolution_that_lost_to_the_provider_is_stale(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """The provider reported the same end at the same time: the resolution is stale and not recorded."""
    item = unknown(customers)
    other = another_process()
    other.callback(item, Approved(f"A-{item.work_id}", final=True))
    request = resolve(customers, item)
    customers.run(1.0)
    said = answer(request)
    evidence = any(b"ticket 7" in event.body for event in customers.real.stream_events(item.stream, after=0, limit=99))
    assert isinstance(said, Accepted) == evidence
