"""An actor that shares the breakers, on a store; the test plays the supervisor."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.gateways.breaker_sync import BreakerSyncActor, ProbeTimes
from actors.messages import SetBreakerMode
from actors.replies import GatewayStatus
from actors.runtime.actor import Future
from actors.runtime.router import ActorAddress
from actors.runtime.simulated import SimulatedRuntime
from store.port import GatewayMode
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, OWNER, Inbox, TroubledStore

TIMES = ProbeTimes(10.0, 5.0)


@dataclass
class Scenario:
    """The actor, which has begun."""

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
            self.runtime.dispatcher("shared-breakers", 1),
            capacity=10_000,
            monotonic=self.runtime.monotonic,
            after=self.runtime.after,
        )
        self.address.start()
        self.run(0.0)

    def run(self, seconds: float) -> None:
        """Let everything happen that happens within ``seconds``, and let these pass."""
        until = self.runtime.monotonic() + seconds
        self.runtime.run(until)
        self.runtime.advance(max(until - self.runtime.monotonic(), 0.0))

    def tell(self, message: object) -> None:
        """The supervisor tells it something, and that is handled."""
        self.address.tell(message)
        self.run(0.0)

    def order(self, mode: str, gateway: str = GATEWAY) -> Future[GatewayStatus]:
        """Order a breaker's mode, and let that be handled."""
        reply: Future[GatewayStatus] = Future()
        self.tell(SetBreakerMode(GatewayMode(gateway, mode, "maintenance"), reply))
        return reply
