"""The simulator as a process: faults and counts, the state after a kill, start and end."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from domain.outcomes import Approved, Declined, GatewayError, NotReceived, Outcome, OutcomeUnknownError
from gateways.port import Gateway, Order
from tests.gateways.peer import Behave, Peer, answers, first
from tests.gateways.simulator_process import (
    BODY,
    CHECKOUT,
    COMMAND,
    PATIENCE_S,
    Simulator,
    callbacks_of,
    environment,
    wait_until,
)
from tests.gateways.subjects import GATEWAY_A
from tests.gateways.transport import SHORT_DEADLINE_S

Orders = Callable[..., Order]
Starts = Callable[..., Simulator]


def is_found(gateway: Gateway, order: Order, outcome: Outcome) -> bool:
    """Whether a repetition under the same key finds ``outcome``."""
    return gateway.submit(order) == outcome


# --- calls and faults ---


@pytest.fixture
def no_faults_afterwards(simulator: Simulator) -> Iterator[None]:
    """Remove all faults after the test."""
    yield
    simulator.inject_faults()


def calls(simulator: Simulator) -> int:
    """The number of calls of gatewayA."""
    counted = simulator.get("/calls")
    assert isinstance(counted, dict)
    return int(counted["gatewayA"])


def test_calls_are_counted(gateway: Gateway, simulator: Simulator, order: Orders) -> None:
    """Submissions and lookups count; requests to the test routes do not."""
    before = calls(simulator)
    payment = order()
    gateway.submit(payment)
    gateway.lookup(payment)
    assert calls(simulator) == before + 2


@pytest.mark.usefixtures("no_faults_afterwards")
@pytest.mark.parametrize(
    ("faults", "effects"),
    [({"unknown": 1}, 1), ({"error": 1}, 0), ({"refuse": 1}, 0), ({"outage": True}, 0), ({"outage": 1.0}, 0)],
)
def test_injected_faults(
    gateway: Gateway, simulator: Simulator, order: Orders, faults: dict[str, object], effects: int
) -> None:
    """Each fault leaves the outcome unknown. Only ``unknown`` follows the effect.

    An empty request removes all faults.
    """
    payment = order()
    before = calls(simulator)
    simulator.inject_faults(gateway="gatewayA", **faults)
    for ask in (gateway.submit, gateway.lookup):
        with pytest.raises(OutcomeUnknownError):
            ask(payment)
    assert calls(simulator) == before + 2
    assert len(simulator.effects(payment.transaction_id)) == effects
    simulator.inject_faults()
    assert isinstance(gateway.submit(payment), Approved)
    assert len(simulator.effects(payment.transaction_id)) == 1


@pytest.mark.usefixtures("no_faults_afterwards")
def test_latency(hasty: Gateway, gateway: Gateway, simulator: Simulator, order: Orders) -> None:
    """Latency passes before the effect. A new fault does not remove another."""
    simulator.inject_faults(latency_s=0.6)
    simulator.inject_faults(error=0)
    payment = order()
    with pytest.raises(OutcomeUnknownError):
        hasty.submit(payment)
    assert simulator.effects(payment.transaction_id) == []
    assert isinstance(gateway.submit(payment), Approved)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"gateway": "gatewayZ"}',
        b'{"unknown": 1.5}',
        b'{"unknown": true}',
        b'{"latency_s": -1}',
        b'{"x": 1}',
    ],
)
def test_an_invalid_request_of_faults_is_refused(simulator: Simulator, body: bytes) -> None:
    """An invalid request is answered with its error, and changes nothing."""
    status, answer = simulator.call("POST", "/faults", body)
    assert status == 400
    assert isinstance(answer, dict)
    assert answer["error"]


# --- ledger and restarts ---


def test_state_survives_a_restart(tmp_path: Path, order: Orders, start_simulator: Starts) -> None:
    """After a kill keys and references are known: one effect, the same answer, and pending requests continue."""
    # At the kill 100.13 and 100.03 wait for their callback; 100.07 is lost.
    payment = {minor: order(10_000 + minor) for minor in (0, 1, 2, 3, 4, 5, 6, 7, 11, 13)}
    ledger = tmp_path / "ledger.jsonl"
    before = start_simulator(ledger)
    outcomes: dict[int, Outcome] = {}
    gateway = GATEWAY_A.gateway(f"{before.url}/gatewayA")
    hasty = GATEWAY_A.gateway(f"{before.url}/gatewayA", timeout_s=SHORT_DEADLINE_S)
    for minor, each in payment.items():
        with suppress(OutcomeUnknownError):
            outcomes[minor] = (hasty if minor in {6, 7} else gateway).submit(each)
    settled = {line["reference"]: line for line in map(json.loads, ledger.read_text("utf-8").splitlines())}
    before.kill()
    gateway.close()
    hasty.close()

    after = start_simulator(ledger)
    gateway = GATEWAY_A.gateway(f"{after.url}/gatewayA", timeout_s=5)
    for minor in (0, 1, 2):
        assert gateway.submit(payment[minor]) == gateway.lookup(payment[minor]) == outcomes[minor]
    for minor in (5, 6):
        assert gateway.lookup(payment[minor]) == Approved(settled[payment[minor].transaction_id]["id"], final=True)
    assert gateway.lookup(payment[7]) == NotReceived()
    assert isinstance(gateway.submit(payment[7]), Approved)  # its first request was received before
    for minor in (3, 13, 11):
        pending = outcomes[minor]
        assert isinstance(pending, Approved)
        done = Approved(pending.reference, final=True)
        wait_until(partial(is_found, gateway, payment[minor], done), f"row {minor} completes")
    wait_until(lambda: isinstance(gateway.lookup(payment[4]), Declined), "row 04 fails")
    assert [len(after.effects(payment[minor].transaction_id)) for minor in payment] == [1, 0, 0, 1, 0, 1, 1, 1, 1, 1]
    everything = after.get("/ledger")
    assert isinstance(everything, list)
    assert len({line["id"] for line in everything}) == len(everything) == 7
    gateway.close()


def test_every_answer_before_a_kill_is_in_the_ledger(tmp_path: Path, order: Orders, start_simulator: Starts) -> None:
    """Killed under load, the simulator has every acknowledged effect on disk."""
    ledger = tmp_path / "ledger.jsonl"
    simulator = start_simulator(ledger)
    gateway = GATEWAY_A.gateway(f"{simulator.url}/gatewayA", timeout_s=5, max_concurrent=8)
    acknowledged: list[str] = []
    enough = threading.Event()

    def load() -> None:
        while True:
            try:
                outcome = gateway.submit(order())
            except GatewayError:
                return
            assert isinstance(outcome, Approved)
            acknowledged.append(outcome.reference)
            if len(acknowledged) > 200:
                enough.set()

    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(load) for _ in range(8)]
        assert enough.wait(PATIENCE_S)
        simulator.kill()
        for each in running:
            each.result(PATIENCE_S)
    gateway.close()
    written = [json.loads(line)["id"] for line in ledger.read_text("utf-8").splitlines()]
    assert set(acknowledged) <= set(written)
    assert len(written) == len(set(written))


def test_callbacks_are_repeated_until_accepted(
    tmp_path: Path, order: Orders, peers: Callable[[Behave], Peer], start_simulator: Starts
) -> None:
    """A callback that is not accepted is repeated with the same id until it is."""
    service = peers(first(answers(200, b""), once=answers(404, b"")))
    simulator = start_simulator(tmp_path / "ledger.jsonl", service.url)
    gateway = GATEWAY_A.gateway(f"{simulator.url}/gatewayA", timeout_s=5)
    payment = order(10_003)
    gateway.submit(payment)
    wait_until(lambda: len(callbacks_of(service, payment)) == 2, "a second attempt")
    assert len({callback.headers["webhook-id"] for callback in callbacks_of(service, payment)}) == 1
    gateway.close()


# --- the process ---


def test_start_line_and_sigterm(tmp_path: Path, start_simulator: Starts) -> None:
    """One line states address, ledger and callback URL. SIGTERM ends the process with 0, also with open connections."""
    simulator = start_simulator(tmp_path / "ledger.jsonl", "http://127.0.0.1:9/v1/callbacks")
    assert simulator.greeting == (
        f"simulator: listening on {simulator.url} (/gatewayA, /gatewayB; /ledger /calls /faults), "
        f"ledger {tmp_path}/ledger.jsonl, callbacks to http://127.0.0.1:9/v1/callbacks\n"
    )
    host, port = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"POST /gatewayA/deposits HTTP/1.1\r\n")
        assert simulator.stop() == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"SIMULATOR_BIND": "nonsense"}, "SIMULATOR_BIND must be an address and a port"),
        ({"SIMULATOR_BIND": "127.0.0.1:99999"}, "SIMULATOR_BIND must be an address and a port"),
        ({"SIMULATOR_BIND": "taken"}, "cannot listen on 127.0.0.1:"),
        ({"SIMULATOR_LEDGER": "/dev/null/ledger"}, "cannot open its ledger /dev/null/ledger"),
        ({"SIMULATOR_CALLBACK_URL": "nowhere"}, "SIMULATOR_CALLBACK_URL must be an http or https URL"),
        ({"SIMULATOR_GATEWAY_A_SECRET": "s3cr3t"}, "SIMULATOR_GATEWAY_A_SECRET is not a valid secret of gatewayA"),
        ({"SIMULATOR_GATEWAY_A_SECRET": "whsec_"}, "SIMULATOR_GATEWAY_A_SECRET is not a valid secret of gatewayA"),
        (
            {"SIMULATOR_GATEWAY_A_SECRET": "whsec_s3cr3t!"},
            "SIMULATOR_GATEWAY_A_SECRET is not a valid secret of gatewayA",
        ),
    ],
)
def test_a_failed_start_is_one_line(tmp_path: Path, change: dict[str, str], text: str) -> None:
    """An invalid setting, a used port, or a ledger that cannot be written gives one clear line and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = {**environment(tmp_path / "l.jsonl", "http://127.0.0.1:9", "127.0.0.1:0"), **change}
        if environ["SIMULATOR_BIND"] == "taken":
            environ["SIMULATOR_BIND"] = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = subprocess.run(
            COMMAND, cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=10, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"simulator: {text}")
    assert "s3cr3t" not in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"gateway": "gatewayA"}'])
def test_a_foreign_file_is_not_used_as_the_ledger(tmp_path: Path, line: str) -> None:
    """A ledger that cannot be read ends the start with one line, and is not changed."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(f"{line}\n", "utf-8")
    environ = environment(ledger, "http://127.0.0.1:9", "127.0.0.1:0")
    ended = subprocess.run(COMMAND, cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=10, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"simulator: its ledger {ledger} holds lines that it did not write\n"
    assert ledger.read_text("utf-8") == f"{line}\n"


def test_slow_clients_and_silent_rows_delay_no_other_call(simulator: Simulator, order: Orders) -> None:
    """With 200 connections that wait for an answer and some slow ones, other calls are answered at once."""
    host, port = simulator.url.removeprefix("http://").split(":")
    waiting = []
    for number in range(200):
        connection = socket.create_connection((host, int(port)))
        waiting.append(connection)
        body = json.dumps({**BODY, "reference": f"slow-{number}", "amount": "1.06"}).encode()
        head = f"POST /gatewayA/deposits HTTP/1.1\r\nHost: x\r\nIdempotency-Key: slow-{number}\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        connection.sendall(request if number % 2 else request[:-1])
    quick = GATEWAY_A.gateway(f"{simulator.url}/gatewayA", timeout_s=2)
    for _ in range(20):
        assert isinstance(quick.submit(order()), Approved)
    quick.close()
    for connection in waiting:
        connection.close()
