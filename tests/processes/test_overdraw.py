"""Many concurrent withdrawals of one customer at several services: no balance falls below zero."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from functools import partial
from itertools import cycle
from threading import Thread
from typing import Any, Final

from tests.processes.commands import (
    GATEWAYS,
    all_at_once,
    events,
    fund,
    order,
    transactions,
    wait_for_ends,
)
from tests.processes.installation import Answer, Installation
from tests.processes.ledger_check import wrong_ends
from tests.processes.process import free_port
from tests.processes.targets import on, on_postgresql

THREADS: Final = 40
PIECES: Final = ("1.00", "3.00")
DEPOSIT: Final = "2.00"
"""The amount of each concurrent deposit; no withdrawal has this amount."""


def balances(on_record: list[dict[str, Any]]) -> list[tuple[Decimal, Decimal]]:
    """The available and reserved amounts after each event, computed only from the events."""
    known: dict[str, tuple[str, Decimal]] = {}
    available = reserved = Decimal(0)
    found = []
    for event in on_record:
        data, kind = event["data"], event["type"]
        if kind.endswith("Received"):
            known[data["transaction_id"]] = kind.removesuffix("Received"), Decimal(data["amount"])
        name, amount = known[data["transaction_id"]]
        if kind == "DepositCompleted":
            available += amount
        elif kind == "WithdrawalReceived":
            available, reserved = available - amount, reserved + amount
        elif name == "Withdrawal" and kind.endswith("Completed"):
            reserved -= amount
        elif kind == "WithdrawalFailed":
            available, reserved = available + amount, reserved - amount
        found.append((available, reserved))
    return found


@on(on_postgresql(workers=2))
def test_no_balance_falls_below_zero(installation: Installation) -> None:
    """40 clients withdraw 1.00 and 3.00 of 10.00 at two services while deposits complete: never below zero."""
    installation.simulator()
    ports = (installation.port, free_port())
    for port in ports:
        installation.service(port)
    fund(installation, "c1", "10.00")
    installation.inject_faults(latency_s=0.2)
    places = cycle((port, gateway) for gateway in GATEWAYS for port in ports)
    withdrawals = [
        partial(order, installation, "withdrawal", port, amount=amount, gateway=gateway)
        for amount in PIECES
        for port, gateway in (next(places) for _ in range(THREADS))
    ]
    deposits = [partial(order, installation, "deposit", next(places)[0], amount=DEPOSIT) for _ in range(10)]
    saved: list[Answer | None] = []
    savers = Thread(target=lambda: saved.extend(all_at_once(deposits, 2)), daemon=True)
    savers.start()
    answers = all_at_once(withdrawals[::2] + withdrawals[1::2], THREADS)
    savers.join()
    wait_for_ends(installation, ["c1"])
    # At each service exactly the remaining balance can be withdrawn, whichever service paid out the rest.
    answers += all_at_once(withdrawals, THREADS)
    wait_for_ends(installation, ["c1"])

    assert [answer.status for answer in saved if answer is not None] == [202] * len(deposits)
    statuses = Counter(None if answer is None else answer.status for answer in answers)
    assert set(statuses) == {202, 422}
    for answer in answers:
        if answer is not None and answer.status == 422:
            assert answer.body["type"] == "/problems/insufficient-funds"
            assert answer.body["currency"] == "USD"
            assert Decimal(answer.body["available"]) < Decimal("3.00")
    on_record = events(installation, "c1")
    assert all(available >= 0 and reserved >= 0 for available, reserved in balances(on_record))
    found = transactions(installation, ["c1"])
    taken = [it for it in found if it["type"] == "withdrawal"]
    assert len(taken) == statuses[202]
    assert sum(Decimal(it["amount"]) for it in taken) == Decimal("10.00") + len(deposits) * Decimal(DEPOSIT)
    assert balances(on_record)[-1] == (Decimal(0), Decimal(0))
    assert wrong_ends(installation, ["c1"]) == []
    installation.verify()


@on(on_postgresql(workers=2))
def test_no_withdrawal_is_refused_from_memory(installation: Installation) -> None:
    """A deposit at one service can be withdrawn at the other at once, although that one refused the same before."""
    installation.simulator()
    ports = (installation.port, free_port())
    for port in ports:
        installation.service(port)
    fund(installation, "c1", "1.00")
    for number in range(8):
        taken = order(installation, "withdrawal", ports[number % 2], amount="1.00")
        assert taken is not None
        assert taken.status == 202, "it is there"
        # Enough requests that probably every worker refuses one, and remembers an empty balance.
        refused = all_at_once(
            [partial(order, installation, "withdrawal", port, amount="1.00") for port in ports * 4], 8
        )
        assert [answer.status for answer in refused if answer is not None] == [422] * 8
        fund(installation, "c1", "1.00")
    wait_for_ends(installation, ["c1"])
    assert wrong_ends(installation, ["c1"]) == []
