"""One event on its way to a broker, in the form that every publisher takes."""

from __future__ import annotations

from collections.abc import Mapping

from domain.values import value
from store.port import StreamKey


@value(frozen=True, slots=True)
class Message:
    """A stored event as a CloudEvent.

    ``position`` and ``generation`` are those of the store, ``version`` that of the stream. ``type`` is the CloudEvents
    type, such as ``payments.DepositCompleted.v1``. ``partition_key`` is the text of ``stream``, the same for all events
    of a customer. ``attributes`` holds the CloudEvents attributes as text, without prefix and without
    ``datacontenttype``. ``data`` is JSON: an object with the members ``event`` and ``transaction``.
    """

    event_id: str
    position: int
    generation: int
    version: int
    type: str
    stream: StreamKey
    partition_key: str
    attributes: Mapping[str, str]
    data: bytes
