"""The store port: the values that cross it, and one protocol per role.

Every adapter guarantees: a write is stored whole or not at all; ``(stream name, stream id, version)`` is unique; every
answer of ``append`` is durable; appending the same write again gives the same answer. The reads of the API and the
audit are in ``store.queries``, the API keys in ``store.keys``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from store.port.breakers import BREAKER_REST_SLACK_S, BreakerRecord, BreakerStore, GatewayMode
from store.port.events import (
    AppendResult,
    Claim,
    Committed,
    Conflict,
    Duplicate,
    EventStore,
    Fenced,
    Load,
    Part,
    Review,
    Snapshot,
    Write,
)
from store.port.generations import TOKENS_APART, Feed, GenerationStore
from store.port.relays import (
    REFUSAL_REASON_MAX,
    RelayCheckpoint,
    RelayLease,
    RelayRefusal,
    RelayStore,
)
from store.port.streams import (
    DEFAULT_MERCHANT,
    GATEWAYS,
    GENESIS,
    EncodedEvent,
    Head,
    StoredEvent,
    StreamKey,
    names_seen_by,
)
from store.port.work import (
    Action,
    CloseWork,
    DeadLetterFilter,
    DeliveryCertainty,
    Fence,
    Lease,
    MoveWork,
    OpenWork,
    OwnerStore,
    QueuedWork,
    WorkChange,
    WorkError,
    WorkItem,
    WorkState,
    WorkStore,
)

__all__ = [
    "BREAKER_REST_SLACK_S",
    "DEFAULT_MERCHANT",
    "GATEWAYS",
    "GENESIS",
    "REFUSAL_REASON_MAX",
    "TOKENS_APART",
    "Action",
    "AppendResult",
    "BreakerRecord",
    "BreakerStore",
    "Claim",
    "CloseWork",
    "Committed",
    "Conflict",
    "DeadLetterFilter",
    "DeliveryCertainty",
    "Duplicate",
    "EncodedEvent",
    "EventStore",
    "Feed",
    "Fence",
    "Fenced",
    "GatewayMode",
    "GenerationStore",
    "Head",
    "Lease",
    "Load",
    "MoveWork",
    "Offload",
    "OpenWork",
    "OwnerStore",
    "Part",
    "QueuedWork",
    "RelayCheckpoint",
    "RelayLease",
    "RelayRefusal",
    "RelayStore",
    "Review",
    "Snapshot",
    "Store",
    "StoredEvent",
    "StreamKey",
    "WorkChange",
    "WorkError",
    "WorkItem",
    "WorkState",
    "WorkStore",
    "Write",
    "names_seen_by",
    "run_directly",
]


class Store(EventStore, WorkStore, OwnerStore, BreakerStore, GenerationStore, Protocol):
    """All roles of the actors. Safe for many threads."""

    def close(self) -> None:
        """Close all connections; closing twice does no harm."""


Offload = Callable[[Callable[[], None]], None]
"""Runs a blocking call in C outside the greenlets' thread, and returns when it has ended."""


def run_directly(job: Callable[[], None]) -> None:
    """Run ``job`` in the caller's thread: the Offload of real threads and tests."""
    job()
