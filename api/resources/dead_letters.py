"""Reads of dead letters from the store's queries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import falcon
import orjson

from actors.payments import Payments
from api import views
from api.callers import merchant_of
from api.operations import LIST_PROBLEMS, OPERATES, READ_PROBLEMS, Answer, Operation
from api.paging import CursorKind, Place, encode_cursor, page
from api.patterns import DEAD_LETTER_ID
from api.positions import generation_for
from api.problems import NOT_FOUND, ProblemError
from api.schemas.common import known_gateway
from api.schemas.dead_letters import DeadLetterListSchema, DeadLetterSchema, DeadLettersQuery
from api.screening.query import read_query, refuse_query
from store.port import DeadLetterFilter
from store.queries import DeadLetter, Queries


class DeadLetterResource:
    """``/v1/dead-letters/{dead_letter_id}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getDeadLetter",
            scopes=OPERATES,
            tag="Dead letters",
            summary="Get a dead letter",
            description="Returns a dead letter with the errors of its attempts. The answer is 404 once its work is "
            "retried.",
            answer=Answer(200, "The dead letter.", DeadLetterSchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response, dead_letter_id: str) -> None:
        """Get a dead letter."""
        refuse_query(req)
        resp.data = orjson.dumps(views.dead_letter(find(self._queries, req, dead_letter_id)))


class DeadLettersResource:
    """``/v1/dead-letters``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listDeadLetters",
            scopes=OPERATES,
            tag="Dead letters",
            summary="List dead letters",
            description="Returns work that failed too often, or that nothing can handle, newest first. A dead letter "
            "is listed when it matches all given filters.",
            query=DeadLettersQuery,
            answer=Answer(200, "A page of dead letters.", DeadLetterListSchema),
            problems=LIST_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments = payments
        self._queries = queries
        self._schema = DeadLettersQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List dead letters."""
        query = read_query(req, self._schema)
        limit: int = query["limit"]
        place: Place | None = query.get("cursor")
        where = DeadLetterFilter(known_gateway(query, self._payments.gateway_currencies()), query.get("state"))
        rows = self._queries.dead_letters(
            merchant_of(req), where, before=None if place is None else place.key, limit=limit + 1
        )
        generation = generation_for(self._queries, place)
        resp.data = orjson.dumps(page(rows, limit, views.dead_letter, partial(_cursor, generation=generation)))


def find(queries: Queries, req: falcon.Request, dead_letter_id: str) -> DeadLetter:
    """The merchant's dead letter with this id. Raises ProblemError when there is none."""
    letter = None
    if DEAD_LETTER_ID.fullmatch(dead_letter_id):
        letter = queries.dead_letter(merchant_of(req), dead_letter_id)
    if letter is None:
        raise ProblemError(NOT_FOUND, "No such dead letter.")
    return letter


def _cursor(letter: DeadLetter, generation: int) -> str:
    return encode_cursor(CursorKind.DEAD_LETTERS, letter.item.work_id, generation)
