"""The database of a world for its processes and its observers: a SQLite file, or a PostgreSQL schema."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import apsw

from store.postgresql.adapter import PostgresqlStore
from store.postgresql.relays import open_desk as open_postgresql_desk
from store.relays import RelayDesk
from store.sqlite.adapter import SqliteStore
from store.sqlite.relays import open_desk as open_sqlite_desk
from tests.store.postgresql_server import Schema
from tests.store.templates import new_sqlite

AnyStore = SqliteStore | PostgresqlStore


class Database(Protocol):
    """The database of a world. Everything runs in one thread, so that no statement waits for a lock."""

    is_server: bool
    """Whether it has its own clock and connections, and allows several processes."""

    def open(self, clock: Callable[[], datetime]) -> AnyStore:
        """A new store for a process; ``clock`` gives the time if there is no server."""

    def tell_time(self, now: datetime) -> None:
        """Set the server's clock."""

    def relay_desk(self, clock: Callable[[], datetime]) -> AbstractContextManager[RelayDesk]:
        """The operator's access to the relays."""

    def rows(self, statement: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows that an observer reads; ``?`` stands for a value."""

    def close(self) -> None:
        """Close the observer's connection."""


class File:
    """A SQLite file in ``folder``."""

    is_server = False

    def __init__(self, folder: Path) -> None:
        self._path = folder / "payments.db"
        new_sqlite(self._path)
        self._eyes = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)

    def open(self, clock: Callable[[], datetime]) -> SqliteStore:
        """See Database."""
        return SqliteStore(self._path, clock=clock, synchronous="OFF")

    def tell_time(self, now: datetime) -> None:
        """Do nothing: the processes have their own clocks."""

    def relay_desk(self, clock: Callable[[], datetime]) -> AbstractContextManager[RelayDesk]:
        """See Database."""
        return open_sqlite_desk(self._path, clock)

    def rows(self, statement: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        """See Database."""
        return list(self._eyes.execute(statement, values))

    def close(self) -> None:
        """See Database."""
        self._eyes.close()


class Server:
    """An empty schema on a PostgreSQL server; the tests set its clock."""

    is_server = True

    def __init__(self, schema: Schema) -> None:
        self._schema: Final = schema
        self._time: datetime | None = None
        schema.clear()
        schema.admin.execute("ALTER TABLE events ALTER COLUMN position RESTART")  # histories contain positions

    def open(self, clock: Callable[[], datetime]) -> PostgresqlStore:  # noqa: ARG002  # the server has its own clock
        """See Database."""
        return PostgresqlStore(self._schema.conninfo(), writers=1, readers=1)

    def tell_time(self, now: datetime) -> None:
        """See Database."""
        if now != self._time:
            self._time = now
            self._schema.set_clock(now)

    def relay_desk(self, clock: Callable[[], datetime]) -> AbstractContextManager[RelayDesk]:  # noqa: ARG002  # see open
        """See Database."""
        return open_postgresql_desk(self._schema.conninfo(owner=True))

    def rows(self, statement: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        """See Database."""
        return self._schema.execute(statement.replace("?", "%s"), values)

    def close(self) -> None:
        """See Database."""
