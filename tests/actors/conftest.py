"""Fixtures of the actors' tests: a store in a file, a runtime under a seed, and a process's customers on both."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.runtime.simulated import SimulatedRuntime
from store.sqlite.adapter import SqliteStore
from tests.actors.customer.fixtures import KEYLESS, Customers
from tests.actors.support import TroubledStore
from tests.store.templates import new_sqlite


@pytest.fixture(params=[1, 2, 3])
def runtime(request: pytest.FixtureRequest) -> SimulatedRuntime:
    """A deterministic runtime; a test must pass under every seed."""
    return SimulatedRuntime(random.Random(request.param), started_at=100.0)


@pytest.fixture
def real_store(tmp_path: Path, runtime: SimulatedRuntime) -> Iterator[SqliteStore]:
    """An empty, migrated SQLite store that uses the runtime's clock."""
    path = tmp_path / "payments.db"
    new_sqlite(path)
    store = SqliteStore(path, clock=runtime.now, synchronous="OFF")
    yield store
    store.close()


@pytest.fixture
def store(real_store: SqliteStore) -> TroubledStore:
    """The same store, into which a test can inject errors."""
    return TroubledStore(real_store)


@pytest.fixture
def customers(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Customers:
    """The customers of one process."""
    return Customers(runtime, store, real_store)


@pytest.fixture
def keyless(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Customers:
    """The customers of one process, at a gateway without idempotency keys."""
    return Customers(runtime, store, real_store, policy=KEYLESS)


@pytest.fixture
def another_process(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore, customers: Customers
) -> Callable[[], Customers]:
    """Makes the customers of another process on the same store."""
    return lambda: Customers(runtime, store, real_store, owner="owner-2")
