"""All actors of a process put together: start-up as a list of steps, the door for callers, and stop in reverse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from pykka import ActorDeadError

from actors.backpressure import Backpressure
from actors.customer.actor import CustomerStreamActor
from actors.customer.context import CustomerContext
from actors.dead_letters import DeadLetterActor
from actors.gateways.breaker import GatewayBreaker
from actors.gateways.breaker_sync import BreakerSyncActor, ProbeTimes
from actors.gateways.bulkhead import Bulkhead
from actors.gateways.retry_policy import DAY_S, RetryPolicy
from actors.gateways.settlement_delay import SettlementDelay
from actors.gateways.supervisor import GatewaySupervisorActor
from actors.generations import Generations
from actors.heartbeat import BEAT_MAX_S, Health, Heartbeat
from actors.journal import JournalActor
from actors.leases import Leases
from actors.listeners import Listener
from actors.messages import Drain, Passivate, Recipient, WorkDue
from actors.runtime.dispatchers import InlineExecutor
from actors.runtime.router import ActorAddress, Router
from actors.runtime.runtime import Runtime
from actors.scheduler import SchedulerActor
from actors.service import ServiceFacade
from actors.stats import ProcessStats
from gateways.port import Gateway
from gateways.settings import GatewaySettings
from messaging.port import WorkQueue
from store.port import Store, StreamKey

logger: Final = logging.getLogger(__name__)

MAILBOX_MAX: Final = 10_000
CUSTOMER_MAILBOX_MAX: Final = 2_000
SWEEP_S: Final = 1.0
SWEEP_MAX: Final = 2_000
"""Idle actors stopped in one sweep: a burst of 100,000 would hold up everybody else."""
BUSIEST: Final = 1_000
"""Customers whose mailboxes are counted: those that were told something last. Of 100,000 the others are idle."""
PERMIT_GRACE_S: Final = 5.0
"""How much longer than its calls may take a permit holds: for the record before them, and the report after them."""


@dataclass(frozen=True, slots=True)
class SystemSettings:
    """What operators may set for the actors; durations in seconds."""

    passivate_after_s: float = 120.0
    lease_s: float = 15.0
    dead_letter_first_s: float = 10.0
    dead_letter_max_s: float = 3600.0
    dead_letter_attempts: int = 12
    load_threads: int = 8
    """Threads that load customers; 0 loads where the actor runs, for a store whose reads wait for no network."""
    processing: bool = True
    """Whether this process sends work to gateways, or only accepts it."""


class _CustomerAddress:
    """A stream's actor, whichever lives when it is told something."""

    __slots__ = ("_router", "_run_here", "_stream")

    def __init__(self, router: Router[StreamKey], stream: StreamKey, *, run_here: bool = False) -> None:
        self._router, self._stream, self._run_here = router, stream, run_here

    def tell(self, message: object) -> None:
        self._router.tell(self._stream, message, run_here=self._run_here)


class PaymentSystem:
    """The actors of one process, behind ``service``, which ``start`` opens.

    ``exclusive``: no other process works on this store, so all old leases are dead.
    """

    def __init__(
        self,
        *,
        service: ServiceFacade,
        runtime: Runtime,
        store: Store,
        queue: WorkQueue,
        gateways: Mapping[str, tuple[Gateway, GatewaySettings]],
        settings: SystemSettings,
        listener: Listener,
        exclusive: bool,
    ) -> None:
        self._runtime, self._store, self._settings, self._exclusive = runtime, store, settings, exclusive
        self._service, self._queue = service, queue
        self._owner = runtime.new_id()
        self._started = False
        self._health = Health()
        monotonic = runtime.monotonic
        self._generations = generations = Generations(monotonic)

        self._alone: dict[str, ActorAddress] = {}

        def alone(name: str, make: Callable[[], Any]) -> ActorAddress:
            dispatcher = runtime.dispatcher(name, 1)
            address = ActorAddress(
                make,
                dispatcher,
                capacity=MAILBOX_MAX,
                monotonic=monotonic,
                after=runtime.after,
                run_here=name == "supervisor",  # of the five the one that never blocks
            )
            self._alone[name] = address
            return address

        self._backpressure = backpressure = Backpressure(gateways, processing=settings.processing)
        self._leases = leases = Leases(
            runtime=runtime, store=store, owner=self._owner, backpressure=backpressure, generations=generations
        )
        self._bulkheads = {
            name: self._bulkhead(gateway, options, listener) for name, (gateway, options) in gateways.items()
        }
        probe_times = {
            name: ProbeTimes(options.breaker.sleep_s, _permit_s(options)) for name, (_, options) in gateways.items()
        }
        self._journal = alone(
            "journal",
            lambda: JournalActor(store=store, listener=listener, monotonic=monotonic, generations=generations),
        )
        self._customers: Router[StreamKey] = Router(
            lambda stream: CustomerStreamActor(stream=stream, context=context),
            runtime.dispatcher("customers", 4),
            capacity=CUSTOMER_MAILBOX_MAX,
            monotonic=monotonic,
            granularity_s=min(1.0, settings.passivate_after_s / 10),
        )
        self._scheduler: ActorAddress = alone(
            "scheduler",
            lambda: SchedulerActor(
                runtime=runtime,
                store=store,
                gateways=gateways,
                backpressure=backpressure,
                heartbeat=Heartbeat(
                    runtime=runtime,
                    store=store,
                    lease_s=settings.lease_s,
                    supervisor=self._supervisor,
                    health=self._health,
                    leases=leases,
                    generations=generations,
                    listener=listener,
                ),
                leases=leases,
                supervisor=self._supervisor,
                dead_letters=self._dead_letters,
                customer=self._customer,
                self_address=self._scheduler,
            ),
        )
        self._dead_letters: ActorAddress = alone(
            "dead-letters",
            lambda: DeadLetterActor(
                runtime=runtime,
                store=store,
                gateways=gateways,
                queue=queue,
                scheduler=self._scheduler,
                self_address=self._dead_letters,
                doubt_leases=leases.doubt,
                listener=listener,
            ),
        )
        self._supervisor: ActorAddress = alone(
            "supervisor",
            lambda: GatewaySupervisorActor(
                runtime=runtime,
                bulkheads=self._bulkheads,
                backpressure=backpressure,
                # Most of what these are told comes from a call's thread, which has nothing else to do.
                customer=lambda stream: _CustomerAddress(self._customers, stream, run_here=True),
                scheduler=self._scheduler,
                breaker_sync=self._shared_breakers,
                self_address=self._supervisor,
                listener=listener,
            ),
        )
        self._shared_breakers: ActorAddress = alone(
            "breaker-sync",
            lambda: BreakerSyncActor(
                runtime=runtime,
                store=store,
                gateways=probe_times,
                owner=self._owner,
                supervisor=self._supervisor,
                self_address=self._shared_breakers,
                suspect_restore=generations.suspect,
            ),
        )
        context = CustomerContext(
            runtime=runtime,
            store=store,
            loader=runtime.executor("loader", settings.load_threads) if settings.load_threads else InlineExecutor(),
            journal=self._journal,
            supervisor=self._supervisor,
            scheduler=self._scheduler,
            dead_letters=self._dead_letters,
            queue=queue,
            address=self._customer,
            policies={name: self._policy(gateway, options) for name, (gateway, options) in gateways.items()},
            backpressure=backpressure,
            settlement=SettlementDelay(monotonic, lambda: generations.generation),
            generations=generations,
            owner=self._owner,
            listener=listener,
            leases_unknown=leases.doubt,
            next_serial=count(1).__next__,
        )
        lookups = [wait_s for _, options in gateways.values() for wait_s in options.lookup_after_s]
        self._longest_wait_s = max(DAY_S, settings.dead_letter_max_s, *lookups, 0.0)

    def start(self) -> None:
        """Begin to work, unfinished work of earlier processes included. Raises StoreError."""
        self._generations.begin(self._store.feed().generation)
        if self._exclusive:
            released = self._store.release_dead(0.0)
            if released:
                logger.info("unfinished work found", extra={"fields": {"count": released}})
        self._follow_breakers()  # before anything can be sent
        late = self._store.limit_dues(self._longest_wait_s)
        if late:
            logger.warning("the clock was wrong when this was planned", extra={"fields": {"count": late}})
        self._store.register_owner(self._owner)
        for address in self._alone.values():
            address.start()
        if self._settings.processing:
            self._queue.subscribe(self._bulkheads, lambda hint: self._scheduler.tell(WorkDue(hint.gateway, 0.0)))
        self._runtime.after(SWEEP_S, self._sweep)
        self._started = True
        self._service.open(
            customers=self._customers,
            supervisor=self._supervisor,
            dead_letters=self._dead_letters,
            shared_breakers=self._shared_breakers,
            store=self._store,
            problems=self._problems,
        )

    def _follow_breakers(self) -> None:
        """Go on with the breakers as the other processes, and people, have them."""
        modes = self._store.gateway_modes()
        asked_at = self._runtime.monotonic()
        records = self._store.breakers()
        for name, bulkhead in self._bulkheads.items():
            if name in records:
                bulkhead.breaker.follow(records[name], asked_at)
            if name in modes:
                bulkhead.breaker.force(modes[name].mode)
            self._backpressure.claimable[name] = bulkhead.claimable

    def drain(self) -> None:
        """Send nothing new to gateways. Commands that still come are stored, for the next process to go on with."""
        if self._started:
            self._supervisor.tell(Drain())

    @property
    def at_rest(self) -> bool:
        """Whether, after ``drain``, no call is out or can go out, and nothing waits to be stored."""
        # In this order: the drain has come through, then no call is out, then every outcome is stored.
        if not self._backpressure.draining or any(bulkhead.in_flight for bulkhead in self._bulkheads.values()):
            return False
        return self._customers.at_rest

    def retire(self) -> None:
        """Give back what is still leased: it is queued, and due at once. Raises StoreError."""
        if self._started:
            self._leases.retired = True  # first: a beat that finds its owner gone must know why
            self._generations.adopt(
                self._generations.look(self._store)
            )  # work of a lost state must not be given back as unsent
            self._store.retire_owner(self._owner, unsent=self.at_rest)

    def _problems(self) -> Sequence[str]:
        """Why the actors are not ready, in words; empty when they are. Never blocks."""
        dead = [f"The {name} actor is being restarted." for name, address in self._alone.items() if not address.alive]
        return [*dead, *self._store_problems()]

    def _store_problems(self) -> Sequence[str]:
        if self._health.problem is not None:
            return [self._health.problem]
        silent_s = self._runtime.monotonic() - (self._health.beaten_at or self._runtime.monotonic())
        if silent_s > max(self._settings.lease_s, 2 * BEAT_MAX_S):
            return [f"The store has taken no heartbeat for {silent_s:.0f} s."]
        return []

    def stats(self) -> ProcessStats:
        """The process as it is at this moment, give or take. Never blocks; for any thread."""
        mailboxes = {name: address.waiting for name, address in self._alone.items()}
        mailboxes["customers"] = self._customers.waiting(BUSIEST)
        gateways = tuple(bulkhead.stats(name) for name, bulkhead in sorted(self._bulkheads.items()))
        return ProcessStats(mailboxes, len(self._customers), self._service.admissions(), gateways)

    # parts

    def _customer(self, stream: StreamKey) -> Recipient:
        return _CustomerAddress(self._customers, stream)

    def _sweep(self) -> None:
        self._runtime.after(SWEEP_S, self._sweep)
        for ref in self._customers.idle(self._settings.passivate_after_s, SWEEP_MAX):
            with suppress(ActorDeadError):  # it stopped between being found and being told: just as well
                ref.tell(Passivate())

    def _bulkhead(self, gateway: Gateway, options: GatewaySettings, listener: Listener) -> Bulkhead:
        name = gateway.name
        breaker = GatewayBreaker(
            owner=self._owner,
            error_percent=options.breaker.error_percent,
            request_volume=options.breaker.request_volume,
            sleep_s=options.breaker.sleep_s,
            window_s=options.breaker.window_s,
            permit_s=_permit_s(options),
            monotonic=self._runtime.monotonic,
            now=self._runtime.now,
            changed=lambda state: listener.breaker_changed(name, state),
        )
        executor = self._runtime.executor(f"gateway-{name}", options.max_concurrent)
        return Bulkhead(gateway, options.adapter, breaker, executor, options.max_concurrent)

    def _policy(self, gateway: Gateway, options: GatewaySettings) -> RetryPolicy:
        settings = self._settings
        return RetryPolicy(
            honours_keys=gateway.honours_keys,
            max_retries=options.max_retries,
            lookup_after_s=options.lookup_after_s,
            dead_letter_first_s=settings.dead_letter_first_s,
            dead_letter_max_s=settings.dead_letter_max_s,
            dead_letter_attempts=settings.dead_letter_attempts,
            looks_up=gateway.looks_up,
            settle_s=options.timeout_s + options.settle_s,
            permit_s=_permit_s(options),
        )


def _permit_s(options: GatewaySettings) -> float:
    return 2 * options.timeout_s + PERMIT_GRACE_S  # a call may be a lookup and a submission
