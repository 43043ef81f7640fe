"""Reading all events by position: late commits are not skipped, and rolled-back ones are not awaited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from store.port import Committed, Write
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.arrays import AppendArrays
from store.postgresql.retrying_writer import append_call
from store.postgresql.statements import SQL
from tests.store.builders import Customer
from tests.store.postgresql_server import Schema

COMMITTED = Committed()


@pytest.fixture
def store(schema: Schema, shared_store: PostgresqlStore) -> PostgresqlStore:
    """The shared store without a row."""
    assert schema.execute("SELECT 1 FROM events") == []
    return shared_store


@pytest.fixture(autouse=True, params=["arrays", "document"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both functions that append."""
    if request.param == "document":
        monkeypatch.setattr(AppendArrays, "complete", False)


@contextmanager
def slow(schema: Schema) -> Iterator[psycopg.Connection[Any]]:
    """A writer that waits between its append and its commit."""
    with psycopg.connect(schema.conninfo()) as session:
        session.execute("SELECT 1")
        yield session


def append(session: psycopg.Connection[Any], *writes: Write) -> None:
    """Append within the session's open transaction."""
    query, values, _ = append_call(writes)
    assert session.execute(query, values).fetchall() == []


def read(store: PostgresqlStore, after: int = 0) -> list[str]:
    """The customers whose events a reader gets, of all merchants or of the only one."""
    events = store.all_events(None, after=after, limit=1000)
    assert store.all_events("main", after=after, limit=1000) == events
    return [event.stream.id for event in events]


def one(name: str) -> Write:
    """A new customer's write."""
    return Customer(name).deposit(f"t-{name}")


def test_a_late_commit_is_not_skipped(store: PostgresqlStore, schema: Schema) -> None:
    """While a slow transaction holds a position, later events wait. Then all are read in order."""
    store.append([one("a")])
    with slow(schema) as late:
        append(late, one("late"))
        assert store.append([one("b"), one("c")]) == [COMMITTED] * 2
        assert read(store) == ["a"]
        late.commit()
        assert read(store) == ["a", "late", "b", "c"]


def test_a_lower_transaction_id_may_have_the_higher_position(store: PostgresqlStore, schema: Schema) -> None:
    """A transaction that began first and appends last must not let the reader skip a later one that commits last.

    A reader by transaction ids would return the event of the first and never that of the second.
    """
    with slow(schema) as older, slow(schema) as younger:
        older.execute("SELECT pg_current_xact_id()")
        younger.execute("SELECT pg_current_xact_id()")
        append(younger, one("younger"))
        append(older, one("older"))
        older.commit()
        assert read(store) == []
        younger.commit()
    assert read(store) == ["younger", "older"]


def test_a_transaction_that_rolls_back_is_not_awaited(store: PostgresqlStore, schema: Schema) -> None:
    """A position that was assigned without a commit is a gap, and the reader continues."""
    with slow(schema) as given_up:
        append(given_up, one("given up"))
        store.append([one("a")])
        assert read(store) == []
        given_up.rollback()
        assert read(store) == ["a"]


def test_a_transaction_that_appends_nothing_delays_no_reader(store: PostgresqlStore, schema: Schema) -> None:
    """The reader waits only for appends. It does not wait for a long transaction, even one with changes."""
    with slow(schema) as idle:
        idle.execute("SELECT pg_current_xact_id()")
        idle.execute("INSERT INTO owners (owner, heartbeat_at) VALUES ('slow', now())")
        store.append([one("a")])
        assert read(store) == ["a"]


def test_a_reader_that_continues_gets_all_events(store: PostgresqlStore, schema: Schema) -> None:
    """Beside many writers with short and long transactions, each event is read once and in order."""
    writers, turns = 4, 25

    def write(number: int) -> None:
        with psycopg.connect(schema.conninfo()) as session:
            for turn in range(turns):
                append(session, one(f"{number}-{turn}"))
                for _ in range((turn * 7 + number) % 5):
                    session.execute("SELECT 1")
                session.commit()

    with ThreadPoolExecutor(writers) as threads:
        jobs = [threads.submit(write, number) for number in range(writers)]
        got: list[tuple[int, str]] = []
        while len(got) < writers * turns:
            finished = all(job.done() for job in jobs)
            page = _page(store, got)
            got += page
            if finished and not page:
                break
        for job in jobs:
            job.result()
    everything = schema.execute("SELECT position, stream_id FROM events ORDER BY position")
    assert got == everything


def _page(store: PostgresqlStore, got: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    after = got[-1][0] if got else 0
    return [(event.position, event.stream.id) for event in store.all_events(None, after=after, limit=3)]


@pytest.mark.parametrize(
    ("name", "values"), [("select_settled_events", (0, 10)), ("select_merchant_events", ("main", 0, 10))]
)
def test_the_reader_needs_new_snapshots(schema: Schema, name: str, values: tuple[object, ...]) -> None:
    """With one snapshot for the whole transaction the reader could skip events, so it refuses."""
    with psycopg.connect(schema.conninfo()) as session:
        session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.errors.RaiseException, match="new snapshot"):
            session.execute(SQL[name], values)


@pytest.mark.parametrize("at", [2**31 - 3, 2**32 - 3, 5 * 2**32 - 3])
def test_positions_beyond_32_bits(store: PostgresqlStore, schema: Schema, at: int) -> None:
    """The lock that announces positions holds half of a position. Nothing is lost where that half wraps around."""
    schema.execute("SELECT setval('events_position_seq', %s)", (at,))
    try:
        store.append([one("before")])
        with slow(schema) as late:
            append(late, one("late"))
            store.append([one(str(number)) for number in range(6)])
            assert read(store) == ["before"]
            late.commit()
        assert read(store) == ["before", "late", *"012345"]
    finally:
        schema.execute("ALTER TABLE events ALTER COLUMN position RESTART")
