"""Contract of refunds, captures and voids: stored with their parents, loaded with them, and audited together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.account import Balance, Status
from domain.events import Kind
from store.backend import PaymentStore
from store.errors import UnstorableError
from store.port import Committed, Load, StreamKey
from store.queries import TransactionFilter
from store.verify import verify
from tests.store.builders import Customer, child, story

COMMITTED = Committed()


def problems(store: PaymentStore) -> list[str]:
    """What an audit of the whole store finds."""
    with store.audit() as audit:
        return [problem.text for problem in verify(audit)]


def loaded(store: PaymentStore, customer: Customer, *transaction_ids: str) -> dict[str, object]:
    """The transactions of a load that names these."""
    return dict(store.load(customer.stream, transaction_ids).account.transactions)


@pytest.fixture
def customer() -> Customer:
    """The customer."""
    return Customer()


def test_every_row_reads_back_as_it_was_written(store: PaymentStore, customer: Customer) -> None:
    """After each append both rows of a child and its parent are those of the writer, wherever they are read."""
    for step in story():
        assert store.append([customer.write(step)]) == [COMMITTED]
        assert loaded(store, customer, *customer.account.transactions) == customer.account.transactions
    statuses = {key: one.status for key, one in customer.account.transactions.items() if len(key) == 2}
    assert statuses == {
        "d0": Status.COMPLETED,
        "d1": Status.COMPLETED,
        "d2": Status.VOIDED,
        "d3": Status.FAILED,
    }
    views = store.transactions("main", TransactionFilter(), before=None, limit=20)
    assert {view.transaction.transaction_id: view.transaction for view in views} == customer.account.transactions
    for key, transaction in customer.account.transactions.items():
        view = store.transaction("main", key)
        assert view is not None
        assert view.transaction == transaction
        assert transaction.correlation_id == "correlation-1"
    assert dict(store.load(customer.stream).account.balances) == {"USD": Balance(13_000)}


def test_an_audit_folds_children_into_their_parents(store: PaymentStore, customer: Customer) -> None:
    """After each append the rows of parents and children follow from the events."""
    for step in story():
        assert store.append([customer.write(step)]) == [COMMITTED]
        assert problems(store) == []


def test_a_parent_is_loaded_with_its_child(store: PaymentStore, customer: Customer) -> None:
    """Once, in load and load_many, and in the same snapshot; a parent brings no children."""
    other = Customer("other")
    assert store.append([other.deposit("d9")]) == [COMMITTED]
    for step in story()[:7]:
        assert store.append([customer.write(step)]) == [COMMITTED]
    assert set(loaded(store, customer, "d0-r")) == {"d0", "d0-r"}
    assert set(loaded(store, customer, "d0-r", "d0")) == {"d0", "d0-r"}
    assert set(loaded(store, customer, "d0-r", "d1-c", "absent")) == {"d0", "d0-r", "d1", "d1-c"}
    assert set(loaded(store, customer, "d0", "d1")) == {"d0", "d1"}
    assert loaded(store, other, "d0-r") == {}
    loads = [
        Load(customer.stream, ["d1-c"]),
        Load(other.stream, ["d9", "d0-r"]),
        Load(StreamKey("main", "absent"), ["d0-r"]),
        Load(customer.stream),
    ]
    found = store.load_many(loads)
    assert [set(one.account.transactions) for one in found] == [{"d1", "d1-c"}, {"d9"}, set(), set()]
    assert found == [store.load(*one) for one in loads]
    assert found[0].account.transactions["d1"] == customer.account.transactions["d1"]


def test_children_are_listed_by_their_parent(store: PaymentStore, customer: Customer) -> None:
    """Newest first; other merchants see none of them."""
    for step in story()[:10]:
        assert store.append([customer.write(step)]) == [COMMITTED]

    def listed(merchant: str = "main", before: str | None = None, **where: Any) -> list[str]:
        found = store.transactions(merchant, TransactionFilter(**where), before=before, limit=10)
        return [view.transaction.transaction_id for view in found]

    assert listed(parent_id="d1") == ["d1-r", "d1-c"]
    assert listed(parent_id="d1", before="d1-r") == ["d1-c"]
    assert listed(parent_id="d1", kind=Kind.REFUND) == ["d1-r"]
    assert listed(parent_id="d1", status=Status.FAILED) == ["d1-r"]
    assert listed(parent_id="d1", customer_id="another") == []
    assert listed(parent_id="d2") == listed("rival", parent_id="d1") == []
    assert listed(gateway_reference="A-d1-c") == ["d1-c"]
    assert listed(gateway_reference="A-d1-c", parent_id="d0") == listed("rival", gateway_reference="A-d1-c") == []
    assert listed(correlation_id="correlation-1", kind=Kind.REFUND) == ["d1-r", "d0-r"]
    assert listed(correlation_id="another") == listed("rival", correlation_id="correlation-1") == []
    assert listed(kind=Kind.CAPTURE) == ["d1-c"]
    assert listed(status=Status.AUTHORIZED) == ["d2"]
    for odd in ("\x00", "\ud800", ""):
        assert listed(parent_id=odd) == listed(gateway_reference=odd) == listed(correlation_id=odd) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"parent_id": None},
        {"parent_id": "d0", "kind": Kind.DEPOSIT},
        {"captured_minor": 10_001},
        {"captured_minor": 0},
        {"refunded_minor": 10_001},
        {"refunded_minor": -1},
        {"refunding_minor": -1},
        {"refunded_minor": 6_000, "refunding_minor": 4_001},
        {"captured_minor": 5_000, "refunded_minor": 5_001},
    ],
)
def test_impossible_amounts_are_not_stored(store: PaymentStore, customer: Customer, changes: dict[str, Any]) -> None:
    """The database itself refuses rows with more captured than held, or more refunded than taken."""
    for step in story()[:2]:
        store.append([customer.write(step)])
    write = customer.write(child(Kind.REFUND, "d0-r", "d0", 1_000))
    key = "d0-r" if "parent_id" in changes else "d0"
    rows = tuple(replace(row, **changes) if row.transaction_id == key else row for row in write.transactions)
    assert rows != write.transactions
    with pytest.raises(UnstorableError):
        store.append([replace(write, transactions=rows)])
    assert set(loaded(store, customer, "d0", "d0-r")) == {"d0"}
