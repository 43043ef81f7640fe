"""The store of a service process, from its lock to its close."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from store.backends import backend_of
from store.errors import StoreUnavailableError
from store.port import StreamKey, run_directly
from store.service import ServiceStore


def _store(path: Path) -> ServiceStore:
    backend = backend_of(f"sqlite:///{path}", root=path.parent)
    return ServiceStore(backend, clock=lambda: datetime.now(UTC), offload=run_directly)


def _fail(_: object) -> None:
    raise AssertionError("there must be no wait")


def test_queries_exist_before_the_store(tmp_path: Path) -> None:
    """Until the store is open, each query raises StoreUnavailableError. Afterwards each is the store's own."""
    store = _store(tmp_path / "payments.db")
    queries = store.queries
    with pytest.raises(StoreUnavailableError):
        queries.customer(StreamKey("main", "c1"))
    with pytest.raises(StoreUnavailableError):
        queries.has_api_keys()
    store.lock(_fail, _fail)
    store.migrate()
    store.open()
    assert queries.customer(StreamKey("main", "c1")) is None
    assert queries.has_api_keys() is False
    store.close()
    store.unlock()


def test_a_second_process_waits_for_the_lock(tmp_path: Path) -> None:
    """It reports the reason once, and gets the lock when the first process has released it."""
    first, second = _store(tmp_path / "payments.db"), _store(tmp_path / "payments.db")
    first.lock(_fail, _fail)
    reasons: list[str] = []
    second.lock(lambda _: first.unlock(), reasons.append)
    assert reasons == ["Another process still uses the database."]
    second.unlock()
