"""A hundred thousand customers in one process, within the memory that the service may take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
CUSTOMERS = 100_000
BYTES_MAX = 320_000_000


@pytest.mark.slow
def test_a_hundred_thousand_customers_live_within_the_memory_bound() -> None:
    """With 100,000 customers touched, each with an unfinished deposit, the whole process takes at most 320 MB.

    When all are idle the sweep brings them down to none, and a later command brings one of them back.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.actors.runtime.memory_probe", str(CUSTOMERS)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stats = json.loads(done.stdout)
    assert stats["alive"] >= CUSTOMERS
    assert stats["after"] <= BYTES_MAX, stats
    assert stats["left"] == 0
    assert stats["idle"] < stats["after"]
    assert stats["woken"] == 1
