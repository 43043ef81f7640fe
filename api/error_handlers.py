"""Problem documents for all exceptions: problems of the API, errors of the framework, and unexpected errors."""

from __future__ import annotations

import logging
from typing import Any

import falcon
import orjson

from api.body import drain
from api.metrics.http import PROBLEM
from api.problems import INTERNAL_ERROR, MEDIA_TYPE, NOT_FOUND, ProblemError, by_status, unavailable
from api.tracing import request_id
from store.errors import StoreUnavailableError

log = logging.getLogger(__name__)


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Make ``app`` answer every exception with a problem document."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _framework)
    app.add_error_handler(StoreUnavailableError, _store_unavailable)
    app.add_error_handler(ProblemError, _problem)


def _render(req: falcon.Request, resp: falcon.Response, problem: ProblemError) -> None:
    drain(req.env)
    req.env[PROBLEM] = problem.kind.name
    resp.status = problem.kind.status
    resp.content_type = MEDIA_TYPE
    resp.set_headers(problem.headers)
    resp.data = orjson.dumps(problem.body())


def _problem(req: falcon.Request, resp: falcon.Response, error: ProblemError, _params: dict[str, Any]) -> None:
    _render(req, resp, error)


def _framework(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: dict[str, Any]) -> None:
    kind = by_status(error.status_code)
    detail = error.description or f"{kind.title}."
    if kind is NOT_FOUND and req.path.endswith("/"):
        detail += " Paths have no trailing slash."
    _render(req, resp, ProblemError(kind, detail, headers=dict(error.headers or {})))


def _store_unavailable(
    req: falcon.Request, resp: falcon.Response, error: StoreUnavailableError, _params: dict[str, Any]
) -> None:
    log.warning("the store does not answer: %s", error, extra={"fields": {"correlation_id": request_id(req)}})
    _render(req, resp, unavailable("The store does not answer. Nothing was stored."))


def _unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]) -> None:
    log.error(
        "%s %s failed unexpectedly",
        req.method,
        req.path,
        exc_info=error,
        extra={"fields": {"correlation_id": request_id(req)}},
    )
    _render(req, resp, ProblemError(INTERNAL_ERROR, "The failure is logged with the request id."))
