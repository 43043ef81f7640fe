"""Shared by operations that accept a client's command as a new transaction: record it, then pass its work on."""

from __future__ import annotations

from typing import Generic, TypeVar

from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.idempotency import IdempotencyKey, claim_of
from actors.customer.operation import Batch
from actors.messages import Submit
from actors.operations.leases import give_back
from actors.replies import Accepted
from actors.work import first_item, lost_item, open_submit, write_context
from domain.account import Account, Refused
from domain.commands import Receive, ReceiveChild
from domain.state_machine import decide
from messaging.port import WorkHint
from store.codec import Metadata
from store.port import Part, StreamKey, WorkItem

C = TypeVar("C", Receive, ReceiveChild)


class NewTransaction(CommandOperation, Generic[C]):
    """A client's command that becomes a transaction. The part that is common to all kinds."""

    admission = "commands"
    __slots__ = ("command", "dispatched", "item", "leased")

    def __init__(self, command: C, metadata: Metadata, idempotency_key: IdempotencyKey | None = None) -> None:
        super().__init__(metadata, idempotency_key)
        self.command: C = command
        self.leased: bool | None = None  # whether this process opens the work as its own, once that is decided
        self.item: WorkItem | None = None  # the work, once that is decided
        self.dispatched = False  # the work was passed on

    @property
    def transaction_id(self) -> str:
        """The transaction that it becomes."""
        return self.command.transaction_id

    @property
    def to_load(self) -> tuple[str, ...]:
        """A new transaction cannot be on record."""
        return (self.command.transaction_id,) if self.taken else ()

    def gateway(self, batch: Batch) -> str:
        """The gateway of the new transaction. Raises UnknownTransactionError."""
        raise NotImplementedError

    def is_on_record(self, account: Account) -> bool:
        """See CommandOperation."""
        return self.command.transaction_id in account.transactions

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Record the transaction with its work and the claim of its idempotency key, or refuse it."""
        command = self.command
        if self.leased is None:  # once: a repeated write must have the same content as the first one
            self.leased = context.backpressure.open.get(self.gateway(batch), False)
        decision = decide(batch.account, command)
        if isinstance(decision, Refused):
            batch.refuse(self, decision)
            return
        if self.decided_at is None:
            self.decided_at = batch.now
        events = batch.record(decision, self.metadata, self.event_ids, at=self.decided_at)
        transaction = batch.account.transactions[command.transaction_id]
        payload = write_context(self.metadata, self.event_ids[0])
        if events:  # none: an earlier write of this operation was stored after all
            key = self.idempotency_key
            claims = () if key is None else (claim_of(key, command.transaction_id),)
            work = (open_submit(transaction, context.owner if self.leased else None, payload),)
            batch.add_part(Part(events=events, claims=claims, work=work), self)
        self.item, self.answer = first_item(batch.stream, transaction, payload), Accepted(transaction)
        batch.on_commit(self)

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:
        """Pass the work on, then answer."""
        if not self.dispatched:
            assert self.item is not None
            self.dispatched = True  # first: to pass it on twice would be worse than not at all
            try:
                self._dispatch(self.item, context)
            except BaseException:
                self.dispatched = False
                raise
        super().after_commit(batch, context)

    def _dispatch(self, item: WorkItem, context: CustomerContext) -> None:
        if self.leased:
            context.supervisor.tell(Submit(item.gateway, (item,)))
        else:
            context.queue.announce(WorkHint(item.work_id, item.work_id, item.gateway))

    def poisoned(self, stream: StreamKey, context: CustomerContext) -> None:
        """Answer that the result is uncertain. If it is stored, its lease is given back."""
        super().poisoned(stream, context)
        item = self.item
        if self.leased and not self.dispatched and item is not None:
            command = self.command
            give_back(stream, lost_item(stream, command.transaction_id, command.kind, item.gateway), context)
