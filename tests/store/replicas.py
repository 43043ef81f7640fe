"""A private server whose commits wait for a synchronous replica, which is absent until the test starts it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import psycopg

from store.postgresql.migrate import migrate
from tests.postgresql.embedded import EmbeddedServer

T = TypeVar("T")

PATIENCE_S: Final = 30.0
_WAITING: Final = (
    "SELECT pid, query FROM pg_stat_activity"
    " WHERE wait_event = 'SyncRep' AND application_name = 'payments' ORDER BY xact_start"
)
_WAITS: Final = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = {}"


class Replicated:
    """Databases on ``server``, and whether its replica is present."""

    def __init__(self, server: EmbeddedServer, prefix: str = "payments") -> None:
        self.server = server
        self._prefix = prefix

    def new_database(self) -> str:
        """The URL of a new, migrated database."""
        name = f"{self._prefix}_{uuid.uuid4().hex}"
        self.server.order(f"CREATE DATABASE {name}")
        migrate(self.server.url(name))
        return self.server.url(name)

    def go_away(self) -> None:
        """From now on no commit is replicated. The server needs a moment to detect this."""
        self.server.set("synchronous_standby_names", "away")
        until(self._probe_waits)

    def _probe_waits(self) -> bool:
        with psycopg.connect(self.server.url(), autocommit=True) as probe:
            commit = started(lambda: probe.execute("SELECT pg_logical_emit_message(true, 'probe', '')"))
            pid = probe.info.backend_pid
            until(lambda: commit.done() or self.visible(self.server.url(), _WAITS.format(pid)) == 1)
            waits = not commit.done()
            self.signal(pid, "cancel")
            commit.result(PATIENCE_S)
        return waits

    def come_back(self) -> None:
        """Waiting commits count as replicated from now on."""
        self.server.set("synchronous_standby_names", "")

    def waiting(self) -> list[int]:
        """The server's processes that have committed and wait, oldest first."""
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            return [pid for pid, _ in admin.execute(_WAITING).fetchall()]

    def until_one_waits(self) -> int:
        """Wait until one process waits, and return its process id."""
        until(lambda: bool(self.waiting()))
        return self.waiting()[0]

    def signal(self, pid: int, how: str) -> None:
        """``cancel`` or ``terminate`` a process of the server."""
        self.server.order(f"SELECT pg_{how}_backend({pid})")

    def visible(self, url: str, count: str) -> int:
        """The count that a query sees."""
        with psycopg.connect(url, autocommit=True) as admin:
            row = admin.execute(count.encode()).fetchone()
        assert row is not None
        return int(row[0])


def started(job: Callable[[], T]) -> Future[T]:
    """Run the job in a new thread."""
    threads = ThreadPoolExecutor(1)
    future = threads.submit(job)
    threads.shutdown(wait=False)
    return future


def until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait until the condition is true. Fails when that takes too long."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)
