"""The dead-letter actor: re-sends dead letters when they are due, retries them for operators, and parks work.

Work that failed too often is a dead letter. The store is its durable buffer, and holds every attempt's error and the
time of the next one. This actor keeps timers for the next ones only; the scheduler finds the others.
"""

from __future__ import annotations

import logging
from bisect import insort
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from actors.answering import fail
from actors.listeners import Listener
from actors.messages import ClaimDue, DeadLettered, ParkWork, Recipient, ResendDue, RetryDead
from actors.operations.waiting_callbacks import queue_of
from actors.runtime.actor import Future, ServiceActor
from actors.runtime.runtime import Runtime, Timer
from messaging.port import WorkHint, WorkQueue
from store.errors import CommitUncertainError, StoreError
from store.port import DeadLetterFilter, Fence, Head, MoveWork, Part, Store, WorkError, WorkItem, WorkState, Write

logger: Final = logging.getLogger(__name__)

RESENDS_MAX: Final = 1_000
"""Re-sends that are timed here, the next ones. The scheduler finds the others when they are due."""
TIMER_MAX_S: Final = 5.0
"""The longest timer. Far timers, replaced by nearer ones, would pile up in the runtime."""
TIMER_MIN_S: Final = 0.05
"""The shortest timer: dead letters that are due within this time are re-sent together."""


class Resend(NamedTuple):
    """A dead letter that is due at ``at``, on the monotonic clock. Sorts by that."""

    at: float
    hint: WorkHint


class DeadLetterActor(ServiceActor):
    """Blocks on the store for an operator's command and to park work, and therefore has a thread of its own.

    A successor begins without timers; the scheduler finds the dead letters of its predecessor.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        gateways: Collection[str],
        queue: WorkQueue,
        scheduler: Recipient,
        self_address: Recipient,
        doubt_leases: Callable[[], None],
        listener: Listener,
    ) -> None:
        super().__init__()
        self._runtime, self._store, self._gateways = runtime, store, sorted(gateways)
        self._queue, self._scheduler, self._self = queue, scheduler, self_address
        self._doubt_leases, self._listener = doubt_leases, listener
        self._resends: list[Resend] = []
        """Ascending."""
        self._timer: Timer | None = None
        self._timer_at = 0.0

    def receive(self, message: Any) -> None:
        """Buffer a dead letter, re-send those that are due, or carry out an operator's command."""
        match message:
            case DeadLettered(item=item, move=move):
                self.ack()  # first: reported twice, it would be counted twice
                self._listener.dead_letter(item, move)
                if move.state is WorkState.DEAD:
                    self._buffer(item, move.delay_s)
            case ResendDue():
                if self._timer is not None:
                    self._timer.cancel()  # this message may be a predecessor's, or that of a timer replaced as it fired
                    self._timer = None
                self._resend()
            case ParkWork(item=item, problem=problem):
                self._park(item, problem)
            case RetryDead(merchant=merchant, where=where, reply=reply):
                if self._answer(reply, merchant, where):
                    for gateway in self._gateways:
                        self._scheduler.tell(ClaimDue(gateway))

    def on_poison_message(self, message: Any) -> None:
        """Give back the lease of work whose parking killed several actors of this process."""
        if isinstance(message, ParkWork):
            self._doubt_leases()

    def _buffer(self, item: WorkItem, delay_s: float) -> None:
        transaction_id = None if item.transaction is None else item.transaction.transaction_id
        hint = WorkHint(item.work_id, transaction_id, item.gateway)
        insort(self._resends, Resend(self._runtime.monotonic() + delay_s, hint))
        if len(self._resends) > RESENDS_MAX:
            self._resends.pop()
        self._set_timer()

    def _resend(self) -> None:
        """Announce the due dead letters to all processes, so that one of them claims each."""
        now = self._runtime.monotonic()
        while self._resends and self._resends[0].at <= now:
            self._queue.announce(self._resends.pop(0).hint)
        self._set_timer()

    def _set_timer(self) -> None:
        if not self._resends:
            return
        now = self._runtime.monotonic()
        at = now + min(max(self._resends[0].at - now, TIMER_MIN_S), TIMER_MAX_S)
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._runtime.after(at - now, lambda: self._self.tell(ResendDue()))

    def _answer(self, reply: Future[int], merchant: str, where: DeadLetterFilter) -> bool:
        """Retry dead letters and answer with their number or an error; True when it is their number."""
        try:
            retried = self._retry(merchant, where)
        except Exception as error:  # noqa: BLE001  # the caller waits for an answer, whatever it is
            fail(reply, error)
            return False
        if not reply.done:
            reply.set(retried)
        return True

    def _retry(self, merchant: str, where: DeadLetterFilter) -> int:
        """Queue dead letters of configured gateways only: no process sends, and no list shows, work of others."""
        retried = 0
        for name in self._gateways:
            if where.gateway in {None, name}:
                try:
                    for queue in (name, queue_of(name)):
                        retried += self._store.retry_dead(merchant, where._replace(gateway=queue))
                except StoreError as error:
                    if retried:
                        raise CommitUncertainError(f"{retried} are retried; then the store failed: {error}") from error
                    raise
        return retried

    def _park(self, item: WorkItem, problem: str) -> None:
        """Park leased work that no operation can read; an operator decides on it."""
        logger.error("parked: %s", problem, extra={"fields": {"work_id": item.work_id}})
        errors = (*item.errors, WorkError(self._runtime.now(), problem))
        change = MoveWork(item.work_id, item.action, WorkState.PARKED, 0.0, item.attempts, errors, item.certainty)
        part = Part(fence=Fence(item.work_id, item.token), work=(change,))
        try:
            self._store.append([Write(item.stream, Head(), (part,))])
        except StoreError as error:
            logger.warning("it could not be parked: %s", error)
            self._doubt_leases()
