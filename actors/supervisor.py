"""The gateway supervisor: a breaker and a bulkhead for each gateway, and the work that waits for a slot.

It never blocks: calls run on the bulkhead's threads and come back as messages. No gateway waits for another's slot.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from actors.breaker import Permit
from actors.calls import HANDLERS, records_first, without_call
from actors.intake import Intake
from actors.lane import Lane
from actors.listeners import Listener
from actors.messages import (
    Alarm,
    BreakerSeen,
    CallResult,
    Cleared,
    Drain,
    Finished,
    NotTried,
    OutcomeReport,
    ProbeWanted,
    Recipient,
    Recovered,
    Room,
    SetMode,
    StatusRequest,
    SubmissionRequest,
    Submit,
    Turned,
    Void,
    Wake,
)
from actors.runtime.actor import ServiceActor
from actors.runtime.runtime import Runtime
from domain.outcomes import Unknown
from store.port import StreamKey, WorkItem

logger: Final = logging.getLogger(__name__)

INTAKE_CLOSES_AT: Final = 2_000
"""Waiting work of one gateway from which on new work is left in the store for later."""
INTAKE_OPENS_AT: Final = 500
"""Waiting work of one gateway below which more is taken."""
RESTART_S: Final = 1.0
"""Wait before a new supervisor admits what it found waiting."""


class GatewaySupervisorActor(ServiceActor):
    """Admits work to gateways as slots and breakers permit."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        lanes: Mapping[str, Lane],
        intake: Intake,
        customer: Callable[[StreamKey], Recipient],
        dead_letters: Recipient,
        shared_breakers: Recipient,
        self_address: Recipient,
        listener: Listener,
    ) -> None:
        super().__init__()
        self._runtime, self._lanes, self._intake = runtime, lanes, intake
        self._customer, self._dead_letters, self._self = customer, dead_letters, self_address
        self._shared, self._listener = shared_breakers, listener

    def on_start(self) -> None:
        """Soon go on with what waits: an actor before this one may have died over it. Not at once, nor in a loop."""
        for name in self._lanes:
            self._wake_in(name, RESTART_S)

    def receive(self, message: Any) -> None:
        """Take on work, free a slot, try again after a breaker's rest, or tell the state of things."""
        match message:
            case Submit(gateway=gateway, items=items, claimed=claimed):
                lane = self._lanes[gateway]
                lane.take_on(items)
                self.took()
                lane.owes_room = lane.owes_room or claimed
                self._admit(gateway, lane)
            case Cleared(gateway=gateway, permit=permit, item=item):
                self._cleared(gateway, self._lanes[gateway], permit, item)
            case Finished(gateway=gateway, permit=permit, healthy=healthy):
                lane = self._lanes[gateway]
                lane.in_flight -= 1
                self.took()
                before = lane.breaker.state
                lane.breaker.report(permit, healthy=healthy)
                self._share(gateway, lane)
                self._recovered(gateway, lane, before)
                self._admit(gateway, lane)
            case BreakerSeen(record=record):
                self._follow(record.gateway, message, None)
            case SetMode(mode=mode, seen=seen):
                self._follow(mode.gateway, seen, message)
            case Wake(gateway=gateway):
                lane = self._lanes[gateway]
                lane.wakes_at = inf
                self._share(gateway, lane)
                self._admit(gateway, lane)
            case Void():
                self._let_go()
            case Drain():
                self._intake.drain()
            case StatusRequest(reply=reply):
                reply.set(tuple(lane.status(name) for name, lane in sorted(self._lanes.items())))

    def _let_go(self) -> None:
        """Drop all waiting calls: their leases are void, and the next owner may have any token."""
        self._shared.tell(Void())
        for name, lane in self._lanes.items():
            lane.waiting.clear()
            lane.seen.clear()
            lane.breaker.start_anew()
            self._share(name, lane)
            self._admit(name, lane)

    def _follow(self, name: str, seen: BreakerSeen | None, order: SetMode | None) -> None:
        """Have the breaker as the other processes have it, and as people want it."""
        lane = self._lanes[name]
        before = lane.breaker.state
        if seen is not None:  # first: with this it begins when it is left to itself again
            lane.breaker.follow(seen.record, seen.asked_at)
        if order is not None:
            lane.breaker.force(order.mode.mode)
            if order.reply is not None and not order.reply.done:
                order.reply.set(lane.status(name))
        self.took()
        self._recovered(name, lane, before)
        self._admit(name, lane)
        if before != lane.breaker.state:
            self._dead_letters.tell(Alarm(name))

    def _share(self, name: str, lane: Lane) -> None:
        """Let the others know what the breaker came to here, again and again until the record says so."""
        turn = lane.breaker.unshared()
        if turn is not None:
            self._shared.tell(Turned(name, *turn))
        wait_s = lane.breaker.unshared_s()
        if wait_s is not None:
            self._wake_later(name, lane, wait_s)

    def _admit(self, name: str, lane: Lane) -> None:
        if self._intake.draining:
            return
        while lane.waiting and lane.in_flight < lane.max_concurrent:
            result = without_call(lane.gateway, lane.waiting[0])
            if result is not None:
                self._report(lane.waiting[0], result)
                lane.waiting.popleft()
                continue
            permit = lane.breaker.admit()
            if permit is None:
                self._wait_for_permit(name, lane)
                break
            item = lane.waiting.popleft()
            lane.in_flight += 1
            try:
                if records_first(lane.gateway, item):
                    lane.clearing.add(permit)
                    self._customer(item.stream).tell(SubmissionRequest(item, permit))
                else:
                    self._call(name, lane, item, permit)
            except BaseException:  # no thread can be had for it: nothing went out, and it must not be tried in a loop
                lane.in_flight -= 1
                lane.clearing.discard(permit)
                lane.waiting.appendleft(item)
                lane.breaker.report(permit, healthy=False)
                raise
        waiting = len(lane.waiting)
        self._intake.claimable[name] = lane.claimable
        if waiting >= INTAKE_CLOSES_AT:
            self._intake.open[name] = False
        elif waiting <= INTAKE_OPENS_AT:
            self._intake.open[name] = self._intake.processing
            if lane.owes_room:
                self._dead_letters.tell(Room(name))
                lane.owes_room = False  # last: said twice it does no harm, and not at all it stops the gateway

    def _cleared(self, name: str, lane: Lane, permit: Permit, item: WorkItem | None) -> None:
        """The record says that ``item`` is about to be sent: send it, unless the breaker has opened meanwhile."""
        if permit not in lane.clearing:
            return  # told twice: a second call would be a second payment
        if item is not None and not self._intake.draining and lane.breaker.holds(permit):
            lane.clearing.remove(permit)
            message = self._in_hand
            self.took()  # from here on it may be out
            try:
                self._call(name, lane, item, permit)
            except BaseException:  # no thread can be had for it: it is not out, and is not to go out in a loop
                self._in_hand = message  # so that this may be handled once more until that is told, as below
                lane.clearing.add(permit)
                lane.breaker.report(permit, healthy=False)
                self._report(item, NotTried("no thread can be had for it"))
                lane.clearing.remove(permit)
                lane.in_flight -= 1
                self.took()
                raise
            return
        # Nothing goes out. This may be handled once more until that is told: such a permit never holds again.
        if item is not None:  # in this order: once no slot is taken, every outcome is with its customer
            self._report(item, NotTried("the gateway's breaker opened, or the service stops"))
        lane.clearing.remove(permit)
        lane.in_flight -= 1
        self.took()
        lane.breaker.withdraw(permit)
        self._admit(name, lane)

    def _report(self, item: WorkItem, result: CallResult, asked_at: float | None = None) -> None:
        self._customer(item.stream).tell(OutcomeReport(item, result, asked_at))

    def _recovered(self, name: str, lane: Lane, before: str) -> None:
        if before != "closed" and lane.breaker.state == "closed":
            self._dead_letters.tell(Recovered(name))

    def _wait_for_permit(self, name: str, lane: Lane) -> None:
        epoch = lane.breaker.probe_wanted()
        if epoch is not None:
            self._shared.tell(ProbeWanted(name, epoch))
        self._wake_later(name, lane, lane.breaker.wait_s())

    def _wake_later(self, name: str, lane: Lane, wait_s: float | None) -> None:
        at = inf if wait_s is None else self._runtime.monotonic() + wait_s
        if wait_s is None or lane.wakes_at <= at:
            return  # the end of a call wakes the lane, or an earlier alarm does
        lane.wakes_at = at
        self._wake_in(name, wait_s)

    def _wake_in(self, name: str, wait_s: float) -> None:
        self._runtime.after(wait_s, lambda: self._self.tell(Wake(name)))

    def _call(self, name: str, lane: Lane, item: WorkItem, permit: Permit) -> None:
        """Have a thread call. When this raises, none will."""
        claim = [None]  # whoever takes it decides whether there is a call; taking the last item of a list is atomic

        def call() -> None:
            try:
                claim.pop()
            except IndexError:
                return
            began = self._runtime.monotonic()
            result: CallResult = Unknown("the call broke off")
            healthy = False
            try:
                if began >= permit.until:  # this process stood still meanwhile: somebody else may be calling instead
                    result = NotTried("its permit expired before the call began")
                    return
                result, healthy = HANDLERS[item.event_type](lane.gateway, item, self._runtime.now())
                self._listener.called(item, result, self._runtime.monotonic() - began)
            finally:
                try:  # in this order: once no call is out, every outcome is with its customer
                    self._report(item, result, began)
                finally:
                    self._self.tell(Finished(name, permit, healthy))

        try:
            lane.executor.submit(call)
        except BaseException:
            try:
                claim.pop()
            except IndexError:  # a thread has it all the same
                logger.exception("a call was handed over, and then this")
                return
            raise
