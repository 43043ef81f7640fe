"""The reads of the store's Queries port and ``load``: each a single statement, so one snapshot. Changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson
import psycopg

from domain.account import Account, Balance, Transaction
from domain.events import VOCABULARY
from store.errors import CorruptStoreError
from store.port import (
    Claim,
    DeadLetterFilter,
    Feed,
    GatewayMode,
    Head,
    Lease,
    Load,
    QueuedWork,
    Snapshot,
    StoredEvent,
    StreamKey,
    WorkState,
    names_seen_by,
)
from store.postgresql.rows import (
    Row,
    balance_of,
    dead_letter_of,
    event_of,
    fetched,
    review_view_of,
    transaction_beside,
    transaction_of,
    transaction_view_of,
)
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL
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

logger: Final = logging.getLogger(__name__)

_NUL: Final = "\\u0000"
"""How JSON writes a character that PostgreSQL's text cannot have."""


def load(session: Session, loads: Sequence[Load]) -> list[Snapshot]:
    """The customers in the order of ``loads`` with the transactions that exist and their parents: one statement."""
    snapshots = [Snapshot(Head(), Account(one.stream.id)) for one in loads]
    found: dict[int, dict[str, Transaction]] = {}
    for row in _rows(session, "load", (_load_document(loads),)):
        number, version, hash_, balances = row[:4]
        if number not in found:
            transactions = found[number] = {}
            account = Account(loads[number].stream.id, version, _balances(balances), transactions)
            snapshots[number] = Snapshot(Head(version, hash_), account)
        if row[4] is not None:
            found[number][row[4]] = transaction_of(row[4:])
    return snapshots


def _load_document(loads: Sequence[Load]) -> str:
    """``loads`` as JSON, without names that no row can have. They must not hide the customers beside them."""
    try:
        document = orjson.dumps([_load_item(number, *one) for number, one in enumerate(loads)]).decode()
    except TypeError:  # a lone surrogate
        document = _NUL
    if _NUL not in document:
        return document
    possible = [
        _load_item(number, one.stream, [*filter(_is_text, one.transaction_ids)])
        for number, one in enumerate(loads)
        if all(map(_is_text, one.stream))
    ]
    return orjson.dumps(possible).decode()


def _load_item(number: int, stream: StreamKey, transaction_ids: Collection[str]) -> dict[str, object]:
    return {"number": number, "name": stream.name, "id": stream.id, "transaction_ids": [*transaction_ids]}


def _is_text(value: str) -> bool:
    """Whether PostgreSQL can hold ``value``."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _balances(text: str | None) -> dict[str, Balance]:
    return {} if text is None else dict(map(balance_of, orjson.loads(text)))


def transaction(session: Session, merchant: str, transaction_id: str) -> TransactionView | None:
    """The merchant's transaction of that id."""
    rows = _rows(session, "select_transaction_view", (transaction_id, merchant))
    return transaction_view_of(rows[0]) if rows else None


def transactions(
    session: Session, merchant: str, where: TransactionFilter, before: str | None, limit: int
) -> Sequence[TransactionView]:
    """Newest first, ids below ``before``."""
    lowest, below = where.ids_below(before)
    values = {
        "merchant": merchant,
        "lowest": lowest,
        "before": below,
        "at_most": limit,
        "customer_id": where.customer_id,
        "statuses": list(where.statuses),
        "gateway": where.gateway,
        "kinds": list(where.kinds),
        "created_from": where.created_from,
        "created_to": where.created_to,
        "parent_id": where.parent_id,
        "gateway_reference": where.gateway_reference,
        "correlation_id": where.correlation_id,
    }
    name = f"select_{where.narrowest or 'merchant'}_transactions"
    return [transaction_view_of(row) for row in _rows(session, name, values)]


def transactions_of(session: Session, transaction_ids: Collection[str]) -> Mapping[str, Transaction]:
    """Those of the transactions that exist, of any merchant."""
    rows = _rows(session, "select_transactions_of", ([*filter(_is_text, transaction_ids)],))
    return {one.transaction_id: one for one in map(transaction_of, rows)}


def customer(session: Session, stream: StreamKey) -> CustomerView | None:
    """The customer, unless it has no events."""
    rows = _rows(session, "select_customer", stream)
    if not rows:
        return None
    return CustomerView(rows[0][0], [balance_of(row[1:]) for row in rows if row[1] is not None])


def stream_events(session: Session, stream: StreamKey, after: int, limit: int) -> Sequence[StoredEvent]:
    """Ascending versions above ``after``."""
    return [event_of(row) for row in _rows(session, "select_events_after", (*stream, after, limit))]


def all_events(session: Session, merchant: str | None, after: int, limit: int) -> Sequence[StoredEvent]:
    """Ascending positions above ``after``, up to the first that may still be missing."""
    if merchant is None:
        rows = _rows(session, "select_settled_events", (after, limit))
    else:
        rows = _rows(session, "select_merchant_events", (merchant, after, limit))
    return [event_of(row) for row in rows]


def stream_of(session: Session, transaction_id: str) -> StreamKey | None:
    """The stream of the transaction."""
    rows = _rows(session, "select_stream_of", (transaction_id,))
    return StreamKey(*rows[0]) if rows else None


def claimed(session: Session, scope: str, key: str) -> Claim | None:
    """The claim under this key."""
    rows = _rows(session, "select_claim", (scope, key))
    return Claim(scope, key, *rows[0]) if rows else None


def vocabulary_floor(session: Session) -> int:
    """The lowest vocabulary of the owners."""
    floor: int | None = _rows(session, "select_vocabulary_floor")[0][0]
    return VOCABULARY if floor is None else floor


def review(session: Session, merchant: str, review_id: str) -> ReviewView | None:
    """The review of that id, if it is the merchant's or a gateway's."""
    rows = _rows(session, "select_review", {"review_id": review_id, "names": list(names_seen_by(merchant))})
    return review_view_of(rows[0]) if rows else None


def reviews(
    session: Session, merchant: str, state: str | None, before: ReviewKey | None, limit: int
) -> Sequence[ReviewView]:
    """Newest first, below ``before``."""
    values = {
        "names": list(names_seen_by(merchant)),
        "states": [OPEN, CLOSED] if state is None else [state],
        "opened_at": None if before is None else before.opened_at,
        "review_id": "" if before is None else before.review_id,
        "at_most": limit,
    }
    return [review_view_of(row) for row in _rows(session, "select_reviews", values)]


def work_counts(session: Session) -> dict[tuple[str, str], int]:
    """Pieces of work by gateway and state."""
    return {(gateway, state): count for gateway, state, count in _rows(session, "count_work")}


def stats(session: Session) -> StoreStats:
    """Statistics for operators."""
    return StoreStats.of(_rows(session, "select_stats"))


def dead_letters(
    session: Session, merchant: str, where: DeadLetterFilter, before: str | None, limit: int
) -> Sequence[DeadLetter]:
    """Newest first, ids below ``before``."""
    values = {
        "names": list(names_seen_by(merchant)),
        "work_id": where.work_id,
        "gateway": where.gateway,
        "states": list(where.states),
        "before": before,
        "at_most": limit,
    }
    return [_dead_letter(row) for row in _rows(session, "select_dead_letters", values)]


def waiting_callbacks(
    session: Session, merchant: str, queue: str | None, before: str | None, limit: int
) -> Sequence[DeadLetter]:
    """Newest first, ids below ``before``."""
    values = {"names": list(names_seen_by(merchant)), "gateway": queue, "before": before, "at_most": limit}
    return [dead_letter_of(row, None) for row in _rows(session, "select_waiting_callbacks", values)]


def work(session: Session, merchant: str, work_id: str) -> DeadLetter | None:
    """The piece of work of that id, if it is the merchant's or a gateway's."""
    rows = _rows(session, "select_work", {"work_id": work_id, "names": list(names_seen_by(merchant))})
    return _dead_letter(rows[0]) if rows else None


def dead_letter(session: Session, merchant: str, work_id: str) -> DeadLetter | None:
    """The piece of work of that id, if it is a dead letter."""
    found = work(session, merchant, work_id)
    return None if found is None or found.state not in {WorkState.DEAD, WorkState.PARKED} else found


def _dead_letter(row: Row) -> DeadLetter:
    beside = None
    try:
        beside = transaction_beside(row)
    except CorruptStoreError as error:
        logger.warning("listed without its transaction: %s", error)
    return dead_letter_of(row, beside)


def gateway_modes(session: Session) -> dict[str, GatewayMode]:
    """The modes by gateway."""
    return {row[0]: GatewayMode(*row) for row in _rows(session, "select_gateway_modes")}


def next_due_s(session: Session, gateway: str) -> float | None:
    """Seconds until the gateway's next piece of work is due, if any waits."""
    rows = _rows(session, "select_next_due", (gateway,))
    return rows[0][0] if rows else None


def queued_due(session: Session, gateways: Collection[str], limit: int) -> list[QueuedWork]:
    """Due work of each of the gateways, oldest due first."""
    values = {"gateways": list(gateways), "at_most": limit}
    return [QueuedWork(*row) for row in _rows(session, "select_queued_due", values)]


def last_position(session: Session) -> int:
    """Where ``all_events`` ends now."""
    return int(_rows(session, "select_last_position")[0][0])


def feed(session: Session) -> Feed:
    """The generation, and the last position assigned."""
    return Feed(*_rows(session, "select_generation")[0])


def newest_event(session: Session, merchant: str) -> StoredEvent | None:
    """The merchant's last event before which no event can be missing."""
    rows = _rows(session, "select_newest_event", {"merchant": merchant})
    return event_of(rows[0]) if rows else None


def lease(session: Session, work_id: str) -> Lease | None:
    """The state of a piece of work."""
    rows = _rows(session, "select_lease", (work_id,))
    return Lease(*rows[0]) if rows else None


def holds(session: Session, stream: StreamKey, version: int, event_id: str) -> bool:
    """Whether this event is stored."""
    return _rows(session, "select_event_id", (*stream, version)) == [(event_id,)]


def ping(session: Session) -> None:
    """Read one row."""
    _rows(session, "ping")


def _rows(session: Session, name: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
    try:
        cursor = session.execute(SQL[name], values, prepare=True, binary=True)
    except UnicodeEncodeError:
        return []
    except psycopg.DataError as error:
        if error.sqlstate is None:  # from the driver: no row has such text, as with U+0000
            return []
        raise
    return fetched(cursor)
