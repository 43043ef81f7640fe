"""Figures of the store. Only the scraped worker reads them, so that no sum over workers doubles them."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.operations.waiting_callbacks import gateway_of
from domain.account import Status
from store.errors import StoreError
from store.port import WorkState
from store.queries import Queries, StoreStats

log = logging.getLogger(__name__)

FRESH_S: Final = 5.0
"""The time for which the result of a read is reused."""
COST_SHARE: Final = 0.02
"""The largest share of the time for reading. With 100,000 pieces of unfinished work a read takes 50 ms."""
WAIT_S: Final = 2.0
"""The longest wait for the store, so that the other metrics arrive within the timeout of the scrape."""
DEAD: Final = {WorkState.DEAD: "waiting", WorkState.PARKED: "parked"}
"""The states of dead letters with their names in the API."""


class StoreCollector(Collector):
    """The figures of the store, and whether it answers. Series of ``gateways`` exist also with the value 0.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self, queries: Queries, gateways: Callable[[], Collection[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queries, self._gateways, self._clock = queries, gateways, clock
        self._lock = threading.Lock()
        self._reading: threading.Event | None = None
        self._figures: StoreStats | None = None
        self._fresh_until = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """The metric families. Never raises."""
        stats = self._read()
        yield GaugeMetricFamily(
            "payments_store_up", "1 when the store answers, 0 when it does not.", 0 if stats is None else 1
        )
        if stats is not None:
            yield from _families(stats, self._gateways())

    def _read(self) -> StoreStats | None:
        """The current or a recent result; None when the store does not answer within WAIT_S."""
        with self._lock:
            if self._clock() < self._fresh_until:
                return self._figures
            reading = self._reading
            if reading is None:  # one read at a time, also when the one before still waits for a silent server
                reading = self._reading = threading.Event()
                threading.Thread(target=self._ask, args=[reading], name="store-figures", daemon=True).start()
        return self._figures if reading.wait(WAIT_S) else None

    def _ask(self, reading: threading.Event) -> None:
        began = self._clock()
        stats: StoreStats | None = None
        try:
            stats = self._queries.stats()
        except StoreError as error:
            log.warning("the store's figures cannot be read: %s", error)
        except Exception:
            log.exception("the store's figures cannot be read")
        finally:
            now = self._clock()
            with self._lock:
                self._figures, self._reading = stats, None
                self._fresh_until = now + max(FRESH_S, (now - began) / COST_SHARE if stats is not None else 0.0)
            reading.set()


_STATES: Final = (*WorkState, Status.AUTHORIZED)
"""The states of unfinished work. Authorizations that wait for their capture or end are counted apart."""


def _families(stats: StoreStats, gateways: Collection[str]) -> Iterable[Metric]:
    unfinished = GaugeMetricFamily(
        "payments_unfinished",
        "Unfinished pieces of work: transactions, and callbacks that are not matched.",
        labels=["gateway", "state"],
    )
    oldest = GaugeMetricFamily(
        "payments_oldest_unfinished_seconds", "Age of the oldest unfinished piece of work.", labels=["gateway", "state"]
    )
    letters = GaugeMetricFamily(
        "payments_dead_letters",
        "Dead letters that wait for their timer or for an operator.",
        labels=["gateway", "state"],
    )
    unknown = GaugeMetricFamily(
        "payments_unknown_transactions", "Transactions with an unknown outcome.", labels=["gateway"]
    )
    reviews = GaugeMetricFamily("payments_open_reviews", "Reviews that wait for an operator.", stats.open_reviews)
    pieces: dict[tuple[str, str], int] = defaultdict(int)
    ages: dict[tuple[str, str], float] = defaultdict(float)
    for (queue, state), work in stats.unfinished.items():
        key = (gateway_of(queue), state)
        pieces[key] += work.pieces
        ages[key] = max(ages[key], work.oldest_s)
    for gateway in sorted({*gateways, *stats.unknown, *(gateway for gateway, _ in pieces)}):
        for state in _STATES:
            unfinished.add_metric([gateway, state], pieces[gateway, state])
            oldest.add_metric([gateway, state], ages[gateway, state])
        for dead, said in DEAD.items():
            letters.add_metric([gateway, said], pieces[gateway, dead])
        unknown.add_metric([gateway], stats.unknown.get(gateway, 0))
    return (unfinished, oldest, letters, unknown, reviews)
