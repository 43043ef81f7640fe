"""When the SQLite adapter stores writes as one statement, and how that statement finds its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from store.port import Claim, Fence, Head, Part, StreamKey, Write
from store.sqlite.adapter import SqliteStore
from store.sqlite.batch import INSERT, AppendValues
from store.sqlite.migrate import migrate
from tests.store.builders import OWNER, Clock, Customer, Step, complete, deposit, move, received


def _of_different_customers() -> Sequence[Write]:
    return [Customer(f"c{number}").deposit(f"t{number}", owner=OWNER) for number in range(3)]


def _of_different_work() -> Sequence[Write]:
    customers = [Customer("a"), Customer("b")]
    for customer in customers:
        customer.deposit(f"t-{customer.stream.id}")
    return [
        customer.complete(f"t-{customer.stream.id}", fence=Fence(f"t-{customer.stream.id}", 1))
        for customer in customers
    ]


def _of_one_customer() -> Sequence[Write]:
    customer = Customer()
    return [customer.deposit("t1"), customer.deposit("t2")]


def _under_one_claim() -> Sequence[Write]:
    return [Customer(name).deposit(name, claims=[Claim("key", "1", b"")]) for name in "ab"]


def _with_two_changes_of_one_piece_of_work() -> Sequence[Write]:
    customer = Customer()
    customer.deposit("t1")
    return [customer.write(Step((), fence=Fence("t1", 1), work=(move("t1"),)), complete("t1", fence=Fence("t1", 1)))]


def _with_a_fence_on_what_another_changes() -> Sequence[Write]:
    customer = Customer("a")
    fenced = Write(StreamKey("main", "b"), Head(), (Part(fence=Fence("t1", 1)),))
    return [customer.deposit("t1"), fenced]


@pytest.mark.parametrize(
    ("writes", "independent"),
    [
        (_of_different_customers, True),
        (_of_different_work, True),
        (_of_one_customer, False),
        (_under_one_claim, False),
        (_with_two_changes_of_one_piece_of_work, False),
        (_with_a_fence_on_what_another_changes, False),
    ],
)
def test_only_independent_writes_are_stored_together(
    writes: Callable[[], Sequence[Write]], *, independent: bool
) -> None:
    """Writes are one statement only when their order makes no difference."""
    assert AppendValues(writes(), 0).independent == independent


def test_independent_writes_are_one_statement(tmp_path: Path) -> None:
    """The usual batch is one statement with its COMMIT, and so one return from the thread that executes it."""
    migrate(tmp_path / "payments.db")
    store = SqliteStore(tmp_path / "payments.db", clock=Clock())
    store.register_owner(OWNER)
    ran: list[str] = []

    def trace(event: Mapping[str, Any]) -> None:
        if not event["trigger"]:
            ran.append(event["sql"])

    store._writer._connection.trace_v2(apsw.SQLITE_TRACE_STMT, trace)
    store.append(_of_different_customers())
    store._writer._connection.trace_v2(0, None)
    assert ran == [INSERT]
    store.close()


def test_a_batch_reads_no_whole_table(tmp_path: Path) -> None:
    """Every statement of the batch finds the rows that it compares or changes through a key or an index."""
    migrate(tmp_path / "payments.db")
    store = SqliteStore(tmp_path / "payments.db", clock=Clock())
    connection = store._writer._connection
    connection.config(apsw.SQLITE_DBCONFIG_TRIGGER_EQP, 1)
    values = AppendValues([Customer().write(deposit("t1"), Step((received("t2"),)))], 0).values
    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {INSERT}", values).fetchall()]
    store.close()
    assert len([step for step in plan if "VIRTUAL TABLE" in step]) == 10, plan
    rest = [step for step in plan if "VIRTUAL TABLE" not in step and "CONSTANT" not in step]
    assert [step for step in rest if "SEARCH" in step]
    assert not [step for step in rest if step.startswith("SCAN") or "TEMP B-TREE" in step], plan
