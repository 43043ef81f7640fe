"""The broker's side of a process: the relay of events, the announcer of work, and the hints that its actors get.

Each part exists where there is a broker and the role of the process needs it. An unreachable broker delays no start:
every part connects on a thread of its own, and connects again after a failure.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Protocol

from messaging.announcer import ANNOUNCER_OF_WORK, WorkAnnouncer, WorkSource
from messaging.brokers import broker_of
from messaging.port import HintHandler
from messaging.relay import RELAY_OF_EVENTS, MakeMessages, Relay, RelaySource
from messaging.relay_thread import RelayThread
from messaging.stats import AnnouncerStats, RelayStats, announcer_stats, relay_stats

logger: Final = logging.getLogger(__name__)


class Source(RelaySource, WorkSource, Protocol):
    """What relay and announcer need of the store."""


class LeaderMeters(Protocol):
    """What reads the statistics of relay and announcer."""

    def watch_relay(self, name: str, stats: Callable[[], RelayStats], /) -> Callable[[float], None]:
        """Read ``stats`` from now on. Returns the function that takes the seconds of each published batch."""

    def watch_announcer(self, name: str, stats: Callable[[], AnnouncerStats], /) -> None:
        """Read ``stats`` from now on."""


class Duties(NamedTuple):
    """What a process does at a broker."""

    relays: bool
    """It publishes events while it leads."""
    announces: bool
    """It announces due work while it leads."""
    processes: bool
    """It takes hints of work that others queued."""


class MessagingProcess:
    """The parts of one process at the broker of ``url``. Opens nothing before its parts start.

    Raises ValueError for a URL that no adapter accepts; its text shows nothing of the URL.
    """

    def __init__(self, url: str, duties: Duties, *, structured: bool) -> None:
        broker = broker_of(url)
        publisher, announcements, hints = (
            broker.publisher(url, structured=structured),
            broker.work_queue(url),
            broker.work_queue(url),
        )
        self._publisher = publisher if duties.relays else None
        self._announcements = announcements if duties.announces else None
        self._hints = hints if duties.processes else None
        self._threads: list[RelayThread] = []

    def start(
        self,
        store: Source,
        *,
        owner: str,
        make_messages: MakeMessages,
        gateways: Collection[str],
        handler: HintHandler,
        lease_s: float,
        monotonic: Callable[[], float],
        meters: LeaderMeters,
    ) -> None:
        """Start all parts. Hints of ``gateways`` go to ``handler``. ``owner`` differs between processes."""
        if (publisher := self._publisher) is not None:
            relay = Relay(
                name=RELAY_OF_EVENTS,
                owner=owner,
                store=store,
                make_messages=make_messages,
                publisher=publisher,
                lease_s=lease_s,
                monotonic=monotonic,
                on_published=meters.watch_relay(RELAY_OF_EVENTS, lambda: relay_stats(relay.state, publisher)),
            )
            self._run(RelayThread(relay))
        if (queue := self._announcements) is not None:
            announcer = WorkAnnouncer(
                owner=owner,
                store=store,
                queue=queue,
                gateways=gateways,
                lease_s=lease_s,
                monotonic=monotonic,
            )
            meters.watch_announcer(ANNOUNCER_OF_WORK, lambda: announcer_stats(announcer.state, queue))
            self._run(RelayThread(announcer, "announcer of work"))
        if self._hints is not None:
            self._hints.subscribe(gateways, handler)

    def _run(self, thread: RelayThread) -> None:
        self._threads.append(thread)
        thread.start()

    def drain(self) -> None:
        """Take no more hints, so that other processes get them. Does not wait for the broker."""
        if self._hints is not None:
            threading.Thread(target=self._hints.close, name="hints", daemon=True).start()

    def stop(self) -> None:
        """End all parts. Relay and announcer give their leases back."""
        for thread in self._threads:
            thread.end()
        if self._hints is not None:
            self._hints.close()
        while self._threads:
            self._threads.pop().stop()
