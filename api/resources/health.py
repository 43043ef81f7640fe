"""Whether the process lives and whether it can take work. Asks nobody, so that it is never late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import falcon

from actors.payments import Payments
from api.operations import OPEN, Answer, Operation
from api.problems import INVALID_REQUEST, NOT_READY, ProblemError
from api.responses import StateSchema
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
            summary="Is it alive?",
            description="Answers as long as the process serves requests at all.",
            answer=Answer(200, "It is.", StateSchema),
            problems=(INVALID_REQUEST,),
        )
    }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say that the process lives."""
        refuse_query(req)
        resp.data = _OK


class ReadinessResource:
    """``/readyz``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getReadiness",
            scopes=OPEN,
            tag="Health",
            summary="Can it take work?",
            description="Ready when store and actors are, whatever the gateways do.",
            answer=Answer(200, "It can.", StateSchema),
            problems=(INVALID_REQUEST, NOT_READY),
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say whether the service can take work."""
        refuse_query(req)
        problems = list(self._payments.problems())
        if problems:
            raise ProblemError(NOT_READY, "; ".join(problems), headers={"Retry-After": "1"}, problems=problems)
        resp.data = _READY
