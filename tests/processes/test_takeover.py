"""One database, several services: the second waits for the first, and takes over all that it left unfinished."""

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

UNFINISHED = 300


def test_a_second_service_waits(installation: Installation) -> None:
    """Beside another service it is alive, not ready and says why, stores nothing, and begins when the other ends."""
    installation.simulator()
    first = installation.service()
    assert installation.deposit(customer_id="first").status == 202
    port = free_port()
    second = installation.gunicorn(PAYMENTS_BIND=f"127.0.0.1:{port}")
    installation.wait_for_answer(second, port, "/healthz")
    wait_until(
        lambda: installation.get("/readyz", port).body["detail"] == "Another process still uses the database.",
        "the second service says why it waits",
    )
    assert installation.get("/readyz", port).status == 503
    refused = installation.deposit(port=port, customer_id="second")
    assert (refused.status, refused.body["type"]) == (503, "/problems/unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert installation.get("/readyz").status == 200, "the first one does not mind"
    assert installation.get("/v1/customers/second").status == 404

    first.send(signal.SIGTERM)
    assert first.wait() == 0
    installation.wait_for_answer(second, port, "/readyz")
    assert installation.get("/v1/customers/first", port).status == 200
    accepted = installation.deposit(port=port, customer_id="second")
    path = f"/v1/transactions/{accepted.body['transaction_id']}"
    wait_until(lambda: installation.get(path, port).body["status"] == "completed", "its deposit is completed")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_an_orphan_lets_go_of_the_port(installation: Installation) -> None:
    """A worker whose master was killed waits for its calls, however long; the next service has the port meanwhile."""
    installation.simulator()
    installation.configure_gateways(a="timeout_s = 60\n")
    first = installation.service()
    installation.order_faults(latency_s=60)
    assert installation.deposit().status == 202
    wait_until(lambda: installation.calls("gatewayA") == 1, "the call is out")
    (orphan,) = first.children()
    first.send(signal.SIGKILL)
    first.wait()
    second = installation.gunicorn()

    def waits_for_the_database() -> bool:
        with suppress(OSError, http.client.HTTPException):  # whoever had the port is going
            return "Another process" in str(installation.get("/readyz").body)
        return False

    wait_until(waits_for_the_database, "the new service has the port")
    assert orphan in installation.living()
    assert not second.ended


def test_unfinished_work_of_a_killed_service(installation: Installation) -> None:
    """What a killed service had accepted and not sent is sent by the next one, which is ready meanwhile."""
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
