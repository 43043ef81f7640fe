"""The text for a scrape: the meters of all processes added up, and figures of the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.metrics.ended import scrape_lock
from api.metrics.meters import Meters
from api.metrics.store import StoreCollector

logger: Final = logging.getLogger(__name__)

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class ProcessesCollector(Collector):
    """The meters of all processes added up, or of this process only when that fails. A gauge shows which."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def collect(self) -> Iterable[Metric]:
        """The metric families. Never raises."""
        shared = self._all()
        yield GaugeMetricFamily(
            "payments_metrics_shared",
            "1 when all workers are added up, 0 when the metrics are of one worker only.",
            0 if shared is None else 1,
        )
        yield from self._meters.registry.collect() if shared is None else shared

    def _all(self) -> list[Metric] | None:
        shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if shared is None:
            return None
        folder = Path(shared)
        if not (folder / f"counter_{os.getpid()}.db").exists():  # the folder was replaced and lacks this process
            return None
        try:
            with scrape_lock(folder):
                found: Iterable[Metric] = MultiProcessCollector(None, str(folder)).collect()  # type: ignore[no-untyped-call]
                return [*found]
        except Exception:
            logger.exception("the metrics of all workers cannot be read")
            return None


def exposition(meters: Meters, store: StoreCollector) -> bytes:
    """The text, in version 0.0.4 of Prometheus's format."""
    meters.tallies.flush()
    registry = CollectorRegistry()
    registry.register(ProcessesCollector(meters))
    registry.register(store)
    return generate_latest(registry)
