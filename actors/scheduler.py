"""The dead-letter actor: claims the work that is due again, whoever left it, and hands it to the supervisor.

Retries, lookups, dead letters and the work of dead processes are all rows of one table with a time when they are
due; this actor is the timer over them. It also says that this process lives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Any, Final, TypeVar

from actors.answering import fail
from actors.backpressure import CLAIM_MAX, Backpressure
from actors.generations import Generations
from actors.listeners import Listener
from actors.messages import CapacityFree, Recipient, Recovered, RetryDead, Submit, Tick, TimerFired, Void, WorkDue
from actors.operations.callback import StoredCallbackOperation
from actors.operations.waiting_callbacks import queue_of, read_payload
from actors.runtime.actor import Reply as Future
from actors.runtime.actor import ServiceActor
from actors.runtime.runtime import Runtime, Timer
from store.errors import CommitUncertainError, CorruptStoreError, StoreError
from store.port import (
    DeadLetterFilter,
    Fence,
    Head,
    MoveWork,
    Part,
    Store,
    StreamKey,
    WorkError,
    WorkItem,
    WorkState,
    Write,
)

logger: Final = logging.getLogger(__name__)

SOON_S: Final = 0.05
"""Work that becomes due within this time of other work is claimed together with it."""


LANDS_WITHIN_S: Final = 15.0
"""How long a call whose connection was cut may still run in a store: above what any server lets a statement take."""
BEAT_MAX_S: Final = 5.0
"""The longest time between two looks at what nobody told this process of, however long a lease is."""
CLOCK_OFF_S: Final = 1.0
"""How far the wall clock may go back before the dues follow it."""

_beats: Final = count(1)
T = TypeVar("T")


class Health:
    """What outlives a dead-letter actor."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """What the store said to the last beat, for whoever asks whether this process is ready; None: all is well."""
        self.beaten_at: float | None = None
        """When the store took the newest beat, on the monotonic clock; None before the first."""
        self.leases_unknown = False
        """Work may be leased to this process that nobody in it knows of."""
        self.retired = False
        """This process holds nothing any more, and must not begin again."""
        self.claim_lands_by = inf
        """Until then, on the monotonic clock, a claim that was cut may still be carried out."""
        self.lease_kept = False
        """The same as ``leases_unknown``, said by whoever could not give a lease up."""
        self.clocks: tuple[float, float] | None = None
        """What the wall clock and the monotonic one showed together, in seconds."""

    def doubt_leases(self) -> None:
        """Have all leases given back at the next beat."""
        self.lease_kept = True


@dataclass(slots=True)
class Schedule:
    """One gateway's due work as this process sees it."""

    room: bool = True
    """Whether the supervisor takes more; it says so again after each batch."""
    alarm: Timer | None = None
    alarm_at: float = 0.0


class DeadLetterActor(ServiceActor):
    """Blocks on the store, and therefore has a thread of its own."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        gateways: Collection[str],
        owner: str,
        lease_s: float,
        backpressure: Backpressure,
        supervisor: Recipient,
        customer: Callable[[StreamKey], Recipient],
        self_address: Recipient,
        health: Health,
        generations: Generations,
        listener: Listener,
    ) -> None:
        super().__init__()
        self._runtime, self._store, self._owner, self._lease_s = runtime, store, owner, lease_s
        self._backpressure, self._supervisor, self._self = backpressure, supervisor, self_address
        self._customer = customer
        self._beat, self._beat_s = next(_beats), min(lease_s / 3, BEAT_MAX_S)
        self._schedules = {name: Schedule() for name in sorted(gateways)}
        self._health, self._generations, self._listener = health, generations, listener

    def on_start(self) -> None:
        """Begin to beat."""
        self._self.tell(Tick(self._beat))

    def receive(self, message: Any) -> None:
        """Set the alarm for work that becomes due, and claim what is."""
        match message:
            case Tick(of=of) if of == self._beat:
                self._tick()
            case WorkDue(gateway=gateway, delay_s=delay_s):
                self._ring_in(gateway, delay_s)
            case TimerFired(gateway=gateway):
                self._schedules[gateway].alarm = None
                self._claim(gateway)
            case CapacityFree(gateway=gateway):
                self._schedules[gateway].room = True
                self._claim(gateway)
            case Recovered(gateway=gateway):
                self._hasten(gateway)
            case RetryDead(merchant=merchant, where=where, reply=reply):
                if self._answer(reply, lambda: self._retry(merchant, where)):
                    for gateway in self._schedules:
                        self._claim(gateway)

    def _retry(self, merchant: str, where: DeadLetterFilter) -> int:
        """Nothing of a gateway that is not configured: nobody would do it, and it would be on no list any more."""
        count = 0
        for name in self._schedules:
            if where.gateway in {None, name}:
                try:
                    for queue in (name, queue_of(name)):
                        count += self._store.retry_dead(merchant, where._replace(gateway=queue))
                except StoreError as error:
                    if count:
                        raise CommitUncertainError(f"{count} are retried, and then: {error}") from error
                    raise
        return count

    def _answer(self, reply: Future[T], call: Callable[[], T]) -> bool:
        """Answer with what ``call`` returns or raises; whether it returned."""
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  # the caller waits for an answer, whatever it is
            fail(reply, error)
            return False
        if not reply.done:
            reply.set(result)
        return True

    def _hasten(self, gateway: str) -> None:
        """The gateway answers again: ask now what became of all that is open there, and not when it was planned."""
        try:
            hastened = self._store.hasten_lookups(gateway)
        except StoreError as error:  # then they are asked when it was planned
            logger.warning("lookups could not be pulled forward: %s", error)
            return
        if hastened:
            logger.info("lookups pulled forward", extra={"fields": {"gateway": gateway, "count": hastened}})
        self._claim(gateway)

    def _tick(self) -> None:
        """Every third of a lease, or sooner: say that this process lives, and look for what nobody told us of."""
        if self._health.retired:
            return
        self._runtime.after(self._beat_s, lambda: self._self.tell(Tick(self._beat)))
        try:
            self._follow_the_clock()
            self._look_back()
            self._give_back()
            if not self._store.heartbeat(self._owner) and not self._health.retired:  # in this order: see retire
                self._listener.leases_lost()
                self._store.register_owner(self._owner)
            released = self._store.release_dead(self._lease_s)
            if released:
                self._listener.taken_over(released)
            self._health.problem, self._health.beaten_at = None, self._runtime.monotonic()
        except StoreError as error:
            self._health.problem = f"The store does not answer: {error}"
            logger.warning("the store did not take the heartbeat: %s", error)
        except Exception:  # dying of it would mean to begin with another beat at once, and so without end
            self._health.problem = "The heartbeat failed; the log says why."
            logger.exception("the heartbeat failed")
        for gateway in self._schedules:
            self._claim(gateway)
            self._lease(queue_of(gateway), CLAIM_MAX, self._match)  # a stored callback needs no call, nor a breaker

    def _look_back(self) -> None:
        """Void all leases if the store no longer holds what this process saw stored. Raises StoreError."""
        generation = self._generations.look(self._store)
        if generation != self._generations.generation:
            self._health.doubt_leases()  # what is claimed before the supervisor has let go is in nobody's hands then
            self._supervisor.tell(Void())  # first: when this fails, the next beat says it
            self._generations.adopt(generation)

    def _follow_the_clock(self) -> None:
        """Dues are times of the wall clock: when that is set back, they must not wait until it gets there again."""
        now = (self._runtime.now().timestamp(), self._runtime.monotonic())
        wall, monotonic = self._health.clocks or now
        lost_s = (now[1] - monotonic) - (now[0] - wall)
        if lost_s > CLOCK_OFF_S:
            moved = self._store.clock_set_back(lost_s)
            logger.warning("the clock was set back", extra={"fields": {"seconds": round(lost_s, 1), "count": moved}})
        if self._health.clocks is None or abs(lost_s) > CLOCK_OFF_S:
            self._health.clocks = now

    def _give_back(self) -> None:
        """All leases, rather than hold some for ever that nobody here works on. Raises StoreError."""
        health = self._health
        if self._runtime.monotonic() >= health.claim_lands_by:  # once more: it may have landed after the first time
            health.lease_kept, health.claim_lands_by = True, inf
        if not health.leases_unknown and not health.lease_kept:
            return
        health.lease_kept = False
        try:
            self._store.retire_owner(self._owner, unsent=False)
        except BaseException:
            health.lease_kept = True
            raise
        health.leases_unknown = False
        if not health.retired:
            self._store.register_owner(self._owner)

    def _claim(self, gateway: str) -> None:
        schedule = self._schedules[gateway]
        limit = self._backpressure.claimable[gateway]
        if not schedule.room or not limit:
            return

        def hand_over(items: Sequence[WorkItem]) -> bool:
            schedule.room = False
            self._supervisor.tell(Submit(gateway, tuple(items), claimed=True))
            return True

        if self._lease(gateway, limit, hand_over) == 0:
            self._ask_when(gateway)

    def _lease(self, queue: str, limit: int, hand_over: Callable[[Sequence[WorkItem]], bool]) -> int | None:
        """Lease due work and hand it over; how much it was, or None when that did not work.

        ``hand_over`` says whether all of it is in somebody's hands; what is not is given back.
        """
        if not self._backpressure.processing or self._backpressure.draining:
            return None
        health = self._health
        known, health.leases_unknown = health.leases_unknown, True  # until what was claimed is in somebody's hands
        try:
            items = self._store.claim_work(self._owner, queue, limit)
        except CommitUncertainError as error:
            logger.warning("nobody knows whether due work was claimed: %s", error)
            health.claim_lands_by = self._runtime.monotonic() + LANDS_WITHIN_S
            return None
        except StoreError as error:
            logger.warning("due work could not be claimed: %s", error)
            health.leases_unknown = known
            return None  # the next beat tries again
        except Exception:  # see _tick
            logger.exception("due work could not be claimed")
            return None
        if items:
            self._generations.claimed(items[-1])
        all_in_hands = hand_over(items) if items else True
        health.leases_unknown = known or not all_in_hands
        return len(items)

    def _match(self, callbacks: Sequence[WorkItem]) -> bool:
        """See whether the transactions of stored callbacks are known by now; False when some could not be looked at."""
        for item in callbacks:
            try:
                said = read_payload(item).command
                stream = self._store.stream_of(said.transaction_id)
            except CorruptStoreError as error:
                self._park(item, str(error))
                continue
            except StoreError as error:
                logger.warning("a callback could not be matched: %s", error)
                return False
            report = StoredCallbackOperation(item, said if stream is not None else None)
            self._customer(stream or item.stream).tell(report)
        return True

    def _park(self, item: WorkItem, problem: str) -> None:
        """Leave it to a person: nobody here can read it."""
        logger.error("parked: %s", problem, extra={"fields": {"work_id": item.work_id}})
        errors = (*item.errors, WorkError(self._runtime.now(), problem))
        change = MoveWork(item.work_id, item.action, WorkState.PARKED, 0.0, item.attempts, errors, item.certainty)
        part = Part(fence=Fence(item.work_id, item.token), work=(change,))
        try:
            self._store.append([Write(item.stream, Head(), (part,))])
        except StoreError as error:
            logger.warning("it could not be parked: %s", error)
            self._health.doubt_leases()

    def _ask_when(self, gateway: str) -> None:
        try:
            next_due_s = self._store.next_due_s(gateway)
        except StoreError as error:
            logger.warning("nobody knows when work is due: %s", error)
            return  # the next beat tries again
        except Exception:  # see _tick
            logger.exception("nobody knows when work is due")
            return
        if next_due_s is not None:
            self._ring_in(gateway, next_due_s)

    def _ring_in(self, gateway: str, delay_s: float) -> None:
        if delay_s > self._beat_s:
            return  # the next beat is sooner and asks again: far alarms would only pile up, replaced by nearer ones
        schedule = self._schedules[gateway]
        delay_s = max(delay_s, SOON_S)
        at = self._runtime.monotonic() + delay_s
        if schedule.alarm is not None:
            if schedule.alarm_at <= at:
                return
            schedule.alarm.cancel()
        schedule.alarm_at = at
        schedule.alarm = self._runtime.after(delay_s, lambda: self._self.tell(TimerFired(gateway)))
