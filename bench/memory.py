"""The memory of a worker with many customers, by a probe of the tests in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from bench.servers import CHECKOUT, clean_environ

CUSTOMERS: Final = 100_000

_WITHIN_S: Final = 300


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process before and after so many customers stored a deposit; ``problem`` if the probe failed."""

    customers: int
    before: int = 0
    after: int = 0
    problem: str = ""


def probe(customers: int = CUSTOMERS) -> Memory:
    """Run the probe."""
    command = [sys.executable, "-m", "tests.actors.runtime.memory_probe", str(customers), "--greenlets"]
    try:
        done = subprocess.run(
            command,
            cwd=CHECKOUT,
            env=clean_environ({}),
            capture_output=True,
            text=True,
            check=False,
            timeout=_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        return Memory(customers, problem=f"memory: the probe took more than {_WITHIN_S} s")
    if done.returncode:
        words = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        return Memory(customers, problem=f"memory: exit status {done.returncode}: {words[-1][:300]}")
    found = json.loads(done.stdout)
    return Memory(customers, found["before"], found["after"])
