"""The order in which a batch is published: waves of messages, none of which follows another of the same partition key.

A publisher sends a wave without waiting, waits until all of it is confirmed, and only then sends the next one. So first
deliveries are in order within a partition key, also when the broker refuses or loses a message in the middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from messaging.port import Message, Published, Refused
from store.port import StoredEvent, StreamKey


class Numbered(NamedTuple):
    """A message, and its place in the batch."""

    place: int
    message: Message


SendWave = Callable[[Sequence[Numbered]], Mapping[int, str]]
"""Publishes a wave and waits for the outcome of every message in it. Returns the reasons of refusals by place."""


def shallow(events: Sequence[StoredEvent], waves_max: int) -> Sequence[StoredEvent]:
    """The first of ``events``, before the one that would need another wave than ``waves_max``."""
    counts: Counter[StreamKey] = Counter()
    for place, event in enumerate(events):
        counts[event.stream] += 1
        if counts[event.stream] > waves_max:
            return events[:place]
    return events


def waves(batch: Sequence[Message]) -> list[list[Numbered]]:
    """Divide ``batch``: the first wave has the first message of every partition key, the second the next ones."""
    counts: Counter[str] = Counter()
    divided: list[list[Numbered]] = []
    for place, message in enumerate(batch):
        number = counts[message.partition_key]
        counts[message.partition_key] += 1
        if number == len(divided):
            divided.append([])
        divided[number].append(Numbered(place, message))
    return divided


def publish_in_waves(batch: Sequence[Message], send: SendWave) -> Published:
    """Publish ``batch`` wave by wave with ``send``, up to the first message that is refused.

    Messages that precede a refused one are still published, so that the confirmed ones end right before it.
    """
    end, refused = len(batch), None
    for wave in waves(batch):
        rest = [one for one in wave if one.place < end]
        refusals = send(rest) if rest else {}
        if refusals:
            end = min(refusals)
            refused = Refused(batch[end].position, refusals[end])
    return Published(end, refused)
