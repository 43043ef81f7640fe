"""With more commands than the service can process, other requests get answers, and refused ones are not stored."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from itertools import repeat
from pathlib import Path
from typing import Final

import pytest

from bench import wire
from bench.load import Load
from tests.processes.client import Log, Sent
from tests.processes.commands import SECRETS, callback, send
from tests.processes.installation import GATEWAY_A, HOST, Answer, Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import PATIENCE_S, wait_until
from tests.processes.slow_clients import descriptors, permit_many_descriptors

INSIDE: Final = 8
COMMANDS: Final = 60
CONNECTIONS: Final = 500
ROUND_S: Final = 2.5
GROWTH_KIB_MAX: Final = 8 * 1024
"""Permitted growth from one round of a thousand refusals to the next."""


@contextmanager
def blocked_writes(installation: Installation) -> Iterator[None]:
    """Within the block another connection holds the write lock, so that no commit succeeds."""
    with closing(sqlite3.connect(installation.folder / "payments.db", isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        yield
        shell.execute("ROLLBACK")


def deposit(installation: Installation, log: Log) -> Answer:
    """Send a deposit and log it."""
    sent = Sent(log.new_number(), f"c{log.new_number() % 20}", "10.00")
    log.sent.append(sent)
    details = {"request": str(sent.number)}
    answer = installation.deposit(amount="10.00", customer_id=sent.customer, details=details)
    sent.status = answer.status
    sent.transaction_id, sent.said = answer.body.get("transaction_id"), answer.body.get("status")
    return answer


def test_excess_commands_are_refused_and_not_stored(installation: Installation) -> None:
    """While commits are blocked, excess commands get 503 with Retry-After; other requests work; then all continues."""
    installation.configure_gateways(a=SECRETS["gatewayA"] + GATEWAY_A)
    installation.simulator()
    installation.service(PAYMENTS_COMMANDS_MAX=str(INSIDE))
    log, witness = Log(), Witness(installation.database_url)
    path = deposit(installation, log).headers["Location"]
    wait_until(lambda: installation.get(path).body["status"] == "completed", "a transaction can be read")
    read = installation.get(path).body
    headers, body = callback(read, read["gateway_reference"])
    with ThreadPoolExecutor(COMMANDS + 1) as clients, blocked_writes(installation):
        commands = [clients.submit(deposit, installation, log) for _ in range(COMMANDS)]
        wait_until(lambda: len(log.with_status(503)) >= COMMANDS - INSIDE, "excess commands are refused")
        called_back = clients.submit(send, installation.port, "/v1/callbacks/gatewayA", body, headers)
        assert installation.get(path).status == 200
        assert installation.get("/healthz").status == 200
        assert deposit(installation, log).status == 503
    answers = [command.result(PATIENCE_S) for command in commands]
    assert Counter(answer.status for answer in answers) == {202: INSIDE, 503: COMMANDS - INSIDE}
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.headers["Retry-After"] for answer in refused} == {"1", "2", "3"}
    assert {answer.body["type"] for answer in refused} == {"/problems/unavailable"}
    taken = called_back.result(PATIENCE_S)
    assert taken is not None
    assert taken.status == 200
    assert deposit(installation, log).status == 202
    witness.wait_for_rest()
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's descriptors")
def test_refused_requests_leave_no_memory_or_descriptors(installation: Installation) -> None:
    """With 500 clients that repeat their requests, memory and descriptors do not grow after 1,000 refusals."""
    permit_many_descriptors()
    service = installation.service(PAYMENTS_COMMANDS_MAX=str(INSIDE))
    (worker,) = service.children()
    before = descriptors(worker)
    rounds = []
    for _ in range(2):
        load = Load((HOST, installation.port), CONNECTIONS, [repeat(wire.deposit("test", "many"))])
        with ThreadPoolExecutor(1) as clients:
            with blocked_writes(installation):
                running = clients.submit(load.run, ROUND_S)
                wait([running], ROUND_S + 1)
            sample = running.result(PATIENCE_S)
        assert set(sample.failed) == {"503"}
        assert sample.failed["503"] > CONNECTIONS
        wait_until(lambda: descriptors(worker) <= before, "the worker has closed its extra descriptors")
        rounds.append(memory_kib(worker))
    assert rounds[1] - rounds[0] < GROWTH_KIB_MAX


def memory_kib(pid: int) -> int:
    """The resident memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])
