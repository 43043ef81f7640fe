"""Checks of the database after the load: every acknowledged deposit is stored and finished."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from bench.databases import Database
from bench.servers import CHECKOUT, clean_environ
from store.backends import backend_of
from store.port import StreamKey
from store.verify import verify as find_problems

_POLL_S: Final = 0.01
_STALLED_S: Final = 20.0
"""Wait at most this long without progress."""


def wait_until_finished(database: Database) -> int:
    """Wait until no work is left; return the number of unfinished pieces when there is no more progress."""
    # Finished work has no row, so this query gets cheaper towards the end, when its time matters.
    return _wait_until_none(database.unfinished)


def wait_until_published(database: Database) -> int:
    """Wait until the relay has published everything; return how many are left when there is no more progress."""
    return database.unpublished() if _wait_until_none(database.unpublished_positions) else 0


def _wait_until_none(remaining: Callable[[], int]) -> int:
    least, since = sys.maxsize, time.monotonic()
    while True:
        left = remaining()
        if left == 0:
            return 0
        if left < least:
            least, since = left, time.monotonic()
        elif time.monotonic() - since > _STALLED_S:
            return left
        time.sleep(_POLL_S)


def check_deposits(database: Database, accepted: list[str], status: str) -> list[str]:
    """Problems of the deposits that were answered with 202, all of which must have ``status`` by now."""
    stored = database.statuses(accepted)
    problems = []
    if len(set(accepted)) != len(accepted):
        problems.append(f"{len(accepted) - len(set(accepted))} answers contain a transaction of another answer")
    found = Counter(stored.get(transaction_id, "not stored") for transaction_id in set(accepted))
    problems += [f"{count} accepted deposits are {what}" for what, count in found.items() if what != status]
    return problems


def verify_streams(database: Database, merchant: str, stream_ids: Iterable[str]) -> list[str]:
    """Problems of these streams, for a database that is too large for ``verify``."""
    streams = [StreamKey(merchant, stream_id) for stream_id in stream_ids]
    with backend_of(database.url, root=CHECKOUT).audit() as audit:
        return [f"verify: {problem.stream}: {problem.text}" for problem in find_problems(audit, streams=streams)]


def verify(database: Database) -> list[str]:
    """Problems that ``manage.py verify`` finds."""
    done = subprocess.run(
        [sys.executable, "manage.py", "verify"],
        cwd=CHECKOUT,
        env=clean_environ({"PAYMENTS_DATABASE_URL": database.url}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return []
    words = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    return [f"verify: exit status {done.returncode}: {words[-1][:200]}"]
