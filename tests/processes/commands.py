"""Helpers that send commands with given headers, from one client or many, and callbacks as bytes."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final, TypeVar

from domain.events import Kind
from domain.money import parse_amount
from gateways.development import CALLBACK_SECRET
from gateways.simulator import gateway_a, gateway_b
from gateways.simulator.records import PaymentRequest, Record
from gateways.simulator.rows import TrueStatus
from tests.processes.installation import HOST, Answer, Installation
from tests.processes.process import PATIENCE_S, wait_until

GATEWAYS: Final = ("gatewayA", "gatewayB")
ROUTES: Final = ("deposit", "withdrawal")
SECRETS: Final = {name: f'callback_secrets_env = "PAYMENTS_{name.upper()}_SECRETS"\n' for name in GATEWAYS}
"""A line for each gateway's table: the gateway accepts callbacks signed with the development secret."""
QUICK: Final = f"timeout_s = 0.5\nsettle_s = 0.5\nlookup_after_s = {[2, *[1] * 40]}\nbreaker = {{ sleep_s = 0.3 }}\n"
"""Lines for both tables: a dead process's work is settled very soon, and callbacks come before lookups."""

_DIALECTS: Final = {"gatewayA": gateway_a.DIALECT, "gatewayB": gateway_b.DIALECT}
_AFTER_REFUSAL_S: Final = 0.05
T = TypeVar("T")


def send(
    where: int | http.client.HTTPConnection,
    path: str,
    body: object,
    headers: Mapping[str, str] | None = None,
) -> Answer | None:
    """POST ``body`` unchanged to a port or on an open connection; None without an answer.

    A refused connection is tried again, since nothing was sent.
    """
    if isinstance(where, int):
        with closing(_connected(where)) as connection:
            return send(connection, path, body, headers)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with suppress(OSError, http.client.HTTPException):
        where.request("POST", path, data, {"Content-Type": "application/json", **(headers or {})})
        response = where.getresponse()
        return Answer(response.status, json.loads(response.read() or b"null"), response.headers)
    where.close()
    return None


def _connected(port: int) -> http.client.HTTPConnection:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        try:
            connection.connect()
        except (
            ConnectionRefusedError,
            ConnectionResetError,
        ):  # a reset means that the port was closed during the handshake
            assert time.monotonic() < deadline, "no process listens"
            time.sleep(_AFTER_REFUSAL_S)
        else:
            return connection


def order(installation: Installation, route: str, port: int | None = None, /, **members: object) -> Answer | None:
    """Order a deposit or withdrawal of 10.00 at gatewayA for customer c1, changed by ``members``."""
    body = {"amount": "10.00", "gateway": "gatewayA", "customer_id": "c1", **members}
    return send(installation.port if port is None else port, f"/v1/{route}", body)


def fund(installation: Installation, customer: str, amount: str) -> None:
    """Give a customer a balance by a deposit, and return when it is completed."""
    accepted = order(installation, "deposit", amount=amount, customer_id=customer)
    assert accepted is not None
    path = f"/v1/transactions/{accepted.body['transaction_id']}"
    wait_until(lambda: installation.get(path).body["status"] == "completed", "the customer has money")


def all_at_once(calls: Iterable[Callable[[], T]], threads: int) -> list[T]:
    """Make all calls from this number of threads, and return the results."""
    left, results, lock = iter(calls), list[T](), threading.Lock()

    def run() -> None:
        while True:
            with lock:
                call = next(left, None)
            if call is None:
                return
            result = call()
            with lock:
                results.append(result)

    clients = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(2 * PATIENCE_S)
    assert not any(client.is_alive() for client in clients), "a client hangs"
    return results


def callback(transaction: Mapping[str, Any], reference: str, *, completed: bool = True) -> tuple[dict[str, str], bytes]:
    """Headers and body of a callback about ``transaction``, signed now by its provider; the event id is constant."""
    dialect = _DIALECTS[transaction["gateway"]]
    money = parse_amount(transaction["amount"], transaction["currency"])
    asked = PaymentRequest(Kind(transaction["type"]), transaction["transaction_id"], money, None)
    record = Record(asked, reference, TrueStatus.SUCCESS if completed else TrueStatus.DECLINED)
    headers, body = dialect.callback(record, dialect.key(CALLBACK_SECRET))
    return dict(headers), body


def transactions(installation: Installation, customers: Sequence[str], port: int | None = None) -> list[dict[str, Any]]:
    """All transactions of these customers."""
    found: list[dict[str, Any]] = []
    for customer in customers:
        cursor = ""
        while True:
            answer = installation.get(f"/v1/transactions?limit=200&customer_id={customer}{cursor}", port)
            found += answer.body["items"]
            if answer.body["next_cursor"] is None:
                break
            cursor = f"&cursor={answer.body['next_cursor']}"
    return found


def events(installation: Installation, customer: str, port: int | None = None) -> list[dict[str, Any]]:
    """All events of a customer."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = installation.get(f"/v1/customers/{customer}/events?limit=200{cursor}", port)
        found += answer.body["items"]
        if answer.body["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.body['next_cursor']}"


def wait_for_ends(installation: Installation, customers: Sequence[str], port: int | None = None) -> None:
    """Wait until all transactions of these customers have a final status."""

    def ended() -> bool:
        found = transactions(installation, customers, port)
        return all(transaction["status"] in {"completed", "failed"} for transaction in found)

    wait_until(ended, "every transaction has a final status")
