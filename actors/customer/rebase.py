"""Rebase after a conflict: fold the missed events into the account without another load."""

from __future__ import annotations

from collections.abc import Sequence

from domain.account import Account, UnknownTransactionError
from domain.state_machine import evolve
from store.codec import decode
from store.errors import CorruptStoreError
from store.port import Head, StoredEvent


def rebase(account: Account, missed: Sequence[StoredEvent]) -> tuple[Account, Head] | None:
    """``account`` after the ``missed`` events, and the stream's new head; None when a load is needed.

    A load is needed when the head was never in the stream, so that nothing was missed; when another process advanced a
    transaction that is not held here; and when a newer version of the service wrote an event that this one cannot read.
    """
    if not missed:
        return None
    try:
        for stored in missed:
            account = evolve(account, decode(stored.body))
    except (UnknownTransactionError, CorruptStoreError):
        return None
    return account, Head(missed[-1].version, missed[-1].hash)
