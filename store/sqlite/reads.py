"""The reads of the store's Queries port and ``load``, each on a cursor of one snapshot. Changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Final

import apsw
import orjson

from domain.account import Account, Transaction
from store.errors import CorruptStoreError
from store.port import DeadLetterFilter, GatewayMode, Head, Snapshot, StoredEvent, StreamKey, WorkState
from store.queries import CustomerView, DeadLetter, TransactionFilter, TransactionView
from store.sqlite.rows import Row, balance_of, dead_letter_of, event_of, to_us, transaction_of, transaction_view_of
from store.sqlite.statements import SQL

logger: Final = logging.getLogger(__name__)

_DEAD: Final = frozenset({WorkState.DEAD, WorkState.PARKED})


def load(cursor: apsw.Cursor, stream: StreamKey, transaction_ids: Collection[str]) -> Snapshot:
    """The customer with those of the transactions that exist; without any it takes one statement."""
    row = cursor.execute(SQL["select_end"], stream).fetchone()
    if row is None:
        return Snapshot(Head(), Account(stream.id))
    end = Head(*row[:2])
    balances = dict(map(balance_of, orjson.loads(row[2]))) if row[2] != "[]" else {}
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
    return None if row is None else transaction_view_of(row)


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
    return [transaction_view_of(row) for row in rows]


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


def dead_letters(
    cursor: apsw.Cursor, merchant: str, where: DeadLetterFilter, before: str | None, limit: int
) -> Sequence[DeadLetter]:
    """Newest first, ids below ``before``."""
    values = (merchant, before, limit, where.work_id, where.gateway, where.state)
    return [_dead_letter(cursor, row) for row in cursor.execute(SQL["select_dead_letters"], values).fetchall()]


def dead_letter(cursor: apsw.Cursor, merchant: str, work_id: str) -> DeadLetter | None:
    """The merchant's dead letter of that id."""
    row = cursor.execute(SQL["select_work_row"], (work_id,)).fetchone()
    letter = None if row is None else _dead_letter(cursor, row)
    if letter is None or letter.item.stream.name != merchant or letter.state not in _DEAD:
        return None
    return letter


def _dead_letter(cursor: apsw.Cursor, row: Row) -> DeadLetter:
    _, _, stream_name, stream_id, *_, transaction_id, _, _, _ = row
    transactions: list[Transaction] = []
    key = (stream_name, stream_id, transaction_id)
    try:
        transactions += map(transaction_of, cursor.execute(SQL["select_stream_transaction"], key).fetchall())
    except (CorruptStoreError, UnicodeDecodeError) as error:
        logger.warning("listed without its transaction: %s", error)
    return dead_letter_of(row, transactions[0] if transactions else None)


def gateway_modes(cursor: apsw.Cursor) -> dict[str, GatewayMode]:
    """The last orders by gateway."""
    return {row[0]: GatewayMode(*row) for row in cursor.execute(SQL["select_gateway_modes"])}


def first_due_us(cursor: apsw.Cursor, gateway: str) -> int | None:
    """When the gateway's next piece of work is due, if any waits."""
    row = cursor.execute(SQL["select_first_due"], (gateway,)).fetchone()
    return None if row is None else row[0]


def ping(cursor: apsw.Cursor) -> None:
    """Read something."""
    cursor.execute(SQL["ping"]).fetchall()
