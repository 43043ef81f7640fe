"""How calls come back after a recovery: in growing numbers. Knows no breaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLOW_START_FIRST: Final = 2
"""Permits out at once right after a probe succeeded."""
SLOW_START_MAX: Final = 64
"""Permits out at once beyond which nothing is held back any more."""


@dataclass(slots=True)
class SlowStart:
    """How many calls may be out at once after a recovery: doubling with each round trip, halved by a failure.

    Answers alone lift the limit, not time: of a provider that took calls and says nothing, time says nothing either.
    """

    trouble_at: float
    limit: int = SLOW_START_FIRST

    def failed(self, now: float) -> None:
        """A call failed."""
        self.limit = max(self.limit // 2, 1)
        self.trouble_at = now

    def succeeded(self, now: float, quiet_s: float) -> bool:
        """Raise the limit; whether it is needed no longer."""
        self.limit += 1
        return self.limit > SLOW_START_MAX or now - self.trouble_at >= quiet_s
