"""What a process publishes over the broker: its relay of events and its announcer of work, each in a thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, cast

from messaging.announcer import WorkAnnouncer
from messaging.cloud_events import CloudEvents
from messaging.port import Publisher, WorkQueue
from messaging.relay import RELAY_OF_EVENTS, Relay
from store.queries import Queries
from tests.simulation.faults import Crashed
from tests.simulation.relay_stores import FaultyRelayStore
from tests.simulation.threads import ThreadedRuntime

PUBLIC_URL: Final = "https://payments.example"
BATCHES: Final = (1, 3, 10, 200)
LEAST_S: Final = 0.001
SLOW: Final = (1.0, 4.0, 4.0, 20.0)
"""How much longer than asked for the thread of a busy process may wait."""


class _Runs(Protocol):
    def run(self, wait: Callable[[float], bool], /) -> None: ...


@dataclass(frozen=True)
class Outgoing:
    """The relay of a process, and its announcer. ``queue`` is None where the store is exclusive."""

    runtime: ThreadedRuntime
    store: FaultyRelayStore
    publisher: Publisher
    queue: WorkQueue | None
    gateways: Collection[str]
    lease_s: float
    batch_max: int

    def start(self) -> None:
        """Start their threads."""
        for each in self._runs():
            self.runtime.begin_loop(lambda each=each: self._run(each))  # type: ignore[misc]

    def _runs(self) -> Sequence[_Runs]:
        runtime = self.runtime
        relay = Relay(
            name=RELAY_OF_EVENTS,
            owner=f"{runtime.process}/{runtime.new_id()}",
            store=self.store,
            make_messages=CloudEvents(cast("Queries", self.store), PUBLIC_URL).messages,
            publisher=self.publisher,
            lease_s=self.lease_s,
            monotonic=runtime.monotonic,
            batch_max=self.batch_max,
        )
        if self.queue is None:
            return [relay]
        announcer = WorkAnnouncer(
            owner=f"{runtime.process}/{runtime.new_id()}",
            store=self.store,
            queue=self.queue,
            gateways=self.gateways,
            lease_s=self.lease_s,
            monotonic=runtime.monotonic,
        )
        return [relay, announcer]

    def _run(self, runs: _Runs) -> None:
        with suppress(Crashed):  # the store has recorded the crash
            runs.run(self._wait)

    def _wait(self, seconds: float) -> bool:
        runtime = self.runtime
        slow = 5.0 if runtime.calm else runtime.choose(SLOW)
        runtime.pause(max(seconds, LEAST_S) * slow)
        return runtime.stopping
