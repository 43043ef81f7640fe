"""Other processes for the store's tests: ``python -m tests.store.child <command> <path>``. They end when killed."""

from __future__ import annotations

import random
import sys
import time
from contextlib import closing
from pathlib import Path

import apsw

from store.port import Committed
from store.sqlite.adapter import SqliteStore
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from tests.store.builders import Clock, Customer, complete, deposit


def hold_lock(path: Path) -> None:
    """Print "held" when the lock is taken, and hold it until the standard input ends."""
    with StoreLock.acquire(path, sleep=time.sleep):
        print("held", flush=True)  # noqa: T201 - the parent reads it
        sys.stdin.read()


def serve(path: Path) -> None:
    """Print "held" when the file is locked and open, as a service has it, and keep it until the input ends."""
    with StoreLock.acquire(path, sleep=time.sleep), closing(apsw.Connection(str(path))) as connection:
        connection.pragma("user_version")  # opens the log
        print("held", flush=True)  # noqa: T201 - the parent reads it
        sys.stdin.read()


def append_forever(path: Path) -> None:
    """Append batches of writes of new customers. Print the ends of their streams as soon as a batch is acknowledged."""
    store = SqliteStore(path, clock=Clock())
    prefix = random.randbytes(8).hex()
    number = 0
    while True:
        batch, customers = [], []
        for _ in range(random.randint(1, 8)):
            number += 1
            customer = Customer(f"{prefix}-{number}")
            key = f"{prefix}-t{number}"
            batch.append(customer.write(*[deposit(key), complete(key)][: random.randint(1, 2)]))
            customers.append(customer)
        if store.append(batch) != [Committed()] * len(batch):
            raise SystemExit("a batch of new customers must be committed")
        lines = [f"{customer.stream.id} {customer.head.version}\n" for customer in customers]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()


def apply_migrations(path: Path) -> None:
    """Migrate as soon as the standard input ends, and print the migrations that this process has applied."""
    print("ready", flush=True)  # noqa: T201 - the parent reads it
    sys.stdin.read()
    print(migrate(path), flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    {"lock": hold_lock, "serve": serve, "append": append_forever, "migrate": apply_migrations}[sys.argv[1]](
        Path(sys.argv[2])
    )
