"""An operator that skips an event which the broker refuses, and sometimes has events published again."""

from __future__ import annotations

import random
from typing import Final

from messaging.relay import RELAY_OF_EVENTS
from store.relays import MoveRefusedError, rewind, skip
from tests.simulation.databases import Database
from tests.simulation.history import History
from tests.simulation.timeline import Timeline

SKIPS: Final = 0.3
REWINDS: Final = 0.02


class RelayOperator:
    """Acts on the database directly, as ``manage.py relay`` does."""

    def __init__(self, chance: random.Random, history: History, timeline: Timeline, database: Database) -> None:
        self._chance, self._history, self._timeline, self._database = chance, history, timeline, database
        self._commands = 0

    def act(self) -> None:
        """Look at the relay, and maybe move its checkpoint."""
        draw = self._chance.random()
        if draw >= SKIPS:
            return
        self._database.tell_time(self._timeline.clock())
        with self._database.relay_desk(self._timeline.clock) as desk:
            relay = next((each for each in desk.relays() if each.name == RELAY_OF_EVENTS), None)
            if relay is None:
                return
            self._commands += 1
            who = f"operator-{self._commands}"
            try:
                if relay.refusal is not None:
                    skip(desk, relay.name, relay.refusal.position, who=who, reason="simulated")
                    self._note("skip", who, relay.position, relay.refusal.position)
                elif draw < REWINDS and relay.position:
                    to = self._chance.randrange(relay.position)
                    rewind(desk, relay.name, to, who=who, reason="simulated")
                    self._note("rewind", who, relay.position, to)
            except MoveRefusedError:
                pass  # a lost refusal: the relay has moved on since

    def _note(self, action: str, who: str, before: int, to: int) -> None:
        where = {"name": RELAY_OF_EVENTS, "who": who, "before": before, "to": to}
        self._history.add("moved", self._timeline.now, action=action, **where)
