"""Marks a restored file, while no service works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import apsw

from store.port import StreamKey
from store.restored import OpenTransaction, Restored
from store.sqlite import reads, work
from store.sqlite.command_connections import writing
from store.sqlite.failures import translation
from store.sqlite.lock import alone
from store.sqlite.rows import Row, event_of, from_us, to_us
from store.sqlite.statements import SQL


@contextmanager
def open_restoring(path: Path, now: datetime) -> Iterator[SqliteRestoring]:
    """The file, closed to services during the block. Raises StoreInUseError at once when a service has it open."""
    with translation(path), alone(path), writing(path) as connection:
        yield SqliteRestoring(connection, to_us(now))


class SqliteRestoring:
    """Implements ``store.restored.Restoring``."""

    def __init__(self, connection: apsw.Connection, now_us: int) -> None:
        self._connection, self._now_us = connection, now_us

    def mark(self, at_least: int) -> Restored:
        """See ``store.restored.Restoring``."""
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            newest = reads.feed(cursor).generation
            generation = work.begin_generation(cursor, max(newest, at_least - 1), self._now_us)
            last = cursor.execute(SQL["select_last_event_of_all"]).fetchone()
            rows: list[Row] = cursor.execute(SQL["select_open_transactions"]).fetchall()
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
        unfinished = [
            OpenTransaction(id_, StreamKey(name, stream_id), kind, gateway, minor, currency, status, from_us(created))
            for id_, name, stream_id, kind, gateway, minor, currency, status, created in rows
        ]
        return Restored(generation, None if last is None else event_of(last), unfinished)
