"""A schema of the tests on a PostgreSQL server, emptied between them, with a clock that tests advance."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from store.postgresql.migrate import migrate
from tests.store.builders import START

NOT_DURABLE: Final = "-c synchronous_commit=off"

_CLOCK: Final = """
CREATE TABLE test_clock (now timestamptz NOT NULL);
INSERT INTO test_clock (now) VALUES (now());
CREATE OR REPLACE FUNCTION store_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now FROM test_clock';
"""
_CLEAR: Final = """
ALTER TABLE events DISABLE TRIGGER events_refuse_change;
DELETE FROM events; DELETE FROM heads; DELETE FROM transactions; DELETE FROM balances; DELETE FROM reviews;
DELETE FROM claims; DELETE FROM owners; DELETE FROM work; DELETE FROM gateway_modes;
DELETE FROM breakers; DELETE FROM relays; DELETE FROM relay_moves; DELETE FROM api_keys;
DELETE FROM generations WHERE number > 0;
ALTER TABLE events ENABLE TRIGGER events_refuse_change;
"""


@dataclass(frozen=True)
class Schema:
    """A schema: ``admin`` is a connection of its owner, ``role`` the service's role, with the least rights.

    ``role`` is empty where the tests' user may not create roles; then the service is the owner.
    """

    url: str
    name: str
    role: str
    admin: psycopg.Connection[tuple[Any, ...]]

    def conninfo(self, *, owner: bool = False, options: str = NOT_DURABLE, **more: str | int) -> str:
        """The connection string of a store, as the service's role or as the owner of the tables."""
        login: dict[str, str] = {} if owner or not self.role else {"user": self.role, "password": self.role}
        return make_conninfo(self.url, options=f"-c search_path={self.name} {options}", **login, **more)

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement as the owner, and return its rows."""
        cursor = self.admin.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def make_tables(self) -> None:
        """Migrate, and replace the database's clock."""
        migrate(self.conninfo(owner=True), service_role=self.role)
        self.admin.execute(_CLOCK)
        if self.role:
            self.admin.execute(sql.SQL("GRANT SELECT ON test_clock TO {}").format(sql.Identifier(self.role)))

    def clear(self) -> None:
        """Delete all rows, and set the clock to START."""
        self.admin.execute(_CLEAR)
        self.set_clock(START)

    def set_clock(self, now: datetime) -> None:
        """Set the time of the database."""
        self.admin.execute("UPDATE test_clock SET now = %s", (now,))

    def pass_time(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.admin.execute("UPDATE test_clock SET now = now + %s", (timedelta(seconds=seconds),))


@contextmanager
def new_schema(url: str) -> Iterator[Schema]:
    """An empty schema and a role without rights. Both are dropped at the end."""
    name = f"payments_test_{uuid.uuid4().hex}"
    options = f"-c search_path={name} {NOT_DURABLE}"
    with psycopg.connect(url, autocommit=True, options=options) as admin:
        role = name
        try:
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(name)))
        except psycopg.errors.InsufficientPrivilege:
            role = ""
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            yield Schema(url, name, role, admin)
        finally:
            admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
            if role:
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
