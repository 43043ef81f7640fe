"""One short measurement on each target: real processes, a real store, and no problem reported."""

from __future__ import annotations

from dataclasses import replace

from bench.measure import measure
from bench.setups import ACCEPT, COMPLETE, COMPLETE_ROUTED, FIGURES, Conditions
from bench.targets import SQLITE, Target
from bench.watch import DATABASE


def _conditions(target: Target) -> Conditions:
    connections = dict.fromkeys(FIGURES, 8)
    return Conditions(
        target=target, seconds=0.5, warm_up_s=0.2, connections=connections, customers=20, unfinished_max=64
    )


def test_sqlite() -> None:
    """On SQLite the worker uses all the CPU time; without DEBUG the journal logs no commits."""
    measured = measure(ACCEPT, _conditions(SQLITE))
    assert measured.problems == []
    assert measured.rate > 0
    assert measured.worker_us > 0
    assert measured.database_us == 0
    assert DATABASE not in measured.cpu
    assert measured.busiest == 1.0
    assert measured.batches == []
    assert measured.storage is None


def test_postgresql(postgresql_url: str) -> None:
    """On PostgreSQL the server's CPU time, log and tables and the journal's commits are measured, too."""
    conditions = _conditions(Target(2, postgresql_url))
    conditions = replace(conditions, log_level="DEBUG")
    measured = measure(COMPLETE, conditions, storage=True)
    assert measured.problems == []
    assert measured.rate > 0
    assert measured.cpu[DATABASE] > 0
    assert measured.database_us > 0
    assert measured.log_bytes > 1000
    assert len(measured.completion_times) == len(measured.latencies) > 0
    # Deposits received and completed within the measured time; a write may carry several deposits.
    assert 0 < sum(batch.committed for batch in measured.batches) <= 2 * len(measured.latencies)
    assert sum(batch.conflicts for batch in measured.batches) > 0
    for figure, one_worker_each in ((ACCEPT, replace(conditions, routed=True)), (COMPLETE_ROUTED, conditions)):
        routed = measure(figure, one_worker_each)
        assert routed.problems == []
        assert sum(batch.committed for batch in routed.batches) > 0
        assert sum(batch.conflicts for batch in routed.batches) == 0

    assert measured.storage is not None
    rows = {table.name: table.rows for table in measured.storage.tables}
    assert rows["events"] == 3 * rows["transactions"] == 3 * measured.storage.deposits
    assert rows["heads"] == 20
    assert len(measured.storage.packed) == len(measured.storage.tables)
