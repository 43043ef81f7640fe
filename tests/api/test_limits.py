"""Every limit of the API from both sides: the last accepted value, and the next one, which is refused by name."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from domain.money import EXPONENTS
from tests.api.bad import as_json
from tests.api.support import BODY, Api
from tests.api.world import CURRENCIES, World

COMMANDS = ("/v1/deposit", "/v1/withdrawal")
ADJUSTMENTS = "/v1/customers/12345/adjustments"
ADJUSTMENT = {"amount": 1, "currency": "USD", "reason": "r", "evidence": "e"}
ALLOWED = string.ascii_letters + string.digits + "._:@-"
FORBIDDEN = [*sorted(set(map(chr, range(0x180))) - set(ALLOWED)), *"\u0661\u202e\ufeff\uff21\U0001f4a9\ud800"]
CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\ud800", "\udfff"]
LETTERS = [" ", "~", "\u00a0", "\u00e9", "\u0661", "\u202e", "\u2028", "\ufffd", "\U0001f4a9", '"', "\\"]
KIB = 1024


@pytest.fixture
def api(world: World) -> Api:
    """An API without balance checks, with an existing customer."""
    api = Api(world, checked_withdrawals=False)
    world.give("12345", 1)
    return api


def wrong(api: Api, path: str, members: Mapping[str, Any], **raw: str) -> list[str]:
    """The wrong fields of a command with ``members``, some of them as JSON.

    An empty result means that it is accepted.
    """
    result = api.post(as_json(members, **raw), path=path)
    if result.status_code in (200, 201, 202):
        return []
    assert (result.status_code, result.json["type"]) == (400, "/problems/invalid-request")
    return list(result.json["errors"])


@pytest.mark.parametrize("currency", sorted(CURRENCIES["gatewayA"]))
def test_amounts(api: Api, currency: str) -> None:
    """At most 10^12 minor units and no fraction of a unit, in both spellings. Only adjustments may be negative."""
    unit = Decimal(1).scaleb(-EXPONENTS[currency])
    within = (10**12 * unit, unit, 11 * unit)
    beyond = (10**12 * unit + unit, unit / 10, 11 * unit + unit / 10)
    command = {**BODY, "currency": currency}
    correction = {**ADJUSTMENT, "currency": currency}
    for spelling in ("{:f}", '"{:f}"'):
        for amount in within:
            for path in COMMANDS:
                assert wrong(api, path, command, amount=spelling.format(amount)) == []
                assert wrong(api, path, command, amount=spelling.format(-amount)) == ["amount"]
            assert wrong(api, ADJUSTMENTS, correction, amount=spelling.format(amount)) == []
            assert wrong(api, ADJUSTMENTS, correction, amount=spelling.format(-amount)) == []
        for amount in beyond:
            for path in COMMANDS:
                assert wrong(api, path, command, amount=spelling.format(amount)) == ["amount"]
            assert wrong(api, ADJUSTMENTS, correction, amount=spelling.format(amount)) == ["amount"]
            assert wrong(api, ADJUSTMENTS, correction, amount=spelling.format(-amount)) == ["amount"]
    for path, members in ((COMMANDS[0], command), (COMMANDS[1], command), (ADJUSTMENTS, correction)):
        assert wrong(api, path, members, amount="0") == ["amount"]
        assert wrong(api, path, members, amount=f'"1.{"0" * EXPONENTS[currency]}0"') == []


@pytest.mark.parametrize("path", COMMANDS)
def test_customer_ids(api: Api, path: str) -> None:
    """1 to 128 permitted characters in any place, but not "." and "..", which clients remove from URLs."""
    for good in ("x", "x" * 128, "...", *(set(ALLOWED) - {"."}), *(f"a{one}b" for one in ALLOWED)):
        assert wrong(api, path, {**BODY, "customer_id": good}) == []
        assert api.get(f"/v1/customers/{good}").status_code == 200
    within = (f"a{one}{end}" for one in FORBIDDEN for end in ("b", ""))
    for bad in ("", "x" * 129, ".", "..", *FORBIDDEN, *within):
        assert wrong(api, path, {**BODY, "customer_id": bad}) == ["customer_id"]


@pytest.mark.parametrize("path", COMMANDS)
def test_details(api: Api, path: str) -> None:
    """At most 20 strings of at most 500 characters, under names of the same length, without control characters."""
    full = {f"{n:x>500}": "v" * 500 for n in range(20)}
    for good in ({}, full, {"": ""}, *({one: one} for one in LETTERS)):
        assert wrong(api, path, {**BODY, "details": good}) == []
    for bad in (
        {**full, "x": "v"},
        {**full, f"{0:x>500}": "v" * 501},
        {"n" * 501: "v"},
        *({f"a{one}b": "v"} for one in CONTROLS),
        *({"n": f"a{one}b"} for one in CONTROLS),
    ):
        assert wrong(api, path, {**BODY, "details": bad}) == ["details"]


@pytest.mark.parametrize("name", ["reason", "evidence"])
def test_reasons(api: Api, name: str) -> None:
    """A reason has 1 to 500 characters, one of them visible and none a control character."""
    for good in ("x", "x" * 500, " x", "\U0001f4a9" * 500, *(f"a{one}b" for one in LETTERS)):
        assert wrong(api, ADJUSTMENTS, {**ADJUSTMENT, name: good}) == []
    for bad in ("", " ", "\u00a0\u2028", "x" * 501, *CONTROLS, *(f"a{one}b" for one in CONTROLS)):
        assert wrong(api, ADJUSTMENTS, {**ADJUSTMENT, name: bad}) == [name]


def test_versions(api: Api) -> None:
    """A version is a whole number from 1 that every program can represent."""
    path = f"/v1/transactions/{api.deposit().json['transaction_id']}/resolution"
    order = {"outcome": "failed", "reason": "r", "evidence": "e"}
    for good in ("1", str(2**53)):
        result = api.post(as_json(order, version=good), path=path)
        assert (result.status_code, result.json["type"]) == (409, "/problems/stale-version")
    for bad in ("0", "-1", str(2**53 + 1), "1.0", "1.5", "1e0", '"1"', "9" * 5000):
        assert wrong(api, path, order, version=bad) == ["version"]


@pytest.mark.parametrize("path", [*COMMANDS, ADJUSTMENTS])
def test_bodies(api: Api, path: str) -> None:
    """A body has at most 64 KiB."""
    body = json.dumps(BODY if path in COMMANDS else ADJUSTMENT)
    assert api.post(body.ljust(64 * KIB), path=path).status_code in (201, 202)
    result = api.post(body.ljust(64 * KIB + 1), path=path)
    assert (result.status_code, result.json["type"]) == (413, "/problems/body-too-large")


@pytest.mark.parametrize("path", [*COMMANDS, ADJUSTMENTS])
def test_keys(api: Api, path: str) -> None:
    """A key has 1 to 255 visible characters. Double quotes around it do not count."""
    body = json.dumps(BODY if path in COMMANDS else ADJUSTMENT)
    visible = map(chr, range(0x21, 0x7F))
    for good in ("x", "x" * 255, f'"{"x" * 255}"', '"x"', *(f"a{one}" for one in visible)):
        assert api.post(body, path=path, extras={"HTTP_IDEMPOTENCY_KEY": good}).status_code in (201, 202)
    for bad in ("", '""', "x" * 256, f'"{"x" * 256}"', '"', "a b", "a\x7f", "a\u00e9", "a\x00"):
        result = api.post(body, path=path, extras={"HTTP_IDEMPOTENCY_KEY": bad})
        assert list(result.json["errors"]) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("path", "name", "good", "bad"),
    [
        ("/v1/transactions", "limit", ["1", "200"], ["0", "201", "-1", "1.0", "01"]),
        ("/v1/events", "limit", ["1", "200"], ["0", "201"]),
        (
            "/v1/events",
            "wait",
            ["0", "30", "0.25", "30.000", "1e-05", "24.638721130909623"],
            ["-1", "30.001", "31", "1e1"],
        ),
        ("/v1/events", "after", ["0", "1"], ["-1", "01", str(2**63)]),
        ("/v1/transactions", "customer_id", ["x", "x" * 128], ["", "x" * 129]),
    ],
)
def test_parameters(api: Api, path: str, name: str, good: list[str], bad: list[str]) -> None:
    """Each end of a parameter's range is accepted, and the value beyond it is named."""
    for value in good:
        assert api.get(path, params={name: value}).status_code == 200
    for value in bad:
        assert list(api.get(path, query_string=f"{name}={value}").json["errors"]) == [name]


def test_request_ids(api: Api) -> None:
    """An id of 1 to 128 visible characters is repeated. Any other id is replaced, and the request is not refused."""
    for good in ("x", "x" * 128, *map(chr, range(0x21, 0x7F))):
        assert api.get("/healthz", headers={"X-Request-ID": good}).headers["X-Request-ID"] == good
    for bad in ("", "x" * 129, "a b", "a\u00e9", "a\tb"):
        result = api.get("/healthz", extras={"HTTP_X_REQUEST_ID": bad})
        assert (result.status_code, result.headers["X-Request-ID"][:9]) == (200, "generated")
