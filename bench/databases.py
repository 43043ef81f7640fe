"""The database under a measurement: it is created for the measurement, queried after it, and then dropped.

One small port, ``Database``, serves both stores, so both have the same checks and counts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

import apsw
import psycopg
from psycopg import sql

from bench.servers import CHECKOUT
from bench.targets import Target
from messaging.relay import RELAY_OF_EVENTS
from store.backends import backend_of
from store.sqlite.connection import open_reader

_SERVER_SETTINGS: Final = (
    "server_version",
    "shared_buffers",
    "fsync",
    "full_page_writes",
    "max_wal_size",
    "checkpoint_timeout",
    "autovacuum",
)
_CHECKPOINT: Final = f"coalesce((SELECT position FROM relays WHERE name = '{RELAY_OF_EVENTS}'), 0)"  # noqa: S608
_UNPUBLISHED: Final = f"SELECT count(*) FROM events WHERE position > {_CHECKPOINT}"  # noqa: S608
_UNPUBLISHED_POSITIONS: Final = f"SELECT coalesce(max(position), 0) - {_CHECKPOINT} FROM events"  # noqa: S608


class Written(NamedTuple):
    """Bytes and full pages in a server's write-ahead log since its start."""

    wal_bytes: int
    full_pages: int
    """Pages that the log contains completely, because a checkpoint preceded their change."""


class Table(NamedTuple):
    """The size of a table."""

    name: str
    rows: int
    heap_bytes: int
    index_bytes: int


class Database(Protocol):
    """The queries of the bench to either store."""

    @property
    def url(self) -> str:
        """The URL for the service."""

    def unfinished(self) -> int:
        """The number of unfinished pieces of work; finished work has no row."""

    def unpublished(self) -> int:
        """The number of events after the checkpoint of the relay."""

    def unpublished_positions(self) -> int:
        """The positions after the checkpoint, which takes less than to count the events; 0 only without any event."""

    def statuses(self, transaction_ids: Sequence[str]) -> dict[str, str]:
        """The status of each of these transactions that is stored."""

    def completion_times_s(self, transaction_ids: Sequence[str]) -> list[float]:
        """For each of these transactions the seconds from its receipt to its last change, by the service's clock."""


class SqliteDatabase:
    """A file that the service creates when it starts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path: Final = Path(unquote(url.removeprefix("sqlite:///")))

    @cached_property
    def _reader(self) -> apsw.Connection:
        return open_reader(self.path)

    def unfinished(self) -> int:
        """See Database."""
        return int(self._reader.execute("SELECT count(*) FROM work").get)

    def unpublished(self) -> int:
        """See Database."""
        return int(self._reader.execute(_UNPUBLISHED).get)

    def unpublished_positions(self) -> int:
        """See Database."""
        return int(self._reader.execute(_UNPUBLISHED_POSITIONS).get)

    def statuses(self, transaction_ids: Sequence[str]) -> dict[str, str]:
        """See Database."""
        query = (
            "SELECT transaction_id, status FROM transactions WHERE transaction_id IN (SELECT value FROM json_each(?))"
        )
        return dict(self._reader.execute(query, (json.dumps(transaction_ids),)))

    def completion_times_s(self, transaction_ids: Sequence[str]) -> list[float]:
        """See Database."""
        query = (
            "SELECT updated_at - created_at FROM transactions WHERE transaction_id IN (SELECT value FROM json_each(?))"
        )
        return [took_us / 1_000_000 for (took_us,) in self._reader.execute(query, (json.dumps(transaction_ids),))]

    def close(self) -> None:
        """Close the file."""
        if "_reader" in self.__dict__:
            self._reader.close()


class PostgresqlDatabase:
    """A migrated database of a server, over a separate connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg.connect(url, autocommit=True, application_name="payments-bench")

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def unfinished(self) -> int:
        """See Database."""
        return int(self._rows("SELECT count(*) FROM work")[0][0])

    def unpublished(self) -> int:
        """See Database."""
        return int(self._rows(_UNPUBLISHED)[0][0])

    def unpublished_positions(self) -> int:
        """See Database."""
        return int(self._rows(_UNPUBLISHED_POSITIONS)[0][0])

    def statuses(self, transaction_ids: Sequence[str]) -> dict[str, str]:
        """See Database."""
        query = "SELECT transaction_id, status FROM transactions WHERE transaction_id = ANY (%s)"
        return dict(self._rows(query, list(transaction_ids)))

    def completion_times_s(self, transaction_ids: Sequence[str]) -> list[float]:
        """See Database."""
        query = (
            "SELECT extract(epoch FROM updated_at - created_at)::float8 FROM transactions"
            " WHERE transaction_id = ANY (%s)"
        )
        return [row[0] for row in self._rows(query, list(transaction_ids))]

    @cached_property
    def is_on_this_machine(self) -> bool:
        """Whether the server runs on this machine: then a process with the name of this database is visible."""
        name, pid = self._rows("SELECT current_database(), pg_backend_pid()")[0]
        try:
            return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def server_pids(self) -> list[int]:
        """The server's processes for this database, and those that write for all databases, without the bench's own."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (datname = current_database()"
            " OR backend_type IN ('checkpointer', 'background writer', 'walwriter'))"
        )
        return [row[0] for row in self._rows(query)] if self.is_on_this_machine else []

    def written(self) -> Written:
        """The written log of the whole server, including changes of other databases."""
        row = self._rows("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), wal_fpi FROM pg_stat_wal")[0]
        return Written(int(row[0]), int(row[1]))

    def tables(self) -> list[Table]:
        """All tables, the largest first."""
        query = (
            "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " ORDER BY pg_total_relation_size(oid) DESC, relname"
        )
        return [Table(name, self._count(name), heap, indexes) for name, heap, indexes in self._rows(query)]

    def _count(self, table: str) -> int:
        row = self._connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        return 0 if row is None else int(row[0])

    def pack(self) -> None:
        """Rewrite every table without dead rows."""
        for table in self.tables():
            self._connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(table.name)))

    def server_settings(self) -> dict[str, str]:
        """The settings that affect how fast and how safely the server writes."""
        return {name: str(self._rows(f"SHOW {name}")[0][0]) for name in _SERVER_SETTINGS}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def new_database(target: Target, folder: Path) -> Iterator[SqliteDatabase | PostgresqlDatabase]:
    """A new database of ``target`` for one measurement."""
    name = f"payments_bench_{uuid.uuid4().hex}"
    url = target.new_database_url(folder, name)
    if not target.server_url:
        with closing(SqliteDatabase(url)) as file:
            yield file
        return
    identifier = sql.Identifier(name)
    _on_server(target, sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        backend_of(url, root=CHECKOUT).migrate()
        with closing(PostgresqlDatabase(url)) as database:
            yield database
    finally:
        _on_server(target, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _on_server(target: Target, statement: sql.Composed) -> None:
    with psycopg.connect(target.server_url, autocommit=True) as admin:
        admin.execute(statement)
