"""How ``make test`` spreads tests over worker processes: which tests stay together, and which ones start first.

A file stays together, because its tests share fixtures that take long to make. Tests of real processes take long
themselves: each is a unit of its own unless its file shares a service. Long tests start first, so that all workers end
at about the same time.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

PROCESSES: Final = "tests/processes/"
SHARING_A_SERVICE: Final = frozenset(
    f"{PROCESSES}{name}.py" for name in ("test_bad_bytes", "test_judgement", "test_odd_requests", "test_slow")
)
STARTING_PROCESSES: Final = (PROCESSES, "tests/tooling/", "tests/cli/")


def unit(test: str) -> str:
    """What the test with this id must share a worker with."""
    file = test.partition("::")[0]
    return test if file.startswith(PROCESSES) and file not in SHARING_A_SERVICE else file


def rank(test: pytest.Item) -> int:
    """The place of a test in the order: tests of a lower rank start first."""
    if test.get_closest_marker("slow") is not None:
        return 0
    return 1 if test.nodeid.startswith(STARTING_PROCESSES) else 2


class Scheduling(LoadScopeScheduling):
    """Sends whole units to workers, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
