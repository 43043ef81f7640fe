"""Liveness and readiness. Both answer from memory, so that they never wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import falcon

from actors.payments import Payments
from api.operations import OPEN, Answer, Operation
from api.problems import INVALID_REQUEST, NOT_READY, ProblemError
from api.schemas.common import StateSchema
from api.screening.query import refuse_query

_OK: Final = b'{"status":"ok"}'
_READY: Final = b'{"status":"ready"}'


class HealthResource:
    """``/healthz``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getHealth",
            scopes=OPEN,
            tag="Health",
            summary="Check liveness",
            description="Returns 200 as long as the process serves requests.",
            answer=Answer(200, "The process is alive.", StateSchema),
            problems=(INVALID_REQUEST,),
        )
    }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Check liveness."""
        refuse_query(req)
        resp.data = _OK


class ReadinessResource:
    """``/readyz``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getReadiness",
            scopes=OPEN,
            tag="Health",
            summary="Check readiness",
            description="Returns 200 when the store and the actors are ready, regardless of the state of the gateways. "
            "Otherwise returns 503 with the missing parts in `problems`.",
            answer=Answer(200, "The service is ready.", StateSchema),
            problems=(INVALID_REQUEST, NOT_READY),
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Check readiness."""
        refuse_query(req)
        problems = list(self._payments.problems())
        if problems:
            raise ProblemError(NOT_READY, "; ".join(problems), headers={"Retry-After": "1"}, problems=problems)
        resp.data = _READY
