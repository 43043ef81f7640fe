"""POST /v1/deposit: the command that reaches the actors, and the answers for their replies."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from decimal import Decimal

import pytest

from actors.replies import NotStored, Uncertain
from domain.account import Refused
from domain.commands import Receive
from domain.events import Kind
from domain.money import Money
from store.codec import Metadata
from store.errors import StoreUnavailableError
from store.port import StreamKey
from tests.api.support import BODY, Api
from tests.api.world import World

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_body_of_the_readme(api: Api, world: World) -> None:
    """The deposit of the README is accepted; the answer is a transaction with its location."""
    result = api.post('{"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}')

    transaction_id = "019ab000-0000-7000-8000-000000000001"
    assert result.status_code == 202
    assert result.headers["Location"] == f"/v1/transactions/{transaction_id}"
    assert result.headers["Content-Type"] == "application/json"
    assert result.json == {
        "transaction_id": transaction_id,
        "type": "deposit",
        "status": "pending",
        "amount": "100.00",
        "currency": "USD",
        "gateway": "gatewayA",
        "customer_id": "12345",
        "details": {},
        "gateway_reference": None,
        "failure": None,
        "parent_id": None,
        "reason": None,
        "captured_amount": None,
        "refunded_amount": "0.00",
        "refunding_amount": "0.00",
        "authorization_expires_at": None,
        "attention": None,
        "version": 1,
        "created_at": "2026-11-22T12:00:00.123456Z",
        "updated_at": "2026-11-22T12:00:00.123456Z",
    }
    assert [(stream, command) for stream, command, _ in world.calls] == [
        (
            StreamKey("main", "12345"),
            Receive(Kind.DEPOSIT, transaction_id, "gatewayA", Money(10000, "USD"), {}),
        )
    ]


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("100.0", "USD", 10000),
        ("100", "USD", 10000),
        ('"100.00"', "USD", 10000),
        ('"100"', "USD", 10000),
        ("0.01", "USD", 1),
        ("1e2", "USD", 10000),
        ("1E+2", "USD", 10000),
        ("1.0", "JPY", 1),
        ('"1.000"', "JPY", 1),
        ("0.001", "KWD", 1),
        ("10000000000.00", "USD", 10**12),
        ("1000000000000", "JPY", 10**12),
        ("0.1", "USD", 10),
        ("1.10", "USD", 110),
        ("4503599627.37", "USD", 450359962737),
        ("100.0000000000000000000000000000000000000000000000000000", "USD", 10000),
    ],
)
def test_amounts_count_by_their_value(api: Api, world: World, amount: str, currency: str, minor: int) -> None:
    """Every spelling of an amount becomes the exact number of minor units, as a number or a string."""
    body = json.dumps({**BODY, "currency": currency}).replace("100.0", amount)

    assert api.post(body).status_code == 202
    assert world.calls[0][1].money == Money(minor, currency)


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_id": "a"},
        {"customer_id": "x" * 128},
        {"customer_id": "AZaz09._:@-"},
        {"details": {}},
        {"details": {f"k{i}": "v" for i in range(20)}},
        {"details": {"order": "x" * 500}},
        {"details": {"order": "\U0001f4b6" * 500}},
        {"details": {"x" * 500: ""}},
        {"details": {"": "Ünï¢ödé ٣"}},
        {"gateway": "gatewayB", "currency": "EUR"},
    ],
)
def test_the_last_value_within_each_limit_is_accepted(api: Api, world: World, changes: dict[str, object]) -> None:
    """The last value within each limit is accepted and reaches the actors unchanged."""
    assert api.deposit(**changes).status_code == 202

    stream, command, _ = world.calls[0]
    expected = {**BODY, "details": {}, **changes}
    assert stream.id == expected["customer_id"]
    assert command.gateway == expected["gateway"]
    assert command.details == expected["details"]


@pytest.mark.parametrize(
    ("capture", "is_manual"), [({}, False), ({"capture": "automatic"}, False), ({"capture": "manual"}, True)]
)
def test_the_capture_of_a_deposit(api: Api, world: World, capture: dict[str, str], is_manual: bool) -> None:  # noqa: FBT001
    """Capture is automatic unless the client asks for a manual one."""
    assert api.deposit(**capture).status_code == 202
    assert [command.manual_capture for _, command, _ in world.calls] == [is_manual]


def test_a_gateway_that_cannot_hold_money(api: Api, world: World) -> None:
    """A manual capture gets 422 there, and nothing reaches the actors. Other deposits are accepted."""
    world.holds = False
    refused = api.deposit(capture="manual")
    assert (refused.status_code, refused.json["type"]) == (422, "/problems/not-supported")
    assert "manual capture" in refused.json["detail"]
    assert world.calls == []
    assert api.deposit(capture="automatic").status_code == 202


def test_a_gateway_that_cannot_carry_out_a_command(api: Api, world: World) -> None:
    """A kind of command that the gateway cannot carry out gets 422, and nothing reaches the actors."""
    world.unsupported = {("gatewayA", Kind.WITHDRAWAL)}
    refused = api.withdraw()
    assert (refused.status_code, refused.json["type"]) == (422, "/problems/not-supported")
    assert world.calls == []
    assert api.deposit().status_code == 202


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "Application/JSON",
    ],
)
def test_every_spelling_of_the_json_media_type(api: Api, content_type: str) -> None:
    """JSON is accepted with every spelling of its media type."""
    assert api.post(json.dumps(BODY), content_type).status_code == 202


def test_a_body_of_exactly_the_largest_size(api: Api) -> None:
    """A body of 64 KiB is accepted, white space included."""
    assert api.post(json.dumps(BODY).ljust(64 * 1024)).status_code == 202


def test_a_chunked_body(api: Api) -> None:
    """A body without a length, ended by its server, is read completely."""
    body = json.dumps(BODY)
    extras = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    assert api.post(body, headers={"Transfer-Encoding": "chunked"}, extras=extras).status_code == 202
    largest = body.ljust(64 * 1024)
    assert api.post(largest, headers={"Transfer-Encoding": "chunked"}, extras=extras).status_code == 202


def test_the_request_id_is_the_correlation_id(api: Api, world: World) -> None:
    """A client's request id is stored in the metadata and repeated in the answer. A valid trace is stored as well."""
    result = api.post(json.dumps(BODY), headers={"X-Request-ID": "my-id!", "traceparent": TRACE})

    assert result.headers["X-Request-ID"] == "my-id!"
    assert world.calls[0][2] == Metadata(correlation_id="my-id!", traceparent=TRACE)


@pytest.mark.parametrize("given", ["", " ", "a b", "é", "x" * 129, "tab\there"])
def test_an_invalid_request_id_is_replaced(world: World, given: str) -> None:
    """A request id that is empty, too long or not visible ASCII is never passed on."""
    api = Api(world, new_request_id=lambda: "fresh")
    result = api.post(json.dumps(BODY), extras={"HTTP_X_REQUEST_ID": given})

    assert result.headers["X-Request-ID"] == "fresh"
    assert world.calls[0][2].correlation_id == "fresh"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (TRACE, True),
        ("01" + TRACE[2:] + "-more", True),
        ("01" + TRACE[2:], True),
        (TRACE + "-more", False),
        ("ff" + TRACE[2:], False),
        (TRACE.upper(), False),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", False),
        ("garbage", False),
        ("", False),
    ],
)
def test_only_a_well_formed_traceparent_is_stored(api: Api, world: World, given: str, kept: bool) -> None:  # noqa: FBT001
    """A trace is stored if it follows W3C's grammar. Any other value is ignored, not refused."""
    assert api.post(json.dumps(BODY), headers={"traceparent": given}).status_code == 202
    assert world.calls[0][2].traceparent == (given if kept else None)


def test_a_refusal_is_a_422_with_its_code(api: Api, world: World) -> None:
    """A refusal of the domain has the domain's code."""
    world.reply = Refused("insufficient-funds", "10.00 USD available, 100.00 requested.")
    result = api.deposit()

    assert result.status_code == 422
    assert result.json["type"] == "/problems/insufficient-funds"
    assert result.json["detail"] == "10.00 USD available, 100.00 requested."


def test_a_refusal_under_a_new_code_needs_no_change_here(api: Api, world: World) -> None:
    """A code without an entry in the table is still returned."""
    world.reply = Refused("customer-closed", "Closed.")
    result = api.deposit()

    assert (result.status_code, result.json["type"]) == (422, "/problems/customer-closed")


def test_not_stored_is_a_503_with_retry_after(api: Api, world: World) -> None:
    """503 with Retry-After means that the command is certainly not stored."""
    world.reply = NotStored("The mailbox is full.", retry_after_s=7)
    result = api.deposit()

    assert (result.status_code, result.json["type"]) == (503, "/problems/unavailable")
    assert result.headers["Retry-After"] == "7"
    assert result.json["detail"] == "The mailbox is full."


def test_an_uncertain_result_is_a_504_with_the_id(api: Api, world: World) -> None:
    """When it is not known whether the command is stored, the answer is 504 with the id."""
    world.reply = Uncertain("019ab000-0000-7000-8000-000000000001")
    result = api.deposit()

    assert (result.status_code, result.json["type"]) == (504, "/problems/outcome-unknown")
    assert result.json["transaction_id"] == "019ab000-0000-7000-8000-000000000001"


@pytest.mark.parametrize("error", [RuntimeError("secret"), StoreUnavailableError("gone"), TimeoutError()])
def test_a_missing_reply_is_a_504(api: Api, world: World, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """After the command was sent to the actors, an exception means 504, never "not stored"."""
    world.reply = error
    with caplog.at_level(logging.ERROR):
        result = api.deposit()

    assert (result.status_code, result.json["type"]) == (504, "/problems/outcome-unknown")
    assert result.json["transaction_id"] == world.calls[0][1].transaction_id
    assert "secret" not in result.text
    assert caplog.records[0].exc_info


def test_times_are_rfc_3339_in_utc(api: Api) -> None:
    """Times are in UTC, and any RFC 3339 parser can read them."""
    created_at = api.deposit().json["created_at"]
    assert created_at.endswith("Z")
    assert datetime.fromisoformat(created_at).tzinfo is not None


def test_amounts_in_answers_are_text(api: Api) -> None:
    """An amount in an answer is an exact string with all decimals of its currency."""
    amounts = [
        api.deposit(amount="9999999999.99").json["amount"],
        api.deposit(amount="5", currency="JPY").json["amount"],
    ]
    assert amounts == ["9999999999.99", "5"]
    assert Decimal(amounts[0]) == Decimal("9999999999.99")
