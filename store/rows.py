"""Between the port's values and the rows of both adapters. An adapter passes its dialect and its form of errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson

from domain.account import Balance, Transaction
from store.columns import REVIEWS, TRANSACTIONS, WORK, Type, WorkRow
from store.dialect import Dialect
from store.errors import CorruptStoreError
from store.port import Action, DeliveryCertainty, StoredEvent, StreamKey, WorkError, WorkItem, WorkState
from store.queries import DeadLetter, ReviewView, TransactionView
from store.row_code import UNREADABLE, Row, compile_reader

T = TypeVar("T")

_WORK_COLUMNS: Final = len(WORK.columns)
_REVIEW_KEY: Final = slice(1, 3)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read_details(text: str) -> dict[str, str]:
    """The details of a transaction. Raises ValueError."""
    details: dict[str, str] = orjson.loads(text) if text != "{}" else {}
    return details


def details_text(details: object) -> str:
    """The details as the JSON of their column."""
    return orjson.dumps(details).decode() if details else "{}"


def event_of(row: Row) -> StoredEvent:
    """An event from the columns of ``select_events_after``."""
    position, stream_name, stream_id, event_id, version, type_, body, hash_ = row
    return StoredEvent(position, StreamKey(stream_name, stream_id), event_id, version, type_, body, hash_)


def balance_of(row: Row) -> tuple[str, Balance]:
    """A balance from the columns of ``select_balances``."""
    currency, available, reserved = row
    return currency, Balance(available, reserved)


class Rows:
    """The rows of one dialect. ``read_errors`` makes the errors of work from its column."""

    def __init__(self, dialect: Dialect, read_errors: Callable[[str | bytes], tuple[WorkError, ...]]) -> None:
        self._read_time: Final = dialect.read.get(Type.TIME, _same)
        self._read_errors: Final = read_errors
        self.transaction_of: Final = compile_reader(TRANSACTIONS, dialect.read)
        """A transaction from ``{columns of transactions}``, which may be followed by others."""
        self.review_of: Final = compile_reader(REVIEWS, dialect.read)
        """A review from ``{columns of reviews}``."""

    def transaction_view_of(self, row: Row) -> TransactionView:
        """A transaction from ``{columns of transactions}`` and ``{attention}``. Raises CorruptStoreError."""
        return TransactionView(self.transaction_of(row), row[-1])

    def review_view_of(self, row: Row) -> ReviewView:
        """A review and its stream from ``{columns of reviews}``. Raises CorruptStoreError."""
        return ReviewView(StreamKey(*row[_REVIEW_KEY]), self.review_of(row))

    def transaction_beside(self, row: Row) -> Transaction | None:
        """The transaction from the columns after those of work; None without one. Raises CorruptStoreError."""
        return None if row[_WORK_COLUMNS] is None else self.transaction_of(row[_WORK_COLUMNS:])

    def work_item_of(self, row: Row) -> WorkItem:
        """A piece of work from its columns and those of its transaction. Raises CorruptStoreError."""
        work = work_row(row)
        try:
            certainty = DeliveryCertainty(work.doubt)
            action = Action(work.action)
            return _work_item(work, action, self._read_errors(work.errors), certainty, self.transaction_beside(row))
        except UNREADABLE as error:
            raise CorruptStoreError(f"the row of work {work.work_id!r} cannot be read: {error}") from error

    def dead_letter_of(self, row: Row, transaction: Transaction | None) -> DeadLetter:
        """A dead letter from the columns of work. A value that cannot be read becomes the one that promises least."""
        work = work_row(row)
        action = readable(lambda: Action(work.action), Action.RESOLVE)
        certainty = readable(lambda: DeliveryCertainty(work.doubt), DeliveryCertainty.SENT)
        parked = work.state == WorkState.PARKED
        return DeadLetter(
            item=_work_item(work, action, self.readable_errors(row), certainty, transaction),
            transaction_id=work.transaction_id,
            state=WorkState(work.state),
            next_attempt_at=None if parked else readable(lambda: self._read_time(work.next_attempt_at), None),
            created_at=readable(lambda: self._read_time(work.created_at), _EPOCH),
        )

    def readable_errors(self, row: Row) -> tuple[WorkError, ...]:
        """The errors of a piece of work, none when they cannot be read."""
        return readable(lambda: self._read_errors(work_row(row).errors), ())


def work_row(row: Sequence[Any]) -> WorkRow:
    """The columns of work at the beginning of a row, by their names."""
    return WorkRow._make(row[:_WORK_COLUMNS])


def readable(read: Callable[[], T], otherwise: T) -> T:
    """What ``read`` returns, or ``otherwise`` when the value cannot be read."""
    try:
        return read()
    except UNREADABLE:
        return otherwise


def _same(value: Any) -> Any:  # noqa: ANN401  # the driver's own value
    return value


def _work_item(
    work: WorkRow,
    action: Action,
    errors: tuple[WorkError, ...],
    certainty: DeliveryCertainty,
    transaction: Transaction | None,
) -> WorkItem:
    return WorkItem(
        work.work_id,
        work.token,
        StreamKey(work.stream_name, work.stream_id),
        work.gateway,
        action,
        work.event_type,
        work.attempts,
        errors,
        transaction,
        work.payload,
        certainty,
    )
