"""A circuit breaker with its clocks in the test's hands."""

from __future__ import annotations

from datetime import datetime

from actors.breaker import GatewayBreaker, Permit
from actors.runtime.simulated import EPOCH

VOLUME = 4
WINDOW_S = 10.0
SLEEP_S = 20.0
PERMIT_S = 5.0


class Scene:
    """A breaker, its clocks, and the states that it told of."""

    def __init__(self, error_percent: float = 50.0) -> None:
        self.time = 0.0
        self.wall: datetime = EPOCH
        self.told: list[str] = []
        self.breaker = GatewayBreaker(
            error_percent=error_percent,
            request_volume=VOLUME,
            window_s=WINDOW_S,
            sleep_s=SLEEP_S,
            permit_s=PERMIT_S,
            monotonic=lambda: self.time,
            now=lambda: self.wall,
            changed=self.told.append,
        )

    def admitted(self) -> Permit:
        """A permit that there must be."""
        permit = self.breaker.admit()
        assert permit is not None
        return permit

    def calls(self, results: str) -> None:
        """One call after the other, each let through: ``+`` is a healthy one, ``-`` a failure."""
        for result in results:
            self.breaker.report(self.admitted(), healthy=result == "+")

    def all_that_go(self, at_most: int = 200) -> list[Permit]:
        """Permits until none is to be had."""
        permits: list[Permit] = []
        while len(permits) < at_most and (permit := self.breaker.admit()) is not None:
            permits.append(permit)
        return permits

    def room(self) -> int:
        """How many calls would go out now; none does."""
        permits = self.all_that_go()
        for permit in permits:
            self.breaker.withdraw(permit)
        return len(permits)

    def trip(self) -> None:
        """As many failures as it takes."""
        self.calls("-" * VOLUME)
        assert self.breaker.state == "open"

    def half_open(self) -> Permit:
        """The one probe after a trip."""
        self.trip()
        self.time += SLEEP_S
        return self.admitted()

    def recover(self) -> None:
        """Closed again after a trip: the ramp begins."""
        self.breaker.report(self.half_open(), healthy=True)

    def figures(self) -> tuple[int, int]:
        """Requests and error percentage, as operators see them."""
        status = self.breaker.status()
        return status.requests, status.error_percent
