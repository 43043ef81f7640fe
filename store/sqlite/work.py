"""Owners, leases and claims of work, and operator commands, each within an open transaction.

Never begins or commits.
"""

from __future__ import annotations

import logging
from typing import Final

import apsw

from store.errors import CorruptStoreError
from store.port import (
    TOKENS_APART,
    DeadLetterFilter,
    DeliveryCertainty,
    GatewayMode,
    WorkError,
    WorkItem,
    names_seen_by,
)
from store.sqlite.reads import feed
from store.sqlite.rows import errors_text, from_us, readable_errors, work_item_of, work_row
from store.sqlite.statements import SQL

logger: Final = logging.getLogger(__name__)

_NO_TRANSACTION: Final = (None,)


def register(cursor: apsw.Cursor, owner: str, vocabulary: int, now_us: int) -> None:
    """Register ``owner``, alive now."""
    cursor.execute(SQL["upsert_owner"], (owner, now_us, vocabulary))


def beat(cursor: apsw.Cursor, owner: str, now_us: int) -> bool:
    """Renew the heartbeat of ``owner``. False when it is not registered any more."""
    cursor.execute(SQL["update_heartbeat"], (owner, now_us))
    return cursor.connection.changes() == 1


def retire(cursor: apsw.Cursor, owner: str, now_us: int, certainty: DeliveryCertainty) -> int:
    """Delete ``owner`` and queue all work that it leases, with at least ``certainty``. Returns how much that was."""
    cursor.execute(SQL["release_work"], (owner, now_us, certainty))
    released = cursor.connection.changes()
    cursor.execute(SQL["delete_owner"], (owner,))
    return released


def begin_generation(cursor: apsw.Cursor, seen: int, now_us: int) -> int:
    """Begin the generation after ``seen`` unless there is a later one. Returns the newest.

    All unfinished work may have been sent.
    """
    newest = feed(cursor).generation
    if newest > seen:
        return newest
    apart = TOKENS_APART * (seen + 1 - newest)
    cursor.execute(SQL["insert_generation"], (seen + 1, now_us))
    cursor.execute(SQL["void_leases"], (now_us, apart, DeliveryCertainty.SENT))
    cursor.execute(SQL["raise_epochs"], (apart,))
    cursor.execute(SQL["delete_owners"])
    return seen + 1


def dead_owners(cursor: apsw.Cursor, now_us: int, silent_us: int) -> list[str]:
    """Owners whose last heartbeat is older than ``silent_us``, or that far in the future.

    After a clock was set back, a dead owner would otherwise keep its work for as long.
    """
    return [row[0] for row in cursor.execute(SQL["select_dead_owners"], (now_us - silent_us, now_us + silent_us))]


def claim(cursor: apsw.Cursor, owner: str, gateway: str, limit: int, now_us: int) -> list[WorkItem]:
    """Lease due work to ``owner``, oldest due first. Nothing to an owner that is not registered."""
    if cursor.execute(SQL["select_owner"], (owner,)).fetchone() is None:
        return []
    due = [row[0] for row in cursor.execute(SQL["select_due"], (gateway, now_us, limit))]
    cursor.executemany(SQL["lease_work"], [(work_id, owner) for work_id in due])
    items = []
    select_work, select_transaction = SQL["select_work_row"], SQL["select_stream_transaction"]
    for work_id in due:
        row = cursor.execute(select_work, (work_id,)).fetchone()
        assert row is not None
        try:
            work = work_row(row)
            key = (work.stream_name, work.stream_id, work.transaction_id)
            beside = cursor.execute(select_transaction, key).fetchone()
            items.append(work_item_of(row + (beside or _NO_TRANSACTION)))
        except (CorruptStoreError, UnicodeDecodeError) as error:
            logger.error("parked: %s", error)  # noqa: TRY400  # a traceback adds nothing to the text
            # Work that cannot be read waits for an operator and does not hold up other work.
            errors = (*readable_errors(row), WorkError(from_us(now_us), str(error)))
            cursor.execute(SQL["park_work"], (work_id, errors_text(errors)))
    return items


def set_dues_back(cursor: apsw.Cursor, lost_us: int) -> int:
    """Move all due times back by ``lost_us``. Returns how many that were."""
    cursor.execute(SQL["set_dues_back"], (lost_us,))
    return cursor.connection.changes()


def limit_dues(cursor: apsw.Cursor, latest_us: int) -> int:
    """Limit due times to ``latest_us``. Returns how many were later."""
    cursor.execute(SQL["limit_dues"], (latest_us,))
    return cursor.connection.changes()


def hasten_lookups(cursor: apsw.Cursor, gateway: str, now_us: int) -> int:
    """Make the gateway's queued lookups due. Returns how many were not. Those that were due keep their order."""
    cursor.execute(SQL["hasten_lookups"], (gateway, now_us))
    return cursor.connection.changes()


def retry_dead(cursor: apsw.Cursor, merchant: str, where: DeadLetterFilter, now_us: int) -> int:
    """Queue the merchant's dead letters that match. Returns how many that were."""
    name, one = ("retry_dead", ()) if where.work_id is None else ("retry_dead_letter", (where.work_id,))
    count = 0
    for stream_name in names_seen_by(merchant):
        cursor.execute(SQL[name], (stream_name, now_us, where.gateway, where.state, *one))
        count += cursor.connection.changes()
    return count


def set_mode(cursor: apsw.Cursor, mode: GatewayMode, now_us: int) -> None:
    """Store the mode, in place of an earlier one."""
    cursor.execute(SQL["upsert_gateway_mode"], (*mode, now_us))
