"""Build the actors of a process and what they share, in the order of their dependencies. Nothing is started here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

from actors.backpressure import Backpressure
from actors.customer.actor import CustomerStreamActor
from actors.customer.context import CustomerContext
from actors.customer.loader import Loader
from actors.dead_letters import DeadLetterActor
from actors.gateways.breaker import GatewayBreaker
from actors.gateways.breaker_sync import BreakerSyncActor, ProbeTimes
from actors.gateways.bulkhead import Bulkhead
from actors.gateways.retry_policy import RetryPolicy
from actors.gateways.settlement_delay import SettlementDelay
from actors.gateways.supervisor import GatewaySupervisorActor
from actors.generations import Generations
from actors.heartbeat import Health, Heartbeat
from actors.journal import JournalActor
from actors.leases import Leases
from actors.listeners import Listener
from actors.messages import Recipient
from actors.runtime.actor import ServiceActor
from actors.runtime.router import ActorAddress, Router
from actors.runtime.runtime import Runtime
from actors.scheduler import SchedulerActor
from actors.settings import SystemSettings
from gateways.port import Gateway
from gateways.settings import GatewaySettings
from messaging.port import WorkQueue
from store.port import Store, StreamKey

MAILBOX_MAX: Final = 10_000
CUSTOMER_MAILBOX_MAX: Final = 2_000
CUSTOMER_THREADS: Final = 4
PERMIT_GRACE_S: Final = 5.0
"""How much longer than its calls a permit is valid: time for the record before them and the report after them."""


class _CustomerAddress:
    """The address of a stream's actor, which starts when it gets a message."""

    __slots__ = ("_router", "_run_here", "_stream")

    def __init__(self, router: Router[StreamKey], stream: StreamKey, *, run_here: bool = False) -> None:
        self._router, self._stream, self._run_here = router, stream, run_here

    def tell(self, message: object) -> None:
        self._router.tell(self._stream, message, run_here=self._run_here)


class Actors:
    """The addresses of the actors. ``single`` holds, by name, the actors that a process has once."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        queue: WorkQueue,
        gateways: Mapping[str, tuple[Gateway, GatewaySettings]],
        settings: SystemSettings,
        listener: Listener,
        shared: bool,
    ) -> None:
        """``shared``: other processes work on this store."""
        self._runtime, self._store, self._queue, self._gateways = runtime, store, queue, gateways
        self._shared, self._polls = shared, shared and settings.processing
        self._settings, self._listener = settings, listener
        self.owner = runtime.new_id()
        self.health = Health()
        self.generations = Generations(runtime.monotonic)
        self.backpressure = Backpressure(gateways, processing=settings.processing)
        self.leases = Leases(
            runtime=runtime,
            store=store,
            owner=self.owner,
            backpressure=self.backpressure,
            generations=self.generations,
        )
        self.bulkheads = {name: self._bulkhead(gateway, options) for name, (gateway, options) in gateways.items()}
        self.single: dict[str, ActorAddress] = {}
        self.journal = self._address("journal", self._make_journal)
        self.customers: Router[StreamKey] = Router(
            self._make_customer,
            runtime.dispatcher("customers", CUSTOMER_THREADS),
            capacity=CUSTOMER_MAILBOX_MAX,
            monotonic=runtime.monotonic,
            granularity_s=min(1.0, settings.passivate_after_s / 10),
        )
        self.scheduler = self._address("scheduler", self._make_scheduler)
        self.dead_letters = self._address("dead-letters", self._make_dead_letters)
        # The supervisor is the only single actor that never blocks, so it may run in a sender's thread.
        self.supervisor = self._address("supervisor", self._make_supervisor, run_here=True)
        self.breaker_sync = self._address("breaker-sync", self._make_breaker_sync)
        self._context = self._customer_context()

    def customer(self, stream: StreamKey) -> Recipient:
        """The address of a customer's actor."""
        return _CustomerAddress(self.customers, stream)

    def _address(self, name: str, make: Callable[[], ServiceActor], *, run_here: bool = False) -> ActorAddress:
        """The address of a single actor with a thread of its own."""
        runtime = self._runtime
        address = self.single[name] = ActorAddress(
            make,
            runtime.dispatcher(name, 1),
            capacity=MAILBOX_MAX,
            monotonic=runtime.monotonic,
            after=runtime.after,
            run_here=run_here,
        )
        return address

    def _make_journal(self) -> ServiceActor:
        return JournalActor(
            store=self._store,
            listener=self._listener,
            monotonic=self._runtime.monotonic,
            generations=self.generations,
        )

    def _make_customer(self, stream: StreamKey) -> ServiceActor:
        return CustomerStreamActor(stream=stream, context=self._context)

    def _make_scheduler(self) -> ServiceActor:
        heartbeat = Heartbeat(
            runtime=self._runtime,
            store=self._store,
            lease_s=self._settings.lease_s,
            supervisor=self.supervisor,
            health=self.health,
            leases=self.leases,
            generations=self.generations,
            listener=self._listener,
            releases=self._settings.processing,
        )
        return SchedulerActor(
            runtime=self._runtime,
            store=self._store,
            gateways=self._gateways,
            backpressure=self.backpressure,
            heartbeat=heartbeat,
            leases=self.leases,
            supervisor=self.supervisor,
            dead_letters=self.dead_letters,
            customer=self.customer,
            self_address=self.scheduler,
            polls=self._polls,
        )

    def _make_dead_letters(self) -> ServiceActor:
        return DeadLetterActor(
            runtime=self._runtime,
            store=self._store,
            gateways=self._gateways,
            queue=self._queue,
            scheduler=self.scheduler,
            self_address=self.dead_letters,
            doubt_leases=self.leases.doubt,
            listener=self._listener,
        )

    def _make_supervisor(self) -> ServiceActor:
        return GatewaySupervisorActor(
            runtime=self._runtime,
            bulkheads=self.bulkheads,
            backpressure=self.backpressure,
            # Most of its messages to customers come from the thread of a call, which has nothing else to do.
            customer=lambda stream: _CustomerAddress(self.customers, stream, run_here=True),
            scheduler=self.scheduler,
            breaker_sync=self.breaker_sync,
            self_address=self.supervisor,
            listener=self._listener,
        )

    def _make_breaker_sync(self) -> ServiceActor:
        return BreakerSyncActor(
            runtime=self._runtime,
            store=self._store,
            gateways={
                name: ProbeTimes(options.breaker.sleep_s, _permit_s(options))
                for name, (_, options) in self._gateways.items()
            },
            owner=self.owner,
            supervisor=self.supervisor,
            self_address=self.breaker_sync,
            suspect_restore=self.generations.suspect,
        )

    def _customer_context(self) -> CustomerContext:
        runtime, generations = self._runtime, self.generations
        return CustomerContext(
            runtime=runtime,
            store=self._store,
            loader=self._loader(self._settings.load_threads),
            journal=self.journal,
            supervisor=self.supervisor,
            scheduler=self.scheduler,
            dead_letters=self.dead_letters,
            queue=self._queue,
            address=self.customer,
            policies={name: self._policy(gateway, options) for name, (gateway, options) in self._gateways.items()},
            backpressure=self.backpressure,
            settlement=SettlementDelay(runtime.monotonic, lambda: generations.generation),
            generations=generations,
            owner=self.owner,
            listener=self._listener,
            leases_unknown=self.leases.doubt,
            next_serial=count(1).__next__,
        )

    def _loader(self, threads: int) -> Loader:
        executor = self._runtime.executor("loader", threads) if threads else None
        return Loader(self._store, executor, self._runtime.monotonic, at_once=threads)

    def _bulkhead(self, gateway: Gateway, options: GatewaySettings) -> Bulkhead:
        name, runtime, listener = gateway.name, self._runtime, self._listener
        breaker = GatewayBreaker(
            owner=self.owner,
            error_percent=options.breaker.error_percent,
            request_volume=options.breaker.request_volume,
            sleep_s=options.breaker.sleep_s,
            window_s=options.breaker.window_s,
            permit_s=_permit_s(options),
            monotonic=runtime.monotonic,
            now=runtime.now,
            changed=lambda state: listener.breaker_changed(name, state),
        )
        executor = runtime.executor(f"gateway-{name}", options.max_concurrent)
        return Bulkhead(gateway, options.adapter, breaker, executor, options.max_concurrent, shared=self._shared)

    def _policy(self, gateway: Gateway, options: GatewaySettings) -> RetryPolicy:
        settings = self._settings
        return RetryPolicy(
            operations=gateway.operations,
            max_retries=options.max_retries,
            lookup_after_s=options.lookup_after_s,
            dead_letter_first_s=settings.dead_letter_first_s,
            dead_letter_max_s=settings.dead_letter_max_s,
            dead_letter_attempts=settings.dead_letter_attempts,
            settle_s=options.timeout_s + options.settle_s,
            permit_s=_permit_s(options),
            authorization_expires_s=options.authorization_expires_s,
        )


def _permit_s(options: GatewaySettings) -> float:
    return 2 * options.timeout_s + PERMIT_GRACE_S  # a call may be a lookup and a submission
