"""Shared parts of the actors' tests: small implementations of the ports, which a test controls. No assertions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.listeners import Listener
from actors.messages import CallResult, Unanswered
from actors.replies import Reply, SignatureInvalid
from domain.account import Transaction
from domain.events import VOCABULARY, Recorded
from domain.outcomes import Approved, NotReceived, Outcome
from gateways.port import Callbacks, Order
from messaging.port import HintHandler, WorkHint, WorkQueue
from store.codec import Metadata
from store.port import (
    AppendResult,
    BreakerRecord,
    Claim,
    DeadLetterFilter,
    Feed,
    GatewayMode,
    Lease,
    Load,
    MoveWork,
    QueuedWork,
    Snapshot,
    Store,
    StreamKey,
    WorkItem,
    WorkState,
    Write,
)
from tests.gateway_facts import SameForAll

T = TypeVar("T")

GATEWAY = "gatewayA"
OWNER = "owner-1"


def stream(customer: str = "c1") -> StreamKey:
    """The stream of a customer."""
    return StreamKey("main", customer)


class Inbox:
    """A recipient that keeps its messages."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def tell(self, message: object, /) -> None:
        """Keep ``message``."""
        self.messages.append(message)

    def of(self, kind: type[T]) -> list[T]:
        """The messages of one kind, in order."""
        return [message for message in self.messages if isinstance(message, kind)]


class Announced(WorkQueue):
    """A queue that keeps the announced hints."""

    def __init__(self) -> None:
        self.hints: list[WorkHint] = []

    def announce(self, hint: WorkHint, /) -> None:
        """Keep ``hint``."""
        self.hints.append(hint)

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """See WorkQueue."""

    def close(self) -> None:
        """See WorkQueue."""


class RecordingListener(Listener):
    """A listener that keeps what is reported."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.known: list[Transaction] = []
        """The transactions of these events, as each batch left them."""
        self.calls: list[tuple[str, CallResult]] = []
        self.breakers: list[tuple[str, str]] = []
        self.dead_letters: list[tuple[str, WorkState]] = []
        self.batches: list[list[AppendResult | Unanswered]] = []
        self.callbacks: list[tuple[str, Reply | SignatureInvalid]] = []
        self.losses = self.taken = 0

    def appended(self, results: Sequence[AppendResult | Unanswered], _duration_s: float) -> None:
        """See Listener."""
        self.batches.append([*results])

    def recorded(
        self,
        _stream: StreamKey,
        events: Sequence[tuple[Recorded, Metadata]],
        transactions: Mapping[str, Transaction],
    ) -> None:
        """See Listener."""
        self.events += [recorded for recorded, _ in events]
        about = (getattr(recorded.event, "transaction_id", None) or "" for recorded, _ in events)
        self.known += [transactions[key] for key in about if key in transactions]

    def called(self, item: WorkItem, result: CallResult, _duration_s: float) -> None:
        """See Listener."""
        self.calls.append((item.work_id, result))

    def breaker_changed(self, gateway: str, state: str) -> None:
        """See Listener."""
        self.breakers.append((gateway, state))

    def dead_letter(self, item: WorkItem, move: MoveWork) -> None:
        """See Listener."""
        self.dead_letters.append((item.work_id, move.state))

    def leases_lost(self) -> None:
        """See Listener."""
        self.losses += 1

    def taken_over(self, count: int) -> None:
        """See Listener."""
        self.taken += count

    def called_back(self, gateway: str, answer: Reply | SignatureInvalid) -> None:
        """See Listener."""
        self.callbacks.append((gateway, answer))


class SmallGateway(SameForAll):
    """A provider in memory that honours keys. ``answer`` may be replaced: it gets the order and may raise or block."""

    def __init__(self, name: str = GATEWAY) -> None:
        self.name = name
        self.currencies = frozenset({"USD", "JPY"})
        self.callbacks: Callbacks | None = None
        self.effects: dict[str, Order] = {}
        self.calls: list[str] = []
        self.lookups: list[str] = []
        self.at_once = 0
        self.at_once_max = 0
        self.answer: Callable[[Order], Outcome] = self.accept
        self._lock = threading.Lock()

    def accept(self, order: Order) -> Outcome:
        """Move the money, once for each key."""
        self.effects[order.transaction_id] = order
        return Approved(f"A-{order.transaction_id}", final=True)

    def submit(self, order: Order) -> Outcome:
        """See Gateway."""
        with self._lock:
            self.calls.append(order.transaction_id)
            self.at_once += 1
            self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            return self.answer(order)
        finally:
            with self._lock:
                self.at_once -= 1

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """See Gateway."""
        self.lookups.append(order.transaction_id)
        if order.transaction_id in self.effects:
            return Approved(f"A-{order.transaction_id}", final=True)
        return NotReceived()

    def close(self) -> None:
        """See Gateway."""


@dataclass(frozen=True)
class Trouble:
    """An error at one call of a store: raised before anything is done, or ``after`` everything is done."""

    error: BaseException
    after: bool = False


class TroubledStore(Store):
    """A real store, except that calls of a method raise the errors injected for it, one after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._trouble: dict[str, list[Trouble | None]] = {}
        self.batches: list[Sequence[Write]] = []
        self.loads: list[frozenset[str]] = []
        self.load_sizes: list[int] = []
        """The number of customers in each batch of loads."""
        self.calls: list[str] = []

    def inject(self, method: str, *trouble: Trouble | BaseException | None) -> None:
        """Raise these errors at the next calls of ``method``; None stands for a call without an error."""
        laid = [Trouble(it) if isinstance(it, BaseException) else it for it in trouble]
        self._trouble.setdefault(method, []).extend(laid)

    @property
    def troubles_left(self) -> int:
        """The number of injected errors that have not occurred yet."""
        return sum(len(laid) for laid in self._trouble.values())

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store."""
        self.batches.append(writes)
        return self._meet("append", lambda: self._store.append(writes))

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See Store."""
        self.loads.append(frozenset(transaction_ids))
        return self._meet("load", lambda: self._store.load(stream, transaction_ids))

    def load_many(self, loads: Sequence[Load]) -> list[Snapshot]:
        """See Store; each of ``loads`` may meet an error injected for ``load`` as well."""
        self.load_sizes.append(len(loads))
        return self._meet("load_many", lambda: [self.load(*one) for one in loads])

    def stream_of(self, transaction_id: str) -> StreamKey | None:
        """See Store."""
        return self._meet("stream_of", lambda: self._store.stream_of(transaction_id))

    def lease(self, work_id: str) -> Lease | None:
        """See Store."""
        return self._meet("lease", lambda: self._store.lease(work_id))

    def claimed(self, scope: str, key: str) -> Claim | None:
        """See Store."""
        return self._meet("claimed", lambda: self._store.claimed(scope, key))

    def holds(self, stream: StreamKey, version: int, event_id: str) -> bool:
        """See Store."""
        return self._meet("holds", lambda: self._store.holds(stream, version, event_id))

    def feed(self) -> Feed:
        """See Store."""
        return self._meet("feed", self._store.feed)

    def begin_generation(self, seen: int) -> int:
        """See Store."""
        return self._meet("begin_generation", lambda: self._store.begin_generation(seen))

    def register_owner(self, owner: str, vocabulary: int = VOCABULARY) -> None:
        """See Store."""
        self._meet("register_owner", lambda: self._store.register_owner(owner, vocabulary))

    def vocabulary_floor(self) -> int:
        """See Store."""
        return self._meet("vocabulary_floor", self._store.vocabulary_floor)

    def heartbeat(self, owner: str) -> bool:
        """See Store."""
        return self._meet("heartbeat", lambda: self._store.heartbeat(owner))

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """See Store."""
        return self._meet("retire_owner", lambda: self._store.retire_owner(owner, unsent=unsent))

    def clock_set_back(self, lost_s: float) -> int:
        """See Store."""
        return self._meet("clock_set_back", lambda: self._store.clock_set_back(lost_s))

    def limit_dues(self, max_s: float) -> int:
        """See Store."""
        return self._meet("limit_dues", lambda: self._store.limit_dues(max_s))

    def hasten_lookups(self, gateway: str) -> int:
        """See Store."""
        return self._meet("hasten_lookups", lambda: self._store.hasten_lookups(gateway))

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """See Store."""
        return self._meet("retry_dead", lambda: self._store.retry_dead(merchant, where))

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """See Store."""
        return self._meet("gateway_modes", self._store.gateway_modes)

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """See Store."""
        self._meet("set_gateway_mode", lambda: self._store.set_gateway_mode(mode))

    def release_dead(self, lease_s: float) -> int:
        """See Store."""
        return self._meet("release_dead", lambda: self._store.release_dead(lease_s))

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See Store."""
        return self._meet("claim_work", lambda: self._store.claim_work(owner, gateway, limit))

    def next_due_s(self, gateway: str) -> float | None:
        """See Store."""
        return self._meet("next_due_s", lambda: self._store.next_due_s(gateway))

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """See Store."""
        return self._meet("queued_due", lambda: self._store.queued_due(gateways, limit))

    def breakers(self) -> dict[str, BreakerRecord]:
        """See Store."""
        return self._meet("breakers", self._store.breakers)

    def turn_breaker(self, gateway: str, epoch: int, state: str) -> BreakerRecord:
        """See Store."""
        return self._meet("turn_breaker", lambda: self._store.turn_breaker(gateway, epoch, state))

    def take_probe(self, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """See Store."""
        return self._meet(
            "take_probe",
            lambda: self._store.take_probe(gateway, epoch, owner, sleep_s=sleep_s, permit_s=permit_s),
        )

    def close(self) -> None:
        """See Store."""
        self._store.close()

    def _meet(self, method: str, call: Callable[[], T]) -> T:
        self.calls.append(method)
        laid = self._trouble.get(method)
        trouble = laid.pop(0) if laid else None
        if trouble is None:
            return call()
        if trouble.after:
            call()
        raise trouble.error
