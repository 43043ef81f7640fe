"""The reads of the store's Queries port and ``load``, each on a cursor of one snapshot. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import apsw

from domain.account import Account
from store.port import Head, Snapshot, StoredEvent, StreamKey
from store.queries import CustomerView, TransactionFilter, TransactionView
from store.sqlite.rows import balance_of, event_of, to_us, transaction_of
from store.sqlite.statements import SQL


def load(cursor: apsw.Cursor, stream: StreamKey, transaction_ids: Collection[str]) -> Snapshot:
    """The customer with those of the transactions that exist."""
    end = head(cursor, stream)
    if end.version == 0:
        return Snapshot(end, Account(stream.id))
    balances = dict(map(balance_of, cursor.execute(SQL["select_balances"], stream)))
    transactions = {}
    for transaction_id in transaction_ids:
        for row in cursor.execute(SQL["select_stream_transaction"], (*stream, transaction_id)):
            transactions[transaction_id] = transaction_of(row)
    return Snapshot(end, Account(stream.id, end.version, balances, transactions))


def head(cursor: apsw.Cursor, stream: StreamKey) -> Head:
    """The stream's end."""
    row = cursor.execute(SQL["select_head"], stream).fetchone()
    return Head() if row is None else Head(*row)


def transaction(cursor: apsw.Cursor, merchant: str, transaction_id: str) -> TransactionView | None:
    """The merchant's transaction of that id."""
    row = cursor.execute(SQL["select_transaction_view"], (merchant, transaction_id)).fetchone()
    return None if row is None else TransactionView(transaction_of(row), row[17])


def transactions(
    cursor: apsw.Cursor, merchant: str, where: TransactionFilter, before: str | None, limit: int
) -> Sequence[TransactionView]:
    """Newest first, ids below ``before``."""
    values = (
        merchant,
        before,
        limit,
        where.status,
        where.gateway,
        where.kind,
        None if where.created_from is None else to_us(where.created_from),
        None if where.created_to is None else to_us(where.created_to),
    )
    if where.customer_id is None:
        rows = cursor.execute(SQL["select_merchant_transactions"], values)
    else:
        rows = cursor.execute(SQL["select_customer_transactions"], (*values, where.customer_id))
    return [TransactionView(transaction_of(row), row[17]) for row in rows]


def customer(cursor: apsw.Cursor, stream: StreamKey) -> CustomerView | None:
    """The customer, unless it has no events."""
    end = head(cursor, stream)
    if end.version == 0:
        return None
    return CustomerView(end.version, [balance_of(row) for row in cursor.execute(SQL["select_balances"], stream)])


def stream_events(cursor: apsw.Cursor, stream: StreamKey, after: int, limit: int) -> Sequence[StoredEvent]:
    """Ascending versions above ``after``."""
    return [event_of(row) for row in cursor.execute(SQL["select_events_after"], (*stream, after, limit))]


def work_counts(cursor: apsw.Cursor) -> dict[tuple[str, str], int]:
    """Pieces of work by gateway and state."""
    return {(gateway, state): count for gateway, state, count in cursor.execute(SQL["count_work"])}


def first_due_us(cursor: apsw.Cursor, gateway: str) -> int | None:
    """When the gateway's next piece of work is due, if any waits."""
    row = cursor.execute(SQL["select_first_due"], (gateway,)).fetchone()
    return None if row is None else row[0]


def ping(cursor: apsw.Cursor) -> None:
    """Read something."""
    cursor.execute(SQL["ping"]).fetchall()
