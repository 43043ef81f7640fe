"""Adjust: correct a customer's balance, on an operator's command."""

from __future__ import annotations

from typing import Final

from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.idempotency import IdempotencyKey, claim_of
from actors.customer.operation import Batch
from actors.replies import Adjusted
from domain.account import Refused
from domain.commands import Adjust
from domain.state_machine import decide
from store.codec import Metadata
from store.port import Claim, Part

_SCOPE: Final = "adjustment"


class AdjustOperation(CommandOperation):
    """Correct a balance exactly once, however often its write is tried."""

    __slots__ = ("command", "stored")

    def __init__(self, command: Adjust, metadata: Metadata, idempotency_key: IdempotencyKey | None = None) -> None:
        super().__init__(metadata, idempotency_key)
        self.command: Adjust = command
        self.stored = False  # by an earlier write

    @property
    def own_id(self) -> str:
        """The adjustment's id."""
        return self.command.adjustment_id

    def may_be_stored(self, version: int) -> bool:  # noqa: ARG002  # no row shows it, only its claim does
        """See CommandOperation."""
        return self.in_doubt

    def decide(self, batch: Batch, context: CustomerContext) -> None:  # noqa: ARG002
        """Record the correction. Refused for a customer without a record, whose id must be a mistake."""
        command = self.command
        if not self.stored:
            decision = decide(batch.account, command)
            if batch.account.version == 0:
                decision = Refused("no-such-customer", "Nothing is on record of this customer.")
            if isinstance(decision, Refused):
                batch.refuse(self, decision)
                return
            own, key = Claim(_SCOPE, command.adjustment_id, b""), self.idempotency_key
            claims = (own,) if key is None else (own, claim_of(key, command.adjustment_id))
            events = batch.record(decision, self.metadata, self.event_ids)
            batch.add_part(Part(events=events, claims=claims), self)
            batch.touch(command.money.currency)
        self.answer = Adjusted(command.adjustment_id, batch.account)
        batch.on_commit(self)

    def replayed(self, held: Claim) -> bool:
        """See Operation."""
        if held.scope != _SCOPE:
            return super().replayed(held)
        self.stored = True
        return False
