"""Between the port's values and the columns of PostgreSQL. Knows the order of columns in queries and in views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import orjson
import psycopg

from domain.account import Balance, Failure, Status, Transaction
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Category
from store.codec import read_review_texts
from store.errors import CorruptStoreError
from store.port import Action, DeliveryCertainty, Review, StoredEvent, StreamKey, WorkError, WorkItem, WorkState
from store.queries import DeadLetter, ReviewView, TransactionView

T = TypeVar("T")

Row = tuple[Any, ...]
"""A row as psycopg gives it."""

WORK_COLUMNS: Final = 15
"""How many columns ``work_rows`` has; those of ``transaction_rows`` follow where both are asked for."""

_UNREADABLE: Final = (ValueError, TypeError, OverflowError, KeyError)


def fetched(cursor: psycopg.Cursor[Row]) -> list[Row]:
    """All rows of ``cursor``. Raises CorruptStoreError when one holds what Python has no value for."""
    try:
        return cursor.fetchall()
    except psycopg.DataError as error:  # a time beyond all calendars, say
        raise CorruptStoreError(f"a row cannot be read: {error}") from error


def event_of(row: Row) -> StoredEvent:
    """An event from the columns of ``select_events_after``."""
    position, stream_name, stream_id, event_id, version, type_, body, hash_ = row
    return StoredEvent(position, StreamKey(stream_name, stream_id), event_id, version, type_, body, hash_)


def transaction_of(row: Sequence[Any]) -> Transaction:
    """A transaction from the columns of ``transaction_rows``. Raises CorruptStoreError."""
    try:
        return Transaction(
            transaction_id=row[0],
            customer_id=row[1],
            kind=Kind(row[2]),
            gateway=row[3],
            money=Money(row[4], row[5]),
            details=orjson.loads(row[6]) if row[6] != "{}" else {},
            status=Status(row[7]),
            reserved=row[8],
            submissions=row[9],
            gateway_reference=row[10],
            failure=None
            if row[11] is None
            else Failure(row[11], None if row[12] is None else Category(row[12]), row[13]),
            version=row[14],
            created_at=row[15],
            updated_at=row[16],
        )
    except _UNREADABLE as error:
        raise CorruptStoreError(f"the row of transaction {row[0]!r} cannot be read: {error}") from error


def transaction_view_of(row: Row) -> TransactionView:
    """A transaction from the columns of ``transaction_views``. Raises CorruptStoreError."""
    return TransactionView(transaction_of(row), row[18])


def balance_of(row: Row) -> tuple[str, Balance]:
    """A balance from the columns of ``select_balances``."""
    currency, available, reserved = row
    return currency, Balance(available, reserved)


def review_of(row: Row) -> Review:
    """A review from the columns of ``select_stream_reviews``. Raises CorruptStoreError."""
    review_id, transaction_id, reason, state, opened_at, closed_at, *texts = row
    told = read_review_texts(*texts)
    return Review(review_id, transaction_id, reason, state, opened_at, closed_at, *told)


def review_view_of(row: Row) -> ReviewView:
    """A review with its stream, whose columns come first."""
    return ReviewView(StreamKey(*row[:2]), review_of(row[2:]))


def errors_text(errors: Sequence[WorkError]) -> str:
    """The errors of a piece of work as JSON."""
    return orjson.dumps([{"at": one.at, "error": one.error} for one in errors]).decode() if errors else "[]"


def work_item_of(row: Row) -> WorkItem:
    """A piece of work from the columns of ``work_rows`` and ``transaction_rows``. Raises CorruptStoreError."""
    try:
        transaction = None if row[WORK_COLUMNS] is None else transaction_of(row[WORK_COLUMNS:])
        return _work_item(row, Action(row[5]), _errors_in(row), DeliveryCertainty(row[10]), transaction)
    except _UNREADABLE as error:
        raise CorruptStoreError(f"the row of work {row[0]!r} cannot be read: {error}") from error


def dead_letter_of(row: Row, transaction: Transaction | None) -> DeadLetter:
    """A dead letter from the columns of ``work_rows``; for what cannot be read in them stands what promises least."""
    action = readable(lambda: Action(row[5]), Action.RESOLVE)
    certainty = readable(lambda: DeliveryCertainty(row[10]), DeliveryCertainty.SENT)
    transaction_id, state, next_attempt_at, created_at = row[11:WORK_COLUMNS]
    return DeadLetter(
        item=_work_item(row, action, readable_errors(row), certainty, transaction),
        transaction_id=transaction_id,
        state=WorkState(state),
        next_attempt_at=None if state == WorkState.PARKED else next_attempt_at,
        created_at=created_at,
    )


def readable_errors(row: Row) -> tuple[WorkError, ...]:
    """The errors of a row of ``work_rows``, none when they cannot be read."""
    return readable(lambda: _errors_in(row), ())


def readable(read: Callable[[], T], otherwise: T) -> T:
    """What ``read`` gives, or ``otherwise`` when it cannot be read."""
    try:
        return read()
    except _UNREADABLE:
        return otherwise


def _work_item(
    row: Row,
    action: Action,
    errors: tuple[WorkError, ...],
    certainty: DeliveryCertainty,
    transaction: Transaction | None,
) -> WorkItem:
    work_id, token, stream_name, stream_id, gateway, _, event_type, attempts, _, payload = row[:10]
    stream = StreamKey(stream_name, stream_id)
    return WorkItem(
        work_id, token, stream, gateway, action, event_type, attempts, errors, transaction, payload, certainty
    )


def _errors_in(row: Row) -> tuple[WorkError, ...]:
    return tuple(WorkError(datetime.fromisoformat(one["at"]), one["error"]) for one in orjson.loads(row[8]))
