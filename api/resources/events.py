"""The feed of all events in global order. A request may wait for the next event without delaying other requests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import falcon
import orjson

from api import views
from api.callers import Callers, caller_of
from api.operations import LIST_PROBLEMS, READS, Answer, Operation
from api.positions import BEGINNING, Position, confirm, event_cursor, position_of
from api.schemas.events import EventListSchema, EventsQuery, MerchantEventListSchema, MerchantEventsQuery
from api.screening.query import read_query
from store.port import StoredEvent
from store.queries import Queries

LOOK_EVERY_S: Final = 0.25
"""The interval of the check for new events. One check serves all waiting requests of a process."""
WAITING_MAX: Final = 400
"""The largest number of waiting requests of a process. Further requests are answered at once."""
WAITING_EACH_MAX: Final = 100
"""The largest number of waiting requests of one merchant, so that other merchants can wait as well."""


class Feed:
    """The events after a position. New events are checked for once per ``LOOK_EVERY_S``, however many requests wait.

    All requests are answered when the service is ``stopping``.
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
        self._known_empty: dict[str | None, tuple[int, int]] = {}
        """By merchant, the positions between which the last read found nothing."""
        self._looked_at = float("-inf")
        self._waiting: Counter[str | None] = Counter()

    def read(
        self, merchant: str | None, after: int, limit: int, wait_s: float, confirm: Callable[[], None] = lambda: None
    ) -> Sequence[StoredEvent]:
        """The merchant's events after position ``after``; when there are none, those that arrive within ``wait_s``.

        ``merchant`` None: events of all merchants. ``confirm`` is called before each check, and raises when the access
        was revoked.
        """
        rows = self._queries.all_events(merchant, after=after, limit=limit)
        if rows or wait_s <= 0 or not self._has_room(merchant):
            return rows
        deadline = self._monotonic() + wait_s
        self._waiting[merchant] += 1
        try:
            while not rows and self._monotonic() < deadline and not self._stopping():
                self._sleep(min(LOOK_EVERY_S, max(deadline - self._monotonic(), 0.0)))
                confirm()
                newest = self._newest()
                if newest > after and not self._is_known_empty(merchant, after, newest):
                    rows = self._queries.all_events(merchant, after=after, limit=limit)
                    if not rows:  # events of other merchants, or uncommitted positions
                        self._known_empty[merchant] = (after, newest)
        finally:
            self._waiting[merchant] -= 1
            if not self._waiting[merchant]:
                del self._waiting[merchant]
        return rows

    def _has_room(self, merchant: str | None) -> bool:
        return self._waiting[merchant] < WAITING_EACH_MAX and self._waiting.total() < WAITING_MAX

    def _is_known_empty(self, merchant: str | None, after: int, newest: int) -> bool:
        first, last = self._known_empty.get(merchant, (0, 0))
        return first <= after and newest <= last

    def latest(self) -> int:
        """The position of the last event."""
        return self._queries.last_position()

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
            summary="List events",
            description="Returns all events above `after` by ascending position. To continue, send the position of "
            "the last event as `after`; no event is skipped or repeated. `next_cursor` is that position while more "
            "events are available. With `wait`, an answer without events is delayed by up to that many seconds. "
            "`after=latest` returns no events, and `next_cursor` is the last position so far. A position of an "
            "earlier generation, or beyond the end, gets 410: the database was restored to an earlier state.",
            query=EventsQuery,
            answer=Answer(200, "A page of events.", EventListSchema),
            problems=LIST_PROBLEMS,
            behind_keys={
                "description": "Returns your events after `after` in the order in which they were recorded. To "
                "continue, "
                "send the `cursor` of the last event as `after`; no event is skipped or repeated. `next_cursor` is "
                "that "
                "cursor while more events are available. With `wait`, an answer without events is delayed by up to "
                "that "
                "many seconds. `after=latest` returns no events, and `next_cursor` is the place after your last event "
                "so far. A cursor of an earlier generation gets 410: the database was restored to an earlier state.",
                "query": MerchantEventsQuery,
                "answer": Answer(200, "A page of events.", MerchantEventListSchema),
            },
        )
    }

    def __init__(self, feed: Feed, queries: Queries, callers: Callers, *, sees_all: bool) -> None:
        self._feed, self._queries, self._callers, self._sees_all = feed, queries, callers, sees_all
        self._schema = EventsQuery() if sees_all else MerchantEventsQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List events, or wait for the first."""
        query = read_query(req, self._schema)
        caller = caller_of(req)
        if query.get("after", BEGINNING) is None:
            resp.data = orjson.dumps({"items": [], "next_cursor": self._latest(caller.merchant)})
            return
        after = self._after(query, caller.merchant)
        limit: int = query["limit"]
        generation = confirm(self._queries, after)  # before the wait, so that an unknown position is refused at once
        while True:
            rows = self._feed.read(
                None if self._sees_all else caller.merchant,
                after.position,
                limit + 1,
                0 if req.method == "HEAD" else query["wait"],
                lambda: self._callers.confirm(caller.presented),
            )
            before, generation = generation, confirm(self._queries, after)
            if before == generation:  # otherwise the events may be of another generation
                break
        shown = [views.event(row, generation, sees_all=self._sees_all) for row in rows[:limit]]
        following = self._place(generation, rows[limit - 1]) if len(rows) > limit else None
        resp.data = orjson.dumps({"items": shown, "next_cursor": following})

    def _after(self, query: Mapping[str, Any], merchant: str) -> Position:
        if "after" not in query:
            return BEGINNING
        if self._sees_all:
            return Position.from_wire(query["after"])
        return position_of(self._queries, merchant, query["after"])

    def _latest(self, merchant: str) -> str:
        """The position or cursor of the last event."""
        while True:
            generation = self._queries.feed().generation
            if self._sees_all:
                place = str(Position(generation, self._feed.latest()).on_wire)
            else:
                place = event_cursor(generation, self._queries.newest_event(merchant))
            if self._queries.feed().generation == generation:
                return place

    def _place(self, generation: int, row: StoredEvent) -> str:
        if self._sees_all:
            return str(Position(generation, row.position).on_wire)
        return event_cursor(generation, row)
