"""Deposits and withdrawals: a validated command goes to the actors, and their reply becomes the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import falcon

from actors.operations.receive import ReceiveOperation
from api.body import read_object
from api.callers import merchant_of
from api.execution import AFTERWARDS, COMMAND_PROBLEMS, CommandContext, answer_of
from api.idempotency import once, read_key
from api.operations import WRITES, Operation
from api.problems import INSUFFICIENT_FUNDS
from api.schemas.transactions import CommandSchema, DepositSchema, read_payment
from api.screening.query import refuse_query
from api.tracing import metadata
from domain.commands import Receive
from domain.events import Kind
from store.port import StreamKey

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


class _CommandResource:
    """The common part of deposits and withdrawals."""

    _kind: ClassVar[Kind]
    _schema: ClassVar[CommandSchema]

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._payments = context.payments

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Accept a command."""
        refuse_query(req)
        key = read_key(req)
        context, kind = self._context, self._kind
        gateways = self._payments.gateway_currencies()
        payment = read_payment(read_object(req), self._schema, gateways, context.default_currency)
        context.require_support(payment.gateway, kind, manual_capture=payment.manual_capture)
        stream = StreamKey(merchant_of(req), payment.customer_id)
        command = Receive(
            kind,
            self._payments.new_transaction_id(),
            payment.gateway,
            payment.money,
            payment.details,
            checked=context.checked,
            manual_capture=payment.manual_capture,
        )
        claimed = None if key is None else once(key, stream, command)
        context.execute(req, resp, stream, ReceiveOperation(command, metadata(req), claimed))


class DepositResource(_CommandResource):
    """``/v1/deposit``."""

    _kind = Kind.DEPOSIT
    _schema = DepositSchema()
    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createDeposit",
            scopes=WRITES,
            tag="Commands",
            summary="Deposit money",
            description="Takes money from a customer through a gateway. The answer 202 means that the deposit is "
            "stored. The gateway is called after that. Get the transaction to see the result. With `capture` "
            "`manual`, the gateway only holds the money: the deposit becomes `authorized`, and a capture or void ends "
            f"it.\n\n{AFTERWARDS}",
            body=DepositSchema,
            body_examples={**_EXAMPLES, "authorization": {**_EXAMPLES["minimal"], "capture": "manual"}},
            takes_key=True,
            answer=answer_of("deposit"),
            problems=COMMAND_PROBLEMS,
        )
    }


class WithdrawalResource(_CommandResource):
    """``/v1/withdrawal``."""

    _kind = Kind.WITHDRAWAL
    _schema = CommandSchema()
    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createWithdrawal",
            scopes=WRITES,
            tag="Commands",
            summary="Withdraw money",
            description="Pays money to a customer through a gateway. The amount is reserved from the customer's "
            "available balance when the withdrawal is stored. It leaves the reserve when the withdrawal completes, "
            "and returns to the available balance when it fails. When the balance is too low, the answer is 422 "
            f"`insufficient-funds` with the amount `available`.\n\n{AFTERWARDS}",
            body=CommandSchema,
            body_examples=_EXAMPLES,
            takes_key=True,
            answer=answer_of("withdrawal"),
            problems=(*COMMAND_PROBLEMS, INSUFFICIENT_FUNDS),
        )
    }
