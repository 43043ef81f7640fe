"""The gateways with their breakers and bulkheads, and the operator command that sets a breaker's mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import falcon
import orjson

from actors.payments import Payments
from actors.replies import GatewayStatus
from api import views
from api.body import read_object
from api.operations import OPERATES, OPERATOR_PROBLEMS, READ_PROBLEMS, Answer, Operation
from api.paging import CursorKind, Place, encode_cursor, page
from api.problems import NOT_FOUND, ProblemError, unavailable
from api.replies import executing
from api.schemas.common import read_fields
from api.schemas.gateways import BreakerOrderSchema, GatewayListSchema, GatewaySchema, GatewaysQuery
from api.screening.query import read_query, refuse_query
from api.tracing import log_operator_command
from store.port import GatewayMode


class GatewaysResource:
    """``/v1/gateways``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listGateways",
            scopes=OPERATES,
            tag="Gateways",
            summary="List gateways",
            description="Returns the configured gateways by name, with their circuit breakers and bulkheads.",
            query=GatewaysQuery,
            answer=Answer(200, "A page of gateways.", GatewayListSchema),
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._schema = GatewaysQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List gateways."""
        query = read_query(req, self._schema)
        place: Place | None = query.get("cursor")
        after = "" if place is None else place.key
        rows = sorted((it for it in _statuses(self._payments) if it.name > after), key=lambda it: it.name)
        resp.data = orjson.dumps(page(rows, query["limit"], views.gateway, _cursor))


class GatewayResource:
    """``/v1/gateways/{name}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getGateway",
            scopes=OPERATES,
            tag="Gateways",
            summary="Get a gateway",
            description="Returns a configured gateway with its circuit breaker and bulkhead.",
            answer=Answer(200, "The gateway.", GatewaySchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Get a gateway."""
        refuse_query(req)
        if name in self._payments.gateway_currencies():
            for status in _statuses(self._payments):
                if status.name == name:
                    resp.data = orjson.dumps(views.gateway(status))
                    return
        raise _no_gateway()


class BreakerResource:
    """``/v1/gateways/{name}/breaker``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="setBreakerMode",
            scopes=OPERATES,
            tag="Gateways",
            summary="Set a breaker's mode",
            description="`open` stops all calls to the gateway, and its work waits. `closed` permits all calls, "
            "regardless of their results. `auto` lets the breaker decide again: after `open` it first permits a single "
            "probe call. The mode applies until the next change, also after a restart.",
            body=BreakerOrderSchema,
            body_examples={
                "open": {"mode": "open", "reason": "The provider announced maintenance."},
                "auto": {"mode": "auto", "reason": "The maintenance is over."},
            },
            answer=Answer(200, "The gateway with the new mode.", GatewaySchema),
            problems=OPERATOR_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._schema = BreakerOrderSchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Set a breaker's mode."""
        refuse_query(req)
        if name not in self._payments.gateway_currencies():
            raise _no_gateway()
        order = read_fields(read_object(req), self._schema)
        log_operator_command(req, "breaker mode requested", gateway=name, **order)
        with executing(f"/v1/gateways/{name}"):
            status = self._payments.set_breaker_mode(GatewayMode(name, order["mode"], order["reason"]))
        resp.data = orjson.dumps(views.gateway(status))


def _no_gateway() -> ProblemError:
    return ProblemError(NOT_FOUND, "No such gateway.")


def _statuses(payments: Payments) -> Sequence[GatewayStatus]:
    try:
        return payments.gateways()
    except TimeoutError:
        raise unavailable("The gateways' supervisor does not answer.") from None


def _cursor(status: GatewayStatus) -> str:
    return encode_cursor(CursorKind.GATEWAYS, status.name)
