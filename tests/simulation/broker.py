"""A broker that all processes of a world share: it takes events, confirms them, and delivers them to a consumer.

It keeps what it confirmed. When a connection ends, it may keep or forget what it took and did not confirm. It is away
for a time, ends connections within a batch, and refuses some events for a time or until an operator skips them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final

from messaging.port import BrokerUnavailableError, Message, Published
from messaging.waves import Numbered, publish_in_waves
from tests.simulation.history import History
from tests.simulation.threads import ThreadedRuntime
from tests.simulation.timeline import Timeline

REFUSED: Final = 0.012
"""Share of the events that the broker refuses, at the usual rate of its faults."""
REFUSED_S: Final = (1.0, 5.0, 60.0, inf)
AT_ONCE: Final = 0.7
"""Share of the events that are delivered before they are confirmed."""
AGAIN: Final = 0.03
"""Share of the deliveries that are repeated because the consumer did not acknowledge them."""
CONFIRMS_S: Final = (0.0, 0.0, 0.0, 0.05, 0.4, 2.0)
"""Times that the confirms of a wave take: a seed chooses one.

All are shorter than any lease, so that a batch of one event ends in time. Several waves may take longer than a lease.
"""


class Broker:
    """The events that the broker holds. ``rate`` is that of its faults. Its confirms stay slow after the last fault."""

    def __init__(self, chance: random.Random, history: History, timeline: Timeline, rate: float) -> None:
        self._chance, self._history, self._timeline, self._rate = chance, history, timeline, rate
        self._away_until = 0.0
        self.confirms_s: Final = chance.choice(CONFIRMS_S)
        history.add("broker", timeline.now, confirms_s=self.confirms_s)
        self._refused_until: dict[str, float] = {}
        """By the ids of all events that it was offered."""
        self.calm = False

    @property
    def reachable(self) -> bool:
        """Whether it takes connections."""
        return self.calm or self._timeline.now >= self._away_until

    def fail_for(self, seconds: float) -> None:
        """Be away for this time."""
        self._away_until = max(self._away_until, self._timeline.now + seconds)
        self._history.add("broker-away", self._timeline.now, until=self._away_until)

    def happens(self, share: float) -> bool:
        """Whether a fault of this share occurs now."""
        return not self.calm and self._chance.random() < share * self._rate

    def refusal(self, message: Message, process: int) -> str | None:
        """Why it refuses ``message``; None when it takes it."""
        key = message.event_id
        if key not in self._refused_until:
            refused_s = self._chance.choice(REFUSED_S) if self.happens(REFUSED) else 0.0
            self._refused_until[key] = self._timeline.now + refused_s
        if self.calm or self._timeline.now >= self._refused_until[key]:
            return None
        self._history.add("refused", self._timeline.now, process=process, id=key, position=message.position)
        return "the message is too large"

    def take(self, message: Message, process: int) -> Taken:
        """Store ``message``, which may still be forgotten."""
        where = {"id": message.event_id, "stream": list(message.stream), "version": message.version}
        self._history.add("published", self._timeline.now, process=process, position=message.position, **where)
        taken = Taken(message, process)
        if self._chance.random() < AT_ONCE:
            self._deliver(taken)
        return taken

    def confirm(self, wave: Sequence[Taken]) -> None:
        """Keep all of ``wave`` from now on."""
        for taken in wave:
            self._history.add("confirmed", self._timeline.now, process=taken.process, id=taken.message.event_id)
            if not taken.delivered:
                self._deliver(taken)

    def lose(self, wave: Sequence[Taken]) -> None:
        """End the connection that sent ``wave``, before its confirms: forget some messages, deliver the others."""
        for taken in wave:
            if not taken.delivered and self._chance.random() < 0.5:
                self._deliver(taken)

    def _deliver(self, taken: Taken) -> None:
        taken.delivered = True
        message = taken.message

        def deliver() -> None:
            self._history.add(
                "delivered",
                self._timeline.now,
                process=taken.process,
                id=message.event_id,
                position=message.position,
                generation=message.generation,
                stream=list(message.stream),
                version=message.version,
                key=message.partition_key,
                attributes=dict(message.attributes),
                data=message.data.decode(),
            )

        deliver()
        if self.happens(AGAIN):
            self._timeline.after(self._chance.choice([0.0, 1.0, 100.0]), deliver)


class Taken:
    """A message that the broker took from ``process``."""

    __slots__ = ("delivered", "message", "process")

    def __init__(self, message: Message, process: int) -> None:
        self.message, self.process = message, process
        self.delivered = False


class SimulatedPublisher:
    """Implements messaging.port.Publisher. ``die`` ends the process; ``freeze`` may freeze it, and says so."""

    def __init__(
        self,
        broker: Broker,
        runtime: ThreadedRuntime,
        chance: random.Random,
        die: Callable[[], None],
        freeze: Callable[[], bool],
    ) -> None:
        self._broker, self._runtime, self._chance, self._die, self._freeze = broker, runtime, chance, die, freeze
        self._is_connected = False

    def publish(self, batch: Sequence[Message]) -> Published:
        """See Publisher."""
        if not self._broker.reachable:
            if self._chance.random() < 0.2:  # it takes the time limit to notice
                self._runtime.pause(2.0)
            raise self._cut("the broker is away")
        if not self._is_connected:
            self._on_the_way()
            self._is_connected = True
        return publish_in_waves(batch, self._send) if batch else Published(0)

    def close(self) -> None:
        """See Publisher."""
        self._is_connected = False

    def _send(self, wave: Sequence[Numbered]) -> Mapping[int, str]:
        sent: list[Taken] = []
        refusals: dict[int, str] = {}
        try:
            for place, message in wave:
                self._on_the_way()
                reason = self._broker.refusal(message, self._runtime.process)
                if reason is None:
                    sent.append(self._broker.take(message, self._runtime.process))
                else:
                    refusals[place] = reason
            if self._broker.confirms_s:
                self._runtime.pause(self._broker.confirms_s)
            self._on_the_way()
        except BaseException:  # the process may have ended here
            self._broker.lose(sent)
            raise
        self._broker.confirm(sent)
        self._on_the_way()  # what is lost here is the answer
        return refusals

    def _on_the_way(self) -> None:
        """Maybe take time, freeze or die, or lose the connection."""
        broker = self._broker
        if not broker.calm:
            if broker.happens(0.02):
                self._runtime.pause(self._chance.choice([0.0, 0.001, 0.05, 1.0]))
            if broker.happens(0.002):
                self._die()
            if self._freeze():
                self._runtime.pause(0.0)
        if not broker.reachable or broker.happens(0.01):
            raise self._cut("the connection was lost")

    def _cut(self, why: str) -> BrokerUnavailableError:
        self._is_connected = False
        return BrokerUnavailableError(why)
