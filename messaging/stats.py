"""Statistics of the relay and of the announcer in this process, sampled for metrics: plain values."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from messaging.port import Publisher, WorkQueue
from messaging.relay import RelayState


class RelayStats(NamedTuple):
    """The relay of events. Counts are since its start."""

    leading: bool
    failing: bool
    """Whether its newest step failed."""
    published: int
    """Events that the broker confirmed, repetitions included."""
    unroutable: int
    """Those of them for which the broker had no queue; 0 where a broker does not report that."""
    refusals: int
    """Attempts to publish an event that were refused."""


class AnnouncerStats(NamedTuple):
    """The announcer of work. Counts are since its start."""

    leading: bool
    failing: bool
    announced: int
    """Hints that were given to the queue, repetitions included."""
    unroutable: int
    """Hints that the broker returned, since no queue took them; 0 where a broker does not report that."""
    lost: int
    """Hints that were dropped, refused or not confirmed."""


class AnnouncerState(Protocol):
    """The state that an announcer shows."""

    @property
    def leading(self) -> bool: ...  # noqa: D102
    @property
    def announced(self) -> int: ...  # noqa: D102
    @property
    def problem(self) -> str | None: ...  # noqa: D102


@runtime_checkable
class CountsUnroutable(Protocol):
    """A publisher or queue that counts messages which no queue of the broker took."""

    @property
    def unroutable(self) -> int: ...  # noqa: D102


@runtime_checkable
class CountsLost(Protocol):
    """A queue that counts the hints which it lost."""

    @property
    def lost(self) -> int: ...  # noqa: D102


def relay_stats(state: RelayState, publisher: Publisher) -> RelayStats:
    """The statistics of a relay in ``state`` that uses ``publisher``."""
    failing = state.problem is not None
    return RelayStats(state.leading, failing, state.published, _unroutable(publisher), state.refusals)


def announcer_stats(state: AnnouncerState, queue: WorkQueue) -> AnnouncerStats:
    """The statistics of an announcer in ``state`` that uses ``queue``."""
    lost = queue.lost if isinstance(queue, CountsLost) else 0
    return AnnouncerStats(state.leading, state.problem is not None, state.announced, _unroutable(queue), lost)


def _unroutable(adapter: object) -> int:
    return adapter.unroutable if isinstance(adapter, CountsUnroutable) else 0
