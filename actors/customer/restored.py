"""The state of a fenced report's work: another process has it, or the store was restored to an earlier state.

After a restore, a provider's report is applied under the present token of its work, or reviewed when its transaction is
no longer on record. Nothing is sent on the basis of lost records.
"""

from __future__ import annotations

from enum import Enum

from domain.account import Account
from store.port import TOKENS_APART, Lease, WorkItem


class Standing(Enum):
    """The present state of work whose token is stale."""

    GONE = "neither the work nor its transaction is on record"
    EARLIER = "the store has an earlier token than this process was given"
    ANOTHER_GENERATION = "a later generation of the store issued the token"
    TAKEN = "another owner advanced the work, or it is closed"

    @property
    def store_is_earlier(self) -> bool:
        """Whether the store lost what this process saw stored."""
        return self in {Standing.GONE, Standing.EARLIER}

    @property
    def reissued(self) -> bool:
        """Whether the present token belongs to the same work, though this process never saw it."""
        return self in {Standing.EARLIER, Standing.ANOTHER_GENERATION}


def standing_of(item: WorkItem, transaction_id: str | None, lease: Lease | None, account: Account) -> Standing:
    """The state of the work of ``item``, whose token was stale; ``lease`` is its present lease."""
    if lease is None:
        gone = transaction_id is not None and transaction_id not in account.transactions
        return Standing.GONE if gone else Standing.TAKEN
    if lease.token <= item.token:
        return Standing.EARLIER
    return Standing.ANOTHER_GENERATION if lease.token - item.token >= TOKENS_APART else Standing.TAKEN
