"""Taking on deposits: a validated command goes to the actors, and what they reply becomes the answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar, Final

import falcon
import orjson

from actors.payments import Payments
from actors.replies import Reply, Uncertain
from api import views
from api.body import read_object
from api.callers import merchant_of
from api.idempotency import refuse_key
from api.operations import Answer, Operation
from api.problems import (
    BODY_TOO_LARGE,
    IDEMPOTENCY_KEY_UNSUPPORTED,
    INSUFFICIENT_FUNDS,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_BODY,
    OUTCOME_UNKNOWN,
    REFUSED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
)
from api.query import refuse_query
from api.replies import accepted
from api.requests import CommandSchema, Payment, read_payment
from api.responses import TransactionSchema
from api.tracing import metadata, request_id
from domain.commands import Receive
from domain.events import Kind
from store.port import StreamKey

log = logging.getLogger(__name__)

COMMAND_PROBLEMS: Final = (
    INVALID_REQUEST,
    MALFORMED_BODY,
    IDEMPOTENCY_KEY_UNSUPPORTED,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    REFUSED,
    INSUFFICIENT_FUNDS,
    INTERNAL_ERROR,
    UNAVAILABLE,
    OUTCOME_UNKNOWN,
)
"""What any command that moves money may end in."""


class DepositResource:
    """``/v1/deposit``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createDeposit",
            tag="Commands",
            summary="Deposit money",
            description="Takes money from a customer through a gateway. The answer 202 comes once the deposit is "
            "durable; the gateway is called after that. Ask for the transaction to see what became of it.\n\n"
            "After 503 nothing is stored and the request may be sent again. After 504 it is not known yet: ask for "
            "the `transaction_id` in the problem, and do not send the command again before that is told.",
            body=CommandSchema,
            body_examples={
                "the least": {"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"},
                "everything": {
                    "amount": "12.345",
                    "currency": "KWD",
                    "gateway": "gatewayA",
                    "customer_id": "shop:12345@example",
                    "details": {"order": "7"},
                },
            },
            answer=Answer(
                202,
                "The deposit is durable.",
                TransactionSchema,
                headers={"Location": "Where the transaction is."},
                links={
                    "transaction": {
                        "operationId": "getTransaction",
                        "parameters": {"transaction_id": "$response.body#/transaction_id"},
                    },
                    "customer": {
                        "operationId": "getCustomer",
                        "parameters": {"customer_id": "$response.body#/customer_id"},
                    },
                    "events": {
                        "operationId": "listCustomerEvents",
                        "parameters": {"customer_id": "$response.body#/customer_id"},
                    },
                },
            ),
            problems=COMMAND_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments, default_currency: str) -> None:
        self._payments = payments
        self._default_currency = default_currency

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take on a deposit."""
        refuse_query(req)
        refuse_key(req)
        payment = read_payment(read_object(req), self._payments.gateway_currencies(), self._default_currency)
        transaction_id = self._payments.new_transaction_id()
        answer(resp, self._receive(req, transaction_id, payment))

    def _receive(self, req: falcon.Request, transaction_id: str, payment: Payment) -> Reply:
        stream = StreamKey(merchant_of(req), payment.customer_id)
        command = Receive(Kind.DEPOSIT, transaction_id, payment.gateway, payment.money, payment.details)
        try:
            return self._payments.receive(stream, command, metadata(req))
        except Exception:  # whatever it is, the command is on its way: only "not known" is true now
            log.exception(
                "a command ended without a reply",
                extra={"transaction_id": transaction_id, "correlation_id": request_id(req)},
            )
            return Uncertain(transaction_id)


def answer(resp: falcon.Response, reply: Reply) -> None:
    """The HTTP answer to a command. Raises ProblemError when it was not accepted."""
    transaction = accepted(reply)
    resp.status = falcon.HTTP_202
    resp.set_header("location", f"/v1/transactions/{transaction.transaction_id}")
    resp.data = orjson.dumps(views.transaction(transaction))
