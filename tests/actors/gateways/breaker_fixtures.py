"""A circuit breaker whose clocks the test sets, and a breaker-sync actor on a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from actors.gateways.breaker import GatewayBreaker, Permit
from actors.gateways.breaker_sync import BreakerSyncActor, ProbeTimes
from actors.messages import SetBreakerMode
from actors.replies import GatewayStatus
from actors.runtime.actor import Future
from actors.runtime.router import ActorAddress
from actors.runtime.simulated import EPOCH, SimulatedRuntime
from store.port import GatewayMode
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, OWNER, Inbox, TroubledStore
from tests.store.breaker_model import SharedBreaker

VOLUME = 4
WINDOW_S = 10.0
SLEEP_S = 20.0
PERMIT_S = 5.0

ME = "me"


class Scenario:
    """A breaker, its clocks, its reported states, and the record that it shares with other processes.

    ``sharing``: whether the store answers.
    """

    def __init__(self, error_percent: float = 50.0) -> None:
        self.time = 0.0
        self.sharing = True
        self.record = SharedBreaker("gatewayA")
        self.wall: datetime = EPOCH
        self.reported: list[str] = []
        self.breaker = GatewayBreaker(
            owner=ME,
            error_percent=error_percent,
            request_volume=VOLUME,
            window_s=WINDOW_S,
            sleep_s=SLEEP_S,
            permit_s=PERMIT_S,
            monotonic=lambda: self.time,
            now=lambda: self.wall,
            changed=self.reported.append,
        )

    def share(self) -> None:
        """Record the breaker's pending transition, and follow the record."""
        self.record.time = self.time
        turn = self.breaker.pending_transition()
        if turn is not None and self.sharing:
            self.breaker.follow(self.record.turn(*turn), self.time)

    def request_probe(self) -> None:
        """Request the probe if the breaker is due for one."""
        self.share()
        epoch = self.breaker.probe_wanted()
        if epoch is not None and self.sharing:
            self.breaker.follow(self.record.take(epoch, ME, sleep_s=SLEEP_S, permit_s=PERMIT_S), self.time)

    def order(self, mode: str) -> None:
        """Set an operator's mode, with its record."""
        self.record.time = self.time
        if mode not in {"auto", self.record.state}:
            self.record.turn(self.record.epoch, mode)
        self.breaker.follow(self.record.record(), self.time)
        self.breaker.force(mode)

    def others(self, *, closed: bool | None = None, prober: str = "you") -> None:
        """Another process changes the record to open or ``closed``, or takes the probe (None)."""
        self.record.time = self.time
        if closed is None:
            self.record.take(self.record.epoch, prober, sleep_s=SLEEP_S, permit_s=PERMIT_S)
        else:
            self.record.turn(self.record.epoch, "closed" if closed else "open")
        self.breaker.follow(self.record.record(), self.time)

    def admitted(self) -> Permit:
        """Admit a call, which must succeed, and return its permit, possibly for the probe."""
        self.request_probe()
        permit = self.breaker.admit()
        assert permit is not None
        return permit

    def calls(self, results: str) -> None:
        """Make calls one by one: ``+`` is healthy, ``-`` fails."""
        for result in results:
            self.breaker.report(self.admitted(), healthy=result == "+")
            self.share()

    def all_admitted(self, at_most: int = 200) -> list[Permit]:
        """Permits until none is granted."""
        permits: list[Permit] = []
        while len(permits) < at_most and (permit := self.breaker.admit()) is not None:
            permits.append(permit)
        return permits

    def admissible(self) -> int:
        """The number of calls that would be admitted now; none is made."""
        permits = self.all_admitted()
        for permit in permits:
            self.breaker.withdraw(permit)
        return len(permits)

    def trip(self) -> None:
        """Trip the breaker by failures."""
        self.calls("-" * VOLUME)
        assert self.breaker.state == "open"

    def half_open(self) -> Permit:
        """Trip the breaker; returns the probe after its sleep."""
        self.trip()
        self.time += SLEEP_S
        return self.admitted()

    def recover(self) -> None:
        """Close the breaker after a trip: slow start begins."""
        self.breaker.report(self.half_open(), healthy=True)
        self.share()

    def stats(self) -> tuple[int, int]:
        """Requests and error percentage, as operators see them."""
        status = self.breaker.status()
        return status.requests, status.error_percent


TIMES = ProbeTimes(10.0, 5.0)


@dataclass
class BreakerSync:
    """The breaker-sync actor, started; the test plays the supervisor."""

    runtime: SimulatedRuntime
    store: TroubledStore
    real: SqliteStore
    supervisor: Inbox = field(default_factory=Inbox)

    def __post_init__(self) -> None:
        self.address: ActorAddress = ActorAddress(
            lambda: BreakerSyncActor(
                runtime=self.runtime,
                store=self.store,
                gateways={GATEWAY: TIMES, "gatewayB": TIMES},
                owner=OWNER,
                supervisor=self.supervisor,
                self_address=self.address,
            ),
            self.runtime.dispatcher("breaker-sync", 1),
            capacity=10_000,
            monotonic=self.runtime.monotonic,
            after=self.runtime.after,
        )
        self.address.start()
        self.run(0.0)

    def run(self, seconds: float) -> None:
        """Run everything that happens within ``seconds``, and let them pass."""
        until = self.runtime.monotonic() + seconds
        self.runtime.run(until)
        self.runtime.advance(max(until - self.runtime.monotonic(), 0.0))

    def tell(self, message: object) -> None:
        """Send a message of the supervisor."""
        self.address.tell(message)
        self.run(0.0)

    def order(self, mode: str, gateway: str = GATEWAY) -> Future[GatewayStatus]:
        """Set an operator's mode."""
        reply: Future[GatewayStatus] = Future()
        self.tell(SetBreakerMode(GatewayMode(gateway, mode, "maintenance"), reply))
        return reply
