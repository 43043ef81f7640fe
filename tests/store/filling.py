"""Fill a store's tables with many rows by SQL alone, in shares that make lists expensive: see ``Shape``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final

import apsw
import psycopg

from actors.runtime.runtime import uuid7
from store.sqlite.rows import to_us
from tests.store.builders import START

_HASH: Final = bytes(32)
_BODY: Final = b"." * 300
_TABLES: Final = {
    "transactions": (
        "transaction_id, stream_name, stream_id, kind, gateway, amount_minor, currency, details, status, reserved,"
        " submissions, gateway_reference, failure_code, failure_category, failure_message, version, created_at,"
        " updated_at, correlation_id, parent_id"
    ),
    "events": "stream_name, stream_id, version, event_id, type, body, hash",
    "work": (
        "work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, state, owner, token, attempts,"
        " next_attempt_at, errors, payload, created_at, doubt"
    ),
    "reviews": "review_id, stream_name, stream_id, transaction_id, reason, state, opened_at, closed_at",
}
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Shape:
    """``count`` transactions, twenty a second from START on, each with one event; the rest are shares of that.

    Ten a customer, and a twentieth of all for the customer ``house``. Nearly all completed, a hundredth failed, ten
    unknown, the newest hundred pending, the oldest five processed. The oldest thousandth at the gateway ``retired``.
    A tenth dead letters, of these a hundredth parked; a tenth with a review, nearly all closed; for a hundredth a
    callback that waits. Ten of the merchant ``small``. A fiftieth are refunds, a quarter
    of these of the first transaction. A twentieth have the reference ``A-same``, and another the correlation id
    ``job``.
    """

    count: int

    def id(self, number: int) -> str:
        """The id of the transaction of that number, oldest first."""
        return uuid7(self.at(number), number)

    def at(self, number: int) -> datetime:
        """When it was created."""
        return START + timedelta(milliseconds=50 * number)

    def merchant(self, number: int) -> str:
        """The merchant of the transaction."""
        return "small" if number % (self.count // 10) == 5 else "main"

    def customer(self, number: int) -> str:
        """The customer of the transaction."""
        return "house" if number % 20 == 0 else f"c{number * 7919 % (self.count // 10)}"

    def gateway(self, number: int) -> str:
        """The gateway of the transaction."""
        if number < self.count // 1000:
            return "retired"
        return "gatewayB" if number % 3 == 0 else "gatewayA"

    def status(self, number: int) -> str:
        """The status of the transaction."""
        if number >= self.count - 100:
            return "pending"
        if number % (self.count // 10) == 11:
            return "unknown"
        return "processed" if number < 5 else "failed" if number % 100 == 7 else "completed"

    def transaction(self, number: int, time: Callable[[datetime], object]) -> Row:
        """The transaction's row."""
        status, at = self.status(number), time(self.at(number))
        parent_id = self.parent_id(number)
        kind = "refund" if parent_id is not None else "withdrawal" if number % 5 == 0 else "deposit"
        whose = (self.merchant(number), self.customer(number), kind, self.gateway(number))
        failure = ("do_not_honor", "hard", "no") if status == "failed" else (None, None, None)
        amount = (10_000, "USD", "{}", status, False, 0, self.reference(number))
        return (self.id(number), *whose, *amount, *failure, number + 1, at, at, self.correlation_id(number), parent_id)

    def parent_id(self, number: int) -> str | None:
        """The parent of a refund; None for the others."""
        if number % 50 != 9:
            return None
        return self.id(0 if number % 200 == 9 else number - 1)

    def reference(self, number: int) -> str:
        """The gateway's reference of the transaction."""
        return "A-same" if number % 20 == 1 else f"A-{number}"

    def correlation_id(self, number: int) -> str:
        """The correlation id of the request."""
        return "job" if number % 20 == 2 else f"r-{number}"

    def event(self, number: int) -> Row:
        """The row of its event, with a version that no other event has."""
        where = (self.merchant(number), self.customer(number), number + 1)
        return (*where, f"e{number}", "DepositReceived", _BODY, _HASH)

    def work(self, number: int, time: Callable[[datetime], object]) -> Row:
        """The row of a dead letter."""
        key, at = self.id(number), time(self.at(number))
        whose = (self.merchant(number), self.customer(number), key, self.gateway(number))
        state = "parked" if number % 1000 == 3 else "dead"
        return (key, *whose, "submit", "DepositReceived", state, None, 1, 3, at, "[]", None, at, 0)

    def callback(self, number: int, time: Callable[[datetime], object]) -> Row:
        """The row of a callback that waits for its transaction."""
        gateway, at = self.gateway(number), time(self.at(number))
        whose = (f"callback:{self.id(number)}", "gateways", gateway, None, f"callbacks:{gateway}")
        return (*whose, "apply", "CallbackReceived", "queued", None, 1, 3, at, "[]", None, at, 0)

    def review(self, number: int, time: Callable[[datetime], object]) -> Row:
        """The row of a review; one in a hundred is about a gateway."""
        at, is_open = time(self.at(number)), number % 5000 == 4
        of_gateway = number % 1000 == 14
        whose = ("gateways", self.gateway(number)) if of_gateway else (self.merchant(number), self.customer(number))
        about = (None if of_gateway else self.id(number), "odd", "open" if is_open else "closed")
        return (f"r{number}", *whose, *about, at, None if is_open else at)

    def rows(self, table: str, time: Callable[[datetime], object]) -> Iterator[Row]:
        """All rows of a table; ``time`` makes the column's value of a time."""
        if table == "events":
            return map(self.event, range(self.count))
        if table == "transactions":
            return (self.transaction(number, time) for number in range(self.count))
        if table == "work":
            letters = (self.work(number, time) for number in range(3, self.count, 10))
            return chain(letters, (self.callback(number, time) for number in range(24, self.count, 100)))
        return (self.review(number, time) for number in range(4, self.count, 10))


def fill_sqlite(path: Path, shape: Shape) -> None:
    """Fill a migrated file and analyse it."""
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "OFF")
    with connection:
        for table, columns in _TABLES.items():
            marks = ", ".join("?" * len(columns.split(",")))
            insert = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608  # this file's own names
            connection.executemany(insert, shape.rows(table, to_us))
    connection.execute(
        "INSERT INTO heads (stream_name, stream_id, version, hash, balances)"
        " SELECT stream_name, stream_id, max(version), hash, '{}' FROM events GROUP BY stream_name, stream_id"
    )
    connection.execute("ANALYZE")
    connection.close()


def fill_postgresql(conninfo: str, shape: Shape) -> None:
    """Fill a migrated database as the owner of its tables, then analyse and vacuum it."""
    with psycopg.connect(conninfo, autocommit=True) as session:
        session.execute("SET statement_timeout = 0")
        for table, columns in _TABLES.items():
            with session.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in shape.rows(table, lambda at: at):
                    copy.write_row(row)
        session.execute("VACUUM ANALYZE")
