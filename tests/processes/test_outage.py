"""An outage as a user sees it: everything is accepted all the while, and completed, once, when the provider is back."""

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
    # Whatever got no answer would be asked about in an hour, if the provider's return did not pull that forward.
    "b": f"settle_s = 1\nlookup_after_s = [3600]\n{_BOTH}",
}
SETTINGS: Final = {
    # So few that they would be used up within seconds if waiting for the provider took any.
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.1",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1",
}
DEPOSITS: Final = 120
_LOOKS: Final = 10
"""At a service of several workers: each connection meets one of them, and so many will hardly all meet the same."""


def deposits(installation: Installation, gateway: str) -> list[dict[str, object]]:
    """All deposits at ``gateway`` as users see them."""
    page = installation.get(f"/v1/transactions?gateway={gateway}&limit=200").body
    assert page["next_cursor"] is None
    items: list[dict[str, object]] = page["items"]
    return items


def statuses(installation: Installation, gateway: str) -> Counter[object]:
    """How many deposits at ``gateway`` are in each status."""
    return Counter(deposit["status"] for deposit in deposits(installation, gateway))


def is_open(installation: Installation, gateway: str) -> bool:
    """Whether the breaker of ``gateway`` is open and none of its calls is out, whichever worker is asked."""
    looks = range(1 if installation.workers == 1 else _LOOKS)
    seen = [installation.get(f"/v1/gateways/{gateway}").body for _ in looks]
    return {(one["breaker"]["state"], one["bulkhead"]["in_flight"]) for one in seen} == {("open", 0)}


def assert_probes_only(installation: Installation, gateway: str) -> None:
    """While the breaker is open the provider is called once in a while, to see whether it is back, and no more."""
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
def test_one_provider_is_gone_under_load(installation: Installation, gone: str, there: str) -> None:
    """It is called no more than to see whether it is back; the other one's deposits complete as if nothing were."""
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
    assert set(waiting) <= {"pending", "unknown"}, "nothing is given up"
    assert installation.breaker(there)["state"] == "closed"
    assert installation.get("/readyz").status == 200

    installation.inject_faults()
    witness.wait_for_rest()
    assert installation.breaker(gone)["state"] == "closed"
    assert len(log.with_status(202)) == len(log.sent) == DEPOSITS
    assert judge(log, installation.books(), witness.history_at_rest(), plain=True) == []


@on(SQLITE, on_postgresql(workers=2))
def test_nobody_listens_at_the_provider(installation: Installation) -> None:
    """Its process dies under load: all deposits are accepted, wait without an end to their attempts, and complete."""
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


def test_a_quiet_outage_ends_as_soon_as_a_loud_one(installation: Installation) -> None:
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
