"""The specifics of gatewayB: the exact form of its requests, its codes, its XML and its callbacks."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, Category, Declined, NotReceived, OutcomeUnknownError
from gateways.gateway_b import GatewayBCallbacks, callback_key
from gateways.port import Gateway, OperationFacts, Order, SignatureInvalidError, WebhookPayload
from tests.gateways.callback_signers import SIGNER_B, applied, verified
from tests.gateways.peer import Peer, answers
from tests.gateways.subjects import GATEWAY_B

XML = "application/xml"


@pytest.fixture
def gateway(peer: Peer) -> Iterator[Gateway]:
    """A gatewayB with ``peer`` as its provider, under its own path."""
    made = GATEWAY_B.gateway(f"{peer.url}/gatewayB", timeout_s=5)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Kind.DEPOSIT, "deposit"),
        (Kind.WITHDRAWAL, "withdraw"),
        (Kind.REFUND, "refund"),
        (Kind.CAPTURE, "capture"),
        (Kind.VOID, "void"),
    ],
)
def test_the_form_of_a_submission(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], kind: Kind, path: str
) -> None:
    """Path and body have the provider's documented form. No key and no details are sent."""
    peer.behave = answers(200, GATEWAY_B.response_body("success", None, "B-1"), XML)
    payment = order(10_000, "USD", kind, order="7")
    gateway.submit(payment)
    request = peer.requests[0]
    assert (request.method, request.path) == ("POST", f"/gatewayB/{path}")
    assert "idempotency-key" not in request.headers
    assert request.headers["content-type"] == XML
    assert request.body.decode("ascii") == (
        f"<request><reference>{payment.transaction_id}</reference><amount>100.00</amount>"
        "<currency>USD</currency><customer>12345</customer></request>"
    )


@pytest.mark.parametrize("kind", Kind)
def test_the_form_of_a_lookup(gateway: Gateway, peer: Peer, order: Callable[..., Order], kind: Kind) -> None:
    """A lookup is a GET with the reference in its query, the same for deposits and withdrawals."""
    peer.behave = answers(*GATEWAY_B.not_found, XML)
    payment = order(kind=kind)
    assert gateway.lookup(payment) == NotReceived()
    request = peer.requests[0]
    assert (request.method, request.path) == ("GET", f"/gatewayB/status?reference={payment.transaction_id}")
    assert request.body == b""
    assert request.headers["cache-control"] == "no-store", "an old not_found would be a second payment"


def test_what_only_some_orders_send(gateway: Gateway, peer: Peer, order: Callable[..., Order]) -> None:
    """Manual capture, the provider's id of the parent, and where the customer returns to."""
    peer.behave = answers(200, GATEWAY_B.response_body("success", None, "B-1"), XML)
    gateway.submit(replace(order(), manual_capture=True, return_url="https://shop.example/?a=1&b=2"))
    gateway.submit(replace(order(kind=Kind.REFUND), parent_id="0190", parent_reference="B-7"))
    held, refund = (request.body for request in peer.requests)
    assert held.endswith(
        b"</customer><capture>false</capture><return_url>https://shop.example/?a=1&amp;b=2</return_url></request>"
    )
    assert refund.endswith(b"</customer><original>B-7</original></request>")


def test_nothing_in_a_text_becomes_markup(gateway: Gateway, peer: Peer) -> None:
    """Any text of an order arrives as text, within its element or its query field."""
    peer.behave = answers(200, GATEWAY_B.response_body("success", None, "B-1"), XML)
    odd = Order("r&1", Kind.DEPOSIT, Money(1, "EUR"), "</customer><amount>9&ä]]>", {})
    gateway.submit(odd)
    gateway.lookup(odd)
    assert peer.requests[0].body == (
        b"<request><reference>r&amp;1</reference><amount>0.01</amount><currency>EUR</currency>"
        b"<customer>&lt;/customer&gt;&lt;amount&gt;9&amp;&#228;]]&gt;</customer></request>"
    )
    assert peer.requests[1].path == "/gatewayB/status?reference=r%261"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("05", Declined("do_not_honor", Category.HARD, "Declined: do not honor.")),
        ("54", Declined("expired_card", Category.HARD, "Declined: expired card.")),
        ("51", Declined("insufficient_funds", Category.SOFT, "Declined: insufficient funds.")),
        ("91", Declined("issuer_unavailable", Category.SOFT, "Declined: issuer unavailable.")),
        ("14", Declined("declined", None, "Declined with the provider's code 14.")),
        ("5", Declined("declined", None, "Declined with a code that cannot be repeated here.")),
        ("do_not_honor", Declined("declined", None, "Declined with a code that cannot be repeated here.")),
    ],
)
def test_codes(gateway: Gateway, peer: Peer, order: Callable[..., Order], code: str, outcome: Declined) -> None:
    """The provider's codes become the normalised ones. Other codes are declines, too, without a category."""
    peer.behave = answers(200, GATEWAY_B.response_body("declined", code, "B-1"), XML)
    assert gateway.submit(order()) == replace(outcome, reference="B-1")


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"<transaction_id>B-1</transaction_id><status>success</status>", Approved("B-1", final=True)),
        (b"<status>pending</status><fee>1</fee><transaction_id>B-1</transaction_id>", Approved("B-1", final=False)),
        (
            b"\n <transaction_id>B-1</transaction_id>\n <status>success</status>\n <code/>\n",
            Approved("B-1", final=True),
        ),
        (b"<status>not_found</status>", NotReceived()),
        (b"<status>not_found</status><transaction_id></transaction_id><code>25</code>", NotReceived()),
    ],
)
def test_unambiguous_variants_are_accepted(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], body: bytes, outcome: Approved | NotReceived
) -> None:
    """Another order, white space between elements, an additional element, and an absent empty one change nothing."""
    peer.behave = answers(200, b"<response>" + body + b"</response>", XML)
    assert gateway.lookup(order()) == outcome


@pytest.mark.parametrize(
    "media_type", ["text/xml", "application/xml; charset=utf-8", 'Application/XML;charset="UTF-8"', ""]
)
def test_content_types_of_xml(gateway: Gateway, peer: Peer, order: Callable[..., Order], media_type: str) -> None:
    """Both media types of XML are accepted, with or without the charset UTF-8."""
    peer.behave = answers(200, GATEWAY_B.response_body("success", None, "B-1"), media_type)
    assert gateway.submit(order()) == Approved("B-1", final=True)


@pytest.mark.parametrize(
    "parameters",
    ["charset=latin1", "charset=", "charset*=x'y'z", "charset*0=utf;charset*1=-7", "charset=\xff", "=;=;;"],
)
def test_odd_parameters_of_a_content_type(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], parameters: str
) -> None:
    """Unreadable parameters of a content type give an unknown outcome, and never another exception."""
    peer.behave = answers(200, GATEWAY_B.response_body("success", None, "B-1"), f"{XML};{parameters}")
    try:
        assert gateway.submit(order()) == Approved("B-1", final=True)
    except OutcomeUnknownError:
        assert parameters != "=;=;;"


def test_facts(gateway: Gateway) -> None:
    """The gateway's facts: no idempotency keys, so no time for which they are remembered."""
    assert gateway.currencies == {"USD", "EUR"}
    assert dict(gateway.operations) == dict.fromkeys(Kind, OperationFacts())
    assert gateway.holds
    assert gateway.reference_form is not None
    assert gateway.reference_form.fullmatch("B-1")


# --- callbacks ---

SECRET = "a secret of \u00fcmlauts and blanks"
AT = datetime.fromtimestamp(1_700_000_000, UTC)
BODY = (
    b'{"transaction_id": "B-1", "status": "failed", "more": 1,'
    b' "metadata": {"reference": "r-1", "amount": "100.00", "currency": "USD", "customer": "12345"}}'
)
SIGNATURE = hmac.new(SECRET.encode("utf-8"), b"evt_1.1700000000." + BODY, hashlib.sha256).hexdigest()


def verify(signature: str) -> str:
    """Verify BODY under ``signature``."""
    headers = {
        "x-gateway-event-id": "evt_1",
        "x-gateway-timestamp": "1700000000",
        "x-gateway-signature": signature,
    }
    return verified(GatewayBCallbacks([callback_key(SECRET)]), headers, BODY, AT)


def test_the_form_of_a_callback() -> None:
    """Headers and body in the provider's documented form are read. Other members are ignored."""
    assert verify(f"sha256={SIGNATURE}") == "evt_1"
    failed = Declined("declined", None, "The gateway reported that it failed.")
    assert applied(SIGNER_B, GatewayBCallbacks([callback_key(SECRET)]), BODY, SECRET) == WebhookPayload(
        "r-1", "B-1", Money(10_000, "USD"), failed
    )


@pytest.mark.parametrize(
    "signature",
    [
        SIGNATURE,
        f"SHA256={SIGNATURE}",
        f"sha512={SIGNATURE}",
        f"sha1={hmac.new(SECRET.encode('utf-8'), b'evt_1.1700000000.' + BODY, hashlib.sha1).hexdigest()}",
        f"sha256={SIGNATURE.upper()}",
        f"sha256= {SIGNATURE}",
        f"sha256={SIGNATURE[:-1]}",
        f"sha256={SIGNATURE}0",
        f"sha256={SIGNATURE} ",
        f"sha256={SIGNATURE}\n",
        f"sha256={SIGNATURE},sha256={SIGNATURE}",
        f"sha256={'0' * 64}",
        "sha256=",
        "sha256=\u0412",
    ],
)
def test_an_invalid_signature_is_refused(signature: str) -> None:
    """A signature is refused if it is respelled, cut short, repeated, or made by another function."""
    with pytest.raises(SignatureInvalidError, match=r"^the header x-gateway-signature holds no signature of it$"):
        verify(signature)
