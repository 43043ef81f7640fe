"""The journal's log of its commits: the number of writes, and of conflicts among them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import orjson

_MARK: Final = b'"message":"appended"'


class Batch(NamedTuple):
    """One transaction of the journal."""

    writes: int
    committed: int
    conflicts: int
    duration_ms: float


def batches(lines: Iterable[bytes]) -> list[Batch]:
    """Parse the commits in lines of the service's log at DEBUG."""
    entries = (orjson.loads(line) for line in lines if _MARK in line)
    return [Batch(*(line[name] for name in Batch._fields)) for line in entries]


def batches_since(log: Path, offset: int) -> list[Batch]:
    """Parse the commits in ``log`` after its first ``offset`` bytes."""
    with log.open("rb") as file:
        file.seek(offset)
        return batches(file)


def conflict_share(of: Iterable[Batch]) -> float:
    """Share of writes with a conflict; each of these is decided and written again."""
    writes, conflicts = 0, 0
    for batch in of:
        writes, conflicts = writes + batch.writes, conflicts + batch.conflicts
    return conflicts / max(1, writes)
