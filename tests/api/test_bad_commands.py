"""Every error in a body gets a 4xx that names the field, and nothing reaches the actors."""

from __future__ import annotations

import json
import time

import pytest

from tests.api.support import BODY, Api
from tests.api.world import World

LONG = "9" * 5000


WRONG: dict[str, list[object]] = {
    "amount": [
        *(..., None, True, False, [], {}, 0, -1, -0.01, 0.001, 10000000000.01, 10**30),
        *("", " 1", "1 ", "+1", "-1", "01", "1.", ".5", "1e2", "1_0", "0x1", "NaN", "Infinity", "\u0661", "1,5", "0"),
        *("0.001", "10000000000.01", "9" * 65),
    ],
    "gateway": [..., None, 1, [], {}, "", "gatewayC", "gatewaya", "gatewayA ", "x" * 5000, "gatewayA\u0000"],
    "customer_id": [
        *(..., None, 12345, True, [], {}, "", "x" * 129, "a b", "a/b", "a\n", "\u00e9", "a\u0000", "\ud800"),
        *("\u0661", "a\u202eb", "a\\b", '"', "a,b", "a+b"),
    ],
    "currency": [None, 1, [], "", "usd", "US", "USDX", "XXX", "XAU", "USD ", "\uff35\uff33\uff24", "SEK"],
    "details": [
        *(None, 1, "x", [], ["x"], {"a": 1}, {"a": None}, {"a": {}}, {"a": []}),
        *({f"k{i}": "v" for i in range(21)}, {"order": "x" * 501}, {"x" * 501: ""}),
        *({"order": f"a{c}b"} for c in "\u0000\u0001\t\n\r\u001f\u007f\u0080\u009f\ud800\udfff"),
        *({f"a{c}b": "x"} for c in "\u0000\n\u007f\ud800"),
    ],
    "capture": [None, True, 1, "", "Manual", "manual ", "none", [], {}],
    **{name: ["x"] for name in ("Amount", "transaction_id", "status", "", " amount", "__proto__")},
}
"""Values that are each wrong on their own. An ellipsis means that the field is missing."""


@pytest.fixture(autouse=True)
def nothing_reaches_the_actors(world: World) -> object:
    """No request of these tests reaches the actors."""
    yield
    assert world.calls == []


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_one_wrong_field_is_named(api: Api, name: str, value: object) -> None:
    """A wrong, missing or unknown field is a 400 that names this field and no other."""
    result = api.deposit(**{name: value})

    assert (result.status_code, result.json["type"]) == (400, "/problems/invalid-request")
    assert list(result.json["errors"]) == [name]
    assert all(isinstance(message, str) and message for message in result.json["errors"][name])


@pytest.mark.parametrize("capture", ["manual", "automatic"])
def test_a_withdrawal_has_no_capture(api: Api, capture: str) -> None:
    """The field of deposits is unknown to withdrawals."""
    result = api.withdraw(capture=capture)
    assert (result.status_code, result.json["errors"]) == (400, {"capture": ["Unknown field."]})


@pytest.mark.parametrize(
    ("amount", "status"),
    [
        (LONG, 400),
        ("-" + LONG, 400),
        (f"1.{LONG}", 400),
        (f"0.{LONG}", 400),
        ("1e400", 400),
        ("-1e400", 400),
        ("1e-400", 400),
        ("1e999999999", 400),
        ("1e-999999999", 400),
        ("1e99999999999999999999", 400),
        ("1e-99999999999999999999", 400),
        (f"1e{LONG}", 400),
        ("-0", 400),
        ("0.0", 400),
        ("0e0", 400),
    ],
)
def test_a_huge_number_names_the_amount(api: Api, amount: str, status: int) -> None:
    """A number of any size is checked in milliseconds. The answer names the amount, not the body."""
    started = time.perf_counter()
    result = api.post(json.dumps(BODY).replace("100.0", amount))

    assert result.status_code == status
    assert list(result.json["errors"]) == ["amount"]
    assert time.perf_counter() - started < 1, "no arithmetic on giant numbers"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"true",
        b"1",
        b'"text"',
        b"[]",
        b'[{"amount": 1}]',
        b"{",
        b"}",
        b'{"amount": 1,}',
        b"{'amount': 1}",
        b"{amount: 1}",
        b'{"amount": 01}',
        b'{"amount": +1}',
        b'{"amount": .5}',
        b'{"amount": 1.}',
        b'{"amount": 0x10}',
        b'{"amount": 1_0}',
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": -Infinity}',
        b'{"details": {"a": NaN}}',
        b'{"amount": 1} trailing',
        b'{"amount": 1}{"amount": 1}',
        b'{"amount": 1} // comment',
        b'{"customer_id": "a\nb"}',
        b'{"customer_id": "a\x00b"}',
        b'{"customer_id": "\\x41"}',
        b'{"customer_id": "\\u12"}',
        b'{"customer_id": "\xff"}',
        b'{"customer_id": "\xed\xa0\x80"}',
        b'{"customer_id": "\xc0\x80"}',
        b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
        json.dumps(BODY).encode("utf-16"),
        json.dumps(BODY).encode("utf-32-le"),
        b"[" * 60_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"amount=1&gateway=gatewayA",
        b"<request/>",
    ],
)
def test_a_body_that_is_not_a_json_object_is_malformed(api: Api, body: bytes) -> None:
    """Only strict JSON is read. Anything else is a 400 within milliseconds that repeats nothing of the body."""
    started = time.perf_counter()
    result = api.post(body)

    assert (result.status_code, result.json["type"]) == (400, "/problems/malformed-body")
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"amount": 1, "amount": 1, "gateway": "gatewayA", "customer_id": "1"}', "amount"),
        ('{"amount": 1, "gateway": "gatewayA", "customer_id": "1", "customer\\u005fid": "2"}', "customer_id"),
        ('{"amount": 1, "gateway": "gatewayA", "customer_id": "1", "details": {"a": "1", "a": "2"}}', "details"),
        ('{"amount": 1, "gateway": "gatewayA", "customer_id": {"a": 1, "a": 2}}', "customer_id"),
        ('{"x": 1, "x": 2}', "x"),
        ('{"\\ud800": 1, "\\ud800": 2}', "\\u{d800}"),
    ],
)
def test_a_name_given_twice_is_named(api: Api, body: str, name: str) -> None:
    """A name that occurs twice is refused, at any depth and in any spelling. Neither value is used."""
    result = api.post(body)

    assert (result.status_code, list(result.json["errors"])) == (400, [name])


def test_every_wrong_field_is_named_at_once(api: Api) -> None:
    """One answer names all errors, those of rules between fields included."""
    wrong = api.deposit(amount=-1, gateway="nope", customer_id="", currency="usd", details=1, extra=1)
    assert sorted(wrong.json["errors"]) == ["amount", "currency", "customer_id", "details", "extra", "gateway"]

    between = api.deposit(amount=0.001, gateway="gatewayB", currency="JPY")
    assert sorted(between.json["errors"]) == ["amount", "currency"]

    nothing = api.post("{}")
    assert sorted(nothing.json["errors"]) == ["amount", "customer_id", "gateway"]


def test_an_amount_is_checked_despite_a_wrong_currency(api: Api) -> None:
    """When only the currency is wrong, an amount that is valid in some currency is not named."""
    for amount in (1, "0.001", 10**12):
        assert list(api.deposit(amount=amount, currency="XXX").json["errors"]) == ["currency"]


def test_a_default_currency_that_the_gateway_does_not_accept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing currency is named when the gateway does not accept the default."""
    monkeypatch.setattr(world, "gateway_currencies", lambda: {"gatewayA": frozenset({"EUR"})})
    result = Api(world).deposit()

    assert list(result.json["errors"]) == ["currency"]
    assert "USD" in result.json["errors"]["currency"][0]


def test_unprintable_names_are_repeated_in_printable_form(api: Api) -> None:
    """Unknown names of a request are repeated short and printable, and only a limited number of them."""
    result = api.post(json.dumps({**BODY, "a\u0000b": 1, "\ud800": 1}))
    assert sorted(result.json["errors"]) == ["\\u{d800}", "a\\u{0}b"]
    assert list(api.deposit(**{"n" * 60_000: 1}).json["errors"]) == ["n" * 64 + "..."]

    many = api.post(json.dumps({**BODY, **{f"k{i}": 1 for i in range(4000)}}))
    assert len(many.json["errors"]) <= 50
    assert len(many.text) < 10_000


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/problem+json",
        "application/json-seq",
        "application/jsonx",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        'application/json; charset="utf-8',
        "application/json, application/json",
        "*/*",
    ],
)
def test_another_content_type_is_415(api: Api, content_type: str | None) -> None:
    """Only JSON in UTF-8 is accepted."""
    result = api.post(json.dumps(BODY), content_type)
    assert (result.status_code, result.json["type"]) == (415, "/problems/unsupported-media-type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
def test_an_encoded_body_is_415(api: Api, encoding: str) -> None:
    """A compressed body is refused without being read."""
    result = api.post(json.dumps(BODY), headers={"Content-Encoding": encoding})
    assert result.status_code == 415


@pytest.mark.parametrize("query", ["x=1", "amount=1", "x", "x=1&x=2", "=1", "%00=%ff"])
def test_a_command_accepts_no_query(api: Api, query: str) -> None:
    """A command with a query is refused, because the query would have no effect."""
    assert api.post(json.dumps(BODY), query_string=query).status_code == 400
