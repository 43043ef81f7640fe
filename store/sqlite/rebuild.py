"""Rebuilds the read tables of a file whose lock this process holds, for ``store.rebuild``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import orjson

from store.port import Head, StreamKey, Write
from store.rebuild import ReadRows
from store.sqlite.audit import SqliteAudit
from store.sqlite.batch import DEFINITION, INSERT, AppendValues
from store.sqlite.command_connections import writing
from store.sqlite.failures import translation
from store.sqlite.file_guard import FileGuard
from store.sqlite.lock import alone
from store.sqlite.rows import balances_json
from store.sqlite.statements import SQL
from store.stream_tables import RebuildTables


@contextmanager
def open_rebuild(path: Path) -> Iterator[SqliteRebuild]:
    """The file, closed to services during the block. Raises StoreInUseError at once when a service has it open."""
    with translation(path), alone(path) as lock, writing(path) as connection:
        guard = FileGuard(path, connection, lock.locked)
        connection.execute(SQL["create_unfinished"])
        connection.execute(DEFINITION)
        yield SqliteRebuild(connection, guard)


class SqliteRebuild(SqliteAudit, RebuildTables):
    """Implements ``store.rebuild.Rebuilding`` on a connection that may write.

    Its streams exclude those that have only work, because the table of unfinished work stays empty.
    """

    def __init__(self, connection: apsw.Connection, guard: FileGuard) -> None:
        super().__init__(connection)
        self._connection, self._guard = connection, guard

    @contextmanager
    def locked(self, stream: StreamKey) -> Iterator[None]:
        """See ``store.rebuild.Rebuilding``; it locks the whole file."""
        del stream
        self._guard.check()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        self._guard.check()

    def holders(self, stream: StreamKey, rows: ReadRows) -> Sequence[StreamKey]:
        """See ``store.rebuild.Rebuilding``."""
        found = self._rows("select_holders", (*stream, self._ids(rows.transaction_ids), self._ids(rows.review_ids)))
        return [StreamKey(*row) for row in found]

    def set_head(self, stream: StreamKey, head: Head) -> None:
        """See ``store.rebuild.Rebuilding``."""
        if head.version:
            self._execute("upsert_head", (*stream, *head))
        else:
            self._execute("delete_head", stream)

    def _ids(self, ids: Sequence[str]) -> str:
        return orjson.dumps(ids).decode()

    def _execute(self, query: str, values: Sequence[Any]) -> None:
        self._connection.execute(SQL[query], values)

    def _put(self, write: Write) -> None:
        self._connection.execute(INSERT, AppendValues([write], now_us=0).values)  # without work there is no time
        if write.balances:
            self._execute("update_balances", (*write.stream, orjson.dumps(balances_json(write.balances)).decode()))
