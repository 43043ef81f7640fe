"""Deposits and withdrawals: a validated command goes to the actors, and their reply becomes the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import falcon
import orjson

from actors.customer.idempotency import IdempotencyKey
from actors.operations.receive import ReceiveOperation
from actors.payments import Payments
from actors.replies import NotStored, Replayed, Reply
from api import views
from api.body import read_object
from api.callers import merchant_of
from api.idempotency import REPLAYED, KeysUnderWay, once, read_key
from api.operations import WRITES, Answer, Operation
from api.problems import (
    BODY_TOO_LARGE,
    IDEMPOTENCY_KEY_IN_FLIGHT,
    IDEMPOTENCY_KEY_REUSED,
    INSUFFICIENT_FUNDS,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_BODY,
    OUTCOME_UNKNOWN,
    REFUSED,
    REQUEST_TIMEOUT,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemError,
)
from api.replies import accepted, reading_again, replied
from api.schemas.transactions import CommandSchema, TransactionSchema, read_payment
from api.screening.query import refuse_query
from api.tracing import metadata
from domain.commands import Receive
from domain.events import Kind
from store.codec import Metadata
from store.port import StreamKey
from store.queries import Queries

_PROBLEMS: Final = (
    INVALID_REQUEST,
    MALFORMED_BODY,
    REQUEST_TIMEOUT,
    IDEMPOTENCY_KEY_IN_FLIGHT,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    REFUSED,
    IDEMPOTENCY_KEY_REUSED,
    INTERNAL_ERROR,
    UNAVAILABLE,
    OUTCOME_UNKNOWN,
)

_AFTERWARDS: Final = (
    "After 503 nothing is stored, and you may send the request again. After 504 it is not known whether the command is "
    "stored. Get the transaction with the `transaction_id` of the problem, or send the same command again under the "
    "same `Idempotency-Key`. Without a key, do not send it again before you have the answer."
)


def _answer_of(what: str) -> Answer:
    return Answer(
        202,
        f"The {what} is stored. `Location` is its transaction.",
        TransactionSchema,
        headers={
            "Location": "The path of the transaction.",
        },
        optional_headers={REPLAYED: "`true` when this is the replay of a command with the same key."},
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
    )


_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "minimal": {"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"},
    "all fields": {
        "amount": "12.345",
        "currency": "KWD",
        "gateway": "gatewayA",
        "customer_id": "shop:12345@example",
        "details": {"order": "7"},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """The context of all commands of a process. ``checked``: a withdrawal needs a balance in this service."""

    payments: Payments
    queries: Queries
    default_currency: str
    checked: bool
    under_way: KeysUnderWay = field(default_factory=KeysUnderWay)


class _CommandResource:
    """The common part of deposits and withdrawals."""

    _kind: ClassVar[Kind]

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._payments = context.payments

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Accept a command."""
        refuse_query(req)
        key = read_key(req)
        payment = read_payment(read_object(req), self._payments.gateway_currencies(), self._context.default_currency)
        transaction_id = self._payments.new_transaction_id()
        stream = StreamKey(merchant_of(req), payment.customer_id)
        command = Receive(
            self._kind, transaction_id, payment.gateway, payment.money, payment.details, checked=self._context.checked
        )
        if key is None:
            self._answer(resp, stream, self._receive(stream, command, metadata(req), None, req))
            return
        claimed = once(key, stream, command)
        under_way = self._context.under_way
        with under_way.entered(claimed):
            reply = self._receive(stream, command, metadata(req), claimed, req)
            if isinstance(reply, NotStored) and under_way.has_others(claimed):
                detail = "Nothing was stored for this request. Send it again to get the result of the first one."
                raise ProblemError(IDEMPOTENCY_KEY_IN_FLIGHT, detail, headers={"Retry-After": "1"})
        self._answer(resp, stream, reply)

    def _receive(
        self, stream: StreamKey, command: Receive, about: Metadata, claimed: IdempotencyKey | None, req: falcon.Request
    ) -> Reply:
        request = ReceiveOperation(command, about, claimed)
        return replied(lambda: self._payments.execute(stream, request), req, command.transaction_id)

    def _answer(self, resp: falcon.Response, stream: StreamKey, reply: Reply) -> None:
        """The HTTP answer to a command. Raises ProblemError when it was not accepted."""
        if isinstance(reply, Replayed):
            with reading_again(f"/v1/transactions/{reply.transaction_id}", transaction_id=reply.transaction_id):
                view = self._context.queries.transaction(stream.name, reply.transaction_id)
            assert view is not None  # the claim that contains its id was stored with it
            resp.set_header(REPLAYED, "true")
            said = views.transaction_view(view)
        else:
            said = views.transaction(accepted(reply))
        resp.status = falcon.HTTP_202
        resp.set_header("location", f"/v1/transactions/{said['transaction_id']}")
        resp.data = orjson.dumps(said)


class DepositResource(_CommandResource):
    """``/v1/deposit``."""

    _kind = Kind.DEPOSIT
    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createDeposit",
            scopes=WRITES,
            tag="Commands",
            summary="Deposit money",
            description="Takes money from a customer through a gateway. The answer 202 means that the deposit is "
            f"stored. The gateway is called after that. Get the transaction to see the result.\n\n{_AFTERWARDS}",
            body=CommandSchema,
            body_examples=_EXAMPLES,
            takes_key=True,
            answer=_answer_of("deposit"),
            problems=_PROBLEMS,
        )
    }


class WithdrawalResource(_CommandResource):
    """``/v1/withdrawal``."""

    _kind = Kind.WITHDRAWAL
    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createWithdrawal",
            scopes=WRITES,
            tag="Commands",
            summary="Withdraw money",
            description="Pays money to a customer through a gateway. The amount is reserved from the customer's "
            "available balance when the withdrawal is stored. It leaves the reserve when the withdrawal completes, "
            "and returns to the available balance when it fails. When the balance is too low, the answer is 422 "
            f"`insufficient-funds` with the amount `available`.\n\n{_AFTERWARDS}",
            body=CommandSchema,
            body_examples=_EXAMPLES,
            takes_key=True,
            answer=_answer_of("withdrawal"),
            problems=(*_PROBLEMS, INSUFFICIENT_FUNDS),
        )
    }
