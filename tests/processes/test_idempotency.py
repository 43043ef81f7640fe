"""Idempotency keys at real services that are killed: a key has one transaction and always the same answer."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from functools import partial
from threading import Thread
from typing import Final

import pytest

from tests.processes.commands import GATEWAYS, QUICK, all_at_once, fund, send, transactions, wait_for_ends
from tests.processes.installation import Answer, Installation
from tests.processes.ledger_check import wrong_ends
from tests.processes.process import Process, free_port, wait_until
from tests.processes.targets import SQLITE, on, on_postgresql

pytestmark = pytest.mark.slow

CLIENTS: Final = 64
SETTINGS: Final = {"PAYMENTS_LEASE_S": "1", "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1", "PAYMENTS_DEAD_LETTER_MAX_S": "0.5"}
PAUSE_S: Final = 0.05
KNOWN: Final = frozenset({202, 409, 503, 504, None})
REPLAYED: Final = "Idempotent-Replayed"


def give(key: str, gateway: str, ports: list[int], amount: str = "10.00") -> Answer | None:
    """Order a deposit under ``key`` at one of the ports."""
    body = {"amount": amount, "gateway": gateway, "customer_id": f"of-{key}"}
    return send(random.choice(ports), "/v1/deposit", body, {"Idempotency-Key": key})


class Services:
    """One service for each port. One service or worker at a time is killed and restarted."""

    def __init__(self, installation: Installation, ports: list[int]) -> None:
        self._installation = installation
        self._services = {port: installation.service(port, **SETTINGS) for port in ports}

    def kill_one(self, *, whole: bool) -> None:
        """Kill a service or one of its workers, and return when all are ready again."""
        port, service = random.choice([*self._services.items()])
        if whole:
            service.end()
            self._services[port] = self._installation.service(port, **SETTINGS)
            return
        before = service.said("ready")
        os.kill(random.choice(_workers(service)), signal.SIGKILL)
        wait_until(lambda: service.said("ready") > before, "there is another worker")


def _workers(service: Process) -> list[int]:
    wait_until(lambda: bool(service.children()), "there is a worker")
    return service.children()


def assert_one(answers: list[Answer | None], key: str) -> str:
    """Assert that all answers for ``key`` name the same transaction, and at most one of them is the first answer."""
    statuses = Counter(None if answer is None else answer.status for answer in answers)
    assert set(statuses) <= KNOWN, (key, statuses)
    accepted = [answer for answer in answers if answer is not None and answer.status == 202]
    locations = {answer.headers["Location"] for answer in accepted}
    assert len(locations) == 1, (key, locations)
    assert sum(answer.headers[REPLAYED] is None for answer in accepted) <= 1, key
    assert all(answer.headers[REPLAYED] in {None, "true"} for answer in accepted), key
    return locations.pop()


@on(SQLITE, on_postgresql(workers=3))
def test_one_transaction_for_a_key(installation: Installation) -> None:
    """64 clients with one key and command, under kills, get one transaction with one effect and one answer."""
    installation.configure_gateways(a=QUICK, b=QUICK)
    installation.simulator()
    ports = [installation.port] if installation.workers == 1 else [installation.port, free_port()]
    services = Services(installation, ports)
    keys = {f"{gateway}-{'service' if whole else 'worker'}": whole for gateway in GATEWAYS for whole in (True, False)}
    first: dict[str, str] = {}
    for key, whole in keys.items():
        answers: list[Answer | None] = []
        calls = [partial(_persist, key, ports, answers) for _ in range(CLIENTS)]
        clients = Thread(target=all_at_once, args=(calls, CLIENTS), daemon=True)
        clients.start()
        wait_until(lambda: len(answers) >= random.randint(0, CLIENTS // 2), "some are answered")  # noqa: B023
        services.kill_one(whole=whole)
        clients.join()
        first[key] = assert_one(answers, key)
    for key, location in first.items():
        for port in ports:
            again = give(key, _gateway(key), [port])
            assert again is not None
            assert (again.status, again.headers["Location"], again.headers[REPLAYED]) == (202, location, "true")
            other = give(key, _gateway(key), [port], amount="10.01")
            assert other is not None
            assert (other.status, other.body["type"]) == (422, "/problems/idempotency-key-reused")
    customers = [f"of-{key}" for key in keys]
    wait_for_ends(installation, customers)
    found = transactions(installation, customers)
    assert sorted(f"/v1/transactions/{transaction['transaction_id']}" for transaction in found) == sorted(
        first.values()
    )
    assert {transaction["status"] for transaction in found} == {"completed"}
    assert wrong_ends(installation, customers) == []
    assert len(installation.books().effects) == len(keys)
    installation.verify()


def _gateway(key: str) -> str:
    return key.partition("-")[0]


def _persist(key: str, ports: list[int], answers: list[Answer | None]) -> None:
    """Repeat the command until it is accepted, like a client with a key."""
    while True:
        answer = give(key, _gateway(key), ports)
        answers.append(answer)
        if answer is not None and answer.status not in KNOWN - {202}:
            return
        time.sleep(PAUSE_S)


@on(SQLITE, on_postgresql(workers=2))
def test_a_refusal_is_replayed(installation: Installation) -> None:
    """A withdrawal refused for insufficient funds stays refused after a restart, even with sufficient funds."""
    installation.simulator()
    service = installation.service()
    fund(installation, "c1", "5.00")
    body = {"amount": "10.00", "gateway": "gatewayA", "customer_id": "c1"}
    withdraw = partial(send, installation.port, "/v1/withdrawal", body, {"Idempotency-Key": "k"})
    refused = withdraw()
    assert refused is not None
    assert (refused.status, refused.body["available"], refused.headers[REPLAYED]) == (422, "5.00", None)
    fund(installation, "c1", "20.00")
    service.end()
    installation.service()
    again = withdraw()
    assert again is not None
    assert (again.status, again.body["available"], again.headers[REPLAYED]) == (422, "5.00", "true")
    assert again.body["type"] == refused.body["type"] == "/problems/insufficient-funds"
    fresh = send(installation.port, "/v1/withdrawal", body, {"Idempotency-Key": "another"})
    assert fresh is not None
    assert fresh.status == 202
    wait_for_ends(installation, ["c1"])
    assert wrong_ends(installation, ["c1"]) == []
