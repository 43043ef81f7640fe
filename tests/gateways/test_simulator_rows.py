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


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("minor", [10_000, 14, 99])
def test_else_success_at_once(gateway: Gateway, simulator: Simulator, order: Orders, kind: Kind, minor: int) -> None:
    """An amount outside of the table succeeds, and the ledger has its one effect, in the contract's words."""
    asked = order(minor, kind=kind)
    outcome = gateway.submit(asked)
    assert isinstance(outcome, Approved)
    assert outcome.final
    [effect] = simulator.effects(asked.transaction_id)
    assert effect.pop("at").endswith("Z")
    assert effect == {
        "gateway": "gatewayA",
        "kind": kind.value,
        "reference": asked.transaction_id,
        "id": outcome.reference,
        "amount": asked.money.text,
        "currency": "USD",
        "key": asked.transaction_id,
    }
    assert gateway.lookup(asked) == outcome


@pytest.mark.parametrize(
    ("minor", "code", "category"),
    [(1, "do_not_honor", Category.HARD), (2, "insufficient_funds", Category.SOFT)],
)
def test_01_and_02_are_declined(  # noqa: PLR0917 (fixtures)
    gateway: Gateway, simulator: Simulator, order: Orders, minor: int, code: str, category: Category
) -> None:
    """A decline moves no money and stays one, for the same key and for lookups."""
    asked = order(10_000 + minor)
    for ask in (gateway.submit, gateway.submit, gateway.lookup):
        outcome = ask(asked)
        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.category) == (code, category)
    assert simulator.effects(asked.transaction_id) == []


@pytest.mark.parametrize(
    ("minor", "status", "times"), [(3, "completed", 1), (4, "failed", 1), (12, "completed", 1), (13, "completed", 3)]
)
def test_03_04_12_13_are_pending_then_told(  # noqa: PLR0917 (fixtures)
    gateway: Gateway, simulator: Simulator, service: Peer, order: Orders, minor: int, status: str, times: int
) -> None:
    """The answer is pending; the callback says, signed, how it ended; the ledger has the effect when it completed."""
    asked = order(10_000 + minor)
    outcome = gateway.submit(asked)
    assert isinstance(outcome, Approved)
    assert not outcome.final
    if minor == 12:
        assert len(callbacks_of(service, asked)) == 1  # it came before the answer
    wait_until(lambda: len(callbacks_of(service, asked)) == times, f"{times} callbacks")
    for callback in callbacks_of(service, asked):
        assert (callback.method, callback.path) == ("POST", "/v1/callbacks/gatewayA")
        body = json.loads(callback.body)
        assert body.pop("event_id") != callback.headers["webhook-id"]
        assert body == {
            "transaction_id": outcome.reference,
            "reference": asked.transaction_id,
            "status": status,
            "amount": asked.money.text,
            "currency": "USD",
            "extra_data": {},
        }
        assert is_signed(callback, CALLBACK_SECRET)
    assert len({callback.headers["webhook-id"] for callback in callbacks_of(service, asked)}) == 1
    assert len(simulator.effects(asked.transaction_id)) == (status == "completed")
    for ask in (gateway.submit, gateway.lookup):
        if status == "completed":
            assert ask(asked) == Approved(outcome.reference, final=True)
        else:
            assert isinstance(ask(asked), Declined)


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
    """SIMULATOR_GATEWAY_A_SECRET takes the place of the development secret."""
    secret = "whsec_" + base64.b64encode(b"a secret of somebody's own").decode()
    service = peers(answers(200, b""))
    started = start_simulator(tmp_path / "ledger.jsonl", service.url, SIMULATOR_GATEWAY_A_SECRET=secret)
    gateway = GATEWAY_A.gateway(f"{started.url}/gatewayA")
    asked = order(10_012)
    gateway.submit(asked)
    gateway.close()
    [callback] = callbacks_of(service, asked)
    assert is_signed(callback, secret)
    assert not is_signed(callback, CALLBACK_SECRET)


@pytest.mark.parametrize("minor", [5, 6, 9, 10])
def test_05_06_09_10_lose_the_answer_after_the_effect(
    gateway: Gateway, hasty: Gateway, simulator: Simulator, order: Orders, minor: int
) -> None:
    """The outcome is unknown although the money moved; a lookup and the same key find it, and it moved once."""
    asked = order(10_000 + minor)
    seen = {5: "status 500", 6: "timed out", 9: "cannot be read", 10: "timed out"}[minor]
    with pytest.raises(OutcomeUnknownError, match=seen):
        hasty.submit(asked)
    [effect] = simulator.effects(asked.transaction_id)
    assert gateway.lookup(asked) == gateway.submit(asked) == Approved(effect["id"], final=True)
    assert simulator.effects(asked.transaction_id) == [effect]


@pytest.mark.parametrize("minor", [7, 8])
def test_07_and_08_lose_the_request(
    gateway: Gateway, hasty: Gateway, simulator: Simulator, order: Orders, minor: int
) -> None:
    """The outcome is unknown and nothing happened; a lookup knows nothing of it; the same key then succeeds."""
    asked = order(10_000 + minor)
    with pytest.raises(OutcomeUnknownError, match={7: "timed out", 8: "status 503"}[minor]):
        hasty.submit(asked)
    assert gateway.lookup(asked) == NotReceived()
    assert simulator.effects(asked.transaction_id) == []
    assert isinstance(gateway.submit(asked), Approved)
    assert len(simulator.effects(asked.transaction_id)) == 1


def test_11_is_found_later(gateway: Gateway, simulator: Simulator, service: Peer, order: Orders) -> None:
    """Pending, and no callback ever; a lookup finds it completed after 3 s."""
    asked = order(10_011)
    started = time.monotonic()
    outcome = gateway.submit(asked)
    assert isinstance(outcome, Approved)
    assert gateway.lookup(asked) == outcome == Approved(outcome.reference, final=False)
    wait_until(lambda: gateway.lookup(asked) == Approved(outcome.reference, final=True), "completed")
    assert time.monotonic() - started >= 2.9
    assert len(simulator.effects(asked.transaction_id)) == 1
    assert callbacks_of(service, asked) == []


def test_the_row_is_chosen_by_minor_units(gateway: Gateway, order: Orders) -> None:
    """100 yen are 100 minor units and 1.001 dinar are 1001: the last two digits count, wherever the point is."""
    assert isinstance(gateway.submit(order(101, "JPY")), Declined)
    assert isinstance(gateway.submit(order(1001, "KWD")), Declined)
    assert isinstance(gateway.submit(order(100, "JPY")), Approved)


# --- keys ---


def test_the_same_key_at_the_same_time(simulator: Simulator, order: Orders) -> None:
    """Many copies of one request, together, are one effect and get one answer."""
    gateway = GATEWAY_A.gateway(f"{simulator.url}/gatewayA", timeout_s=5, max_concurrent=16)
    asked = order()
    with ThreadPoolExecutor(16) as threads:
        outcomes = set(threads.map(lambda _: gateway.submit(asked), range(32)))
    gateway.close()
    [effect] = simulator.effects(asked.transaction_id)
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
def test_what_makes_no_sense_is_refused(
    simulator: Simulator, change: dict[str, object], headers: dict[str, str], status: int
) -> None:
    """A request that is not one of the contract's moves nothing."""
    body = json.dumps({**BODY, **change}).encode()
    assert simulator.call("POST", "/gatewayA/deposits", body, **headers)[0] == status
    assert simulator.effects("r-1") == []


def test_a_key_is_good_for_one_request(simulator: Simulator) -> None:
    """The same key for another amount is refused, and moves nothing."""

    def post(**change: object) -> tuple[int, object]:
        body = json.dumps({**BODY, "reference": "r-2", **change}).encode()
        return simulator.call("POST", "/gatewayA/deposits", body, Idempotency_Key="k-2")

    assert post()[0] == 200
    assert post(amount="5.00") == (422, {"error": "idempotency_key_reused"})
    assert [effect["amount"] for effect in simulator.effects("r-2")] == ["100.00"]
