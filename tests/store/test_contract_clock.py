"""Contract of due times: they move with a clock that is set back. Hastened lookups do not use up their schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from store.backend import PaymentStore
from store.port import Action, Committed, WorkState
from store.sqlite.adapter import SqliteStore
from tests.store.builders import OWNER, START, Customer, Step, move

COMMITTED = Committed()
HOUR_S = 3600.0


def lay(
    store: PaymentStore,
    customer: Customer,
    key: str,
    *,
    state: WorkState = WorkState.QUEUED,
    action: Action = Action.SUBMIT,
    delay_s: float = 0.0,
    attempts: int = 0,
) -> None:
    """Create work in the given state."""
    store.append([customer.deposit(key, owner=OWNER)])
    moved = move(key, state=state, action=action, delay_s=delay_s, attempts=attempts)
    assert store.append([customer.write(Step(work=(moved,)))]) == [COMMITTED]


def set_back(store: PaymentStore, pass_time: Callable[[float], None], lost_s: float) -> int:
    """Set the host's clock back. Returns the number of moved pieces. A store without a server uses that clock."""
    if isinstance(store, SqliteStore):
        pass_time(-lost_s)
    return store.clock_set_back(lost_s)


def test_due_times_keep_their_distance(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Queued work and dead letters of every age keep their distance.

    Where the times are a server's, nothing has to move.
    """
    customer = Customer()
    lay(store, customer, "a now")
    lay(store, customer, "b lookup", action=Action.RESOLVE, delay_s=60.5)
    lay(store, customer, "c dead", state=WorkState.DEAD, delay_s=600)
    lay(store, customer, "d parked", state=WorkState.PARKED)
    lay(store, customer, "e leased", state=WorkState.LEASED)
    moved = set_back(store, pass_time, HOUR_S)
    assert moved == (3 if isinstance(store, SqliteStore) else 0)
    found: list[str] = []
    for seconds in (0, 60, 1, 538, 1):
        pass_time(seconds)
        found.append(" ".join(item.work_id for item in store.claim_work(OWNER, "gatewayA", 10)))
    assert found == ["a now", "", "b lookup", "", "c dead"]


def test_nothing_else_of_the_work_changes(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Tokens, attempts and states stay, so no owner loses work. A parked dead letter never has a due time."""
    customer = Customer()
    lay(store, customer, "dead", state=WorkState.DEAD, delay_s=600, attempts=5)
    lay(store, customer, "parked", state=WorkState.PARKED, attempts=9)
    before = {key: store.dead_letter("main", key) for key in ("dead", "parked")}
    set_back(store, pass_time, HOUR_S)
    dead, parked = (store.dead_letter("main", key) for key in ("dead", "parked"))
    assert before["dead"] is not None
    assert dead is not None
    due = START + timedelta(seconds=600 - HOUR_S) if isinstance(store, SqliteStore) else before["dead"].next_attempt_at
    assert dead == before["dead"]._replace(next_attempt_at=due)
    assert parked == before["parked"]


def test_due_times_that_are_too_late_are_limited(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A wrong clock had planned it. Where the times are a server's, there is no such work."""
    customer = Customer()
    lay(store, customer, "a soon", delay_s=30)
    lay(store, customer, "b then", state=WorkState.DEAD, delay_s=HOUR_S)
    lay(store, customer, "c queued", delay_s=400 * 24 * HOUR_S)
    lay(store, customer, "d lookup", action=Action.RESOLVE, delay_s=HOUR_S + 1)
    lay(store, customer, "e dead", state=WorkState.DEAD, delay_s=9 * HOUR_S)
    lay(store, customer, "f parked", state=WorkState.PARKED)
    lay(store, customer, "g leased", state=WorkState.LEASED)
    by_host = isinstance(store, SqliteStore)
    assert [store.limit_dues(HOUR_S) for _ in range(2)] == ([3, 0] if by_host else [0, 0])
    found: list[str] = []
    for seconds in (29, 1, HOUR_S - 31, 1):
        pass_time(seconds)
        items = store.claim_work(OWNER, "gatewayA", 10)
        found.append(" ".join(sorted(item.work_id for item in items)))
        assert {item.token for item in items} <= {3}, "its owner keeps it"
    assert found == ["", "a soon", "", "b then c queued d lookup e dead" if by_host else "b then"]
    assert store.dead_letter("main", "f parked") is not None


def test_an_empty_store_follows_any_clock(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Nothing has to be moved, and later work follows the new time."""
    assert set_back(store, pass_time, HOUR_S) == 0
    assert store.limit_dues(0.0) == 0
    lay(store, Customer(), "t1", delay_s=5)
    assert store.next_due_s("gatewayA") == pytest.approx(5, abs=0.5)


def test_a_hastened_lookup_does_not_count_as_one_of_its_schedule(
    store: PaymentStore, pass_time: Callable[[float], None]
) -> None:
    """It is subtracted in advance, but not below 0. A lookup that was due counts, and so does all other work."""
    customer = Customer()
    for attempts in (0, 1, 2, 7):
        lay(store, customer, f"later {attempts}", action=Action.RESOLVE, delay_s=60, attempts=attempts)
    lay(store, customer, "due", action=Action.RESOLVE, delay_s=1, attempts=3)
    lay(store, customer, "sending", delay_s=2, attempts=3)
    pass_time(1)
    assert store.hasten_lookups("gatewayA") == 4
    pass_time(1)
    assert {item.work_id: item.attempts for item in store.claim_work(OWNER, "gatewayA", 10)} == {
        "later 0": 0,
        "later 1": 0,
        "later 2": 1,
        "later 7": 6,
        "due": 3,
        "sending": 3,
    }


def test_hastened_lookups_are_subtracted_once(store: PaymentStore) -> None:
    """A breaker that opens and closes repeatedly hastens due lookups again, which changes nothing more."""
    lay(store, Customer(), "t1", action=Action.RESOLVE, delay_s=60, attempts=5)
    assert [store.hasten_lookups("gatewayA") for _ in range(3)] == [1, 0, 0]
    [item] = store.claim_work(OWNER, "gatewayA", 10)
    assert item.attempts == 4
