"""Several services on one database: the second waits for the first, and takes over its unfinished work."""

from __future__ import annotations

import http.client
import signal
import sys
import time
from contextlib import suppress

import pytest

from tests.processes.client import Load, Log
from tests.processes.installation import Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import free_port, wait_until
from tests.processes.targets import on, on_postgresql

UNFINISHED = 300


def test_a_second_service_waits(installation: Installation) -> None:
    """Beside another service, the second is alive but not ready, with the reason; it starts when the first ends."""
    installation.simulator()
    first = installation.service()
    assert installation.deposit(customer_id="first").status == 202
    port = free_port()
    second = installation.gunicorn(PAYMENTS_BIND=f"127.0.0.1:{port}")
    installation.wait_for_answer(second, port, "/healthz")
    wait_until(
        lambda: installation.get("/readyz", port).body["detail"] == "Another process still uses the database.",
        "the second service reports why it waits",
    )
    assert installation.get("/readyz", port).status == 503
    refused = installation.deposit(port=port, customer_id="second")
    assert (refused.status, refused.body["type"]) == (503, "/problems/unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert installation.get("/readyz").status == 200, "the first service is not affected"
    assert installation.get("/v1/customers/second").status == 404

    first.send(signal.SIGTERM)
    assert first.wait() == 0
    installation.wait_for_answer(second, port, "/readyz")
    assert installation.get("/v1/customers/first", port).status == 200
    accepted = installation.deposit(port=port, customer_id="second")
    path = f"/v1/transactions/{accepted.body['transaction_id']}"
    wait_until(lambda: installation.get(path, port).body["status"] == "completed", "its deposit is completed")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals children when their parent dies")
def test_an_orphan_releases_the_port(installation: Installation) -> None:
    """While a worker without its master waits for its calls, the next service gets the port."""
    installation.simulator()
    installation.configure_gateways(a="timeout_s = 60\n")
    first = installation.service()
    installation.inject_faults(latency_s=60)
    assert installation.deposit().status == 202
    wait_until(lambda: installation.calls("gatewayA") == 1, "the call is in progress")
    (orphan,) = first.children()
    first.send(signal.SIGKILL)
    first.wait()
    second = installation.gunicorn()

    def waits_for_the_database() -> bool:
        with suppress(OSError, http.client.HTTPException):  # the previous process is releasing the port
            return "Another process" in str(installation.get("/readyz").body)
        return False

    wait_until(waits_for_the_database, "the new service has the port")
    assert orphan in installation.living()
    assert not second.ended


def test_unfinished_work_of_a_killed_service(installation: Installation) -> None:
    """The next service sends the work that a killed service had accepted but not sent, and is ready at once."""
    installation.simulator()
    accepting, log, witness = installation.service(PAYMENTS_ROLE="api"), Log(), Witness(installation.database_url)
    with Load(log, installation.port, deposits=UNFINISHED):
        pass
    witness.look()
    assert witness.unfinished() == UNFINISHED
    accepting.end()
    assert installation.books().effects == []

    started = time.monotonic()
    installation.service()
    ready = time.monotonic()
    witness.wait_for_rest()
    print(f"ready after {ready - started:.2f} s, {UNFINISHED} finished after {time.monotonic() - started:.2f} s")  # noqa: T201 - with -s
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
    assert len(installation.books().effects) == UNFINISHED
    installation.verify()


@on(on_postgresql(workers=1))
def test_a_second_service_works_beside_the_first(installation: Installation) -> None:
    """Two services are ready, both accept and send for one customer, and each shows the other's transactions."""
    installation.simulator()
    port = free_port()
    services = {installation.port: installation.service(), port: installation.service(port)}
    accepted = [installation.deposit(port=at) for _ in range(5) for at in services]
    assert {answer.status for answer in accepted} == {202}
    for at in services:
        for answer in accepted:
            path = answer.headers["Location"]
            wait_until(lambda at=at, path=path: installation.get(path, at).body["status"] == "completed", "completed")  # type: ignore[misc]
    for service in services.values():
        assert service.said("DepositReceived") == 5
        assert service.said("DepositCompleted") == 5, "it has sent its own deposits"
    events = installation.get("/v1/customers/12345/events", port).body["items"]
    assert [event["version"] for event in events] == list(range(1, 3 * len(accepted) + 1))


@on(on_postgresql(workers=1))
def test_work_in_hand_of_a_killed_service(installation: Installation) -> None:
    """After the lease, another service completes the work that a killed one had leased, sent or not, exactly once."""
    gateway = f"max_concurrent = 2\ntimeout_s = 0.5\nsettle_s = 0.5\nlookup_after_s = {[0.3, 0.5, *[1] * 30]}\n"
    installation.configure_gateways(a=gateway, b=gateway)
    installation.simulator()
    installation.inject_faults(latency_s=0.4)
    port = free_port()
    killed = installation.service(PAYMENTS_LEASE_S="1")
    other = installation.service(port, PAYMENTS_LEASE_S="1")
    log, witness = Log(), Witness(installation.database_url)
    with Load(log, installation.port, deposits=30):
        pass
    killed.end()
    assert witness.unfinished() > 0
    witness.wait_for_rest()
    assert other.said("took over work of dead processes")
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
