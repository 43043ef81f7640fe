"""Contract of loads of many customers: each gets what a load of that customer alone returns."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.account import Balance
from domain.events import Kind
from store.backend import PaymentStore
from store.port import Committed, Head, Load, StreamKey
from tests.effort import examples
from tests.store.builders import Customer, Step, complete, received

COMMITTED = Committed()
ODD = ("\x00", "", "\\u0000", '"', "null", "{}")
"""Names that no customer has. Some databases cannot store them."""
STREAMS = [
    *(StreamKey(merchant, customer) for merchant in ("main", "other") for customer in ("a", "b", "c", "absent")),
    *(StreamKey("main", odd) for odd in ODD),
    StreamKey("\x00", "a"),
]
IDS = ["main-a-1", "main-a-2", "main-b-1", "other-a-1", "main-c-3", "none", *ODD]


@pytest.fixture
def filled(store: PaymentStore) -> PaymentStore:
    """The store with customers of several merchants: without a balance, with one, and with two."""
    for merchant in ("main", "other"):
        a, b, c = (Customer(name, merchant) for name in "abc")
        writes = [
            a.deposit(f"{merchant}-a-1"),
            a.complete(f"{merchant}-a-1"),
            a.write(Step((received(f"{merchant}-a-2", 2**53 + 1, "KWD"),)), complete(f"{merchant}-a-2")),
            b.deposit(f"{merchant}-b-1"),
            *(c.deposit(f"{merchant}-c-{number}", number) for number in range(1, 5)),
            c.complete(f"{merchant}-c-4"),
            c.write(Step((received(f"{merchant}-c-5", 3, "USD", kind=Kind.WITHDRAWAL, reserved=True),))),
        ]
        assert store.append(writes) == [COMMITTED] * len(writes)
    return store


loads = st.lists(
    st.builds(Load, st.sampled_from(STREAMS), st.lists(st.sampled_from(IDS), max_size=4, unique=True)), max_size=8
)


@settings(examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads=loads)
def test_loads_together_are_the_loads_alone(filled: PaymentStore, loads: list[Load]) -> None:
    """In any combination each customer gets its own head, balances and named transactions, in the order asked for."""
    assert filled.load_many(loads) == [filled.load(*one) for one in loads]


def test_loads_together_have_every_customers_rows(filled: PaymentStore) -> None:
    """Balances, head and transactions are those of the customer; what it did not ask for is not loaded."""
    a, b, absent = filled.load_many(
        [
            Load(StreamKey("main", "a"), ["main-a-2", "main-b-1"]),
            Load(StreamKey("main", "b")),
            Load(StreamKey("main", "absent"), ["main-a-1"]),
        ]
    )
    assert dict(a.account.balances) == {"USD": Balance(10_000), "KWD": Balance(2**53 + 1)}
    assert list(a.account.transactions) == ["main-a-2"]
    assert a.head.version == a.account.version > 0
    assert (dict(b.account.balances), dict(b.account.transactions), b.account.customer_id) == ({}, {}, "b")
    assert (absent.head, absent.account.customer_id, dict(absent.account.transactions)) == (Head(), "absent", {})


def test_a_name_that_cannot_be_stored_hides_no_customer(filled: PaymentStore) -> None:
    """It is unknown, like any other missing customer, and those beside it are found."""
    a = Load(StreamKey("main", "a"), ["main-a-1"])
    for odd in ODD:
        beside = [Load(StreamKey("main", odd), ["main-a-1"]), a, Load(a.stream, [odd, "main-a-1"])]
        missing, found, same = filled.load_many(beside)
        assert missing.head == Head()
        assert found == same == filled.load(*a)
        assert found.head != Head()


def test_each_of_many_loads_is_one_snapshot(store: PaymentStore) -> None:
    """While a writer continues, each customer's head, balance and transaction are of the same instant."""
    customers = [Customer("a"), Customer("b")]
    loads = [Load(customer.stream, [f"{customer.stream.id}29"]) for customer in customers]
    done = threading.Event()
    torn: list[object] = []

    def watch() -> None:
        while not done.is_set():
            for snapshot, load in zip(store.load_many(loads), loads, strict=True):
                version, account = snapshot.head.version, snapshot.account
                balance = account.balances.get("USD", Balance())
                known = set(account.transactions)
                if version != account.version or balance.available != version // 3:
                    torn.append(snapshot)
                if known != (set(load.transaction_ids) if version > 29 * 3 else set()):
                    torn.append(snapshot)

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    for number in range(30):
        keys = [(customer, f"{customer.stream.id}{number}") for customer in customers]
        assert store.append([customer.deposit(key, 1) for customer, key in keys]) == [COMMITTED] * 2
        assert store.append([customer.complete(key) for customer, key in keys]) == [COMMITTED] * 2
    done.set()
    for watcher in watchers:
        watcher.join()
    assert torn == []
