"""A store that writes into the history what was committed through it, and who has which work under which token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
import orjson

from store.port import (
    AppendResult,
    CloseWork,
    Committed,
    DeadLetterFilter,
    GatewayMode,
    Snapshot,
    StreamKey,
    WorkChange,
    WorkItem,
    Write,
)
from store.sqlite.adapter import SqliteStore
from tests.simulation.history import History

T = TypeVar("T")


class RecordingStore:
    """Implements store.port.Store. Changes nothing of what the real one does."""

    def __init__(self, store: SqliteStore, path: Path, history: History, now: Callable[[], float]) -> None:
        self._store, self._history, self._now = store, history, now
        self._eyes = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._rows: dict[str, list[Any]] = {}
        self._look()

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store."""
        results = self._store.append(writes)
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, Committed):
                self._history.add("write", self._now(), stream=list(write.stream), parts=_parts(write))
        self._look()
        return results

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See Store."""
        return self._store.load(stream, transaction_ids)

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See Store."""
        return self._seen(self._store.claim_work(owner, gateway, limit))

    def register_owner(self, owner: str) -> None:
        """See Store."""
        self._store.register_owner(owner)

    def heartbeat(self, owner: str) -> bool:
        """See Store."""
        return self._store.heartbeat(owner)

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """See Store."""
        return self._seen(self._store.retire_owner(owner, unsent=unsent))

    def release_dead(self, lease_s: float) -> int:
        """See Store."""
        return self._seen(self._store.release_dead(lease_s))

    def next_due_s(self, gateway: str) -> float | None:
        """See Store."""
        return self._store.next_due_s(gateway)

    def clock_set_back(self, lost_s: float) -> int:
        """See Store."""
        return self._store.clock_set_back(lost_s)

    def limit_dues(self, max_s: float) -> int:
        """See Store."""
        return self._store.limit_dues(max_s)

    def hasten_lookups(self, gateway: str) -> int:
        """See Store."""
        return self._seen(self._store.hasten_lookups(gateway))

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """See Store."""
        return self._seen(self._store.retry_dead(merchant, where))

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """See Store."""
        return self._store.gateway_modes()

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """See Store."""
        self._store.set_gateway_mode(mode)

    def close(self) -> None:
        """See Store."""
        self._eyes.close()
        self._store.close()

    # what only the simulation asks

    def left_to_do(self, for_people: str) -> set[str]:
        """States of the work that is left; without that for the gateway ``for_people`` which is under review."""
        rows = self._eyes.execute(
            "SELECT DISTINCT w.state FROM work AS w WHERE w.gateway <> ? OR NOT EXISTS"
            " (SELECT 1 FROM reviews AS r WHERE r.transaction_id = w.transaction_id AND r.state = 'open')",
            (for_people,),
        )
        return {str(row[0]) for row in rows}

    def _seen(self, result: T) -> T:
        self._look()
        return result

    def _look(self) -> None:
        rows = {row[0]: list(row[1:]) for row in self._eyes.execute("SELECT work_id, token, state, owner FROM work")}
        changed = {key: rows.get(key) for key in sorted({*rows, *self._rows}) if rows.get(key) != self._rows.get(key)}
        if changed:
            self._history.add("work", self._now(), rows=changed)
        self._rows = rows


def _parts(write: Write) -> list[dict[str, Any]]:
    return [
        {
            "events": [[event.event_id, event.type, _data(event.body)] for event in part.events],
            "fence": None if part.fence is None else list(part.fence),
            "work": [_change(change) for change in part.work],
        }
        for part in write.parts
    ]


def _data(body: bytes) -> Any:
    return orjson.loads(body)["data"]


def _change(change: WorkChange) -> list[str]:
    if isinstance(change, CloseWork):
        return ["close", change.work_id]
    return ["open" if type(change).__name__ == "OpenWork" else "move", change.work_id]
