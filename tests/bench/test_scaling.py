"""The arithmetic of docs/scaling.md, and its insertion into the page."""

from __future__ import annotations

import pytest

from bench.contention import Contention
from bench.databases import Table
from bench.measure import Measured, Storage
from bench.report import Outcome
from bench.scaling import BEGIN, END, RATES, Costs, costs, put, render
from bench.servers import CHECKOUT
from bench.setups import COMPLETE, Conditions
from bench.targets import Target

COSTS = Costs(
    rate=900.0, worker_us=600.0, database_us=300.0, log_bytes=5_000.0, stored_bytes=2_000.0, event_bytes=1_500.0
)


def _measured(worker_us: float, database_us: float = 300.0) -> Measured:
    return Measured(COMPLETE, 900.0, [], worker_us=worker_us, database_us=database_us, log_bytes=5_000.0)


def _outcome(*runs: Measured, storage: Storage | None = None) -> Outcome:
    conditions = Conditions(
        target=Target(2, "postgresql://server/postgres"),
        seconds=1,
        warm_up_s=1,
        connections={COMPLETE: 8},
        customers=10,
        unfinished_max=64,
    )
    watched = _measured(9_999.0)
    watched.storage = storage
    return Outcome(conditions, {COMPLETE: runs}, [Contention(COMPLETE, 10_000, runs=[_measured(1.0), watched])])


STORAGE = Storage(10, [], [Table("events", 30, 14_000, 1_000), Table("heads", 5, 4_000, 1_000)])


def test_costs() -> None:
    """Times are the medians of the rounds without extra logging; bytes are those of the packed tables."""
    assert costs(_outcome(_measured(500.0), _measured(600.0), _measured(900.0), storage=STORAGE)) == COSTS


def test_no_costs() -> None:
    """Without storage figures, rounds or the CPU time of the server there are no costs."""
    assert costs(_outcome(_measured(600.0))) is None
    assert costs(_outcome(storage=STORAGE)) is None
    assert costs(_outcome(_measured(600.0, 0.0), storage=STORAGE)) is None


def test_needs() -> None:
    """Plans use 60% of the cores; the limit of a server is its cores or its log, whichever is reached first."""
    assert [COSTS.workers(rate) for rate in (1_000, 1_001)] == [1, 2]
    assert COSTS.database_cores(100_000) == 50
    assert COSTS.server_rate == 32_000
    log = Costs(rate=1.0, worker_us=1.0, database_us=300.0, log_bytes=20_000.0, stored_bytes=1.0, event_bytes=1.0)
    assert log.server_rate == 10_000


def test_tables() -> None:
    """The tables show the costs of one deposit and of some rates; a busy machine is reported."""
    text = render(COSTS, {"date": "today", "commit": "abc", "machine": "two cores"}, disturbed=False)
    assert "Measured today, commit abc; two cores.\n" in text
    assert "| stored in a day, GB | 173 | 1,728 | 17,280 |\n" in text
    assert "| write-ahead log, MB/s | 5.0 | 50.0 | 500.0 |\n" in text
    assert "| servers of that size | 1 | 1 | 4 |" in text
    assert "room for 32,000 deposits a second" in text
    assert len(RATES) == 3
    assert "Provisional" in render(COSTS, {}, disturbed=True)


def test_the_page() -> None:
    """Only the text between the marks of the page is replaced."""
    page = (CHECKOUT / "docs" / "scaling.md").read_text(encoding="utf-8")
    once = put(page, "figures")
    assert put(once, "figures") == once
    assert once.partition(BEGIN)[0] == page.partition(BEGIN)[0]
    assert once.partition(END)[2] == page.partition(END)[2]
    with pytest.raises(ValueError, match="lacks"):
        put("no marks", "figures")
