"""Child: accept a client's refund, capture or void of an earlier transaction."""

from __future__ import annotations

from actors.customer.operation import Batch
from actors.operations.new_transaction import NewTransaction
from domain.commands import ReceiveChild


class ChildOperation(NewTransaction[ReceiveChild]):
    """A client's refund, capture or void. It goes to the gateway of its parent."""

    __slots__ = ()

    @property
    def to_load(self) -> tuple[str, ...]:
        """Its parent, and itself once it may be on record."""
        return (self.command.parent_id, *super().to_load)

    @property
    def vocabulary(self) -> int:
        """See CommandOperation."""
        return 2

    def gateway(self, batch: Batch) -> str:
        """See NewTransaction."""
        return batch.known(self.command.parent_id).gateway
