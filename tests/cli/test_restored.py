"""``manage.py restored``: marks a restored database, and lists what to compare with the providers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.backends import backend_of
from store.port import TOKENS_APART, Lease
from store.sqlite.lock import StoreLock
from tests.postgresql.servers import new_database
from tests.processes.installation import CHECKOUT
from tests.store.builders import OWNER, Clock, Customer


def restored(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``restored`` on the database ``url``."""
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": url}
    command = [sys.executable, "manage.py", "restored", *options]
    return subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False, timeout=60)


def fill(url: str) -> None:
    """Store two open transactions at different gateways and a completed one."""
    backend_of(url, root=CHECKOUT).migrate()
    store = backend_of(url, root=CHECKOUT).open(clock=Clock())
    store.register_owner(OWNER)
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER), customer.deposit("t2", gateway="gatewayB")])
    store.append([customer.deposit("t3"), customer.complete("t3")])
    store.close()


def leases(url: str) -> list[Lease | None]:
    """The lease fields of the work of the three transactions."""
    store = backend_of(url, root=CHECKOUT).open(clock=Clock())
    try:
        return [store.lease(name) for name in ("t1", "t2", "t3")]
    finally:
        store.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of an embedded store."""
    url = f"sqlite:///{tmp_path}/payments.db"
    fill(url)
    return url


def test_output_for_operators(url: str) -> None:
    """It prints the generation, the newest event's time, the open transactions by gateway, and what to compare."""
    done = restored(url)
    assert (done.returncode, done.stderr) == (0, "")
    at = "2026-11-01T12:00:00.123456Z"
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "generation 1: all unfinished work counts as possibly sent",
        f"newest event: {at}",
        f"gatewayA: 1 unfinished, since {at}",
        f"gatewayB: 1 unfinished, since {at}",
    ]
    assert f"its ledger since {at}" in done.stdout
    assert leases(url) == [Lease(1 + TOKENS_APART, None)] * 2 + [None]


def test_output_for_scripts(url: str) -> None:
    """``--json`` prints one object with every open transaction. ``--generation`` sets the lowest generation."""
    done = restored(url, "--json", "--generation", "7")
    assert (done.returncode, done.stderr) == (0, "")
    it = json.loads(done.stdout)
    assert it["generation"] == 7
    assert it["newest_event"]["occurred_at"] == "2026-11-01T12:00:00.123456Z"
    assert [(one["transaction_id"], one["gateway"], one["amount"], one["status"]) for one in it["unfinished"]] == [
        ("t1", "gatewayA", "100.00", "pending"),
        ("t2", "gatewayB", "100.00", "pending"),
    ]
    assert json.loads(restored(url, "--json", "--generation", "7").stdout)["generation"] == 8


def test_beside_a_service(url: str) -> None:
    """While a service has the file open, the command is refused and changes nothing."""
    with StoreLock.acquire(Path(url.removeprefix("sqlite:///")), sleep=lambda _: None):
        done = restored(url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "end it first" in done.stderr
    assert leases(url)[0] == Lease(1, OWNER)


def test_an_impossible_generation_is_refused(url: str) -> None:
    """A generation that no position could hold is refused."""
    for number in ("0", "-1", "8192", "x"):
        assert restored(url, "--generation", number).returncode == 2


def test_on_a_server(postgresql_url: str) -> None:
    """PostgreSQL gives the same result. While a service runs, the command is refused with one line."""
    with new_database(postgresql_url) as url:
        fill(url)
        store = backend_of(url, root=CHECKOUT).open(clock=Clock())
        try:
            refused = restored(url)
        finally:
            store.close()
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "end all services first" in refused.stderr
        done = restored(url)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("generation 1: ")
        assert leases(url) == [Lease(1 + TOKENS_APART, None)] * 2 + [None]
