"""The collaborators of customers' actors and operations: one value for all of a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actors.backpressure import Backpressure
from actors.customer.loader import Loader
from actors.gateways.retry_policy import RetryPolicy
from actors.gateways.settlement_delay import SettlementDelay
from actors.generations import Generations
from actors.listeners import Listener
from actors.messages import Recipient
from actors.runtime.runtime import Runtime
from messaging.port import WorkQueue
from store.port import Store, StreamKey


@dataclass(frozen=True, slots=True)
class CustomerContext:
    """The other actors, the store, and the state that the customers of a process share."""

    runtime: Runtime
    store: Store
    loader: Loader
    journal: Recipient
    supervisor: Recipient
    scheduler: Recipient
    dead_letters: Recipient
    queue: WorkQueue
    address: Callable[[StreamKey], Recipient]
    policies: Mapping[str, RetryPolicy]
    backpressure: Backpressure
    settlement: SettlementDelay
    generations: Generations
    owner: str
    listener: Listener
    leases_unknown: Callable[[], None]
    """Reports that a lease could not be given up. All leases are given back then."""
    next_serial: Callable[[], int]
