"""Slow start: after a recovery, calls come back in growing numbers. Independent of the breaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLOW_START_FIRST: Final = 2
"""Outstanding permits right after a successful probe."""
SLOW_START_MAX: Final = 64
"""Outstanding permits beyond which the limit is lifted."""


@dataclass(slots=True)
class SlowStart:
    """The limit of concurrent calls after a recovery: doubles with each round trip, halves with each failure.

    Only answers lift the limit. Time does not: a provider that takes calls without answering has not recovered.
    """

    trouble_at: float
    limit: int = SLOW_START_FIRST

    def failed(self, now: float) -> None:
        """Count a failed call."""
        self.limit = max(self.limit // 2, 1)
        self.trouble_at = now

    def succeeded(self, now: float, quiet_s: float) -> bool:
        """Count a successful call and raise the limit; True when the limit is no longer needed."""
        self.limit += 1
        return self.limit > SLOW_START_MAX or now - self.trouble_at >= quiet_s
