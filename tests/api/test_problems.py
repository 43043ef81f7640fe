"""The framework's own errors, unexpected ones, health, and the ids on every answer."""

from __future__ import annotations

import json
import logging
import time

import falcon
import pytest

from api.problems import PROBLEMS, by_status
from api.tracing import generate_request_id
from config.logging import JsonFormatter
from config.redaction import Redaction
from domain import cards
from tests.api.support import Api
from tests.api.world import World


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/deposit/", "/v1/transactions/a/b", "/v1//deposit", "/v1/withdraw", "/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_route(api: Api, path: str, method: str) -> None:
    """An unknown path gets 404 with every method."""
    result = api.request(method, path)
    assert (result.status_code, result.json["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/deposit", {"POST"}),
        ("/v1/transactions", {"GET"}),
        ("/v1/transactions/x", {"GET"}),
        ("/v1/customers/x", {"GET"}),
        ("/v1/customers/x/events", {"GET"}),
        ("/v1/gateways", {"GET"}),
        ("/v1/gateways/x", {"GET"}),
        ("/v1/gateways/x/breaker", {"POST"}),
        ("/v1/dead-letters", {"GET"}),
        ("/v1/dead-letters/x", {"GET"}),
        ("/v1/dead-letters/retry", {"POST"}),
        ("/v1/dead-letters/x/retry", {"POST"}),
        ("/v1/dead-letters/x/discard", {"POST"}),
        ("/healthz", {"GET"}),
        ("/readyz", {"GET"}),
        ("/openapi.json", {"GET"}),
    ],
)
def test_a_wrong_method_gets_405(api: Api, path: str, allowed: set[str]) -> None:
    """A wrong method gets 405 with the allowed ones."""
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
        result = api.request(method, path)
        assert (result.status_code, result.json["type"]) == (405, "/problems/method-not-allowed")
        head = {"HEAD"} if "GET" in allowed else set()
        assert set(result.headers["Allow"].split(", ")) == {*allowed, *head, "OPTIONS"}


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_a_method_that_the_framework_refuses(api: Api) -> None:
    """A request that the framework refuses before the service's code runs gets a problem with an id."""
    result = api.request("WEBSOCKET", "/v1/deposit")
    assert result.status_code == 400
    assert result.headers["X-Request-ID"] == "generated-1"


def test_an_unexpected_exception_leaks_nothing(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug is a 500 that shows nothing of the exception. The log has the traceback under the request's id."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(world, "transaction", broken)
    with caplog.at_level(logging.ERROR):
        result = api.get("/v1/transactions/019ab000-0000-7000-8000-000000000001", headers={"X-Request-ID": "find-me"})

    assert (result.status_code, result.json["type"]) == (500, "/problems/internal-error")
    assert "secret" not in result.text
    assert result.headers["X-Request-ID"] == "find-me"
    line = json.loads(JsonFormatter(Redaction(cards)).format(caplog.records[0]))
    assert line["correlation_id"] == "find-me"
    assert caplog.records[0].exc_info
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize(
    "path", ["/v1/deposit", "/nope", "/healthz", "/v1/transactions/x", "/swagger", "/openapi.json"]
)
def test_every_answer_repeats_the_request_id(api: Api, path: str) -> None:
    """Every answer repeats the id: success, redirect, refusal or unknown path."""
    assert api.get(path, headers={"X-Request-ID": "mine"}).headers["X-Request-ID"] == "mine"
    assert api.get(path).headers["X-Request-ID"].startswith("generated-")


def test_request_ids_differ() -> None:
    """Generated ids are visible ASCII, and each is different."""
    ids = {generate_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(it.isalnum() and len(it) == 32 for it in ids)


def test_request_ids_begin_with_the_time() -> None:
    """An id is above those of earlier milliseconds, so the index of correlation ids grows at its end."""
    before = time.time_ns() // 1_000_000
    milliseconds = int(generate_request_id()[:12], 16)
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_liveness_depends_on_nothing_else(api: Api, world: World) -> None:
    """Liveness does not depend on store, actors and gateways."""
    world.down, world.deaf, world.not_ready = True, True, ["The journal is being restarted."]
    result = api.get("/healthz")
    assert (result.status_code, result.json) == (200, {"status": "ok"})


def test_readiness(api: Api, world: World) -> None:
    """Ready gets 200; not ready gets 503 with the missing parts."""
    result = api.get("/readyz")
    assert (result.status_code, result.json) == (200, {"status": "ready"})

    world.not_ready = ["The store does not answer.", "The journal is being restarted."]
    result = api.get("/readyz")
    assert (result.status_code, result.json["type"]) == (503, "/problems/not-ready")
    assert result.json["problems"] == world.not_ready
    assert result.headers["Retry-After"] == "1"


def test_the_table_of_problems() -> None:
    """Every problem has its own name and the status of an error."""
    assert all(name == problem.name and 400 <= problem.status < 600 for name, problem in PROBLEMS.items())
    assert len({problem.title for problem in PROBLEMS.values()}) == len(PROBLEMS)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 413, 414, 415, 431, 451, 500, 501, 503, 511])
def test_every_status_of_the_framework_has_a_problem(status: int) -> None:
    """Every status of Falcon has a type with the same status."""
    assert by_status(status).status == status
    assert falcon.code_to_http_status(status)
