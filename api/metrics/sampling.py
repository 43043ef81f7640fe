"""Looks at what a process is in the middle of, once a second: what waits or is out cannot be counted as it passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.figures import ProcessFigures
from api.metrics.meters import Meters

EVERY_S: Final = 1.0
OPEN: Final = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Sampler:
    """Writes ``figures``, and what was counted meanwhile, into the meters, again and again.

    ``after`` is a timer: seconds, and what to call then.
    """

    def __init__(
        self,
        meters: Meters,
        figures: Callable[[], ProcessFigures],
        after: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._meters, self._figures, self._after = meters, figures, after

    def sample(self) -> None:
        """Look now, and again in a second."""
        self._after(EVERY_S, self.sample)
        meters, figures = self._meters, self._figures()
        meters.tallies.flush()
        meters.processes.set(1)
        for actor, count in figures.mailboxes.items():
            meters.mailboxes.labels(actor).set(count)
        meters.customers.set(figures.customers)
        meters.waiting_requests.set(figures.requests)
        for gateway in figures.gateways:
            name = gateway.name
            meters.breaker_open.labels(name).set(OPEN[gateway.breaker])
            meters.in_flight.labels(name).set(gateway.in_flight)
            meters.waiting.labels(name).set(gateway.waiting)
            meters.slots.labels(name).set(gateway.slots)
