"""The target of an installation: its store and the number of worker processes of a service."""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest


class Target(NamedTuple):
    """SQLite with one process, or a PostgreSQL database with any number of processes."""

    postgresql: bool
    workers: int

    def __str__(self) -> str:
        return f"postgresql-{self.workers}" if self.postgresql else "sqlite"


SQLITE: Final = Target(postgresql=False, workers=1)


def on_postgresql(workers: int) -> Target:
    """PostgreSQL, and services with ``workers`` worker processes."""
    return Target(postgresql=True, workers=workers)


def on(*targets: Target) -> pytest.MarkDecorator:
    """Decorator: run a test that uses ``installation`` on each target."""
    return pytest.mark.parametrize("installation", targets, indirect=True, ids=str)
