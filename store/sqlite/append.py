"""Appends writes one by one within an open transaction: all checks of a write, then all of its rows.

For writes that one statement (``batch``) does not store. Each is answered on its own, whatever is wrong with the
others. Never begins, commits or waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import apsw

from store.numbering import numbered_events
from store.port import (
    AppendResult,
    Claim,
    Committed,
    Conflict,
    Duplicate,
    EncodedEvent,
    Fenced,
    Head,
    Part,
    Write,
)
from store.sqlite.batch import INSERT, AppendValues
from store.sqlite.rows import event_of
from store.sqlite.statements import SQL

MISSED_EVENTS_MAX: Final = 256
"""The number of events in one conflict. A writer further behind gets the rest with its next conflict."""

_SELECT_HEAD: Final = SQL["select_kept_head"]
_SELECT_CLAIM: Final = SQL["select_claim"]
_SELECT_TOKEN: Final = SQL["select_work_token"]
_COMMITTED: Final = Committed()


class Appender:
    """Appends one batch. ``now_us`` is the time of all of it."""

    def __init__(self, cursor: apsw.Cursor, now_us: int) -> None:
        self._cursor = cursor
        self._now_us = now_us

    def append(self, write: Write) -> AppendResult:
        """Check ``write`` against the store, and insert its rows unless it is refused.

        Raises UnstorableError when the versions of its events do not follow its head.
        """
        events = numbered_events(write)
        if events:
            answer = self._against_head(write, events)
            if answer is not None:
                return answer
        elif write.confirm and not self._is_past(write):
            return Conflict(())
        repeatable = not events and all(part.claims for part in write.parts)
        answer = self._against_claims_and_fences(write, repeatable=repeatable)
        if answer is not None:
            return answer
        self._insert(write)
        if write.confirm:
            self._write_something()
        return _COMMITTED

    def _against_head(self, write: Write, events: Sequence[EncodedEvent]) -> AppendResult | None:
        """None when the events continue the stream's head. Committed when exactly these events are stored already."""
        (stream_name, stream_id), believed = write.stream, write.head
        row = self._cursor.execute(_SELECT_HEAD, (stream_name, stream_id)).fetchone()
        if (believed == Head()) if row is None else (row == believed):
            return None
        if not self._is_past(write):
            return Conflict(())
        limit = max(MISSED_EVENTS_MAX, len(events))
        after = (stream_name, stream_id, believed.version, limit)
        stored = [event_of(missed) for missed in self._cursor.execute(SQL["select_events_after"], after)]
        if len(stored) >= len(events) and all(a.event_id == b.event_id for a, b in zip(events, stored, strict=False)):
            return _COMMITTED
        return Conflict(tuple(stored[:MISSED_EVENTS_MAX]))

    def _is_past(self, write: Write) -> bool:
        """Whether the writer's head is an event of the stream, or its beginning."""
        if write.head == Head():
            return True
        found = self._cursor.execute(SQL["select_event_hash"], (*write.stream, write.head.version)).fetchone()
        return found is not None and found[0] == write.head.hash

    def _against_claims_and_fences(self, write: Write, *, repeatable: bool) -> AppendResult | None:
        """The first part with a claim that is taken, or with a stale token.

        A write without events whose parts all have claims (``repeatable``) is stored already when its claims are taken
        by equal values.
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

    def _write_something(self) -> None:
        """Force a synced COMMIT by rewriting the first page, because perhaps no row changed."""
        (version,) = self._cursor.execute("PRAGMA user_version").fetchall()[0]
        self._cursor.execute(f"PRAGMA user_version = {version}")

    def _insert(self, write: Write) -> None:
        rows = replace(write, parts=tuple(replace(part, work=()) for part in write.parts))
        self._cursor.execute(INSERT, AppendValues([rows], self._now_us).values)
        for part in write.parts:
            for change in part.work:  # one after the other: several may change the same work
                alone = Write(write.stream, write.head, (Part(work=(change,)),))
                self._cursor.execute(INSERT, AppendValues([alone], self._now_us).values)
