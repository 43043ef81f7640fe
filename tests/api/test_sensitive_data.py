"""Card data and secrets are refused in every field of a request, with the field's name.

Nothing is repeated or stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote

import pytest

from api.screening.body import TOO_LONG
from api.screening.sensitive_data import HOLDS_CARD, HOLDS_SECRET
from tests.api.support import BODY, Api
from tests.api.world import World

CARD = "4111111111111111"
API_KEY = f"pgw_{'a2' * 6}b_{'Xq7-wV_R' * 5}abc"
SECRET = "whsec_Zm9yIHRlc3RzIG9ubHk="
SPACED = "4111 1111 1111 1111"
ESCAPED = "".join(f"\\u003{digit}" for digit in CARD)
WIDE = "\uff14" + "\uff11" * 15
REASONS = {"reason": "because", "evidence": "ticket 7", "outcome": "completed", "version": 1}
NAMELESS = "(a name that contains a card number)"


def digits(text: str) -> str:
    """All digits of ``text``, of any script, as ASCII digits."""
    return re.sub(r"\d", lambda match: str(int(match[0])), re.sub(r"\D", "", text))


@pytest.mark.parametrize(
    "spelling",
    [
        CARD,
        *(SPACED.replace(" ", between) for between in (" ", "-", ":", ", ", " | ", "*", '"', "\u200b")),
        " ".join(CARD),
        f"card:{CARD}!",
        WIDE,
        int(CARD),
        float(CARD),
    ],
)
@pytest.mark.parametrize("field", [*BODY, "currency", "details", "unknown"])
def test_a_card_number_in_any_field(api: Api, world: World, field: str, spelling: object) -> None:
    """A card number is refused in each field of a deposit, as text in any spelling and as a number."""
    answer = api.deposit(**{field: spelling})
    assert answer.status_code == 400
    assert answer.json["type"] == "/problems/invalid-request"
    assert answer.json["errors"] == {field: [HOLDS_CARD]}
    assert CARD not in digits(answer.text)
    assert world.calls == []


@pytest.mark.parametrize(
    "value",
    [
        {"order": SPACED},
        {CARD: "7"},
        {"order": CARD, "other": "fine"},
        {"deep": [[{"x": {CARD: 1}}]]},
        [int(CARD)],
        {"n": 4.111111111111111e15},
    ],
)
def test_a_card_number_at_any_depth(api: Api, value: object) -> None:
    """A card number is refused in names and values of details, and in invalid details. The top-level field is named."""
    answer = api.deposit(details=value)
    assert answer.json["errors"] == {"details": [HOLDS_CARD]}
    assert CARD not in digits(answer.text)


def test_the_search_is_as_deep_as_the_parser(api: Api) -> None:
    """Nested values are searched as deep as the parser reads them."""
    answer = api.post('{"amount": ' + "[" * 400 + CARD + "]" * 400 + "}")
    assert answer.json["errors"] == {"amount": [HOLDS_CARD]}


@pytest.mark.parametrize(
    "body",
    [
        f'{{"amount": "{ESCAPED}"}}',
        '{"amount": "4111\\t1111\\t1111\\t1111"}',
        '{"amount": "4111\\/1111\\/1111\\/1111"}',
        '{"amount": 4.111111111111111E+15}',
        '{"amount": 41111111111111110e-1}',
        '{"amount": 411111111111116e1}',
    ],
)
def test_escapes_and_exponents_hide_no_card_number(api: Api, body: str) -> None:
    """The decoded text is searched."""
    assert api.post(body).json["errors"] == {"amount": [HOLDS_CARD]}


@pytest.mark.parametrize(
    "body",
    [f'{{"{CARD}": 1}}', f'{{"{CARD}": 1, "{CARD}": 2}}', f'{{"details": {{"{SPACED}": "1", "{SPACED}": "2"}}}}'],
)
def test_names_with_card_numbers_are_not_repeated(api: Api, body: str) -> None:
    """A field whose name is a card number is reported without the name."""
    answer = api.post(body)
    assert answer.status_code == 400
    assert set(answer.json["errors"]) <= {NAMELESS, "details"}
    assert CARD not in digits(answer.text)


@pytest.mark.parametrize(
    "key",
    [
        "cvv",
        "CVV2",
        "cvc",
        "card_cvc",
        "csc",
        "card-security-code",
        "cardSecurityCode",
        "\uff23\uff36\uff36",
        "cvv_code",
    ],
)
def test_verification_data_are_refused(api: Api, key: str) -> None:
    """Verification data are refused by name, with any value."""
    answer = api.deposit(details={key: "any", "order": "7"})
    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["details"]
    assert "any" not in answer.text


@pytest.mark.parametrize("key", ["order", "cid", "pin", "code", "verification_code", "card_last4", "discovery", "cv"])
def test_other_names_are_accepted(api: Api, key: str) -> None:
    """Names with other common meanings are accepted."""
    assert api.deposit(details={key: "7391"}).status_code == 202


@pytest.mark.parametrize(
    "path",
    [
        "/v1/transactions/{id}/resolution",
        "/v1/customers/12345/adjustments",
        "/v1/gateways/gatewayA/breaker",
        "/v1/dead-letters/retry",
        "/v1/withdrawal",
    ],
)
def test_card_numbers_in_texts_of_operators(api: Api, path: str) -> None:
    """The same rule holds for reasons, evidence and all other texts of operators."""
    transaction = api.deposit().json["transaction_id"]
    answer = api.order(path.format(id=transaction), {**REASONS, "reason": f"card {SPACED}"})
    assert answer.json["errors"] == {"reason": [HOLDS_CARD]}
    assert CARD not in digits(answer.text)


@pytest.mark.parametrize("given", [CARD, f'"{CARD}"', f"order-{CARD}", SPACED.replace(" ", "-")])
def test_card_numbers_in_idempotency_keys(api: Api, world: World, given: str) -> None:
    """An idempotency key with a card number is refused, because it would be stored."""
    answer = api.command("/v1/deposit", key=given)
    assert answer.json["errors"] == {"Idempotency-Key": [HOLDS_CARD]}
    assert world.claims == {}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (f"customer_id={CARD}", "customer_id"),
        (f"cursor={CARD}", "cursor"),
        (f"limit={CARD}", "limit"),
        ("customer_id=" + quote(SPACED), "customer_id"),
        (f"{CARD}=1", NAMELESS),
        (f"{CARD}=1&{CARD}=2", NAMELESS),
        (f"status=failed&status={CARD}", "status"),
    ],
)
def test_card_numbers_in_queries(api: Api, query: str, name: str) -> None:
    """A card number is refused in names and values of parameters, given once or more often."""
    for path in ("/v1/transactions", "/v1/customers/12345"):
        answer = api.get(path, query_string=query)
        assert answer.json["errors"] == {name: [HOLDS_CARD]}
        assert CARD not in digits(answer.text)


@pytest.mark.parametrize("given", [CARD, SPACED, f"x-{CARD}", WIDE])
@pytest.mark.parametrize(
    "path", ["/v1/customers/{}", "/v1/customers/{}/events", "/v1/transactions/{}", "/v1/dead-letters/{}", "/{}"]
)
def test_card_numbers_in_paths(api: Api, world: World, path: str, given: str) -> None:
    """A path with a card number gets 404, without a read of the store."""
    world.down = True
    answer = api.get(path.format(quote(given)))
    assert answer.status_code == 404
    assert CARD not in digits(answer.text)


def test_card_numbers_in_ids_and_traces_are_replaced(api: Api, world: World) -> None:
    """A request id or trace with a card number is replaced or ignored. The request is not refused."""
    trace = f"00-{'a' * 32}-{CARD}-01"
    padded = f"00-{'0' * 16}{CARD}-00f067aa0ba902b7-01"  # digits only
    for given in (trace, padded):
        answer = api.post(json.dumps(BODY), headers={"X-Request-ID": CARD, "traceparent": given})
        assert answer.status_code == 202
        assert answer.headers["X-Request-ID"].startswith("generated-")
        assert world.calls[-1][2].traceparent is None
        assert CARD not in world.calls[-1][2].correlation_id
    fine: Mapping[str, str] = {"traceparent": f"00-{'a' * 32}-00f067aa0ba902b7-01"}
    api.post(json.dumps(BODY), headers=fine)
    assert world.calls[-1][2].traceparent == fine["traceparent"]


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111112",
        "0000000000000000",
        "01a20384-41d6-7fec-aa23-e22947e4a14e",
        "411111111111111",
        f"x{CARD}",
        f"{CARD}a",
        "1764453088984",
        "1994123456789012480",
    ],
)
def test_other_numbers_are_accepted(api: Api, number: str) -> None:
    """Other numbers are accepted."""
    assert api.deposit(customer_id=number, details={number: number}).status_code == 202


@pytest.mark.parametrize("text", ["+49 (151) 1234-5670", "DE28 4552 0049 4606 7489 83", "19.74, 4.01, 401.55, 1.95"])
def test_details_with_many_digits_are_accepted(api: Api, text: str) -> None:
    """Telephone numbers, account numbers and amounts in their usual forms are accepted."""
    assert api.deposit(details={text: text}).status_code == 202


@pytest.mark.parametrize("spelling", [API_KEY, f"it is {API_KEY}!", SECRET, f'"{SECRET}"'])
@pytest.mark.parametrize("field", [*BODY, "details", "unknown"])
def test_secrets_in_any_field(api: Api, world: World, field: str, spelling: str) -> None:
    """An API key or a callback secret is refused like a card number, and its field is named."""
    for value in (spelling, {"order": spelling}, {spelling: "7"}):
        answer = api.deposit(**{field: value})
        assert answer.status_code == 400
        assert answer.json["errors"] == {field: [HOLDS_SECRET]}
        assert spelling[-20:-5] not in answer.text
    assert world.calls == []


def test_escapes_hide_no_secret(api: Api) -> None:
    """The decoded text is searched. A card number beside the secret is reported as well."""
    escaped = API_KEY.replace("pgw", "\\u0070gw")
    assert api.post(f'{{"amount": "{escaped}"}}').json["errors"] == {"amount": [HOLDS_SECRET]}
    assert api.post(f'{{"amount": "{escaped} {CARD}"}}').json["errors"] == {"amount": [HOLDS_CARD, HOLDS_SECRET]}


def test_secrets_in_reasons_and_evidence(api: Api) -> None:
    """Texts of operators are stored in events permanently."""
    path = f"/v1/transactions/{api.deposit().json['transaction_id']}/resolution"
    for field in ("reason", "evidence"):
        answer = api.order(path, {**REASONS, field: f"I used {API_KEY}."})
        assert answer.json["errors"] == {field: [HOLDS_SECRET]}


def test_secrets_in_headers(api: Api, world: World) -> None:
    """A request id and a trace with a secret are replaced, and an idempotency key is refused."""
    trace = f"01-{'a' * 32}-00f067aa0ba902b7-01-{API_KEY}"
    answer = api.post(json.dumps(BODY), headers={"X-Request-ID": API_KEY, "traceparent": trace})
    assert answer.status_code == 202
    assert answer.headers["X-Request-ID"].startswith("generated-")
    assert world.calls[-1][2].traceparent is None
    assert "pgw_" not in world.calls[-1][2].correlation_id
    assert api.command("/v1/deposit", key=SECRET).json["errors"] == {"Idempotency-Key": [HOLDS_SECRET]}
    assert world.claims == {}


def test_secrets_in_queries_and_addresses(api: Api, world: World) -> None:
    """A secret in a query or path is refused: it is neither looked up nor stored."""
    for query, name in ((f"customer_id={API_KEY}", "customer_id"), (f"{API_KEY}=1", "(a name that contains a secret)")):
        answer = api.get("/v1/transactions", query_string=query)
        assert answer.json["errors"] == {name: [HOLDS_SECRET]}
        assert API_KEY not in answer.text
    escaped = API_KEY.replace("_", "%5F")
    assert api.get("/v1/transactions", query_string=f"cursor={escaped}").json["errors"] == {"cursor": [HOLDS_SECRET]}
    world.down = True
    assert api.get(f"/v1/customers/{API_KEY}").status_code == 404


@pytest.mark.parametrize(
    "text", ["pgw_", API_KEY[:-1], "whsec_", "whsec_short", API_KEY.upper(), f"npgw-{API_KEY[4:]}"]
)
def test_the_public_part_of_a_key_is_accepted(api: Api, text: str) -> None:
    """The public part of a key is accepted, so that texts can refer to the key."""
    assert api.deposit(details={text: text}).status_code == 202


@pytest.mark.parametrize(
    "members",
    [
        {"reason": "1112 " * 101},
        {"1112 " * 101: "x"},
        {"details": {"a": "1 " * 30_000}},
        {"details": {str(number): "1112 " * 90 for number in range(100)}},
        {"details": ["1112 1112 1112 1112"] * 2_000},
    ],
)
def test_texts_that_are_too_long_are_not_searched(api: Api, members: dict[str, object]) -> None:
    """A text that is longer than any field accepts is not searched, because the worker must serve other requests."""
    answer = api.deposit(**members)
    assert answer.status_code == 400
    assert list(answer.json["errors"].values()) == [[TOO_LONG]]


def test_the_largest_details_are_searched(api: Api) -> None:
    """Twenty entries of the greatest length are accepted, and refused when they end with a card number."""
    entries = {f"{number:02}{'1112 ' * 99}": "1112 " * 100 for number in range(20)}
    assert api.deposit(details=entries).status_code == 202
    entries[f"19{'1112 ' * 99}"] = f"{'1112 ' * 95} {CARD}"
    assert api.deposit(details=entries).json["errors"] == {"details": [HOLDS_CARD]}


def test_long_addresses_and_keys_are_not_searched(api: Api) -> None:
    """Paths and keys that are too long are refused without a search."""
    assert api.get("/1112" * 800).status_code == 404
    errors = api.command("/v1/deposit", key=f"{CARD}{'1112.' * 60}").json["errors"]
    assert list(errors) == ["Idempotency-Key"]
    assert errors["Idempotency-Key"] != [HOLDS_CARD]


def test_cut_names_show_no_part_of_a_secret(api: Api) -> None:
    """The repeated part of a long name is searched together with the text after it."""
    for held, nameless in ((CARD, NAMELESS), (API_KEY, "(a name that contains a secret)")):
        answer = api.deposit(**{f"{'x' * 50}-{held}-{'y' * 100}": "1"})
        assert list(answer.json["errors"]) == [nameless]


@pytest.mark.parametrize("written", ["1008.0000000000", "4002.000000000000", "411111.1000000000", f"7.{'0' * 600}"])
def test_trailing_zeros_of_an_amount_are_ignored(api: Api, world: World, written: str) -> None:
    """An amount is accepted by its value, however many zeros follow, as a text and as a number."""
    for body in (f'"{written}"', written):
        answer = api.post(json.dumps(BODY).replace("100.0", body))
        assert answer.status_code == 202, answer.text
    assert [call[1].money.text for call in world.calls] == [f"{float(written):.2f}"] * 2


@pytest.mark.parametrize(
    "written", [f"{CARD}.000", "411111.1111111111", "4111111111111111000.00", "4.1111111111111110e15"]
)
def test_an_amount_that_reads_as_a_card_number(api: Api, written: str) -> None:
    """An amount that reads as a card number is refused, with or without trailing zeros."""
    for body in (f'"{written}"', written):
        answer = api.post(json.dumps(BODY).replace("100.0", body))
        assert "amount" in answer.json["errors"]
        assert CARD not in digits(answer.text)
    assert api.post(json.dumps(BODY).replace("100.0", f"{CARD}.000")).json["errors"] == {"amount": [HOLDS_CARD]}
    zeros = {"order": "4002.000000000000"}
    assert api.deposit(details=zeros).json["errors"] == {"details": [HOLDS_CARD]}
