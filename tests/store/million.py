"""``python -m tests.store.million [rows]``: every list on both stores with a million transactions, as docs/queries.md.

Makes a database of its own on the server that the tests use, and a file in a temporary folder.
"""

# ruff: noqa: T201 - it is for people

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from domain.account import Status
from domain.events import Kind
from store.port import DeadLetterFilter, StreamKey, WorkState
from store.postgresql import reads as postgresql_reads
from store.postgresql.migrate import migrate as migrate_postgresql
from store.queries import ReviewKey, TransactionFilter
from store.sqlite import reads as sqlite_reads
from store.sqlite.migrate import migrate as migrate_sqlite
from tests.postgresql.servers import new_database, shared_server
from tests.store.filling import Shape, fill_postgresql, fill_sqlite
from tests.store.plans import PostgresqlReader, Reading, SqliteReader

PAGE: Final = 51
"""The API's default page: fifty rows, and one more that shows whether another page follows."""

ROUNDS: Final = 5

Ask = Callable[[Any, Any], Sequence[Any]]
"""Asks the functions of an adapter's ``reads`` on its cursor or session."""


def _transactions(where: TransactionFilter, before: str | None = None) -> Ask:
    return lambda reads, source: reads.transactions(source, "main", where, before, PAGE)


def _reviews(state: str | None, before: ReviewKey | None = None) -> Ask:
    return lambda reads, source: reads.reviews(source, "main", state, before, PAGE)


def _letters(where: DeadLetterFilter, before: str | None = None) -> Ask:
    return lambda reads, source: reads.dead_letters(source, "main", where, before, PAGE)


def _waiting(queue: str | None, before: str | None = None) -> Ask:
    return lambda reads, source: reads.waiting_callbacks(source, "main", queue, before, PAGE)


def _events(merchant: str | None, after: int) -> Ask:
    return lambda reads, source: reads.all_events(source, merchant, after, PAGE)


def questions(shape: Shape) -> Mapping[str, Ask]:
    """The lists of the API with their filters. The most expensive come first: those that nearly no row passes."""
    middle, narrow = shape.at(shape.count // 2), timedelta(minutes=1)
    last = shape.id(shape.count - 1)
    asked = {
        "transactions": _transactions(TransactionFilter()),
        "transactions, from a cursor in the middle": _transactions(TransactionFilter(), shape.id(shape.count // 2)),
        "customer_id": _transactions(TransactionFilter("c77")),
        "customer_id, one with a twentieth of all": _transactions(TransactionFilter("house")),
        "customer_id (that one) and status failed: none": _transactions(TransactionFilter("house", Status.FAILED)),
        "customer_id (that one) and gateway retired": _transactions(TransactionFilter("house", gateway="retired")),
    }
    for status in Status:
        asked[f"status {status}"] = _transactions(TransactionFilter(status=status))
    asked |= {
        "gateway gatewayB": _transactions(TransactionFilter(gateway="gatewayB")),
        "gateway retired (the oldest)": _transactions(TransactionFilter(gateway="retired")),
        "gateway unknown to all": _transactions(TransactionFilter(gateway="none")),
        "type withdrawal": _transactions(TransactionFilter(kind=Kind.WITHDRAWAL)),
        "status unknown, type withdrawal, gateway gatewayA": _transactions(
            TransactionFilter(status=Status.UNKNOWN, gateway="gatewayA", kind=Kind.WITHDRAWAL)
        ),
        "status processed, gateway gatewayB": _transactions(TransactionFilter(None, Status.PROCESSED, "gatewayB")),
        "created_from (the newest minute)": _transactions(
            TransactionFilter(created_from=shape.at(shape.count) - narrow)
        ),
        "created_from (in the future)": _transactions(
            TransactionFilter(created_from=shape.at(shape.count) + timedelta(hours=1))
        ),
        "created_to (in the middle)": _transactions(TransactionFilter(created_to=middle)),
        "created_to (before all)": _transactions(TransactionFilter(created_to=shape.at(0))),
        "created_from, created_to: one minute": _transactions(
            TransactionFilter(created_from=middle, created_to=middle + narrow)
        ),
        "created_from, created_to: one second": _transactions(
            TransactionFilter(created_from=middle, created_to=middle + timedelta(seconds=1))
        ),
        "the same and status failed, type deposit": _transactions(
            TransactionFilter(None, Status.FAILED, None, Kind.DEPOSIT, middle, middle + narrow)
        ),
        "all six": _transactions(
            TransactionFilter("house", Status.COMPLETED, "gatewayB", Kind.WITHDRAWAL, middle, middle + narrow)
        ),
        "parent_id": _transactions(TransactionFilter(parent_id=shape.id(58))),
        "parent_id, one with many refunds": _transactions(TransactionFilter(parent_id=shape.id(0))),
        "gateway_reference": _transactions(TransactionFilter(gateway_reference="A-77")),
        "gateway_reference, that of a twentieth of all": _transactions(TransactionFilter(gateway_reference="A-same")),
        "correlation_id": _transactions(TransactionFilter(correlation_id="r-77")),
        "correlation_id, that of a twentieth of all": _transactions(TransactionFilter(correlation_id="job")),
        "gateway_reference and customer_id": _transactions(TransactionFilter("house", gateway_reference="A-40")),
        "dead letters": _letters(DeadLetterFilter()),
        "dead letters, gateway retired": _letters(DeadLetterFilter("retired")),
        "dead letters, state parked": _letters(DeadLetterFilter(state=WorkState.PARKED)),
        "dead letters, both": _letters(DeadLetterFilter("gatewayB", WorkState.PARKED), last),
        "waiting callbacks": _waiting(None),
        "waiting callbacks, gateway retired": _waiting("callbacks:retired"),
        "waiting callbacks, gateway gatewayB, from a cursor": _waiting("callbacks:gatewayB", f"callback:{last}"),
        "reviews": _reviews(None),
        "reviews, state open": _reviews("open"),
        "reviews, state closed, from a cursor in the middle": _reviews("closed", ReviewKey(middle, "r")),
        "events after the middle": _events(None, shape.count // 2),
        "events of a merchant with nearly all": _events("main", shape.count // 2),
        "events of a merchant with ten in all": _events("small", 0),
        "events of a merchant, when no more follow": _events("small", shape.count - 10),
        "events of a customer": lambda reads, source: reads.stream_events(
            source, StreamKey("main", "house"), shape.count // 2, PAGE
        ),
        "one transaction": lambda reads, source: [reads.transaction(source, "main", shape.id(shape.count // 2 + 1))],
        "whose a transaction is": lambda reads, source: [reads.stream_of(source, shape.id(shape.count // 2))],
        "the transactions of events": lambda reads, source: [
            *reads.transactions_of(source, [shape.id(number) for number in range(0, shape.count, shape.count // 50)])
        ],
        "one review": lambda reads, source: [reads.review(source, "main", "r4")],
    }
    return asked


def readings(
    shape: Shape, sqlite: SqliteReader, postgresql: PostgresqlReader
) -> Iterator[tuple[str, Reading, Reading]]:
    """Each question's name, and its readings on PostgreSQL and on SQLite."""
    for name, ask in questions(shape).items():
        slow = postgresql.read(lambda session, ask=ask: ask(postgresql_reads, session), ROUNDS)  # type: ignore[misc]
        fast = sqlite.read(lambda cursor, ask=ask: ask(sqlite_reads, cursor), ROUNDS)  # type: ignore[misc]
        assert slow.result == fast.result or "event" in name, name
        yield name, slow, fast


def main() -> None:
    """Fill the stores, run the queries, and print a table."""
    shape = Shape(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    with shared_server() as server, new_database(server) as url, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.db"
        migrate_sqlite(path)
        migrate_postgresql(url)
        began = time.monotonic()
        fill_sqlite(path, shape)
        print(f"SQLite filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        began = time.monotonic()
        fill_postgresql(url, shape)
        print(f"PostgreSQL filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        sqlite, postgresql = SqliteReader(path), PostgresqlReader(url)
        print("| list | rows answered | PostgreSQL: rows read | pages | ms | SQLite: steps | ms |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for name, slow, fast in readings(shape, sqlite, postgresql):
            figures = f"{slow.read} | {slow.pages} | {slow.median_ms:.1f} | {fast.read} | {fast.median_ms:.1f}"
            print(f"| {name} | {len(slow.result)} | {figures} |", flush=True)
            print(f"{name}: {sorted(set(slow.plan))} {sorted(set(fast.plan))}", file=sys.stderr)
        sqlite.close()
        postgresql.close()


if __name__ == "__main__":
    main()
