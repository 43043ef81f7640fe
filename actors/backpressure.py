"""Backpressure: whether this process sends new work. The supervisor and customers share it without messages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

CLAIM_MAX: Final = 200
"""Pieces of work leased in one transaction."""


class Backpressure:
    """A hint, not a lock: whether this process leases a gateway's new work itself or leaves it queued."""

    def __init__(self, gateways: Collection[str], *, processing: bool) -> None:
        self.processing = processing
        self.draining = False
        self.open = dict.fromkeys(gateways, processing)
        self.claimable = dict.fromkeys(gateways, CLAIM_MAX)
        """How much due work the supervisor can take. Work behind an open breaker stays listed in the store."""

    def drain(self) -> None:
        """Leave all new work queued from now on."""
        self.draining = True
        self.open = dict.fromkeys(self.open, False)
