"""Operator commands on dead letters: retry and discard. The actors decide and execute them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

import falcon
import orjson

from actors.operations.discard import DiscardOperation
from actors.operations.waiting_callbacks import gateway_of
from actors.payments import Payments
from actors.replies import Uncertain
from api import views
from api.body import read_object, read_object_if_any
from api.callers import merchant_of
from api.operations import OPERATES, OPERATOR_PROBLEMS, Answer, Operation
from api.problems import (
    DEAD_LETTER_BUSY,
    GATEWAY_NOT_CONFIGURED,
    NOT_DISCARDABLE,
    NOT_FOUND,
    OUTCOME_UNKNOWN,
    REFUSED,
    ProblemError,
)
from api.replies import accepted, executing, replied
from api.resources.dead_letters import find
from api.schemas.common import known_gateway, read_fields
from api.schemas.dead_letters import CountSchema, DeadLetterSchema, DiscardSchema, RetrySchema
from api.schemas.transactions import TransactionSchema
from api.screening.names import refuse_unknown
from api.screening.query import refuse_query
from api.tracing import log_operator_command, metadata
from domain.account import Refused
from domain.commands import Discard
from store.port import DeadLetterFilter
from store.queries import Queries

log = logging.getLogger(__name__)


class RetryDeadLetterResource:
    """``/v1/dead-letters/{dead_letter_id}/retry``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="retryDeadLetter",
            scopes=OPERATES,
            tag="Dead letters",
            summary="Retry a dead letter",
            description="Retries the work as soon as its gateway permits calls. Its attempts keep counting. The "
            "request has no body. Get the transaction later to see the result.",
            answer=Answer(202, "The dead letter before the retry.", DeadLetterSchema),
            problems=(*OPERATOR_PROBLEMS, GATEWAY_NOT_CONFIGURED),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments = payments
        self._queries = queries

    def on_post(self, req: falcon.Request, resp: falcon.Response, dead_letter_id: str) -> None:
        """Retry a dead letter."""
        refuse_query(req)
        letter = find(self._queries, req, dead_letter_id)
        refuse_unknown(read_object_if_any(req))
        gateway = gateway_of(letter.item.gateway)
        if gateway not in self._payments.gateway_currencies():
            raise ProblemError(
                GATEWAY_NOT_CONFIGURED, f"Configure the gateway {gateway} first. Until then its work cannot be done."
            )
        log_operator_command(req, "dead letter to be retried", dead_letter_id=dead_letter_id)
        with executing(f"/v1/dead-letters/{dead_letter_id}"):
            count = self._payments.retry_dead_letters(merchant_of(req), DeadLetterFilter(work_id=dead_letter_id))
        if count == 0:
            raise ProblemError(NOT_FOUND, "The dead letter was retried meanwhile.")
        resp.status = falcon.HTTP_202
        resp.data = orjson.dumps(views.dead_letter(letter))


class RetryDeadLettersResource:
    """``/v1/dead-letters/retry``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="retryDeadLetters",
            scopes=OPERATES,
            tag="Dead letters",
            summary="Retry many dead letters",
            description="Retries all dead letters that match the given filters. An empty object selects all. Dead "
            "letters of gateways that are not configured are skipped.",
            body=RetrySchema,
            body_examples={
                "parked ones of a gateway": {"gateway": "gatewayA", "state": "parked"},
                "all": {},
            },
            answer=Answer(202, "The number of dead letters that are retried.", CountSchema),
            problems=tuple(it for it in OPERATOR_PROBLEMS if it is not NOT_FOUND),
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._schema = RetrySchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Retry the matching dead letters."""
        refuse_query(req)
        given = read_fields(read_object(req), self._schema)
        where = DeadLetterFilter(known_gateway(given, self._payments.gateway_currencies()), given.get("state"))
        log_operator_command(req, "dead letters to be retried", gateway=where.gateway, state=where.state)
        with executing("/v1/dead-letters"):
            count = self._payments.retry_dead_letters(merchant_of(req), where)
        resp.status = falcon.HTTP_202
        resp.data = orjson.dumps({"count": count})


class DiscardResource:
    """``/v1/dead-letters/{dead_letter_id}/discard``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="discardDeadLetter",
            scopes=OPERATES,
            tag="Dead letters",
            summary="Discard a dead letter",
            description="Fails the transaction with the code `discarded` and releases its reserved amount. This is "
            "possible only when no attempt reached the gateway. Otherwise the answer is 409, because discarding could "
            "falsify the record. Ask the provider for the outcome and resolve the transaction instead.",
            body=DiscardSchema,
            body_examples={"reason": {"reason": "The customer paid in another way."}},
            answer=Answer(200, "The failed transaction.", TransactionSchema),
            problems=(*OPERATOR_PROBLEMS, NOT_DISCARDABLE, DEAD_LETTER_BUSY, REFUSED),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments = payments
        self._queries = queries
        self._schema = DiscardSchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response, dead_letter_id: str) -> None:
        """Discard a dead letter."""
        refuse_query(req)
        letter = find(self._queries, req, dead_letter_id)
        reason: str = read_fields(read_object(req), self._schema)["reason"]
        if letter.transaction_id is None:
            raise ProblemError(NOT_DISCARDABLE, "The dead letter belongs to no transaction.")
        request = DiscardOperation(Discard(letter.transaction_id, reason), letter.item, metadata(req))
        reply = replied(lambda: self._payments.execute(letter.item.stream, request), req, letter.transaction_id)
        if isinstance(reply, Refused) and reply.code == NOT_DISCARDABLE.name:
            resolution = f"/v1/transactions/{letter.transaction_id}/resolution"
            detail = f"{reply.detail} Resolve the transaction with POST {resolution}."
            raise ProblemError(NOT_DISCARDABLE, detail, resolution=resolution)
        if isinstance(reply, Uncertain):
            detail = f"Get /v1/transactions/{reply.transaction_id} later. It is failed if the command was executed."
            raise ProblemError(OUTCOME_UNKNOWN, detail, transaction_id=reply.transaction_id)
        resp.data = orjson.dumps(views.transaction(accepted(reply)))
