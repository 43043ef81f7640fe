"""Shared by operations about work: the metadata in its payload, and what happens to it after a commit or a failure."""

from __future__ import annotations

from typing import Final

from actors.customer.context import CustomerContext
from actors.gateways.retry_policy import next_step
from actors.messages import Append, CallResult, DeadLettered, Unanswered, WorkDue, Written
from actors.work import read_context
from domain.outcomes import Unknown
from store.codec import Metadata
from store.port import CloseWork, Fence, Head, MoveWork, Part, StreamKey, WorkItem, WorkState, Write

_NOT_RECORDED: Final = Unknown("this process could not record what became of it")


def metadata_of(item: WorkItem) -> Metadata:
    """The metadata of events that the work leads to."""
    return read_context(item.payload) if item.payload is not None else Metadata(item.work_id)


def announce_move(item: WorkItem, move: MoveWork | None, context: CustomerContext) -> None:
    """Request a timer for moved work from the scheduler or the dead-letter actor."""
    if move is None:
        return
    if move.state in {WorkState.DEAD, WorkState.PARKED}:
        context.dead_letters.tell(DeadLettered(item, move))
    else:
        context.scheduler.tell(WorkDue(item.gateway, move.delay_s))


def give_back(stream: StreamKey, item: WorkItem, context: CustomerContext, result: CallResult = _NOT_RECORDED) -> None:
    """Give up a lease, so that the work continues as after a call with this ``result``."""
    policy = context.policies[item.gateway]
    now, chance = context.runtime.now(), context.runtime.random()
    release(stream, item, next_step(item, result, policy, now=now, chance=chance, status=None), context)


def release(stream: StreamKey, item: WorkItem, change: MoveWork | CloseWork, context: CustomerContext) -> None:
    """Give up a lease with this ``change`` of the work.

    The fence rejects it when the row is missing or another process has it already. It needs no head of the stream.
    """
    part = Part(fence=Fence(item.work_id, item.token), work=(change,))
    context.journal.tell(Append(Write(stream, Head(), (part,)), 0, _ReleaseListener(context)))


class _ReleaseListener:
    """Receives the journal's answer: whether the lease was given up."""

    __slots__ = ("_context",)

    def __init__(self, context: CustomerContext) -> None:
        self._context = context

    def tell(self, message: object, /) -> None:
        if isinstance(message, Written) and isinstance(message.result, Unanswered):
            self._context.leases_unknown()
