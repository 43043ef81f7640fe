"""A store that fails by chance around a real one: not available, uncertain, broken, or the process dies right there."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import AppendResult, Snapshot, StreamKey, WorkItem, Write
from store.sqlite.adapter import SqliteStore


class Crashed(BaseException):
    """The process dies here. Whoever steps the runtime must look at ``FaultyStore.crashed`` and stop."""


class FaultyStore:
    """Implements store.port.Store. What it lets through is the real store's."""

    def __init__(self, store: SqliteStore, chance: random.Random) -> None:
        self._store, self._chance = store, chance
        self.calm = False
        self.crashed = False

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store; may die or fail before or after the commit."""
        draw = 1.0 if self.calm else self._chance.random()
        if draw < 0.01:
            self._die()
        if draw < 0.03:
            raise StoreUnavailableError("simulated")
        if draw < 0.04:
            raise CommitUncertainError("simulated: not stored")
        if draw < 0.05:
            raise RuntimeError("simulated defect before the commit")
        results = self._store.append(writes)
        if draw < 0.06:
            self._die()
        if draw < 0.08:
            raise CommitUncertainError("simulated: stored")
        if draw < 0.09:
            raise RuntimeError("simulated defect after the commit")
        return results

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See Store."""
        if not self.calm and self._chance.random() < 0.03:
            raise StoreUnavailableError("simulated")
        return self._store.load(stream, transaction_ids)

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See Store."""
        draw = 1.0 if self.calm else self._chance.random()
        if draw < 0.03:
            raise StoreUnavailableError("simulated")
        items = self._store.claim_work(owner, gateway, limit)
        if draw < 0.05:
            self._die()
        return items

    def register_owner(self, owner: str) -> None:
        """See Store."""
        self._store.register_owner(owner)

    def heartbeat(self, owner: str) -> bool:
        """See Store."""
        return self._store.heartbeat(owner)

    def retire_owner(self, owner: str) -> int:
        """See Store."""
        return self._store.retire_owner(owner)

    def release_dead(self, lease_s: float) -> int:
        """See Store."""
        return self._store.release_dead(lease_s)

    def next_due_s(self, gateway: str) -> float | None:
        """See Store."""
        return self._store.next_due_s(gateway)

    def close(self) -> None:
        """See Store."""
        self._store.close()

    def _die(self) -> None:
        self.crashed = True
        raise Crashed
