"""Tables for PostgreSQL only: conflicts, the journal's commits, and bytes of deposits on disk. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.batches import conflict_share
from bench.contention import Contention
from bench.figures import percentile
from bench.measure import Storage
from bench.report_figures import WORDS
from bench.tables import median, spread, table

_WORTH_A_ROW_BYTES: Final = 20
"""Per deposit, without the size of an empty table."""


def conflicts(rows: Sequence[Contention]) -> str:
    """The share of writes with a conflict, and the cost of a deposit at that share."""
    header = ["figure", "customers", "each served by", "writes with a conflict", "writes per deposit", "per second"]
    header += ["CPU per deposit, us: workers", "PostgreSQL"]
    return table(
        header,
        [
            [
                _figure(row),
                f"{row.customers:,}",
                "one worker" if row.routed else "any worker",
                f"{conflict_share(row.batches):.1%}",
                f"{sum(batch.writes for batch in row.batches) / max(1, _deposits(row)):.2f}",
                spread([run.rate for run in row.runs], "{:,.0f}"),
                median((run.worker_us for run in row.runs), "{:,.0f}"),
                median((run.database_us for run in row.runs), "{:,.0f}"),
            ]
            for row in rows
        ],
    )


def commits(rows: Sequence[Contention]) -> str:
    """Number of writes and duration of the commits."""
    header = [
        "figure",
        "customers",
        "each served by",
        "writes in a commit p50",
        "p99",
        "most",
        "a commit took p50, ms",
        "p99",
        "commits",
    ]
    return table(header, [_commits_row(row) for row in rows])


def _commits_row(row: Contention) -> list[str]:
    writes = [batch.writes for batch in row.batches]
    took_ms = [batch.duration_ms for batch in row.batches]
    return [
        _figure(row),
        f"{row.customers:,}",
        "one worker" if row.routed else "any worker",
        f"{percentile(writes, 50):.0f}",
        f"{percentile(writes, 99):.0f}",
        f"{max(writes, default=0)}",
        f"{percentile(took_ms, 50):.1f}",
        f"{percentile(took_ms, 99):.1f}",
        f"{len(writes):,}",
    ]


def storage(rows: Sequence[Contention]) -> str:
    """The bytes per deposit in each table; empty when not measured."""
    found = next((run.storage for row in rows for run in row.runs if run.storage is not None), None)
    return "" if found is None else _storage(found)


def _storage(found: Storage) -> str:
    header = ["table", "rows per deposit", "bytes per deposit: rows", "indexes", "packed: rows", "indexes"]
    packed = {one.name: one for one in found.packed}
    number = found.deposits

    def per_deposit(*values: int) -> list[str]:
        return [f"{value / number:,.0f}" for value in values]

    rows = [
        [
            one.name,
            f"{one.rows / number:.2f}",
            *per_deposit(one.heap_bytes, one.index_bytes),
            *per_deposit(packed[one.name].heap_bytes, packed[one.name].index_bytes),
        ]
        for one in found.tables
        if (one.heap_bytes + one.index_bytes) / number >= _WORTH_A_ROW_BYTES
    ]
    total = [
        *per_deposit(sum(one.heap_bytes for one in found.tables), sum(one.index_bytes for one in found.tables)),
        *per_deposit(sum(one.heap_bytes for one in found.packed), sum(one.index_bytes for one in found.packed)),
    ]
    return f"After {number:,} deposits:\n\n" + table(header, [*rows, ["all tables", "", *total]])


def _figure(row: Contention) -> str:
    return WORDS[row.figure].partition(",")[0]


def _deposits(row: Contention) -> int:
    return sum(len(run.latencies) for run in row.runs)
