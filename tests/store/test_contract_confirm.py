"""Contract of a write that confirms what its writer has read: a commit, if those data are still on record."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from store.backend import PaymentStore
from store.port import Committed, Conflict, Fence, Fenced, Head, Part, Write
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.store.builders import OWNER, Clock, Customer

COMMITTED = Committed()


def test_a_head_on_record_is_confirmed(store: PaymentStore) -> None:
    """It is confirmed whether the stream still ends there or has continued, and any number of times."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    then = customer.head
    confirm = Write(customer.stream, then, (), confirm=True)
    assert store.append([confirm]) == [COMMITTED]
    store.append([customer.deposit("t2")])
    assert store.append([confirm, confirm]) == [COMMITTED, COMMITTED]
    assert store.load(customer.stream).head == customer.head


def test_a_head_that_is_not_on_record_is_a_conflict(store: PaymentStore) -> None:
    """A head of another history, before or beyond the end, is a conflict."""
    customer, other = Customer(), Customer("other")
    store.append([customer.deposit("t1"), other.deposit("t2")])
    beyond = customer.twin()
    beyond.deposit("t3")
    for head in (beyond.head, other.head):
        assert store.append([Write(customer.stream, head, (), confirm=True)]) == [Conflict(())]


@pytest.mark.parametrize("token", [1, 2])
def test_its_parts_are_stored_or_refused_as_usual(store: PaymentStore, token: int) -> None:
    """A fence is checked after the head. Other writes of the batch are answered on their own."""
    customer, other = Customer(), Customer("other")
    store.append([customer.deposit("t1", owner=OWNER)])
    fenced = Write(customer.stream, customer.head, (Part(fence=Fence("t1", token)),), confirm=True)
    expected = COMMITTED if token == 1 else Fenced(0)
    assert store.append([fenced, other.deposit("t2")]) == [expected, COMMITTED]


def test_events_are_stored_at_the_current_head_only(store: PaymentStore) -> None:
    """With events it is a usual write: an old head is a conflict that returns the missed events."""
    customer = Customer()
    store.append([customer.deposit("t1")])
    rival = customer.twin()
    store.append([customer.deposit("t2")])
    late = rival.deposit("t3")
    (answer,) = store.append([Write(late.stream, late.head, late.parts, late.transactions, confirm=True)])
    assert isinstance(answer, Conflict)
    assert [event.version for event in answer.missed] == [2]


def test_on_sqlite_it_is_a_commit(tmp_path: Path) -> None:
    """Other connections see that something was written, and the write is synced."""
    path = tmp_path / "payments.db"
    migrate(path)
    store = SqliteStore(path, clock=Clock())
    watch = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    before = watch.pragma("data_version")
    assert store.append([Write(Customer().stream, Head(), (), confirm=True)]) == [COMMITTED]
    assert watch.pragma("data_version") != before
    watch.close()
    store.close()
