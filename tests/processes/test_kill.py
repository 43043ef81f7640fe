"""kill -9 of any process at any moment under load: no acknowledged deposit is lost, and none happens twice."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.processes.client import Load, Log, plain_amount
from tests.processes.installation import Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import Process, wait_until

pytestmark = pytest.mark.slow

SETTINGS = {
    # Leases are longer than the test: the next service must take over a dead service's work at its start.
    "PAYMENTS_LEASE_S": "3600",
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.5",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1000",
}


class Victim:
    """A service and its lossy provider, which are killed and restarted in each round."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._provider = self._lossy_provider()
        self._service = installation.service(**SETTINGS)

    def _lossy_provider(self) -> Process:
        """Start a slow provider, so that calls are in progress at a kill; some of its answers have no outcome."""
        provider = self._installation.simulator()
        self._installation.inject_faults(latency_s=0.05, unknown=0.04, error=0.04, refuse=0.04)
        return provider

    def kill_everything(self) -> None:
        """Kill master, worker and provider at once."""
        self._service.end()
        self.kill_provider()
        self._service = self._installation.service(**SETTINGS)

    def kill_provider(self) -> None:
        """Kill the provider with its requests in progress; its completed work is on its disk."""
        self._provider.end()
        self._provider = self._lossy_provider()

    def kill_service(self) -> None:
        """Kill master and worker at once."""
        self._service.end()
        self._service = self._installation.service(**SETTINGS)

    def kill_while_it_starts(self) -> None:
        """Kill the service, and its successor at a random moment of its start."""
        self._service.end()
        unlucky = self._installation.gunicorn(**SETTINGS)
        time.sleep(random.uniform(0.1, 1.5))
        unlucky.end()
        self._service = self._installation.service(**SETTINGS)

    def kill_worker(self) -> None:
        """Kill the worker; gunicorn starts another one."""
        (worker,) = self._service.children()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: self._service.children() not in ([], [worker]), "there is another worker")
        self._installation.wait_for_answer(self._service, self._installation.port, "/readyz")

    def kill_master(self) -> None:
        """Kill the master. Its worker continues while a new service starts, which waits for port and database."""
        (orphan,) = self._service.children()
        self._service.send(signal.SIGKILL)
        self._service.wait()
        self._service = self._installation.gunicorn(**SETTINGS)

        def taken_over() -> bool:
            assert not self._service.ended, "the new service did not wait for the end of the old one"
            return orphan not in self._installation.living()

        wait_until(taken_over, "the orphaned worker has ended")
        self._installation.wait_for_answer(self._service, self._installation.port, "/readyz")


def test_no_acknowledged_deposit_is_lost(installation: Installation) -> None:
    """After kills of all kinds under load, every deposit that got a 202 is completed with exactly one effect."""
    victim, log, witness = Victim(installation), Log(), Witness(installation.database_url)
    kills = (
        victim.kill_service,
        victim.kill_worker,
        victim.kill_master,
        victim.kill_provider,
        victim.kill_everything,
        victim.kill_while_it_starts,
    )
    for kill in kills:
        with Load(log, installation.port, deposits=200) as load:
            load.wait_for(random.randint(20, 150))
            witness.look()
            kill()
            witness.look()
    installation.verify()
    witness.wait_for_rest()
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
    assert len(log.with_status(202)) > 500
    installation.verify()


TRICKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
"""The minor units for which the simulator injects faults."""


def tricky_amount() -> str:
    """A random amount; for half of them the provider declines, answers late or wrongly, or does not answer."""
    return f"{random.randint(1, 999)}.{random.choice(TRICKS):02}" if random.random() < 0.5 else plain_amount()


def test_no_status_is_a_guess(installation: Installation) -> None:
    """With a faulty provider and kills, a deposit is completed if it had its effect, and failed if it had none."""
    soon = f"lookup_after_s = {[0.3, 0.5, *[1] * 30]}"  # on a busy machine many answers may be late
    breaker = "breaker = { sleep_s = 0.1, request_volume = 20 }"
    installation.configure_gateways(
        a=f"timeout_s = 0.5\n{soon}\n{breaker}\n", b=f"timeout_s = 0.5\nsettle_s = 2\n{soon}\n{breaker}\n"
    )
    installation.simulator()
    service, log, witness = installation.service(**SETTINGS), Log(), Witness(installation.database_url)
    for _ in range(2):
        with Load(log, installation.port, deposits=160, amount=tricky_amount) as load:
            load.wait_for(random.randint(40, 130))
            witness.look()
            service.end()
            service = installation.service(**SETTINGS)
            witness.look()
    witness.wait_for_rest()
    history = witness.history_at_rest()
    assert judge(log, installation.books(), history, plain=False) == []
    statuses = [status for table in history.of("tables") for status, _ in table["transactions"].values()]
    assert {"completed", "failed"} == set(statuses), "the faults occurred"
    installation.verify()
