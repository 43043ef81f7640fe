"""Messages for the tests of publishers and the relay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from messaging.port import Message
from store.errors import CorruptStoreError
from store.port import StoredEvent, StreamKey


def message(position: int, customer: str = "c1", version: int = 1, *, merchant: str = "main") -> Message:
    """A message with the attributes that a test looks at."""
    return Message(
        event_id=f"event-{position}",
        position=position,
        generation=0,
        version=version,
        type="payments.DepositCompleted.v1",
        stream=StreamKey(merchant, customer),
        partition_key=f"{merchant}/{customer}",
        attributes={
            "id": f"event-{position}",
            "source": f"/merchants/{merchant}",
            "type": "payments.DepositCompleted.v1",
            "time": "2026-11-01T12:00:00.123456Z",
            "specversion": "1.0",
            "position": str(position),
        },
        data=b'{"event": {}, "transaction": null}',
    )


def messages_of(events: Sequence[StoredEvent], generation: int) -> Iterator[Message]:
    """One message for each event, without looking into it, except that an empty body cannot be read."""
    for event in events:
        if not event.body:
            raise CorruptStoreError("an empty body")
        yield Message(
            event_id=event.event_id,
            position=event.position,
            generation=generation,
            version=event.version,
            type=f"payments.{event.type}.v1",
            stream=event.stream,
            partition_key=f"{event.stream.name}/{event.stream.id}",
            attributes={"id": event.event_id},
            data=event.body,
        )
