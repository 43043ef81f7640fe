"""Figures of the journal's commits, read from the log that the service writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.listeners import LogListener
from actors.listeners import logger as service_logger
from actors.messages import Unanswered
from bench.batches import Batch, batches, batches_since, conflict_share
from config.logging import JsonFormatter, LineHandler
from config.redaction import Redaction
from domain import cards
from store.port import Committed, Conflict


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A file that receives the service's log lines, including DEBUG."""
    path, level = tmp_path / "log", service_logger.level
    with path.open("ab", buffering=0) as file:
        handler = LineHandler(file.fileno())
        handler.setFormatter(JsonFormatter(Redaction(cards)))
        service_logger.addHandler(handler)
        service_logger.setLevel(logging.DEBUG)
        try:
            yield path
        finally:
            service_logger.removeHandler(handler)
            service_logger.setLevel(level)


def test_commits_are_read_from_the_log(log: Path) -> None:
    """Each commit after a position in the log is read with its writes, conflicts and duration."""
    listener = LogListener()
    listener.appended([Unanswered(RuntimeError("earlier"), uncertain=False)], 1.0)
    earlier = log.stat().st_size
    service_logger.info("appended, by another logger")
    listener.appended([Committed(), Conflict(()), Conflict(())], 0.0123)
    assert batches_since(log, earlier) == [Batch(3, 1, 2, 12.3)]
    assert len(batches(log.read_bytes().splitlines())) == 2


def test_share_of_conflicts() -> None:
    """The share counts conflicts among all writes of all batches; without writes it is 0."""
    assert conflict_share([Batch(1, 0, 1, 1.0), Batch(3, 3, 0, 1.0)]) == 0.25
    assert conflict_share([]) == 0.0
