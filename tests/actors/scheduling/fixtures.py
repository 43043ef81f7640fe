"""A scheduler and a dead-letter actor on a store; the test plays the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.backpressure import Backpressure
from actors.dead_letters import DeadLetterActor
from actors.generations import Generations
from actors.heartbeat import Health, Heartbeat
from actors.leases import Leases
from actors.messages import RetryDead, Submit, WorkDue
from actors.runtime.actor import Future, ServiceActor
from actors.runtime.router import ActorAddress
from actors.runtime.simulated import SimulatedRuntime
from actors.scheduler import SchedulerActor
from messaging.local import LocalQueue
from store.port import DeadLetterFilter, StreamKey, WorkItem, WorkState, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, OWNER, Inbox, RecordingListener, TroubledStore
from tests.store.builders import Customer, Step, move

LEASE_S = 15.0


@dataclass
class Scenario:
    """A process's scheduler and dead-letter actor on a store; the test plays the supervisor."""

    runtime: SimulatedRuntime
    store: TroubledStore
    real: SqliteStore
    processing: bool = True
    polls: bool = False
    lease_s: float = LEASE_S
    supervisor: Inbox = field(default_factory=Inbox)
    customers: Inbox = field(default_factory=Inbox)
    heard: RecordingListener = field(default_factory=RecordingListener)

    def __post_init__(self) -> None:
        self.real.register_owner(OWNER)
        self.health = Health()
        self.generations = Generations(self.runtime.monotonic)
        self.backpressure = Backpressure([GATEWAY, "gatewayB"], processing=self.processing)
        self.queue = LocalQueue()
        self.leases = Leases(
            runtime=self.runtime,
            store=self.store,
            owner=OWNER,
            backpressure=self.backpressure,
            generations=self.generations,
        )
        self.address: ActorAddress = self._address("scheduler", self._scheduler)
        self.dead_letters: ActorAddress = self._address("dead-letters", self._dead_letters)
        self.queue.subscribe(self.backpressure.claimable, lambda hint: self.address.tell(WorkDue(hint.gateway, 0.0)))

    def _address(self, name: str, make: Callable[[], ServiceActor]) -> ActorAddress:
        return ActorAddress(
            make,
            self.runtime.dispatcher(name, 1),
            capacity=10_000,
            monotonic=self.runtime.monotonic,
            after=self.runtime.after,
        )

    def _scheduler(self) -> SchedulerActor:
        heartbeat = Heartbeat(
            runtime=self.runtime,
            store=self.store,
            lease_s=self.lease_s,
            supervisor=self.supervisor,
            health=self.health,
            leases=self.leases,
            generations=self.generations,
            listener=self.heard,
            releases=self.processing,
        )
        return SchedulerActor(
            runtime=self.runtime,
            store=self.store,
            gateways=self.backpressure.claimable,
            backpressure=self.backpressure,
            heartbeat=heartbeat,
            leases=self.leases,
            supervisor=self.supervisor,
            dead_letters=self.dead_letters,
            customer=lambda _: self.customers,
            self_address=self.address,
            polls=self.polls,
        )

    def _dead_letters(self) -> DeadLetterActor:
        return DeadLetterActor(
            runtime=self.runtime,
            store=self.store,
            gateways=self.backpressure.claimable,
            queue=self.queue,
            scheduler=self.address,
            self_address=self.dead_letters,
            doubt_leases=self.leases.doubt,
            listener=self.heard,
        )

    def start(self) -> None:
        """Start, and run until the first beat is over."""
        self.address.start()
        self.run(0.0)

    def run(self, seconds: float) -> None:
        """Run everything that is due within ``seconds``, and advance the clock by them."""
        until = self.runtime.monotonic() + seconds
        self.runtime.run(until)
        self.runtime.advance(max(until - self.runtime.monotonic(), 0.0))

    def queued(self, count: int = 1, first: int = 1, owner: str | None = None, delay_s: float = 0.0) -> list[str]:
        """Store ``count`` pieces of work that are due in ``delay_s``."""
        ids = [f"t-{number:04}" for number in range(first, first + count)]
        writes: list[Write] = []
        for key in ids:
            customer = Customer(f"c-{key}")
            customer.now = self.runtime.now()
            writes.append(customer.deposit(key, owner=owner))
            if delay_s:
                writes.append(customer.write(Step(work=(move(key, state=WorkState.DEAD, delay_s=delay_s),))))
        self.real.append(writes)
        return ids

    def stream_of(self, key: str) -> StreamKey:
        """The stream of a piece of work made by ``queued``."""
        return StreamKey("main", f"c-{key}")

    def claimed(self) -> list[str]:
        """The ids of the work that the supervisor received, in order."""
        return [item.work_id for item in self.items()]

    def items(self) -> list[WorkItem]:
        """The items of that work."""
        return [item for submit in self.supervisor.of(Submit) for item in submit.items]

    def retry(self, where: DeadLetterFilter = DeadLetterFilter(), merchant: str = "main") -> Future[int]:  # noqa: B008  # a value
        """Retry dead letters as an operator, and run until the command is handled."""
        reply: Future[int] = Future()
        self.dead_letters.tell(RetryDead(merchant, where, reply))
        self.run(0.0)
        return reply
