"""The scheduler: the timer over all due work of a process, and its heartbeat.

Retries, lookups, dead letters and the work of dead processes are rows of one table with due times. The scheduler
claims what is due and passes it to the gateway supervisor. It also matches stored callbacks with their transactions.
Where other processes queue work on the same store, it looks for due work several times a second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from actors.backpressure import CLAIM_MAX, Backpressure
from actors.heartbeat import Heartbeat
from actors.leases import Leases
from actors.messages import (
    CapacityFree,
    ClaimDue,
    ParkWork,
    Poll,
    Recipient,
    Recovered,
    Submit,
    Tick,
    TimerFired,
    WorkDue,
)
from actors.operations.callback import StoredCallbackOperation
from actors.operations.waiting_callbacks import queue_of, read_payload
from actors.runtime.actor import ServiceActor
from actors.runtime.runtime import Runtime, Timer
from store.errors import CorruptStoreError, StoreError
from store.port import Store, StreamKey, WorkItem

logger: Final = logging.getLogger(__name__)

COALESCE_S: Final = 0.05
"""Work that becomes due within this time of other work is claimed together with it."""

POLL_S: Final = 0.5
"""The wait between two looks at the work of other processes. Their work is found within a second, without a hint."""

_ticks: Final = count(1)


@dataclass(slots=True)
class Schedule:
    """The claims of one gateway's due work."""

    has_capacity: bool = True
    """Whether the supervisor takes more work. It reports so again after each batch."""
    timer: Timer | None = None
    timer_at: float = 0.0


class SchedulerActor(ServiceActor):
    """Blocks on the store, and therefore has a thread of its own.

    ``polls``: whether other processes may queue work that no message announces here.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        gateways: Collection[str],
        backpressure: Backpressure,
        heartbeat: Heartbeat,
        leases: Leases,
        supervisor: Recipient,
        dead_letters: Recipient,
        customer: Callable[[StreamKey], Recipient],
        self_address: Recipient,
        polls: bool,
    ) -> None:
        super().__init__()
        self._runtime, self._store, self._backpressure = runtime, store, backpressure
        self._heartbeat, self._leases = heartbeat, leases
        self._supervisor, self._dead_letters, self._self = supervisor, dead_letters, self_address
        self._customer, self._polls = customer, polls
        self._poll_failed = False
        self._tick_id = next(_ticks)
        self._schedules = {name: Schedule() for name in sorted(gateways)}

    def on_start(self) -> None:
        """Begin to beat and to poll."""
        self._self.tell(Tick(self._tick_id))
        if self._polls:
            self._self.tell(Poll(self._tick_id))

    def receive(self, message: Any) -> None:
        """Set timers for work that becomes due, and claim due work."""
        match message:
            case Tick(of=of) if of == self._tick_id:
                self._tick()
            case Poll(of=of) if of == self._tick_id:
                self._poll()
            case WorkDue(gateway=gateway, delay_s=delay_s):
                self._set_timer(gateway, delay_s)
            case TimerFired(gateway=gateway):
                self._clear_timer(gateway)
                self._claim(gateway)
            case ClaimDue(gateway=gateway):
                self._claim(gateway)
            case CapacityFree(gateway=gateway):
                self._schedules[gateway].has_capacity = True
                self._claim(gateway)
            case Recovered(gateway=gateway):
                self._hasten_lookups(gateway)

    def _tick(self) -> None:
        """Beat, and claim what no message announced: work of dead processes, and announcements that were lost."""
        if self._leases.retired:
            return
        self._runtime.after(self._heartbeat.interval_s, lambda: self._self.tell(Tick(self._tick_id)))
        self._heartbeat.beat()
        for gateway in self._schedules:
            self._claim(gateway)
            self._claim_callbacks(queue_of(gateway))

    def _poll(self) -> None:
        """Claim due work that other processes queued. Ends with the drain of this process."""
        if self._leases.retired or self._backpressure.draining:
            return
        self._runtime.after(POLL_S, lambda: self._self.tell(Poll(self._tick_id)))
        for queue in self._due_queues():
            if queue in self._schedules:
                self._claim(queue)
            else:
                self._claim_callbacks(queue)

    def _due_queues(self) -> list[str]:
        """The queues with due work for which there is capacity; none when they are not known."""
        queues = [name for name in self._schedules if self._takes(name)]
        try:
            due = self._store.queued_due([*queues, *map(queue_of, self._schedules)], 1)
        except Exception as error:  # an actor that ended with it would poll again at once
            if not self._poll_failed:  # logged once until the store answers again
                logger.warning("due work cannot be listed: %s", error, exc_info=not isinstance(error, StoreError))
            self._poll_failed = True
            return []
        self._poll_failed = False
        return [work.gateway for work in due]

    def _takes(self, gateway: str) -> bool:
        """Whether the supervisor takes work of the gateway now."""
        return self._schedules[gateway].has_capacity and self._backpressure.claimable[gateway] > 0

    def _claim_callbacks(self, queue: str) -> None:
        """Claim the stored callbacks of ``queue``. They need no call, and so neither capacity nor a closed breaker."""
        self._leases.claim(queue, CLAIM_MAX, self._match)

    def _hasten_lookups(self, gateway: str) -> None:
        """Make all open lookups of a gateway that answers again due now. A process that makes no calls leaves them."""
        if not self._backpressure.processing:
            return
        try:
            hastened = self._store.hasten_lookups(gateway)
        except StoreError as error:  # they keep their due times
            logger.warning("lookups could not be pulled forward: %s", error)
            return
        if hastened:
            logger.info("lookups pulled forward", extra={"fields": {"gateway": gateway, "count": hastened}})
        self._claim(gateway)

    def _claim(self, gateway: str) -> None:
        if not self._takes(gateway):
            return
        schedule, limit = self._schedules[gateway], self._backpressure.claimable[gateway]

        def submit(items: Sequence[WorkItem]) -> bool:
            schedule.has_capacity = False
            self._supervisor.tell(Submit(gateway, tuple(items), claimed=True))
            return True

        if self._leases.claim(gateway, limit, submit) == 0:
            self._set_timer_for_next(gateway)

    def _match(self, callbacks: Sequence[WorkItem]) -> bool:
        """Pass stored callbacks to their transactions' actors; False when some could not be looked up."""
        for item in callbacks:
            try:
                command = read_payload(item).command
                stream = self._store.stream_of(command.transaction_id)
            except CorruptStoreError as error:
                self._dead_letters.tell(ParkWork(item, str(error)))
                continue
            except StoreError as error:
                logger.warning("a callback could not be matched: %s", error)
                return False
            report = StoredCallbackOperation(item, command if stream is not None else None)
            self._customer(stream or item.stream).tell(report)
        return True

    def _set_timer_for_next(self, gateway: str) -> None:
        try:
            next_due_s = self._store.next_due_s(gateway)
        except StoreError as error:
            logger.warning("it is not known when work is due: %s", error)
            return  # the next tick tries again
        except Exception:  # a scheduler that dies of it would query again at once, in an endless loop
            logger.exception("it is not known when work is due")
            return
        if next_due_s is not None:
            self._set_timer(gateway, next_due_s)

    def _set_timer(self, gateway: str, delay_s: float) -> None:
        if delay_s > self._heartbeat.interval_s:
            return  # the next tick is sooner and looks again: far timers, replaced by nearer ones, would pile up
        schedule = self._schedules[gateway]
        delay_s = max(delay_s, COALESCE_S)
        at = self._runtime.monotonic() + delay_s
        if schedule.timer is not None and schedule.timer_at <= at:
            return
        self._clear_timer(gateway)
        schedule.timer_at = at
        schedule.timer = self._runtime.after(delay_s, lambda: self._self.tell(TimerFired(gateway)))

    def _clear_timer(self, gateway: str) -> None:
        """Cancel a gateway's timer: one that fired may have been replaced before its message was handled."""
        schedule = self._schedules[gateway]
        if schedule.timer is not None:
            schedule.timer.cancel()
            schedule.timer = None
