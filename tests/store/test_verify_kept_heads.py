"""``store.verify`` and the heads that appends continue from, which both stores keep apart from the events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.postgresql.adapter import PostgresqlStore
from store.sqlite.adapter import SqliteStore
from store.verify import Problem
from tests.store.builders import Clock
from tests.store.postgresql_server import Schema
from tests.store.rebuilding import Place
from tests.store.tampering import A, append
from tests.store.templates import new_sqlite

CUT = (
    "DELETE FROM events WHERE stream_id = 'a' AND version > 3",
    "DELETE FROM transactions WHERE transaction_id = 'a2'",
    "DELETE FROM work WHERE transaction_id = 'a2'",
)
TABLES = ("events", "transactions", "balances", "reviews", "work")
ANOTHER_HASH = "UPDATE heads SET hash = (SELECT hash FROM events WHERE stream_id = 'a' AND version = 1)"


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Place]:
    """A place on SQLite."""
    path = tmp_path / "payments.db"
    new_sqlite(path)
    place = Place(lambda: SqliteStore(path, clock=Clock()), path)
    append(place.store)
    yield place
    place.close()


@pytest.fixture
def postgresql(own_schema: Schema) -> Iterator[Place]:
    """A place on PostgreSQL."""
    own_schema.clear()
    place = Place(lambda: PostgresqlStore(own_schema.conninfo(), writers=1, readers=1), own_schema)
    append(place.store)
    yield place
    place.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """One place for each adapter."""
    found: Place = request.getfixturevalue(request.param)
    return found


def test_a_tail_cut_with_its_rows_is_found(place: Place) -> None:
    """A stream that appears sound ends before the head that appends continue from. Only a backup has the rest."""
    assert place.problems() == []
    place.edit(*CUT)
    cut = "the events end at version 3, but appends continue from version 5"
    text = f"{cut}: events are missing, which a backup may have"
    assert place.problems() == [Problem(A, 5, text)]


def test_a_customer_erased_is_found(place: Place) -> None:
    """A stream without any data is missing by its head."""
    place.edit(*(f"DELETE FROM {table} WHERE stream_id = 'a'" for table in TABLES))  # noqa: S608  # this file's own
    assert [(problem.stream, problem.version) for problem in place.problems()] == [(A, 5)]
    assert [problem.stream for problem in place.rebuild()] == [A]


def test_another_last_event_is_found(place: Place) -> None:
    """The next event is chained to the kept head, which must be that of the last event."""
    place.edit(f"{ANOTHER_HASH} WHERE stream_id = 'a'")
    assert place.problems() == [Problem(A, 5, "the last event is not the one that appends continue from")]


@pytest.mark.parametrize(("version", "rest"), [(4, ""), (6, ": events are missing, which a backup may have")])
def test_another_version_is_found(place: Place, version: int, rest: str) -> None:
    """A head that was set back or forward is one from which appends would not continue the stream."""
    place.edit(f"UPDATE heads SET version = {version} WHERE stream_id = 'a'")  # noqa: S608  # this file's own
    text = f"the events end at version 5, but appends continue from version {version}{rest}"
    assert place.problems() == [Problem(A, version, text)]


def test_a_missing_head_is_found(sqlite: Place) -> None:
    """Every stream with events has a head. Its row has the balances, which are missing as well."""
    sqlite.edit("DELETE FROM heads WHERE stream_id = 'a'")
    texts = [problem.text for problem in sqlite.problems()]
    assert texts == [
        "the events end at version 5, but appends continue from version 0",
        "the row of balance USD is missing",
    ]
