"""The adapters that the contract suite runs against; one fixture per adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from store.backend import PaymentStore
from store.backends import backend_of
from store.keys import Keyring
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.keys import open_keyring as open_postgresql_keyring
from store.postgresql.relays import open_desk as open_postgresql_desk
from store.relays import RelayDesk
from tests.messaging.validation import assert_publishable
from tests.store.builders import OWNER, Clock
from tests.store.postgresql_server import Schema, new_schema
from tests.store.templates import new_sqlite


@dataclass(frozen=True)
class Fixture:
    """An empty, migrated store, and the function that advances its clock."""

    store: PaymentStore
    pass_time: Callable[[float], None]
    open_keyring: Callable[[], AbstractContextManager[Keyring]]
    """The operator's access to the API keys while the store is open."""
    open_desk: Callable[[], AbstractContextManager[RelayDesk]]
    """The operator's access to the relays while the store is open."""


@pytest.fixture(scope="session")
def migrated_schema(postgresql_url: str) -> Iterator[Schema]:
    """The tables that the tests use one after the other."""
    with new_schema(postgresql_url) as schema:
        schema.make_tables()
        yield schema


@pytest.fixture
def schema(migrated_schema: Schema) -> Schema:
    """The tables that the tests share, emptied."""
    migrated_schema.clear()
    return migrated_schema


@pytest.fixture(scope="session")
def shared_store(migrated_schema: Schema) -> Iterator[PostgresqlStore]:
    """One store for all tests, with the service's role: connecting costs more than most tests."""
    store = PostgresqlStore(migrated_schema.conninfo())
    yield store
    store.close()


@pytest.fixture(scope="module")
def own_schema(postgresql_url: str) -> Iterator[Schema]:
    """Tables that no other test's store uses."""
    with new_schema(postgresql_url) as schema:
        schema.make_tables()
        yield schema


@contextmanager
def embedded(url: str, *, template: bool = False) -> Iterator[Fixture]:
    """A new store at ``url`` with a clock of the test. With ``template`` it is copied instead of migrated."""
    backend, clock = backend_of(url, root=Path("/")), Clock()
    if template and backend.file is not None:
        new_sqlite(backend.file)
    else:
        backend.migrate()
    with closing(backend.open(clock=clock)) as store:
        yield Fixture(
            store, clock.advance, partial(backend.keyring, clock=clock), partial(backend.relay_desk, clock=clock)
        )


@contextmanager
def shared(request: pytest.FixtureRequest) -> Iterator[Fixture]:
    """The store that all tests share, emptied."""
    schema: Schema = request.getfixturevalue("schema")
    keyring = partial(open_postgresql_keyring, schema.conninfo(owner=True))
    desk = partial(open_postgresql_desk, schema.conninfo(owner=True))
    yield Fixture(request.getfixturevalue("shared_store"), schema.pass_time, keyring, desk)


FIXTURES: Final[dict[str, Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Fixture]]]] = {
    "sqlite": lambda _, folder: embedded(f"sqlite:///{folder}/payments.db", template=True),
    "postgresql": lambda request, _: shared(request),
}
"""One fixture per adapter; the contract suite runs against each."""


@pytest.fixture(params=FIXTURES)
def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fixture]:
    """The adapter under test."""
    with FIXTURES[request.param](request, tmp_path) as fixture:
        yield fixture


@pytest.fixture
def store(fixture: Fixture) -> Iterator[PaymentStore]:
    """The store, with OWNER registered. Whatever a test stores can be published."""
    fixture.store.register_owner(OWNER)
    yield fixture.store
    assert_publishable(fixture.store)


@pytest.fixture
def pass_time(fixture: Fixture) -> Callable[[float], None]:
    """Advances the store's clock by seconds."""
    return fixture.pass_time
