"""Rebuilding the read tables of the file that this process holds the lock of, for ``store.rebuild``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import orjson

from store.port import Head, StreamKey, Write
from store.rebuild import Rows
from store.sqlite.audit import SqliteAudit
from store.sqlite.batch import DEFINITION, INSERT, Batch
from store.sqlite.command_connections import writing
from store.sqlite.failures import translation
from store.sqlite.file_guard import FileGuard
from store.sqlite.lock import alone
from store.sqlite.statements import SQL

_DELETES: Final = (SQL["delete_transactions"], SQL["delete_balances"], SQL["delete_reviews"])


@contextmanager
def open_rebuild(path: Path) -> Iterator[SqliteRebuild]:
    """The database, which no service can open meanwhile. Raises StoreInUseError at once when one has it."""
    with translation(path), alone(path) as lock, writing(path) as connection:
        guard = FileGuard(path, connection, lock.locked)
        connection.execute(SQL["create_unfinished"])
        connection.execute(DEFINITION)
        yield SqliteRebuild(connection, guard)


class SqliteRebuild(SqliteAudit):
    """Implements ``store.rebuild.Rebuilding`` on a connection that may write.

    Streams of which there is nothing but work are not among its streams: the audit's list of those stays empty.
    """

    def __init__(self, connection: apsw.Connection, guard: FileGuard) -> None:
        super().__init__(connection)
        self._connection, self._guard = connection, guard

    def last_position(self) -> int:
        """See ``store.rebuild.Rebuilding``."""
        return self._number("select_last_position", ())

    def newest_version(self, stream: StreamKey) -> int:
        """See ``store.rebuild.Rebuilding``."""
        return self._number("select_newest_version", stream)

    @contextmanager
    def locked(self, stream: StreamKey) -> Iterator[None]:
        """See ``store.rebuild.Rebuilding``; the lock is the whole file's."""
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

    def holders(self, stream: StreamKey, rows: Rows) -> Sequence[StreamKey]:
        """See ``store.rebuild.Rebuilding``."""
        found = self._connection.execute(SQL["select_holders"], (*stream, *_ids(rows)))
        return [StreamKey(*row) for row in found]

    def replace(self, stream: StreamKey, rows: Rows) -> None:
        """See ``store.rebuild.Rebuilding``."""
        execute = self._connection.execute
        for statement in _DELETES:
            execute(statement, stream)
        transactions, reviews = _ids(rows)
        execute(SQL["delete_stray_transactions"], (transactions,))
        execute(SQL["delete_stray_reviews"], (reviews,))
        anew = Write(stream, Head(), (), *rows)
        execute(INSERT, Batch([anew], now_us=0).unchecked)  # no work, and so no time

    def cut(self, stream: StreamKey, head: Head) -> None:
        """There is nothing to do: appends go on from the events."""

    def _number(self, statement: str, values: Sequence[str]) -> int:
        row = self._connection.execute(SQL[statement], values).fetchone()
        assert row is not None
        number = row[0]
        assert isinstance(number, int)
        return number


def _ids(rows: Rows) -> tuple[str, str]:
    """Those of transactions and of reviews, as JSON."""
    transactions = [it.transaction_id for it in rows.transactions]
    reviews = [it.review_id for it in rows.reviews]
    return orjson.dumps(transactions).decode(), orjson.dumps(reviews).decode()
