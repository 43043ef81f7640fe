"""Everything that can be wrong with a request, on every route of the document, against a real service.

Each error gets its 4xx as a problem document that names the field, repeats nothing unprintable, and stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import falcon.testing
import pytest

from api.headers import READ, REPEATED, UNDERSCORED
from api.problems import PROBLEMS
from tests.api import bad
from tests.api.live import Live
from tests.api.routes import ROUTES, Route
from tests.api.support import Api

WITH_BODY = [route for route in ROUTES if route.body is not None]
WITHOUT_CALLBACKS = [route for route in ROUTES if route.template != "/v1/callbacks/{name}"]
"""Routes that refuse unknown queries. Callbacks accept any query, so that a genuine one is not lost."""
FREE_TEXTS = {"reason", "evidence"}
VISIBLE_TEXTS = {"gateway_reference", "correlation_id"}
"""Parameters that may be any visible ASCII characters."""
ANSWER_CHARACTERS_MAX = 10_000


def is_right(name: str, kind: str) -> bool:
    """Whether a value that is wrong for nearly every field is valid for this one."""
    return (name == "details" and kind == "an object") or (name in FREE_TEXTS and kind == "another script's digit")


def needs_body(route: Route) -> bool:
    """Whether an empty body is refused."""
    return bool(route.operation["requestBody"]["required"])


@pytest.fixture
def service(live: Live, live_api: Api) -> Iterator[Api]:
    """The API of a real service whose store must not change."""
    before = live.contents()
    yield live_api
    assert live.contents() == before, "something was stored"


def refused(result: falcon.testing.Result, status: int, problem: str, *names: str) -> None:
    """Check that the answer is this problem, names these fields and no other, and is short and printable."""
    assert (result.status_code, result.json["type"]) == (status, f"/problems/{problem}")
    assert PROBLEMS[problem].status == status
    assert sorted(result.json.get("errors", {})) == sorted(names)
    assert all(messages and all(messages) for messages in result.json.get("errors", {}).values())
    assert len(result.text) <= ANSWER_CHARACTERS_MAX
    assert result.text.isascii()
    assert result.text.isprintable()


def send(
    service: Api, live: Live, route: Route, body: str | bytes | None = None, **how: object
) -> falcon.testing.Result:
    """Send a valid request with the given parts changed."""
    if body is None and route.body is not None:
        body = bad.as_json(route.body)
    headers = {} if body is None else {"Content-Type": "application/json"}
    headers.update(how.pop("headers", {}))  # type: ignore[call-overload]
    return service.request(route.method, route.path(live.ids), body=body, headers=headers, **how)


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_a_body_that_is_not_a_json_object(service: Api, live: Live, route: Route) -> None:
    """Only strict JSON is read, and only an object."""
    for body in bad.MALFORMED.values():
        if body or needs_body(route):
            refused(send(service, live, route, body), 400, "malformed-body")


@pytest.mark.parametrize(
    "route", [*WITH_BODY, *(it for it in ROUTES if it.method == "POST" and it.body is None)], ids=str
)
def test_a_body_that_is_too_large(service: Api, live: Live, route: Route) -> None:
    """A body above 64 KiB is not read."""
    for body in bad.TOO_LARGE.values():
        refused(send(service, live, route, body), 413, "body-too-large")


@pytest.mark.parametrize(
    ("route", "name"), [pytest.param(route, name, id=f"{route} {name}") for route in WITH_BODY for name in route.fields]
)
def test_a_value_of_a_wrong_type(service: Api, live: Live, route: Route, name: str) -> None:
    """A field with a value of a wrong type is named, and no other field is."""
    assert route.body is not None
    for kind, value in bad.NO_VALUE.items():
        if not is_right(name, kind):
            body = bad.as_json(route.body, **{name: value})
            refused(send(service, live, route, body), 400, "invalid-request", name)


@pytest.mark.parametrize(
    ("route", "name"), [pytest.param(route, name, id=f"{route} {name}") for route in WITH_BODY for name in route.fields]
)
def test_a_member_that_occurs_twice(service: Api, live: Live, route: Route, name: str) -> None:
    """A member that occurs twice is refused, in any spelling of its name. Neither value is used."""
    assert route.body is not None
    one = {**route.body, name: route.body.get(name, "x")}
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
    for spelling in (name, escaped):
        body = f'{bad.as_json(one)[:-1]}, "{spelling}": "x"}}'
        refused(send(service, live, route, body), 400, "invalid-request", name)


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_a_missing_or_unknown_field(service: Api, live: Live, route: Route) -> None:
    """A missing field is named, and so is an unknown one, under a printable name."""
    assert route.body is not None
    for name in route.required:
        body = {other: value for other, value in route.body.items() if other != name}
        refused(send(service, live, route, bad.as_json(body)), 400, "invalid-request", name)
    for name, shown in {
        "x": "x",
        "": "",
        "\u0000": r"\u{0}",
        "\ud800": r"\u{d800}",
        "n" * 5000: "n" * 64 + "...",
    }.items():
        body = {**route.body, name: 1}
        refused(send(service, live, route, bad.as_json(body)), 400, "invalid-request", shown)
    flood = send(service, live, route, bad.as_json({**route.body, **{f"k{n}": 1 for n in range(5000)}}))
    assert flood.status_code == 400
    assert len(flood.json["errors"]) == 50


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_another_content_type(service: Api, live: Live, route: Route) -> None:
    """Only JSON in UTF-8 is accepted."""
    body = bad.as_json(route.body or {})
    for content_type in bad.CONTENT_TYPES:
        result = service.post(body, None, path=route.path(live.ids), extras={"CONTENT_TYPE": content_type})
        refused(result, 415, "unsupported-media-type")


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
def test_a_compressed_body(service: Api, live: Live, route: Route) -> None:
    """A compressed body is refused without being read."""
    for encoding in bad.ENCODINGS:
        result = send(service, live, route, headers={"Content-Encoding": encoding})
        refused(result, 415, "unsupported-media-type")


@pytest.mark.parametrize("route", [it for it in ROUTES if "Idempotency-Key" in it.parameters("header")], ids=str)
def test_an_invalid_idempotency_key(service: Api, live: Live, route: Route) -> None:
    """An invalid idempotency key is named as a header."""
    for key in bad.KEYS:
        result = send(service, live, route, extras={"HTTP_IDEMPOTENCY_KEY": key})
        refused(result, 400, "invalid-request", "Idempotency-Key")


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_repeated_header(service: Api, live: Live, route: Route) -> None:
    """Each repeated header that is read is named, except where a signature decides."""
    for name in READ:
        result = send(service, live, route, extras={REPEATED: frozenset({name.lower(), "accept"})})
        if route in WITHOUT_CALLBACKS:
            refused(result, 400, "invalid-request", name)
        else:
            refused(result, 401, "callback-unverified")
    if route in WITHOUT_CALLBACKS:
        result = send(service, live, route, extras={UNDERSCORED: frozenset({"idempotency-key", "content-type"})})
        refused(result, 400, "invalid-request", "Idempotency-Key")


@pytest.mark.parametrize("route", WITHOUT_CALLBACKS, ids=str)
def test_an_unknown_query_field(service: Api, live: Live, route: Route) -> None:
    """A query field that a route does not have is refused by name."""
    for query, name in bad.QUERIES.items():
        result = send(service, live, route, query_string=query)
        refused(result, 400, "invalid-request", name)


@pytest.mark.parametrize(
    ("route", "name"),
    [pytest.param(route, name, id=f"{route} {name}") for route in ROUTES for name in route.parameters("query")],
)
def test_an_invalid_parameter(service: Api, live: Live, route: Route, name: str) -> None:
    """An invalid parameter is named, and so is a repeated one."""
    for value in bad.QUERY_VALUES:
        if name in VISIBLE_TEXTS and value in bad.VISIBLE:
            continue
        result = send(service, live, route, query_string=f"{name}={value}")
        refused(result, 400, "invalid-request", name)
    refused(send(service, live, route, query_string=f"{name}=1&{name}=1"), 400, "invalid-request", name)


@pytest.mark.parametrize("route", WITHOUT_CALLBACKS, ids=str)
def test_a_flood_of_parameters(service: Api, live: Live, route: Route) -> None:
    """The answer to 10,000 unknown parameters names only some."""
    result = send(service, live, route, query_string="&".join(f"k{n}=1" for n in range(10_000)))
    assert result.status_code == 400
    assert len(result.json["errors"]) == 50
    assert len(result.text) <= ANSWER_CHARACTERS_MAX


@pytest.mark.parametrize(
    ("route", "name"), [pytest.param(route, name, id=f"{route} {name}") for route in ROUTES for name in route.names]
)
def test_an_unknown_id(service: Api, live: Live, route: Route, name: str) -> None:
    """An id that does not exist gets 404, well-formed or not, also when the rest of the request is valid."""
    body = None if route.body is None else bad.as_json(route.body)
    for given in bad.IDS.values():
        path = route.path({**live.ids, name: given})
        result = service.request(route.method, path, body=body, headers={"Content-Type": "application/json"})
        refused(result, 404, "not-found")
