"""What is particular to gatewayA: its requests word for word, and its codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from domain.events import Kind
from domain.outcomes import Category, Declined, NotReceived
from gateways.port import Gateway, Order
from tests.gateways.peer import Peer, answers
from tests.gateways.subjects import GATEWAY_A


@pytest.fixture
def gateway(peer: Peer) -> Iterator[Gateway]:
    """A gatewayA whose provider is ``peer``, under a path of its own."""
    made = GATEWAY_A.gateway(f"{peer.url}/gatewayA", timeout_s=5)
    yield made
    made.close()


@pytest.mark.parametrize(("kind", "path"), [(Kind.DEPOSIT, "deposits"), (Kind.WITHDRAWAL, "withdrawals")])
def test_a_submission_word_for_word(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], kind: Kind, path: str
) -> None:
    """Path, key and body are those of contract.md, section 4."""
    peer.behave = answers(200, GATEWAY_A.said("success", None, "A-1"))
    asked = order(10_000, "USD", kind, order="7")
    gateway.submit(asked)
    request = peer.requests[0]
    assert (request.method, request.path) == ("POST", f"/gatewayA/{path}")
    assert request.headers["idempotency-key"] == asked.transaction_id
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "reference": asked.transaction_id,
        "amount": "100.00",
        "currency": "USD",
        "customer": "12345",
        "details": {"order": "7"},
    }


@pytest.mark.parametrize(("kind", "path"), [(Kind.DEPOSIT, "deposits"), (Kind.WITHDRAWAL, "withdrawals")])
def test_a_lookup_word_for_word(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], kind: Kind, path: str
) -> None:
    """A lookup is a GET of the reference, without key and body."""
    peer.behave = answers(404, b'{"error": "not_found"}')
    asked = order(kind=kind)
    assert gateway.lookup(asked) == NotReceived()
    request = peer.requests[0]
    assert (request.method, request.path) == ("GET", f"/gatewayA/{path}/{asked.transaction_id}")
    assert "idempotency-key" not in request.headers
    assert request.body == b""


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(5, "EUR", "0.05"), (7, "JPY", "7"), (1234, "KWD", "1.234"), (10**12, "GBP", "10000000000.00")],
)
def test_amounts(
    gateway: Gateway, peer: Peer, order: Callable[..., Order], *, minor: int, currency: str, text: str
) -> None:
    """Amounts are texts with all decimals of their currency."""
    peer.behave = answers(200, GATEWAY_A.said("success", None, "A-1"))
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
    """The provider's codes are the normalised ones; one that is not in the table is kept, without a category."""
    peer.behave = answers(200, GATEWAY_A.said("declined", code, "A-1"))
    assert gateway.submit(order()) == Declined(code, category, f"Declined: {code.replace('_', ' ')}.")


def test_facts(gateway: Gateway) -> None:
    """The facts of contract.md, section 4."""
    assert gateway.currencies == {"USD", "EUR", "GBP", "JPY", "KWD"}
    assert gateway.honours_keys
    assert gateway.idempotency_window_s == 86_400
    assert gateway.looks_up
