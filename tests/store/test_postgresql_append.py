"""The guarantees of the PostgreSQL adapter's ``append`` beyond the port: one round trip, and no lost positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg.conninfo import conninfo_to_dict

from domain.account import Balance
from store.errors import UnstorableError
from store.port import (
    Claim,
    CloseWork,
    Committed,
    Conflict,
    DeadLetterFilter,
    Duplicate,
    Fence,
    Fenced,
    WorkError,
    Write,
)
from store.postgresql.adapter import PostgresqlStore
from tests.store.builders import OWNER, START, Customer, Step, move, received
from tests.store.looking import versions
from tests.store.postgresql_server import NOT_DURABLE, Schema
from tests.store.proxy import Proxy

COMMITTED = Committed()


@pytest.fixture
def store(schema: Schema, shared_store: PostgresqlStore) -> PostgresqlStore:
    """The shared store without a row but OWNER."""
    assert schema.execute("SELECT 1 FROM events") == []
    shared_store.register_owner(OWNER)
    return shared_store


@pytest.fixture
def proxy(schema: Schema) -> Iterator[Proxy]:
    """A connection to the server on which messages are counted."""
    proxy = Proxy(*address(schema))
    yield proxy
    proxy.close()


def address(schema: Schema) -> tuple[str, int]:
    """The server's address."""
    parts = conninfo_to_dict(schema.url)
    return str(parts.get("host", "127.0.0.1")), int(parts.get("port") or 5432)


def through(proxy: Proxy, schema: Schema, *, options: str = NOT_DURABLE) -> str:
    """The parameters of a connection through the proxy, which reads no TLS."""
    return schema.conninfo(options=options, host="127.0.0.1", port=proxy.port, sslmode="disable", gssencmode="disable")


@pytest.mark.parametrize("dependent", [False, True])
def test_a_batch_is_one_round_trip(schema: Schema, proxy: Proxy, dependent: bool) -> None:  # noqa: FBT001
    """Good, conflicting, duplicate, fenced and dependent writes are one statement, which commits by itself."""
    store = PostgresqlStore(through(proxy, schema), writers=1)
    store.register_owner(OWNER)
    claim = Claim("key", "1", b"t1")
    stale, late, twice, good, prepared = (Customer(name) for name in ("stale", "late", "twice", "good", "prepared"))
    rival = stale.twin()
    assert store.append([rival.deposit("t1", claims=[claim]), late.deposit("t2", owner=OWNER)]) == [COMMITTED] * 2
    # Dependent writes are another statement. It is prepared once for the connection, in a round trip of its own.
    assert store.append([prepared.deposit("p1"), prepared.deposit("p2")]) == [COMMITTED] * 2
    batch = [
        good.deposit("t3", owner=OWNER),
        stale.deposit("t4"),
        late.complete("t2", fence=Fence("t2", 7)),
        twice.deposit("t5", claims=[Claim("key", "1", b"t5")]),
    ]
    if dependent:
        batch += [good.deposit("t6"), good.complete("t3", fence=Fence("t3", 1))]
    before = proxy.round_trips
    answers = store.append(batch)
    assert proxy.round_trips == before + 1
    missed = tuple(store.stream_events(stale.stream, after=0, limit=10))
    assert len(missed) == 1
    assert answers == [COMMITTED, Conflict(missed), Fenced(0), Duplicate(0, claim), *([COMMITTED] * 2)][: len(batch)]
    stored = [1, 2, 3, 4] if dependent else [1]
    assert [versions(store, one.stream) for one in (good, stale, late, twice)] == [stored, [1], [1], []]
    store.close()


def test_refused_writes_take_no_positions(store: PostgresqlStore) -> None:
    """Positions have no gaps when writes are refused, for whatever reason."""
    winner = Customer()
    store.append([winner.deposit("t0", claims=[Claim("key", "0", b"")])])
    for number in range(1, 6):
        twice, fenced = Customer(f"twice{number}"), Customer(f"fenced{number}")
        losers = [
            Customer().deposit(f"lost{number}"),
            twice.deposit(f"twice{number}", claims=[Claim("key", "0", b"x")]),
            fenced.write(*_stale_step(number)),
        ]
        answers = store.append([*losers, winner.deposit(f"t{number}")])
        assert [type(answer) for answer in answers] == [Conflict, Duplicate, Fenced, Committed]
    positions = [event.position for event in store.stream_events(winner.stream, after=0, limit=10)]
    assert positions == list(range(positions[0], positions[0] + 6))


@pytest.mark.parametrize("form", ["closed", "moved", "two fences", "claim"])
def test_each_check_of_a_token(store: PostgresqlStore, form: str) -> None:
    """A stale token refuses the whole write, whatever the form in which it is checked, and the next write succeeds."""
    customer, other = Customer(), Customer("other")
    store.append([customer.deposit("t1", owner=OWNER), customer.deposit("t2", owner=OWNER), other.deposit("t3")])
    stale = customer.twin()
    claims = [Claim("key", "1", b"x")] if form == "claim" else []
    last = move("t1") if form == "moved" else CloseWork("t1")
    steps = [Step((received("t4"),), claims, Fence("t1", 7), (last,))]
    if form == "two fences":
        steps.insert(0, Step((received("t5"),), fence=Fence("t2", 1), work=(CloseWork("t2"),)))
    refused = Fenced(len(steps) - 1)
    assert store.append([stale.write(*steps), other.complete("t3", fence=Fence("t3", 1))]) == [refused, COMMITTED]
    assert store.load(customer.stream).head == customer.head
    assert store.work_counts() == {("gatewayA", "leased"): 2}
    assert store.append([customer.complete("t1", fence=Fence("t1", 1))]) == [COMMITTED]
    assert store.load(customer.stream).head == customer.head


def test_a_row_that_seems_new_or_known_is_stored(store: PostgresqlStore) -> None:
    """The times of a transaction only hint whether its row exists. A wrong hint costs time and changes nothing."""
    known, new = Customer("known"), Customer("new")
    store.append([known.deposit("t1")])
    completed, first = known.complete("t1"), new.deposit("t2")
    assert completed.transactions[0].updated_at == completed.transactions[0].created_at
    (later,) = (replace(one, updated_at=one.updated_at + timedelta(seconds=1)) for one in first.transactions)
    assert store.append([completed, replace(first, transactions=(later,))]) == [COMMITTED] * 2
    assert store.load(known.stream, ["t1"]).account.transactions["t1"] == completed.transactions[0]
    assert store.load(new.stream, ["t2"]).account.transactions["t2"] == later


def test_a_lost_beginning_is_a_conflict(store: PostgresqlStore) -> None:
    """Of several writes that begin streams, those whose stream has begun meanwhile lose, and the others win."""
    customers = [Customer(f"c{number}") for number in range(6)]
    rivals = [one.twin() for one in customers]
    store.append([rival.deposit(f"r{number}") for number, rival in enumerate(rivals) if number % 2])
    batch = [one.deposit(f"t{number}") for number, one in enumerate(customers)]
    assert [type(answer) for answer in store.append(batch)] == [Committed, Conflict] * 3
    assert [type(answer) for answer in store.append(batch)] == [Committed, Conflict] * 3, "winners are recognised"
    assert [versions(store, one.stream) for one in customers] == [[1]] * 6


def _stale_step(number: int) -> list[Step]:
    return [Step((received(f"fenced{number}"),), fence=Fence("nothing", 1))]


def test_a_write_that_cannot_be_stored_does_not_affect_others(store: PostgresqlStore) -> None:
    """A check that fails stores nothing of the batch. The other writes can be stored one by one."""
    good, bad = Customer("good").deposit("t1"), Customer("bad").deposit("t2")
    bad = Write(bad.stream, bad.head, bad.parts, bad.transactions, (("USD", Balance(-1, 0)),))
    with pytest.raises(UnstorableError):
        store.append([good, bad])
    assert store.append([good]) == [COMMITTED]
    assert versions(store, bad.stream) == []


def test_text_that_the_database_cannot_hold(store: PostgresqlStore) -> None:
    """PostgreSQL has no U+0000 in text. Such a write fails alone, and errors of attempts are stored without it."""
    with pytest.raises(UnstorableError):
        store.append([Customer().deposit("t1", claims=[Claim("key", "\x00", b"")])])
    customer = Customer()
    store.append([customer.deposit("t1")])
    error = WorkError(START, "a provider's \x00")
    assert store.append([customer.write(Step(work=(move("t1", errors=(error,)),)))]) == [COMMITTED]
    (item,) = store.claim_work(OWNER, "gatewayA", 1)
    assert item.errors == (error,)


def test_a_large_batch_is_stored_in_order(store: PostgresqlStore) -> None:
    """Hundreds of writes in one batch, with claims, work and rows, are all stored in the given order."""
    customers = [Customer(f"c{number:03}") for number in range(300)]
    batch = [one.deposit(f"t-{one.stream.id}", claims=[Claim("key", one.stream.id, b"")]) for one in customers]
    assert store.append(batch) == [COMMITTED] * 300
    assert [event.stream for event in store.all_events(None, after=0, limit=1000)] == [one.stream for one in customers]
    assert store.append(batch) == [COMMITTED] * 300, "recognised by its events"
    assert len(store.all_events(None, after=0, limit=1000)) == 300


def test_work_that_cannot_be_read_is_parked(store: PostgresqlStore, schema: Schema) -> None:
    """Damaged work waits for an operator and delays no other work; so does work of a damaged transaction."""
    customer = Customer()
    store.append([customer.deposit(f"t{number}") for number in range(3)])
    schema.execute("UPDATE work SET errors = '[7]' WHERE work_id = 't0'")
    schema.execute(
        "UPDATE transactions SET status = 'failed', failure_code = 'x', failure_category = 'odd'"
        " WHERE transaction_id = 't1'"
    )
    assert [item.work_id for item in store.claim_work(OWNER, "gatewayA", 10)] == ["t2"]
    assert store.work_counts() == {("gatewayA", "leased"): 1, ("gatewayA", "parked"): 2}
    letters = store.dead_letters("main", DeadLetterFilter(), before=None, limit=10)
    assert [(letter.item.work_id, letter.item.transaction is None) for letter in letters] == [
        ("t1", True),
        ("t0", False),
    ]
    assert all("cannot be read" in letter.item.errors[-1].error for letter in letters)
