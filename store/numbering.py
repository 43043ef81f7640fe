"""The rule for versions in a write, which every adapter checks before it calls its database."""

from __future__ import annotations

from store.errors import UnstorableError
from store.port import EncodedEvent, Write


def numbered_events(write: Write) -> list[EncodedEvent]:
    """Return all events of ``write`` in order. Raises UnstorableError unless their versions continue from its head."""
    events = [event for part in write.parts for event in part.events]
    version = write.head.version
    for event in events:
        version += 1
        if event.version != version:
            raise UnstorableError(f"version {event.version} of stream {write.stream} does not follow {version - 1}")
    return events
