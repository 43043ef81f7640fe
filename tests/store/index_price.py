"""``python -m tests.store.index_price [rounds]``: what the indexes of the lists cost an append, on both stores.

Each variant lacks some of them, in a database of its own that holds 100,000 transactions already. All variants append
the same deposits and complete them, in turns, durably: the median of the rounds counts.
"""

# ruff: noqa: T201 - it is for people

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import apsw
import psycopg

from actors.runtime.runtime import LiveRuntime
from store.factory import PaymentStore
from store.port import Committed, Write
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.migrate import migrate as migrate_postgresql
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate as migrate_sqlite
from tests.postgresql.servers import new_database, shared_server
from tests.store.builders import OWNER, Clock, Customer
from tests.store.filling import Shape, fill_postgresql, fill_sqlite

BATCH: Final = 64
BATCHES: Final = 40
ROUNDS: Final = 7
BEFORE: Final = Shape(100_000)
WITHOUT: Final[Mapping[str, Sequence[str]]] = {
    "none of the two": ("transactions_listed", "events_by_merchant"),
    "transactions_listed": ("events_by_merchant",),
    "events_by_merchant": ("transactions_listed",),
    "both": (),
}
_EVENTS_OF_A_DEPOSIT: Final = 3
_serial = itertools.count()


@dataclass
class Variant:
    """A store with some of the indexes, and how many events a second it took in each round."""

    store: PaymentStore
    rates: list[float] = field(default_factory=list)


def batches(runtime: LiveRuntime) -> Iterator[list[Write]]:
    """Deposits in batches, each followed by one that completes them."""
    for _ in range(BATCHES):
        customers = [(Customer(f"n{next(_serial)}"), runtime.new_id()) for _ in range(BATCH)]
        yield [customer.deposit(key, owner=OWNER) for customer, key in customers]
        yield [customer.complete(key) for customer, key in customers]


def run(variant: Variant, runtime: LiveRuntime) -> None:
    """One round."""
    work = list(batches(runtime))
    began = time.perf_counter()
    for batch in work:
        assert variant.store.append(batch) == [Committed()] * BATCH
    variant.rates.append(BATCHES * BATCH * _EVENTS_OF_A_DEPOSIT / (time.perf_counter() - began))


def sqlite_variant(stack: ExitStack, folder: Path, name: str) -> Variant:
    """A file without the indexes that ``name`` does not name."""
    path = folder / f"{name}.db"
    migrate_sqlite(path)
    fill_sqlite(path, BEFORE)
    connection = apsw.Connection(str(path))
    for index in WITHOUT[name]:
        connection.execute(f"DROP INDEX {index}")
    connection.close()
    store = SqliteStore(path, clock=Clock())
    stack.callback(store.close)
    store.register_owner(OWNER)
    return Variant(store)


def postgresql_variant(stack: ExitStack, server: str, name: str) -> Variant:
    """A database without the indexes that ``name`` does not name."""
    url = stack.enter_context(new_database(server))
    migrate_postgresql(url)
    fill_postgresql(url, BEFORE)
    with psycopg.connect(url, autocommit=True) as session:
        for index in WITHOUT[name]:
            session.execute(f"DROP INDEX {index}".encode())
    store = PostgresqlStore(url)
    stack.callback(store.close)
    store.register_owner(OWNER)
    return Variant(store)


def main() -> None:
    """Measure, and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    runtime = LiveRuntime()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(shared_server())
        stores = {
            "SQLite": {name: sqlite_variant(stack, folder, name) for name in WITHOUT},
            "PostgreSQL": {name: postgresql_variant(stack, server, name) for name in WITHOUT},
        }
        print("| store | indexes | events a second (median) | least to most | ratio |\n|---|---|---:|---:|---:|")
        for store, variants in stores.items():
            for number in range(rounds + 1):  # the first one warms up
                order = list(variants.values())
                for variant in order if number % 2 else reversed(order):
                    run(variant, runtime)
            first = variants["none of the two"].rates[1:]
            for name, variant in variants.items():
                rates = variant.rates[1:]
                ratio = median(one / base for one, base in zip(rates, first, strict=True))
                spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
                print(f"| {store} | {name} | {median(rates):,.0f} | {spread} | {ratio:.3f} |")
    runtime.stop(5)


if __name__ == "__main__":
    main()
