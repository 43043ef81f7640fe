"""Reading the gateways and the state of their breakers and bulkheads, as the actors tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import falcon
import orjson

from actors.payments import Payments
from actors.replies import GatewayStatus
from api import views
from api.operations import READ_PROBLEMS, Answer, Operation
from api.paging import CursorKind, encode_cursor, page
from api.problems import NOT_FOUND, ProblemError, unavailable
from api.query import read_query, refuse_query
from api.requests import GatewaysQuery
from api.responses import GatewayListSchema, GatewaySchema


class GatewaysResource:
    """``/v1/gateways``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listGateways",
            tag="Gateways",
            summary="All gateways",
            description="The configured gateways by name, with circuit breaker and bulkhead.",
            query=GatewaysQuery,
            answer=Answer(200, "A page of gateways.", GatewayListSchema),
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._schema = GatewaysQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the gateways."""
        query = read_query(req, self._schema)
        after: str = query.get("cursor", "")
        rows = sorted((it for it in _statuses(self._payments) if it.name > after), key=lambda it: it.name)
        resp.data = orjson.dumps(page(rows, query["limit"], views.gateway, _cursor))


class GatewayResource:
    """``/v1/gateways/{name}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getGateway",
            tag="Gateways",
            summary="One gateway",
            description="A configured gateway with circuit breaker and bulkhead.",
            answer=Answer(200, "The gateway.", GatewaySchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Show a gateway."""
        refuse_query(req)
        if name in self._payments.gateway_currencies():
            for status in _statuses(self._payments):
                if status.name == name:
                    resp.data = orjson.dumps(views.gateway(status))
                    return
        raise ProblemError(NOT_FOUND, "No such gateway.")


def _statuses(payments: Payments) -> Sequence[GatewayStatus]:
    try:
        return payments.gateways()
    except TimeoutError:
        raise unavailable("The gateways' supervisor does not answer.") from None


def _cursor(status: GatewayStatus) -> str:
    return encode_cursor(CursorKind.GATEWAYS, status.name)
