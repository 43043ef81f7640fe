"""gatewayA against the real simulator process: each row of the table of amounts, and its keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from domain.events import Kind
from domain.outcomes import Approved, Category, Declined, NotReceived, OutcomeUnknownError
from gateways.development import CALLBACK_SECRET
from gateways.port import Gateway, Order
from tests.gateways.peer import Behave, Peer, Request, answers
from tests.gateways.simulator_process import (
    BODY,
    Simulator,
    callbacks_of,
    wait_until,
)
from tests.gateways.subjects import GATEWAY_A

Orders = Callable[..., Order]


@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL])
@pytest.mark.parametrize("minor", [10_000, 14, 99])
def test_else_success_at_once(gateway: Gateway, simulator: Simulator, order: Orders, kind: Kind, minor: int) -> None:
    """An amount outside of the table succeeds. The ledger has its one effect, in the documented form."""
    payment = order(minor, kind=kind)
    outcome = gateway.submit(payment)
    assert isinstance(outcome, Approved)
    assert outcome.final
    [effect] = simulator.effects(payment.transaction_id)
    assert effect.pop("at").endswith("Z")
    assert effect == {
        "gateway": "gatewayA",
        "kind": kind.value,
        "reference": payment.transaction_id,
        "id": outcome.reference,
        "amount": payment.money.text,
        "currency": "USD",
        "key": payment.transaction_id,
    }
    assert gateway.lookup(payment) == outcome


@pytest.mark.parametrize(
    ("minor", "code", "category"),
    [(1, "do_not_honor", Category.HARD), (2, "insufficient_funds", Category.SOFT)],
)
def test_01_and_02_are_declined(  # noqa: PLR0917 (fixtures)
    gateway: Gateway, simulator: Simulator, order: Orders, minor: int, code: str, category: Category
) -> None:
    """A decline moves no money and stays a decline, for the same key and for lookups."""
    payment = order(10_000 + minor)
    for ask in (gateway.submit, gateway.submit, gateway.lookup):
        outcome = ask(payment)
        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.category) == (code, category)
    assert simulator.effects(payment.transaction_id) == []


@pytest.mark.parametrize(
    ("minor", "status", "times"), [(3, "completed", 1), (4, "failed", 1), (12, "completed", 1), (13, "completed", 3)]
)
def test_03_04_12_13_are_pending_then_reported(  # noqa: PLR0917 (fixtures)
    gateway: Gateway, simulator: Simulator, service: Peer, order: Orders, minor: int, status: str, times: int
) -> None:
    """The answer is pending.

    A signed callback reports the final outcome; the ledger has an effect if it is completed.
    """
    payment = order(10_000 + minor)
    outcome = gateway.submit(payment)
    assert isinstance(outcome, Approved)
    assert not outcome.final
    if minor == 12:
        assert len(callbacks_of(service, payment)) == 1  # the callback came before the answer
    wait_until(lambda: len(callbacks_of(service, payment)) == times, f"{times} callbacks")
    for callback in callbacks_of(service, payment):
        assert (callback.method, callback.path) == ("POST", "/v1/callbacks/gatewayA")
        body = json.loads(callback.body)
        assert body.pop("event_id") != callback.headers["webhook-id"]
        assert body == {
            "transaction_id": outcome.reference,
            "reference": payment.transaction_id,
            "status": status,
            "amount": payment.money.text,
            "currency": "USD",
            "extra_data": {},
        }
        assert is_signed(callback, CALLBACK_SECRET)
    assert len({callback.headers["webhook-id"] for callback in callbacks_of(service, payment)}) == 1
    assert len(simulator.effects(payment.transaction_id)) == (status == "completed")
    for ask in (gateway.submit, gateway.lookup):
        if status == "completed":
            assert ask(payment) == Approved(outcome.reference, final=True)
        else:
            assert isinstance(ask(payment), Declined)


def is_signed(callback: Request, secret: str) -> bool:
    """Whether the signature is that of the Standard Webhooks specification under ``secret``."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert 24 <= len(key) <= 64
    timestamp = callback.headers["webhook-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    signed = f"{callback.headers['webhook-id']}.{timestamp}.".encode() + callback.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return expected in callback.headers["webhook-signature"].split(" ")


def test_callbacks_are_signed_with_the_secret_of_the_environment(
    tmp_path: Path, order: Orders, peers: Callable[[Behave], Peer], start_simulator: Callable[..., Simulator]
) -> None:
    """SIMULATOR_GATEWAY_A_SECRET replaces the development secret."""
    secret = "whsec_" + base64.b64encode(b"a secret of the operator").decode()
    service = peers(answers(200, b""))
    started = start_simulator(tmp_path / "ledger.jsonl", service.url, SIMULATOR_GATEWAY_A_SECRET=secret)
    gateway = GATEWAY_A.gateway(f"{started.url}/gatewayA")
    payment = order(10_012)
    gateway.submit(payment)
    gateway.close()
    [callback] = callbacks_of(service, payment)
    assert is_signed(callback, secret)
    assert not is_signed(callback, CALLBACK_SECRET)


@pytest.mark.parametrize("minor", [5, 6, 9, 10])
def test_05_06_09_10_lose_the_answer_after_the_effect(
    gateway: Gateway, hasty: Gateway, simulator: Simulator, order: Orders, minor: int
) -> None:
    """The outcome is unknown although the money moved. A lookup and the same key find it; it moved once."""
    payment = order(10_000 + minor)
    seen = {5: "status 500", 6: "timed out", 9: "cannot be read", 10: "timed out"}[minor]
    with pytest.raises(OutcomeUnknownError, match=seen):
        hasty.submit(payment)
    [effect] = simulator.effects(payment.transaction_id)
    assert gateway.lookup(payment) == gateway.submit(payment) == Approved(effect["id"], final=True)
    assert simulator.effects(payment.transaction_id) == [effect]


@pytest.mark.parametrize("minor", [7, 8])
def test_07_and_08_lose_the_request(
    gateway: Gateway, hasty: Gateway, simulator: Simulator, order: Orders, minor: int
) -> None:
    """The outcome is unknown, and no money moved. A lookup does not find the order; the same key then succeeds."""
    payment = order(10_000 + minor)
    with pytest.raises(OutcomeUnknownError, match={7: "timed out", 8: "status 503"}[minor]):
        hasty.submit(payment)
    assert gateway.lookup(payment) == NotReceived()
    assert simulator.effects(payment.transaction_id) == []
    assert isinstance(gateway.submit(payment), Approved)
    assert len(simulator.effects(payment.transaction_id)) == 1


def test_11_is_found_later(gateway: Gateway, simulator: Simulator, service: Peer, order: Orders) -> None:
    """The answer is pending and no callback follows. A lookup finds it completed after 3 s."""
    payment = order(10_011)
    started = time.monotonic()
    outcome = gateway.submit(payment)
    assert isinstance(outcome, Approved)
    assert gateway.lookup(payment) == outcome == Approved(outcome.reference, final=False)
    wait_until(lambda: gateway.lookup(payment) == Approved(outcome.reference, final=True), "completed")
    assert time.monotonic() - started >= 2.9
    assert len(simulator.effects(payment.transaction_id)) == 1
    assert callbacks_of(service, payment) == []


def test_the_row_is_chosen_by_minor_units(gateway: Gateway, order: Orders) -> None:
    """100 yen are 100 minor units and 1.001 dinar are 1001: the last two digits count, wherever the point is."""
    assert isinstance(gateway.submit(order(101, "JPY")), Declined)
    assert isinstance(gateway.submit(order(1001, "KWD")), Declined)
    assert isinstance(gateway.submit(order(100, "JPY")), Approved)


# --- keys ---


def test_the_same_key_at_the_same_time(simulator: Simulator, order: Orders) -> None:
    """Many concurrent copies of one request have one effect and get one answer."""
    gateway = GATEWAY_A.gateway(f"{simulator.url}/gatewayA", timeout_s=5, max_concurrent=16)
    payment = order()
    with ThreadPoolExecutor(16) as threads:
        outcomes = set(threads.map(lambda _: gateway.submit(payment), range(32)))
    gateway.close()
    [effect] = simulator.effects(payment.transaction_id)
    assert outcomes == {Approved(effect["id"], final=True)}


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        ({}, {}, 400),
        ({"amount": 100}, {"Idempotency_Key": "k-1"}, 400),
        ({"amount": "1.001"}, {"Idempotency_Key": "k-1"}, 400),
        ({"amount": "-1.00"}, {"Idempotency_Key": "k-1"}, 400),
        ({"currency": "CHF"}, {"Idempotency_Key": "k-1"}, 400),
        ({"reference": ""}, {"Idempotency_Key": "k-1"}, 400),
        ({"customer": None}, {"Idempotency_Key": "k-1"}, 400),
        ({"details": "x" * 70_000}, {"Idempotency_Key": "k-1"}, 400),
    ],
)
def test_an_invalid_request_is_refused(
    simulator: Simulator, change: dict[str, object], headers: dict[str, str], status: int
) -> None:
    """A request outside of the documented form moves no money."""
    body = json.dumps({**BODY, **change}).encode()
    assert simulator.call("POST", "/gatewayA/deposits", body, **headers)[0] == status
    assert simulator.effects("r-1") == []


def test_a_key_belongs_to_one_request(simulator: Simulator) -> None:
    """The same key with another amount is refused, and moves no money."""

    def post(**change: object) -> tuple[int, object]:
        body = json.dumps({**BODY, "reference": "r-2", **change}).encode()
        return simulator.call("POST", "/gatewayA/deposits", body, Idempotency_Key="k-2")

    assert post()[0] == 200
    assert post(amount="5.00") == (422, {"error": "idempotency_key_reused"})
    assert [effect["amount"] for effect in simulator.effects("r-2")] == ["100.00"]
