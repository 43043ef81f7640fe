"""The feed of all events in global order. Whoever asks may wait for the next one, and holds up nobody by that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

import falcon
import orjson

from api import views
from api.callers import caller_of
from api.operations import READ_PROBLEMS, READS, Answer, Operation
from api.query import read_query
from api.requests import EventsQuery
from api.responses import EventListSchema
from store.port import StoredEvent
from store.queries import Queries

LOOK_EVERY_S: Final = 0.25
"""How soon who waits is told of a new event. One look serves all who wait in a process."""
WAITING_MAX: Final = 100
"""Requests of a process that may wait at a time; further ones are answered at once."""


class Feed:
    """Where all events end, looked at no more often than ``LOOK_EVERY_S``, however many ask.

    Nobody waits any longer once the service is ``stopping``.
    """

    def __init__(
        self,
        queries: Queries,
        stopping: Callable[[], bool] = lambda: False,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._queries, self._stopping, self._monotonic, self._sleep = queries, stopping, monotonic, sleep
        self._last = 0
        self._barren: dict[str | None, int] = {}
        """Up to which position nothing new was found, by whose events were asked for."""
        self._looked_at = float("-inf")
        self._waiting = 0

    def read(self, merchant: str | None, after: int, limit: int, wait_s: float) -> Sequence[StoredEvent]:
        """The merchant's events above position ``after``; when there are none, those that come within ``wait_s``.

        ``merchant`` None: everybody's.
        """
        rows = self._queries.all_events(merchant, after=after, limit=limit)
        if rows or wait_s <= 0 or self._waiting >= WAITING_MAX:
            return rows
        deadline = self._monotonic() + wait_s
        self._waiting += 1
        try:
            while not rows and self._monotonic() < deadline and not self._stopping():
                self._sleep(min(LOOK_EVERY_S, max(deadline - self._monotonic(), 0.0)))
                newest = self._newest()
                if newest > max(after, self._barren.get(merchant, 0)):
                    rows = self._queries.all_events(merchant, after=after, limit=limit)
                    if not rows:  # others' events, or positions of what was never committed: nobody looks again
                        self._barren[merchant] = newest
        finally:
            self._waiting -= 1
        return rows

    def _newest(self) -> int:
        now = self._monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._last = self._queries.last_position()
        return self._last


class EventsResource:
    """``/v1/events``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listEvents",
            scopes=READS,
            tag="Events",
            summary="Everything that happened",
            description="All events by ascending position, above `after`. Read on with `after` = the last position "
            "that you got: nothing is ever skipped, and nothing comes twice. `next_cursor` is that position while more "
            "follows at once. With `wait`, an answer without events comes only after so many seconds.",
            query=EventsQuery,
            answer=Answer(200, "A page of events.", EventListSchema),
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._schema = EventsQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List events, or wait for one."""
        query = read_query(req, self._schema)
        limit: int = query["limit"]
        caller = caller_of(req)
        rows = self._feed.read(None if caller.sees_all else caller.merchant, query["after"], limit + 1, query["wait"])
        shown = rows[:limit]
        following = str(shown[-1].position) if len(rows) > limit else None
        resp.data = orjson.dumps({"items": [views.event(row) for row in shown], "next_cursor": following})
