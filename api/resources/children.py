"""Refunds, captures and voids of a transaction: the commands, and the list of those that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import falcon
import orjson

from actors.operations.child import ChildOperation
from api.body import read_object_if_any
from api.callers import merchant_of
from api.execution import AFTERWARDS, COMMAND_PROBLEMS, CommandContext, answer_of
from api.idempotency import once_child, read_key
from api.operations import LIST_PROBLEMS, READS, WRITES, Answer, Operation
from api.problems import (
    AMOUNT_TOO_LARGE,
    GATEWAY_NOT_CONFIGURED,
    INSUFFICIENT_FUNDS,
    NOT_FOUND,
    NOT_POSSIBLE_NOW,
)
from api.resources.transactions import find, list_page
from api.schemas.children import CaptureSchema, ChildrenQuery, RefundSchema, VoidSchema, read_child
from api.schemas.transactions import TransactionListSchema
from api.screening.query import read_query, refuse_query
from api.tracing import metadata
from domain.commands import ReceiveChild
from domain.events import Kind
from store.port import StreamKey
from store.queries import Queries, TransactionFilter

_PROBLEMS: Final = (*COMMAND_PROBLEMS, NOT_FOUND, NOT_POSSIBLE_NOW, GATEWAY_NOT_CONFIGURED)


class _ChildResource:
    """The common part of refunds, captures and voids."""

    _kind: ClassVar[Kind]
    _schema: ClassVar[VoidSchema]

    def __init__(self, context: CommandContext) -> None:
        self._context = context

    def on_post(self, req: falcon.Request, resp: falcon.Response, transaction_id: str) -> None:
        """Accept a command."""
        refuse_query(req)
        key = read_key(req)
        context, merchant, kind = self._context, merchant_of(req), self._kind
        parent = find(context.queries, merchant, transaction_id).transaction
        given = read_child(read_object_if_any(req), self._schema, parent.money.currency)
        context.require_support(parent.gateway, kind)
        command = ReceiveChild(
            kind,
            context.payments.new_transaction_id(),
            transaction_id,
            given.minor,
            given.reason,
            checked=context.checked,
        )
        claimed = None if key is None else once_child(key, merchant, command)
        stream = StreamKey(merchant, parent.customer_id)
        context.execute(req, resp, stream, ChildOperation(command, metadata(req), claimed))


class RefundsResource(_ChildResource):
    """``/v1/transactions/{transaction_id}/refunds``."""

    _kind = Kind.REFUND
    _schema = RefundSchema()
    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createRefund",
            scopes=WRITES,
            tag="Commands",
            summary="Refund a deposit",
            description="Gives back a part or all of a completed deposit through its gateway, by default what is left. "
            "The amount is reserved from the customer's available balance when the refund is stored, and returns to "
            "it when the refund fails. The sum of the refunds, without the failed ones, never exceeds what the deposit "
            "took: 422 `amount-too-large` has what is left as `available`. The status of the deposit does not change. "
            f"The body may be empty.\n\n{AFTERWARDS}",
            body=RefundSchema,
            body_examples={
                "a part": {"amount": "10.00", "reason": "One item was returned."},
                "what is left": {},
            },
            body_is_optional=True,
            takes_key=True,
            answer=answer_of("refund"),
            problems=(*_PROBLEMS, AMOUNT_TOO_LARGE, INSUFFICIENT_FUNDS),
        )
    }


class CapturesResource(_ChildResource):
    """``/v1/transactions/{transaction_id}/captures``."""

    _kind = Kind.CAPTURE
    _schema = CaptureSchema()
    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createCapture",
            scopes=WRITES,
            tag="Commands",
            summary="Capture an authorized deposit",
            description="Takes the money that the gateway holds. A smaller `amount` releases the rest. When the "
            "capture completes, the deposit is `completed` with its `captured_amount`. A deposit has at most one "
            "capture or void in progress, and at most one that completes. Others get 409 `not-possible-now`. The body "
            f"may be empty.\n\n{AFTERWARDS}",
            body=CaptureSchema,
            body_examples={"a part": {"amount": "60.00"}, "all": {}},
            body_is_optional=True,
            takes_key=True,
            answer=answer_of("capture"),
            problems=(*_PROBLEMS, AMOUNT_TOO_LARGE),
        )
    }


class VoidsResource(_ChildResource):
    """``/v1/transactions/{transaction_id}/voids``."""

    _kind = Kind.VOID
    _schema = VoidSchema()
    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="createVoid",
            scopes=WRITES,
            tag="Commands",
            summary="Void an authorized deposit",
            description="Releases the money that the gateway holds. When the void completes, the deposit is `voided`, "
            "which is final. A deposit has at most one capture or void in progress, and at most one that completes. "
            f"Others get 409 `not-possible-now`. The body is empty, or an empty object.\n\n{AFTERWARDS}",
            body=VoidSchema,
            body_examples={"all": {}},
            body_is_optional=True,
            takes_key=True,
            answer=answer_of("void"),
            problems=_PROBLEMS,
        )
    }


class ChildrenResource:
    """``/v1/transactions/{transaction_id}/children``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listChildren",
            scopes=READS,
            tag="Transactions",
            summary="List refunds, captures and voids",
            description="Returns the refunds, captures and voids of a transaction, newest first.",
            query=ChildrenQuery,
            answer=Answer(200, "A page of transactions.", TransactionListSchema),
            problems=(*LIST_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._schema = ChildrenQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response, transaction_id: str) -> None:
        """List the children of a transaction."""
        query, merchant = read_query(req, self._schema), merchant_of(req)
        find(self._queries, merchant, transaction_id)
        where = TransactionFilter(parent_id=transaction_id)
        resp.data = orjson.dumps(list_page(self._queries, merchant, where, query))
