"""Discard: fail the transaction of a dead letter permanently, on an operator's command."""

from __future__ import annotations

from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.operation import Batch
from actors.operations.related_work import announce, parents_work
from actors.replies import Accepted
from domain.account import DISCARDED, Refused
from domain.commands import Discard
from domain.state_machine import decide
from store.codec import Metadata
from store.port import CloseWork, Fence, Part, WorkChange, WorkItem

_MAY_HAVE_ARRIVED = "An attempt may have reached the gateway. Confirm the outcome with the provider, then resolve it."
_NO_GATEWAY = "Its gateway is not configured, so it is not known whether an attempt reached it."


class DiscardOperation(CommandOperation):
    """Discard the dead letter ``item``, as the operator saw it. Refused once another process has its work."""

    __slots__ = ("command", "item", "others")

    def __init__(self, command: Discard, item: WorkItem, metadata: Metadata) -> None:
        super().__init__(metadata)
        self.command: Discard = command
        self.item = item
        self.others: tuple[WorkChange, ...] = ()  # what becomes of the work of its transaction's parent

    @property
    def transaction_id(self) -> str:
        """The dead letter's transaction."""
        return self.command.transaction_id

    @property
    def work_id(self) -> str:
        """The dead letter's work."""
        return self.item.work_id

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Record the failure and close the work. Refused where the gateway may have received an attempt."""
        item, command = self.item, self.command
        self.others = ()
        known = batch.known(command.transaction_id)
        if self.in_doubt and known.failure is not None and known.failure.code == DISCARDED:
            self.answer = Accepted(known)  # an earlier write of this operation was stored
            batch.on_commit(self)
            return
        if known.status.terminal:
            batch.refuse(self, Refused("dead-letter-busy", f"It is {known.status} by now."))
            return
        policy = context.policies.get(item.gateway)
        if policy is None or not policy.discardable(item):
            batch.refuse(self, Refused("not-discardable", _NO_GATEWAY if policy is None else _MAY_HAVE_ARRIVED))
            return
        decision = decide(batch.account, command)
        if isinstance(decision, Refused):
            batch.refuse(self, decision)
            return
        events = batch.record(decision, self.metadata, self.event_ids)
        self.others = parents_work(batch, command.transaction_id, decision)
        fence, work = Fence(item.work_id, item.token), (CloseWork(item.work_id), *self.others)
        batch.add_part(Part(events=events, fence=fence, work=work), self)
        self.answer = Accepted(batch.account.transactions[command.transaction_id])
        batch.on_commit(self)

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:
        """Pass on moved work, then answer."""
        announce(self.others, self.item.gateway, context)
        super().after_commit(batch, context)
