"""A broker in memory, and its publisher: for the relay's tests, and the second adapter of the publisher's contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from messaging.port import BrokerUnavailableError, Message, Published
from messaging.waves import Numbered, publish_in_waves


class MemoryBroker:
    """Keeps what publishers deliver, in order. Tests decide what it refuses, and whether it answers."""

    def __init__(self) -> None:
        self.delivered: list[Message] = []
        self.is_up = True
        self.refused: dict[str, str] = {}
        """Reasons by event id."""
        self.refuses: Callable[[Message], str | None] = lambda message: self.refused.get(message.event_id)
        """Why it refuses a message; None when it does not."""
        self.confirms_lost = 0
        """This many of the next waves arrive, and their confirms do not."""
        self.at_step: Callable[[str], None] = lambda _: None
        """Called before each message is delivered, and before a wave is confirmed."""

    @property
    def event_ids(self) -> list[str]:
        """The ids of all deliveries, repetitions included."""
        return [message.event_id for message in self.delivered]

    @property
    def first_deliveries(self) -> list[Message]:
        """Each message when it was delivered first."""
        first: dict[str, Message] = {}
        for message in self.delivered:
            first.setdefault(message.event_id, message)
        return list(first.values())


class MemoryPublisher:
    """Publishes to a ``MemoryBroker``."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.closed = 0

    def publish(self, batch: Sequence[Message]) -> Published:
        """See ``messaging.port.Publisher``."""
        if not self._broker.is_up:
            raise BrokerUnavailableError("the broker is down")
        return publish_in_waves(batch, self._send)

    def close(self) -> None:
        """See ``messaging.port.Publisher``."""
        self.closed += 1

    def _send(self, wave: Sequence[Numbered]) -> Mapping[int, str]:
        broker = self._broker
        refusals: dict[int, str] = {}
        for place, message in wave:
            broker.at_step("deliver")
            reason = broker.refuses(message)
            if reason is None:
                broker.delivered.append(message)
            else:
                refusals[place] = reason
        broker.at_step("confirm")
        if broker.confirms_lost or not broker.is_up:
            broker.confirms_lost = max(broker.confirms_lost - 1, 0)
            raise BrokerUnavailableError("the connection was lost")
        return refusals
