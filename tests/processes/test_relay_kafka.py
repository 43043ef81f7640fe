"""A service publishes its events to a broker of Kafka's protocol, over the death of the process that publishes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Final

import pytest

from messaging.kafka.publishing import TOPIC
from tests.messaging.cutting_proxy import CuttingProxy
from tests.messaging.kafka_refusals import RefusingProxy
from tests.messaging.kafka_server import KafkaServer, Reader, binary, headers_of
from tests.processes.installation import Installation
from tests.processes.process import Process, free_port, wait_until
from tests.processes.targets import on_postgresql

CUSTOMERS: Final = 4
DEPOSITS: Final = 40
"""Of all customers; three events each, which fit into one batch."""
KILLED_AT: Final = 10
"""The request with messages at which the publishing process dies: the broker gets it, and its confirm is lost."""


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    """A broker of its own behind a proxy; skips the test where none can be started."""
    binary()
    proxy = RefusingProxy(("127.0.0.1", 0))
    server = KafkaServer(proxy.port)
    proxy.server = ("127.0.0.1", server.port)
    yield proxy
    proxy.close()
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("installation", [on_postgresql(workers=1)], indirect=True, ids=str)
def test_a_relay_killed_in_a_batch(installation: Installation, proxy: CuttingProxy) -> None:
    """Another one goes on: every event arrives, and first deliveries are in order within each customer."""
    installation.simulator()
    installation.service(PAYMENTS_LEASE_S="2")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: installation.deposit(customer_id=f"c-{at % CUSTOMERS}"), range(DEPOSITS)))
    wait_until(lambda: len(installation.get("/v1/events?limit=200").body["items"]) == 3 * DEPOSITS, "all complete")

    settings = {
        "PAYMENTS_LEASE_S": "2",
        "PAYMENTS_ROLE": "relay",
        "PAYMENTS_BROKER_URL": f"kafka://127.0.0.1:{proxy.port}",
    }
    requests, relays = count(1), list[Process]()

    def kill(request: bytes) -> None:
        if b"ce_partitionkey" in request and next(requests) == KILLED_AT:
            relays[0].send_to_group(signal.SIGKILL)

    proxy.on_request = kill
    for _ in range(2):
        relays.append(installation.service(free_port(), **settings))
    assert relays[0].wait() == -signal.SIGKILL
    found: dict[str, list[int]] = {}
    ids: set[str] = set()
    reader, deliveries = Reader(f"127.0.0.1:{proxy.server[1]}", TOPIC), 0

    def all_arrived() -> bool:
        nonlocal deliveries
        for got in reader.read():
            headers = headers_of(got)
            deliveries += 1
            if headers["ce_id"] not in ids:
                ids.add(headers["ce_id"])
                found.setdefault(headers["ce_partitionkey"], []).append(int(headers["ce_sequence"]))
        return len(ids) == 3 * DEPOSITS

    wait_until(all_arrived, "every event arrives")
    versions = list(range(1, 3 * DEPOSITS // CUSTOMERS + 1))
    assert found == {f"main/c-{number}": versions for number in range(CUSTOMERS)}
    assert deliveries > 3 * DEPOSITS, "the killed relay had published some of them"
