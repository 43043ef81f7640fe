"""SIGTERM under light load: accepted requests get answers, and unsent work waits for the next start."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.processes.client import Log, Sent
from tests.processes.installation import HOST, Installation, exchange
from tests.processes.judgement import Witness, judge
from tests.processes.process import PATIENCE_S, free_port, wait_until
from tests.processes.targets import SQLITE, on, on_postgresql

_CLIENTS = 6
_QUEUE = 100
_TICK_S = 1.1
"""Longer than the interval at which a gunicorn worker checks for a stop; after a wake-up it checks at once."""
_WAITING = 20


def _client(installation: Installation, log: Log, gateway: str, all_are_in: threading.Barrier) -> None:
    """Post deposits on one connection until the service closes it; a lost answer has no status."""
    with closing(http.client.HTTPConnection(HOST, installation.port, timeout=30)) as connection:
        assert exchange(connection, "GET", "/healthz").status == 200  # accepted by the service, not only by the kernel
        all_are_in.wait()
        closing_asked = False
        while not closing_asked:
            sent = Sent(log.new_number(), f"c{log.new_number() % 5}", "10.00", gateway)
            log.sent.append(sent)
            details = {"request": str(sent.number)}
            body = {"amount": 10, "gateway": gateway, "customer_id": sent.customer, "details": details}
            try:
                answer = exchange(connection, "POST", "/v1/deposit", body)
            except (OSError, http.client.HTTPException):
                return
            sent.status = answer.status
            sent.transaction_id, sent.said = answer.body.get("transaction_id"), answer.body.get("status")
            closing_asked = answer.headers.get("Connection", "").lower() == "close"


@pytest.mark.parametrize(
    ("installation", "gateway"),
    [(SQLITE, "gatewayA"), (SQLITE, "gatewayB"), (on_postgresql(workers=2), "gatewayB")],
    indirect=["installation"],
    ids=str,
)
def test_every_accepted_request_gets_an_answer(installation: Installation, gateway: str) -> None:
    """Every deposit before and during the stop gets 202; unsent deposits are sent after the next start."""
    two_at_once = "max_concurrent = 2\nlookup_after_s = [0.5, 1, 2]\n"
    installation.configure_gateways(a=two_at_once, b=two_at_once)
    installation.simulator()
    installation.inject_faults(latency_s=4)  # longer than gunicorn waits at a stop, so the service itself has to wait
    service, log, witness = installation.service(), Log(), Witness(installation.database_url)
    all_are_in = threading.Barrier(_CLIENTS, timeout=PATIENCE_S)
    clients = [
        threading.Thread(target=_client, args=(installation, log, gateway, all_are_in), daemon=True)
        for _ in range(_CLIENTS)
    ]
    for client in clients:
        client.start()
    wait_until(lambda: len(log.with_status(202)) > 100, "some deposits are accepted")
    service.send(signal.SIGTERM)
    for client in clients:
        client.join()
    assert service.wait() == 0
    assert len(log.with_status(202)) == len(log.sent)
    assert installation.living() != []  # the provider still runs
    told = installation.calls(gateway)
    assert told < len(log.sent), "there is work that was not sent"

    installation.inject_faults()
    installation.service()
    witness.wait_for_rest()
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
    calls = installation.calls(gateway)
    assert calls == len(log.sent), (
        "nothing was sent twice: calls in progress were awaited, and the rest was returned unsent"
    )


@pytest.mark.slow
def test_a_call_that_outlasts_the_stop_is_looked_up(installation: Installation) -> None:
    """Without keys, a call without an answer at the end of the service is looked up by the next one, not sent again."""
    installation.configure_gateways(b="timeout_s = 25\nlookup_after_s = [0.3, 0.5, 1, 1, 1, 1, 1, 1, 1]\n")
    installation.simulator()
    service, witness = installation.service(), Witness(installation.database_url)
    silent = installation.deposit(gateway="gatewayB", amount="10.06")  # the call has its effect, but no answer
    wait_until(lambda: installation.calls("gatewayB") == 1, "the call is in progress")
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    assert len(installation.books().effects) == 1

    installation.service()
    witness.wait_for_rest()
    path = f"/v1/transactions/{silent.body['transaction_id']}"
    assert installation.get(path).body["status"] == "completed"
    assert len(installation.books().effects) == 1
    events = installation.get("/v1/customers/12345/events").body["items"]
    assert [event["type"] for event in events] == [
        "DepositReceived",
        "DepositSubmitted",
        "DepositOutcomeUnknown",
        "DepositProcessed",
        "DepositCompleted",
    ]


def test_a_stopping_service_is_not_ready(installation: Installation) -> None:
    """A client that is connected at SIGTERM gets the answer "not ready" with the reason."""
    installation.simulator()
    service = installation.service()
    with closing(http.client.HTTPConnection(HOST, installation.port, timeout=30)) as connection:
        assert exchange(connection, "GET", "/readyz").status == 200
        service.send(signal.SIGTERM)
        statuses = []

        def told() -> bool:
            statuses.append(exchange(connection, "GET", "/readyz"))
            return statuses[-1].status == 503

        wait_until(told, "readiness shows the stop")
    assert "stopping" in statuses[-1].body["detail"]
    assert service.wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's children")
@on(SQLITE, on_postgresql(workers=2))
def test_connections_in_the_kernels_queue_are_answered(installation: Installation) -> None:
    """Connections that no worker has accepted yet at the stop are accepted before the port closes, and not reset."""
    service = installation.service()
    workers = service.children()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(closing(http.client.HTTPConnection(HOST, installation.port, timeout=30)))
            for _ in range(_QUEUE)
        ]
        for connection in waiting:
            connection.request("GET", "/healthz")
        time.sleep(_TICK_S)
        service.send(signal.SIGTERM)
        wait_until(lambda: all(map(_has_sigterm_pending, workers)), "the master has signalled its workers")
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        assert [connection.getresponse().status for connection in waiting] == [200] * _QUEUE
    assert service.wait() == 0


def _has_sigterm_pending(pid: int) -> bool:
    """Whether SIGTERM is pending for a process that is stopped (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = next(line for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
@on(on_postgresql(workers=2))
def test_unsent_work_is_returned_at_once(installation: Installation) -> None:
    """Another service completes a stopped service's unsent work within seconds, although leases last an hour."""
    two_at_once = f"max_concurrent = 2\nlookup_after_s = {[0.3, 0.5, *[1] * 30]}\n"
    installation.configure_gateways(a=two_at_once, b=two_at_once)
    installation.simulator()
    stopped = installation.service(PAYMENTS_LEASE_S="3600")
    port = free_port()
    installation.service(port, PAYMENTS_LEASE_S="3600")
    installation.inject_faults(latency_s=2)
    paths = []
    for gateway in ("gatewayA", "gatewayB"):
        for number in range(_WAITING):
            answer = installation.deposit(gateway=gateway, customer_id=f"c{number % 5}")
            assert answer.status == 202
            paths.append(answer.headers["Location"])
    assert sum(map(installation.calls, ("gatewayA", "gatewayB"))) < len(paths), "there is work that was not sent"
    installation.inject_faults()
    stopped.send(signal.SIGTERM)
    assert stopped.wait() == 0
    wait_until(
        lambda: {installation.get(path, port).body["status"] for path in paths} == {"completed"},
        "the other service has completed it",
        within_s=15,
    )
    assert len(installation.books().effects) == len(paths)
