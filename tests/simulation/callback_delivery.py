"""Delivery of callbacks: each is sent to some process, and repeated until the answer is 200.

Callbacks and their answers are lost or repeated; processes die and freeze while they handle them. The content of a
callback comes from ``provider_callbacks``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from actors.replies import NotStored, Reply, SignatureInvalid, Taken, Uncertain
from store.codec import Metadata
from store.errors import StoreError
from tests.simulation.faults import Crashed
from tests.simulation.history import History
from tests.simulation.signatures import secret_of
from tests.simulation.timeline import Timeline

if TYPE_CHECKING:
    from tests.simulation.process import Process

ANSWER_WITHIN_S: Final = 12.0
"""Time that a provider waits for its 200."""
AGAIN_S: Final = (1.0, 5.0, 60.0, 600.0)
"""Time before it tries again."""
ANSWERS: Final = {Taken: "taken", SignatureInvalid: "unverified", NotStored: "not-stored", Uncertain: "uncertain"}


@dataclass(eq=False)
class Delivery:
    """One callback, sent unchanged until a process accepts it. A ``forged`` one is not from the provider."""

    gateway: str
    event_id: str
    body: bytes
    forged: bool = False
    taken: bool = False
    tries: int = 0


class Notifier:
    """Delivers callbacks. ``find`` returns the process for the next one, or None if no process is reachable."""

    def __init__(
        self,
        chance: random.Random,
        history: History,
        timeline: Timeline,
        rate: float,
        find: Callable[[], Process | None],
    ) -> None:
        self._chance, self._history, self._timeline, self._rate, self._find = chance, history, timeline, rate, find
        self._planned: dict[int, float] = {}
        self._numbers = count(1)
        self.calm = False

    @property
    def next_s(self) -> float | None:
        """Seconds until the next planned step; None without one."""
        return max(min(self._planned.values()) - self._timeline.now, 0.0) if self._planned else None

    def at(self, when: float, function: Callable[[], None]) -> None:
        """Plan a call of ``function`` at the time ``when``; until then it counts as unfinished."""
        number = next(self._numbers)
        self._planned[number] = max(when, self._timeline.now)

        def do() -> None:
            del self._planned[number]
            function()

        self._timeline.after(self._planned[number] - self._timeline.now, do)

    def after(self, delay_s: float, function: Callable[[], None]) -> None:
        """Plan a call of ``function`` in ``delay_s`` seconds."""
        self.at(self._timeline.now + delay_s, function)

    def send(self, letter: Delivery) -> None:
        """Deliver ``letter``, and repeat until a process accepts it."""
        self._deliver_to_some_process(letter)
        if self._happens(0.05):
            self.after(self._chance.choice([0.0, 0.0, 1.0, 600.0]), lambda: self._deliver_to_some_process(letter))
        if not letter.forged:
            letter.tries += 1
            self.after(ANSWER_WITHIN_S, lambda: self._retry_unless_taken(letter))

    def _retry_unless_taken(self, letter: Delivery) -> None:
        if not letter.taken:
            self.after(AGAIN_S[min(letter.tries, len(AGAIN_S)) - 1], lambda: self.send(letter))

    def _deliver_to_some_process(self, letter: Delivery) -> None:
        process = self._find()
        if process is not None and not self._happens(0.1):
            self._deliver(letter, process)

    def _deliver(self, letter: Delivery, process: Process) -> None:
        where = {
            "process": process.number,
            "gateway": letter.gateway,
            "event": letter.event_id,
            "number": next(self._numbers),
        }
        body = letter.body.decode("latin-1")
        self._history.add("callback", self._timeline.now, body=body, forged=letter.forged, **where)
        facade, runtime = process.facade, process.runtime
        secret = "a guess" if letter.forged else secret_of(letter.gateway)

        def thread() -> None:
            reply: Reply | SignatureInvalid | None = None
            # The provider gets a 503 for a defect; if the store dies, the process dies as well.
            with suppress(StoreError, TimeoutError, RuntimeError, Crashed):
                headers = {"id": letter.event_id, "secret": secret}
                reply = facade.callback(letter.gateway, headers, letter.body, Metadata(f"c-{runtime.random():.6f}"))
            if reply is not None:
                self._before_the_answer(process)
                self._history.add("told", runtime.monotonic(), answer=ANSWERS[type(reply)], **where)
            if isinstance(reply, Taken) and not self._happens(0.05):  # else the answer is lost
                letter.taken = True

        runtime.begin(thread)

    def _before_the_answer(self, process: Process) -> None:
        """Maybe end or freeze the process here, when only the answer is missing."""
        runtime = process.runtime
        if self._happens(0.01):
            process.store.crashed = True
            runtime.pause(0.0)
        elif self._happens(0.02):
            runtime.pause(self._chance.choice([0.01, 1.0, 20.0]))

    def _happens(self, share: float) -> bool:
        return not self.calm and self._chance.random() < share * self._rate
