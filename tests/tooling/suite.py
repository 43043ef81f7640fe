"""``python -m tests.tooling.suite``: run the test suite in parts, and print the time of each part.

A part is one run of pytest. The budget of a part is for a machine with two idle cores. A part that takes longer is
reported and does not fail.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]

SIMULATION: Final = "tests/simulation"
ALONE: Final = ("tests/bench", "tests/gateways/test_greenlets.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Tests that run together; ``paths`` and ``ignored`` are relative to the checkout.

    ``workers``: processes that share the tests; 0 when they run one at a time. ``distribution``: how pytest-xdist
    spreads them. ``budget_s``: wall time.
    """

    name: str
    why: str
    paths: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    workers: int = 0
    distribution: str = "load"
    budget_s: int

    def arguments(self, workers: int | None = None) -> list[str]:
        """The arguments of pytest. ``workers`` replaces the number of workers where there are several."""
        count = self.workers if workers is None or not self.workers else workers
        spread = ["-n", str(count), "--dist", self.distribution] if count else []
        return [*spread, *(f"--ignore={path}" for path in self.ignored), *self.paths]


PARTS: Final = (
    Part(
        name="everything else",
        why="most of these tests wait for processes and timers",
        paths=("tests",),
        ignored=(SIMULATION, *ALONE),
        workers=4,
        distribution="loadscope",
        budget_s=400,
    ),
    Part(
        name="simulation",
        why="a simulated world decides when threads run: threads of other tests must not be in its process",
        paths=(SIMULATION,),
        workers=2,
        distribution="loadgroup",
        budget_s=60,
    ),
    Part(
        name="alone",
        why="figures, and hundreds of calls with a deadline of one second, need the machine for themselves",
        paths=ALONE,
        budget_s=20,
    ),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """The exit status of a part, its wall time, and the CPU time of its processes that have ended."""

    part: Part
    status: int
    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        late = " OVER BUDGET" if self.wall_s > self.part.budget_s else ""
        times = f"{self.wall_s:5.0f} s of {self.part.budget_s:3} s, {self.cpu_s:5.0f} s of CPU"
        return f"{self.part.name:<16} {times}{'' if self.status == 0 else f', exit status {self.status}'}{late}"


def run(parts: Iterable[Part], workers: int | None = None) -> Iterator[Taken]:
    """Run parts one after the other."""
    for part in parts:
        _print(f"== tests: {part.name}")
        began, cpu = time.monotonic(), _cpu_s()
        status = subprocess.run(
            [sys.executable, "-m", "pytest", *part.arguments(workers)], cwd=CHECKOUT, check=False
        ).returncode
        yield Taken(part, status, time.monotonic() - began, _cpu_s() - cpu)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run every part, and return exit status 1 when one fails."""
    parser = argparse.ArgumentParser(prog="suite", description=__doc__)
    parser.add_argument("--workers", type=int, help="the number of workers of parts that have several; 0: none")
    parser.add_argument("--only", default="", help="run only this part")
    arguments = parser.parse_args()
    parts = [part for part in PARTS if arguments.only in {"", part.name}]
    if not parts:
        parser.error(f"there is no part {arguments.only!r}")
    taken = list(run(parts, arguments.workers))
    _print("== tests: time by part, budgets for two idle cores", *map(str, taken))
    _print(
        f"{'all':<16} {sum(each.wall_s for each in taken):5.0f} s of {sum(each.part.budget_s for each in taken):3} s"
    )
    return 0 if all(each.status == 0 for each in taken) else 1


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
