"""Migrations of a database in use keep all data that an earlier version of the service stored."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from domain.events import Kind, OutcomeUnknown, Submitted
from store.errors import SchemaError, StoreError
from store.port import Committed, DeliveryCertainty, GatewayMode, WorkState
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from store.sqlite.schema_version import migrations
from tests.store.builders import OWNER, Clock, Customer, Step, move
from tests.store.earlier import as_of
from tests.store.looking import contents
from tests.store.tampering import fill, problems


def seen(path: Path) -> dict[str, object]:
    """All data that a store shows."""
    store = SqliteStore(path, clock=Clock())
    try:
        return contents(store)
    finally:
        store.close()


@pytest.mark.parametrize("version", range(1, len(migrations())))
def test_a_database_of_any_version_can_be_upgraded(tmp_path: Path, version: int) -> None:
    """After the upgrade it has all stored data and the tables of a new one, passes verify, and is usable."""
    newer, older = tmp_path / "newer.db", tmp_path / "older.db"
    fill(newer)
    as_of(newer, older, version)
    with pytest.raises(SchemaError, match=f"version {version}, this service needs"):
        SqliteStore(older, clock=Clock())
    assert migrate(older) == list(migrations())[version:]
    assert seen(older) == seen(newer)
    assert problems(older) == []
    schemas = []
    for path in (newer, older):
        connection = apsw.Connection(str(path))
        schemas.append(connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall())
        connection.close()
    assert schemas[0] == schemas[1]
    store = SqliteStore(older, clock=Clock())
    assert store.gateway_modes() == {}
    assert store.append([Customer("new").deposit("new")]) == [Committed()]
    store.close()


def test_an_interrupted_upgrade_begins_again(tmp_path: Path) -> None:
    """A script is applied as a whole or not at all: the next attempt fills the heads, and no balance is lost."""
    newer, older = tmp_path / "newer.db", tmp_path / "older.db"
    fill(newer)
    as_of(newer, older, 9)
    broken = {**migrations(), 10: "".join((migrations()[10], "INSERT INTO nowhere VALUES (1);"))}
    with pytest.raises(StoreError, match="nowhere"):
        migrate(older, broken)
    connection = apsw.Connection(str(older))
    assert connection.pragma("user_version") == 9
    assert connection.execute("SELECT type FROM sqlite_schema WHERE name IN ('balances', 'heads')").get == "table"
    connection.close()
    assert migrate(older) == [10]
    assert seen(older) == seen(newer)
    assert problems(older) == []


def test_heads_of_an_earlier_version_are_the_ends_of_the_streams(tmp_path: Path) -> None:
    """Each stream has a row with the version and the hash of its last event, and the balances that it had."""
    newer, older = tmp_path / "newer.db", tmp_path / "older.db"
    fill(newer)
    as_of(newer, older, 9)
    migrate(older)
    query = "SELECT stream_name, stream_id, version, hash, balances FROM heads ORDER BY stream_name, stream_id"
    rows = []
    for path in (newer, older):
        connection = apsw.Connection(str(path))
        rows.append(connection.execute(query).fetchall())
        connection.close()
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2


def test_work_of_an_earlier_version_may_have_been_sent(tmp_path: Path) -> None:
    """Work of an earlier version is not sent only if it still has its first token: attempts were not recorded."""
    newer, older = tmp_path / "newer.db", tmp_path / "older.db"
    migrate(newer)
    store = SqliteStore(newer, clock=Clock())
    store.register_owner(OWNER)
    customer = Customer()
    keys = ["fresh", "moved", "parked", "submitted", "unknown"]
    store.append([customer.deposit(key) for key in keys])
    steps = [
        Step(work=(move("moved"), move("parked", state=WorkState.PARKED))),
        Step((Submitted(Kind.DEPOSIT, "submitted", 1),), work=(move("submitted"),)),
        Step((OutcomeUnknown(Kind.DEPOSIT, "unknown", "timeout"),), work=(move("unknown"),)),
    ]
    assert store.append([customer.write(*steps)]) == [Committed()]
    store.close()
    as_of(newer, older)
    migrate(older)
    store = SqliteStore(older, clock=Clock())
    found = {item.work_id: item.certainty for item in store.claim_work(OWNER, "gatewayA", 10)}
    parked = store.dead_letter("main", "parked")
    assert parked is not None
    assert {**found, "parked": parked.item.certainty} == {
        "fresh": DeliveryCertainty.NOT_SENT,
        "moved": DeliveryCertainty.LEASE_LOST,
        "parked": DeliveryCertainty.LEASE_LOST,
        "submitted": DeliveryCertainty.SENT,
        "unknown": DeliveryCertainty.SENT,
    }
    store.close()


@pytest.mark.parametrize("certainty", [-1, 3])
def test_the_database_refuses_an_unknown_certainty(tmp_path: Path, certainty: int) -> None:
    """The added column is checked as if it had existed from the beginning."""
    fill(tmp_path / "payments.db")
    connection = apsw.Connection(str(tmp_path / "payments.db"))
    with pytest.raises(apsw.ConstraintError, match="work_doubt_known"):
        connection.execute("UPDATE work SET doubt = ?", (certainty,))
    connection.close()


def test_breaker_modes_outlive_the_process(tmp_path: Path) -> None:
    """The mode of a breaker is read by the store that is opened next."""
    path = tmp_path / "payments.db"
    migrate(path)
    order = GatewayMode("gatewayA", "open", "the provider asked for it")
    store = SqliteStore(path, clock=Clock())
    store.set_gateway_mode(order)
    store.close()
    store = SqliteStore(path, clock=Clock())
    assert store.gateway_modes() == {"gatewayA": order}
    store.close()


def test_a_switch_to_wal_waits_for_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite reports busy at once where two processes switch together.

    The switch is repeated until the other one ends.
    """
    path = tmp_path / "payments.db"
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE; CREATE TABLE other (x)")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            other.execute("ROLLBACK")
            other.close()

    monkeypatch.setattr("store.sqlite.migrate.BUSY_TIMEOUT_MS", 60)
    monkeypatch.setattr("store.sqlite.migrate.time.sleep", wait)
    assert migrate(path) == list(migrations())
    assert len(waits) == 3
