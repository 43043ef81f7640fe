"""Processes of single roles on one PostgreSQL, with and without a broker: what each does, and what a stop leaves."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from tests.processes.client import Load, Log
from tests.processes.commands import SECRETS
from tests.processes.installation import GATEWAY_A, HOST, Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import Process, free_port, wait_until
from tests.processes.published import EverythingPublished
from tests.processes.targets import on_postgresql
from tests.scraping import of

pytestmark = pytest.mark.parametrize("installation", [on_postgresql(workers=1)], indirect=True, ids=str)

UNREACHABLE: Final = "amqp://guest:guest@127.0.0.1:1/"
HINTS: Final = "payments_work_hints_total"
OWN_ROUTES: Final = ("/healthz", "/readyz", "/metrics")


@pytest.fixture
def published() -> Iterator[EverythingPublished]:
    """A consumer; skips the test where no RabbitMQ answers."""
    consumer = EverythingPublished()
    yield consumer
    consumer.close()


def completes(installation: Installation, amount: str = "100.00", gateway: str = "gatewayA") -> float:
    """Post a deposit, and return the seconds until it is completed."""
    began = time.monotonic()
    path = installation.deposit(amount=amount, gateway=gateway).headers["Location"]
    wait_until(lambda: installation.get(path).body["status"] == "completed", "it is completed")
    return time.monotonic() - began


class Service(NamedTuple):
    """A process of one role."""

    port: int
    process: Process


def start(installation: Installation, *roles: str, **settings: str) -> list[Service]:
    """Start a service of each role at once, and wait until they are ready. The api has the installation's port."""
    services = []
    for role in roles:
        port = installation.port if role == "api" else free_port()
        own = {} if role == "api" else settings
        process = installation.gunicorn(PAYMENTS_BIND=f"{HOST}:{port}", PAYMENTS_ROLE=role, **own)
        services.append(Service(port, process))
    for service in services:
        installation.wait_for_answer(service.process, service.port, "/readyz")
    return services


def test_through_the_database_alone(installation: Installation) -> None:
    """Without a broker one process accepts, another calls the provider. They share breakers and operators' commands."""
    installation.configure_gateways(a=f"{SECRETS['gatewayA']}lookup_after_s = [600]\nbreaker = {{ sleep_s = 0.5 }}\n")
    installation.simulator()
    (_, api), (port, processing) = start(installation, "api", "processor")
    took = [completes(installation) for _ in range(5)]
    print(f"completed after {', '.join(f'{seconds:.2f}' for seconds in took)} s")  # noqa: T201 - with -s
    wait_until(lambda: api.said("DepositReceived") == 5, "the api has written what it accepted")
    wait_until(lambda: processing.said("DepositCompleted") == 5, "the processor has written what it did")
    assert api.said("DepositCompleted") == 0

    assert {path: installation.get(path, port).status for path in OWN_ROUTES} == dict.fromkeys(OWN_ROUTES, 200)
    assert installation.get("/v1/transactions", port).status == 404
    assert installation.deposit(port=port).status == 404

    completes(installation, amount="10.03")
    wait_until(lambda: api.said("DepositCompleted") == 1, "the provider has called the api back")

    mode = {"mode": "open", "reason": "a test"}
    assert installation.post("/v1/gateways/gatewayA/breaker", mode).status == 200
    waiting = installation.deposit().headers["Location"]
    completes(installation, gateway="gatewayB")
    assert installation.get(waiting).body["status"] == "pending"
    assert installation.breaker("gatewayA")["state"] == "open"
    assert installation.post("/v1/gateways/gatewayA/breaker", {"mode": "auto", "reason": "a test"}).status == 200
    wait_until(lambda: installation.get(waiting).body["status"] == "completed", "the processor probes")
    wait_until(lambda: installation.breaker("gatewayA")["state"] == "closed", "the api follows")

    samples = installation.scrape()
    assert of(samples, "payments_bulkhead_slots", gateway="gatewayA") == 0
    assert of(samples, "payments_gateway_calls_total", gateway="gatewayA", action="submit", result="approved") == 0
    assert of(samples, "payments_work_taken_over_total") == 0
    installation.verify()


def test_dead_letters_are_retried_through_the_api(installation: Installation) -> None:
    """The provider refuses connections until the work is parked. An operator retries it where no calls are made."""
    settings = {
        "PAYMENTS_DEAD_LETTER_FIRST_S": "0.05",
        "PAYMENTS_DEAD_LETTER_MAX_S": "0.1",
        "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1",
    }
    installation.configure_gateways(a=f"max_retries = 0\n{GATEWAY_A}")
    (_, api), _ = start(installation, "api", "processor", **settings)
    path = installation.deposit().headers["Location"]
    wait_until(lambda: installation.get(path).body["attention"] == "parked", "it is parked")
    installation.simulator()
    assert installation.post("/v1/dead-letters/retry", {"gateway": "gatewayA"}).body == {"count": 1}
    wait_until(lambda: installation.get(path).body["status"] == "completed", "the processor sends it again")
    assert api.said("DepositCompleted") == 0


def test_a_stopped_processor_gives_unsent_work_back(installation: Installation) -> None:
    """It finishes its calls. The next processor sends the rest at once, and nothing is sent twice."""
    installation.configure_gateways(a=f"max_concurrent = 2\n{GATEWAY_A}")
    installation.simulator()
    installation.inject_faults(latency_s=2)
    _, (_, stopped) = start(installation, "api", "processor")
    log, witness = Log(), Witness(installation.database_url)
    with Load(log, installation.port, deposits=20, gateway=lambda: "gatewayA"):
        pass
    wait_until(lambda: installation.calls("gatewayA") == 2, "calls are in progress")
    stopped.send(signal.SIGTERM)
    assert stopped.wait() == 0
    told = installation.calls("gatewayA")
    assert told < 20
    assert witness.unfinished() == 20 - told
    installation.inject_faults()
    ((_, other),) = start(installation, "processor")
    witness.wait_for_rest()
    assert other.said("took over work of dead processes") == 0
    assert installation.calls("gatewayA") == 20
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []


@pytest.mark.parametrize("role", ["all", "api", "processor", "relay"])
def test_an_unreachable_broker(installation: Installation, role: str) -> None:
    """Every role is ready and stops cleanly without it."""
    service = installation.service(PAYMENTS_ROLE=role, PAYMENTS_BROKER_URL=UNREACHABLE)
    assert installation.get("/readyz").status == 200
    service.send(signal.SIGTERM)
    assert service.wait() == 0


def test_a_relay_without_a_broker_says_so(installation: Installation) -> None:
    """It starts and is ready, and one WARNING reports that it publishes nothing."""
    relay = installation.service(PAYMENTS_ROLE="relay")
    assert relay.said("there is no PAYMENTS_BROKER_URL: this relay publishes nothing") == 1
    assert installation.get("/readyz").status == 200


def test_over_a_broker(installation: Installation, published: EverythingPublished) -> None:
    """The relay announces what the api queued, the processor claims it, and every event is published in order.

    During an outage of the broker the work continues. Afterwards the events follow by themselves.
    """
    installation.simulator()
    services = start(installation, "api", "processor", "relay", PAYMENTS_BROKER_URL=published.url)
    _, (_, processing), (port, relay) = services
    wait_until(lambda: relay.said("the announcer of work leads") == 1, "the relay announces")
    took = [completes(installation) for _ in range(5)]
    print(f"completed after {', '.join(f'{seconds:.2f}' for seconds in took)} s")  # noqa: T201 - with -s
    wait_until(lambda: processing.said("DepositCompleted") == 5, "the processor has written what it did")
    wait_until(lambda: (of(installation.scrape(port), HINTS, result="announced") or 0) >= 1, "hints are counted")

    published.proxy.go_away()
    for _ in range(2):
        completes(installation)
    assert {installation.get("/readyz", at).status for at in (installation.port, port)} == {200}
    published.proxy.come_back()
    published.check(installation.database_url)
    completes(installation)


def test_a_frozen_relay(installation: Installation, published: EverythingPublished) -> None:
    """Frozen past its lease, another one leads. Afterwards the old one stands by, and the order is kept."""
    settings = {"PAYMENTS_BROKER_URL": published.url, "PAYMENTS_LEASE_S": "1"}
    installation.simulator()
    relays = [one.process for one in start(installation, "api", "processor", "relay", "relay", **settings)[2:]]
    wait_until(lambda: any(one.said("the relay leads") for one in relays), "one leads")
    frozen, other = sorted(relays, key=lambda one: one.said("the relay leads"), reverse=True)
    with Load(Log(), installation.port, deposits=100) as load:
        load.wait_for(20)
        frozen.send_to_group(signal.SIGSTOP)
        wait_until(lambda: other.said("the relay leads") == 1, "the other one leads")
        wait_until(lambda: bool(other.said("the announcer of work leads")), "the other one announces")
        load.wait_for(60)
        frozen.send_to_group(signal.SIGCONT)
    Witness(installation.database_url).wait_for_rest()
    published.check(installation.database_url)
    assert frozen.said("the relay leads") == 1
    other.send(signal.SIGTERM)
    assert other.wait() == 0
    wait_until(lambda: frozen.said("the relay leads") == 2, "it leads again when the other one stops")
    completes(installation)
    published.check(installation.database_url)
