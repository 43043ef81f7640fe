"""The table of the hand-written service and ours. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers import HAND_WRITTEN, OURS, Beside
from bench.tables import median, spread, table


def render(rows: Sequence[Beside]) -> str:
    """Deposits per second from the first request to the last one completed, and the ratio; empty without results."""
    header = ["our workers", "ours ÷ hand-written", "ours, per second", "hand-written, per second"]
    header += ["CPU of the machine per deposit, ms: ours", "hand-written"]
    measured = [row for row in rows if row.ratio is not None]
    if not measured:
        return ""
    return table(header, [_row(row) for row in measured])


def _row(row: Beside) -> list[str]:
    return [
        f"{row.workers}",
        f"{row.ratio:.2f}",
        *(spread(row.of(name, "end_to_end"), "{:,.0f}") for name in (OURS, HAND_WRITTEN)),
        *(median(row.of(name, "cpu_ms"), "{:.2f}") for name in (OURS, HAND_WRITTEN)),
    ]
