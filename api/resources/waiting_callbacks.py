"""Reads of callbacks that wait for their transaction, from the store's queries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Final

import falcon
import orjson

from actors.operations.waiting_callbacks import queue_of
from actors.payments import Payments
from api import views
from api.callers import merchant_of
from api.operations import LIST_PROBLEMS, OPERATES, READ_PROBLEMS, Answer, Operation
from api.paging import CursorKind, Place, encode_cursor, page
from api.patterns import DEAD_LETTER_ID
from api.positions import generation_for
from api.problems import NOT_FOUND, ProblemError
from api.schemas.callbacks import WaitingCallbackListSchema, WaitingCallbackSchema, WaitingCallbacksQuery
from api.schemas.common import known_gateway
from api.screening.query import read_query, refuse_query
from store.port import Action, WorkState
from store.queries import DeadLetter, Queries

_WAITS: Final = frozenset({WorkState.QUEUED, WorkState.LEASED})


class WaitingCallbackResource:
    """``/v1/waiting-callbacks/{callback_id}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getWaitingCallback",
            scopes=OPERATES,
            tag="Callbacks",
            summary="Get a waiting callback",
            description="Returns a verified callback that waits for its transaction. The answer is 404 after it was "
            "matched or became a review. Callbacks without a known transaction are visible to the merchant `main` "
            "only.",
            answer=Answer(200, "The callback.", WaitingCallbackSchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response, callback_id: str) -> None:
        """Get a waiting callback."""
        refuse_query(req)
        found = self._queries.work(merchant_of(req), callback_id) if DEAD_LETTER_ID.fullmatch(callback_id) else None
        if found is None or found.item.action is not Action.APPLY or found.state not in _WAITS:
            raise ProblemError(NOT_FOUND, "No such waiting callback.")
        resp.data = orjson.dumps(views.waiting_callback(found))


class WaitingCallbacksResource:
    """``/v1/waiting-callbacks``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listWaitingCallbacks",
            scopes=OPERATES,
            tag="Callbacks",
            summary="List waiting callbacks",
            description="Returns verified callbacks that wait for their transaction, newest first. Callbacks without "
            "a known transaction are visible to the merchant `main` only.",
            query=WaitingCallbacksQuery,
            answer=Answer(200, "A page of callbacks.", WaitingCallbackListSchema),
            problems=LIST_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments = payments
        self._queries = queries
        self._schema = WaitingCallbacksQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List waiting callbacks."""
        query = read_query(req, self._schema)
        limit: int = query["limit"]
        gateway = known_gateway(query, self._payments.gateway_currencies())
        queue = None if gateway is None else queue_of(gateway)
        place: Place | None = query.get("cursor")
        rows = self._queries.waiting_callbacks(
            merchant_of(req), queue, before=None if place is None else place.key, limit=limit + 1
        )
        generation = generation_for(self._queries, place)
        resp.data = orjson.dumps(page(rows, limit, views.waiting_callback, partial(_cursor, generation=generation)))


def _cursor(letter: DeadLetter, generation: int) -> str:
    return encode_cursor(CursorKind.CALLBACKS, letter.item.work_id, generation)
