"""``store.verify`` over read rows and work: they are the fold of the events, or verify reports a problem."""
# ruff: noqa: S608 - the statements are this file's own

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from store.columns import REVIEWS, TRANSACTIONS, Type
from tests.store.tampering import B, fill, problems, tamper


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with two customers and rows of every kind."""
    fill(tmp_path / "payments.db")
    return tmp_path / "payments.db"


OTHER = {Type.TEXT: "'x'", Type.INTEGER: "9", Type.BOOLEAN: "1", Type.TIME: "9", Type.JSON: "'{}'"}
"""By type: a value that no column of the rows below has."""


def _row_edits() -> Iterator[tuple[str, str]]:
    transaction = {column.name: OTHER[column.type] for column in TRANSACTIONS.columns} | {
        "stream_name": "'other'",
        "stream_id": "'a'",
        "kind": "'withdrawal'",
        "amount_minor": "1",
        "currency": "'EUR'",
        "status": "'pending'",
        "failure_category": "'soft'",
    }
    for column, value in transaction.items():
        yield f"transactions.{column}", f"UPDATE transactions SET {column} = {value} WHERE transaction_id = 'b1'"
    for column, value in {
        "available_minor": "7",
        "reserved_minor": "7",
        "currency": "'GBP'",
        "stream_id": "'x'",
    }.items():
        yield f"balances.{column}", f"UPDATE balances SET {column} = {value} WHERE stream_id = 'b'"
    yield "balances.stream_name", "UPDATE balances SET stream_name = 'other' WHERE stream_id = 'b'"
    for column, value in {
        "stream_name": "'other'",
        "stream_id": "'x'",
        "version": "7",
        "hash": "zeroblob(32)",
        "balances": """'{"EUR": [1, 0], "USD": [1, 0]}'""",
    }.items():
        yield f"heads.{column}", f"UPDATE heads SET {column} = {value} WHERE stream_id = 'b'"
    for name, text in {"are not JSON": "{", "are no object": "[1]", "are no pairs": '{"USD": [1]}'}.items():
        yield f"balances {name}", f"UPDATE heads SET balances = '{text}' WHERE stream_id = 'b'"
    for name, available in {"a fraction": "1.0", "a truth value": "true", "negative": "-1", "text": '"1"'}.items():
        balances = f'{{"EUR": [{available}, 0], "USD": [0, 0]}}'
        yield f"a balance is {name}", f"UPDATE heads SET balances = '{balances}' WHERE stream_id = 'b'"
    review = {column.name: OTHER[column.type] for column in REVIEWS.columns} | {
        "stream_name": "'other'",
        "stream_id": "'a'",
        "transaction_id": "'b1'",
        "state": "'closed'",
        "said": """'{"source": "lookup", "gateway": "g", "at": "2026-11-22T12:00:00Z"}'""",
        "expected": """'{"gateway": "g", "status": "s", "amount": "1", "currency": "U", "gateway_reference": null}'""",
    }
    for column, value in review.items():
        yield f"reviews.{column}", f"UPDATE reviews SET {column} = {value} WHERE review_id = 'b-r2'"
    yield "a transaction's row deleted", "DELETE FROM transactions WHERE transaction_id = 'b1'"
    yield "a balance deleted", "DELETE FROM balances WHERE stream_id = 'b'"
    yield "a review deleted", "DELETE FROM reviews WHERE review_id = 'b-r1'"
    yield "work deleted", "DELETE FROM work WHERE transaction_id = 'b2'"
    yield "work of a finished transaction", "UPDATE work SET transaction_id = 'b1' WHERE transaction_id = 'b2'"
    yield "work of no transaction", "UPDATE work SET transaction_id = 'x', work_id = 'y' WHERE transaction_id = 'b2'"
    yield "details are not JSON", "UPDATE transactions SET details = '{' WHERE transaction_id = 'b1'"
    yield "status is unknown", "UPDATE transactions SET status = 'odd' WHERE transaction_id = 'b1'"
    yield "the report is not JSON", "UPDATE reviews SET said = '{' WHERE review_id = 'b-r2'"
    yield "a time beyond all calendars", "UPDATE reviews SET opened_at = 1 << 62 WHERE review_id = 'b-r2'"


ROW_EDITS = dict(_row_edits())


@pytest.mark.parametrize("what", ROW_EDITS)
def test_an_edited_row_is_found(path: Path, what: str) -> None:
    """A change to any column of a read row, or of work that must or must not exist, is a problem."""
    tamper(path, ROW_EDITS[what])
    found = problems(path)
    assert found
    assert B in {problem.stream for problem in found}


WORDS = {
    "transactions.status": "status is pending, not failed",
    "transactions.amount_minor": "money is 0.01 USD, not ",
    "transactions.created_at": "created_at is 1970-01-01T00:00:00.000009Z, not 20",
    "transactions.failure_message": "failure is (code ",
    "transactions.gateway_reference": "gateway_reference is 'x', not nothing",
    "transactions.reserved": "reserved is yes, not no",
    "balances.available_minor": "available is 0.07 EUR, not ",
    "reviews.closed_at": "closed_at is 1970-01-01T00:00:00.000009Z, not nothing",
}


@pytest.mark.parametrize("what", WORDS)
def test_differences_are_described_in_words(path: Path, what: str) -> None:
    """Money is shown with its currency and times in the usual form, without names of classes."""
    tamper(path, ROW_EDITS[what])
    texts = [problem.text for problem in problems(path)]
    assert any(WORDS[what] in text for text in texts), texts
    assert not [text for text in texts if "<" in text or "datetime" in text or "(code=" in text]


WORK_COLUMNS = (
    "stream_name, stream_id, gateway, action, event_type, state, owner, token, attempts, next_attempt_at, errors, "
    "created_at"
)


def test_remaining_work_is_found(path: Path) -> None:
    """A terminal transaction has no work. Work that remained would be sent again."""
    tamper(
        path,
        f"INSERT INTO work (work_id, transaction_id, {WORK_COLUMNS})"
        f" SELECT 'x', 'b1', {WORK_COLUMNS} FROM work WHERE work_id = 'b2'",
    )
    (found,) = problems(path)
    assert found.stream == B
    assert found.text == "transaction b1 is failed, but has work"


def test_every_column_of_a_row_has_its_edit(path: Path) -> None:
    """Every column of the read tables in the database has an edit above."""
    connection = apsw.Connection(str(path))
    columns = {
        f"{table}.{row[1]}"
        for table in ("transactions", "heads", "balances", "reviews")
        for row in connection.execute(f"PRAGMA table_info({table})")
    }
    connection.close()
    assert columns <= ROW_EDITS.keys()
