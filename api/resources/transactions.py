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


def find(queries: Queries, merchant: str, transaction_id: str) -> TransactionView:
    """The merchant's transaction. Raises ProblemError (404) for any other id, and StoreUnavailableError."""
    view = queries.transaction(merchant, transaction_id) if TRANSACTION_ID.fullmatch(transaction_id) else None
    if view is None:
        raise ProblemError(NOT_FOUND, "No such transaction.")
    return view


def list_page(queries: Queries, merchant: str, where: TransactionFilter, query: Mapping[str, Any]) -> dict[str, Any]:
    """The page of the merchant's matching transactions that ``query`` (``limit``, ``cursor``) asks for."""
    limit: int = query["limit"]
    place: Place | None = query.get("cursor")
    rows = queries.transactions(merchant, where, before=None if place is None else place.key, limit=limit + 1)
    generation = generation_for(queries, place)
    return page(rows, limit, views.transaction_view, partial(_cursor, generation=generation))


class TransactionResource:
    """``/v1/transactions/{transaction_id}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getTransaction",
            scopes=READS,
            tag="Transactions",
            summary="Get a transaction",
            description="Returns a transaction in its current state. Poll it after a command until `status` is "
            "final: `completed`, `failed` or `voided`. `authorized` lasts until a capture or void.",
            answer=Answer(200, "The transaction.", TransactionSchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response, transaction_id: str) -> None:
        """Get a transaction."""
        refuse_query(req)
        resp.data = orjson.dumps(views.transaction_view(find(self._queries, merchant_of(req), transaction_id)))


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
        resp.data = orjson.dumps(list_page(self._queries, merchant_of(req), self._filter(query), query))

    def _filter(self, query: Mapping[str, Any]) -> TransactionFilter:
        return TransactionFilter(
            customer_id=query.get("customer_id"),
            status=query.get("status"),
            gateway=known_gateway(query, self._payments.gateway_currencies()),
            kind=query.get("type"),
            parent_id=query.get("parent_id"),
            gateway_reference=query.get("gateway_reference"),
            correlation_id=query.get("correlation_id"),
            created_from=query.get("created_from"),
            created_to=query.get("created_to"),
        )


def _cursor(view: TransactionView, generation: int) -> str:
    return encode_cursor(CursorKind.TRANSACTIONS, view.transaction.transaction_id, generation)
