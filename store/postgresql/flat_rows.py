"""Rows of transactions as flat arrays, one for each type: the code that fills them, and the SQL that reads them.

Both are made from the list of columns. Each array holds the columns of its type, row after row. A new column is the
last of its type, so the rows of an earlier version of the service are narrower, and otherwise the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from store.columns import TRANSACTIONS, Column, Type
from store.postgresql.rows import DIALECT
from store.row_code import compile_flat_writer

_STREAM: Final = {"stream_name": "stream_names[n.write]", "stream_id": "stream_ids[n.write]"}
_OTHER_VALUE: Final = re.compile(r"\bn\.(\w+)")
_ARRAYS: Final = {
    "text": (Type.TEXT, Type.JSON, Type.ERRORS),
    "number": (Type.INTEGER, Type.BOOLEAN),
    "time": (Type.TIME,),
}


def _of(types: Sequence[Type]) -> tuple[Column, ...]:
    return tuple(one for one in TRANSACTIONS.columns if one.type in types and one.name not in _STREAM)


def _values() -> dict[str, str]:
    """For each column the value in row number ``n.i``, which is NULL beyond the width of an earlier version's rows."""
    values = dict(_STREAM)
    for array, types in _ARRAYS.items():
        for place, column in enumerate(_of(types), 1):
            value = f"CASE WHEN {array}s >= {place} THEN transaction_{array}s[(n.i - 1) * {array}s + {place}] END"
            if column.type is Type.JSON:
                value = f"({value})::json"
            elif column.type is Type.BOOLEAN:
                value = f"({value} <> 0)"
            values[column.name] = value
    return values


def _sql(column: Column, values: Mapping[str, str]) -> str:
    value = values[column.name]
    if column.absent is not None:
        # It names the other values as columns of n, which are no columns yet where the arrays are read.
        absent = _OTHER_VALUE.sub(lambda found: values[found[1]], column.absent)
        value = f"coalesce({value}, {absent})"
    return f"{value} AS {column.name}"


add_transaction: Final = compile_flat_writer(TRANSACTIONS, DIALECT.write, [_of(types) for types in _ARRAYS.values()])
"""A function that adds a transaction to the lists for text, numbers and times."""

_VALUES: Final = _values()
TRANSACTION_COLUMNS: Final = ", ".join(_sql(column, _VALUES) for column in TRANSACTIONS.columns)
"""The columns of row number ``n.i`` of the write ``n.write``, in ``append_writes``."""
