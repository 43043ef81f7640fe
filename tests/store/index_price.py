"""``python -m tests.store.index_price [batches]``: what the indexes of the lists cost an append, on both stores.

Each variant lacks some of them, in a database of its own that holds 100,000 transactions already. All variants append
alike deposits and complete them, in turns of one batch: the medians of the batches are compared. Once durably, and
once without waiting for the disk, which leaves what an index costs of the CPU.
"""

# ruff: noqa: T201 - it is for people

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import apsw
import psycopg

from actors.runtime.runtime import LiveRuntime
from store.backend import PaymentStore
from store.port import Committed
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.migrate import migrate as migrate_postgresql
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate as migrate_sqlite
from tests.postgresql.servers import new_database, shared_server
from tests.store.builders import OWNER, Clock, Customer, complete
from tests.store.filling import Shape, fill_postgresql, fill_sqlite

BATCH: Final = 64
BATCHES: Final = 200
BEFORE: Final = Shape(100_000)
INDEXES: Final = (
    "transactions_listed",
    "transactions_by_correlation",
    "transactions_by_reference",
    "events_by_merchant",
)
"""The indexes of lists that every completed deposit is in."""
NONE: Final = "none of these"
WITHOUT: Final[Mapping[str, Sequence[str]]] = {
    NONE: INDEXES,
    **{only: tuple(one for one in INDEXES if one != only) for only in INDEXES},
    "all": (),
}
_EVENTS_OF_A_DEPOSIT: Final = 3
_serial = itertools.count()


@dataclass
class Variant:
    """A store with some of the indexes, and how long it took for each batch, in seconds."""

    durable: PaymentStore
    hasty: PaymentStore
    """The same tables, without waiting for the disk."""
    took_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Events a second."""
        return BATCH * _EVENTS_OF_A_DEPOSIT / median(self.took_s)


def run(store: PaymentStore, variant: Variant, runtime: LiveRuntime) -> None:
    """Receive a batch of deposits, and complete them."""
    customers = [(Customer(f"n{next(_serial)}"), runtime.new_id()) for _ in range(BATCH)]
    for customer, _ in customers:
        customer.correlation_id = runtime.new_id()
    received = [customer.deposit(key, owner=OWNER) for customer, key in customers]
    # A provider's references have no order, unlike ids of this service.
    completed = [customer.write(complete(key, reference=f"A-{uuid4().hex}")) for customer, key in customers]
    began = time.perf_counter()
    for writes in (received, completed):
        assert store.append(writes) == [Committed()] * BATCH
    variant.took_s.append(time.perf_counter() - began)


def sqlite_variant(stack: ExitStack, folder: Path, name: str) -> Variant:
    """A file without the indexes that ``name`` does not name."""
    path = folder / f"{name}.db"
    migrate_sqlite(path)
    fill_sqlite(path, BEFORE)
    connection = apsw.Connection(str(path))
    for index in WITHOUT[name]:
        connection.execute(f"DROP INDEX {index}")
    connection.close()
    stores = [SqliteStore(path, clock=Clock(), synchronous=how) for how in ("FULL", "OFF")]
    return _opened(stack, *stores)


def _opened(stack: ExitStack, durable: PaymentStore, hasty: PaymentStore) -> Variant:
    for store in (durable, hasty):
        stack.callback(store.close)
    durable.register_owner(OWNER)
    return Variant(durable, hasty)


def postgresql_variant(stack: ExitStack, server: str, name: str) -> Variant:
    """A database without the indexes that ``name`` does not name."""
    url = stack.enter_context(new_database(server))
    migrate_postgresql(url)
    fill_postgresql(url, BEFORE)
    with psycopg.connect(url, autocommit=True) as session:
        for index in WITHOUT[name]:
            session.execute(f"DROP INDEX {index}".encode())
    return _opened(stack, PostgresqlStore(url), PostgresqlStore(f"{url}?options=-csynchronous_commit%3Doff"))


def main() -> None:
    """Measure, and print a table."""
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else BATCHES
    runtime = LiveRuntime()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(shared_server())
        stores = {
            "SQLite": {name: sqlite_variant(stack, folder, name) for name in WITHOUT},
            "PostgreSQL": {name: postgresql_variant(stack, server, name) for name in WITHOUT},
        }
        print("| store | with | events a second | ratio |\n|---|---|---:|---:|")
        for (store, variants), durable in itertools.product(stores.items(), (True, False)):
            for variant in variants.values():
                variant.took_s.clear()
            for number in range(batches):
                for place in range(len(variants)):
                    variant = list(variants.values())[(number + place) % len(variants)]
                    run(variant.durable if durable else variant.hasty, variant, runtime)
            base = variants[NONE].rate
            for name, variant in variants.items():
                where = store if durable else f"{store}, not waiting for the disk"
                print(f"| {where} | {name} | {variant.rate:,.0f} | {variant.rate / base:.3f} |", flush=True)
    runtime.stop(5)


if __name__ == "__main__":
    main()
