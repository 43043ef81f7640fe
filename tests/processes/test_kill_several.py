"""kill -9 under load with several processes on one database: the others take over while the load continues."""

from __future__ import annotations

import os
import random
import signal
from typing import Final

import pytest

from tests.processes.client import Load, Log
from tests.processes.installation import Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import Process, free_port, wait_until
from tests.processes.targets import on, on_postgresql

pytestmark = pytest.mark.slow

SETTINGS: Final = {
    # Short, so that the others take over a dead process's leases while they are under load.
    "PAYMENTS_LEASE_S": "1",
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.5",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1000",
}
# At a gateway without keys, a dead process's work counts as never sent only long after the calls' time limits.
IMPATIENT: Final = (
    f"timeout_s = 0.5\nsettle_s = 0.5\nlookup_after_s = {[0.3, 0.5, *[1] * 30]}\nbreaker = {{ sleep_s = 0.5 }}\n"
)


class Victims:
    """Services on separate ports that share a database and a lossy provider."""

    def __init__(self, installation: Installation, *ports: int) -> None:
        self._installation = installation
        installation.configure_gateways(b=IMPATIENT)
        self._provider = self._lossy_provider()
        self._services = {port: installation.service(port, **SETTINGS) for port in ports}

    def kill_worker(self) -> None:
        """Kill a worker; gunicorn starts another one."""
        _, service = self._any()
        before = service.children()
        os.kill(random.choice(before), signal.SIGKILL)
        wait_until(
            lambda: len(service.children()) == len(before) and service.children() != before, "there is another worker"
        )

    def kill_master(self) -> None:
        """Kill a master. Its workers finish their work while a new service waits for the port."""
        port, service = self._any()
        orphans = service.children()
        service.send(signal.SIGKILL)
        service.wait()
        self._services[port] = successor = self._installation.gunicorn(PAYMENTS_BIND=f"127.0.0.1:{port}", **SETTINGS)

        def gone() -> bool:
            assert not successor.ended, "the new service did not wait for the port"
            return not set(orphans) & set(self._installation.living())

        wait_until(gone, "the orphaned workers have ended")
        self._installation.wait_for_workers(successor, self._installation.workers)

    def kill_service(self) -> None:
        """Kill master and workers at once; another service takes over, if there is one, before the restart."""
        port, service = self._any()
        service.end()
        others = [other for other in self._services.values() if other is not service]
        if others:
            before = _takeovers(others)
            wait_until(lambda: _takeovers(others) > before, "another service has taken over its work")
        self._services[port] = self._installation.service(port, **SETTINGS)

    def kill_provider(self) -> None:
        """Kill the provider with its requests in progress; its completed work is on its disk."""
        self._provider.end()
        self._provider = self._lossy_provider()

    def kill_everything(self) -> None:
        """Kill all services and the provider, and start them again."""
        for service in self._services.values():
            service.end()
        self.kill_provider()
        for port in self._services:
            self._services[port] = self._installation.service(port, **SETTINGS)

    def _any(self) -> tuple[int, Process]:
        return random.choice([*self._services.items()])

    def _lossy_provider(self) -> Process:
        """Start a slow provider, so that calls are in progress at a kill; some of its answers have no outcome."""
        provider = self._installation.simulator()
        self._installation.inject_faults(latency_s=0.05, unknown=0.04, error=0.04, refuse=0.04)
        return provider


def _takeovers(services: list[Process]) -> int:
    return sum(service.said("took over work of dead processes") for service in services)


def assert_nothing_is_lost(installation: Installation, services: int) -> None:
    """Kill each kind of process under load, and judge the results of all deposits."""
    ports = [installation.port, *(free_port() for _ in range(services - 1))]
    victims, log, witness = Victims(installation, *ports), Log(), Witness(installation.database_url)
    kills = (
        victims.kill_worker,
        victims.kill_service,
        victims.kill_master,
        victims.kill_provider,
        victims.kill_everything,
        victims.kill_worker,
    )
    for kill in kills:
        with Load(log, *ports, deposits=100) as load:
            load.wait_for(random.randint(20, 70))
            witness.look()
            kill()
            witness.look()
    installation.verify()
    installation.inject_faults()
    witness.wait_for_rest()
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
    assert len(log.with_status(202)) > 500
    installation.verify()


@on(on_postgresql(workers=3))
def test_three_workers(installation: Installation) -> None:
    """With three workers of one service, every deposit that got a 202 is completed with exactly one effect."""
    assert_nothing_is_lost(installation, services=1)


@on(on_postgresql(workers=2))
def test_two_services(installation: Installation) -> None:
    """With two services of two workers, and clients that switch to the other after a refusal, the same holds."""
    assert_nothing_is_lost(installation, services=2)
