"""Rows of transactions as flat arrays, one for each type: the code that fills them, and the SQL that reads them.

Both are made from the list of columns. Each array holds the columns of its type, row after row. A new column is the
last of its type, so the rows of an earlier version of the service are narrower, and otherwise the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from store.columns import TRANSACTIONS, Column, Type
from store.postgresql.rows import DIALECT
from store.row_code import compile_flat_writer

_STREAM: Final = {"stream_name": "stream_names[n.write]", "stream_id": "stream_ids[n.write]"}
_ARRAYS: Final = {
    "text": (Type.TEXT, Type.JSON, Type.ERRORS),
    "number": (Type.INTEGER, Type.BOOLEAN),
    "time": (Type.TIME,),
}


def _of(types: Sequence[Type]) -> tuple[Column, ...]:
    return tuple(one for one in TRANSACTIONS.columns if one.type in types and one.name not in _STREAM)


def _sql(array: str, place: int, column: Column) -> str:
    value = f"transaction_{array}s[(n.i - 1) * {array}s + {place}]"
    if column.type is Type.JSON:
        value = f"{value}::json"
    elif column.type is Type.BOOLEAN:
        value = f"({value} <> 0)"
    if column.absent is not None:
        value = f"coalesce({value}, {column.absent})"
    return f"{value} AS {column.name}"


add_transaction: Final = compile_flat_writer(TRANSACTIONS, DIALECT.write, [_of(types) for types in _ARRAYS.values()])
"""A function that adds a transaction to the lists for text, numbers and times."""

TRANSACTION_COLUMNS: Final = ", ".join(
    [f"{value} AS {name}" for name, value in _STREAM.items()]
    + [_sql(array, place, column) for array, types in _ARRAYS.items() for place, column in enumerate(_of(types), 1)]
)
"""The columns of row number ``n.i`` of the write ``n.write``, in ``append_writes``."""
