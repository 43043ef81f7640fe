"""The account that an actor holds: how it is loaded, and how much of it stays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from pykka import ActorDeadError

from actors.customer.context import CustomerContext
from actors.customer.operation import Operation
from actors.messages import Loaded, Recipient
from domain.account import TERMINAL, Account, Transaction
from store.port import Lease, Snapshot, StreamKey

CACHED_MAX: Final = 128
"""Unfinished transactions kept in memory. Older ones are loaded when their outcome arrives."""


def wanted_for(operations: Iterable[Operation], account: Account | None) -> tuple[str, ...]:
    """The transactions that a load must look for: those of ``operations``, and those held already."""
    wanted = {known: None for operation in operations if (known := operation.to_load) is not None}
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
    store = context.store

    def read() -> None:
        leases: dict[str, Lease | None] = {}
        try:
            result: Snapshot | BaseException = store.load(stream, transaction_ids)
            leases.update((work_id, store.lease(work_id)) for work_id in fenced)
        except BaseException as error:  # noqa: BLE001  # the actor waits for an answer, whatever it is
            result = error
        with suppress(ActorDeadError):  # the successor loads for itself
            reply_to.tell(Loaded(serial, result, leases))

    context.loader.submit(read)


def trimmed(account: Account) -> Account:
    """Forget what is finished, and what has been unfinished for long."""
    open_ones: dict[str, Transaction] = {
        key: transaction for key, transaction in account.transactions.items() if transaction.status not in TERMINAL
    }
    for key in list(open_ones)[: max(len(open_ones) - CACHED_MAX, 0)]:
        del open_ones[key]
    return Account(account.customer_id, account.version, account.balances, open_ones)
