"""kill -9 of service and provider while deposits are refunded, captured and voided at a lossy provider."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import pytest

from tests.processes.client import Log, Sent
from tests.processes.installation import HOST, Installation, exchange
from tests.processes.judgement import Witness, judge
from tests.processes.process import PATIENCE_S, wait_until
from tests.processes.targets import SQLITE, on, on_postgresql

pytestmark = pytest.mark.slow

SETTINGS: Final = {
    "PAYMENTS_LEASE_S": "2",
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.5",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1000",
}
FAULTS: Final = {"latency_s": 0.03, "unknown": 0.05, "error": 0.05, "refuse": 0.05}
SOON: Final = f"timeout_s = 1.0\nsettle_s = 2\nlookup_after_s = {[0.3, 0.5, *[1] * 30]}\n"
DEPOSITS: Final = 60
CLIENTS: Final = 4


class Shop:
    """Clients that send commands from several threads, also while the service is away, and log the answers."""

    def __init__(self, installation: Installation, log: Log) -> None:
        self._installation, self._log = installation, log
        self._lock, self._wanted = threading.Lock(), list[tuple[Sent, str, dict[str, Any]]]()
        self.settled = 0

    def order(self, sent: Sent, path: str, body: dict[str, Any]) -> None:
        """Plan a command."""
        self._wanted.append((sent, path, body))

    def deposit(self, *, manual: bool) -> None:
        """Plan a deposit of a plain amount."""
        amount, gateway = f"{random.randint(10, 999)}.{random.randint(60, 99)}", random.choice(["gatewayA", "gatewayB"])
        sent = Sent(self._log.new_number(), f"c{random.randrange(8)}", amount, gateway)
        body = {
            "amount": amount,
            "gateway": gateway,
            "customer_id": sent.customer,
            "details": {"request": str(sent.number)},
            **({"capture": "manual"} if manual else {}),
        }
        self.order(sent, "/v1/deposit", body)

    def child(self, kind: str, parent: Sent, amount: str | None) -> None:
        """Plan a refund, capture or void; without an amount it is all that is left."""
        sent = Sent(self._log.new_number(), parent.customer, amount, parent.gateway, kind, parent.transaction_id)
        body = {} if amount is None or kind == "void" else {"amount": amount}
        self.order(sent, f"/v1/transactions/{parent.transaction_id}/{kind}s", body)

    def open(self) -> list[threading.Thread]:
        """Begin to send what is planned."""
        random.shuffle(self._wanted)
        self.settled = 0
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def wait_for(self, settled: int) -> None:
        """Return when this many commands are answered or lost, or all of them."""
        wait_until(lambda: self.settled >= settled or not self._wanted, f"{settled} commands are answered")

    def _run(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with self._lock:
                if not self._wanted:
                    return
                sent, path, body = self._wanted.pop()
            while time.monotonic() < deadline and not self._send(sent, path, body):
                time.sleep(0.1)
                # It surely was not stored: the next attempt is a command of its own.
                sent = Sent(self._log.new_number(), sent.customer, sent.amount, sent.gateway, sent.kind, sent.parent_id)
                body = {**body, "details": {"request": str(sent.number)}} if sent.parent_id is None else body
            with self._lock:
                self.settled += 1

    def _send(self, sent: Sent, path: str, body: dict[str, Any]) -> bool:
        """Send it once. False: it surely was not stored."""
        with closing(http.client.HTTPConnection(HOST, self._installation.port, timeout=30)) as connection:
            try:
                connection.connect()
            except OSError:
                return False
            self._log.sent.append(sent)
            try:
                answer = exchange(connection, "POST", path, body, request_id=str(sent.number))
            except (OSError, http.client.HTTPException):
                return True
        if isinstance(answer.body, dict):
            sent.transaction_id, said = answer.body.get("transaction_id"), answer.body.get("status")
            sent.said = said if isinstance(said, str) else None
            sent.code = str(answer.body.get("type", "")).rpartition("/")[-1] or None
        sent.status = answer.status
        return answer.status != 503


def _statuses(installation: Installation, log: Log) -> Iterator[tuple[Sent, str]]:
    for sent in log.with_status(202):
        if sent.kind == "deposit":
            yield sent, installation.get(f"/v1/transactions/{sent.transaction_id}").body["status"]


def _plan_children(shop: Shop, installation: Installation, log: Log) -> None:
    """Refund what is completed in parts, more than there is, and capture or void what is authorized, both at once."""
    for parent, status in [*_statuses(installation, log)]:
        assert parent.amount is not None
        if status == "completed":
            units = int(parent.amount.partition(".")[0])
            for _ in range(3):
                shop.child("refund", parent, f"{max(1, units // 2)}.{random.randint(20, 59)}")
        elif status == "authorized":
            shop.child(random.choice(["capture", "void"]), parent, None)
            shop.child("capture", parent, f"{max(1, int(parent.amount.partition('.')[0]) // 2)}.25")


@on(SQLITE, on_postgresql(2))
def test_no_refund_capture_or_void_is_lost_or_doubled(installation: Installation) -> None:
    """After kills during all of these, parents and children agree with each other and with the provider's ledger."""
    installation.configure_gateways(a=SOON, b=SOON)
    provider = installation.simulator()
    installation.inject_faults(**FAULTS)
    service, log, witness = installation.service(**SETTINGS), Log(), Witness(installation.database_url)
    shop = Shop(installation, log)
    for number in range(DEPOSITS):
        shop.deposit(manual=number % 2 == 0)
    for thread in shop.open():
        thread.join()
    assert len(log.with_status(202)) > DEPOSITS / 2, {(sent.status, sent.code) for sent in log.sent}
    wait_until(
        lambda: all(status in {"completed", "authorized"} for _, status in _statuses(installation, log)),
        "the deposits are completed or authorized",
    )
    for round_number in range(4):
        _plan_children(shop, installation, log)
        threads = shop.open()
        shop.wait_for(random.randint(5, 20))
        witness.look()
        service.end()
        if round_number % 2:
            provider.end()
            provider = installation.simulator()
            installation.inject_faults(**FAULTS)
        service = installation.service(**SETTINGS)
        for thread in threads:
            thread.join()
        witness.look()
        wait_until(lambda: not _under_way(witness), "everything has ended, or is authorized")
    history = witness.history_at_rest()
    assert judge(log, installation.books(), history, plain=False) == []
    statuses = [status for table in history.of("tables") for status, _ in table["transactions"].values()]
    assert {"completed", "voided"} <= set(statuses)
    accepted = {sent.kind for sent in log.with_status(202)}
    assert accepted == {"deposit", "refund", "capture", "void"}
    assert log.with_status(409), "a second capture or void was tried"
    assert log.with_status(422), "a refund of more than is left was tried"
    installation.verify()


def _under_way(witness: Witness) -> list[str]:
    return [status for status in witness.statuses() if status in {"pending", "unknown", "processed"}]
