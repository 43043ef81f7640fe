"""The heartbeat of a process: it keeps its leases alive and, if it calls gateways, releases those of dead processes.

Each beat also follows the wall clock, detects a store that returned to an earlier state, and gives back leases that
no actor of this process works on.
"""

from __future__ import annotations

import logging
from typing import Final

from actors.generations import Generations
from actors.leases import Leases
from actors.listeners import Listener
from actors.messages import LeasesRevoked, Recipient
from actors.runtime.runtime import Runtime
from domain.events import VOCABULARY
from store.errors import StoreError
from store.port import Store

logger: Final = logging.getLogger(__name__)

BEAT_MAX_S: Final = 5.0
"""The longest time between two beats, however long a lease is."""
CLOCK_OFF_S: Final = 1.0
"""How far the wall clock may go back before due times are moved with it."""


class Health:
    """What the newest beat found. Outlives the scheduler; read by other threads."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """Why this process is not ready, for ``/readyz``; None when the store took the newest beat."""
        self.beaten_at: float | None = None
        """When the store took the newest beat, on the monotonic clock; None before the first."""
        self.vocabulary_floor = 1
        """The set of events that all live processes know (``domain.events.VOCABULARY``), as of the newest beat."""
        self.clocks: tuple[float, float] | None = None
        """The readings of the wall clock and the monotonic clock at the same moment, in seconds."""


class Heartbeat:
    """One beat at a time; ``interval_s`` apart. Owned by the scheduler, which blocks on the store.

    ``releases``: whether this process releases the work of dead ones. Only a process that calls gateways does.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        lease_s: float,
        supervisor: Recipient,
        health: Health,
        leases: Leases,
        generations: Generations,
        listener: Listener,
        releases: bool,
    ) -> None:
        self._runtime, self._store, self._lease_s = runtime, store, lease_s
        self._supervisor, self._health, self._leases = supervisor, health, leases
        self._generations, self._listener, self._releases = generations, listener, releases
        self.interval_s: Final = min(lease_s / 3, BEAT_MAX_S)

    def beat(self) -> None:
        """Renew the heartbeat and release the work of dead processes. Raises no Exception."""
        try:
            self._follow_clock()
            self._check_generation()
            self._leases.give_back()
            if not self._store.heartbeat(self._leases.owner) and not self._leases.retired:  # in this order: see retire
                self._listener.leases_lost()
                self._store.register_owner(self._leases.owner, VOCABULARY)
            released = self._store.release_dead(self._lease_s) if self._releases else 0
            if released:
                self._listener.taken_over(released)
            self._health.vocabulary_floor = self._store.vocabulary_floor()
            self._health.problem, self._health.beaten_at = None, self._runtime.monotonic()
        except StoreError as error:
            self._health.problem = f"The store does not answer: {error}"
            logger.warning("the store did not take the heartbeat: %s", error)
        except Exception:  # a scheduler that dies of it would begin with another beat at once, in an endless loop
            self._health.problem = "The heartbeat failed; see the log."
            logger.exception("the heartbeat failed")

    def _check_generation(self) -> None:
        """Revoke all leases if the store no longer holds what this process saw stored. Raises StoreError."""
        generation = self._generations.look(self._store)
        if generation != self._generations.generation:
            self._leases.doubt()  # work claimed before the supervisor dropped its waiting work has no actor then
            self._supervisor.tell(LeasesRevoked())  # first: when this fails, the next beat repeats it
            self._generations.adopt(generation)

    def _follow_clock(self) -> None:
        """Move due times, which are wall-clock times, back with a clock that was set back. Raises StoreError."""
        now = (self._runtime.now().timestamp(), self._runtime.monotonic())
        wall, monotonic = self._health.clocks or now
        lost_s = (now[1] - monotonic) - (now[0] - wall)
        if lost_s > CLOCK_OFF_S:
            moved = self._store.clock_set_back(lost_s)
            logger.warning("the clock was set back", extra={"fields": {"seconds": round(lost_s, 1), "count": moved}})
        if self._health.clocks is None or abs(lost_s) > CLOCK_OFF_S:
            self._health.clocks = now
