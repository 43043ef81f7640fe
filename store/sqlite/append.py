"""Appending within an open transaction: all checks of a write, then all of its rows. Never begins, commits or waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from store.numbering import numbered_events
from store.port import (
    AppendResult,
    Claim,
    CloseWork,
    Committed,
    Conflict,
    Duplicate,
    EncodedEvent,
    Fenced,
    Head,
    MoveWork,
    OpenWork,
    WorkState,
    Write,
)
from store.sqlite.rows import errors_text, event_of, to_us, transaction_row
from store.sqlite.statements import SQL

MISSED_EVENTS_MAX: Final = 256
"""How many events a conflict tells at once; a writer further behind is told the rest by its next conflict."""

_SELECT_HEAD: Final = SQL["select_head"]
_INSERT_EVENT: Final = SQL["insert_event"]
_UPSERT_TRANSACTION: Final = SQL["upsert_transaction"]
_UPSERT_BALANCE: Final = SQL["upsert_balance"]
_UPSERT_REVIEW: Final = SQL["upsert_review"]
_SELECT_CLAIM: Final = SQL["select_claim"]
_INSERT_CLAIM: Final = SQL["insert_claim"]
_SELECT_TOKEN: Final = SQL["select_work_token"]
_INSERT_WORK: Final = SQL["insert_work"]
_MOVE_WORK: Final = SQL["move_work"]
_DELETE_WORK: Final = SQL["delete_work"]
_COMMITTED: Final = Committed()


class Appender:
    """Appends one batch. ``now_us`` is the time of all of it."""

    def __init__(self, cursor: apsw.Cursor, now_us: int) -> None:
        self._cursor = cursor
        self._now_us = now_us
        self._alive: dict[str, bool] = {}

    def append(self, write: Write) -> AppendResult:
        """Check ``write`` against the store as it is now and put in its rows if it holds.

        Raises UnstorableError when its events do not number on from its head.
        """
        events = numbered_events(write)
        if events:
            answer = self._against_head(write, events)
            if answer is not None:
                return answer
        answer = self._against_claims_and_fences(write, repeatable=not events)
        if answer is not None:
            return answer
        self._insert(write, events)
        return _COMMITTED

    def _against_head(self, write: Write, events: Sequence[EncodedEvent]) -> AppendResult | None:
        """None when the events go on from the stream's head; Committed when exactly they are there already."""
        (stream_name, stream_id), believed = write.stream, write.head
        row = self._cursor.execute(_SELECT_HEAD, (stream_name, stream_id)).fetchone()
        if (believed == Head()) if row is None else (row == believed):
            return None
        if not self._is_past(write):
            return Conflict(())
        limit = max(MISSED_EVENTS_MAX, len(events))
        after = (stream_name, stream_id, believed.version, limit)
        there = [event_of(missed) for missed in self._cursor.execute(SQL["select_events_after"], after)]
        if len(there) >= len(events) and all(a.event_id == b.event_id for a, b in zip(events, there, strict=False)):
            return _COMMITTED
        return Conflict(tuple(there[:MISSED_EVENTS_MAX]))

    def _is_past(self, write: Write) -> bool:
        """Whether the writer's head is an event of the stream (or its beginning)."""
        if write.head == Head():
            return True
        found = self._cursor.execute(SQL["select_event_hash"], (*write.stream, write.head.version)).fetchone()
        return found is not None and found[0] == write.head.hash

    def _against_claims_and_fences(self, write: Write, *, repeatable: bool) -> AppendResult | None:
        """The first part, in their order, that claims what is taken or carries a stale token.

        A write without events (``repeatable``) whose claims are all held by the very same values is itself what
        took them.
        """
        cursor = self._cursor
        taken: dict[tuple[str, str], Claim] = {}
        duplicate: Duplicate | None = None
        same = 0
        for number, part in enumerate(write.parts):
            for claim in part.claims:
                key = (claim.scope, claim.key)
                row = cursor.execute(_SELECT_CLAIM, key).fetchone()
                holder = taken.get(key) if row is None else Claim(claim.scope, claim.key, row[0])
                if row is not None and row[0] == claim.value:
                    same += 1
                if holder is not None and duplicate is None:
                    duplicate = Duplicate(number, holder)
                taken[key] = claim
            fence = part.fence
            if fence is not None and duplicate is None:
                row = cursor.execute(_SELECT_TOKEN, (fence.work_id,)).fetchone()
                if row is None or row[0] != fence.token:
                    return Fenced(number)
        if duplicate is not None and repeatable and same == sum(len(part.claims) for part in write.parts):
            return _COMMITTED
        return duplicate

    def _insert(self, write: Write, events: Sequence[EncodedEvent]) -> None:
        execute = self._cursor.execute
        stream_name, stream_id = stream = write.stream
        for event_id, version, type_, body, hash_ in events:
            execute(_INSERT_EVENT, (stream_name, stream_id, version, event_id, type_, body, hash_))
        for transaction in write.transactions:
            execute(_UPSERT_TRANSACTION, transaction_row(stream, transaction))
        for currency, balance in write.balances:
            execute(_UPSERT_BALANCE, (stream_name, stream_id, currency, balance.available, balance.reserved))
        for review in write.reviews:
            closed_at = None if review.closed_at is None else to_us(review.closed_at)
            opened_at = to_us(review.opened_at)
            execute(
                _UPSERT_REVIEW,
                (review.review_id, *stream, review.transaction_id, review.reason, review.state, opened_at, closed_at),
            )
        for part in write.parts:
            for claim in part.claims:
                execute(_INSERT_CLAIM, claim)
            for change in part.work:
                if isinstance(change, CloseWork):
                    execute(_DELETE_WORK, (change.work_id,))
                elif isinstance(change, OpenWork):
                    self._open(write, change)
                else:
                    self._move(change)

    def _open(self, write: Write, work: OpenWork) -> None:
        # An owner that is held for dead would keep the work for ever: nobody looks for it again.
        owner = work.owner if work.owner is not None and self._lives(work.owner) else None
        self._cursor.execute(
            _INSERT_WORK,
            (
                work.work_id,
                *write.stream,
                work.transaction_id,
                work.gateway,
                work.action,
                work.event_type,
                WorkState.QUEUED if owner is None else WorkState.LEASED,
                owner,
                self._now_us,
                work.payload,
            ),
        )

    def _move(self, work: MoveWork) -> None:
        due_us = self._now_us + round(work.delay_s * 1_000_000)
        errors = errors_text(work.errors)
        self._cursor.execute(
            _MOVE_WORK, (work.work_id, work.action, work.state, work.attempts, due_us, errors, work.doubt)
        )

    def _lives(self, owner: str) -> bool:
        known = self._alive.get(owner)
        if known is None:
            known = self._cursor.execute(SQL["select_owner"], (owner,)).fetchone() is not None
            self._alive[owner] = known
        return known
