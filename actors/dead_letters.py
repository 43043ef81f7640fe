"""The dead-letter actor: claims the work that is due again, whoever left it, and hands it to the supervisor.

Retries, lookups, dead letters and the work of dead processes are all rows of one table with a time when they are
due; this actor is the timer over them. It also says that this process lives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

from actors.intake import Intake
from actors.messages import Alarm, Due, OrderMode, Recipient, Recovered, RetryDead, Room, SetMode, Submit, Tick
from actors.replies import GatewayStatus
from actors.runtime.actor import Reply as Future
from actors.runtime.actor import ServiceActor
from actors.runtime.runtime import Runtime, Timer
from store.errors import CommitUncertainError, StoreError
from store.port import DeadLetterFilter, GatewayMode, Store

logger: Final = logging.getLogger(__name__)

SOON_S: Final = 0.05
"""Work that becomes due within this time of other work is claimed together with it."""


CLOCK_OFF_S: Final = 1.0
"""How far the wall clock may go back before the dues follow it."""

_beats: Final = count(1)
T = TypeVar("T")


class Health:
    """What outlives a dead-letter actor."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """What the store said to the last beat, for whoever asks whether this process is ready; None: all is well."""
        self.leases_unknown = False
        """Work may be leased to this process that nobody in it knows of."""
        self.lease_kept = False
        """The same, said by whoever could not give a lease up."""
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
        intake: Intake,
        supervisor: Recipient,
        self_address: Recipient,
        health: Health,
    ) -> None:
        super().__init__()
        self._runtime, self._store, self._owner, self._lease_s = runtime, store, owner, lease_s
        self._intake, self._supervisor, self._self = intake, supervisor, self_address
        self._beat = next(_beats)
        self._schedules = {name: Schedule() for name in sorted(gateways)}
        self._health = health

    def on_start(self) -> None:
        """Begin to beat."""
        self._self.tell(Tick(self._beat))

    def receive(self, message: Any) -> None:
        """Set the alarm for work that becomes due, and claim what is."""
        match message:
            case Tick(of=of) if of == self._beat:
                self._tick()
            case Due(gateway=gateway, delay_s=delay_s):
                self._ring_in(gateway, delay_s)
            case Alarm(gateway=gateway):
                self._schedules[gateway].alarm = None
                self._claim(gateway)
            case Room(gateway=gateway):
                self._schedules[gateway].room = True
                self._claim(gateway)
            case Recovered(gateway=gateway):
                self._hasten(gateway)
            case RetryDead(merchant=merchant, where=where, reply=reply):
                if self._answer(reply, lambda: self._retry(merchant, where)):
                    for gateway in self._schedules:
                        self._claim(gateway)
            case OrderMode(mode=mode, reply=reply):
                self._order(mode, reply)

    def _retry(self, merchant: str, where: DeadLetterFilter) -> int:
        """Nothing of a gateway that is not configured: nobody would do it, and it would be on no list any more."""
        count = 0
        for name in self._schedules:
            if where.gateway in {None, name}:
                try:
                    count += self._store.retry_dead(merchant, where._replace(gateway=name))
                except StoreError as error:
                    if count:
                        raise CommitUncertainError(f"{count} are retried, and then: {error}") from error
                    raise
        return count

    def _order(self, mode: GatewayMode, reply: Future[GatewayStatus]) -> None:
        if mode.gateway not in self._schedules:
            _fail(reply, LookupError(f"no gateway {mode.gateway!r}"))
            return
        try:
            self._store.set_gateway_mode(mode)
        except Exception as error:  # noqa: BLE001  # the caller waits for an answer, whatever it is
            _fail(reply, error)
            return
        logger.warning("breaker ordered %s: %s", mode.mode, mode.reason, extra={"fields": {"gateway": mode.gateway}})
        self._supervisor.tell(SetMode(mode, reply))

    def _answer(self, reply: Future[T], call: Callable[[], T]) -> bool:
        """Answer with what ``call`` returns or raises; whether it returned."""
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  # see _order
            _fail(reply, error)
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
        """Every third of a lease: say that this process lives, and look for what nobody told us of."""
        self._runtime.after(self._lease_s / 3, lambda: self._self.tell(Tick(self._beat)))
        try:
            self._follow_the_clock()
            self._give_back()
            if not self._store.heartbeat(self._owner):
                logger.error("this process was held for dead; its work went to others")
                self._store.register_owner(self._owner)
            released = self._store.release_dead(self._lease_s)
            if released:
                logger.warning("took over work of dead processes", extra={"fields": {"count": released}})
            for mode in self._store.gateway_modes().values():
                if mode.gateway in self._schedules:  # ordered here before a restart, or in another process
                    self._supervisor.tell(SetMode(mode))
            self._health.problem = None
        except StoreError as error:
            self._health.problem = f"The store does not answer: {error}"
            logger.warning("the store did not take the heartbeat: %s", error)
        except Exception:  # dying of it would mean to begin with another beat at once, and so without end
            self._health.problem = "The heartbeat failed; the log says why."
            logger.exception("the heartbeat failed")
        for gateway in self._schedules:
            self._claim(gateway)

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
        if not health.leases_unknown and not health.lease_kept:
            return
        health.lease_kept = False
        try:
            self._store.retire_owner(self._owner, unsent=False)
        except BaseException:
            health.lease_kept = True
            raise
        health.leases_unknown = False
        self._store.register_owner(self._owner)

    def _claim(self, gateway: str) -> None:
        schedule = self._schedules[gateway]
        limit = self._intake.claimable[gateway]
        if not schedule.room or not self._intake.processing or self._intake.draining or not limit:
            return
        health = self._health
        known, health.leases_unknown = health.leases_unknown, True  # until what was claimed is with the supervisor
        try:
            items = self._store.claim_work(self._owner, gateway, limit)
        except CommitUncertainError as error:
            logger.warning("nobody knows whether due work was claimed: %s", error)
            return
        except StoreError as error:
            logger.warning("due work could not be claimed: %s", error)
            health.leases_unknown = known
            return  # the next beat tries again
        except Exception:  # see _tick
            logger.exception("due work could not be claimed")
            return
        if items:
            schedule.room = False
            self._supervisor.tell(Submit(gateway, tuple(items), claimed=True))
        health.leases_unknown = known
        if not items:
            self._ask_when(gateway)

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
        if delay_s > self._lease_s / 3:
            return  # the next beat is sooner and asks again: far alarms would only pile up, replaced by nearer ones
        schedule = self._schedules[gateway]
        delay_s = max(delay_s, SOON_S)
        at = self._runtime.monotonic() + delay_s
        if schedule.alarm is not None:
            if schedule.alarm_at <= at:
                return
            schedule.alarm.cancel()
        schedule.alarm_at = at
        schedule.alarm = self._runtime.after(delay_s, lambda: self._self.tell(Alarm(gateway)))


def _fail(reply: Future[Any], error: Exception) -> None:
    """Answer with ``error``; one after which nobody knows what was stored is no answer in time."""
    if isinstance(error, CommitUncertainError):
        error = TimeoutError(str(error))
    if not reply.done:
        reply.set_exception((type(error), error, None))
