"""Corrections by operators: the final status of a transaction, and the balance of a customer."""

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
from api.operations import OPERATES, OPERATOR_PROBLEMS, Answer, Operation
from api.patterns import CUSTOMER_ID
from api.problems import (
    ALREADY_FINAL,
    DEAD_LETTER_BUSY,
    IDEMPOTENCY_KEY_REUSED,
    INSUFFICIENT_FUNDS,
    NO_SUCH_CUSTOMER,
    NOT_FOUND,
    NOT_POSSIBLE_NOW,
    REFUSED,
    STALE_VERSION,
    STILL_UNDER_WAY,
    ProblemError,
)
from api.replies import accepted, adjusted, reading_again, replied
from api.resources.transactions import find
from api.schemas.common import read_fields
from api.schemas.customers import AdjustmentSchema, CustomerSchema, read_adjustment
from api.schemas.transactions import ResolutionSchema, TransactionSchema
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
            summary="Resolve a transaction",
            description="For operators who confirmed the outcome with the provider. Sets a transaction without a "
            "final status to `completed` or `failed`, and keeps reason and evidence on record. A deposit with manual "
            "capture becomes `authorized` in place of `completed`. Send the `version` that you reviewed. If the "
            "provider reports a different result later, a review is opened. A transaction that is being sent to its "
            "gateway cannot be resolved. While a capture or void of an authorization is in progress, resolve the "
            "capture or void instead. To correct the money of a final transaction, adjust the balance.",
            body=ResolutionSchema,
            body_examples={
                "completed": {
                    "outcome": "completed",
                    "reason": "Listed on the provider's statement.",
                    "evidence": "statement of 21 November, line 7",
                    "version": 2,
                }
            },
            answer=Answer(200, "The transaction with its new status.", TransactionSchema),
            problems=(
                *OPERATOR_PROBLEMS,
                STALE_VERSION,
                ALREADY_FINAL,
                NOT_POSSIBLE_NOW,
                STILL_UNDER_WAY,
                DEAD_LETTER_BUSY,
                REFUSED,
            ),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments, self._queries = payments, queries
        self._schema = ResolutionSchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response, transaction_id: str) -> None:
        """Resolve a transaction."""
        refuse_query(req)
        merchant = merchant_of(req)
        view = find(self._queries, merchant, transaction_id)
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
            summary="Adjust a balance",
            description="For operators. Adds an amount, which may be negative, to the customer's available balance, "
            "and keeps reason and evidence on record. The balance never goes below zero.",
            body=AdjustmentSchema,
            body_examples={
                "decrease": {
                    "amount": "-10.50",
                    "currency": "USD",
                    "reason": "Credited twice.",
                    "evidence": "ticket 4711",
                }
            },
            takes_key=True,
            answer=Answer(
                201,
                "The customer with the new balance.",
                CustomerSchema,
                headers={"Location": "The path of the customer."},
                optional_headers={REPLAYED: "`true` when this is the replay of an adjustment with the same key."},
            ),
            problems=(*OPERATOR_PROBLEMS, INSUFFICIENT_FUNDS, NO_SUCH_CUSTOMER, IDEMPOTENCY_KEY_REUSED, REFUSED),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments, self._queries = payments, queries

    def on_post(self, req: falcon.Request, resp: falcon.Response, customer_id: str) -> None:
        """Adjust a balance."""
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
            assert view is not None  # customers are never deleted
        else:  # without a read: the adjustment is stored, so a failing store must not turn it into 503
            account = adjusted(reply)
            view = CustomerView(account.version, sorted(account.balances.items()))
        resp.status = falcon.HTTP_201
        resp.set_header("location", f"/v1/customers/{customer_id}")
        resp.data = orjson.dumps(views.customer(customer_id, view))


_OPERATION: Final = "adjustment"
