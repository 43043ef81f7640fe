"""Whether the events of a history can be published: each has exactly the members that its schema names."""

from __future__ import annotations

from collections.abc import Iterator

from store.port import StoredEvent, StreamKey
from tests.messaging.validation import invalid_events
from tests.simulation.history import History


def unpublishable(history: History) -> Iterator[str]:
    """What is wrong with the events on record at the end."""
    for dump in history.of("dump"):
        if dump["when"] == "rest":
            stream = StreamKey(*dump["stream"])
            for at, one in enumerate(dump["events"], 1):
                body, hash_ = one["body"].encode(), bytes.fromhex(one["hash"])
                yield from invalid_events(
                    [StoredEvent(at, stream, one["id"], one["version"], one["type"], body, hash_)]
                )
