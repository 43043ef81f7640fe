"""Any input gets an answer that the document announces, never 500. Nothing refused reaches the actors."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import Refused
from store.port import StreamKey
from tests.api.routes import ROUTES, Route
from tests.api.support import BODY, Api
from tests.api.world import CURRENCIES, World
from tests.effort import examples

WORLD = World()
API = Api(WORLD)

ANY_TEXT = st.text(st.characters(), max_size=30)  # surrogates and control characters included
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))
AMOUNTS = st.integers(-5, 10**13) | st.floats() | st.decimals(0, 10**11, places=2).map(str) | ANY_TEXT
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "amount": AMOUNTS | VALUES,
        "gateway": st.sampled_from(sorted(CURRENCIES)) | VALUES,
        "customer_id": st.from_regex(r"[A-Za-z0-9._:@-]{1,20}", fullmatch=True) | VALUES,
        "currency": st.sampled_from(["USD", "JPY", "KWD", "EUR", "SEK"]) | VALUES,
        "details": st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=22) | VALUES,
        "capture": st.sampled_from(["manual", "automatic"]) | VALUES,
    },
)
HEADERS = [
    *("CONTENT_TYPE", "HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "HTTP_CONTENT_ENCODING", "HTTP_ACCEPT", "HTTP_EXPECT"),
    *("HTTP_IDEMPOTENCY_KEY", "HTTP_COOKIE", "HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_FORWARDED", "HTTP_DATE"),
]
HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)


def _calls_match(status: int, before: int) -> None:
    assert status < 500
    assert len(WORLD.calls) - before == (status == 202)


@given(VALUES | NEARLY)
@examples(100)
def test_any_json(value: object) -> None:
    """Any JSON value, including almost valid commands, is a 202 or a 400."""
    before = len(WORLD.calls)
    result = API.post(json.dumps(value))
    assert result.status_code in (202, 400)
    _calls_match(result.status_code, before)


@given(st.binary(max_size=200))
@examples(100)
def test_any_bytes(body: bytes) -> None:
    """Bytes that are not JSON are a 400."""
    before = len(WORLD.calls)
    _calls_match(API.post(body).status_code, before)


@given(st.data())
@examples(100)
def test_damaged_commands(data: st.DataObject) -> None:
    """A valid body with bytes changed, cut or doubled never causes a 500."""
    body = bytearray(json.dumps({**BODY, "currency": "USD", "details": {"a": "b"}}).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    before = len(WORLD.calls)
    _calls_match(API.post(bytes(body)).status_code, before)


@given(
    st.dictionaries(
        st.sampled_from(HEADERS),
        HEADER,
    )
)
@examples(100)
def test_any_headers(headers: dict[str, str]) -> None:
    """No header causes a 500."""
    before = len(WORLD.calls)
    result = API.post(json.dumps(BODY), extras=headers)
    assert result.status_code in (202, 400, 415)
    _calls_match(result.status_code, before)


@given(
    st.sampled_from(
        ["/v1/transactions", "/v1/customers/12345/events", "/v1/gateways", "/v1/customers/12345", "/v1/dead-letters"]
    ),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["limit", "cursor", "status", "gateway", "type", "created_from", "created_to", "customer_id"]
            )
            | ANY_TEXT.filter(lambda it: it.isprintable()),
            st.text(max_size=20) | st.integers(0, 300).map(str) | st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
        ),
        max_size=4,
    ),
)
@examples(100)
def test_any_query(path: str, pairs: list[tuple[str, str]]) -> None:
    """Any query is executed, or refused with the name of a field."""
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
    result = API.get(path, query_string=query)
    assert result.status_code in (200, 400, 404)
    if result.status_code == 400:
        assert result.json["errors"]


@given(
    st.sampled_from(
        [
            *("/v1/transactions/{}", "/v1/customers/{}", "/v1/customers/{}/events", "/v1/gateways/{}", "/{}"),
            *("/v1/dead-letters/{}", "/v1/dead-letters/{}/retry", "/v1/dead-letters/{}/discard"),
        ]
    ),
    st.binary(max_size=40),
)
@examples(100)
def test_any_id(template: str, name: bytes) -> None:
    """Any bytes in place of an id get 200 or 404."""
    result = API.get(template.format(quote(name, safe="")))
    assert result.status_code in (200, 302, 404, 405)


ORDER = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["open", "closed", "auto"]) | VALUES,
        "reason": ANY_TEXT | VALUES,
        "gateway": st.sampled_from(sorted(CURRENCIES)) | VALUES,
        "state": st.sampled_from(["waiting", "parked"]) | VALUES,
    },
)


@given(
    st.sampled_from(
        [
            "/v1/gateways/gatewayA/breaker",
            "/v1/dead-letters/retry",
            "/v1/dead-letters/unknown/retry",
            "/v1/dead-letters/buried/discard",
        ]
    ),
    VALUES | ORDER,
)
@examples(100)
def test_any_operator_command(path: str, order: object) -> None:
    """Any JSON value as a command is executed, refused with a field name, or finds no resource."""
    WORLD.letters.clear()
    WORLD.bury("buried")
    WORLD.reply = Refused("not-discardable", "No.")
    try:
        result = API.order(path, order)
    finally:
        WORLD.reset()
    assert result.status_code in (200, 202, 400, 404, 409)


NAMES = sorted({name for route in ROUTES for name in [*route.fields, *route.parameters("query")]} - {"wait"})
"""All headers and queries that a request may have, except those that would delay the test."""
TEXTS = st.sampled_from(["", "1", "200", "gatewayA", "12345", "open", "pending", "deposit", "2026-11-22T12:00:00Z"])
QUERY = st.lists(st.tuples(st.sampled_from(NAMES) | ANY_TEXT, TEXTS | ANY_TEXT), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name, errors='replace')}={quote(text, errors='replace')}" for name, text in pairs)
)
ANY_ID = st.binary(max_size=20).map(lambda it: quote(it, safe=""))
THERE = {
    "transaction_id": "019ab000-0000-7000-8000-000000000001",
    "customer_id": "12345",
    "dead_letter_id": "buried",
    "review_id": "review",
    "callback_id": "callback:1",
    "name": "gatewayA",
    "schema_file": "DepositCompleted.v1.json",
}
CONTENT_TYPES = st.sampled_from(["application/json", "application/json; charset=utf-8", "text/plain", ""]) | HEADER


def mostly(right: str, others: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Valid values, and one value in five from ``others``. So usually one part is wrong at a time, and is reached."""
    return st.integers(0, 4).flatmap(lambda die: others if die == 4 else st.just(right))


@st.composite
def bodies(draw: st.DrawFn, route: Route) -> bytes:
    """Any bytes, any JSON, a valid body with some members changed, and any of these damaged."""
    body = route.body or {}
    names = st.sampled_from(sorted(route.fields)) if route.fields else ANY_TEXT
    changed = st.dictionaries(names | ANY_TEXT, VALUES | AMOUNTS, min_size=1, max_size=2).map(
        lambda changes: json.dumps({**body, **changes}, default=str).encode()
    )
    any_json = VALUES.map(lambda it: json.dumps(it).encode())
    text = bytearray(draw(st.one_of(changed, changed, changed, any_json, st.binary(max_size=50))))
    if text and draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text) - 1))
        text[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(text)


@pytest.mark.parametrize("route", ROUTES, ids=str)
@given(st.data())
@examples(25)
def test_any_request(route: Route, data: st.DataObject) -> None:
    """Any body, query, headers and ids on any route get an answer that the document describes, and never a 5xx.

    The client checks with every answer that a refusal is a problem document as described.
    """
    WORLD.reset()
    WORLD.give("12345", 100)
    WORLD.bury("buried")
    WORLD.complain("review", None, stream=StreamKey("main", "12345"))
    if route.template.endswith("/discard"):  # the transaction of this dead letter does not exist
        WORLD.reply = Refused("not-discardable", "No.")
    before = len(WORLD.calls)
    headers = data.draw(st.dictionaries(st.sampled_from(HEADERS), HEADER, max_size=1))
    headers["CONTENT_TYPE"] = data.draw(mostly("application/json", CONTENT_TYPES))
    path = route.path({name: data.draw(mostly(THERE[name], ANY_ID)) for name in route.names})
    query = data.draw(QUERY if route.method == "GET" else mostly("", QUERY))
    result = API.request(route.method, path, body=data.draw(bodies(route)), query_string=query, extras=headers)
    assert result.status_code < 500
    assert len(result.text) < 10_000 or result.status_code < 400
    if result.status_code in (400, 404, 413, 415):  # the other statuses are replies of the actors
        assert (len(WORLD.calls), WORLD.children) == (before, [])
        assert (WORLD.orders, WORLD.modes, WORLD.retried, WORLD.discards) == ([], [], [], [])
