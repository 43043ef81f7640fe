"""The database server is killed under load and returns: no answer is wrong, and nothing is lost."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from store.backends import backend_of
from tests.postgresql.embedded import EmbeddedServer, embedded_server
from tests.postgresql.servers import new_database
from tests.processes.client import Load, Log
from tests.processes.installation import CHECKOUT, Installation, installed
from tests.processes.judgement import Witness, judge
from tests.processes.process import wait_until

WORKERS: Final = 2
BACK_WITHIN_S: Final = 5.0
"""The promised time from the server's first answer to the first accepted deposit."""
AWAY_S: Final = 3.0
DEPOSITS: Final = 300
SETTINGS: Final = {
    "PAYMENTS_LEASE_S": "2",
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.5",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1000",
}
GATEWAY: Final = f"timeout_s = 1\nsettle_s = 0.5\nlookup_after_s = {[0.3, 0.5, *[1] * 30]}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server only for these tests."""
    with embedded_server(durable=True) as server:
        yield server


@pytest.fixture
def installation(server: EmbeddedServer, tmp_path: Path) -> Iterator[Installation]:
    """An installation with a database on that server."""
    with new_database(server.url()) as url:
        backend_of(url, root=CHECKOUT).migrate()
        with installed(tmp_path, postgresql=url, workers=WORKERS) as installation:
            installation.configure_gateways(a=GATEWAY, b=GATEWAY)
            yield installation
        if not server.runs:  # the test failed while the server was down; its database is dropped nevertheless
            server.start()


@pytest.mark.slow
def test_the_server_is_killed(installation: Installation, server: EmbeddedServer) -> None:
    """Without its server the service answers 503 or 504; it is ready 5 s after the server, and no promise breaks."""
    installation.simulator()
    service = installation.service(**SETTINGS)
    log, witness = Log(), Witness(installation.database_url)
    with Load(log, installation.port, deposits=DEPOSITS) as load:
        load.wait_for(random.randint(DEPOSITS // 5, DEPOSITS // 2))
        server.kill()
        away = time.monotonic()
        wait_until(lambda: installation.get("/readyz").status == 503, "the service is not ready")
        assert installation.get("/healthz").status == 200, "a restart would not help"
        assert installation.get("/v1/customers/c1").status == 503
        time.sleep(max(0.0, away + AWAY_S - time.monotonic()))
        server.start()
        back = time.monotonic()
        with Load(log, installation.port, deposits=1, threads=1):  # continues until one of its deposits is accepted
            pass
        assert time.monotonic() - back < BACK_WITHIN_S
    installation.wait_for_answer(service, installation.port, "/readyz")
    witness.wait_for_rest()
    installation.verify()
    assert {sent.status for sent in log.sent} <= {202, 503, 504}
    assert all(sent.transaction_id for sent in log.with_status(504))
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    assert service.said("stopped") == WORKERS, (
        "all processes ended by themselves; no thread blocked the end until a kill"
    )
