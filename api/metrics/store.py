"""Figures of the store. Only the scraped worker reads them, so that no sum over workers doubles them."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.operations.waiting_callbacks import gateway_of
from domain.account import Status
from store.errors import StoreError
from store.port import WorkState
from store.queries import Queries, StoreStats
from store.relay_health import RelayHealth

log = logging.getLogger(__name__)

FRESH_S: Final = 5.0
"""The time for which the result of a read is reused."""
COST_SHARE: Final = 0.02
"""The largest share of the time for reading. With 100,000 pieces of unfinished work a read takes 60 ms."""
WAIT_S: Final = 2.0
"""The longest wait for the store, so that the other metrics arrive within the timeout of the scrape."""
DEAD: Final = {WorkState.DEAD: "waiting", WorkState.PARKED: "parked"}
"""The states of dead letters with their names in the API."""


class _Figures(NamedTuple):
    """The result of one read."""

    stats: StoreStats
    relays: Mapping[str, RelayHealth]


class StoreCollector(Collector):
    """The figures of the store, and whether it answers. Series of ``gateways`` exist also with the value 0.

    ``clock`` is monotonic, in seconds. ``relays`` are those that should publish, because there is a broker.
    """

    def __init__(
        self,
        queries: Queries,
        gateways: Callable[[], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
        relays: Collection[str] = (),
    ) -> None:
        self._queries, self._gateways, self._clock, self._relays = queries, gateways, clock, relays
        self._lock = threading.Lock()
        self._reading: threading.Event | None = None
        self._figures: _Figures | None = None
        self._fresh_until = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """The metric families. Never raises."""
        figures = self._read()
        yield GaugeMetricFamily(
            "payments_store_up", "1 when the store answers, 0 when it does not.", 0 if figures is None else 1
        )
        if figures is not None:
            gateways = self._gateways()
            yield from _families(figures.stats, gateways)
            yield from _due(figures.stats, gateways)
            if figures.relays:
                yield from _relays(figures.relays)

    def _read(self) -> _Figures | None:
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
        figures: _Figures | None = None
        try:
            health = {name: self._queries.relay_health(name) for name in self._relays}
            figures = _Figures(self._queries.stats(), health)
        except StoreError as error:
            log.warning("the store's figures cannot be read: %s", error)
        except Exception:
            log.exception("the store's figures cannot be read")
        finally:
            now = self._clock()
            with self._lock:
                self._figures, self._reading = figures, None
                self._fresh_until = now + max(FRESH_S, (now - began) / COST_SHARE if figures is not None else 0.0)
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


def _due(stats: StoreStats, gateways: Collection[str]) -> Iterable[Metric]:
    """Of configured gateways alone: no process takes work of others."""
    due = GaugeMetricFamily(
        "payments_due_work", "Queued work and dead letters that a processor may take now.", labels=["gateway"]
    )
    overdue = GaugeMetricFamily(
        "payments_oldest_due_work_seconds", "Seconds since the oldest of these became due.", labels=["gateway"]
    )
    for name in sorted(gateways):
        found = [work for (queue, _), work in stats.unfinished.items() if gateway_of(queue) == name]
        due.add_metric([name], sum(work.due for work in found))
        overdue.add_metric([name], max((work.overdue_s for work in found), default=0.0))
    return (due, overdue)


def _relays(relays: Mapping[str, RelayHealth]) -> Iterable[Metric]:
    lag_events = GaugeMetricFamily(
        "payments_relay_lag_events",
        "Events that are not published, or more: positions from the first of them to the newest, unused ones included.",
        labels=["relay"],
    )
    lag_s = GaugeMetricFamily(
        "payments_relay_lag_seconds",
        "Age of the oldest event that is not published; 0 when there is none.",
        labels=["relay"],
    )
    led = GaugeMetricFamily("payments_relay_led", "1 when a process has the lease, 0 when none has.", labels=["relay"])
    refused = GaugeMetricFamily(
        "payments_relay_refused", "1 while the relay stays before an event that cannot be published.", labels=["relay"]
    )
    for name, health in relays.items():
        lag_events.add_metric([name], health.lag_events)
        if health.lag_s is not None:
            lag_s.add_metric([name], health.lag_s)
        led.add_metric([name], health.led)
        refused.add_metric([name], health.refused)
    return (lag_events, lag_s, led, refused)
