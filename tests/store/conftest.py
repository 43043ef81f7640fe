"""The adapters that the contract suite runs against, each behind the same fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from store.factory import PaymentStore
from store.keys import Keyring
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.keys import open_keyring as open_postgresql_keyring
from store.sqlite.adapter import SqliteStore
from store.sqlite.keys import open_keyring as open_sqlite_keyring
from tests.store.builders import OWNER, Clock
from tests.store.postgresql_server import Schema, new_schema
from tests.store.templates import new_sqlite


@dataclass(frozen=True)
class Fixture:
    """An empty, migrated store and the means to let its clock go on."""

    store: PaymentStore
    pass_time: Callable[[float], None]
    open_keyring: Callable[[], AbstractContextManager[Keyring]]
    """API keys as an operator has them, beside the store."""


@pytest.fixture(scope="session")
def migrated_schema(postgresql_url: str) -> Iterator[Schema]:
    """The tables that the tests share, one after the other."""
    with new_schema(postgresql_url) as schema:
        schema.make_tables()
        yield schema


@pytest.fixture
def schema(migrated_schema: Schema) -> Schema:
    """The same without a row."""
    migrated_schema.clear()
    return migrated_schema


@pytest.fixture(scope="session")
def shared_store(migrated_schema: Schema) -> Iterator[PostgresqlStore]:
    """Connecting costs more than most tests: one store for all of them, as the service's role."""
    store = PostgresqlStore(migrated_schema.conninfo())
    yield store
    store.close()


@pytest.fixture(scope="module")
def own_schema(postgresql_url: str) -> Iterator[Schema]:
    """Tables on which no other test's store works."""
    with new_schema(postgresql_url) as schema:
        schema.make_tables()
        yield schema


@pytest.fixture(params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fixture]:
    """One ground for each adapter."""
    if request.param == "postgresql":
        schema: Schema = request.getfixturevalue("schema")
        keyring = partial(open_postgresql_keyring, schema.conninfo(owner=True))
        yield Fixture(request.getfixturevalue("shared_store"), schema.pass_time, keyring)
    else:
        path = tmp_path / "payments.db"
        new_sqlite(path)
        clock = Clock()
        sqlite = SqliteStore(path, clock=clock)
        yield Fixture(sqlite, clock.advance, partial(open_sqlite_keyring, path, clock))
        sqlite.close()


@pytest.fixture
def store(ground: Fixture) -> PaymentStore:
    """The store, with OWNER registered."""
    ground.store.register_owner(OWNER)
    return ground.store


@pytest.fixture
def pass_time(ground: Fixture) -> Callable[[float], None]:
    """Lets seconds pass for the store."""
    return ground.pass_time
