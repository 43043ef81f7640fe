"""The leases of a process: claims due work under its owner id, and gives back leases that no actor works on.

A lease is held as long as its owner's heartbeat. A claim whose commit is uncertain may have leased work that this
process does not have, and such work must not stay leased. All leases are given back then, and claimed again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from actors.backpressure import Backpressure
from actors.generations import Generations
from actors.runtime.runtime import Runtime
from domain.events import VOCABULARY
from store.errors import CommitUncertainError, StoreError
from store.port import Store, WorkItem

logger: Final = logging.getLogger(__name__)

LANDS_WITHIN_S: Final = 15.0
"""How long a call whose connection was cut may still run in a store: above every server's statement timeout."""


class Leases:
    """Outlives the scheduler. Any thread may call ``doubt``; the rest is for the scheduler and the shutdown."""

    def __init__(
        self, *, runtime: Runtime, store: Store, owner: str, backpressure: Backpressure, generations: Generations
    ) -> None:
        self._runtime, self._store, self.owner = runtime, store, owner
        self._backpressure, self._generations = backpressure, generations
        self.retired = False
        """This process gave up all leases and must not register again."""
        self._unknown = False
        """Work may be leased to this process without an actor that has it."""
        self._doubted = False
        """The same, reported by ``doubt``. A field of its own: it may be set while leases are given back."""
        self._claim_lands_by = inf
        """Until then, on the monotonic clock, a claim whose connection was cut may still be committed."""

    def doubt(self) -> None:
        """Report that a lease could not be given up: the next beat gives all leases back."""
        self._doubted = True

    def claim(self, queue: str, limit: int, assign: Callable[[Sequence[WorkItem]], bool]) -> int | None:
        """Lease up to ``limit`` due pieces of work of ``queue`` and pass them to ``assign``.

        Returns their number (0 when nothing is due), or None when the claim failed or none was made. ``assign``
        returns whether an actor has each of them; if not, all leases are given back. Raises what ``assign`` raises.
        """
        if not self._backpressure.processing or self._backpressure.draining:
            return None
        unknown, self._unknown = self._unknown, True  # until an actor has what was claimed
        try:
            items = self._store.claim_work(self.owner, queue, limit)
        except CommitUncertainError as error:
            logger.warning("it is not known whether due work was claimed: %s", error)
            self._claim_lands_by = self._runtime.monotonic() + LANDS_WITHIN_S
            return None
        except StoreError as error:
            logger.warning("due work could not be claimed: %s", error)
            self._unknown = unknown
            return None  # the next beat tries again
        except Exception:  # a scheduler that dies of it would claim again at once, in an endless loop
            logger.exception("due work could not be claimed")
            return None
        if items:
            self._generations.claimed(items[-1])
        assigned = assign(items) if items else True
        self._unknown = unknown or not assigned
        return len(items)

    def give_back(self) -> None:
        """Release all leases if some may have no actor. Raises StoreError."""
        if self._runtime.monotonic() >= self._claim_lands_by:  # once more: it may have landed after the first time
            self._doubted, self._claim_lands_by = True, inf
        if not self._unknown and not self._doubted:
            return
        self._doubted = False
        try:
            self._store.retire_owner(self.owner, unsent=False)
        except BaseException:
            self._doubted = True
            raise
        self._unknown = False
        if not self.retired:
            self._store.register_owner(self.owner, VOCABULARY)
