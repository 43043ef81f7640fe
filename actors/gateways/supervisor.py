"""The gateway supervisor: admits work to gateways through a breaker and a bulkhead for each.

It never blocks: calls run on the bulkhead's threads, and their results come back as messages. No gateway's work waits
for a slot of another gateway.
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
    ProbeWanted,
    Recipient,
    Recovered,
    StatusRequest,
    SubmissionRecorded,
    Submit,
)
from actors.operations.outcome import OutcomeOperation
from actors.operations.submission import SubmissionOperation
from actors.runtime.actor import ServiceActor
from actors.runtime.runtime import Runtime
from domain.outcomes import Unknown
from store.port import StreamKey, WorkItem

logger: Final = logging.getLogger(__name__)

BACKPRESSURE_ON_AT: Final = 2_000
"""From this much waiting work of one gateway on, new work stays queued in the store."""
BACKPRESSURE_OFF_AT: Final = 500
"""Down to this much waiting work of one gateway, more is taken."""
RESTART_S: Final = 1.0
"""Delay before a new supervisor admits the work that it finds waiting."""


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
        breaker_sync: Recipient,
        self_address: Recipient,
        listener: Listener,
    ) -> None:
        super().__init__()
        self._runtime, self._bulkheads, self._backpressure = runtime, bulkheads, backpressure
        self._customer, self._scheduler, self._self = customer, scheduler, self_address
        self._breaker_sync, self._listener = breaker_sync, listener

    def on_start(self) -> None:
        """Continue with waiting work after a delay: a predecessor may have died of it."""
        for name in self._bulkheads:
            self._admit_in(name, RESTART_S)

    def receive(self, message: Any) -> None:
        """Take work, free a slot, try admission again, follow a breaker's record, or report the state."""
        match message:
            case Submit(gateway=gateway, items=items, claimed=claimed):
                bulkhead = self._bulkheads[gateway]
                bulkhead.enqueue(items)
                self.ack()
                bulkhead.capacity_wanted = bulkhead.capacity_wanted or claimed
                self._admit(gateway, bulkhead)
            case SubmissionRecorded(gateway=gateway, permit=permit, item=item):
                self._submission_recorded(gateway, self._bulkheads[gateway], permit, item)
            case CallFinished(gateway=gateway, permit=permit, healthy=healthy):
                bulkhead = self._bulkheads[gateway]
                bulkhead.in_flight -= 1
                self.ack()
                before = bulkhead.breaker.last_state
                bulkhead.breaker.report(permit, healthy=healthy)
                self._share(gateway, bulkhead)
                self._report_recovery(gateway, bulkhead, before)
                self._admit(gateway, bulkhead)
            case BreakerRecordRead(record=record):
                self._follow(record.gateway, message, None)
            case ApplyBreakerMode(mode=mode, newest=newest):
                self._follow(mode.gateway, newest, message)
            case AdmissionDue(gateway=gateway):
                bulkhead = self._bulkheads[gateway]
                bulkhead.next_admission_at = inf
                self._share(gateway, bulkhead)
                self._admit(gateway, bulkhead)
            case LeasesRevoked():
                self._drop_waiting()
            case Drain():
                self._backpressure.drain()
            case StatusRequest(reply=reply):
                reply.set(tuple(bulkhead.status(name) for name, bulkhead in sorted(self._bulkheads.items())))

    def _drop_waiting(self) -> None:
        """Drop all waiting work: its leases are revoked, and it may come back under any token."""
        self._breaker_sync.tell(LeasesRevoked())
        for name, bulkhead in self._bulkheads.items():
            bulkhead.waiting.clear()
            bulkhead.newest_tokens.clear()
            bulkhead.breaker.reset()
            self._share(name, bulkhead)
            self._admit(name, bulkhead)

    def _follow(self, name: str, newest: BreakerRecordRead | None, command: ApplyBreakerMode | None) -> None:
        """Set the breaker to the state that all processes share, and to an operator's mode."""
        bulkhead = self._bulkheads[name]
        before = bulkhead.breaker.state
        if newest is not None:  # first: in this state it begins when its mode returns to auto
            bulkhead.breaker.follow(newest.record, newest.asked_at)
        if command is not None:
            bulkhead.breaker.force(command.mode.mode)
            if command.reply is not None and not command.reply.done:
                command.reply.set(bulkhead.status(name))
        self.ack()
        self._report_recovery(name, bulkhead, before)
        self._admit(name, bulkhead)
        if before != bulkhead.breaker.state:
            self._scheduler.tell(ClaimDue(name))

    def _share(self, name: str, bulkhead: Bulkhead) -> None:
        """Have the breaker's transition recorded for all processes; repeated until the record has it."""
        transition = bulkhead.breaker.pending_transition()
        if transition is not None:
            self._breaker_sync.tell(BreakerTransition(name, *transition))
        wait_s = bulkhead.breaker.pending_transition_s()
        if wait_s is not None:
            self._admit_later(name, bulkhead, wait_s)

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
                    self._customer(item.stream).tell(SubmissionOperation(item, permit))
                else:
                    self._call(name, bulkhead, item, permit)
            except BaseException:  # no thread is available: nothing was sent, and it must not be tried in a loop
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
            if bulkhead.capacity_wanted and bulkhead.has_room:
                self._scheduler.tell(CapacityFree(name))
                bulkhead.capacity_wanted = False  # last: repeating it is harmless, omitting it stops the gateway

    def _submission_recorded(self, name: str, bulkhead: Bulkhead, permit: Permit, item: WorkItem | None) -> None:
        """Send ``item``, whose submission is on record, unless its permit is no longer valid."""
        if permit not in bulkhead.recording:
            return  # repeated: a second call would be a second payment
        if item is not None and not self._backpressure.draining and bulkhead.breaker.is_valid(permit):
            bulkhead.recording.remove(permit)
            message = self._in_hand
            self.ack()  # from here on it may be sent
            try:
                self._call(name, bulkhead, item, permit)
            except BaseException:  # no thread is available: it was not sent, and must not be tried in a loop
                self._in_hand = message  # redelivered if this actor dies before the report, as below
                bulkhead.recording.add(permit)
                bulkhead.breaker.report(permit, healthy=False)
                self._report(item, NotTried("no thread was available for the call"))
                bulkhead.recording.remove(permit)
                bulkhead.in_flight -= 1
                self.ack()
                raise
            return
        # Nothing is sent. This may be redelivered until the report is sent: such a permit never becomes valid again.
        if item is not None:  # in this order: when no slot is taken, every outcome has reached its customer
            self._report(item, NotTried("the gateway's breaker opened, or the service is stopping"))
        bulkhead.recording.remove(permit)
        bulkhead.in_flight -= 1
        self.ack()
        bulkhead.breaker.withdraw(permit)
        self._admit(name, bulkhead)

    def _report(self, item: WorkItem, result: CallResult, asked_at: float | None = None) -> None:
        self._customer(item.stream).tell(OutcomeOperation(item, result, asked_at))

    def _report_recovery(self, name: str, bulkhead: Bulkhead, before: str) -> None:
        if before != "closed" and bulkhead.breaker.state == "closed":
            self._scheduler.tell(Recovered(name))

    def _wait_for_permit(self, name: str, bulkhead: Bulkhead) -> None:
        epoch = bulkhead.breaker.probe_wanted()
        if epoch is not None:
            self._breaker_sync.tell(ProbeWanted(name, epoch))
        self._admit_later(name, bulkhead, bulkhead.breaker.wait_s())

    def _admit_later(self, name: str, bulkhead: Bulkhead, wait_s: float | None) -> None:
        at = inf if wait_s is None else self._runtime.monotonic() + wait_s
        if wait_s is None or bulkhead.next_admission_at <= at:
            return  # the end of a call admits more, or an earlier timer does
        bulkhead.next_admission_at = at
        self._admit_in(name, wait_s)

    def _admit_in(self, name: str, wait_s: float) -> None:
        self._runtime.after(wait_s, lambda: self._self.tell(AdmissionDue(name)))

    def _call(self, name: str, bulkhead: Bulkhead, item: WorkItem, permit: Permit) -> None:
        """Make the call on a thread. If this raises, no call is made."""
        claim = [None]  # whichever takes it decides whether there is a call; taking the last item of a list is atomic

        def call() -> None:
            try:
                claim.pop()
            except IndexError:
                return
            began = self._runtime.monotonic()
            result: CallResult = Unknown("the call broke off")
            healthy = False
            try:
                if began >= permit.until:  # this process was paused: another one may be probing instead
                    result = NotTried("its permit expired before the call began")
                    return
                result, healthy = HANDLERS[item.event_type](bulkhead.gateway, item, self._runtime.now())
                self._listener.called(item, result, self._runtime.monotonic() - began)
            finally:
                try:  # in this order: when no call is running, every outcome has reached its customer
                    self._report(item, result, began)
                finally:
                    self._self.tell(CallFinished(name, permit, healthy))

        try:
            bulkhead.executor.submit(call)
        except BaseException:
            try:
                claim.pop()
            except IndexError:  # a thread took it anyway
                logger.exception("an error after a call was submitted")
                return
            raise
