"""Query strings: every field is known, occurs once and is valid. Cursors come only from the service."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import falcon
import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from api.fields import Timestamp
from api.paging import CursorKind, Place, decode_cursor, encode_cursor
from api.problems import ProblemError
from api.schemas.common import PageSchema, read_fields
from api.screening.query import read_query
from tests.api.support import Api
from tests.api.world import World

LISTS = ["/v1/transactions", "/v1/customers/12345/events", "/v1/gateways", "/v1/dead-letters"]
SINGLES = [
    "/v1/transactions/019ab000-0000-7000-8000-000000000001",
    "/v1/customers/12345",
    "/v1/gateways/gatewayA",
]
TRANSACTION_ID = "019ab000-0000-7000-8000-000000000001"


def encoded(text: str) -> str:
    """``text`` in the encoding of cursors."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=x", "limit"),
        ("limit=1.0", "limit"),
        ("limit=+1", "limit"),
        ("limit=01", "limit"),
        ("limit=1_0", "limit"),
        ("limit=1e2", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=1&limit=1", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=%FF", "cursor"),
        ("cursor=null", "cursor"),
        ("cursor=" + encoded("x1"), "cursor"),
        ("cursor=" + encoded("v0"), "cursor"),
        ("cursor=" + encoded("v-1"), "cursor"),
        ("cursor=" + encoded("v9223372036854775808"), "cursor"),
        ("cursor=" + encoded("t" + TRANSACTION_ID.upper()), "cursor"),
        ("cursor=" + encoded("g"), "cursor"),
        ("cursor=" + "A" * 5000, "cursor"),
        ("offset=1", "offset"),
        ("Limit=1", "Limit"),
        ("foo", "foo"),
        ("foo=1&foo=2", "foo"),
        ("=1", ""),
        ("%00=1", "\\u{0}"),
        ("%ff=1", "\\u{fffd}"),
    ],
)
def test_a_wrong_field_of_a_list_is_named(api: Api, path: str, query: str, name: str) -> None:
    """A wrong field of a page gets 400 with its name."""
    api.deposit()
    result = api.get(path, query_string=query)

    assert (result.status_code, list(result.json["errors"])) == (400, [name])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("customer_id=", "customer_id"),
        ("customer_id=a%20b", "customer_id"),
        ("customer_id=%00", "customer_id"),
        ("customer_id=a&customer_id=a", "customer_id"),
        ("status=", "status"),
        ("status=done", "status"),
        ("status=PENDING", "status"),
        ("status=pending,failed", "status"),
        ("gateway=", "gateway"),
        ("gateway=gatewayC", "gateway"),
        ("gateway=%00", "gateway"),
        ("type=", "type"),
        ("type=payment", "type"),
        ("parent_id=", "parent_id"),
        ("parent_id=x", "parent_id"),
        ("parent_id=" + TRANSACTION_ID.upper(), "parent_id"),
        ("gateway_reference=", "gateway_reference"),
        ("gateway_reference=a%20b", "gateway_reference"),
        ("gateway_reference=%00", "gateway_reference"),
        ("gateway_reference=" + "x" * 256, "gateway_reference"),
        ("correlation_id=", "correlation_id"),
        ("correlation_id=%C3%A9", "correlation_id"),
        ("correlation_id=" + "x" * 129, "correlation_id"),
        ("correlation_id=a&correlation_id=a", "correlation_id"),
        ("created_from=", "created_from"),
        ("created_from=yesterday", "created_from"),
        ("created_to=2026-11-22", "created_to"),
        ("created_to=2026-11-22T12:00:00", "created_to"),
        ("created_to=2026-11-22T12:00:00+01:00", "created_to"),
        ("created_to=0000-01-01T00:00:00Z", "created_to"),
        ("created_to=0001-01-01T00:00:00%2B23:59", "created_to"),
        ("created_to=9999-12-31T23:59:59.9999999Z", "created_to"),
        ("created_to=2026-02-29T00:00:00Z", "created_to"),
        ("created_to=2026-11-22T24:00:00Z", "created_to"),
        ("created_to=2026-11-22T12:00:61Z", "created_to"),
        ("created_to=2026-11-22T12:00:00%2B24:00", "created_to"),
        ("created_to=%D9%A2026-11-22T12:00:00Z", "created_to"),
        ("created_to=2026-11-22T12:00:00." + "9" * 5000 + "Z", "created_to"),
    ],
)
def test_a_wrong_filter_is_named(api: Api, query: str, name: str) -> None:
    """An invalid filter gets 400, not an empty list."""
    result = api.get("/v1/transactions", query_string=query)
    assert (result.status_code, list(result.json["errors"])) == (400, [name])


def test_a_plus_that_became_a_space_is_explained(api: Api) -> None:
    """The hint on "+" appears in queries only, and only for a value with a space."""
    for query, has_hint in {
        "created_from=2026-11-22T12:00:00+01:00": True,
        "created_from=yesterday": False,
        "created_from=2026-11-22T12:00:00%2B24:00": False,
    }.items():
        (said,) = api.get("/v1/transactions", query_string=query).json["errors"]["created_from"]
        assert ("%2B" in said) == has_hint
    with pytest.raises(ValidationError) as wrong:
        Timestamp().deserialize("2026-11-22T12:00:00 01:00")
    assert "%2B" not in str(wrong.value)


def test_filters_of_transactions_are_unknown_elsewhere(api: Api) -> None:
    """A field of one list is unknown to another."""
    api.deposit()
    for path in LISTS[1:]:
        assert list(api.get(path, query_string="status=pending").json["errors"]) == ["status"]


@pytest.mark.parametrize("path", SINGLES)
def test_single_resources_accept_no_query(api: Api, path: str) -> None:
    """A query on a single resource is refused, because it would have no effect."""
    api.deposit()
    assert api.get(path).status_code == 200
    assert list(api.get(path, query_string="x=1").json["errors"]) == ["x"]


def test_many_unknown_fields_get_a_short_answer(api: Api) -> None:
    """The answer to very many unknown fields stays small."""
    for path in ("/v1/gateways", "/v1/gateways/gatewayA"):
        result = api.get(path, query_string="&".join(f"k{i}=1" for i in range(2000)))
        assert result.status_code == 400
        assert len(result.json["errors"]) == 50


def test_very_many_names_do_not_reach_a_schema() -> None:
    """A request with very many unknown names is refused before a schema examines each of them."""

    class Untouched(PageSchema):
        def load(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("the schema was used")

    names = [f"k{number}" for number in range(10_000)]
    query = falcon.Request(falcon.testing.create_environ(query_string="&".join(f"{name}=1" for name in names)))
    with pytest.raises(ProblemError) as of_a_query:
        read_query(query, Untouched())
    with pytest.raises(ProblemError) as of_a_body:
        read_fields(dict.fromkeys(names, 1), Untouched())
    assert list(of_a_query.value.errors or {}) == list(of_a_body.value.errors or {}) == names[:50]


def test_a_cursor_of_another_list_is_refused(api: Api, world: World) -> None:
    """Cursors cannot be mixed up."""
    for _ in range(2):
        world.bury(api.deposit().json["transaction_id"])
    cursors = [api.get(path, params={"limit": "1"}).json["next_cursor"] for path in LISTS]
    assert all(cursors)
    for own, cursor in enumerate(cursors):
        for other, path in enumerate(LISTS):
            assert api.get(path, params={"cursor": cursor}).status_code == (200 if own == other else 400)


@given(st.integers(1, 10**18 - 1), st.integers(0, 8191))
def test_a_cursor_decodes_to_its_key(version: int, generation: int) -> None:
    """Encoding and decoding of a key are inverse. The encoded characters need no escape in a URL."""
    cursor = encode_cursor(CursorKind.VERSIONS, str(version), generation)
    assert decode_cursor(CursorKind.VERSIONS, cursor) == Place(str(version), generation)
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=60), st.sampled_from(CursorKind))
def test_only_encoded_cursors_are_accepted(text: str, kind: CursorKind) -> None:
    """A string is a cursor only if it is exactly the encoding that the service would make."""
    key = decode_cursor(kind, text)
    assert key is None or encode_cursor(kind, *key) == text


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_every_rfc_3339_time_is_read(at: datetime, minutes: int) -> None:
    """A time with any offset is the same instant in UTC."""
    given_at = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = given_at.isoformat()
    assert Timestamp().deserialize(text) == given_at
    assert Timestamp().deserialize(text.replace("T", "t").replace("+00:00", "z")) == given_at
    assert Timestamp().deserialize(text).tzinfo is UTC


def test_special_cases_of_rfc_3339() -> None:
    """Leap seconds and fractions finer than a microsecond have an instant; a missing offset has none."""
    read = Timestamp().deserialize
    assert read("2016-12-31T23:59:60Z") == datetime(2017, 1, 1, tzinfo=UTC)
    assert read("2026-01-01T00:00:00.0000001Z") == datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)
    assert read("2026-01-01T00:00:00.1Z") == datetime(2026, 1, 1, microsecond=100_000, tzinfo=UTC)
    with pytest.raises(ValidationError):
        read("2026-01-01T00:00:00")


def test_a_broken_store_is_a_503(api: Api, world: World) -> None:
    """When the store does not answer, reads get 503 with Retry-After."""
    world.down = True
    lists = ("/v1/transactions", "/v1/dead-letters", "/v1/customers/12345/events")
    for path in (*lists, "/v1/customers/12345", SINGLES[0], "/v1/dead-letters/x"):
        result = api.get(path)
        assert (result.status_code, result.json["type"]) == (503, "/problems/unavailable")
        assert result.headers["Retry-After"] == "1"
        assert "disk" not in result.text
