"""The specifics of gatewayA: the exact form of its requests, its codes and its callbacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from domain.events import Kind
from domain.outcomes import Approved, Category, Declined, NotReceived
from gateways.gateway_a import GatewayACallbacks, callback_key
from gateways.port import Gateway, OperationFacts, Order, SignatureInvalidError, WebhookPayload
from tests.gateways.callback_signers import SIGNER_A, applied, verified
from tests.gateways.peer import Peer, answers
from tests.gateways.subjects import GATEWAY_A


@pytest.fixture
def gateway(peer: Peer) -> Iterator[Gateway]:
    """A gatewayA with ``peer`` as its provider, under its own path."""
    made = GATEWAY_A.gateway(f"{peer.url}/gatewayA", timeout_s=5)
    yield made
    made.close()


PATHS = {
    Kind.DEPOSIT: "deposits",
    Kind.WITHDRAWAL: "withdrawals",
    Kind.REFUND: "refunds",
    Kind.CAPTURE: "captures",
    Kind.VOID: "voids",
}


@pytest.mark.parametrize(("kind", "path"), PATHS.items())
def test_the_form_of_a_submission(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], kind: Kind, path: str
) -> None:
    """Path, key and body have the provider's documented form."""
    peer.behave = answers(200, GATEWAY_A.response_body("success", None, "A-1"))
    payment = order(10_000, "USD", kind, order="7")
    gateway.submit(payment)
    request = peer.requests[0]
    assert (request.method, request.path) == ("POST", f"/gatewayA/{path}")
    assert request.headers["idempotency-key"] == payment.transaction_id
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "reference": payment.transaction_id,
        "amount": "100.00",
        "currency": "USD",
        "customer": "12345",
        "details": {"order": "7"},
    }


@pytest.mark.parametrize(("kind", "path"), PATHS.items())
def test_the_form_of_a_lookup(gateway: Gateway, peer: Peer, order: Callable[..., Order], kind: Kind, path: str) -> None:
    """A lookup is a GET of the reference, without key and body."""
    peer.behave = answers(404, b'{"error": "not_found"}')
    payment = order(kind=kind)
    assert gateway.lookup(payment) == NotReceived()
    request = peer.requests[0]
    assert (request.method, request.path) == ("GET", f"/gatewayA/{path}/{payment.transaction_id}")
    assert "idempotency-key" not in request.headers
    assert request.body == b""


def test_what_only_some_orders_send(gateway: Gateway, peer: Peer, order: Callable[..., Order]) -> None:
    """Manual capture, the provider's id of the parent, and where the customer returns to."""
    peer.behave = answers(200, GATEWAY_A.response_body("success", None, "A-1"))
    gateway.submit(replace(order(), manual_capture=True, return_url="https://shop.example/back"))
    gateway.submit(replace(order(kind=Kind.CAPTURE), parent_id="0190", parent_reference="A-7"))
    held, capture = (json.loads(request.body) for request in peer.requests)
    assert (held["capture"], held["return_url"], "original" in held) == (False, "https://shop.example/back", False)
    assert (capture["original"], "capture" in capture, "return_url" in capture) == ("A-7", False, False)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(5, "EUR", "0.05"), (7, "JPY", "7"), (1234, "KWD", "1.234"), (10**12, "GBP", "10000000000.00")],
)
def test_amounts(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], *, minor: int, currency: str, text: str
) -> None:
    """Amounts are strings with all decimals of their currency."""
    peer.behave = answers(200, GATEWAY_A.response_body("success", None, "A-1"))
    gateway.submit(order(minor, currency))
    assert json.loads(peer.requests[0].body)["amount"] == text
    assert currency in gateway.currencies


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("do_not_honor", Category.HARD),
        ("expired_card", Category.HARD),
        ("stolen_card", Category.HARD),
        ("insufficient_funds", Category.SOFT),
        ("issuer_unavailable", Category.SOFT),
        ("lost_card", None),
    ],
)
def test_codes(gateway: Gateway, peer: Peer, order: Callable[..., Order], code: str, category: Category | None) -> None:
    """The provider's codes are the normalised ones. A code outside the table is kept, without a category."""
    peer.behave = answers(200, GATEWAY_A.response_body("declined", code, "A-1"))
    assert gateway.submit(order()) == Declined(code, category, f"Declined: {code.replace('_', ' ')}.", "A-1")


def test_facts(gateway: Gateway) -> None:
    """The gateway's facts: currencies, keys and their window, lookups."""
    assert gateway.currencies == {"USD", "EUR", "GBP", "JPY", "KWD"}
    assert dict(gateway.operations) == dict.fromkeys(Kind, OperationFacts(key_window_s=86_400.0))
    assert gateway.holds
    assert gateway.reference_form is not None
    assert gateway.reference_form.fullmatch("A-1")


# --- callbacks ---

# Test values of the libraries of https://github.com/standard-webhooks/standard-webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIGNED = b'{"test": 2432232314}'
SIGNATURE = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
AT = datetime.fromtimestamp(1_614_265_330, UTC)


def verify(signature: str) -> str:
    """Verify the specification's example under ``signature``."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": signature,
    }
    return verified(GatewayACallbacks([callback_key(SECRET)]), headers, SIGNED, AT)


@pytest.mark.parametrize(
    "signature",
    [
        f"v1,{SIGNATURE}",
        f"v1,{OTHER} v1,{SIGNATURE}",
        f"v1,{SIGNATURE} v1,{OTHER}",
        f"v1,{OTHER} v2,{OTHER} v1,{SIGNATURE} v1,{OTHER}",
        f"v1a,{OTHER}{OTHER} v1,{SIGNATURE}",
        f"v1,{SIGNATURE} v3,!",
        f"garbage  v1,{SIGNATURE} ",
    ],
)
def test_the_example_of_the_specification(signature: str) -> None:
    """One valid signature of version 1 is enough; other versions and other secrets' signatures are ignored."""
    assert verify(signature) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize(
    "signature",
    [
        SIGNATURE,
        f"v1,{OTHER}",
        f"v1a,{SIGNATURE}",
        f"v2,{SIGNATURE}",
        f"V1,{SIGNATURE}",
        f"v1={SIGNATURE}",
        f"v1, {SIGNATURE}",
        f"v1,{SIGNATURE[:-1]}",
        f"v1,{SIGNATURE}=",
        f"v1,{SIGNATURE.replace('E=', 'F=')}",  # decodes to the same bytes
        f"v1,{SIGNATURE.replace('/', '_').replace('+', '-')}",
        f"v1,{SIGNATURE[:8]}",
        "v1,",
        "v1,!!!!",
        "v1,\u0412",
        f"v1,{OTHER},v1,{SIGNATURE}",
        f"v1,{SIGNATURE}\tv1,{OTHER}",
        f"v1,{SIGNATURE}\n",
    ],
)
def test_an_invalid_signature_is_refused(signature: str) -> None:
    """A signature is refused if it is of another version or another text, cut short, respelled or garbled."""
    with pytest.raises(SignatureInvalidError, match=r"^the header webhook-signature holds no signature of it$"):
        verify(signature)


def test_unknown_members_are_ignored(order: Callable[..., Order]) -> None:
    """A callback in the provider's documented form is read. The body's event id may differ or be absent."""
    payment = order()
    members: dict[str, object] = {
        "event_id": "evt_1",
        "transaction_id": "A-1",
        "reference": payment.transaction_id,
        "status": "completed",
        "amount": "100.00",
        "currency": "USD",
        "extra_data": {"any": ["thing"]},
    }
    callbacks = GatewayACallbacks([callback_key(SECRET)])
    expected = WebhookPayload(payment.transaction_id, "A-1", payment.money, Approved("A-1", final=True))
    assert applied(SIGNER_A, callbacks, json.dumps(members).encode(), SECRET) == expected
    extended = {**members, "event_id": 5, "extra_data": None, "more": {}}
    assert applied(SIGNER_A, callbacks, json.dumps(extended).encode(), SECRET) == expected
    del members["event_id"], members["extra_data"]
    assert applied(SIGNER_A, callbacks, json.dumps(members).encode(), SECRET) == expected
    assert applied(SIGNER_A, callbacks, json.dumps({**members, "amount": 100}).encode(), SECRET) == expected
    assert applied(SIGNER_A, callbacks, json.dumps({**members, "amount": 100.0}).encode(), SECRET) == expected
