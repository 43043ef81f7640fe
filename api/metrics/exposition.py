"""Everything that is scraped, as text: the meters of all processes added up, and what the store says."""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from api.metrics.meters import Meters
from api.metrics.store import StoreCollector

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


def exposition(meters: Meters, store: StoreCollector) -> bytes:
    """The text, in version 0.0.4 of Prometheus's format."""
    meters.tallies.flush()
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # registers itself
    else:
        registry.register(meters.registry)
    registry.register(store)
    return generate_latest(registry)
