"""A service that is cut off from the database, beside one that is not, accepts nothing and loses its work."""

from __future__ import annotations

import random
import time
from typing import Final

import pytest

from tests.processes.client import Load, Log
from tests.processes.installation import Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import free_port, wait_until
from tests.processes.targets import on, on_postgresql
from tests.processes.tcp_proxy import line_to

SETTINGS: Final = {
    "PAYMENTS_LEASE_S": "1",
    "PAYMENTS_REQUEST_DEADLINE_S": "3",
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.5",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1000",
}
DEPOSITS: Final = 200
GATEWAY: Final = f"timeout_s = 1\nsettle_s = 0.5\nlookup_after_s = {[0.3, 0.5, *[1] * 30]}\n"


@pytest.mark.slow
@on(on_postgresql(workers=2))
def test_one_service_is_cut_off(installation: Installation) -> None:
    """A service cut off for longer than its lease answers 503 or 504, others do its work, and it returns by itself."""
    installation.configure_gateways(a=GATEWAY, b=GATEWAY)
    installation.simulator()
    installation.inject_faults(latency_s=0.1)
    port, log = free_port(), Log()
    alone = Log(new_number=log.new_number, new_reader=log.new_reader)
    with line_to(installation.database_url) as line:
        cut_off = installation.service(PAYMENTS_DATABASE_URL=line.url, **SETTINGS)
        other = installation.service(port, **SETTINGS)
        witness = Witness(installation.database_url)
        with Load(log, installation.port, port, deposits=DEPOSITS) as load:
            load.wait_for(DEPOSITS // 4)
            line.cut()
            wait_until(lambda: bool(other.said("took over work of dead processes")), "the other service has taken over")
            wait_until(lambda: installation.get("/readyz").status == 503, "the service that is cut off is not ready")
            assert installation.get("/readyz", port).status == 200
            with Load(alone, installation.port, deposits=4, threads=4) as stubborn:
                wait_until(
                    lambda: len(alone.with_status(503)) >= 4, "its clients get the answer that nothing was stored"
                )
                line.restore()
                stubborn.wait_for(4)
        installation.wait_for_answer(cut_off, installation.port, "/readyz")
        witness.wait_for_rest()
        log.sent += alone.sent
        log.reads += alone.reads
        log.seen += alone.seen
        assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
        assert {sent.status for sent in log.sent} <= {202, 503, 504}
        assert all(sent.transaction_id for sent in log.with_status(504))
        assert len(log.with_status(202)) > DEPOSITS / 2
    installation.verify()


@pytest.mark.slow
@on(on_postgresql(workers=2))
def test_connections_break_off_again_and_again(installation: Installation) -> None:
    """When connections break at random moments under load, every deposit gets an answer, and all are correct."""
    installation.configure_gateways(a=GATEWAY, b=GATEWAY)
    installation.simulator()
    log = Log()
    with line_to(installation.database_url) as line:
        service = installation.service(PAYMENTS_DATABASE_URL=line.url, **SETTINGS)
        witness = Witness(installation.database_url)
        with Load(log, installation.port, deposits=3 * DEPOSITS) as load:
            for number in range(30):
                load.wait_for(10 * number)
                time.sleep(random.uniform(0, 0.1))
                line.break_off()
        installation.wait_for_answer(service, installation.port, "/readyz")
        witness.wait_for_rest()
        assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []
        assert {sent.status for sent in log.sent} <= {202, 503, 504}
        assert all(sent.transaction_id for sent in log.with_status(504))
        assert len(log.with_status(202)) > DEPOSITS
    installation.verify()
