"""Delivery of callbacks: each goes to some process, again and again until the answer is 200.

Letters are lost on their way, come twice, and their answers get lost; processes die and freeze over them. What stands
in a letter ``telling`` decides.
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
"""So long a provider waits for its 200."""
AGAIN_S: Final = (1.0, 5.0, 60.0, 600.0)
"""And so long before it tries again."""
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
    """Brings letters to processes. ``find`` says which process the next one comes to, None: none can be reached."""

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
        """Seconds until something is planned; None when nothing is."""
        return max(min(self._planned.values()) - self._timeline.now, 0.0) if self._planned else None

    def at(self, when: float, function: Callable[[], None]) -> None:
        """Have ``function`` called at the time ``when``; it is something that is still to be done."""
        number = next(self._numbers)
        self._planned[number] = max(when, self._timeline.now)

        def do() -> None:
            del self._planned[number]
            function()

        self._timeline.after(self._planned[number] - self._timeline.now, do)

    def after(self, delay_s: float, function: Callable[[], None]) -> None:
        """The same ``delay_s`` seconds from now."""
        self.at(self._timeline.now + delay_s, function)

    def send(self, letter: Delivery) -> None:
        """One try at ``letter``; more follow until it is taken."""
        self._bring(letter)
        if self._happens(0.05):
            self.after(self._chance.choice([0.0, 0.0, 1.0, 600.0]), lambda: self._bring(letter))
        if not letter.forged:
            letter.tries += 1
            self.after(ANSWER_WITHIN_S, lambda: self._look_after(letter))

    def _look_after(self, letter: Delivery) -> None:
        if not letter.taken:
            self.after(AGAIN_S[min(letter.tries, len(AGAIN_S)) - 1], lambda: self.send(letter))

    def _bring(self, letter: Delivery) -> None:
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
            # A defect is told to the provider as a 503; a store that dies takes the process with it.
            with suppress(StoreError, TimeoutError, RuntimeError, Crashed):
                headers = {"id": letter.event_id, "secret": secret}
                reply = facade.callback(letter.gateway, headers, letter.body, Metadata(f"c-{runtime.random():.6f}"))
            if reply is not None:
                self._before_it_is_told(process)
                self._history.add("told", runtime.monotonic(), answer=ANSWERS[type(reply)], **where)
            if isinstance(reply, Taken) and not self._happens(0.05):  # else the answer is lost on its way
                letter.taken = True

        runtime.begin(thread)

    def _before_it_is_told(self, process: Process) -> None:
        """The process may die here, or stand still, with everything done but the last word."""
        runtime = process.runtime
        if self._happens(0.01):
            process.store.crashed = True
            runtime.pause(0.0)
        elif self._happens(0.02):
            runtime.pause(self._chance.choice([0.01, 1.0, 20.0]))

    def _happens(self, share: float) -> bool:
        return not self.calm and self._chance.random() < share * self._rate
