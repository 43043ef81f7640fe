"""Migrations on PostgreSQL by many processes at once; the rights of the service's role and of the owner."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from store.backends import backend_of
from store.errors import SchemaError, StoreError, StoreUnavailableError
from store.port import Committed
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.migrate import migrate as migrate_postgresql
from store.postgresql.migrate import migrations
from tests.store.builders import OWNER, Clock, Customer
from tests.store.postgresql_server import Schema, new_schema

COMMITTED = Committed()
ALL = list(migrations())


@pytest.fixture
def empty(postgresql_url: str) -> Iterator[Schema]:
    """A schema without tables."""
    with new_schema(postgresql_url) as schema:
        yield schema


def tables(schema: Schema) -> set[str]:
    """The tables in the schema."""
    return {name for (name,) in schema.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema.name,))}


def test_concurrent_migrations(empty: Schema) -> None:
    """One process migrates. The others wait, find nothing to do, and get no error."""
    with ThreadPoolExecutor(10) as threads:
        results = list(threads.map(lambda _: migrate_postgresql(empty.conninfo(owner=True)), range(10)))
    assert sorted(results) == [([], False)] * 9 + [(ALL, True)]
    assert empty.execute("SELECT number FROM schema_migrations ORDER BY number") == [(number,) for number in ALL]


def test_a_migration_that_fails_leaves_nothing(empty: Schema) -> None:
    """The tables and the number of a failed migration do not exist. The next attempt begins from the start."""
    scripts = {1: "CREATE TABLE one (x int)", 2: "CREATE TABLE two (x int); SELECT 1 / 0"}
    with pytest.raises(StoreError, match="division by zero"):
        migrate_postgresql(empty.conninfo(owner=True), scripts)
    assert tables(empty) == set()
    scripts[2] = "CREATE TABLE two (x int)"
    assert migrate_postgresql(empty.conninfo(owner=True), scripts) == ([1, 2], False)
    assert tables(empty) == {"one", "two", "schema_migrations"}


def test_only_missing_migrations_are_applied(empty: Schema) -> None:
    """An older database gets the migrations after its own."""
    older = {number: script for number, script in migrations().items() if number < 3}
    assert migrate_postgresql(empty.conninfo(owner=True), older) == ([1, 2], False)
    with pytest.raises(SchemaError, match="version 2, this service needs"):
        PostgresqlStore(empty.conninfo(owner=True))
    assert migrate_postgresql(empty.conninfo(owner=True)) == (ALL[2:], True)


def test_newer_tables_are_left_alone(schema: Schema) -> None:
    """A service of an older version neither migrates nor opens the tables of a newer one."""
    schema.execute("INSERT INTO schema_migrations (number) VALUES (1000)")
    try:
        for attempt in (migrate_postgresql, PostgresqlStore):
            with pytest.raises(SchemaError, match="newer"):
                attempt(schema.conninfo(owner=True))
    finally:
        schema.execute("DELETE FROM schema_migrations WHERE number = 1000")


def test_a_database_without_tables_is_not_opened(empty: Schema) -> None:
    """The error requests the migration."""
    with pytest.raises(SchemaError, match="migrate"):
        PostgresqlStore(empty.conninfo(owner=True))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE events SET type = 'x'", "DELETE FROM events", "TRUNCATE events", "DELETE FROM events WHERE false"],
)
def test_events_cannot_be_changed(schema: Schema, shared_store: PostgresqlStore, statement: str) -> None:
    """Even the owner of the tables cannot change or delete an event."""
    assert shared_store.append([Customer().deposit("t1")]) == [COMMITTED]
    with pytest.raises(psycopg.errors.RestrictViolation, match="never changed or deleted"):
        schema.execute(statement)
    assert schema.execute("SELECT count(*) FROM events") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET type = 'x'",
        "DELETE FROM events",
        "TRUNCATE events",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TABLE events",
        "DELETE FROM heads",
        "DELETE FROM transactions",
        "DELETE FROM balances",
        "DELETE FROM reviews",
        "UPDATE claims SET value = ''",
        "DELETE FROM claims",
        "TRUNCATE work",
        "INSERT INTO schema_migrations (number) VALUES (1000)",
        "SELECT setval('events_position_seq', 1)",
        "CREATE TABLE mine (x int)",
        "CREATE OR REPLACE FUNCTION last_position() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    ],
)
def test_the_services_role_has_the_least_rights(schema: Schema, statement: str) -> None:
    """The contract suite runs as this role. It can change neither past events nor tables."""
    if not schema.role:
        pytest.skip("not run: the tests' user may not make roles")
    with psycopg.connect(schema.conninfo()) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement.encode())


def test_by_url(empty: Schema, tmp_path: Path) -> None:
    """The backend of a postgresql:// URL migrates, opens and audits it, and holds no lock on it."""
    url = f"{empty.url}{'&' if '?' in empty.url else '?'}options={quote(f'-csearch_path={empty.name}')}"
    backend = backend_of(url, root=tmp_path)
    with (
        backend.lock(sleep=lambda _: None),
        backend_of(url, root=tmp_path).lock(sleep=lambda _: None),
    ):
        assert backend.migrate() == (ALL, True)
        assert backend.migrate() == ([], False)
        store = backend.open(clock=_no_clock)
        store.register_owner(OWNER)
        customer = Customer()
        assert store.append([customer.deposit("t1", owner=OWNER)]) == [COMMITTED]
        store.close()
        with backend.audit() as audit:
            assert audit.head(customer.stream) == customer.head


def _no_clock() -> datetime:
    raise AssertionError("the database has a clock of its own")


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "postgresql://127.0.0.1:1"])
def test_a_missing_server(tmp_path: Path, url: str) -> None:
    """Without a server the store is not available. That is not an error of the schema."""
    backend = backend_of(url, root=tmp_path)
    for attempt in (lambda: backend.open(clock=Clock()), backend.migrate):
        with pytest.raises(StoreUnavailableError):
            attempt()


def test_a_url_that_cannot_be_read(tmp_path: Path) -> None:
    """A parameter that libpq does not have is reported when the store is opened."""
    with pytest.raises(StoreError, match="cannot be read"):
        backend_of("postgresql://localhost/x?nonsense=1", root=tmp_path).open(clock=Clock())
