"""The dialect of PostgreSQL: the driver has times and booleans, a batch is records of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import orjson
import psycopg

from store.columns import REVIEWS, TRANSACTIONS, Column, Type
from store.dialect import Dialect
from store.errors import CorruptStoreError
from store.port import WorkError
from store.row_code import Row, compile_record_writer
from store.rows import Rows, balance_of, details_text, event_of, read_details

__all__ = [
    "DIALECT",
    "Row",
    "balance_of",
    "dead_letter_of",
    "errors_text",
    "event_of",
    "fetched",
    "readable_errors",
    "review_of",
    "review_values",
    "review_view_of",
    "transaction_beside",
    "transaction_of",
    "transaction_values",
    "transaction_view_of",
    "work_item_of",
]


def fetched(cursor: psycopg.Cursor[Row]) -> list[Row]:
    """All rows of ``cursor``. Raises CorruptStoreError when Python has no value for a column, as for a remote time."""
    try:
        return cursor.fetchall()
    except psycopg.DataError as error:
        raise CorruptStoreError(f"a row cannot be read: {error}") from error


def errors_text(errors: Sequence[WorkError]) -> str:
    """The errors of a piece of work as JSON."""
    return orjson.dumps([{"at": one.at, "error": one.error} for one in errors]).decode() if errors else "[]"


def _read_errors(text: str | bytes) -> tuple[WorkError, ...]:
    return tuple(WorkError(datetime.fromisoformat(one["at"]), one["error"]) for one in orjson.loads(text))


def _item(_: int, column: Column) -> str:
    value = f"n.{column.name}::json" if column.type is Type.JSON else f"n.{column.name}"
    return value if column.absent is None else f"coalesce({value}, {column.absent})"


DIALECT: Final = Dialect(
    selected={Type.JSON: "{0}::text", Type.ERRORS: "{0}::text"},
    item=_item,
    record={
        Type.TEXT: "text",
        Type.INTEGER: "bigint",
        Type.BOOLEAN: "boolean",
        Type.TIME: "timestamptz",
        Type.JSON: "text",  # cast to json afterwards: jsonb would normalise the document
    },
    read={Type.JSON: read_details},
    write={Type.JSON: details_text},
)
_ROWS: Final = Rows(DIALECT, _read_errors)

transaction_of: Final = _ROWS.transaction_of
transaction_view_of: Final = _ROWS.transaction_view_of
transaction_beside: Final = _ROWS.transaction_beside
review_of: Final = _ROWS.review_of
review_view_of: Final = _ROWS.review_view_of
work_item_of: Final = _ROWS.work_item_of
dead_letter_of: Final = _ROWS.dead_letter_of
readable_errors: Final = _ROWS.readable_errors

transaction_values: Final = compile_record_writer(TRANSACTIONS, DIALECT.write)
review_values: Final = compile_record_writer(REVIEWS, DIALECT.write)
