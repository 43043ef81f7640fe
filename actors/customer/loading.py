"""The account that an actor holds: how it is loaded, and how much of it stays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from actors.customer.context import CustomerContext
from actors.customer.loader import LoadRequest
from actors.customer.operation import Operation
from actors.messages import Recipient
from domain.account import TERMINAL, Account, Transaction
from store.port import Load, StreamKey

CACHED_MAX: Final = 128
"""Unfinished transactions kept in memory. Older ones are loaded when their outcome arrives."""
_NO_TRANSACTIONS: Final[Mapping[str, Transaction]] = MappingProxyType({})  # one for all idle customers


def wanted_for(operations: Iterable[Operation], account: Account | None) -> tuple[str, ...]:
    """The transactions that a load must look for: those of ``operations``, and those held already."""
    wanted = {transaction_id: None for operation in operations for transaction_id in operation.to_load}
    if account is not None:
        wanted.update(dict.fromkeys(account.transactions))
    return tuple(wanted)


def load(
    context: CustomerContext,
    stream: StreamKey,
    transaction_ids: tuple[str, ...],
    operations: Sequence[Operation],
    *,
    serial: int,
    reply_to: Recipient,
) -> None:
    """Read the account, and the present leases of fenced ``operations``; ``reply_to`` gets Loaded."""
    fenced = [work_id for it in operations if it.fenced and (work_id := it.work_id) is not None]
    context.loader.submit(LoadRequest(Load(stream, transaction_ids), fenced, serial, reply_to))


def trimmed(account: Account) -> Account:
    """Forget what is finished, except parents of the unfinished, and what has been unfinished for long."""
    known = account.transactions
    open_ones: dict[str, Transaction] = {
        key: transaction for key, transaction in known.items() if transaction.status not in TERMINAL
    }
    if not open_ones:
        return Account(account.customer_id, account.version, account.balances, _NO_TRANSACTIONS)
    for key in list(open_ones)[: max(len(open_ones) - CACHED_MAX, 0)]:
        del open_ones[key]
    parents = [one.parent_id for one in open_ones.values() if one.parent_id is not None]
    open_ones.update((parent_id, known[parent_id]) for parent_id in parents if parent_id in known)
    return Account(account.customer_id, account.version, account.balances, open_ones)
