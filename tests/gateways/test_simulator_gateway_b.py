"""gatewayB against the real simulator process: each row of the table of amounts, and repeated orders without keys."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from domain.events import Kind
from domain.outcomes import Approved, Category, Declined, NotReceived, OutcomeUnknownError
from gateways.development import CALLBACK_SECRET
from gateways.port import Gateway, Order
from tests.gateways.peer import Behave, Peer, Request, answers
from tests.gateways.simulator_process import Simulator, callbacks_of, wait_until
from tests.gateways.subjects import GATEWAY_A, GATEWAY_B
from tests.gateways.transport import SHORT_DEADLINE_S

Orders = Callable[..., Order]

REQUEST = "<request><reference>{}</reference><amount>{}</amount><currency>{}</currency><customer>1</customer></request>"


@pytest.fixture
def gateway(simulator: Simulator) -> Iterator[Gateway]:
    """The adapter in front of the simulator, with enough time for an answer."""
    made = GATEWAY_B.gateway(f"{simulator.url}/gatewayB")
    yield made
    made.close()


@pytest.fixture
def hasty(simulator: Simulator) -> Iterator[Gateway]:
    """The adapter with a short deadline, for rows that do not answer in time."""
    made = GATEWAY_B.gateway(f"{simulator.url}/gatewayB", timeout_s=SHORT_DEADLINE_S)
    yield made
    made.close()


# --- the table ---


@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL])
@pytest.mark.parametrize("minor", [10_000, 14, 99])
def test_else_success_at_once(gateway: Gateway, simulator: Simulator, order: Orders, kind: Kind, minor: int) -> None:
    """An amount outside of the table succeeds. The ledger has its one effect, without a key."""
    payment = order(minor, "EUR", kind)
    outcome = gateway.submit(payment)
    assert isinstance(outcome, Approved)
    assert outcome.final
    assert outcome.reference.startswith("B-")
    [effect] = simulator.effects(payment.transaction_id)
    assert effect.pop("at").endswith("Z")
    assert effect == {
        "gateway": "gatewayB",
        "kind": kind.value,
        "reference": payment.transaction_id,
        "id": outcome.reference,
        "amount": payment.money.text,
        "currency": "EUR",
        "key": None,
    }
    assert gateway.lookup(payment) == outcome


@pytest.mark.parametrize(
    ("minor", "code", "category"),
    [(1, "do_not_honor", Category.HARD), (2, "insufficient_funds", Category.SOFT)],
)
def test_01_and_02_are_declined(  # noqa: PLR0917 (fixtures)
    gateway: Gateway, simulator: Simulator, order: Orders, minor: int, code: str, category: Category
) -> None:
    """A decline moves no money, has gatewayB's own code, and stays a decline."""
    payment = order(10_000 + minor)
    for ask in (gateway.submit, gateway.lookup, gateway.submit):
        outcome = ask(payment)
        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.category, bool(outcome.reference)) == (code, category, True)
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
        assert (callback.method, callback.path) == ("POST", "/v1/callbacks/gatewayB")
        assert json.loads(callback.body) == {
            "transaction_id": outcome.reference,
            "status": status,
            "metadata": {"reference": payment.transaction_id, "amount": payment.money.text, "currency": "USD"},
        }
        assert is_signed(callback, CALLBACK_SECRET)
    assert len({callback.headers["x-gateway-event-id"] for callback in callbacks_of(service, payment)}) == 1
    assert len(simulator.effects(payment.transaction_id)) == (status == "completed")
    if status == "completed":
        assert gateway.lookup(payment) == Approved(outcome.reference, final=True)
    else:
        assert isinstance(gateway.lookup(payment), Declined)


def is_signed(callback: Request, secret: str) -> bool:
    """Whether the signature is the documented one, with the text of ``secret`` as the key."""
    event_id, timestamp = callback.headers["x-gateway-event-id"], callback.headers["x-gateway-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    signed = f"{event_id}.{timestamp}.".encode() + callback.body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return callback.headers["x-gateway-signature"] == f"sha256={expected}"


def test_callbacks_are_signed_with_the_secret_of_the_environment(
    tmp_path: Path, order: Orders, peers: Callable[[Behave], Peer], start_simulator: Callable[..., Simulator]
) -> None:
    """SIMULATOR_GATEWAY_B_SECRET replaces the development secret, for gatewayB only."""
    secret = "any text, not base64: \u00e4"
    service = peers(answers(200, b""))
    started = start_simulator(tmp_path / "ledger.jsonl", service.url, SIMULATOR_GATEWAY_B_SECRET=secret)
    gateways = GATEWAY_B.gateway(f"{started.url}/gatewayB"), GATEWAY_A.gateway(f"{started.url}/gatewayA")
    payment = order(10_012)
    for gateway in gateways:
        gateway.submit(payment)
        gateway.close()
    of_b, of_a = callbacks_of(service, payment)
    assert is_signed(of_b, secret)
    assert not is_signed(of_b, CALLBACK_SECRET)
    assert "webhook-signature" in of_a.headers


@pytest.mark.parametrize("minor", [5, 6, 9, 10])
def test_05_06_09_10_lose_the_answer_after_the_effect(
    gateway: Gateway, hasty: Gateway, simulator: Simulator, order: Orders, minor: int
) -> None:
    """The outcome is unknown although the money moved. A lookup finds it, and does not move it again."""
    payment = order(10_000 + minor)
    seen = {5: "status 500", 6: "timed out", 9: "cannot be read", 10: "timed out"}[minor]
    with pytest.raises(OutcomeUnknownError, match=seen):
        hasty.submit(payment)
    [effect] = simulator.effects(payment.transaction_id)
    assert gateway.lookup(payment) == gateway.lookup(payment) == Approved(effect["id"], final=True)
    assert simulator.effects(payment.transaction_id) == [effect]


@pytest.mark.parametrize("minor", [7, 8])
def test_07_and_08_lose_the_request(
    gateway: Gateway, hasty: Gateway, simulator: Simulator, order: Orders, minor: int
) -> None:
    """The outcome is unknown, and no money moved. A lookup does not find the order; sent again, it succeeds."""
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
    outcome = gateway.submit(payment)
    assert isinstance(outcome, Approved)
    assert gateway.lookup(payment) == outcome == Approved(outcome.reference, final=False)
    wait_until(lambda: gateway.lookup(payment) == Approved(outcome.reference, final=True), "completed")
    assert len(simulator.effects(payment.transaction_id)) == 1
    assert callbacks_of(service, payment) == []


# --- without keys, and faults of one gateway ---


@pytest.mark.parametrize("minor", [10_000, 10_006])
def test_the_same_reference_twice_is_two_effects(
    gateway: Gateway, hasty: Gateway, simulator: Simulator, order: Orders, minor: int
) -> None:
    """An order that is sent twice has two effects: the case that the service must prevent.

    A lookup finds the newest.
    """
    payment = order(minor)
    if minor == 10_000:
        gateway.submit(payment)
    else:
        with pytest.raises(OutcomeUnknownError):
            hasty.submit(payment)
    again = gateway.submit(payment)
    first_effect, second_effect = simulator.effects(payment.transaction_id)
    assert again == Approved(second_effect["id"], final=True) == gateway.lookup(payment)
    assert first_effect["id"] != second_effect["id"]


def test_a_key_is_ignored(simulator: Simulator) -> None:
    """A provider without idempotency keys ignores the header."""
    body = REQUEST.format("r-keyed", "1.00", "USD").encode()
    for _ in range(2):
        simulator.call_raw("POST", "/gatewayB/deposit", body, Idempotency_Key="k-1")
    assert len(simulator.effects("r-keyed")) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not_xml"),
        ("{}", "not_xml"),
        ("<!DOCTYPE request>" + REQUEST.format("r-bad", "1.00", "USD"), "not_xml"),
        (REQUEST.format("", "1.00", "USD"), "invalid"),
        (REQUEST.format("r-bad", "1.00", "JPY"), "invalid"),
        (REQUEST.format("r-bad", "1.00", ""), "invalid"),
        (REQUEST.format("r-bad", "", "USD"), "invalid_amount"),
        (REQUEST.format("r-bad", "1.001", "USD"), "invalid_amount"),
        (REQUEST.format("r-bad", "-1.00", "USD"), "invalid_amount"),
        (REQUEST.format("r-bad", "1.00", "USD").replace("customer", "client"), "invalid"),
    ],
)
def test_an_invalid_request_is_refused(simulator: Simulator, body: str, reason: str) -> None:
    """A request outside of the documented form moves no money."""
    status, answer = simulator.call_raw("POST", "/gatewayB/deposit", body.encode())
    assert (status, answer) == (400, f"<error><reason>{reason}</reason></error>".encode())
    assert simulator.effects("r-bad") == []


@pytest.mark.parametrize("query", ["", "?reference=", "?reference=r-none", "?other=1"])
def test_a_lookup_of_an_unknown_reference(simulator: Simulator, query: str) -> None:
    """An unknown reference gets the documented "not found"."""
    status, answer = simulator.call_raw("GET", f"/gatewayB/status{query}")
    assert (status, answer) == GATEWAY_B.not_found


@pytest.mark.parametrize(
    ("faults", "effects"), [({"unknown": 1}, 1), ({"error": 1}, 0), ({"refuse": 1}, 0), ({"outage": True}, 0)]
)
def test_faults_and_counts_are_per_gateway(
    gateway: Gateway, simulator: Simulator, order: Orders, faults: dict[str, object], effects: int
) -> None:
    """Faults of gatewayB apply to its submissions and lookups, and not to gatewayA. Calls are counted per gateway."""
    healthy = GATEWAY_A.gateway(f"{simulator.url}/gatewayA")
    before = counts(simulator)
    simulator.inject_faults(gateway="gatewayB", **faults)
    try:
        payment = order()
        for ask in (gateway.submit, gateway.lookup):
            with pytest.raises(OutcomeUnknownError):
                ask(payment)
        assert isinstance(healthy.submit(order()), Approved)
    finally:
        simulator.inject_faults()
        healthy.close()
    after = counts(simulator)
    assert {name: after[name] - before[name] for name in after} == {"gatewayA": 1, "gatewayB": 2}
    assert len(simulator.effects(payment.transaction_id)) == effects


def counts(simulator: Simulator) -> dict[str, int]:
    """The number of calls of each gateway."""
    calls = simulator.get("/calls")
    assert isinstance(calls, dict)
    return calls


def test_state_survives_a_restart(tmp_path: Path, order: Orders, start_simulator: Callable[..., Simulator]) -> None:
    """After a kill the newest record of each reference, lost and declined requests are known; pending ones continue."""
    ledger = tmp_path / "ledger.jsonl"
    before = start_simulator(ledger)
    gateway = GATEWAY_B.gateway(f"{before.url}/gatewayB")
    twice, declined, pending, lost = order(), order(10_001), order(10_003), order(10_008)
    gateway.submit(twice)
    outcomes = [gateway.submit(payment) for payment in (twice, declined, pending)]
    with pytest.raises(OutcomeUnknownError):
        gateway.submit(lost)
    before.kill()
    gateway.close()

    after = start_simulator(ledger)
    gateway = GATEWAY_B.gateway(f"{after.url}/gatewayB")
    assert [gateway.lookup(payment) for payment in (twice, declined)] == outcomes[:2]
    assert gateway.lookup(lost) == NotReceived()
    accepted = outcomes[2]
    assert isinstance(accepted, Approved)
    done = Approved(accepted.reference, final=True)
    wait_until(lambda: gateway.lookup(pending) == done, "the pending one completes")
    newest = gateway.submit(lost)  # its first request was received before
    assert isinstance(newest, Approved)
    effects = [line["id"] for payment in (twice, pending, lost) for line in after.effects(payment.transaction_id)]
    assert len(set(effects)) == len(effects) == 4
    gateway.close()
