"""The gateway supervisor: a breaker and a bulkhead for each gateway, and the work that waits for a slot.

It never blocks: calls run on the bulkhead's threads and come back as messages. No gateway waits for another's slot.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from actors.backpressure import Backpressure
from actors.gateways.breaker import Permit
from actors.gateways.bulkhead import Bulkhead
from actors.gateways.calls import HANDLERS, must_record_first, result_without_call
from actors.listeners import Listener
from actors.messages import (
    AdmissionDue,
    ApplyBreakerMode,
    BreakerRecordRead,
    BreakerTransition,
    CallFinished,
    CallResult,
    CapacityFree,
    ClaimDue,
    Drain,
    LeasesRevoked,
    NotTried,
    OutcomeReport,
    ProbeWanted,
    Recipient,
    Recovered,
    StatusRequest,
    SubmissionRecorded,
    SubmissionRequest,
    Submit,
)
from actors.runtime.actor import ServiceActor
from actors.runtime.runtime import Runtime
from domain.outcomes import Unknown
from store.port import StreamKey, WorkItem

logger: Final = logging.getLogger(__name__)

BACKPRESSURE_ON_AT: Final = 2_000
"""Waiting work of one gateway from which on new work is left in the store for later."""
BACKPRESSURE_OFF_AT: Final = 500
"""Waiting work of one gateway below which more is taken."""
RESTART_S: Final = 1.0
"""Wait before a new supervisor admits what it found waiting."""


class GatewaySupervisorActor(ServiceActor):
    """Admits work to gateways as slots and breakers permit."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        bulkheads: Mapping[str, Bulkhead],
        backpressure: Backpressure,
        customer: Callable[[StreamKey], Recipient],
        scheduler: Recipient,
        shared_breakers: Recipient,
        self_address: Recipient,
        listener: Listener,
    ) -> None:
        super().__init__()
        self._runtime, self._bulkheads, self._backpressure = runtime, bulkheads, backpressure
        self._customer, self._scheduler, self._self = customer, scheduler, self_address
        self._shared, self._listener = shared_breakers, listener

    def on_start(self) -> None:
        """Soon go on with what waits: an actor before this one may have died over it. Not at once, nor in a loop."""
        for name in self._bulkheads:
            self._wake_in(name, RESTART_S)

    def receive(self, message: Any) -> None:
        """Take on work, free a slot, try again after a breaker's rest, or tell the state of things."""
        match message:
            case Submit(gateway=gateway, items=items, claimed=claimed):
                bulkhead = self._bulkheads[gateway]
                bulkhead.enqueue(items)
                self.ack()
                bulkhead.capacity_wanted = bulkhead.capacity_wanted or claimed
                self._admit(gateway, bulkhead)
            case SubmissionRecorded(gateway=gateway, permit=permit, item=item):
                self._cleared(gateway, self._bulkheads[gateway], permit, item)
            case CallFinished(gateway=gateway, permit=permit, healthy=healthy):
                bulkhead = self._bulkheads[gateway]
                bulkhead.in_flight -= 1
                self.ack()
                before = bulkhead.breaker.state
                bulkhead.breaker.report(permit, healthy=healthy)
                self._share(gateway, bulkhead)
                self._recovered(gateway, bulkhead, before)
                self._admit(gateway, bulkhead)
            case BreakerRecordRead(record=record):
                self._follow(record.gateway, message, None)
            case ApplyBreakerMode(mode=mode, seen=seen):
                self._follow(mode.gateway, seen, message)
            case AdmissionDue(gateway=gateway):
                bulkhead = self._bulkheads[gateway]
                bulkhead.next_admission_at = inf
                self._share(gateway, bulkhead)
                self._admit(gateway, bulkhead)
            case LeasesRevoked():
                self._let_go()
            case Drain():
                self._backpressure.drain()
            case StatusRequest(reply=reply):
                reply.set(tuple(bulkhead.status(name) for name, bulkhead in sorted(self._bulkheads.items())))

    def _let_go(self) -> None:
        """Drop all waiting calls: their leases are void, and the next owner may have any token."""
        self._shared.tell(LeasesRevoked())
        for name, bulkhead in self._bulkheads.items():
            bulkhead.waiting.clear()
            bulkhead.seen.clear()
            bulkhead.breaker.start_anew()
            self._share(name, bulkhead)
            self._admit(name, bulkhead)

    def _follow(self, name: str, seen: BreakerRecordRead | None, order: ApplyBreakerMode | None) -> None:
        """Have the breaker as the other processes have it, and as people want it."""
        bulkhead = self._bulkheads[name]
        before = bulkhead.breaker.state
        if seen is not None:  # first: with this it begins when it is left to itself again
            bulkhead.breaker.follow(seen.record, seen.asked_at)
        if order is not None:
            bulkhead.breaker.force(order.mode.mode)
            if order.reply is not None and not order.reply.done:
                order.reply.set(bulkhead.status(name))
        self.ack()
        self._recovered(name, bulkhead, before)
        self._admit(name, bulkhead)
        if before != bulkhead.breaker.state:
            self._scheduler.tell(ClaimDue(name))

    def _share(self, name: str, bulkhead: Bulkhead) -> None:
        """Let the others know what the breaker came to here, again and again until the record says so."""
        turn = bulkhead.breaker.unshared()
        if turn is not None:
            self._shared.tell(BreakerTransition(name, *turn))
        wait_s = bulkhead.breaker.unshared_s()
        if wait_s is not None:
            self._wake_later(name, bulkhead, wait_s)

    def _admit(self, name: str, bulkhead: Bulkhead) -> None:
        if self._backpressure.draining:
            return
        while bulkhead.waiting and bulkhead.in_flight < bulkhead.max_concurrent:
            result = result_without_call(bulkhead.gateway, bulkhead.waiting[0])
            if result is not None:
                self._report(bulkhead.waiting[0], result)
                bulkhead.waiting.popleft()
                continue
            permit = bulkhead.breaker.admit()
            if permit is None:
                self._wait_for_permit(name, bulkhead)
                break
            item = bulkhead.waiting.popleft()
            bulkhead.in_flight += 1
            try:
                if must_record_first(bulkhead.gateway, item):
                    bulkhead.recording.add(permit)
                    self._customer(item.stream).tell(SubmissionRequest(item, permit))
                else:
                    self._call(name, bulkhead, item, permit)
            except BaseException:  # no thread can be had for it: nothing went out, and it must not be tried in a loop
                bulkhead.in_flight -= 1
                bulkhead.recording.discard(permit)
                bulkhead.waiting.appendleft(item)
                bulkhead.breaker.report(permit, healthy=False)
                raise
        waiting = len(bulkhead.waiting)
        self._backpressure.claimable[name] = bulkhead.claimable
        if waiting >= BACKPRESSURE_ON_AT:
            self._backpressure.open[name] = False
        elif waiting <= BACKPRESSURE_OFF_AT:
            self._backpressure.open[name] = self._backpressure.processing
            if bulkhead.capacity_wanted:
                self._scheduler.tell(CapacityFree(name))
                bulkhead.capacity_wanted = False  # last: repeating it is harmless, omitting it stops the gateway

    def _cleared(self, name: str, bulkhead: Bulkhead, permit: Permit, item: WorkItem | None) -> None:
        """The record says that ``item`` is about to be sent: send it, unless the breaker has opened meanwhile."""
        if permit not in bulkhead.recording:
            return  # told twice: a second call would be a second payment
        if item is not None and not self._backpressure.draining and bulkhead.breaker.holds(permit):
            bulkhead.recording.remove(permit)
            message = self._in_hand
            self.ack()  # from here on it may be out
            try:
                self._call(name, bulkhead, item, permit)
            except BaseException:  # no thread can be had for it: it is not out, and is not to go out in a loop
                self._in_hand = message  # so that this may be handled once more until that is told, as below
                bulkhead.recording.add(permit)
                bulkhead.breaker.report(permit, healthy=False)
                self._report(item, NotTried("no thread can be had for it"))
                bulkhead.recording.remove(permit)
                bulkhead.in_flight -= 1
                self.ack()
                raise
            return
        # Nothing goes out. This may be handled once more until that is told: such a permit never holds again.
        if item is not None:  # in this order: once no slot is taken, every outcome is with its customer
            self._report(item, NotTried("the gateway's breaker opened, or the service stops"))
        bulkhead.recording.remove(permit)
        bulkhead.in_flight -= 1
        self.ack()
        bulkhead.breaker.withdraw(permit)
        self._admit(name, bulkhead)

    def _report(self, item: WorkItem, result: CallResult, asked_at: float | None = None) -> None:
        self._customer(item.stream).tell(OutcomeReport(item, result, asked_at))

    def _recovered(self, name: str, bulkhead: Bulkhead, before: str) -> None:
        if before != "closed" and bulkhead.breaker.state == "closed":
            self._scheduler.tell(Recovered(name))

    def _wait_for_permit(self, name: str, bulkhead: Bulkhead) -> None:
        epoch = bulkhead.breaker.probe_wanted()
        if epoch is not None:
            self._shared.tell(ProbeWanted(name, epoch))
        self._wake_later(name, bulkhead, bulkhead.breaker.wait_s())

    def _wake_later(self, name: str, bulkhead: Bulkhead, wait_s: float | None) -> None:
        at = inf if wait_s is None else self._runtime.monotonic() + wait_s
        if wait_s is None or bulkhead.next_admission_at <= at:
            return  # the end of a call wakes the lane, or an earlier alarm does
        bulkhead.next_admission_at = at
        self._wake_in(name, wait_s)

    def _wake_in(self, name: str, wait_s: float) -> None:
        self._runtime.after(wait_s, lambda: self._self.tell(AdmissionDue(name)))

    def _call(self, name: str, bulkhead: Bulkhead, item: WorkItem, permit: Permit) -> None:
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
                result, healthy = HANDLERS[item.event_type](bulkhead.gateway, item, self._runtime.now())
                self._listener.called(item, result, self._runtime.monotonic() - began)
            finally:
                try:  # in this order: once no call is out, every outcome is with its customer
                    self._report(item, result, began)
                finally:
                    self._self.tell(CallFinished(name, permit, healthy))

        try:
            bulkhead.executor.submit(call)
        except BaseException:
            try:
                claim.pop()
            except IndexError:  # a thread has it all the same
                logger.exception("a call was handed over, and then this")
                return
            raise
