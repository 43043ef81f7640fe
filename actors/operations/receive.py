"""Receive: accept a client's deposit or withdrawal."""

from __future__ import annotations

from actors.customer.operation import Batch
from actors.operations.new_transaction import NewTransaction
from domain.commands import Receive


class ReceiveOperation(NewTransaction[Receive]):
    """A client's deposit or withdrawal."""

    __slots__ = ()

    @property
    def vocabulary(self) -> int:
        """See CommandOperation."""
        return 2 if self.command.manual_capture else 1

    def gateway(self, batch: Batch) -> str:  # noqa: ARG002
        """See NewTransaction."""
        return self.command.gateway
