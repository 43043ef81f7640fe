"""On what an installation stands: which store, and how many worker processes a service of it has."""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest


class Target(NamedTuple):
    """SQLite with the one process that it permits, or a PostgreSQL database with any number."""

    postgresql: bool
    workers: int

    def __str__(self) -> str:
        return f"postgresql-{self.workers}" if self.postgresql else "sqlite"


SQLITE: Final = Target(postgresql=False, workers=1)


def on_postgresql(workers: int) -> Target:
    """PostgreSQL, and services of so many ``workers``."""
    return Target(postgresql=True, workers=workers)


def on(*targets: Target) -> pytest.MarkDecorator:
    """Run a test that asks for ``installation`` on each of these."""
    return pytest.mark.parametrize("installation", targets, indirect=True, ids=str)
