"""The meters of the relay and the announcer of a process. Both are sampled: what they count is read once a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client import Counter

from api.metrics.meters import Meters

RESULTS: Final = ("announced", "unroutable", "lost")
"""What becomes of hints. An unroutable or lost one was announced as well."""


class LeaderStats(Protocol):
    """The statistics of a part that leads under a lease, or stands by."""

    @property
    def leading(self) -> bool: ...  # noqa: D102
    @property
    def failing(self) -> bool: ...  # noqa: D102
    @property
    def unroutable(self) -> int: ...  # noqa: D102


class RelayStats(LeaderStats, Protocol):
    """See ``messaging.stats``, which this package does not import."""

    @property
    def published(self) -> int: ...  # noqa: D102
    @property
    def refusals(self) -> int: ...  # noqa: D102


class AnnouncerStats(LeaderStats, Protocol):
    """See ``messaging.stats``, which this package does not import."""

    @property
    def announced(self) -> int: ...  # noqa: D102
    @property
    def lost(self) -> int: ...  # noqa: D102


class Followed:
    """A counter that follows a total. The total begins at 0 again when its source is replaced."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._total = counter, 0

    def at(self, total: int) -> None:
        """Count what was added since the last call."""
        self._counter.inc(total - self._total if total >= self._total else total)
        self._total = total


class RelayMeters:
    """Copies statistics into meters. A process without a relay has no series of it.

    ``name`` is the label ``relay``: ``events`` for the relay of events, ``work`` for the announcer of work.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._samples: dict[str, Callable[[], None]] = {}

    def watch_relay(self, name: str, stats: Callable[[], RelayStats]) -> Callable[[float], None]:
        """Sample the relay from now on, in place of an earlier one of that name.

        Returns the function that takes the duration in seconds of each batch that was published.
        """
        meters = self._meters
        published = Followed(meters.relay_events.labels(name))
        unroutable = Followed(meters.relay_unroutable.labels(name))
        refusals = Followed(meters.relay_refusals.labels(name))

        def sample() -> None:
            now = stats()
            self._lead(name, now)
            published.at(now.published)
            unroutable.at(now.unroutable)
            refusals.at(now.refusals)

        self._samples[name] = sample
        return meters.tallies.observations(meters.relay_publish_seconds.labels(name)).observe

    def watch_announcer(self, name: str, stats: Callable[[], AnnouncerStats]) -> None:
        """Sample the announcer from now on, in place of an earlier one of that name."""
        counters = [Followed(self._meters.hints.labels(result)) for result in RESULTS]

        def sample() -> None:
            now = stats()
            self._lead(name, now)
            for counter, total in zip(counters, (now.announced, now.unroutable, now.lost), strict=True):
                counter.at(total)

        self._samples[name] = sample

    def sample(self) -> None:
        """Sample all of them now."""
        for sample in [*self._samples.values()]:
            sample()

    def _lead(self, name: str, now: LeaderStats) -> None:
        self._meters.relay_leading.labels(name).set(now.leading)
        self._meters.relay_failing.labels(name).set(now.failing)
