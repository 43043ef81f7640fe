"""The database of a measurement, on both stores: it is created, queried and removed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from bench import record
from bench.databases import PostgresqlDatabase, new_database
from bench.servers import CHECKOUT
from bench.targets import SQLITE, Target
from store.backends import backend_of
from tests.store.builders import START, Clock, Customer


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each target."""
    return SQLITE if request.param == "sqlite" else Target(2, request.getfixturevalue("postgresql_url"))


def test_queries_of_a_measurement(target: Target, tmp_path: Path) -> None:
    """With one pending and one completed deposit, queries return remaining work, statuses, durations and problems."""
    with new_database(target, tmp_path) as database:
        backend_of(database.url, root=CHECKOUT).migrate()
        store = backend_of(database.url, root=CHECKOUT).open(clock=Clock())
        customer = Customer()
        writes = [customer.deposit("t-1"), customer.deposit("t-2")]
        customer.now = START + timedelta(seconds=1.5)
        for write in [*writes, customer.complete("t-2")]:
            store.append([write])
        store.close()

        assert database.unfinished() == 1
        assert database.statuses(["t-1", "t-2", "t-3"]) == {"t-1": "pending", "t-2": "completed"}
        assert database.completion_times_s(["t-2"]) == [1.5]
        assert record.check_deposits(database, ["t-2"], "completed") == []
        assert set(record.check_deposits(database, ["t-1", "t-2", "t-2", "t-3"], "completed")) == {
            "1 answers contain a transaction of another answer",
            "1 accepted deposits are pending",
            "1 accepted deposits are not stored",
        }
        assert record.verify(database) == []


def test_queries_of_a_server(postgresql_url: str, tmp_path: Path) -> None:
    """Queries return tables with rows, local server processes and bytes written; then the database is gone."""
    with new_database(Target(2, postgresql_url), tmp_path) as database:
        assert isinstance(database, PostgresqlDatabase)
        store = backend_of(database.url, root=CHECKOUT).open(clock=Clock())
        before, customer = database.written(), Customer()
        for number in range(20):
            store.append([customer.deposit(f"t-{number}"), customer.complete(f"t-{number}")])
        with psycopg.connect(database.url) as other:
            assert (other.info.backend_pid in database.server_pids()) == database.is_on_this_machine
        assert database.written().wal_bytes > before.wal_bytes
        rows = {table.name: table.rows for table in database.tables()}
        assert (rows["events"], rows["transactions"], rows["work"], rows["heads"]) == (60, 20, 0, 1)
        size = sum(table.heap_bytes for table in database.tables())
        store.close()
        database.pack()
        assert sum(table.heap_bytes for table in database.tables()) < size
        assert int(database.server_settings()["server_version"].partition(".")[0].split()[0]) >= 14
        url = database.url
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)
