"""The adapters that the contract suite runs against, each behind the same fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store.factory import PaymentStore
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.store.builders import OWNER, Clock


@dataclass(frozen=True)
class Ground:
    """An empty, migrated store and the means to let its clock go on."""

    store: PaymentStore
    pass_time: Callable[[float], None]


@pytest.fixture(params=["sqlite"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """One ground for each adapter."""
    assert request.param == "sqlite"
    path = tmp_path / "payments.db"
    migrate(path)
    clock = Clock()
    store = SqliteStore(path, clock=clock)
    yield Ground(store, clock.advance)
    store.close()


@pytest.fixture
def store(ground: Ground) -> PaymentStore:
    """The store, with OWNER registered."""
    ground.store.register_owner(OWNER)
    return ground.store


@pytest.fixture
def pass_time(ground: Ground) -> Callable[[float], None]:
    """Lets seconds pass for the store."""
    return ground.pass_time
