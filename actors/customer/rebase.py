"""How the loser of a conflict goes on: what it missed is folded into what it knew, without asking the store again."""

from __future__ import annotations

from collections.abc import Sequence

from domain.account import Account, UnknownTransactionError, evolve
from store.codec import decode
from store.errors import CorruptStoreError
from store.port import Head, StoredEvent


def rebase(account: Account, missed: Sequence[StoredEvent]) -> tuple[Account, Head] | None:
    """``account`` after the events that it missed, and where the stream ends then; None when only a load can tell.

    That is so when nothing was missed because the head was never in the stream, when another process went on with a
    transaction that is not remembered here, and when a newer version of the service wrote what this one cannot read.
    """
    if not missed:
        return None
    try:
        for stored in missed:
            account = evolve(account, decode(stored.body))
    except (UnknownTransactionError, CorruptStoreError):
        return None
    return account, Head(missed[-1].version, missed[-1].hash)
