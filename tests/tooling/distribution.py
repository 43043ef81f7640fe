"""Distribution of tests over worker processes in ``make test``: which tests stay together, and which start first.

The tests of a file stay together, because they share fixtures that are slow to create. Tests of real processes are slow
themselves: each is a separate unit unless its file shares a service. Long tests start first, so that all workers end at
about the same time.
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
    """The unit of the test with this id; the tests of a unit run on one worker."""
    file = test.partition("::")[0]
    return test if file.startswith(PROCESSES) and file not in SHARING_A_SERVICE else file


def rank(test: pytest.Item) -> int:
    """The rank of a test; tests of a lower rank start first."""
    if test.get_closest_marker("slow") is not None:
        return 0
    return 1 if test.nodeid.startswith(STARTING_PROCESSES) else 2


class Scheduling(LoadScopeScheduling):
    """Sends whole units to workers, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
