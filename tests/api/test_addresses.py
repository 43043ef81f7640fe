"""Unknown paths and methods: 404 and 405 as problem documents, for every route of the document."""

from __future__ import annotations

import re
from urllib.parse import unquote

import falcon.testing
import pytest
from falcon.constants import COMBINED_METHODS

from tests.api.live import Live
from tests.api.routes import DOCUMENT, ROUTES, Route
from tests.api.support import Api

METHODS = (*(it for it in COMBINED_METHODS if it != "WEBSOCKET"), "BREW", "GET.", "X" * 5000, "G\u00c9T")
"""Standard methods that the framework does not reserve, and unknown ones."""
ALLOWED = {
    path: {method.upper() for method in item if method != "parameters"} | ({"HEAD"} if "get" in item else set())
    for path, item in DOCUMENT["paths"].items()
}
CALLBACKS = "/v1/callbacks/{name}"

AROUND = {
    "a slash after it": "{}/",
    "two slashes after it": "{}//",
    "a slash before it": "/{}",
    "slashes before it": "////{}",
    "a dot after it": "{}.",
    "an extension": "{}.json",
    "a parameter of the path": "{};x=1",
    "U+0000 after it": "{}%00",
    "a line feed after it": "{}%0A",
    "not UTF-8 after it": "{}/%FF",
    "a part after it": "{}/x",
    "a step up": "{}/../x",
    "an encoded slash after it": "{}%2F",
    "an encoded question mark": "{}%3Fx=1",
    "a part of 5,000 letters": "{}/" + "x" * 5000,
    "10,000 slashes": "{}" + "/" * 10_000,
}
SLASHES = {
    "a slash after it",
    "two slashes after it",
    "a slash before it",
    "slashes before it",
    "an encoded slash after it",
}
"""The changes after which a callback's path still leads to its route."""
ELSEWHERE = (
    *("/v1", "/v1/", "//", "//v1/deposit", "/.", "/..", "/%2e%2e/v1/deposit", "/V1/deposit", "/v1/Deposit", "/%00"),
    *("/%FF", "/v1/deposits", "/v2/deposit", "/healthz/x", "/%F0%9F%92%A9", "/v1/\u2028", "/\\v1\\deposit", "/*"),
)


def refused(result: falcon.testing.Result, status: int, problem: str) -> None:
    """Check that the answer is this problem and repeats nothing of the address."""
    assert (result.status_code, result.json["type"]) == (status, f"/problems/{problem}")
    assert len(result.text) < 500


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize("path", ALLOWED)
def test_an_unsupported_method_gets_405(live: Live, live_api: Api, path: str) -> None:
    """A method that a route does not support gets 405 with the supported methods, and so does OPTIONS.

    HEAD is allowed with GET.
    """
    for method in METHODS:
        if method not in ALLOWED[path]:
            _not_allowed(live, live_api, path, method)


def _not_allowed(live: Live, live_api: Api, path: str, method: str) -> None:
    result = live_api.request(
        method, path.format_map(live.ids), body=b"{}", headers={"Content-Type": "application/json"}
    )
    assert set(result.headers["Allow"].split(", ")) == ALLOWED[path] | ({"OPTIONS"} if method != "OPTIONS" else set())
    if method == "OPTIONS":
        assert (result.status_code, result.content) == (200, b"")
    elif method == "HEAD":  # no GET either
        assert (result.status_code, result.content) == (405, b"")
    else:
        refused(result, 405, "method-not-allowed")


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_path_that_is_nearly_a_route_gets_404(live: Live, live_api: Api, route: Route) -> None:
    """A path that is nearly a route gets 404. Where it matches a route with an id, the method or the id is wrong."""
    before = live.contents()
    for kind, around in AROUND.items():
        path = around.format(route.path(live.ids))
        if route.template == CALLBACKS and (kind in SLASHES or kind == "10,000 slashes"):
            refused(live_api.request(route.method, path), 401, "callback-unverified")
            continue
        is_letter = route.template == "/v1/dead-letters/retry" and re.fullmatch(
            "/v1/dead-letters/[^/]+", unquote(path), re.DOTALL
        )
        wanted = (405, "method-not-allowed") if is_letter else (404, "not-found")
        refused(live_api.request(route.method, path), *wanted)
    assert live.contents() == before


@pytest.mark.parametrize("path", [path for path in ALLOWED if "GET" in ALLOWED[path]])
def test_head_answers_like_get(live: Live, live_api: Api, path: str) -> None:
    """HEAD gets the same status and headers as GET, and no body, also on unknown paths."""
    for ids in (live.ids, dict.fromkeys(live.ids, "unknown")):
        target = path.format_map(ids)
        head, get = (live_api.request(method, target) for method in ("HEAD", "GET"))
        assert head.content == b""
        assert head.status_code == get.status_code
        same = {"content-type", "content-length", "allow", "location", "cache-control", "content-security-policy"}
        for name in same - ({"content-length"} if path == "/metrics" else set()):  # it counts these requests as well
            assert head.headers.get(name) == get.headers.get(name), name
        assert int(head.headers["content-length"]) > 0


def test_a_refusal_names_the_trailing_slash(live: Live, live_api: Api) -> None:
    """Only callbacks accept a trailing slash. Elsewhere the refusal names it."""
    for path in ("/v1/deposit/", "/healthz/", f"/v1/customers/{live.ids['customer_id']}/"):
        assert "slash" in live_api.request("GET", path).json["detail"]
    assert "slash" not in live_api.request("GET", "/nowhere").json["detail"]


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PROPFIND", "BREW", "HEAD"])
def test_an_unknown_path_gets_404(live_api: Api, method: str) -> None:
    """An unknown path gets 404 with every method."""
    for path in ELSEWHERE:
        result = live_api.request(method, path)
        if method == "HEAD":
            assert (result.status_code, result.content) == (404, b"")
        else:
            refused(result, 404, "not-found")
