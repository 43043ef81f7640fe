"""Operations about a piece of work: the result of a call, or a call that is about to be made."""

from __future__ import annotations

import logging
from typing import Final

from actors.customer.context import CustomerContext
from actors.customer.operation import Operation
from actors.customer.restored import Standing, standing_of
from domain.account import Account
from store.port import Lease, StreamKey, WorkItem

logger: Final = logging.getLogger(__name__)


class WorkOperation(Operation):
    """An operation about a piece of work that this process leases. The work's token fences it."""

    survives_defects = True
    __slots__ = ("fenced", "item")

    def __init__(self, item: WorkItem) -> None:
        self.item = item
        self.event_ids: list[str] = []
        self.in_doubt = self.fenced = False
        self.crashes = 0

    @property
    def transaction_id(self) -> str | None:
        """The work's transaction."""
        return None if self.item.transaction is None else self.item.transaction.transaction_id

    @property
    def work_id(self) -> str:
        """See Operation."""
        return self.item.work_id

    @property
    def fields(self) -> dict[str, str | None]:
        """See Operation."""
        return {"work_id": self.work_id}

    def fenced_off(self) -> bool:
        """See Operation."""
        self.fenced = True  # the next load reads the present lease
        return False

    def with_lease(self, lease: Lease | None, account: Account, context: CustomerContext) -> bool:
        """See Operation."""
        self.fenced = False
        standing = standing_of(self.item, self.transaction_id, lease, account)
        if standing.store_is_earlier:
            logger.error("the store is earlier than this process's state", extra={"fields": self.fields})
            context.generations.suspect()
        return self.with_standing(standing, lease, context)

    def with_standing(self, standing: Standing, lease: Lease | None, context: CustomerContext) -> bool:
        """Whether to decide again when its work has this ``standing``."""
        raise NotImplementedError

    def without_transaction(self, stream: StreamKey, context: CustomerContext) -> bool:
        """See Operation: the store was restored to an earlier state."""
        context.generations.suspect()
        if self.transaction_lost():
            return True
        self.give_up(stream, context)
        return False

    def transaction_lost(self) -> bool:
        """Whether something is left to decide when its transaction is no longer on record."""
        return False

    def simplify(self) -> bool:
        """See Operation: the work must continue, so it is tried again unchanged."""
        return True
