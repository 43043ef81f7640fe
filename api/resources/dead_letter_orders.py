"""A person's orders about dead letters: try again now, or give up. The actors decide and carry them out."""

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
from api.body import read_object
from api.callers import merchant_of
from api.operations import OPERATES, ORDER_PROBLEMS, Answer, Operation
from api.problems import (
    DEAD_LETTER_BUSY,
    GATEWAY_NOT_CONFIGURED,
    NOT_DISCARDABLE,
    NOT_FOUND,
    OUTCOME_UNKNOWN,
    REFUSED,
    ProblemError,
)
from api.replies import accepted, ordering, replied
from api.requests import DiscardSchema, RetrySchema, known_gateway, read_fields
from api.resources.dead_letters import find
from api.responses import CountSchema, DeadLetterSchema, TransactionSchema
from api.screening.names import refuse_unknown
from api.screening.query import refuse_query
from api.tracing import metadata, note_order
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
            summary="Try one again now",
            description="Has the work done again as soon as its gateway takes calls. Its attempts go on counting. "
            "There is no body.",
            answer=Answer(202, "The dead letter as it was just before.", DeadLetterSchema),
            problems=(*ORDER_PROBLEMS, GATEWAY_NOT_CONFIGURED),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments = payments
        self._queries = queries

    def on_post(self, req: falcon.Request, resp: falcon.Response, dead_letter_id: str) -> None:
        """Give the order."""
        refuse_query(req)
        letter = find(self._queries, req, dead_letter_id)
        _refuse_fields(req)
        gateway = gateway_of(letter.item.gateway)
        if gateway not in self._payments.gateway_currencies():
            raise ProblemError(GATEWAY_NOT_CONFIGURED, f"Nobody would do it until {gateway} is configured.")
        note_order(req, "dead letter to be retried", dead_letter_id=dead_letter_id)
        with ordering(f"/v1/dead-letters/{dead_letter_id}"):
            count = self._payments.retry_dead_letters(merchant_of(req), DeadLetterFilter(work_id=dead_letter_id))
        if count == 0:
            raise ProblemError(NOT_FOUND, "It is no dead letter any more: it was taken up meanwhile.")
        resp.status = falcon.HTTP_202
        resp.data = orjson.dumps(views.dead_letter(letter))


class RetryDeadLettersResource:
    """``/v1/dead-letters/retry``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="retryDeadLetters",
            scopes=OPERATES,
            tag="Dead letters",
            summary="Try many again now",
            description="The same for all that fit what is given; an empty object means all. Those of a gateway that "
            "is not configured (any more) are left as they are.",
            body=RetrySchema,
            body_examples={
                "a gateway's parked ones": {"gateway": "gatewayA", "state": "parked"},
                "all": {},
            },
            answer=Answer(202, "How many are tried again.", CountSchema),
            problems=tuple(it for it in ORDER_PROBLEMS if it is not NOT_FOUND),
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._schema = RetrySchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Give the order."""
        refuse_query(req)
        given = read_fields(read_object(req), self._schema)
        where = DeadLetterFilter(known_gateway(given, self._payments.gateway_currencies()), given.get("state"))
        note_order(req, "dead letters to be retried", gateway=where.gateway, state=where.state)
        with ordering("/v1/dead-letters"):
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
            summary="Give one up",
            description="Fails the transaction with the code `discarded`, and frees what it reserved. Only where "
            "every attempt surely never reached the gateway; anything else might falsify the record and is a 409: a "
            "person who has asked the provider settles the transaction instead.",
            body=DiscardSchema,
            body_examples={"why": {"reason": "The customer paid in another way."}},
            answer=Answer(200, "The transaction, failed.", TransactionSchema),
            problems=(*ORDER_PROBLEMS, NOT_DISCARDABLE, DEAD_LETTER_BUSY, REFUSED),
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments = payments
        self._queries = queries
        self._schema = DiscardSchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response, dead_letter_id: str) -> None:
        """Give the order."""
        refuse_query(req)
        letter = find(self._queries, req, dead_letter_id)
        reason: str = read_fields(read_object(req), self._schema)["reason"]
        if letter.transaction_id is None:
            raise ProblemError(NOT_DISCARDABLE, "It belongs to no transaction that could fail.")
        request = DiscardOperation(Discard(letter.transaction_id, reason), letter.item, metadata(req))
        reply = replied(lambda: self._payments.execute(letter.item.stream, request), req, letter.transaction_id)
        if isinstance(reply, Refused) and reply.code == NOT_DISCARDABLE.name:
            resolution = f"/v1/transactions/{letter.transaction_id}/resolution"
            detail = f"{reply.detail} Settle it by POST {resolution}."
            raise ProblemError(NOT_DISCARDABLE, detail, resolution=resolution)
        if isinstance(reply, Uncertain):
            detail = (
                f"Ask for /v1/transactions/{reply.transaction_id} later: it has failed if the order was carried out."
            )
            raise ProblemError(OUTCOME_UNKNOWN, detail, transaction_id=reply.transaction_id)
        resp.data = orjson.dumps(views.transaction(accepted(reply)))


def _refuse_fields(req: falcon.Request) -> None:
    """Raises ProblemError for a body that says anything; an empty object says nothing."""
    if req.env.get("CONTENT_LENGTH") in {None, "", "0"} and "HTTP_TRANSFER_ENCODING" not in req.env:
        return
    refuse_unknown(read_object(req))
