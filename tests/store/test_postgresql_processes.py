"""Several stores on one database, as in several processes: races, dead owners, and no deadlock."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from psycopg import sql

from store.errors import StoreUnavailableError
from store.port import (
    Claim,
    CloseWork,
    Committed,
    Conflict,
    DeliveryCertainty,
    Duplicate,
    Fence,
    Fenced,
    Head,
    Part,
    StreamKey,
    WorkChange,
    WorkItem,
    WorkState,
    Write,
)
from store.postgresql.adapter import PostgresqlStore
from tests.store.builders import OWNER, Customer, Step, move, open_work, received
from tests.store.looking import versions
from tests.store.postgresql_server import NOT_DURABLE, Schema
from tests.store.processes import CHECKOUT

COMMITTED = Committed()
OTHER = "owner-2"
LEASED = WorkState.LEASED


@contextmanager
def stores(schema: Schema, count: int) -> Iterator[list[PostgresqlStore]]:
    """Independent stores. A wait for a lock that lasts until the time limit is a deadlock."""
    options = f"{NOT_DURABLE} -c lock_timeout=0 -c statement_timeout=30000 -c deadlock_timeout=100ms"
    with ExitStack() as stack:
        made = [PostgresqlStore(schema.conninfo(owner=True, options=options)) for _ in range(count)]
        for store in made:
            stack.callback(store.close)
        yield made


def deadlocks(schema: Schema) -> int:
    """The number of deadlocks in this database so far."""
    schema.execute("SELECT pg_stat_clear_snapshot()")
    ((count,),) = schema.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(count)


def rebase(customer: Customer, conflict: Conflict) -> None:
    """Let the customer's writer assume that its write is stored."""
    end = conflict.missed[-1]
    customer.head = Head(end.version, end.hash)
    customer.account = type(customer.account)(customer.stream.id, end.version)


def test_stores_race_for_the_same_streams(schema: Schema) -> None:
    """Two stores append batches over the same customers in every order, from several threads.

    Each version has one winner.
    """
    names, turns, workers = [f"c{number}" for number in range(6)], 12, 4
    before = deadlocks(schema)

    def run(worker: int, store: PostgresqlStore) -> int:
        customers, conflicts, chance = {name: Customer(name) for name in names}, 0, random.Random(worker)
        for turn in range(turns):
            waiting = list(names)
            while waiting:
                chance.shuffle(waiting)
                batch = [_deposit(customers[name], f"{worker}-{turn}-{name}", f"{turn}-{name}") for name in waiting]
                again = []
                for name, answer in zip(waiting, store.append(batch), strict=True):
                    if isinstance(answer, Conflict):
                        conflicts += 1
                        rebase(customers[name], answer)
                        again.append(name)
                    else:
                        assert isinstance(answer, Committed | Duplicate)
                waiting = again
        return conflicts

    with stores(schema, 2) as made, ThreadPoolExecutor(workers) as threads:
        assert sum(threads.map(run, range(workers), made * 2)) > 0
        for name in names:
            assert versions(made[0], StreamKey("main", name)) == list(range(1, turns + 1)), "each claim is taken once"
    assert deadlocks(schema) == before


def _deposit(customer: Customer, transaction_id: str, key: str) -> Write:
    return customer.twin().deposit(transaction_id, claims=[Claim("k", key, b"")])


def test_appends_beside_claims_and_dying_owners(schema: Schema) -> None:
    """Owners register, claim, complete and die concurrently: no deadlock, and no work is lost or done twice.

    The order of locks is the same everywhere: streams, owners, work.
    """
    customers = [Customer(f"c{number}") for number in range(20)]
    before, finished = deadlocks(schema), threading.Event()

    def work(number: int, store: PostgresqlStore) -> int:
        done, owner = 0, f"owner-{number}"
        while not finished.is_set():
            store.register_owner(owner)
            items = store.claim_work(owner, "gatewayA", 5)
            random.shuffle(items)
            moved = store.append([_fenced(item, item.token, move(item.work_id, state=LEASED)) for item in items])
            kept = [item for item, answer in zip(items, moved, strict=True) if answer == COMMITTED]
            closed = store.append([_fenced(item, item.token + 1, CloseWork(item.work_id)) for item in kept])
            assert all(answer in (COMMITTED, Fenced(0)) for answer in [*moved, *closed])
            done += closed.count(COMMITTED)
        return done

    def bury(store: PostgresqlStore) -> None:
        while not finished.is_set():
            for number in range(3):
                store.retire_owner(f"owner-{number}", unsent=random.random() < 0.5)

    with stores(schema, 2) as made, ThreadPoolExecutor(4) as threads:
        made[0].append([one.deposit(f"t{n}-{one.stream.id}") for one in customers for n in range(5)])
        workers = [threads.submit(work, number, made[number % 2]) for number in range(3)]
        releaser = threads.submit(bury, made[1])
        while made[0].work_counts() and not any(job.done() for job in workers):
            made[0].ping()
        finished.set()
        releaser.result()
        assert sum(job.result() for job in workers) == 100
    assert deadlocks(schema) == before


def _fenced(item: WorkItem, token: int, change: WorkChange) -> Write:
    return Write(item.stream, Head(), (Part((), (), Fence(item.work_id, token), (change,)),))


def test_concurrent_appends_of_one_claim(schema: Schema) -> None:
    """When many processes take one claim at once, one gets it and all others receive the held value."""
    count = 6
    start = threading.Barrier(count)

    def run(number: int, store: PostgresqlStore) -> list[object]:
        answers: list[object] = []
        for turn in range(10):
            write = Customer(f"c{number}").deposit(
                f"t{number}-{turn}", claims=[Claim("key", str(turn), bytes([number]))]
            )
            write = Write(StreamKey("main", f"{number}-{turn}"), write.head, write.parts)
            start.wait(30)
            answers += store.append([write])
        return answers

    with stores(schema, 2) as made, ThreadPoolExecutor(count) as threads:
        everything = list(threads.map(run, range(count), made * 3))
    for turn in range(10):
        answers = [answers[turn] for answers in everything]
        (winner,) = [number for number, answer in enumerate(answers) if answer == COMMITTED]
        held = Duplicate(0, Claim("key", str(turn), bytes([winner])))
        assert [answer for answer in answers if answer != COMMITTED] == [held] * (count - 1)


def test_work_opened_for_an_owner_that_dies_meanwhile_is_queued(schema: Schema) -> None:
    """An append and the removal of its owner exclude each other: no lease of a removed owner remains."""
    with stores(schema, 2) as (dying, living), ThreadPoolExecutor(1) as threads:
        for turn in range(30):
            dying.register_owner(OWNER)
            customer = Customer(f"c{turn}")
            appended = threads.submit(dying.append, [customer.deposit(f"t{turn}", owner=OWNER)])
            living.retire_owner(OWNER, unsent=False)
            assert appended.result() == [COMMITTED]
            assert living.work_counts() == {("gatewayA", "queued"): turn + 1}


def test_work_opened_for_an_owner_that_is_being_declared_dead_is_queued(schema: Schema) -> None:
    """An append waits for the declaration.

    Otherwise it would lease work to an owner whose leases are already released.
    """
    with stores(schema, 1) as (store,), psycopg.connect(schema.conninfo(owner=True)) as releaser:
        store.register_owner(OWNER)
        releaser.execute("SELECT release_owners(ARRAY[%s], 1)", (OWNER,))
        with ThreadPoolExecutor(1) as threads:
            append = threads.submit(store.append, [Customer().deposit("t1", owner=OWNER)])
            while not (append.done() or _waits(schema)):
                pass
            releaser.commit()
            assert append.result() == [COMMITTED]
        assert store.work_counts() == {("gatewayA", "queued"): 1}


def test_an_owner_that_is_being_declared_dead_gets_nothing(schema: Schema) -> None:
    """A claim waits for the removal of its owner. Otherwise it would lease work that no missing heartbeat releases."""
    with stores(schema, 1) as (store,), psycopg.connect(schema.conninfo(owner=True)) as releaser:
        store.register_owner(OWNER)
        store.append([Customer().deposit("t1")])
        releaser.execute("SELECT release_owners(ARRAY[%s], 1)", (OWNER,))
        with ThreadPoolExecutor(1) as threads:
            claim = threads.submit(store.claim_work, OWNER, "gatewayA", 10)
            while not (claim.done() or _waits(schema)):
                pass
            releaser.commit()
            assert claim.result() == []
        assert store.work_counts() == {("gatewayA", "queued"): 1}


def _waits(schema: Schema) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'payments'"
    return schema.execute(query) != []


def test_a_late_answer_of_a_dead_owner_is_fenced(schema: Schema) -> None:
    """A removed owner that returns appends nothing with its old tokens, whichever process has the work."""
    with stores(schema, 2) as (dead, living):
        dead.register_owner(OWNER)
        living.register_owner(OTHER)
        customer = Customer()
        dead.append([customer.deposit("t1", owner=OWNER), customer.deposit("t2", owner=OWNER)])
        schema.pass_time(16)
        assert living.heartbeat(OTHER)
        assert living.release_dead(15) == 2
        assert not dead.heartbeat(OWNER)
        late = customer.twin()
        assert dead.append([late.complete("t1", fence=Fence("t1", 1))]) == [Fenced(0)]
        (first, second) = living.claim_work(OTHER, "gatewayA", 10)
        assert {first.certainty, second.certainty} == {DeliveryCertainty.LEASE_LOST}
        dead.register_owner(OWNER)
        assert dead.append([customer.twin().complete("t1", fence=Fence("t1", 1))]) == [Fenced(0)]
        assert living.append([customer.complete("t1", fence=Fence("t1", first.token))]) == [COMMITTED]


def test_the_clock_is_that_of_the_database(postgresql_url: str, schema: Schema) -> None:
    """Without the tests' clock, due times and heartbeats follow the server's clock, not that of this machine."""
    ((source,),) = schema.execute("SELECT pg_get_functiondef('store_now'::regproc)")
    schema.execute(
        "CREATE OR REPLACE FUNCTION store_now() RETURNS timestamptz LANGUAGE sql STABLE AS"
        " 'SELECT statement_timestamp()'"
    )
    try:
        with stores(schema, 1) as (store,), psycopg.connect(postgresql_url) as server:
            store.register_owner(OWNER)
            store.append([Customer().deposit("t1")])
            ((heartbeat, due),) = schema.execute("SELECT heartbeat_at, next_attempt_at FROM owners, work")
            ((now,),) = server.execute("SELECT clock_timestamp()").fetchall()
            assert 0 <= (now - due).total_seconds() <= (now - heartbeat).total_seconds() < 60
            assert store.next_due_s("gatewayA") == 0
    finally:
        schema.execute(source)


def test_work_that_is_being_claimed_is_skipped(schema: Schema) -> None:
    """A claim never waits for another one. It takes the next piece of work."""
    with stores(schema, 1) as (store,), psycopg.connect(schema.conninfo(owner=True)) as other:
        store.register_owner(OWNER)
        customer = Customer()
        store.append([customer.write(Step((received(f"t{n}"),), work=(open_work(f"t{n}"),))) for n in range(3)])
        other.execute("SELECT 1 FROM work WHERE work_id = 't0' FOR UPDATE")
        assert [item.work_id for item in store.claim_work(OWNER, "gatewayA", 2)] == ["t1", "t2"]
        other.rollback()
        assert [item.work_id for item in store.claim_work(OWNER, "gatewayA", 2)] == ["t0"]


@pytest.mark.parametrize("table", ["heads", "owners", "work"])
def test_the_wait_for_a_lock_has_a_limit(schema: Schema, table: str) -> None:
    """An abandoned transaction makes the store unavailable for that write, which is then certainly not stored."""
    store = PostgresqlStore(schema.conninfo(options=f"{NOT_DURABLE} -c lock_timeout=50ms"))
    store.register_owner(OWNER)
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    write = customer.twin().write(
        Step((received("t2"),), work=(open_work("t2", owner=OWNER),)),
        Step((), fence=Fence("t1", 1), work=(move("t1"),)),
    )
    with psycopg.connect(schema.conninfo(owner=True)) as other:
        other.execute(sql.SQL("SELECT 1 FROM {} FOR UPDATE").format(sql.Identifier(table)))
        with pytest.raises(StoreUnavailableError, match="LockNotAvailable"):
            store.append([write])
    assert versions(store, customer.stream) == [1]
    assert store.append([write]) == [COMMITTED]
    store.close()


def test_greenlets_that_wait_do_not_block_others(schema: Schema) -> None:
    """Under gevent, waits of the driver and its pool block a single greenlet, once everything is patched."""
    patient = f"{NOT_DURABLE} -c lock_timeout=30000 -c statement_timeout=60000"
    conninfos = [schema.conninfo(options=patient), schema.conninfo(owner=True)]
    command = [sys.executable, "-m", "tests.store.greenlets", *conninfos]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
