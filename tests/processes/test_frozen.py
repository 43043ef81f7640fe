"""A service that is frozen for longer than its lease and then resumed: others did its work, and it is fenced."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any, Final

from tests.processes.installation import Installation
from tests.processes.process import Process, free_port, wait_until
from tests.processes.targets import on, on_postgresql

AT_ONCE: Final = 2
DEPOSITS: Final = 6
"""Deposits at each gateway, more than its slots, so that some wait in the frozen process."""
# While a service is frozen, neither the calls nor the provider's callbacks reach their time limits.
_GATEWAY: Final = (
    f"max_concurrent = {AT_ONCE}\ntimeout_s = 20\nsettle_s = 1\nlookup_after_s = {[0.3, 0.5, *[1] * 30]}\n"
)
GATEWAYS: Final = ("gatewayA", "gatewayB")
SETTINGS: Final = {"PAYMENTS_LEASE_S": "1"}


def events(installation: Installation, port: int) -> dict[str, list[dict[str, Any]]]:
    """All events by customer. Each customer has one deposit at one of the gateways."""
    return {
        customer: installation.get(f"/v1/customers/{customer}/events", port).body["items"]
        for customer in (f"{gateway}-{number}" for gateway in GATEWAYS for number in range(DEPOSITS))
    }


def all_completed(installation: Installation, port: int) -> bool:
    """Whether every deposit is completed."""
    items = installation.get("/v1/transactions?limit=200", port).body["items"]
    return Counter(item["status"] for item in items) == {"completed": len(GATEWAYS) * DEPOSITS}


def freeze(service: Process) -> None:
    """Stop master and workers. If only a worker were frozen, the master would miss its heartbeat and kill it."""
    service.send_to_group(signal.SIGSTOP)


@on(on_postgresql(workers=1))
def test_a_frozen_service_is_fenced(installation: Installation) -> None:
    """Others finish the work of a frozen service; its late outcomes are not recorded, and it starts again empty."""
    installation.configure_gateways(a=_GATEWAY, b=_GATEWAY)
    installation.simulator()
    frozen = installation.service(**SETTINGS)
    installation.inject_faults(latency_s=2)
    for gateway in GATEWAYS:
        for number in range(DEPOSITS):
            assert installation.deposit(gateway=gateway, customer_id=f"{gateway}-{number}").status == 202
    for gateway in GATEWAYS:
        wait_until(lambda gateway=gateway: installation.calls(gateway) == AT_ONCE, "calls are in progress")  # type: ignore[misc]
    freeze(frozen)
    installation.inject_faults()
    other_port = free_port()
    other = installation.service(other_port, **SETTINGS)
    wait_until(lambda: all_completed(installation, other_port), "the other service has done all of it")
    assert other.said("took over work of dead processes")
    before = events(installation, other_port)

    frozen.send_to_group(signal.SIGCONT)
    wait_until(
        lambda: frozen.said("a stale owner's report is kept as evidence only") >= len(GATEWAYS) * AT_ONCE,
        "its late outcomes were refused",
    )
    wait_until(
        lambda: bool(frozen.said("this process was considered dead; its leases were released")),
        "it has detected the loss of its leases",
    )
    accepted = installation.deposit(gateway="gatewayB", customer_id="afterwards")
    path = f"/v1/transactions/{accepted.body['transaction_id']}"
    wait_until(lambda: installation.get(path).body["status"] == "completed", "it works again")
    assert frozen.said("DepositCompleted") == 1, "it has recorded the end of that deposit and of no other"

    assert events(installation, other_port) == before
    for name, of_customer in before.items():
        assert Counter(event["type"] for event in of_customer)["DepositCompleted"] == 1, name
    paid = Counter(effect["reference"] for effect in installation.books().effects)
    assert len(paid) == len(GATEWAYS) * DEPOSITS + 1
    assert set(paid.values()) == {1}
    installation.verify()
