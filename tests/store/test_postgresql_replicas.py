"""Stored means replicated: no answer rests on a commit that a synchronous replica has not confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from store.errors import CommitUncertainError, StoreUnavailableError
from store.keys import NewKey, Scope
from store.port import (
    Action,
    Claim,
    Committed,
    Conflict,
    DeadLetterFilter,
    Duplicate,
    Fence,
    Fenced,
    GatewayMode,
    Head,
    Part,
    StreamKey,
    WorkState,
    Write,
)
from store.postgresql import sessions
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.keys import open_keyring
from tests.postgresql.embedded import embedded_server
from tests.store.builders import OWNER, Customer, Step, move
from tests.store.replicas import Replicated, started, until

COMMITTED = Committed()
EVENTS = "SELECT count(*) FROM events"


@pytest.fixture(scope="module")
def replicated() -> Iterator[Replicated]:
    """A server that can have a synchronous replica."""
    with embedded_server(durable=False) as server:
        yield Replicated(server)


@pytest.fixture
def url(replicated: Replicated) -> Iterator[str]:
    """A database whose replica is present again after the test."""
    yield replicated.new_database()
    replicated.come_back()


@pytest.fixture
def store(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlStore]:
    """A store with short time limits and OWNER registered."""
    monkeypatch.setattr(sessions, "ANSWER_WITHIN_S", 1.0)
    store = PostgresqlStore(url, writers=2, readers=2)
    store.register_owner(OWNER)
    yield store
    store.close()


def test_an_unconfirmed_commit_is_uncertain_and_invisible(
    store: PostgresqlStore, replicated: Replicated, url: str
) -> None:
    """The commit is neither stored nor not stored. It keeps waiting, and readers see nothing of it meanwhile."""
    customer = Customer()
    write = customer.deposit("t1")
    replicated.go_away()
    with pytest.raises(CommitUncertainError):
        store.append([write])
    assert store.load(customer.stream).head == Head()
    assert replicated.visible(url, EVENTS) == 0
    replicated.come_back()
    until(lambda: replicated.waiting() == [])
    assert store.append([write]) == [COMMITTED]
    assert replicated.visible(url, EVENTS) == 1


def test_nothing_more_is_stored_while_one_commit_waits(store: PostgresqlStore, replicated: Replicated) -> None:
    """Further writes are refused at once.

    The server gets no more waiting processes, however long the replica is absent.
    """
    replicated.go_away()
    first, second = Customer("first"), Customer("second")
    with pytest.raises(CommitUncertainError):
        store.append([first.deposit("t1")])
    write = second.deposit("t2")
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            store.append([write])
        with pytest.raises(StoreUnavailableError):
            store.heartbeat(OWNER)
    assert len(replicated.waiting()) == 1
    replicated.come_back()
    until(lambda: replicated.waiting() == [])
    assert store.append([write]) == [COMMITTED]
    assert store.heartbeat(OWNER)


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_a_wait_that_is_ended_is_not_a_success(store: PostgresqlStore, replicated: Replicated, how: str) -> None:
    """An administrator who ends the wait makes the commit visible. It is not replicated, and the error states it."""
    customer = Customer()
    write = customer.deposit("t1")
    replicated.go_away()
    answer = started(lambda: store.append([write]))
    replicated.signal(replicated.until_one_waits(), how)
    with pytest.raises(CommitUncertainError):
        answer.result(30)
    assert store.load(customer.stream).head == customer.head
    with pytest.raises((CommitUncertainError, StoreUnavailableError)):
        store.append([write])  # the repeated write is recognised, which must be confirmed as well
    replicated.come_back()
    until(lambda: replicated.waiting() == [])
    assert store.append([write]) == [COMMITTED]


CHANGES: dict[str, Callable[[PostgresqlStore], object]] = {
    "register_owner": lambda store: store.register_owner("new"),
    "heartbeat": lambda store: store.heartbeat(OWNER),
    "retire_owner": lambda store: store.retire_owner(OWNER, unsent=True),
    "release_dead": lambda store: store.release_dead(0.0),
    "claim_work": lambda store: store.claim_work(OWNER, "gatewayA", 1),
    "retry_dead": lambda store: store.retry_dead("main", DeadLetterFilter()),
    "hasten_lookups": lambda store: store.hasten_lookups("gatewayA"),
    "set_gateway_mode": lambda store: store.set_gateway_mode(GatewayMode("gatewayA", "open", "test")),
    "turn_breaker": lambda store: store.turn_breaker("gatewayA", 0, "open"),
    "take_probe": lambda store: store.take_probe("gatewayB", 1, OWNER, sleep_s=0.0, permit_s=5.0),
}


def _fill(store: PostgresqlStore) -> None:
    """Create data on which each of the changes has an effect."""
    lookup, letter = Customer("lookup"), Customer("letter")
    store.append([Customer("due").deposit("t1"), lookup.deposit("t2"), letter.deposit("t3")])
    store.append(
        [
            lookup.write(Step(fence=Fence("t2", 1), work=(move("t2", action=Action.RESOLVE, delay_s=600),))),
            letter.write(Step(fence=Fence("t3", 1), work=(move("t3", state=WorkState.PARKED),))),
        ]
    )
    store.turn_breaker("gatewayB", 0, "open")


@pytest.mark.parametrize("name", CHANGES)
def test_no_change_succeeds_when_its_wait_is_ended(store: PostgresqlStore, replicated: Replicated, name: str) -> None:
    """Every change of the store waits for the replica, and an ended wait is not a success."""
    _fill(store)
    replicated.go_away()
    answer = started(lambda: CHANGES[name](store))
    replicated.signal(replicated.until_one_waits(), "cancel")
    with pytest.raises(CommitUncertainError):
        answer.result(30)


def test_a_new_api_key_is_replicated(replicated: Replicated, url: str) -> None:
    """Changes by operator commands are as durable as other changes."""
    replicated.go_away()
    with open_keyring(url) as keyring:
        key = NewKey("key-1", bytes(32), "main", frozenset({Scope.READ}), "test", None)
        answer = started(lambda: keyring.add(key))
        replicated.signal(replicated.until_one_waits(), "cancel")
        with pytest.raises(CommitUncertainError):
            answer.result(30)


def _claims(customer: Customer) -> Write:
    return Write(customer.stream, Head(), (Part((), (Claim("callback", "1", b"raw"),)),))


ANSWERS: dict[str, Callable[[Customer, Write], tuple[Write, object]]] = {
    "the very same events": lambda _, first: (first, COMMITTED),
    "the very same claims": lambda customer, _: (_claims(customer), COMMITTED),
    "a claim of another writer": lambda customer, _: (
        Write(customer.stream, Head(), (Part((), (Claim("callback", "1", b"other"),)),)),
        Duplicate(0, Claim("callback", "1", b"raw")),
    ),
    "a key that is used": lambda *_: (
        Customer("other").deposit("t2", claims=[Claim("key", "1", b"t2")]),
        Duplicate(0, Claim("key", "1", b"t1")),
    ),
    "work that is closed": lambda customer, _: (
        Write(customer.stream, Head(), (Part(fence=Fence("gone", 1)),)),
        Fenced(0),
    ),
    "a confirmation": lambda customer, _: (Write(customer.stream, customer.head, (), confirm=True), COMMITTED),
    "a confirmation of nothing": lambda customer, _: (
        Write(StreamKey("main", "absent"), customer.head, (), confirm=True),
        Conflict(()),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_rests_on_unreplicated_data(
    store: PostgresqlStore, replicated: Replicated, url: str, name: str
) -> None:
    """Data in the store may be from a commit whose wait was ended. So the answer waits for the replica itself."""
    customer = Customer()
    first = customer.deposit("t1", claims=[Claim("key", "1", b"t1")])
    store.append([first, _claims(customer)])
    write, expected = ANSWERS[name](customer, first)
    replicated.go_away()
    with pytest.raises(CommitUncertainError):
        store.append([write])
    replicated.come_back()
    until(lambda: replicated.waiting() == [])
    assert store.append([write]) == [expected]


def test_a_repeated_call_after_a_cut_is_confirmed(store: PostgresqlStore, replicated: Replicated) -> None:
    """The second call has nothing left to do, and its answer rests on the first call's commit."""
    replicated.go_away()
    answer = started(lambda: store.turn_breaker("gatewayA", 0, "open"))
    replicated.signal(replicated.until_one_waits(), "terminate")
    with pytest.raises(CommitUncertainError):
        answer.result(30)
    replicated.come_back()
    until(lambda: replicated.waiting() == [])
    assert store.turn_breaker("gatewayA", 0, "open").epoch == 1


def test_a_default_of_the_server_does_not_reduce_durability(
    replicated: Replicated, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``synchronous_commit`` and the level of warnings are pinned.

    Every commit waits, and an incomplete wait is reported.
    """
    monkeypatch.setattr(sessions, "ANSWER_WITHIN_S", 1.0)
    with psycopg.connect(url, autocommit=True) as admin:
        name = admin.info.dbname
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
        admin.execute(f"ALTER DATABASE {name} SET client_min_messages = error".encode())
    store = PostgresqlStore(url, writers=1, readers=1)
    try:
        replicated.go_away()
        answer = started(lambda: store.append([Customer().deposit("t1")]))
        replicated.signal(replicated.until_one_waits(), "cancel")
        with pytest.raises(CommitUncertainError):
            answer.result(30)
    finally:
        store.close()
