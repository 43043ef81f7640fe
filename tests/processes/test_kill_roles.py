"""kill -9 of each role in turn under load, with a real RabbitMQ: nothing is lost or doubled, and all is published."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import pytest

from tests.processes.client import Load, Log
from tests.processes.installation import HOST, Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import Process, free_port
from tests.processes.published import EverythingPublished
from tests.processes.targets import on, on_postgresql
from tests.processes.test_kill_several import IMPATIENT, SETTINGS

pytestmark = pytest.mark.slow

DEPOSITS: Final = 80
"""Deposits during which one role is killed."""
ROLES: Final = ("processor", "relay", "api")


@pytest.fixture
def published() -> Iterator[EverythingPublished]:
    """A consumer; skips the test where no RabbitMQ answers."""
    consumer = EverythingPublished()
    yield consumer
    consumer.close()


class Roles:
    """One service that accepts, two that call providers, and two relays."""

    def __init__(self, installation: Installation, broker_url: str) -> None:
        self._installation, self._broker_url = installation, broker_url
        others = {free_port(): role for role in ("processor", "relay") for _ in range(2)}
        self._roles = {installation.port: "api", **others}
        self._services = {port: self._start(port) for port in self._roles}
        for port in self._roles:
            self._wait(port)

    def _start(self, port: int) -> Process:
        role = self._roles[port]
        broker = {} if role == "api" else {"PAYMENTS_BROKER_URL": self._broker_url}
        return self._installation.gunicorn(PAYMENTS_BIND=f"{HOST}:{port}", PAYMENTS_ROLE=role, **broker, **SETTINGS)

    def _wait(self, port: int) -> None:
        self._installation.wait_for_answer(self._services[port], port, "/readyz")

    def kill(self, role: str) -> None:
        """Kill master and workers of a service of this role at once, and begin to start it again."""
        port = random.choice([port for port, its in self._roles.items() if its == role])
        self._wait(port)
        self._services[port].end()
        self._services[port] = self._start(port)


@on(on_postgresql(workers=1))
def test_each_role_in_turn(installation: Installation, published: EverythingPublished) -> None:
    """Every deposit that got a 202 is completed with exactly one effect, and its events arrive in order."""
    installation.configure_gateways(b=IMPATIENT)
    installation.simulator()
    installation.inject_faults(latency_s=0.05, unknown=0.04, error=0.04, refuse=0.04)
    roles, log, witness = Roles(installation, published.url), Log(), Witness(installation.database_url)
    for role in ROLES:
        with Load(log, installation.port, deposits=DEPOSITS) as load:
            load.wait_for(random.randint(10, 40))
            witness.look()
            roles.kill(role)
    installation.inject_faults()
    witness.wait_for_rest()
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
    assert len(log.with_status(202)) > DEPOSITS * (len(ROLES) - 1)
    published.check(installation.database_url)
    installation.verify()
