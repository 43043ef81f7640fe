"""Fixtures of the gateways' tests: servers and clients that are closed again, and orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from domain.events import Kind
from domain.money import Money
from gateways.http import HttpClient
from gateways.port import Gateway, LookupMeans, Order
from tests.gateways.contract import CALLS, Fixture
from tests.gateways.peer import Behave, Peer, answers
from tests.gateways.simulator_process import Simulator
from tests.gateways.subjects import GATEWAY_A, SUBJECTS, Subject
from tests.gateways.transport import SHORT_DEADLINE_S, Client


@pytest.fixture
def peers() -> Iterator[Callable[[Behave], Peer]]:
    """Make servers that send what the test defines, and close them after it."""
    started: list[Peer] = []

    def start(behave: Behave) -> Peer:
        started.append(Peer(behave))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def peer(peers: Callable[[Behave], Peer]) -> Peer:
    """A server that answers with an empty object until the test replaces ``behave``."""
    return peers(answers(200, b"{}"))


_NUMBERS = count(1)


@pytest.fixture
def order() -> Callable[..., Order]:
    """Make orders, each with its own transaction id."""

    def make(minor: int = 10_000, currency: str = "USD", kind: Kind = Kind.DEPOSIT, **details: str) -> Order:
        return Order(f"0190aaaa-0000-7000-8000-{next(_NUMBERS):012d}", kind, Money(minor, currency), "12345", details)

    return make


@pytest.fixture
def client() -> Iterator[Client]:
    """Make transports."""
    made: list[HttpClient] = []

    def make(url: str, timeout_s: float = 5.0, max_concurrent: int = 4, **more: object) -> HttpClient:
        options: dict[str, Any] = dict(more)  # the clock or the trusted certificates of the test
        made.append(HttpClient("one", url, timeout_s=timeout_s, max_concurrent=max_concurrent, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def _has_no_lookups(gateway: Gateway) -> bool:
    return all(facts.lookup is not LookupMeans.QUERY for facts in gateway.operations.values())


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.adapter)
def fixture(request: pytest.FixtureRequest, peer: Peer) -> Iterator[Fixture]:
    """A fixture of the contract suite for each subject."""
    subject: Subject = request.param
    gateway, hasty = subject.gateway(peer.url), subject.gateway(peer.url, timeout_s=SHORT_DEADLINE_S)
    try:
        if _has_no_lookups(gateway) and request.node.callspec.params.get("call") is CALLS["lookup"]:
            pytest.skip("its provider has no lookups")
        yield Fixture(subject, peer, gateway, hasty)
    finally:
        gateway.close()
        hasty.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Peer]:
    """The server that receives the simulator's callbacks in place of the service."""
    peer = Peer(answers(200, b"{}"))
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def simulator(service: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator for all tests of a module that do not end it."""
    running = Simulator(tmp_path_factory.mktemp("simulator") / "deep/ledger.jsonl", f"{service.url}/v1/callbacks")
    yield running
    running.kill()


@pytest.fixture
def start_simulator() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that a test may end itself. All others are ended after it."""
    started: list[Simulator] = []

    def start(ledger: Path, callback_url: str = "http://127.0.0.1:9/none", **variables: str) -> Simulator:
        started.append(Simulator(ledger, callback_url, **variables))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def gateway(simulator: Simulator) -> Iterator[Gateway]:
    """The adapter in front of the simulator, with enough time for an answer."""
    made = GATEWAY_A.gateway(f"{simulator.url}/gatewayA")
    yield made
    made.close()


@pytest.fixture
def hasty(simulator: Simulator) -> Iterator[Gateway]:
    """The adapter with a short deadline, for rows that do not answer in time."""
    made = GATEWAY_A.gateway(f"{simulator.url}/gatewayA", timeout_s=SHORT_DEADLINE_S)
    yield made
    made.close()
