"""Clients that post deposits from several threads and log the answers, also while the service fails.

They judge nothing: the judgement reads the log.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Final, NamedTuple, Self

from tests.processes.installation import HOST, Answer, exchange
from tests.processes.process import PATIENCE_S, wait_until

CUSTOMERS: Final = 20
_ANSWER_WITHIN_S: Final = 30.0
_AFTER_REFUSAL_S: Final = 0.05
_AFTER_503_S: Final = 0.2
_TURNS: Final = 0.3
"""The share of deposits before which a client may switch to another port."""

_NOT_STORED: Final = 503
_ACCEPTED: Final = 202


@dataclass(slots=True)
class Sent:
    """One command that was sent. Without a status, no answer arrived.

    ``number`` is in the details of a deposit, and in the request id of a refund, capture or void.
    """

    number: int
    customer: str
    amount: str | None
    gateway: str = "gatewayA"
    kind: str = "deposit"
    parent_id: str | None = None
    status: int | None = None
    transaction_id: str | None = None
    code: str | None = None
    """The problem in the answer."""
    said: str | None = None
    """The transaction's status in the answer."""


class Read(NamedTuple):
    """The answer that ``reader`` got about a transaction that was accepted before."""

    reader: int
    transaction_id: str
    answered: int
    status: str | None


class Seen(NamedTuple):
    """Versions and hashes of a customer's first events, and the customer's version, as ``reader`` received them."""

    reader: int
    customer: str
    events: tuple[tuple[int, str], ...]
    version: int


@dataclass
class Log:
    """Requests and answers of all clients, in the order of each client. Appending is safe from any thread."""

    sent: list[Sent] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    new_number: Callable[[], int] = field(default_factory=lambda: count(1).__next__)
    new_reader: Callable[[], int] = field(default_factory=lambda: count(1).__next__)

    def with_status(self, status: int | None) -> list[Sent]:
        """The deposits with this status."""
        return [sent for sent in self.sent if sent.status == status]


def plain_amount() -> str:
    """An amount for which the simulator injects no fault."""
    return f"{random.randint(1, 999)}.{random.randint(20, 99)}"


def any_gateway() -> str:
    """A random gateway, so that a customer has deposits at gateways with and without idempotency keys."""
    return random.choice(("gatewayA", "gatewayB"))


class Load:
    """A block with ``deposits`` deposits from ``threads`` clients; it ends when each has an answer or has lost it.

    A client that gets 503 sends another deposit. A client that cannot connect tries again, at another of the ``ports``
    if there are several. It distributes its deposits over these ports, most of them on a kept connection.
    """

    def __init__(
        self,
        log: Log,
        *ports: int,
        deposits: int,
        threads: int = 8,
        amount: Callable[[], str] = plain_amount,
        gateway: Callable[[], str] = any_gateway,
    ) -> None:
        self._log, self._ports, self._amount, self._gateway = log, ports, amount, gateway
        self._left = deposits
        self._settled = 0
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + 2 * PATIENCE_S
        self._threads = [threading.Thread(target=self._run, name=f"client-{n}", daemon=True) for n in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._deadline = 0.0
        for thread in self._threads:
            thread.join()
        assert error is not None or self._left == 0, "a client ended early"

    def wait_for(self, settled: int) -> None:
        """Return when this many deposits have an answer (other than 503), or have lost it."""
        wait_until(lambda: self._settled >= settled, f"{settled} deposits were answered")

    def _take(self) -> bool:
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            return True

    def _run(self) -> None:
        client = _Client(self._log, self._ports)
        while self._take():
            client.turn_to_another()
            while time.monotonic() < self._deadline:
                if client.deposit(self._amount(), self._gateway()) != _NOT_STORED:
                    break
                time.sleep(_AFTER_503_S)
                client.turn_to_another()
            else:
                with self._lock:
                    self._left += 1
                return
            with self._lock:
                self._settled += 1
            client.read_sometimes()
        client.close()


class _Client:
    """One connection to one of the ports; it is opened again after a failure."""

    def __init__(self, log: Log, ports: Sequence[int]) -> None:
        self._log, self._ports = log, ports
        self._reader = log.new_reader()
        self._connection = self._new_connection()
        self._accepted: list[Sent] = []

    def turn_to_another(self) -> None:
        """If there are several ports, sometimes switch to another one."""
        if len(self._ports) > 1 and random.random() < _TURNS:
            self._connection.close()
            self._connection = self._new_connection()

    def _new_connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, random.choice(self._ports), timeout=_ANSWER_WITHIN_S)

    def deposit(self, amount: str, gateway: str) -> int | None:
        """Send a new deposit, and return the status of its answer, or None without an answer."""
        self._connect()
        customer = f"c{random.randrange(CUSTOMERS)}"
        sent = Sent(self._log.new_number(), customer, amount, gateway)
        self._log.sent.append(sent)
        body = {
            "amount": amount,
            "gateway": gateway,
            "customer_id": customer,
            "details": {"request": str(sent.number)},
        }
        answer = self._exchange("POST", "/v1/deposit", body)
        if answer is not None:
            if isinstance(answer.body, dict):
                sent.transaction_id, said = answer.body.get("transaction_id"), answer.body.get("status")
                sent.said = said if isinstance(said, str) else None
            sent.status = answer.status
            if answer.status == _ACCEPTED:
                self._accepted.append(sent)
        return sent.status

    def read_sometimes(self) -> None:
        """Sometimes read a transaction that was accepted, or the events of its customer."""
        if not self._accepted or random.random() > 0.3:
            return
        sent = random.choice(self._accepted)
        if random.random() < 0.7:
            answer = self._exchange("GET", f"/v1/transactions/{sent.transaction_id}")
            if answer is not None:
                status = answer.body.get("status") if answer.status == 200 else None
                self._log.reads.append(Read(self._reader, str(sent.transaction_id), answer.status, status))
            return
        customer = self._exchange("GET", f"/v1/customers/{sent.customer}")
        events = self._exchange("GET", f"/v1/customers/{sent.customer}/events?limit=200")
        if customer is not None and customer.status == 200 and events is not None and events.status == 200:
            hashes = tuple((event["version"], event["hash"]) for event in events.body["items"])
            self._log.seen.append(Seen(self._reader, sent.customer, hashes, customer.body["version"]))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _connect(self) -> None:
        """Connect, and try again after a refusal, since nothing was sent."""
        deadline = time.monotonic() + PATIENCE_S
        while self._connection.sock is None and time.monotonic() < deadline:
            with suppress(OSError):
                self._connection.connect()
                return
            self._connection = self._new_connection()
            time.sleep(_AFTER_REFUSAL_S)

    def _exchange(self, method: str, path: str, body: object = None) -> Answer | None:
        try:
            return exchange(self._connection, method, path, body)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
