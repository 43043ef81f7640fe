"""The rows of many writes, and what the writes expect of the store, as the values of one statement.

``append.sql`` defines the order of the arrays and of their items.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from store.numbering import numbered_events
from store.port import CloseWork, EncodedEvent, Head, OpenWork, Part, Write
from store.sqlite.rows import DIALECT, balances_json, errors_text, review_values, transaction_values

DEFINITION: Final = DIALECT.expand(Path(__file__).with_name("append.sql").read_text(encoding="utf-8"))
"""The view that a connection creates before it can insert a batch."""
INSERT: Final = "INSERT INTO temp.batch VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"

_Rows = list[tuple[Any, ...]]
_BEGINNING: Final = Head()


class AppendValues:
    """``writes`` as the values of INSERT. ``now_us`` is the time of all of them.

    Raises UnstorableError when the versions of a write's events do not follow its head, and one of
    ``store.errors.UNSTORABLE``.
    """

    def __init__(self, writes: Sequence[Write], now_us: int) -> None:
        self._now_us = now_us
        self._touched: list[object] = []
        self._moved_heads: _Rows = []
        self._new_heads: _Rows = []
        self._fences: _Rows = []
        self._events: _Rows = []
        self._transactions: _Rows = []
        self._reviews: _Rows = []
        self._claims: _Rows = []
        self._opened: _Rows = []
        self._moved: _Rows = []
        self._closed: _Rows = []
        for write in writes:
            self._add(write)
        expected = (self._moved_heads, self._new_heads, self._fences)
        read_tables = (self._transactions, self._reviews, self._claims)
        work = (self._opened, self._moved, self._closed)
        self.values: Final = tuple(map(_json, (*expected, self._events, *read_tables, *work)))
        """For INSERT: it stores all writes, or none when the store is not as one of them expects."""
        self.independent: Final = len(set(self._touched)) == len(self._touched)
        """Whether no two of the writes, and no two changes of one, touch the same stream, work or claim."""

    def _add(self, write: Write) -> None:
        stream_name, stream_id = stream = write.stream
        events = numbered_events(write)
        if events:
            self._touched.append(stream)
            last = events[-1]
            end = (last.version, last.hash.hex(), balances_json(write.balances))
            before = write.head
            if before == _BEGINNING:
                self._new_heads.append((stream_name, stream_id, *end))
            else:
                self._moved_heads.append((stream_name, stream_id, before.version, before.hash.hex(), *end))
            self._events += [_event_row(stream_name, stream_id, event) for event in events]
        for part in write.parts:
            self._add_part(stream_name, stream_id, part)
        self._transactions += [transaction_values(stream_name, stream_id, one) for one in write.transactions]
        self._reviews += [review_values(stream_name, stream_id, review) for review in write.reviews]

    def _add_part(self, stream_name: str, stream_id: str, part: Part) -> None:
        for claim in part.claims:
            self._touched.append(("claim", claim.scope, claim.key))
            self._claims.append((claim.scope, claim.key, claim.value.hex()))
        fence = part.fence
        if fence is not None:
            self._fences.append((fence.work_id, fence.token))
            if len(part.work) != 1 or part.work[0].work_id != fence.work_id:
                self._touched.append(fence.work_id)  # it is checked, so no other write may change it
        for change in part.work:
            work_id = change.work_id
            self._touched.append(work_id)
            if isinstance(change, CloseWork):
                self._closed.append((work_id,))
            elif isinstance(change, OpenWork):
                payload = None if change.payload is None else change.payload.hex()
                what = (change.transaction_id, change.gateway, change.action, change.event_type, change.owner, payload)
                self._opened.append((work_id, stream_name, stream_id, *what, self._now_us))
            else:
                due_us = self._now_us + round(change.delay_s * 1_000_000)
                how = (change.state, change.attempts, due_us, errors_text(change.errors), change.certainty)
                self._moved.append((work_id, change.action, *how))


def _event_row(stream_name: str, stream_id: str, event: EncodedEvent) -> tuple[Any, ...]:
    event_id, version, type_, body, hash_ = event
    return stream_name, stream_id, version, event_id, type_, body.hex(), hash_.hex()


def _json(rows: _Rows) -> str | None:
    return orjson.dumps(rows).decode() if rows else None
