"""Execution of clients' commands that become transactions: the actors' reply becomes the answer 202 or a problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import falcon
import orjson

from actors.customer.command_operation import CommandOperation
from actors.payments import Payments
from actors.replies import NotStored, Replayed, Reply
from api import views
from api.idempotency import REPLAYED, KeysUnderWay
from api.operations import Answer
from api.problems import (
    BODY_TOO_LARGE,
    GATEWAY_NOT_CONFIGURED,
    IDEMPOTENCY_KEY_IN_FLIGHT,
    IDEMPOTENCY_KEY_REUSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_BODY,
    NOT_SUPPORTED,
    OUTCOME_UNKNOWN,
    REFUSED,
    REQUEST_TIMEOUT,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemError,
)
from api.replies import accepted, reading_again, replied
from api.schemas.transactions import TransactionSchema
from domain.events import Kind
from store.port import StreamKey
from store.queries import Queries

COMMAND_PROBLEMS: Final = (
    INVALID_REQUEST,
    MALFORMED_BODY,
    REQUEST_TIMEOUT,
    IDEMPOTENCY_KEY_IN_FLIGHT,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    REFUSED,
    NOT_SUPPORTED,
    IDEMPOTENCY_KEY_REUSED,
    INTERNAL_ERROR,
    UNAVAILABLE,
    OUTCOME_UNKNOWN,
)
"""Problems of every command that becomes a transaction."""

AFTERWARDS: Final = (
    "After 503 nothing is stored, and you may send the request again. After 504 it is not known whether the command is "
    "stored. Get the transaction with the `transaction_id` of the problem, or send the same command again under the "
    "same `Idempotency-Key`. Without a key, do not send it again before you have the answer."
)


def answer_of(what: str) -> Answer:
    """The success answer of a command that becomes a ``what``."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """The context of all commands of a process.

    ``checked``: a withdrawal or refund needs a balance in this service.
    """

    payments: Payments
    queries: Queries
    default_currency: str
    checked: bool
    under_way: KeysUnderWay = field(default_factory=KeysUnderWay)

    def require_support(self, gateway: str, kind: Kind, *, manual_capture: bool = False) -> None:
        """Check that ``gateway`` can carry out the command. Raises ProblemError: 409 not configured, 422 otherwise."""
        if self.payments.supports(gateway, kind, manual_capture=manual_capture):
            return
        if gateway not in self.payments.gateway_currencies():
            raise ProblemError(GATEWAY_NOT_CONFIGURED, f"The gateway {gateway} is not configured now.")
        what = "deposits with manual capture" if manual_capture else f"{kind}s"
        raise ProblemError(NOT_SUPPORTED, f"The gateway {gateway} does not support {what}.")

    def execute(self, req: falcon.Request, resp: falcon.Response, stream: StreamKey, command: CommandOperation) -> None:
        """Execute ``command`` and write the answer. Raises ProblemError when it was not accepted."""
        claimed = command.idempotency_key
        if claimed is None:
            self._answer(resp, stream, self._reply(req, stream, command))
            return
        with self.under_way.entered(claimed):
            reply = self._reply(req, stream, command)
            if isinstance(reply, NotStored) and self.under_way.has_others(claimed):
                detail = "Nothing was stored for this request. Send it again to get the result of the first one."
                raise ProblemError(IDEMPOTENCY_KEY_IN_FLIGHT, detail, headers={"Retry-After": "1"})
        self._answer(resp, stream, reply)

    def _reply(self, req: falcon.Request, stream: StreamKey, command: CommandOperation) -> Reply:
        return replied(lambda: self.payments.execute(stream, command), req, command.transaction_id)

    def _answer(self, resp: falcon.Response, stream: StreamKey, reply: Reply) -> None:
        if isinstance(reply, Replayed):
            with reading_again(f"/v1/transactions/{reply.transaction_id}", transaction_id=reply.transaction_id):
                view = self.queries.transaction(stream.name, reply.transaction_id)
            assert view is not None  # the claim that contains its id was stored with it
            resp.set_header(REPLAYED, "true")
            said = views.transaction_view(view)
        else:
            said = views.transaction(accepted(reply))
        resp.status = falcon.HTTP_202
        resp.set_header("location", f"/v1/transactions/{said['transaction_id']}")
        resp.data = orjson.dumps(said)
