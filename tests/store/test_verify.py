"""``store.verify`` over events: a sound store has no problems, and every change of the past is found."""
# ruff: noqa: S608 - the statements are this file's own

from __future__ import annotations

from pathlib import Path

import apsw
import orjson
import pytest

from domain.account import Account
from store.codec import chain
from store.port import Committed, Head, Part, Write
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from store.verify import Problem, Tally
from tests.store.builders import Clock, Customer
from tests.store.tampering import A, B, fill, heads_of, problems, tamper


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with two customers that have rows of every kind."""
    fill(tmp_path / "payments.db")
    return tmp_path / "payments.db"


def test_a_sound_store_has_no_problems(path: Path) -> None:
    """Nothing is found where nothing was changed, and the tally counts the checked data."""
    tally = Tally()
    assert problems(path, heads_of(path), tally) == []
    assert (tally.streams, tally.events, tally.heads) == (2, 5 + 12, 2)


def test_an_empty_store_has_no_problems(tmp_path: Path) -> None:
    """A new store is sound."""
    migrate(tmp_path / "empty.db")
    assert problems(tmp_path / "empty.db") == []
    assert heads_of(tmp_path / "empty.db") == []


EVENT_EDITS = {
    "position": "UPDATE events SET position = 1000 WHERE stream_id = 'a' AND version = 2",
    "stream_name": "UPDATE events SET stream_name = 'other' WHERE stream_id = 'a' AND version = 2",
    "stream_id": "UPDATE events SET stream_id = 'c' WHERE stream_id = 'a' AND version = 2",
    "version": "UPDATE events SET version = 77 WHERE stream_id = 'a' AND version = 2",
    "event_id": "UPDATE events SET event_id = 'x' WHERE stream_id = 'a' AND version = 2",
    "type": "UPDATE events SET type = 'DepositCompleted' WHERE stream_id = 'a' AND version = 2",
    "hash": "UPDATE events SET hash = zeroblob(32) WHERE stream_id = 'a' AND version = 2",
    "body": "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'A-1', 'A-2') AS BLOB)"
    " WHERE stream_id = 'a' AND version = 2",
    "body is no JSON": "UPDATE events SET body = x'00' WHERE stream_id = 'a' AND version = 2",
}


@pytest.mark.parametrize("column", EVENT_EDITS)
def test_an_edited_event_is_found(path: Path, column: str) -> None:
    """A change to any column of an event is a problem of the stream that it belonged to."""
    tamper(path, EVENT_EDITS[column])
    found = problems(path)
    assert A in {problem.stream for problem in found}
    assert B not in {problem.stream for problem in found}


def test_every_column_of_an_event_has_its_edit(path: Path) -> None:
    """The table above has all columns, so that a new one is not forgotten."""
    connection = apsw.Connection(str(path))
    columns = {row[1] for row in connection.execute("PRAGMA table_info(events)")}
    connection.close()
    assert columns == EVENT_EDITS.keys() - {"body is no JSON"}


def test_the_last_event_edited_with_its_hash_is_found_by_its_rows(path: Path) -> None:
    """A forged newest event with a matching hash and head still contradicts the read rows and exported heads."""
    heads = heads_of(path)
    connection = apsw.Connection(str(path))
    query = "SELECT body, hash FROM events WHERE stream_id = 'a' ORDER BY version DESC LIMIT 2"
    (body, _), (_, before) = connection.execute(query).fetchall()
    connection.close()
    assert isinstance(body, bytes)
    assert isinstance(before, bytes)
    forged = body.replace(b"A-7", b"A-8")
    hash_ = chain(before, forged).hex()
    tamper(path, f"UPDATE events SET body = x'{forged.hex()}', hash = x'{hash_}' WHERE stream_id = 'a' AND version = 5")
    assert problems(path)[0] == Problem(A, 5, "the last event is not the one that appends continue from")
    tamper(path, f"UPDATE heads SET hash = x'{hash_}' WHERE stream_id = 'a'")
    (found,) = problems(path)
    assert found.stream == A
    assert "gateway_reference" in found.text
    assert [problem.version for problem in problems(path, heads)] == [5, 5]


@pytest.mark.parametrize("version", [1, 3])
def test_a_removed_event_is_found(path: Path, version: int) -> None:
    """A gap in the versions is a problem even if all later events are unchanged."""
    tamper(path, f"DELETE FROM events WHERE stream_id = 'a' AND version = {version}")
    assert any(problem.text == f"version {version} is missing" for problem in problems(path))


def test_events_exchanged_are_found(path: Path) -> None:
    """Two events of a stream that change places break the chain."""
    tamper(
        path,
        "UPDATE events SET version = 90 WHERE stream_id = 'a' AND version = 2",
        "UPDATE events SET version = 2 WHERE stream_id = 'a' AND version = 3",
        "UPDATE events SET version = 3 WHERE stream_id = 'a' AND version = 90",
    )
    assert {problem.version for problem in problems(path)} >= {2, 3}


CUT = (
    "DELETE FROM events WHERE stream_id = 'a' AND version > 3",
    "DELETE FROM transactions WHERE transaction_id = 'a2'",
    "DELETE FROM work WHERE transaction_id = 'a2'",
    "UPDATE heads SET version = 3 WHERE stream_id = 'a'",
    "UPDATE heads AS h SET hash = (SELECT hash FROM events WHERE stream_id = 'a' AND version = 3) WHERE version = 3",
)


def test_a_tail_cut_with_its_rows_is_found_by_exported_heads(path: Path) -> None:
    """A stream that was shortened together with its rows and its head appears sound. Only exported heads show it."""
    heads = heads_of(path)
    tamper(path, *CUT)
    assert problems(path) == []
    (found,) = problems(path, heads)
    assert found == Problem(A, 5, "the stream was exported up to version 5, but ends at 3")


def test_a_customer_erased_is_found_by_exported_heads(path: Path) -> None:
    """A stream without any data is missing by its exported head."""
    heads = heads_of(path)
    tables = ("events", "transactions", "heads", "reviews", "work")
    tamper(path, *(f"DELETE FROM {table} WHERE stream_id = 'a'" for table in tables))
    assert problems(path) == []
    assert [problem.stream for problem in problems(path, heads)] == [A]


def test_a_past_rewritten_is_found_by_exported_heads(path: Path) -> None:
    """A head that was exported long ago must still be an event of a stream that has continued since."""
    heads = heads_of(path)
    store = SqliteStore(path, clock=Clock())
    customer = Customer("a")
    snapshot = store.load(A)
    customer.account, customer.head = snapshot.account, snapshot.head
    assert store.append([customer.deposit("a9")]) == [Committed()]
    store.close()
    assert problems(path, heads) == []
    other = [line.replace(orjson.loads(line)["hash"], "ab" * 32) for line in heads]
    assert [(problem.stream, problem.version) for problem in problems(path, other)] == [(A, 5), (B, 12)]


def test_a_line_that_is_no_head_is_a_problem(path: Path) -> None:
    """A damaged file of heads is reported; empty lines are ignored."""
    lines = [
        "",
        "\n",
        "{",
        '{"stream_name": "main"}',
        "[]",
        '{"stream_name":"m","stream_id":"a","version":1,"hash":"x"}',
    ]
    assert [problem.text[:10] for problem in problems(path, lines)] == ["not a line"] * 4


def test_an_illegal_transition_on_record_is_found(path: Path) -> None:
    """Events that are chained and numbered correctly, but do not follow from each other, are a problem."""
    customer = Customer("c")
    once = customer.deposit("c1")
    customer.account = Account("c", 1)  # as if the transaction did not exist
    twice = customer.deposit("c1").parts[0].events
    store = SqliteStore(path, clock=Clock())
    assert store.append([once, Write(customer.stream, Head(1, once.parts[0].events[-1].hash), (Part(twice),))]) == [
        Committed(),
        Committed(),
    ]
    store.close()
    (found,) = problems(path)
    assert (found.stream, found.version) == (customer.stream, 2)
    assert "received twice" in found.text


def test_a_problem_in_one_stream_hides_no_other(path: Path) -> None:
    """Verify continues after a problem, and finds those of other streams as well."""
    tamper(path, EVENT_EDITS["body is no JSON"], "UPDATE balances SET available_minor = 7 WHERE stream_id = 'b'")
    assert {problem.stream for problem in problems(path)} == {A, B}
