"""The meters of the relay and the announcer of a process, which follow what these count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from prometheus_client.exposition import generate_latest

from actors.stats import ProcessStats
from api.metrics.meters import Meters
from api.metrics.relays import RelayMeters
from api.metrics.sampling import Sampler
from messaging.local import LocalQueue
from messaging.port import Publisher, Refused
from messaging.relay import RelayState
from messaging.stats import AnnouncerStats, RelayStats, announcer_stats, relay_stats
from tests.messaging.memory import MemoryBroker, MemoryPublisher
from tests.scraping import Samples, of, read

E: Final = {"relay": "events"}


class CountingPublisher(MemoryPublisher):
    """A publisher to a broker that reports messages without a queue."""

    unroutable = 7


class CountingQueue(LocalQueue):
    """A queue that counts what it lost."""

    unroutable, lost = 3, 5


class Sampled:
    """Meters of one process with the sampler that reads its relays."""

    def __init__(self) -> None:
        self.meters = Meters()
        self.relays = RelayMeters(self.meters)
        stats = ProcessStats({}, 0, {}, ())
        self._sampler = Sampler(
            self.meters, lambda: stats, lambda: 0, lambda: 0, lambda *_: None, also=self.relays.sample
        )

    def scrape(self) -> Samples:
        """Sample, and read the meters."""
        self._sampler.sample()
        self.meters.tallies.flush()
        return read(generate_latest(self.meters.registry).decode())


@pytest.fixture
def sampled() -> Sampled:
    """A process without a relay so far."""
    return Sampled()


def test_a_relay_is_followed(sampled: Sampled) -> None:
    """Series begin at 0. Counters follow the relay's counts, gauges its present state."""
    states = [
        RelayStats(leading=False, failing=True, published=0, unroutable=0, refusals=0),
        RelayStats(leading=True, failing=False, published=40, unroutable=4, refusals=1),
        RelayStats(leading=True, failing=False, published=41, unroutable=4, refusals=1),
    ]
    names = ("events_total", "unroutable_total", "refusals_total", "leading", "failing")
    sampled.relays.watch_relay("events", lambda: states.pop(0))
    seen = []
    while states:
        samples = sampled.scrape()
        seen.append([of(samples, f"payments_relay_{name}", **E) for name in names])
    assert seen == [[0, 0, 0, 0, 1], [40, 4, 1, 1, 0], [41, 4, 1, 1, 0]]


def test_a_relay_that_starts_again(sampled: Sampled) -> None:
    """Its counts begin anew, and the counters go on."""
    now = [RelayStats(leading=True, failing=False, published=40, unroutable=0, refusals=0)]
    sampled.relays.watch_relay("events", lambda: now[0])
    sampled.scrape()
    now[0] = now[0]._replace(published=3)
    assert of(sampled.scrape(), "payments_relay_events_total", **E) == 43
    sampled.relays.watch_relay("events", lambda: now[0])
    assert of(sampled.scrape(), "payments_relay_events_total", **E) == 46


def test_durations_of_batches(sampled: Sampled) -> None:
    """Each batch that was published counts with its duration."""
    now = RelayStats(leading=True, failing=False, published=0, unroutable=0, refusals=0)
    observe = sampled.relays.watch_relay("events", lambda: now)
    observe(0.02)
    observe(0.3)
    samples = sampled.scrape()
    assert of(samples, "payments_relay_publish_seconds_count", **E) == 2
    assert of(samples, "payments_relay_publish_seconds_sum", **E) == pytest.approx(0.32)
    assert of(samples, "payments_relay_publish_seconds_bucket", le="0.025", **E) == 1


def test_an_announcer_is_followed(sampled: Sampled) -> None:
    """Hints count by what became of them. The announcer leads under a name of its own."""
    now = [AnnouncerStats(leading=True, failing=False, announced=9, unroutable=2, lost=1)]
    sampled.relays.watch_announcer("work", lambda: now[0])
    samples = sampled.scrape()
    results = ("announced", "unroutable", "lost")
    assert [of(samples, "payments_work_hints_total", result=one) for one in results] == [9, 2, 1]
    assert of(samples, "payments_relay_leading", relay="work") == 1
    assert of(samples, "payments_relay_leading", **E) is None


@pytest.mark.parametrize(("publisher", "unroutable"), [(CountingPublisher, 7), (MemoryPublisher, 0)])
def test_the_statistics_of_a_relay(publisher: Callable[[MemoryBroker], Publisher], unroutable: int) -> None:
    """They are those of its state. A publisher that does not count unroutable messages has none."""
    state = RelayState(leading=True, published=5, refused=Refused(3, "full"), refusals=2, problem="away")
    expected = RelayStats(leading=True, failing=True, published=5, unroutable=unroutable, refusals=2)
    assert relay_stats(state, publisher(MemoryBroker())) == expected
    assert not relay_stats(state._replace(problem=None), publisher(MemoryBroker())).failing


class State:
    """The state of an announcer."""

    leading, announced, problem = True, 8, None


@pytest.mark.parametrize(("queue", "unroutable", "lost"), [(CountingQueue(), 3, 5), (LocalQueue(), 0, 0)])
def test_the_statistics_of_an_announcer(queue: LocalQueue, unroutable: int, lost: int) -> None:
    """They are those of its state, and what its queue counts."""
    expected = AnnouncerStats(leading=True, failing=False, announced=8, unroutable=unroutable, lost=lost)
    assert announcer_stats(State(), queue) == expected
