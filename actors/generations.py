"""The store's generation, and whether the store still holds what this process saw stored. Shared by a process's actors.

A store may return to an earlier state under a running process, when a promoted replica lacks the last commits. Then
leases reappear that this process does not work on, and records of sendings are missing. The process that detects this
begins the next generation, in which all unfinished work counts as possibly sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from store.port import CloseWork, Store, StreamKey, WorkItem, Write

logger: Final = logging.getLogger(__name__)

STRAGGLERS_S: Final = 120.0
"""How long after the start of a generation a contradiction may still result from the previous one."""


class EventMark(NamedTuple):
    """An event that this process saw stored; known by its id, because a repeated write may have another time."""

    stream: StreamKey
    version: int
    event_id: str

    def holds(self, store: Store) -> bool:
        """Whether the store still has it."""
        return store.holds(*self)


class WorkMark(NamedTuple):
    """A piece of work that this process saw under ``token``, or finished (None)."""

    work_id: str
    token: int | None

    def holds(self, store: Store) -> bool:
        """Whether its token is no lower now. Finished work never reappears."""
        lease = store.lease(self.work_id)
        return lease is None or (self.token is not None and lease.token >= self.token)


Marks = dict[str, EventMark | WorkMark]


class Generations:
    """The generation that this process follows, and the newest marks that it saw stored in it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.generation = 0
        self._began_at = -inf
        self._doubted = False
        self._newest: Marks = {}
        self._newest_before: Marks = {}
        """The marks at the last look."""

    def begin(self, generation: int) -> None:
        """Start with ``generation``; this process has no state of an earlier one."""
        self.generation = generation

    def adopt(self, generation: int) -> bool:
        """Switch to ``generation``; whether it differs from the one before."""
        if generation == self.generation:
            return False
        self.generation, self._began_at = generation, self._monotonic()
        self._doubted, self._newest, self._newest_before = False, {}, {}
        return True

    def committed(self, write: Write, generation: int) -> None:
        """Record that ``write``, sent in this ``generation``, is stored. Ignores a write of another generation."""
        newest = self._newest  # read first: if the next generation begins now, this dictionary is no longer used
        if generation != self.generation:
            return
        for part in write.parts:
            if part.events:
                newest["event"] = EventMark(write.stream, part.events[-1].version, part.events[-1].event_id)
            if part.fence is not None and part.work and part.work[0].work_id == part.fence.work_id:
                token = None if isinstance(part.work[0], CloseWork) else part.fence.token + 1
                newest["work"] = WorkMark(part.fence.work_id, token)

    def claimed(self, item: WorkItem) -> None:
        """Record that ``item`` is leased to this process."""
        self._newest["claim"] = WorkMark(item.work_id, item.token)

    def suspect(self) -> None:
        """Record evidence that the store is earlier than this process's state."""
        if self._monotonic() - self._began_at > STRAGGLERS_S:
            self._doubted = True

    def look(self, store: Store) -> int:
        """The store's present generation; begins the next one if the store lost something. Raises StoreError."""
        generation = store.feed().generation
        if generation > self.generation:
            return generation  # another process found it, or an operator said so
        newest = dict(self._newest)
        marks = {*newest.values(), *self._newest_before.values()}
        lost = self._doubted or generation < self.generation
        if not lost and all(mark.holds(store) for mark in marks):
            self._newest_before = newest
            return generation
        logger.critical(
            "the store was put back to an earlier state: all unfinished work counts as possibly sent",
            extra={"fields": {"generation": self.generation}},
        )
        return store.begin_generation(self.generation)
