"""During an outage every deposit is accepted, and each completes once when the provider is back."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Final

import pytest

from tests.processes.client import Load, Log
from tests.processes.installation import Installation
from tests.processes.judgement import Witness, judge
from tests.processes.process import wait_until
from tests.processes.targets import SQLITE, on, on_postgresql

SLEEP_S: Final = 0.5
_BOTH: Final = f"timeout_s = 2\nmax_retries = 5\nbreaker = {{ sleep_s = {SLEEP_S} }}\n"
GATEWAYS: Final = {
    "a": _BOTH,
    # A call without an answer would be looked up in an hour, but the provider's return pulls lookups forward.
    "b": f"settle_s = 1\nlookup_after_s = [3600]\n{_BOTH}",
}
SETTINGS: Final = {
    # Few attempts: they would be used up within seconds if waiting for the provider counted as attempts.
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.1",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1",
}
DEPOSITS: Final = 120
_LOOKS: Final = 10
"""Enough connections that they reach more than one of several workers."""


def deposits(installation: Installation, gateway: str) -> list[dict[str, object]]:
    """All deposits at ``gateway`` as the API shows them."""
    page = installation.get(f"/v1/transactions?gateway={gateway}&limit=200").body
    assert page["next_cursor"] is None
    items: list[dict[str, object]] = page["items"]
    return items


def statuses(installation: Installation, gateway: str) -> Counter[object]:
    """The number of deposits at ``gateway`` in each status."""
    return Counter(deposit["status"] for deposit in deposits(installation, gateway))


def is_open(installation: Installation, gateway: str) -> bool:
    """Whether the breaker of ``gateway`` is open without calls in progress, in every worker."""
    looks = range(1 if installation.workers == 1 else _LOOKS)
    seen = [installation.get(f"/v1/gateways/{gateway}").body for _ in looks]
    return {(one["breaker"]["state"], one["bulkhead"]["in_flight"]) for one in seen} == {("open", 0)}


def assert_probes_only(installation: Installation, gateway: str) -> None:
    """Assert that only probes call the provider while the breaker is open."""
    began, before = time.monotonic(), installation.calls(gateway)
    wait_until(lambda: installation.calls(gateway) >= before + 3, f"{gateway} is probed")
    probes = installation.calls(gateway) - before
    assert probes <= math.ceil((time.monotonic() - began) / SLEEP_S) + 1


@pytest.mark.parametrize(
    ("installation", "gone", "there"),
    [
        (SQLITE, "gatewayA", "gatewayB"),
        (SQLITE, "gatewayB", "gatewayA"),
        pytest.param(on_postgresql(workers=2), "gatewayB", "gatewayA", marks=pytest.mark.slow),
    ],
    indirect=["installation"],
    ids=str,
)
def test_one_provider_is_unavailable_under_load(installation: Installation, gone: str, there: str) -> None:
    """An unavailable provider gets only probes; deposits at the other provider complete as usual."""
    installation.configure_gateways(**GATEWAYS)
    installation.simulator()
    installation.service(**SETTINGS)
    log, witness = Log(), Witness(installation.database_url)
    installation.inject_faults(gateway=gone, outage=1)
    with Load(log, installation.port, deposits=DEPOSITS) as load:
        wait_until(lambda: is_open(installation, gone), "the breaker is open")
        assert_probes_only(installation, gone)
        load.wait_for(DEPOSITS)
    wait_until(lambda: set(statuses(installation, there)) == {"completed"}, f"all deposits at {there} are completed")
    waiting = statuses(installation, gone)
    assert set(waiting) <= {"pending", "unknown"}, "no deposit has failed"
    assert installation.breaker(there)["state"] == "closed"
    assert installation.get("/readyz").status == 200

    installation.inject_faults()
    witness.wait_for_rest()
    assert installation.breaker(gone)["state"] == "closed"
    assert len(log.with_status(202)) == len(log.sent) == DEPOSITS
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []


@on(SQLITE, on_postgresql(workers=2))
def test_the_provider_refuses_connections(installation: Installation) -> None:
    """While the provider's process is down, all deposits are accepted and wait without using up attempts."""
    installation.configure_gateways(**GATEWAYS)
    provider = installation.simulator()
    installation.service(**SETTINGS)
    log, witness = Log(), Witness(installation.database_url)
    with Load(log, installation.port, deposits=DEPOSITS) as load:
        load.wait_for(DEPOSITS // 4)
        provider.end()
        load.wait_for(DEPOSITS // 2)
    for gateway in ("gatewayA", "gatewayB"):
        wait_until(lambda gateway=gateway: is_open(installation, gateway), "the breaker is open")  # type: ignore[misc]
    seen = {installation.breaker("gatewayA")["opened_at"]}

    def probed_often() -> bool:
        seen.add(installation.breaker("gatewayA")["opened_at"])
        return len(seen) > 8

    wait_until(probed_often, "there were more probes than a deposit has attempts")
    for gateway in ("gatewayA", "gatewayB"):
        assert "parked" not in {deposit["attention"] for deposit in deposits(installation, gateway)}
    assert installation.get("/readyz").status == 200

    installation.simulator()
    witness.wait_for_rest()
    assert len(log.with_status(202)) == len(log.sent) == DEPOSITS
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []


def test_an_outage_without_new_commands_ends_as_soon(installation: Installation) -> None:
    """Without new commands the provider is still probed, and the waiting transactions complete."""
    # A probe's permit holds for longer than the test waits for anything.
    installation.configure_gateways(a=f"timeout_s = 60\nbreaker = {{ request_volume = 1, sleep_s = {SLEEP_S} }}\n")
    installation.simulator()
    installation.service(PAYMENTS_LEASE_S="3600")
    installation.inject_faults(outage=1)
    for number in range(3):
        assert installation.deposit(customer_id=f"c{number}").status == 202
    wait_until(lambda: is_open(installation, "gatewayA"), "the breaker is open")
    assert_probes_only(installation, "gatewayA")
    installation.inject_faults()
    wait_until(lambda: statuses(installation, "gatewayA") == {"completed": 3}, "all are completed")
    assert len(installation.books().effects) == 3
