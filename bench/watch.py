"""CPU use of processes during a measurement: permanent and short-lived ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from bench import machine

DATABASE: Final = "database"
"""The name of the group of short-lived processes."""

_POLL_S: Final = 0.25


class Watch:
    """The CPU time of named groups of processes, and of everything else, from the block's beginning to its end.

    ``passing`` returns the present short-lived processes. A thread reads their CPU time repeatedly; time after the last
    reading of a process is not counted.
    """

    def __init__(
        self, processes: Mapping[str, Sequence[int]], short_lived: Callable[[], Iterable[int]] | None = None
    ) -> None:
        self._processes, self._passing = processes, short_lived
        self._stopping = threading.Event()
        self._polling = threading.Thread(target=self._poll)
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}

    def __enter__(self) -> Self:
        """Begin."""
        self._first = self._read()
        self._began = time.perf_counter()
        self._busy_before = machine.busy_s()
        self._before = self._used()
        if self._passing is not None:
            self._polling.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End: nothing is counted after this."""
        self._stopping.set()
        if self._polling.is_alive():
            self._polling.join()
        self._read()
        busy_s = machine.busy_s() - self._busy_before
        self.passed_s = time.perf_counter() - self._began
        self.used_s = {name: used_s - self._before[name] for name, used_s in self._used().items()}
        """Seconds of CPU time of each group."""
        if self._last:
            # A process that started later has used all of its time since the beginning.
            self.used_s[DATABASE] = sum(used_s - self._first.get(pid, 0.0) for pid, used_s in self._last.items())
        self.others_s = max(0.0, busy_s - sum(self.used_s.values()))

    def shares(self) -> tuple[dict[str, float], float]:
        """The cores that each group used, and those that everything else used."""
        return {name: seconds / self.passed_s for name, seconds in self.used_s.items()}, self.others_s / self.passed_s

    def _used(self) -> dict[str, float]:
        return {name: sum(map(machine.cpu_s, pids)) for name, pids in self._processes.items()}

    def _read(self) -> dict[int, float]:
        for pid in () if self._passing is None else self._passing():
            try:
                self._last[pid] = machine.cpu_s(pid)
            except OSError:  # ended meanwhile
                continue
        return dict(self._last)

    def _poll(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self._read()
