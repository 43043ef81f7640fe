"""Lost connections: the outcome of a call is determined before the answer, and never guessed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest

from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import (
    BreakerRecord,
    Claim,
    Committed,
    Conflict,
    Duplicate,
    Fence,
    GatewayMode,
    Head,
    Part,
    StreamKey,
    Write,
)
from store.postgresql import retrying_writer
from store.postgresql.adapter import PostgresqlStore
from tests.store.builders import OWNER, Customer, Step, move
from tests.store.looking import versions
from tests.store.postgresql_server import NOT_DURABLE, Schema
from tests.store.proxy import Cut, Proxy
from tests.store.replicas import PATIENCE_S, until
from tests.store.test_postgresql_append import address, through

COMMITTED = Committed()


@pytest.fixture
def proxy(schema: Schema) -> Iterator[Proxy]:
    """A connection to the server that can be cut."""
    proxy = Proxy(*address(schema))
    yield proxy
    proxy.close()


@pytest.fixture
def store(schema: Schema, proxy: Proxy) -> Iterator[PostgresqlStore]:
    """A store behind the proxy, with OWNER registered and open connections."""
    store = PostgresqlStore(through(proxy, schema), writers=2, readers=2)
    store.register_owner(OWNER)
    _open_all(store)
    yield store
    store.close()


def _open_all(store: PostgresqlStore) -> None:
    """Wait until no connection is being opened: the statements of its start would be cut in place of the test's."""
    for sessions in (store._reading, store._writer._sessions):
        sessions.pool.wait(PATIENCE_S)


@pytest.mark.parametrize("where", Cut)
def test_a_batch_that_was_cut_gets_its_usual_answer(store: PostgresqlStore, proxy: Proxy, where: Cut) -> None:
    """Each writer gets the answer that it would have had, and everything is stored exactly once."""
    claim = Claim("key", "1", b"t1")
    stale, late, good = (Customer(name) for name in ("stale", "late", "good"))
    rival = stale.twin()
    store.append([rival.deposit("t1", claims=[claim]), late.deposit("t2", owner=OWNER)])
    callback = Write(StreamKey("main", "x"), Head(), (Part((), (Claim("callback", "1", b"raw"),)),))
    batch = [
        good.deposit("t3", owner=OWNER),
        stale.deposit("t4"),
        late.complete("t2", fence=Fence("t2", 1)),
        Customer("twice").deposit("t5", claims=[Claim("key", "1", b"t5")]),
        good.complete("t3", fence=Fence("t3", 1)),
        callback,
    ]
    proxy.cut(where)
    answers = store.append(batch)
    missed = tuple(store.stream_events(stale.stream, after=0, limit=10))
    assert answers == [COMMITTED, Conflict(missed), COMMITTED, Duplicate(0, claim), COMMITTED, COMMITTED]
    assert [versions(store, who.stream) for who in (good, stale, late)] == [[1, 2, 3], [1], [1, 2, 3]]
    assert len(store.all_events(None, after=0, limit=100)) == 7


def test_a_batch_that_is_cut_repeatedly(store: PostgresqlStore, proxy: Proxy) -> None:
    """The number of cuts does not matter as long as the server answers in between."""
    customer = Customer()
    proxy.cut(Cut.BEFORE_ANSWER, Cut.BEFORE_ANSWER, Cut.BEFORE_REQUEST, Cut.AFTER_REQUEST)
    assert store.append([customer.deposit("t1")]) == [COMMITTED]
    assert versions(store, customer.stream) == [1]


def test_the_process_that_was_cut_off_is_ended(store: PostgresqlStore, proxy: Proxy, schema: Schema) -> None:
    """The cut call could commit after the answer, so its process is ended before the answer."""
    customer = Customer()
    store.append([customer.deposit("t1")])
    waiting: list[int] = []

    def wait_for_one() -> None:
        while not waiting:
            waiting.extend(_waiting(schema))

    proxy.on_cut = wait_for_one
    with psycopg.connect(schema.conninfo(owner=True)) as holder, ThreadPoolExecutor(1) as threads:
        holder.execute("SELECT 1 FROM heads FOR UPDATE")
        proxy.cut(Cut.AFTER_REQUEST)
        answer = threads.submit(store.append, [customer.deposit("t2")])
        while not waiting or not set(_waiting(schema)) - set(waiting):
            assert not answer.done()
        alive = schema.execute("SELECT pid FROM pg_stat_activity WHERE pid = %s", (waiting[0],))
        holder.rollback()
        assert answer.result() == [COMMITTED]
    assert alive == []
    assert versions(store, customer.stream) == [1, 2]


def _waiting(schema: Schema) -> list[int]:
    query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = %s"
    return [pid for (pid,) in schema.execute(query, (schema.role or schema.admin.info.user,))]


def test_an_unreachable_server(store: PostgresqlStore, proxy: Proxy, schema: Schema) -> None:
    """While the server is unreachable the outcome is unknown. That is reported, and a later append resolves it."""
    customer = Customer()
    write = customer.deposit("t1")
    proxy.on_cut = proxy.close
    proxy.cut(Cut.BEFORE_ANSWER)
    with pytest.raises(CommitUncertainError):
        store.append([write])
    with pytest.raises(StoreUnavailableError):
        store.append([write])
    later = PostgresqlStore(schema.conninfo())
    assert later.append([write]) == [COMMITTED]
    assert versions(later, customer.stream) == [1]
    later.close()


def test_a_server_that_returns(store: PostgresqlStore, proxy: Proxy, schema: Schema) -> None:
    """While the server is down, reads and writes report it. Afterwards the same store continues."""
    customer = Customer()
    proxy.close()
    for attempt in (store.ping, lambda: store.heartbeat(OWNER)):
        with pytest.raises((StoreUnavailableError, CommitUncertainError)):
            attempt()
    back = Proxy(*address(schema), port=proxy.port)
    write = customer.deposit("t1")

    def stored() -> bool:
        with suppress(StoreUnavailableError):  # the pool waits a little longer after each attempt
            return store.append([write]) == [COMMITTED]
        return False

    until(stored)
    assert store.load(customer.stream).head == customer.head
    back.close()


def _work_alone(customer: Customer) -> Write:
    return customer.write(Step(fence=Fence("t1", 1), work=(move("t1", delay_s=60),)))


@pytest.mark.parametrize("where", [Cut.BEFORE_REQUEST, Cut.AFTER_REQUEST])
def test_work_that_was_certainly_not_stored_is_stored_now(
    store: PostgresqlStore, proxy: Proxy, schema: Schema, where: Cut
) -> None:
    """A write without events and claims is not recognised. But an unchanged token shows that it was not stored."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    with psycopg.connect(schema.conninfo(owner=True)) as holder:
        holder.execute("SELECT 1 FROM work FOR UPDATE")
        cut, cut_off = threading.Event(), list[int]()

        def on_cut() -> None:
            while where is Cut.AFTER_REQUEST and not cut_off:
                cut_off.extend(_waiting(schema))
            cut.set()

        proxy.on_cut = on_cut
        proxy.cut(where)
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(store.append, [_work_alone(customer)])
            cut.wait(30)
            while not set(_waiting(schema)) - set(cut_off):
                assert not answer.done()
            holder.rollback()
            assert answer.result() == [COMMITTED]
    assert schema.execute("SELECT token FROM work") == [(2,)]


def test_work_whose_answer_is_lost_is_uncertain(store: PostgresqlStore, proxy: Proxy, schema: Schema) -> None:
    """Any process may have changed the token. So the outcome is unknown, and the work is not moved again."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    proxy.cut(Cut.BEFORE_ANSWER)
    with pytest.raises(CommitUncertainError):
        store.append([_work_alone(customer)])
    assert schema.execute("SELECT token FROM work") == [(2,)]


def test_connections_that_were_cut_while_idle(store: PostgresqlStore, schema: Schema) -> None:
    """A restart of the server between two calls causes no error, for reads and for writes."""
    customer = Customer()
    for number in range(3):
        assert store.append([customer.deposit(f"t{number}")]) == [COMMITTED]
        schema.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE usename = %s AND pid <> pg_backend_pid() AND application_name = 'payments'",
            (schema.role or schema.admin.info.user,),
        )
        assert len(store.stream_events(customer.stream, after=0, limit=10)) == number + 1


CHANGES: dict[str, Callable[[PostgresqlStore], object]] = {
    "register_owner": lambda store: store.register_owner("new"),
    "heartbeat": lambda store: store.heartbeat(OWNER),
    "retire_owner": lambda store: store.retire_owner("absent", unsent=True),
    "release_dead": lambda store: store.release_dead(15),
    "hasten_lookups": lambda store: store.hasten_lookups("gatewayA"),
    "next_due_s": lambda store: store.next_due_s("gatewayA"),
    "queued_due": lambda store: store.queued_due(["gatewayA"], 1),
    "load": lambda store: store.load(StreamKey("main", "x")),
    "gateway_modes": lambda store: store.gateway_modes(),
    "breakers": lambda store: store.breakers(),
    "lead": lambda store: store.lead("events", OWNER, 15.0),
    "advance": lambda store: store.advance("events", 1, 7, 0),
    "note_refusal": lambda store: store.note_refusal("events", 1, 8, "full"),
    "resign": lambda store: store.resign("events", "absent"),
    "checkpoint": lambda store: store.checkpoint("events"),
}


@pytest.mark.parametrize("where", Cut)
@pytest.mark.parametrize("name", CHANGES)
def test_repeatable_calls_are_repeated(store: PostgresqlStore, proxy: Proxy, name: str, where: Cut) -> None:
    """Reads, and calls that are safe to repeat, survive a lost connection without an error."""
    expected = CHANGES[name](store)
    proxy.cut(where)
    assert CHANGES[name](store) == expected


@pytest.mark.parametrize("where", Cut)
def test_a_breaker_whose_change_is_cut_changes_once(store: PostgresqlStore, proxy: Proxy, where: Cut) -> None:
    """The named epoch distinguishes the change from a second one, so the call is repeated."""
    proxy.cut(where)
    assert store.turn_breaker("gatewayA", 0, "open") == BreakerRecord("gatewayA", 1, "open")
    proxy.cut(where)
    granted = BreakerRecord("gatewayA", 2, "half_open", 0.0, OWNER, 5.0)
    assert store.take_probe("gatewayA", 1, OWNER, sleep_s=0.0, permit_s=5.0) == granted
    assert store.breakers() == {"gatewayA": granted}


def test_a_claim_whose_answer_is_lost_is_uncertain(store: PostgresqlStore, proxy: Proxy) -> None:
    """Its leases reached no process: the caller receives an error instead of other work."""
    store.append([Customer().deposit("t1")])
    proxy.cut(Cut.BEFORE_ANSWER)
    with pytest.raises(CommitUncertainError):
        store.claim_work(OWNER, "gatewayA", 1)
    assert store.work_counts() == {("gatewayA", "leased"): 1}


def test_a_store_that_is_closed(schema: Schema) -> None:
    """The store is not available for reads and writes. Closing it again does no harm."""
    store = PostgresqlStore(schema.conninfo())
    store.close()
    store.close()
    for attempt in (store.ping, lambda: store.append([Customer().deposit("t1")]), lambda: store.heartbeat(OWNER)):
        with pytest.raises(StoreUnavailableError):
            attempt()


@pytest.fixture
def impatient(schema: Schema, proxy: Proxy) -> Iterator[PostgresqlStore]:
    """A store that does not wait for locks, so that the server refuses a statement that meets one."""
    store = PostgresqlStore(through(proxy, schema, options=f"{NOT_DURABLE} -c lock_timeout=100"), writers=2, readers=1)
    store.register_owner(OWNER)
    _open_all(store)
    yield store
    store.close()


def _running(holder: psycopg.Connection[tuple[object, ...]], statement: bytes) -> Callable[[], None]:
    def run() -> None:
        holder.execute(statement)

    return run


def test_a_refusal_after_a_cut_does_not_say_that_nothing_is_stored(
    impatient: PostgresqlStore, proxy: Proxy, schema: Schema
) -> None:
    """The first call may have stored it, independent of the second call's error. Here it has."""
    customer = Customer()
    impatient.append([customer.deposit("t1")])
    with psycopg.connect(schema.conninfo(owner=True)) as holder:
        proxy.on_cut = _running(holder, b"LOCK TABLE heads IN EXCLUSIVE MODE")
        proxy.cut(Cut.BEFORE_ANSWER)
        with pytest.raises(CommitUncertainError):
            impatient.append([customer.deposit("t2")])
    assert versions(impatient, customer.stream) == [1, 2]


def test_a_change_refused_after_a_cut_does_not_say_that_nothing_is_done(
    impatient: PostgresqlStore, proxy: Proxy, schema: Schema
) -> None:
    """The same holds for a change that is repeated."""
    with psycopg.connect(schema.conninfo(owner=True)) as holder:
        proxy.on_cut = _running(holder, b"LOCK TABLE gateway_modes IN ACCESS EXCLUSIVE MODE")
        proxy.cut(Cut.BEFORE_ANSWER)
        with pytest.raises(CommitUncertainError):
            impatient.set_gateway_mode(GatewayMode("gatewayA", "open", "test"))
    assert set(impatient.gateway_modes()) == {"gatewayA"}


@pytest.mark.parametrize(
    ("where", "error", "stored"),
    [(Cut.BEFORE_ANSWER, CommitUncertainError, [1]), (Cut.BEFORE_REQUEST, StoreUnavailableError, [])],
)
def test_a_batch_that_was_cut_at_the_last_attempt(
    store: PostgresqlStore,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    *,
    where: Cut,
    error: type[Exception],
    stored: list[int],
) -> None:
    """After the last attempt the error states what is certain: the batch may be stored, or it never will be."""
    monkeypatch.setattr(retrying_writer, "ATTEMPTS_MAX", 1)
    customer = Customer()
    proxy.cut(where)
    with pytest.raises(error):
        store.append([customer.deposit("t1")])
    assert versions(store, customer.stream) == stored
