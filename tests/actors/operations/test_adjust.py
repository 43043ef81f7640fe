"""Corrections of a balance: each happens once, and never below zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.replies import Adjusted, Replayed
from domain.account import Refused
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.operations.fixtures import (
    UNCERTAIN,
    adjust,
    available,
)
from tests.actors.support import Trouble, TroubledStore, stream


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("key", [None, "k"])
def test_an_adjustment_in_doubt_happens_once(
    customers: Customers, store: TroubledStore, key: str | None, *, stored: bool
) -> None:
    """This holds whether or not its first write was stored."""
    customers.completed(minor=1_000)
    store.inject("append", Trouble(UNCERTAIN, after=stored), UNCERTAIN)
    request = adjust(customers, -300, key=key)
    customers.run(DEADLINE_S)
    said = answer(request)
    assert isinstance(said, Adjusted)
    assert said.account.balances["USD"].available == 700
    assert available(customers) == 700
    assert customers.types().count("BalanceAdjusted") == 1


def test_an_adjustment_under_a_key_is_one(customers: Customers, another_process: Callable[[], Customers]) -> None:
    """This holds in this process and in others, now and later."""
    customers.completed(minor=1_000)
    requests = [adjust(customers, 5, key="k"), adjust(another_process(), 5, key="k"), adjust(customers, 5, key="k")]
    customers.run(1.0)
    answers = [answer(request) for request in requests]
    (first,) = [said for said in answers if isinstance(said, Adjusted)]
    assert [said for said in answers if said is not first] == [Replayed(first.adjustment_id)] * 2
    assert available(customers) == 1_005
    reused = adjust(customers, 6, key="k")
    customers.run()
    said = answer(reused)
    assert isinstance(said, Refused)
    assert said.code == "idempotency-key-reused"


def test_of_two_adjustments_covered_once_one_is_refused(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """No balance falls below zero, whichever process decides."""
    customers.completed(minor=1_000)
    another = another_process()
    another.deposited(minor=1)
    customers.run()
    requests = [adjust(customers, -700), adjust(another, -700)]
    customers.run(1.0)
    assert sorted(type(answer(request)).__name__ for request in requests) == ["Adjusted", "Refused"]
    assert available(customers) == 300


def test_a_customer_without_a_record_is_refused(customers: Customers) -> None:
    """A customer without a record: refused, and nothing is recorded."""
    refused = adjust(customers, 5, customer="absent")
    customers.run()
    said = answer(refused)
    assert isinstance(said, Refused)
    assert said.code == "no-such-customer"
    assert customers.real.customer(stream("absent")) is None
