"""Writes a history into an empty database, by the store's own tables and columns, much faster than the service could.

Only the bench may do this: nothing reads the database meanwhile, and a database that is filled halfway is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final

import apsw
import orjson
import psycopg
from psycopg import sql

from bench.databases import PostgresqlDatabase, SqliteDatabase
from bench.history import MERCHANT, MONEY, Deposit, History
from bench.servers import CHECKOUT
from store.backends import backend_of
from store.columns import TRANSACTIONS
from store.postgresql import rows as postgresql_rows
from store.row_code import compile_row_writer
from store.sqlite import rows as sqlite_rows

_FILLED: Final = ("events", "transactions", "balances", "heads")
_AT_A_TIME: Final = 20_000
_CACHE_KIB: Final = 2_000_000
"""For the leaves of the indexes by stream, which are changed in random order."""
_EVENT_COLUMNS: Final = ("stream_name", "stream_id", "version", "event_id", "type", "body", "hash")
_HEAD_COLUMNS: Final = ("stream_name", "stream_id", "version", "hash")
_BALANCE_COLUMNS: Final = ("stream_name", "stream_id", "currency", "available_minor", "reserved_minor")


def fill(database: SqliteDatabase | PostgresqlDatabase, history: History, say: Callable[[str], None]) -> None:
    """Write ``history`` into ``database``, which is created if it is a file."""
    backend_of(database.url, root=CHECKOUT).migrate()
    if isinstance(database, SqliteDatabase):
        _fill_file(database.path, history, say)
    else:
        _fill_server(database.url, history, say)


def _fill_file(path: Path, history: History, say: Callable[[str], None]) -> None:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        # One transaction without a journal: a file that is not complete is of no use in any case.
        connection.pragma("journal_mode", "OFF")
        connection.pragma("synchronous", "OFF")
        connection.pragma("cache_size", -_CACHE_KIB)
        with connection:
            for chunk in _chunks(history, say):
                connection.executemany(_insert("events", _EVENT_COLUMNS), _event_rows(chunk))
                connection.executemany(
                    _insert("transactions", TRANSACTIONS.names),
                    (sqlite_rows.transaction_values(MERCHANT, one.stream_id, one.transaction) for one in chunk),
                )
            connection.executemany(_insert("heads", (*_HEAD_COLUMNS, "balances")), _file_head_rows(history))


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


def _chunks(history: History, say: Callable[[str], None]) -> Iterator[Sequence[Deposit]]:
    deposits, done, told = history.deposits(), 0, 0
    while chunk := list(islice(deposits, _AT_A_TIME)):
        yield chunk
        done += len(chunk)
        if done - told >= 25 * _AT_A_TIME:
            say(f"  {done:,} deposits stored")
            told = done


def _event_rows(deposits: Sequence[Deposit]) -> Iterator[tuple[object, ...]]:
    for deposit in deposits:
        for event_id, version, type_, body, hash_ in deposit.events:
            yield MERCHANT, deposit.stream_id, version, event_id, type_, body, hash_


def _file_head_rows(history: History) -> Iterator[tuple[object, ...]]:
    """Heads with balances, in the order of their keys: the leaves become full, and no page is written twice."""
    for end in sorted(history.ends()):
        balances = orjson.dumps({MONEY.currency: (end.available, 0)}).decode()
        yield MERCHANT, end.stream_id, end.version, end.hash, balances


def _balance_rows(history: History) -> Iterator[tuple[object, ...]]:
    return ((MERCHANT, end.stream_id, MONEY.currency, end.available, 0) for end in history.ends())


def _fill_server(url: str, history: History, say: Callable[[str], None]) -> None:
    transaction_values = compile_row_writer(TRANSACTIONS, postgresql_rows.DIALECT.write)
    with psycopg.connect(url) as connection:
        # Built afterwards, the indexes take a tenth of the time.
        later = _drop_indexes(connection)
        for chunk in _chunks(history, say):
            _copy(connection, "events", _EVENT_COLUMNS, _event_rows(chunk))
            rows = (transaction_values(MERCHANT, one.stream_id, one.transaction) for one in chunk)
            _copy(connection, "transactions", TRANSACTIONS.names, rows)
        _copy(connection, "balances", _BALANCE_COLUMNS, _balance_rows(history))
        _copy(connection, "heads", _HEAD_COLUMNS, _head_rows(history))
        say("  building the indexes")
        for statement in later:
            connection.execute(statement)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # as autovacuum would have done meanwhile
        connection.execute("CHECKPOINT")


def _drop_indexes(connection: psycopg.Connection) -> list[sql.SQL]:
    """Drop the indexes of the tables that are filled, and return the statements that create them again."""
    constraints = connection.execute(
        "SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = ANY (%s::regclass[]) AND contype IN ('p', 'u')",
        [list(_FILLED)],
    ).fetchall()
    for table, name, _ in constraints:
        connection.execute(sql.SQL(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
    indexes = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = ANY (%s::regclass[])",
        [list(_FILLED)],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL(f"DROP INDEX {name}"))
    again = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition in constraints]
    return [sql.SQL(statement) for statement in (*again, *(definition for _, definition in indexes))]


def _copy(connection: psycopg.Connection, table: str, columns: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _head_rows(history: History) -> Iterator[tuple[object, ...]]:
    return ((MERCHANT, end.stream_id, end.version, end.hash) for end in history.ends())
