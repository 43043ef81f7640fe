"""A database that is filled with a history, and the measurement on it, at a small size on both stores."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from bench import record, wire
from bench.databases import SqliteDatabase, new_database
from bench.filling import fill
from bench.history import EVENTS_EACH, MERCHANT, MONEY, History
from bench.many import many
from bench.servers import CHECKOUT
from bench.setups import COMPLETE, FIGURES, Conditions
from bench.targets import SQLITE, Target
from domain.account import Balance
from store.backends import backend_of
from store.port import StreamKey
from tests.store.builders import Clock

CUSTOMERS, DEPOSITS = 20, 200


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each target."""
    return SQLITE if request.param == "sqlite" else Target(2, request.getfixturevalue("postgresql_url"))


def test_history(target: Target, tmp_path: Path) -> None:
    """A filled database is one that the service could have written: it verifies, and a customer can be loaded."""
    with new_database(target, tmp_path) as database:
        history = History(CUSTOMERS, DEPOSITS, datetime.now(UTC))
        fill(database, history, lambda _: None)
        assert record.verify(database) == []
        ends = {end.stream_id: end for end in history.ends()}
        assert set(ends) <= set(wire.customers(CUSTOMERS, wire.SEED))
        assert sum(end.version for end in ends.values()) == DEPOSITS * EVENTS_EACH
        with closing(backend_of(database.url, root=CHECKOUT).open(clock=Clock())) as store:
            assert store.work_counts() == {}
            for end in ends.values():
                loaded = store.load(StreamKey(MERCHANT, end.stream_id))
                assert (loaded.head.version, loaded.head.hash) == (end.version, end.hash)
                assert loaded.account.balances == {MONEY.currency: Balance(end.available)}


def test_damage_is_found(tmp_path: Path) -> None:
    """The check of some customers finds a balance that does not follow from its events."""
    with new_database(SQLITE, tmp_path) as database:
        fill(database, History(CUSTOMERS, DEPOSITS, datetime.now(UTC)), lambda _: None)
        customers = wire.customers(CUSTOMERS, wire.SEED)
        assert record.verify_streams(database, MERCHANT, customers) == []
        assert isinstance(database, SqliteDatabase)
        with closing(apsw.Connection(str(database.path))) as connection:
            connection.execute("UPDATE heads SET balances = '{\"USD\":[1,0]}' WHERE stream_id = ?", (customers[0],))
        assert len(record.verify_streams(database, MERCHANT, customers[:1])) == 1
        assert record.verify_streams(database, MERCHANT, customers[1:]) == []


def test_measurement() -> None:
    """A figure is measured on new databases and on the filled one, in turn, without a problem."""
    connections = dict.fromkeys(FIGURES, 8)
    conditions = Conditions(
        target=SQLITE, seconds=0.3, warm_up_s=0.1, connections=connections, customers=1, unfinished_max=64
    )
    (row,) = many(conditions, 1, lambda _: None, figures=[COMPLETE], customers=CUSTOMERS, events=DEPOSITS)
    assert row.all_problems() == []
    assert (row.figure, len(row.empty), len(row.filled)) == (COMPLETE, 2, 1)
    assert row.ratio > 0
    assert row.ratio_by_cpu > 0
