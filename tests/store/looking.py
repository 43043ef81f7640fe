"""Read all data of a store through its ports only."""

from __future__ import annotations

from store.backend import PaymentStore
from store.port import StreamKey


def contents(store: PaymentStore) -> dict[str, object]:
    """All data that can be read from a store: two equal results mean that nothing has changed in between."""
    seen: dict[str, object] = {"work": store.work_counts()}
    with store.audit() as audit:
        for stream in audit.streams():
            seen[f"{stream.name}/{stream.id}"] = (
                list(audit.events(stream)),
                audit.head(stream),
                list(audit.transactions(stream)),
                list(audit.balances(stream)),
                list(audit.reviews(stream)),
                list(audit.unfinished(stream)),
            )
    return seen


def versions(store: PaymentStore, stream: StreamKey) -> list[int]:
    """The versions that a stream has."""
    return [event.version for event in store.stream_events(stream, after=0, limit=10_000)]
