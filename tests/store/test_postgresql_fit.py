"""Shows that the store port fits PostgreSQL: the very same writes, a whole batch in one round trip.

An experiment until the adapter is built. It runs where a server answers: PAYMENTS_TEST_DATABASE_URL, else a local one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from domain.account import Balance
from store.errors import UnstorableError
from store.port import Claim, Committed, Conflict, Duplicate, Fence, Fenced, Head, StreamKey, Write
from tests.store.append_model import AppendMachine, WorkRows
from tests.store.builders import OWNER, Customer
from tests.store.postgresql_experiment import PostgresqlExperiment

COMMITTED = Committed()
DEFAULT_URL = "postgresql://postgres@127.0.0.1:5432/test"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, str]]:
    """The server's URL and a schema of our own in it, which is dropped in the end."""
    url = os.environ.get("PAYMENTS_TEST_DATABASE_URL", DEFAULT_URL)
    if not url.startswith("postgresql"):
        pytest.skip("PAYMENTS_TEST_DATABASE_URL names no PostgreSQL: the experiment was not run")
    schema = f"experiment_{uuid.uuid4().hex}"
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers, the experiment was not run: {error}")
    connection.execute(f"CREATE SCHEMA {schema}")
    experiment = PostgresqlExperiment(url, schema)
    experiment.create()
    experiment.close()
    yield url, schema
    connection.execute(f"DROP SCHEMA {schema} CASCADE")
    connection.close()


@pytest.fixture
def store(server: tuple[str, str]) -> Iterator[PostgresqlExperiment]:
    """Empty tables with OWNER registered."""
    experiment = PostgresqlExperiment(*server)
    experiment.clear()
    experiment.register_owner(OWNER)
    yield experiment
    experiment.close()


def versions(store: PostgresqlExperiment, stream: StreamKey) -> list[int]:
    """The versions that a stream has."""
    return [event.version for event in store.stream_events(stream, after=0, limit=10_000)]


def test_one_round_trip_answers_each_writer_on_its_own(store: PostgresqlExperiment) -> None:
    """Good, conflicting, duplicate and fenced writes in one statement: each has its answer, the good are stored."""
    claim = Claim("key", "1", b"t1")
    stale, late, twice, good = (Customer(name) for name in ("stale", "late", "twice", "good"))
    rival = stale.twin()
    assert store.append([rival.deposit("t1", claims=[claim]), late.deposit("t2", owner=OWNER)]) == [COMMITTED] * 2
    before = store.round_trips
    answers = store.append(
        [
            good.deposit("t3"),
            stale.deposit("t4"),
            late.complete("t2", fence=Fence("t2", 7)),
            twice.deposit("t5", claims=[Claim("key", "1", b"t5")]),
            good.deposit("t6"),
            good.complete("t3", fence=Fence("t3", 1)),
        ]
    )
    assert store.round_trips == before + 1
    missed = tuple(store.stream_events(stale.stream, after=0, limit=10))
    assert len(missed) == 1
    assert answers == [COMMITTED, Conflict(missed), Fenced(0), Duplicate(0, claim), COMMITTED, COMMITTED]
    assert [versions(store, who.stream) for who in (good, stale, late, twice)] == [[1, 2, 3, 4], [1], [1], []]


def test_losers_burn_no_positions(store: PostgresqlExperiment) -> None:
    """Positions stay without gaps when writers lose: a reader by position has nothing to wait for."""
    winner = Customer()
    store.append([winner.deposit("t0")])
    for number in range(1, 6):
        loser = Customer()
        store.append([loser.deposit(f"lost{number}"), winner.deposit(f"t{number}")])
    positions = [event.position for event in store.stream_events(winner.stream, after=0, limit=10)]
    assert positions == list(range(positions[0], positions[0] + 6))


def test_what_cannot_be_stored_fails_the_batch_alone(store: PostgresqlExperiment) -> None:
    """A check that fails stores nothing of the batch; the others are stored when tried one by one."""
    good, bad = Customer("good").deposit("t1"), Customer("bad").deposit("t2")
    bad = Write(bad.stream, bad.head, bad.parts, bad.transactions, (("USD", Balance(-1, 0)),))
    with pytest.raises(UnstorableError):
        store.append([good, bad])
    assert store.append([good]) == [COMMITTED]
    assert versions(store, bad.stream) == []


def test_two_processes_race_without_deadlock(server: tuple[str, str], store: PostgresqlExperiment) -> None:
    """Batches over the same customers from several connections, in any order: each version has one winner."""
    names = [f"c{number}" for number in range(5)]

    def run(worker: int) -> int:
        mine, conflicts = PostgresqlExperiment(*server), 0
        customers = {name: Customer(name) for name in names}
        for turn in range(20):
            order = names[turn % 5 :] + names[: turn % 5]
            waiting = order if worker % 2 else order[::-1]
            while waiting:
                batch = [
                    customers[name]
                    .twin()
                    .deposit(f"{worker}-{turn}-{name}", claims=[Claim("k", name + str(turn), b"")])
                    for name in waiting
                ]
                again = []
                for name, answer in zip(waiting, mine.append(batch), strict=True):
                    if isinstance(answer, Conflict):
                        conflicts += 1
                        assert answer.missed
                        end = answer.missed[-1]
                        customer = customers[name]
                        customer.head = Head(end.version, end.hash)
                        customer.account = type(customer.account)(name, end.version)
                        again.append(name)
                    else:
                        assert isinstance(answer, Committed | Duplicate)
                waiting = again
        mine.close()
        return conflicts

    with ThreadPoolExecutor(3) as threads:
        conflicts = sum(threads.map(run, range(3)))
    assert conflicts > 0
    for name in names:
        assert versions(store, StreamKey("main", name)) == list(range(1, 21)), "20 claims, each taken once"


class PostgresqlMachine(AppendMachine):
    """The machine on the experiment; heads are compared as well."""

    server: tuple[str, str]
    store: PostgresqlExperiment

    def fresh(self) -> PostgresqlExperiment:
        """Empty tables."""
        store = self.again()
        store.clear()
        store.register_owner(OWNER)
        return store

    def again(self) -> PostgresqlExperiment:
        """Another connection."""
        return PostgresqlExperiment(*self.server, durable=False)

    def work_rows(self) -> WorkRows:
        """The rows of the table."""
        return self.store.work_rows()

    @invariant()
    def heads_are_as_in_the_model(self) -> None:
        """Each stream ends where it ends in the model."""
        for stream in self.model.streams:
            assert self.store.head(stream) == self.model.head(stream)


def test_it_answers_as_the_model_of_append(server: tuple[str, str]) -> None:
    """The machine that judges the SQLite adapter finds the same answers here: the port means the same on both."""
    PostgresqlMachine.server = server
    run_state_machine_as_test(
        PostgresqlMachine,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
