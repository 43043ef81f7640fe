"""The dialect of SQLite: times are microseconds since 1970, booleans are integers, a batch is arrays of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from domain.account import Balance
from store.columns import REVIEWS, TRANSACTIONS, Type
from store.dialect import Dialect
from store.errors import CorruptStoreError
from store.port import WorkError
from store.row_code import UNREADABLE, Row, compile_row_writer
from store.rows import Rows, details_text, event_of, read_details, work_row

__all__ = [
    "DIALECT",
    "Row",
    "balances_json",
    "balances_of",
    "dead_letter_of",
    "errors_text",
    "event_of",
    "from_us",
    "readable_errors",
    "review_of",
    "review_values",
    "review_view_of",
    "to_us",
    "transaction_of",
    "transaction_values",
    "transaction_view_of",
    "work_item_of",
    "work_row",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000
_INTEGER_MAX: Final = 2**63 - 1


def to_us(at: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exactly. ``at`` must have a time zone."""
    since = at - _EPOCH
    return since.days * _DAY_US + since.seconds * 1_000_000 + since.microseconds


def from_us(us: int) -> datetime:
    """The time in UTC that is ``us`` microseconds after 1970-01-01. Raises OverflowError."""
    return _EPOCH + timedelta(microseconds=us)


def balances_of(text: str) -> dict[str, Balance]:
    """The balances by currency from their column of ``heads``. Raises CorruptStoreError."""
    if text == "{}":
        return {}
    balances = {}
    try:
        for currency, (available, reserved) in orjson.loads(text).items():
            if not (type(available) is type(reserved) is int and available >= 0 and reserved >= 0):
                raise ValueError(f"the amounts of {currency} are not whole numbers from 0")
            balances[currency] = Balance(available, reserved)
    except (*UNREADABLE, AttributeError) as error:  # or no JSON object
        raise CorruptStoreError(f"the balances {text!r} cannot be read: {error}") from error
    return balances


def balances_json(balances: Sequence[tuple[str, Balance]]) -> dict[str, tuple[int, int]] | None:
    """The reverse, before it becomes JSON. None for no balances. Raises OverflowError above 64 bits."""
    if not balances:
        return None
    for _, balance in balances:
        if max(balance.available, balance.reserved) > _INTEGER_MAX:
            raise OverflowError(f"{balance} is too large for SQLite")
    return {currency: (balance.available, balance.reserved) for currency, balance in balances}


def errors_text(errors: Sequence[WorkError]) -> str:
    """The errors of a piece of work as JSON."""
    return orjson.dumps([(to_us(error.at), error.error) for error in errors]).decode() if errors else "[]"


def _read_errors(text: str | bytes) -> tuple[WorkError, ...]:
    return tuple(WorkError(from_us(at), error) for at, error in orjson.loads(text))


DIALECT: Final = Dialect(
    # As bytes: damaged text would keep the whole row from being read.
    selected={Type.ERRORS: "CAST({0} AS BLOB) AS errors"},
    item=lambda place, _: f"value ->> {place}",
    record={},
    read={Type.TIME: from_us, Type.BOOLEAN: bool, Type.JSON: read_details},
    write={Type.TIME: to_us, Type.JSON: details_text},
)
_ROWS: Final = Rows(DIALECT, _read_errors)

transaction_of: Final = _ROWS.transaction_of
transaction_view_of: Final = _ROWS.transaction_view_of
review_of: Final = _ROWS.review_of
review_view_of: Final = _ROWS.review_view_of
work_item_of: Final = _ROWS.work_item_of
dead_letter_of: Final = _ROWS.dead_letter_of
readable_errors: Final = _ROWS.readable_errors

transaction_values: Final = compile_row_writer(TRANSACTIONS, DIALECT.write)
review_values: Final = compile_row_writer(REVIEWS, DIALECT.write)
