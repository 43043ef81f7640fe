"""A rolling restart under load: two services on two ports are replaced one after the other without an error."""

from __future__ import annotations

import http.client
import random
import select
import signal
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import pytest

from tests.processes.client import Log, Sent
from tests.processes.installation import HOST, Installation, exchange
from tests.processes.judgement import Witness, judge
from tests.processes.process import free_port, wait_until
from tests.processes.targets import on, on_postgresql

CLIENTS: Final = 4
"""The number of clients of each kind."""
_PAUSE_S: Final = 0.03


class Callers:
    """Clients that post deposits within the block, and try again only after a refused connection.

    Half of them keep a connection until the service closes it; half open a new one for each request.
    """

    def __init__(self, log: Log, *ports: int) -> None:
        self._log, self._ports = log, ports
        self._over = threading.Event()
        self.failures: list[str] = []
        """Failures of requests, except refused connections."""
        self._threads = [
            threading.Thread(target=self._run, args=(kept,), daemon=True) for kept in (True, False) * CLIENTS
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kept: bool) -> None:  # noqa: FBT001 - a thread's target
        connection: http.client.HTTPConnection | None = None
        while not self._over.is_set():
            if connection is not None and _was_closed(connection):
                connection.close()
                connection = None
            connection = connection or self._connected()
            closing = self._deposit(connection)
            if closing or not kept:
                connection.close()
                connection = None
            time.sleep(_PAUSE_S)
        if connection is not None:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        """A connection to any service that accepts one."""
        ports = random.sample(self._ports, len(self._ports))
        while True:
            for port in ports:
                connection = http.client.HTTPConnection(HOST, port, timeout=30)
                with suppress(ConnectionRefusedError):
                    connection.connect()
                    return connection

    def _deposit(self, connection: http.client.HTTPConnection) -> bool:
        """Post a deposit, and return whether the connection is to be closed now."""
        number = self._log.new_number()
        sent = Sent(number, f"c{number % 10}", "10.00", random.choice(("gatewayA", "gatewayB")))
        self._log.sent.append(sent)
        details = {"request": str(number)}
        body = {"amount": "10.00", "gateway": sent.gateway, "customer_id": sent.customer, "details": details}
        try:
            answer = exchange(connection, "POST", "/v1/deposit", body)
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"request {number}: {error!r}")
            return True
        sent.status = answer.status
        if answer.status != 202:
            self.failures.append(f"request {number}: {answer.status} {answer.body}")
        else:
            sent.transaction_id, sent.said = answer.body["transaction_id"], answer.body["status"]
        return (answer.headers.get("Connection") or "").lower() == "close"


def _was_closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the service has closed the connection, checked as in a client's connection pool before each use."""
    assert connection.sock is not None
    readable, _, _ = select.select([connection.sock], [], [], 0)
    return bool(readable)


@pytest.mark.slow
@on(on_postgresql(workers=2))
def test_no_request_fails(installation: Installation) -> None:
    """While each service is replaced twice under load, every request on an accepted connection gets 202."""
    installation.simulator()
    ports, log = (installation.port, free_port()), Log()
    services = {port: installation.service(port) for port in ports}
    witness = Witness(installation.database_url)
    with Callers(log, *ports) as callers:
        for port in (*ports, *ports):
            before = len(log.sent)
            wait_until(lambda before=before: len(log.sent) > before + 100, "there is load")  # type: ignore[misc]
            services[port].send(signal.SIGTERM)
            assert services[port].wait() == 0
            services[port] = installation.service(port)
    assert callers.failures == [], "\n".join(callers.failures)
    assert len(log.sent) > 500
    witness.wait_for_rest()
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
    installation.verify()
