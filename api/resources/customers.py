"""Reads of customers: balances, and the events of their streams, from the store's queries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import falcon
import orjson

from api import views
from api.callers import merchant_of
from api.operations import LIST_PROBLEMS, READ_PROBLEMS, READS, Answer, Operation
from api.paging import CursorKind, Place, encode_cursor, page
from api.patterns import CUSTOMER_ID
from api.positions import generation_for
from api.problems import NOT_FOUND, ProblemError
from api.schemas.customers import CustomerSchema, VersionsQuery
from api.schemas.events import EventListSchema, MerchantEventListSchema
from api.screening.query import read_query, refuse_query
from store.port import StoredEvent, StreamKey
from store.queries import Queries


class CustomerResource:
    """``/v1/customers/{customer_id}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getCustomer",
            scopes=READS,
            tag="Customers",
            summary="Get a customer",
            description="Returns a customer with its balances by currency. A customer exists from its first event on.",
            answer=Answer(200, "The customer.", CustomerSchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response, customer_id: str) -> None:
        """Get a customer."""
        refuse_query(req)
        view = self._queries.customer(_stream(req, customer_id))
        if view is None:
            raise _no_customer()
        resp.data = orjson.dumps(views.customer(customer_id, view))


class CustomerEventsResource:
    """``/v1/customers/{customer_id}/events``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listCustomerEvents",
            scopes=READS,
            tag="Customers",
            summary="List a customer's events",
            description="Returns all events of a customer's stream by ascending version.",
            query=VersionsQuery,
            answer=Answer(200, "A page of events.", EventListSchema),
            problems=(*LIST_PROBLEMS, NOT_FOUND),
            behind_keys={"answer": Answer(200, "A page of events.", MerchantEventListSchema)},
        )
    }

    def __init__(self, queries: Queries, *, sees_all: bool) -> None:
        self._queries, self._sees_all = queries, sees_all
        self._schema = VersionsQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response, customer_id: str) -> None:
        """List a customer's events."""
        query = read_query(req, self._schema)
        stream = _stream(req, customer_id)
        place: Place | None = query.get("cursor")
        after, limit = 0 if place is None else int(place.key), int(query["limit"])
        rows = self._queries.stream_events(stream, after=after, limit=limit + 1)
        if not rows and (after == 0 or self._queries.customer(stream) is None):
            generation_for(self._queries, place)
            raise _no_customer()
        generation = generation_for(self._queries, place)
        show = partial(views.event, generation=generation, sees_all=self._sees_all)
        resp.data = orjson.dumps(page(rows, limit, show, partial(_cursor, generation=generation)))


def _stream(req: falcon.Request, customer_id: str) -> StreamKey:
    if CUSTOMER_ID.fullmatch(customer_id) is None:
        raise _no_customer()
    return StreamKey(merchant_of(req), customer_id)


def _no_customer() -> ProblemError:
    return ProblemError(NOT_FOUND, "No such customer.")


def _cursor(stored: StoredEvent, generation: int) -> str:
    return encode_cursor(CursorKind.VERSIONS, str(stored.version), generation)
