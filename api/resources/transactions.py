"""Reads of transactions from the store's queries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import falcon
import orjson

from actors.payments import Payments
from api import views
from api.callers import merchant_of
from api.operations import LIST_PROBLEMS, READ_PROBLEMS, READS, Answer, Operation
from api.paging import CursorKind, Place, encode_cursor, page
from api.patterns import TRANSACTION_ID
from api.positions import generation_for
from api.problems import NOT_FOUND, ProblemError
from api.schemas.common import known_gateway
from api.schemas.transactions import TransactionListSchema, TransactionSchema, TransactionsQuery
from api.screening.query import read_query, refuse_query
from store.queries import Queries, TransactionFilter, TransactionView


class TransactionResource:
    """``/v1/transactions/{transaction_id}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getTransaction",
            scopes=READS,
            tag="Transactions",
            summary="Get a transaction",
            description="Returns a transaction in its current state. Poll it after a command until `status` is "
            "`completed` or `failed`.",
            answer=Answer(200, "The transaction.", TransactionSchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response, transaction_id: str) -> None:
        """Get a transaction."""
        refuse_query(req)
        view = None
        if TRANSACTION_ID.fullmatch(transaction_id):
            view = self._queries.transaction(merchant_of(req), transaction_id)
        if view is None:
            raise ProblemError(NOT_FOUND, "No such transaction.")
        resp.data = orjson.dumps(views.transaction_view(view))


class TransactionsResource:
    """``/v1/transactions``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listTransactions",
            scopes=READS,
            tag="Transactions",
            summary="List transactions",
            description="Returns transactions, newest first. A transaction is listed when it matches all given "
            "filters.",
            query=TransactionsQuery,
            answer=Answer(200, "A page of transactions.", TransactionListSchema),
            problems=LIST_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments = payments
        self._queries = queries
        self._schema = TransactionsQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List transactions."""
        query = read_query(req, self._schema)
        limit: int = query["limit"]
        place: Place | None = query.get("cursor")
        rows = self._queries.transactions(
            merchant_of(req), self._filter(query), before=None if place is None else place.key, limit=limit + 1
        )
        generation = generation_for(self._queries, place)
        resp.data = orjson.dumps(page(rows, limit, views.transaction_view, partial(_cursor, generation=generation)))

    def _filter(self, query: Mapping[str, Any]) -> TransactionFilter:
        return TransactionFilter(
            customer_id=query.get("customer_id"),
            status=query.get("status"),
            gateway=known_gateway(query, self._payments.gateway_currencies()),
            kind=query.get("type"),
            created_from=query.get("created_from"),
            created_to=query.get("created_to"),
        )


def _cursor(view: TransactionView, generation: int) -> str:
    return encode_cursor(CursorKind.TRANSACTIONS, view.transaction.transaction_id, generation)
