"""What a person settles because the machine must not: how a transaction ended, and what a customer has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import falcon
import orjson

from actors.operations.adjust import AdjustOperation
from actors.operations.resolve import ResolveOperation
from actors.payments import Payments
from actors.replies import Replayed
from api import views
from api.body import read_object
from api.callers import merchant_of
from api.idempotency import REPLAYED, once_of, read_key
from api.operations import OPERATES, ORDER_PROBLEMS, Answer, Operation
from api.patterns import CUSTOMER_ID, TRANSACTION_ID
from api.problems import (
    ALREADY_FINAL,
    DEAD_LETTER_BUSY,
    IDEMPOTENCY_KEY_REUSED,
    INSUFFICIENT_FUNDS,
    NO_SUCH_CUSTOMER,
    NOT_FOUND,
    REFUSED,
    STALE_VERSION,
    STILL_UNDER_WAY,
    ProblemError,
)
from api.replies import accepted, adjusted, reading_again, replied
from api.requests import AdjustmentSchema, ResolutionSchema, read_adjustment, read_fields
from api.responses import CustomerSchema, TransactionSchema
from api.screening.query import refuse_query
from api.tracing import metadata
from domain.commands import Adjust, Resolve
from store.port import StreamKey
from store.queries import CustomerView, Queries


class ResolutionResource:
    """``/v1/transactions/{transaction_id}/resolution``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="resolveTransaction",
            scopes=OPERATES,
            tag="Transactions",
            summary="Say how it ended",
            description="For a person who has asked the provider himself: ends a transaction that has no end yet, as "
            "`completed` or `failed`, with reason and evidence on record. `version` is the transaction's, as he saw "
            "it. A later word of the provider that contradicts him opens a review. One that is on its way to its "
            "gateway cannot be settled; nor can one that is final, whose money `adjustments` correct.",
            body=ResolutionSchema,
            body_examples={
                "it happened": {
                    "outcome": "completed",
                    "reason": "Seen on the provider's statement.",
                    "evidence": "statement of 21 November, line 7",
                    "version": 2,
                }
            },
            answer=Answer(200, "The transaction, final.", TransactionSchema),
            problems=(*ORDER_PROBLEMS, STALE_VERSION, ALREADY_FINAL, STILL_UNDER_WAY, DEAD_LETTER_BUSY, REFUSED),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments, self._queries = payments, queries
        self._schema = ResolutionSchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response, transaction_id: str) -> None:
        """Settle it."""
        refuse_query(req)
        merchant = merchant_of(req)
        view = self._queries.transaction(merchant, transaction_id) if TRANSACTION_ID.fullmatch(transaction_id) else None
        if view is None:
            raise ProblemError(NOT_FOUND, "No such transaction.")
        given = read_fields(read_object(req), self._schema)
        reason: str = given["reason"]
        command = Resolve(transaction_id, given["outcome"], given["version"], reason)
        work = self._queries.work(merchant, transaction_id)
        about = replace(metadata(req), reason=reason, evidence=given["evidence"])
        stream = StreamKey(merchant, view.transaction.customer_id)
        request = ResolveOperation.on(work, command, about)
        reply = replied(lambda: self._payments.execute(stream, request), req, transaction_id)
        resp.data = orjson.dumps(views.transaction(accepted(reply)))


class AdjustmentResource:
    """``/v1/customers/{customer_id}/adjustments``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="adjustBalance",
            scopes=OPERATES,
            tag="Customers",
            summary="Correct a balance",
            description="For a person: adds the amount, which may be negative, to what the customer has available, "
            "with reason and evidence on record. Never below zero.",
            body=AdjustmentSchema,
            body_examples={
                "less": {
                    "amount": "-10.50",
                    "currency": "USD",
                    "reason": "Credited twice.",
                    "evidence": "ticket 4711",
                }
            },
            takes_key=True,
            answer=Answer(
                201,
                "The customer with the corrected balance.",
                CustomerSchema,
                headers={"Location": "Where the customer is."},
                optional_headers={REPLAYED: "`true` when the same correction was made before under the same key."},
            ),
            problems=(*ORDER_PROBLEMS, INSUFFICIENT_FUNDS, NO_SUCH_CUSTOMER, IDEMPOTENCY_KEY_REUSED, REFUSED),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments, self._queries = payments, queries

    def on_post(self, req: falcon.Request, resp: falcon.Response, customer_id: str) -> None:
        """Correct it."""
        refuse_query(req)
        if CUSTOMER_ID.fullmatch(customer_id) is None:
            raise ProblemError(NOT_FOUND, "No such customer.")
        key = read_key(req)
        given = read_adjustment(read_object(req))
        stream = StreamKey(merchant_of(req), customer_id)
        if self._queries.customer(stream) is None:
            raise ProblemError(NOT_FOUND, "No such customer.")
        adjustment_id = self._payments.new_transaction_id()
        command = Adjust(adjustment_id, given.money, given.reason, given.evidence)
        said: list[Any] = [customer_id, given.money.minor, given.money.currency, given.reason, given.evidence]
        once = None if key is None else once_of(_OPERATION, stream.name, key, said)
        request = AdjustOperation(command, metadata(req), once)
        reply = replied(lambda: self._payments.execute(stream, request), req, None)
        if isinstance(reply, Replayed):
            resp.set_header(REPLAYED, "true")
            with reading_again(f"/v1/customers/{customer_id}"):
                view = self._queries.customer(stream)
            assert view is not None  # nothing of a customer is ever deleted
        else:  # not asked of the store, which may not answer now: it is corrected, and "not stored" would be untrue
            account = adjusted(reply)
            view = CustomerView(account.version, sorted(account.balances.items()))
        resp.status = falcon.HTTP_201
        resp.set_header("location", f"/v1/customers/{customer_id}")
        resp.data = orjson.dumps(views.customer(customer_id, view))


_OPERATION: Final = "adjustment"
