"""The reads of the store's Queries port and ``load``, each on a cursor of one snapshot. Changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from heapq import merge
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Final

import apsw

from domain.account import Account, Transaction
from domain.events import VOCABULARY
from store.errors import CorruptStoreError
from store.port import (
    Claim,
    DeadLetterFilter,
    Feed,
    GatewayMode,
    Head,
    Lease,
    QueuedWork,
    Snapshot,
    StoredEvent,
    StreamKey,
    WorkState,
    names_seen_by,
)
from store.projection import CLOSED, OPEN
from store.queries import (
    CustomerView,
    DeadLetter,
    ReviewKey,
    ReviewView,
    StoreStats,
    TransactionFilter,
    TransactionView,
)
from store.sqlite.rows import (
    Row,
    balances_of,
    dead_letter_of,
    event_of,
    review_view_of,
    to_us,
    transaction_of,
    transaction_view_of,
    work_row,
)
from store.sqlite.statements import SQL

logger: Final = logging.getLogger(__name__)

_DEAD: Final = frozenset({WorkState.DEAD, WorkState.PARKED})
_LATEST_US: Final = 2**63 - 1
_SELECT_END: Final = SQL["select_end"]


def load(cursor: apsw.Cursor, stream: StreamKey, transaction_ids: Collection[str]) -> Snapshot:
    """The customer with the transactions that exist and their parents. One statement when no transaction is named."""
    row = cursor.execute(_SELECT_END, stream).fetchone()
    if row is None:
        return Snapshot(Head(), Account(stream.id))
    version, hash_, text = row
    end, balances = Head(version, hash_), balances_of(text)
    transactions: dict[str, Transaction] = {}
    _add_transactions(cursor, stream, transaction_ids, transactions)
    parent_ids = {one.parent_id for one in transactions.values() if one.parent_id is not None}
    if parent_ids:
        _add_transactions(cursor, stream, parent_ids - transactions.keys(), transactions)
    return Snapshot(end, Account(stream.id, end.version, balances, transactions))


def _add_transactions(
    cursor: apsw.Cursor, stream: StreamKey, transaction_ids: Collection[str], found: dict[str, Transaction]
) -> None:
    for transaction_id in transaction_ids:
        for row in cursor.execute(SQL["select_stream_transaction"], (*stream, transaction_id)):
            found[transaction_id] = transaction_of(row)


def head(cursor: apsw.Cursor, stream: StreamKey) -> Head:
    """The stream's end."""
    row = cursor.execute(SQL["select_kept_head"], stream).fetchone()
    return Head() if row is None else Head(*row)


def transaction(cursor: apsw.Cursor, merchant: str, transaction_id: str) -> TransactionView | None:
    """The merchant's transaction of that id."""
    row = cursor.execute(SQL["select_transaction_view"], (merchant, transaction_id)).fetchone()
    return None if row is None else transaction_view_of(row)


def transactions(
    cursor: apsw.Cursor, merchant: str, where: TransactionFilter, before: str | None, limit: int
) -> Sequence[TransactionView]:
    """Newest first, ids below ``before``."""
    times = [None if at is None else to_us(at) for at in (where.created_from, where.created_to)]
    values = (merchant, *where.ids_below(before), limit, *times)
    narrowest = where.narrowest
    if narrowest is not None:
        which = (where.gateway, where.status, where.kind)
        whose = (where.customer_id, where.parent_id, where.gateway_reference, where.correlation_id)
        rows = _all(cursor, f"select_{narrowest}_transactions", (*values, *which, *whose))
    else:
        known = cursor.execute(SQL["select_known_lists"], (merchant, where.gateway)).fetchall()
        lists = [(*values, *one) for one in known if one[1] in where.statuses and one[2] in where.kinds]
        rows = _newest(cursor, "select_merchant_transactions", lists, limit)
    return [transaction_view_of(row) for row in rows]


def transactions_of(cursor: apsw.Cursor, transaction_ids: Collection[str]) -> Mapping[str, Transaction]:
    """Those of the transactions that exist, of any merchant."""
    ids = json.dumps([*transaction_ids])  # orjson refuses a lone surrogate, which no row has
    found = map(transaction_of, cursor.execute(SQL["select_transactions_of"], (ids,)))
    return {one.transaction_id: one for one in found}


def _gateways(cursor: apsw.Cursor, name: str, stream_name: str, only: str | None) -> Sequence[str]:
    if only is not None:
        return (only,)
    return [str(row[0]) for row in cursor.execute(SQL[name], (stream_name,)).fetchall()]


def _newest(cursor: apsw.Cursor, name: str, lists: Sequence[Sequence[object]], limit: int) -> list[Row]:
    """The first rows of several lists by descending ids, which are the first column.

    Each list is read only as far as necessary, so none reads rows that a filter excludes.
    """
    with ExitStack() as stack:
        cursors = [stack.enter_context(closing(cursor.connection.cursor())) for _ in lists]
        found = (one.execute(SQL[name], values) for one, values in zip(cursors, lists, strict=True))
        return list(islice(merge(*found, key=itemgetter(0), reverse=True), limit))


def customer(cursor: apsw.Cursor, stream: StreamKey) -> CustomerView | None:
    """The customer, unless it has no events."""
    row = cursor.execute(_SELECT_END, stream).fetchone()
    return None if row is None else CustomerView(row[0], sorted(balances_of(row[2]).items()))


def stream_events(cursor: apsw.Cursor, stream: StreamKey, after: int, limit: int) -> Sequence[StoredEvent]:
    """Ascending versions above ``after``."""
    return [event_of(row) for row in cursor.execute(SQL["select_events_after"], (*stream, after, limit))]


def all_events(cursor: apsw.Cursor, merchant: str | None, after: int, limit: int) -> Sequence[StoredEvent]:
    """Ascending positions above ``after``. Positions are assigned in the order of the commits."""
    if merchant is None:
        rows = cursor.execute(SQL["select_all_events"], (after, limit))
    else:
        rows = cursor.execute(SQL["select_merchant_events"], (merchant, after, limit))
    return [event_of(row) for row in rows]


def stream_of(cursor: apsw.Cursor, transaction_id: str) -> StreamKey | None:
    """The stream of the transaction."""
    row = _one(cursor, "select_stream_of", (transaction_id,))
    return None if row is None else StreamKey(*row)


def claimed(cursor: apsw.Cursor, scope: str, key: str) -> Claim | None:
    """The claim under this key."""
    row = _one(cursor, "select_claim", (scope, key))
    return None if row is None else Claim(scope, key, *row)


def vocabulary_floor(cursor: apsw.Cursor) -> int:
    """The lowest vocabulary of the owners."""
    floor: int | None = cursor.execute(SQL["select_vocabulary_floor"]).get
    return VOCABULARY if floor is None else floor


def review(cursor: apsw.Cursor, merchant: str, review_id: str) -> ReviewView | None:
    """The review of that id, if it is the merchant's or a gateway's."""
    row = _one(cursor, "select_review", (review_id, *(names_seen_by(merchant) * 2)[:2]))
    return None if row is None else review_view_of(row)


def reviews(
    cursor: apsw.Cursor, merchant: str, state: str | None, before: ReviewKey | None, limit: int
) -> Sequence[ReviewView]:
    """Newest first, below ``before``: a list for each name and state, merged."""
    key = (_LATEST_US, "") if before is None else (to_us(before.opened_at), before.review_id)
    views = [
        review_view_of(row)
        for name in names_seen_by(merchant)
        for one in ((OPEN, CLOSED) if state is None else (state,))
        for row in cursor.execute(SQL["select_reviews"], (name, one, *key, limit)).fetchall()
    ]
    return sorted(views, key=attrgetter("key"), reverse=True)[:limit]


def _one(cursor: apsw.Cursor, name: str, values: Sequence[object]) -> Row | None:
    try:
        return cursor.execute(SQL[name], values).fetchone()
    except UnicodeEncodeError:  # no row has such text, as with a lone surrogate
        return None


def _all(cursor: apsw.Cursor, name: str, values: Sequence[object]) -> list[Row]:
    try:
        return cursor.execute(SQL[name], values).fetchall()
    except UnicodeEncodeError:
        return []


def work_counts(cursor: apsw.Cursor) -> dict[tuple[str, str], int]:
    """Pieces of work by gateway and state."""
    return {(gateway, state): count for gateway, state, count in cursor.execute(SQL["count_work"])}


def stats(cursor: apsw.Cursor, now_us: int) -> StoreStats:
    """Statistics for operators."""
    return StoreStats.of(cursor.execute(SQL["select_stats"], (now_us,)))


def dead_letters(
    cursor: apsw.Cursor, merchant: str, where: DeadLetterFilter, before: str | None, limit: int
) -> Sequence[DeadLetter]:
    """Newest first, ids below ``before``."""
    lists = [
        (name, before, limit, where.work_id, gateway, state)
        for name in names_seen_by(merchant)
        for gateway in _gateways(cursor, "select_dead_gateways", name, where.gateway)
        for state in where.states
    ]
    return [_dead_letter(cursor, row) for row in _newest(cursor, "select_dead_letters", lists, limit)]


def waiting_callbacks(
    cursor: apsw.Cursor, merchant: str, queue: str | None, before: str | None, limit: int
) -> Sequence[DeadLetter]:
    """Newest first, ids below ``before``."""
    lists = [
        (name, before, limit, one)
        for name in names_seen_by(merchant)
        for one in _gateways(cursor, "select_callback_gateways", name, queue)
    ]
    return [dead_letter_of(row, None) for row in _newest(cursor, "select_waiting_callbacks", lists, limit)]


def work(cursor: apsw.Cursor, merchant: str, work_id: str) -> DeadLetter | None:
    """The piece of work of that id, if it is the merchant's or a gateway's."""
    row = cursor.execute(SQL["select_work_row"], (work_id,)).fetchone()
    found = None if row is None else _dead_letter(cursor, row)
    return None if found is None or found.item.stream.name not in names_seen_by(merchant) else found


def dead_letter(cursor: apsw.Cursor, merchant: str, work_id: str) -> DeadLetter | None:
    """The piece of work of that id, if it is a dead letter."""
    found = work(cursor, merchant, work_id)
    return None if found is None or found.state not in _DEAD else found


def _dead_letter(cursor: apsw.Cursor, row: Row) -> DeadLetter:
    work = work_row(row)
    transactions: list[Transaction] = []
    key = (work.stream_name, work.stream_id, work.transaction_id)
    try:
        transactions += map(transaction_of, cursor.execute(SQL["select_stream_transaction"], key).fetchall())
    except (CorruptStoreError, UnicodeDecodeError) as error:
        logger.warning("listed without its transaction: %s", error)
    return dead_letter_of(row, transactions[0] if transactions else None)


def gateway_modes(cursor: apsw.Cursor) -> dict[str, GatewayMode]:
    """The modes by gateway."""
    return {row[0]: GatewayMode(*row) for row in cursor.execute(SQL["select_gateway_modes"])}


def first_due_us(cursor: apsw.Cursor, gateway: str) -> int | None:
    """When the gateway's next piece of work is due, if any waits."""
    row = cursor.execute(SQL["select_first_due"], (gateway,)).fetchone()
    return None if row is None else row[0]


def queued_due(cursor: apsw.Cursor, gateways: Collection[str], now_us: int, limit: int) -> list[QueuedWork]:
    """Due work of each of the gateways, oldest due first."""
    rows: list[Row] = []
    for gateway in gateways:
        rows += cursor.execute(SQL["select_queued_due"], (gateway, now_us, limit))
    return [QueuedWork(*row[1:]) for row in sorted(rows, key=itemgetter(0))]


def last_position(cursor: apsw.Cursor) -> int:
    """Where ``all_events`` ends now."""
    return int(cursor.execute(SQL["select_last_position"]).get)


def feed(cursor: apsw.Cursor) -> Feed:
    """The generation, and the last position."""
    row: Row = cursor.execute(SQL["select_generation"]).fetchall()[0]
    return Feed(*row)


def newest_event(cursor: apsw.Cursor, merchant: str) -> StoredEvent | None:
    """The merchant's last event."""
    row = cursor.execute(SQL["select_newest_event"], (merchant,)).fetchone()
    return None if row is None else event_of(row)


def lease(cursor: apsw.Cursor, work_id: str) -> Lease | None:
    """The state of a piece of work."""
    row = cursor.execute(SQL["select_lease"], (work_id,)).fetchone()
    return None if row is None else Lease(*row)


def holds(cursor: apsw.Cursor, stream: StreamKey, version: int, event_id: str) -> bool:
    """Whether this event is stored."""
    row = cursor.execute(SQL["select_event_id"], (*stream, version)).fetchone()
    return row is not None and row[0] == event_id


def ping(cursor: apsw.Cursor) -> None:
    """Read one row."""
    cursor.execute(SQL["ping"]).fetchall()
