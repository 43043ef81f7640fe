"""Callbacks of a real provider to a real service are applied once despite kills, and forgeries store nothing."""

from __future__ import annotations

import http.client
import random
import string
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import product
from threading import Thread
from typing import Any, Final

import pytest

from tests.processes.commands import (
    GATEWAYS,
    QUICK,
    ROUTES,
    SECRETS,
    all_at_once,
    callback,
    events,
    fund,
    order,
    send,
    transactions,
    wait_for_ends,
)
from tests.processes.installation import HOST, Answer, Installation
from tests.processes.ledger_check import wrong_ends
from tests.processes.process import wait_until
from tests.processes.store_dump import everything
from tests.processes.targets import SQLITE, on, on_postgresql

pytestmark = pytest.mark.slow

CENTS: Final = ("03", "04", "11", "12", "13")
"""Cents for which the provider answers "pending"."""
CUSTOMERS: Final = ("c1", "c2", "c3")
FUNDS: Final = "1000.00"
SETTINGS: Final = {"PAYMENTS_LEASE_S": "1", "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1", "PAYMENTS_DEAD_LETTER_MAX_S": "0.5"}
_SELDOM: Final = "timeout_s = 5\nlookup_after_s = [600]\n"
_NOT_SIGNED: Final = frozenset({"Content-Type"})


def accepted(answers: list[Answer | None]) -> set[str]:
    """Ids of the transactions that were accepted with 202."""
    return {answer.body["transaction_id"] for answer in answers if answer is not None and answer.status == 202}


@on(SQLITE, on_postgresql(workers=2))
def test_each_callback_is_applied_once_despite_kills(installation: Installation) -> None:
    """When processes are killed while callbacks arrive, every deposit and withdrawal still ends correctly, once."""
    installation.configure_gateways(a=SECRETS["gatewayA"] + QUICK, b=SECRETS["gatewayB"] + QUICK)
    installation.simulator()
    service = installation.service(**SETTINGS)
    for customer in CUSTOMERS:
        fund(installation, customer, FUNDS)
    answers: list[Answer | None] = []
    for _ in range(2):
        orders = [
            partial(
                order,
                installation,
                route,
                amount=f"{random.randint(1, 9)}.{cents}",
                gateway=gateway,
                customer_id=random.choice(CUSTOMERS),
            )
            for route, gateway, cents in product(ROUTES, GATEWAYS, CENTS)
        ]
        random.shuffle(orders)
        settled = len(installation.books().effects)
        clients = Thread(target=lambda: answers.extend(all_at_once(orders * 2, 4)), daemon=True)  # noqa: B023
        clients.start()
        wait_until(lambda: len(installation.books().effects) > settled + 2, "money moves")  # noqa: B023
        service.end()
        service = installation.service(**SETTINGS)
        clients.join()
    assert len(accepted(answers)) > len(answers) // 2
    wait_for_ends(installation, CUSTOMERS)
    found = transactions(installation, CUSTOMERS)
    assert accepted(answers) <= {transaction["transaction_id"] for transaction in found}
    assert {transaction["status"] for transaction in found} == {"completed", "failed"}
    assert wrong_ends(installation, CUSTOMERS) == []
    on_record = [event for customer in CUSTOMERS for event in events(installation, customer)]
    causes = {event["metadata"].get("causation_id") for event in on_record}
    assert all(any(str(cause).startswith(f"{gateway}:") for cause in causes) for gateway in GATEWAYS)
    installation.verify()


def flipped(text: bytes) -> Iterator[bytes]:
    """For each bit of ``text``, a copy with that bit changed."""
    for place, bit in product(range(len(text)), range(8)):
        yield text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :]


def forgeries(headers: dict[str, str], body: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """The callback with one bit changed in its body or in a header, if the result is still a valid header."""
    for changed in flipped(body):
        yield headers, changed
    for name, value in headers.items():
        if name not in _NOT_SIGNED:
            for text in flipped(value.encode("ascii")):
                if all(chr(character) in string.printable[:94] for character in text):
                    yield {**headers, name: text.decode("ascii")}, body


@pytest.mark.parametrize(
    ("installation", "gateway"),
    [(SQLITE, "gatewayA"), (on_postgresql(workers=2), "gatewayB")],
    indirect=["installation"],
    ids=str,
)
def test_forgeries_are_refused_and_copies_are_applied_once(installation: Installation, gateway: str) -> None:
    """Forgeries get 401 and store nothing. The genuine callback is applied once; its copies are not, also later."""
    installation.configure_gateways(a=SECRETS["gatewayA"] + _SELDOM, b=SECRETS["gatewayB"] + _SELDOM)
    installation.simulator()
    service = installation.service()
    accepted = order(installation, "deposit", amount="10.11", gateway=gateway)
    assert accepted is not None
    path = f"/v1/transactions/{accepted.body['transaction_id']}"
    wait_until(lambda: installation.get(path).body["status"] == "processed", "the provider has answered pending")
    transaction: dict[str, Any] = installation.get(path).body
    target = f"/v1/callbacks/{gateway}"
    headers, body = callback(transaction, transaction["gateway_reference"])
    before = everything(installation.database_url)
    with closing(http.client.HTTPConnection(HOST, installation.port, timeout=30)) as connection:
        for forged_headers, forged_body in forgeries(headers, body):
            answer = send(connection, target, forged_body, forged_headers)
            assert answer is not None, (forged_headers, forged_body)
            assert answer.status == 401, (forged_headers, forged_body)
    assert everything(installation.database_url) == before

    headers, body = callback(transaction, transaction["gateway_reference"])
    answer = send(installation.port, target, body, headers)
    assert answer is not None
    assert answer.status == 200
    assert installation.get(path).body["status"] == "completed"
    after = everything(installation.database_url)
    assert len(after["claims"]) == len(before["claims"]) + 1
    assert len(after["work"]) == len(before["work"]) - 1
    service.end()
    installation.service()
    for _ in range(5):
        headers, body = callback(transaction, transaction["gateway_reference"])
        again = send(installation.port, target, body, headers)
        assert again is not None
        assert again.status == 200
    assert everything(installation.database_url) == after
    assert [event["type"] for event in events(installation, "c1")][-2:] == ["DepositProcessed", "DepositCompleted"]
