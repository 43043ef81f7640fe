"""Whether new work is sent from this process: what the supervisor tells the customers without a message."""

from __future__ import annotations

from collections.abc import Collection


class Intake:
    """A hint, not a lock: whether this process leases a gateway's new work itself or leaves it queued."""

    def __init__(self, gateways: Collection[str], *, processing: bool) -> None:
        self.processing = processing
        self.draining = False
        self.open = dict.fromkeys(gateways, processing)

    def drain(self) -> None:
        """From now on everything new stays queued."""
        self.draining = True
        self.open = dict.fromkeys(self.open, False)
