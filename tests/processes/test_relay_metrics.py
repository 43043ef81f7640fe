"""The metrics and the status of a service's relay, while the broker is there, away, and back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from tests.messaging.brokers import RABBITMQ_URL
from tests.messaging.cutting_proxy import CuttingProxy
from tests.processes.installation import Installation
from tests.processes.process import wait_until
from tests.scraping import of
from tests.tooling.test_monitoring import served


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    """A proxy before RabbitMQ; skips the test where none answers."""
    parts = urlsplit(RABBITMQ_URL)
    server = (parts.hostname or "localhost", parts.port or 5672)
    try:
        socket.create_connection(server).close()
    except OSError as error:
        pytest.skip(f"no RabbitMQ: {error}")
    with closing(CuttingProxy(server)) as proxy:
        yield proxy


def figures(installation: Installation) -> dict[str, float | None]:
    """The metrics of the relay of events, by the last part of their names."""
    names = ("events_total", "leading", "failing", "led", "refused", "lag_events", "lag_seconds")
    samples = installation.scrape()
    return {name: of(samples, f"payments_relay_{name}", relay="events") for name in names}


def test_an_outage_of_the_broker_is_in_the_metrics(installation: Installation, proxy: CuttingProxy) -> None:
    """The lag rises while the broker is away, and falls to zero by itself. The command shows the same."""
    installation.simulator()
    url = urlsplit(RABBITMQ_URL)
    url = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{proxy.port}")
    installation.service(PAYMENTS_LEASE_S="2", PAYMENTS_BROKER_URL=url.geturl())
    installation.deposit()

    def published(count: int) -> bool:
        now = figures(installation)
        return now["events_total"] == count and (now["lag_events"], now["lag_seconds"]) == (0, 0)

    wait_until(lambda: published(3), "three events are published")
    now = figures(installation)
    assert (now["leading"], now["led"], now["failing"], now["refused"]) == (1, 1, 0, 0)
    found = {name for name, _ in installation.scrape()}
    every = {f"{name}_sum" if kind == "histogram" else name for name, (kind, _) in served().items()}
    assert {name for name in every - found if name.startswith("payments_relay_")} == set()
    assert installation.manage("relay", "status").wait() == 0

    proxy.go_away()
    installation.deposit()

    def behind() -> bool:
        now = figures(installation)
        return (now["lag_events"] or 0) >= 3 and (now["lag_seconds"] or 0) > 1 and now["failing"] == 1

    wait_until(behind, "the lag rises")
    now = figures(installation)
    assert (now["leading"], now["led"], now["events_total"]) == (1, 1, 3)

    proxy.come_back()
    wait_until(lambda: published(6), "the lag falls")
    assert figures(installation)["failing"] == 0
