"""The payment system of a process: its actors, behind the service facade, from their start to their end."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from pykka import ActorDeadError

from actors.composition import Actors
from actors.gateways.retry_policy import DAY_S
from actors.heartbeat import BEAT_MAX_S
from actors.listeners import Listener
from actors.messages import Drain, Passivate, WorkDue
from actors.runtime.runtime import Runtime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.stats import ProcessStats
from domain.events import VOCABULARY
from gateways.port import Gateway
from gateways.settings import GatewaySettings
from messaging.port import WorkQueue
from store.port import Store

logger: Final = logging.getLogger(__name__)

SWEEP_S: Final = 1.0
SWEEP_MAX: Final = 2_000
"""Idle actors that one sweep stops: 100,000 at once would hold up all others."""
BUSIEST: Final = 1_000
"""Customers whose mailboxes are counted: those with the latest messages. Of 100,000 the others are idle."""


class PaymentSystem:
    """The actors of one process, behind ``service``, which ``start`` opens.

    ``exclusive``: no other process works on this store, so the owners of all old leases are dead.
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
        self._service, self._runtime, self._store, self._queue = service, runtime, store, queue
        self._settings, self._exclusive = settings, exclusive
        self._started = False
        self.actors = Actors(
            runtime=runtime,
            store=store,
            queue=queue,
            gateways=gateways,
            settings=settings,
            listener=listener,
            shared=not exclusive,
        )
        lookups = [wait_s for _, options in gateways.values() for wait_s in options.lookup_after_s]
        self._longest_wait_s = max(DAY_S, settings.dead_letter_max_s, *lookups, 0.0)

    def start(self) -> None:
        """Begin to work, also on unfinished work of earlier processes, and open the facade.

        Raises StoreError, after which it may be called again.
        """
        actors, store = self.actors, self._store
        actors.generations.begin(store.feed().generation)
        if self._exclusive:
            released = store.release_dead(0.0)
            if released:
                logger.info("unfinished work found", extra={"fields": {"count": released}})
        self._follow_breakers()  # before anything can be sent
        late = store.limit_dues(self._longest_wait_s)
        if late:
            logger.warning("the clock was wrong when this was planned", extra={"fields": {"count": late}})
        store.register_owner(actors.owner, VOCABULARY)
        actors.health.vocabulary_floor = store.vocabulary_floor()
        for address in actors.single.values():
            address.start()
        if self._settings.processing:
            self._queue.subscribe(actors.bulkheads, lambda hint: actors.scheduler.tell(WorkDue(hint.gateway, 0.0)))
        self._runtime.after(SWEEP_S, self._sweep)
        self._started = True
        self._service.open(
            customers=actors.customers,
            supervisor=actors.supervisor,
            dead_letters=actors.dead_letters,
            breaker_sync=actors.breaker_sync,
            store=store,
            problems=self._problems,
            vocabulary_floor=lambda: actors.health.vocabulary_floor,
        )

    def _follow_breakers(self) -> None:
        """Bring the breakers to the state of the other processes, and to the modes that operators have set."""
        modes = self._store.gateway_modes()
        asked_at = self._runtime.monotonic()
        records = self._store.breakers()
        for name, bulkhead in self.actors.bulkheads.items():
            if name in records:
                bulkhead.breaker.follow(records[name], asked_at)
            if name in modes:
                bulkhead.breaker.force(modes[name].mode)
            self.actors.backpressure.claimable[name] = bulkhead.claimable

    def drain(self) -> None:
        """Send nothing new to gateways. Commands that still arrive are stored, for the next process to carry out."""
        if self._started:
            self.actors.supervisor.tell(Drain())

    @property
    def at_rest(self) -> bool:
        """Whether, after ``drain``, no call is in flight or can start, and nothing waits to be stored."""
        actors = self.actors
        # In this order: the drain has been handled, then no call is in flight, then every outcome is stored.
        if not actors.backpressure.draining or any(bulkhead.in_flight for bulkhead in actors.bulkheads.values()):
            return False
        return actors.customers.at_rest

    def retire(self) -> None:
        """Give back the work that is still leased: it is queued, and due at once. Raises StoreError."""
        if self._started:
            actors = self.actors
            actors.leases.retired = True  # first: a heartbeat that finds its owner gone needs the reason
            # Work of a lost state must not be given back as unsent.
            actors.generations.adopt(actors.generations.look(self._store))
            self._store.retire_owner(actors.owner, unsent=self.at_rest)

    def _problems(self) -> Sequence[str]:
        """Why the actors are not ready, in words; empty when they are. Never blocks."""
        single = self.actors.single.items()
        dead = [f"The {name} actor is being restarted." for name, address in single if not address.alive]
        return [*dead, *self._store_problems()]

    def _store_problems(self) -> Sequence[str]:
        health, now = self.actors.health, self._runtime.monotonic()
        if health.problem is not None:
            return [health.problem]
        silent_s = now - (health.beaten_at or now)
        if silent_s > max(self._settings.lease_s, 2 * BEAT_MAX_S):
            return [f"The store has taken no heartbeat for {silent_s:.0f} s."]
        return []

    def stats(self) -> ProcessStats:
        """The approximate present state in numbers. Never blocks; for any thread."""
        actors = self.actors
        mailboxes = {name: address.waiting for name, address in actors.single.items()}
        mailboxes["customers"] = actors.customers.waiting(BUSIEST)
        gateways = tuple(bulkhead.stats(name) for name, bulkhead in sorted(actors.bulkheads.items()))
        if not self._settings.processing:
            gateways = tuple(gateway._replace(slots=0) for gateway in gateways)
        return ProcessStats(mailboxes, len(actors.customers), self._service.admissions(), gateways)

    def _sweep(self) -> None:
        """Stop idle customers' actors repeatedly."""
        self._runtime.after(SWEEP_S, self._sweep)
        for ref in self.actors.customers.idle(self._settings.passivate_after_s, SWEEP_MAX):
            with suppress(ActorDeadError):  # it has stopped meanwhile
                ref.tell(Passivate())
