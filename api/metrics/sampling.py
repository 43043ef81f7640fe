"""Sample the current state of a process once a second: waiting work and calls in progress are not counters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from actors.stats import ProcessStats
from api.metrics.meters import Meters

EVERY_S: Final = 1.0
OPEN: Final = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Sampler:
    """Copies ``stats`` and counters into the meters at a fixed interval.

    ``connections`` returns the number of open connections, ``lost_lines`` the number of log lines that this process
    lost so far. ``after`` is a timer: seconds, and the function to call then. ``also`` is called at each sample.
    """

    def __init__(
        self,
        meters: Meters,
        stats: Callable[[], ProcessStats],
        connections: Callable[[], int],
        lost_lines: Callable[[], int],
        after: Callable[[float, Callable[[], None]], object],
        *,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._meters, self._figures, self._connections, self._after = meters, stats, connections, after
        self._also = also
        self._lost_lines, self._lost = lost_lines, 0
        self._refused: dict[str, int] = defaultdict(int)
        """The number already counted, by kind."""

    def sample(self) -> None:
        """Sample now, and again in a second."""
        self._after(EVERY_S, self.sample)
        meters, stats = self._meters, self._figures()
        meters.tallies.flush()
        self._also()
        meters.processes.set(1)
        for actor, count in stats.mailboxes.items():
            meters.mailboxes.labels(actor).set(count)
        meters.customers.set(stats.customers)
        meters.connections.set(self._connections())
        lost = self._lost_lines()
        meters.lost_log_lines.inc(lost - self._lost)
        self._lost = lost
        for kind, callers in stats.admissions.items():
            meters.waiting_requests.labels(kind, "inside").set(callers.inside)
            meters.waiting_requests.labels(kind, "outside").set(callers.outside)
            meters.waiting_requests_max.labels(kind).set(callers.inside_max)
            meters.refused_requests.labels(kind).inc(callers.refused - self._refused[kind])
            self._refused[kind] = callers.refused
        for gateway in stats.gateways:
            name = gateway.name
            meters.breaker_open.labels(name).set(OPEN[gateway.breaker])
            meters.in_flight.labels(name).set(gateway.in_flight)
            meters.waiting.labels(name).set(gateway.waiting)
            meters.slots.labels(name).set(gateway.slots)
