"""Resolve: settle a transaction with the outcome that an operator confirmed with the provider."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.operation import Batch
from actors.operations.related_work import announce, expiry_of, parents_work, work_after
from actors.replies import Accepted
from domain.account import Refused, Status
from domain.commands import Resolution, Resolve
from domain.state_machine import decide
from store.codec import Metadata
from store.port import Action, Fence, Part, WorkChange, WorkItem, WorkState
from store.queries import DeadLetter


class ResolveOperation(CommandOperation):
    """Settle a transaction. ``item``: its work as the operator saw it; refused once another process has it.

    ``under_way``: a process is about to send it, or may be.
    """

    __slots__ = ("changes", "command", "item", "under_way")

    def __init__(self, command: Resolve, item: WorkItem | None, metadata: Metadata, *, under_way: bool) -> None:
        super().__init__(metadata)
        self.command: Resolve = command
        self.item, self.under_way = item, under_way
        self.changes: tuple[WorkChange, ...] = ()  # of the work of the transaction and its parent

    @classmethod
    def on(cls, work: DeadLetter | None, command: Resolve, metadata: Metadata) -> Self:
        """The operation for a transaction with this ``work``. Without work it has ended, or is about to end."""
        under_way = work is None or (work.item.action is Action.SUBMIT and work.state is WorkState.LEASED)
        return cls(command, None if work is None else work.item, metadata, under_way=under_way)

    @property
    def transaction_id(self) -> str:
        """The transaction to settle."""
        return self.command.transaction_id

    @property
    def work_id(self) -> str | None:
        """The transaction's work."""
        return None if self.item is None else self.item.work_id

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Record the outcome under a new token of the work, so that no late answer is recorded."""
        command, item = self.command, self.item
        known = batch.known(command.transaction_id)
        wanted = Status(command.outcome)
        if command.outcome is Resolution.AUTHORIZED:
            command = replace(command, expires_at=expiry_of(known.gateway, batch.now, context))
        if self.in_doubt and known.status is wanted:  # an earlier write of it was stored, as far as the record shows
            self.answer = Accepted(known)
            batch.on_commit(self)
            return
        decision = decide(batch.account, command)
        if not isinstance(decision, Refused) and self.under_way:
            detail = "It is being sent to its gateway now. Look at it again later."
            decision = Refused("still-under-way", detail)
        if isinstance(decision, Refused):
            batch.refuse(self, decision)
            return
        events = batch.record(decision, self.metadata, self.event_ids)
        fence = None if item is None else Fence(item.work_id, item.token)
        resolved = batch.account.transactions[command.transaction_id]
        own = work_after(resolved, context.policies.get(resolved.gateway), batch.now)
        self.changes = (own, *parents_work(batch, command.transaction_id, decision))
        batch.add_part(Part(events=events, fence=fence, work=self.changes), self)
        self.answer = Accepted(resolved)
        batch.on_commit(self)

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:
        """Pass on moved work, then answer."""
        assert isinstance(self.answer, Accepted)
        announce(self.changes, self.answer.transaction.gateway, context)
        super().after_commit(batch, context)
