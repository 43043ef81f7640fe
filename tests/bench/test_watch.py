"""Measurement of the CPU time of permanent and of short-lived processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.watch import DATABASE, Watch

_WORK_WHEN_TOLD = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    until = time.process_time() + float(line)
    while time.process_time() < until:
        pass
    print("done", flush=True)
"""


class _Worker:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def work(self, seconds: float) -> None:
        """Use this much CPU time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(seconds, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"


@contextmanager
def _worker() -> Iterator[_Worker]:
    command = [sys.executable, "-c", _WORK_WHEN_TOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield _Worker(process)


def test_permanent_processes() -> None:
    """A group's CPU time within the block counts, summed over its processes; earlier CPU time does not."""
    with _worker() as one, _worker() as other:
        one.work(0.5)
        with Watch({"both": [one.pid, other.pid], "other": [other.pid]}) as watch:
            one.work(0.2)
            other.work(0.1)
    assert 0.25 <= watch.used_s["both"] <= 0.45
    assert 0.05 <= watch.used_s["other"] <= 0.25
    assert DATABASE not in watch.used_s
    shares, _ = watch.shares()
    assert shares["both"] == watch.used_s["both"] / watch.passed_s


def test_short_lived_processes() -> None:
    """Earlier processes count from the start of the block, new ones in full; ended processes stay counted."""
    present: list[int] = []
    with _worker() as old:
        old.work(0.5)
        present.append(old.pid)
        with Watch({}, lambda: list(present)) as watch:
            with _worker() as passing:
                present.append(passing.pid)
                passing.work(0.8)
                present.remove(passing.pid)
            old.work(0.1)
    # The last quarter of a second of an ended process is unknown.
    assert 0.4 <= watch.used_s[DATABASE] <= 1.1
