"""What becomes of requests and reports that met trouble again and again. Nothing is dropped without an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from actors.customer.after_commit import clear
from actors.customer.batch import Batch, Pending
from actors.customer.context import CustomerContext
from actors.gateways.retry_policy import next_step
from actors.messages import (
    Append,
    CallResult,
    NotSent,
    OutcomeReport,
    ReceiveRequest,
    Request,
    SubmissionRequest,
    Unanswered,
    Written,
)
from actors.operations.callback import later
from actors.replies import NotStored, Uncertain
from actors.work import lost_item
from domain.outcomes import Unknown
from store.port import Action, CloseWork, Fence, Head, MoveWork, Part, StreamKey, WorkItem, Write

logger: Final = logging.getLogger(__name__)

CRASHES_MAX: Final = 3
"""How often one message may be there when its actor dies before it is given up."""

_NOT_RECORDED: Final = Unknown("this process could not record what became of it")


def mark_in_doubt(batch: Batch) -> None:
    """It is not known whether ``batch`` is stored: that a load does not find it says nothing, it may land later."""
    for entry in batch.entries:
        source = entry.source
        # Without an event id of its own a submission only asked whether it was handed over twice.
        if isinstance(source, Request) or source.event_ids:
            source.in_doubt = True
        if isinstance(source, Request):
            source.doubtful_at = batch.before.version
    for request, _ in batch.refusals:
        request.refusal_in_doubt = request.once is not None


def refuse(pendings: Iterable[Pending], reason: str) -> list[Pending]:
    """Answer the requests: nothing of them is stored. Those that stay are all others, and the requests in doubt."""
    kept: list[Pending] = []
    for pending in pendings:
        if not isinstance(pending, Request) or pending.in_doubt or pending.refusal_in_doubt:
            kept.append(pending)
        elif not pending.reply.done:
            pending.reply.set(NotStored(reason))
    return kept


class PoisonMessagePolicy:
    """Judges what a customer's actor of ``stream`` had in hand when something broke."""

    def __init__(self, stream: StreamKey, collaborators: CustomerContext) -> None:
        self._stream, self._with = stream, collaborators

    def after_a_death(self, pendings: Iterable[Pending]) -> list[Pending]:
        """What the dead actor's successor is to go on with."""
        kept: list[Pending] = []
        for pending in pendings:
            if isinstance(pending, SubmissionRequest) and pending.cleared:
                continue  # it may be on its way: there is nothing left to do for it here
            if pending.event_ids:
                pending.in_doubt = True  # it was put into a write, and only its answer would say what became of that
            if isinstance(pending, Request):
                pending.refusal_in_doubt = pending.once is not None  # the same
            pending.crashes += 1
            if self._tolerable(pending):
                kept.append(pending)
        return kept

    def after_a_defect(self, pendings: Iterable[Pending]) -> list[Pending]:
        """What goes on, each alone and after those who met no trouble, when the store failed as it never should."""
        kept: list[Pending] = []
        for pending in pendings:
            # A report is not given up for a store's defect.
            limit = 2 * CRASHES_MAX + isinstance(pending, Request | SubmissionRequest)
            pending.crashes = min(pending.crashes + 1, limit)
            if self._tolerable(pending):
                kept.append(pending)
        return kept

    def after_a_refusal(self, pendings: list[Pending], error: BaseException) -> list[Pending]:
        """What goes on, each alone, when the database refuses something of it: alone the bad one shows."""
        if len(pendings) == 1:
            logger.error("cannot be stored: %s", error, extra={"fields": pendings[0].fields})
            pendings = refuse(pendings, "It cannot be stored.")
        for pending in pendings:
            pending.crashes += 1
        return [pending for pending in pendings if self._tolerable(pending)]

    def _tolerable(self, pending: Pending) -> bool:
        """Whether to try once more what was there when something broke. What is not is answered here."""
        if pending.crashes <= CRASHES_MAX:
            return True
        if isinstance(pending, Request) or pending.crashes > 2 * CRASHES_MAX:
            self.drop(pending)
            return False
        if isinstance(pending, OutcomeReport):
            # The work must go on all the same: as one whose outcome is not known, which no odd answer can break.
            pending.result, pending.event_ids = Unknown("the gateway's answer cannot be recorded"), []
        return True

    def drop(self, pending: Pending) -> None:
        """Give it up: answer it, and give its work to whoever comes next."""
        logger.error("given up after it met trouble %s times", pending.crashes, extra={"fields": pending.fields})
        match pending:
            case Request():
                if not pending.reply.done:
                    pending.reply.set(Uncertain(pending.transaction_id))
                if isinstance(pending, ReceiveRequest) and pending.leased and not pending.handed_over:
                    self._let_go(lost_item(self._stream, pending.command))
            case SubmissionRequest(item=item):
                # Its write may be stored: of the two tokens, the one that is not the work's is fenced off.
                for token in (item.token, item.token + 1):
                    self._let_go(replace(item, token=token), NotSent("that it is about to be sent cannot be recorded"))
                clear(pending, None, self._with)
            case _:
                self._let_go(pending.item)

    def _let_go(self, item: WorkItem, result: CallResult = _NOT_RECORDED) -> None:
        """Give up a lease that nobody here works on any more: the work goes on as ``result`` has it.

        A row that is not there, or is somebody else's by now, is fenced off; that needs no head of the stream.
        """
        if item.action is Action.APPLY:
            change: MoveWork | CloseWork = later(item)
        else:
            policy = self._with.policies[item.gateway]
            now, chance = self._with.runtime.now(), self._with.runtime.random()
            change = next_step(item, result, policy, now=now, chance=chance, status=None)
        part = Part(fence=Fence(item.work_id, item.token), work=(change,))
        self._with.journal.tell(Append(Write(self._stream, Head(), (part,)), 0, _Listening(self._with.leases_unknown)))


class _Listening:
    """Hears whether a lease was given up."""

    __slots__ = ("_leases_unknown",)

    def __init__(self, leases_unknown: Callable[[], None]) -> None:
        self._leases_unknown = leases_unknown

    def tell(self, message: object, /) -> None:
        if isinstance(message, Written) and isinstance(message.result, Unanswered):
            self._leases_unknown()
