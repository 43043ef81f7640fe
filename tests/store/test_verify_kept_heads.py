"""``store.verify`` where the store keeps the heads that appends continue from apart from the events: on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from store.postgresql.adapter import PostgresqlStore
from store.verify import Problem
from tests.store.postgresql_server import Schema
from tests.store.rebuilding import Place
from tests.store.tampering import A, append

CUT = (
    "DELETE FROM events WHERE stream_id = 'a' AND version > 3",
    "DELETE FROM transactions WHERE transaction_id = 'a2'",
    "DELETE FROM work WHERE transaction_id = 'a2'",
)
TABLES = ("events", "transactions", "balances", "reviews", "work")


@pytest.fixture
def place(own_schema: Schema) -> Iterator[Place]:
    """A place on PostgreSQL."""
    own_schema.clear()
    place = Place(lambda: PostgresqlStore(own_schema.conninfo(), writers=1, readers=1), own_schema)
    append(place.store)
    yield place
    place.close()


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
    place.edit("UPDATE heads SET hash = decode(repeat('ab', 32), 'hex') WHERE stream_id = 'a'")
    assert place.problems() == [Problem(A, 5, "the last event is not the one that appends continue from")]
