"""A payment system in memory behind the API's two interfaces.

The rules are the real ones (``domain``, ``store.codec``). Only durability and gateways are missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Self

from actors.customer.command_operation import CommandOperation
from actors.customer.idempotency import IdempotencyKey, claim_of, replay
from actors.operations.adjust import AdjustOperation
from actors.operations.child import ChildOperation
from actors.operations.close_review import CloseReviewOperation
from actors.operations.discard import DiscardOperation
from actors.operations.receive import ReceiveOperation
from actors.operations.resolve import ResolveOperation
from actors.operations.waiting_callbacks import EVENT_TYPE, queue_of, stream_of_gateway
from actors.replies import (
    Accepted,
    Adjusted,
    BreakerStatus,
    BulkheadStatus,
    Closed,
    GatewayStatus,
    Reply,
    SignatureInvalid,
    Taken,
)
from domain.account import TRANSIENT_REFUSALS, Account, Refused, Transaction
from domain.commands import (
    Adjust,
    CloseReview,
    Command,
    Discard,
    Receive,
    ReceiveChild,
    RecordOutcome,
    Resolution,
    Resolve,
)
from domain.events import Kind, Recorded
from domain.gateway_report import Expected, GatewayReport
from domain.money import Money
from domain.outcomes import Approved, Authorization, Declined, Unknown
from domain.state_machine import decide, evolve
from gateways.port import Acceptance
from store.codec import Metadata, encode
from store.errors import StoreUnavailableError
from store.keys import ApiKey
from store.port import (
    Action,
    Claim,
    DeadLetterFilter,
    DeliveryCertainty,
    Feed,
    GatewayMode,
    Head,
    Review,
    StoredEvent,
    StreamKey,
    WorkError,
    WorkItem,
    WorkState,
    names_seen_by,
)
from store.queries import (
    CustomerView,
    DeadLetter,
    ReviewKey,
    ReviewView,
    StoreStats,
    TransactionFilter,
    TransactionView,
)
from store.relay_health import RelayHealth

EXPIRES = datetime(2026, 11, 29, 12, tzinfo=UTC)
"""When every authorization ends."""
START = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
CURRENCIES = {
    "gatewayA": frozenset({"USD", "EUR", "GBP", "JPY", "KWD"}),
    "gatewayB": frozenset({"USD", "EUR"}),
}


class World:
    """``Payments`` and ``Queries`` at once; ``calls`` are the commands that reached the actors."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Delete all data."""
        self.calls: list[tuple[StreamKey, Receive, Metadata]] = []
        self.children: list[tuple[StreamKey, ReceiveChild, Metadata]] = []
        self.unsupported: set[tuple[str, Kind]] = set()
        self.holds = True
        self.reply: Reply | Exception | None = None
        self.not_ready: list[str] = []
        self.down = False
        self.deaf = False
        self.attention: dict[str, str] = {}
        self.letters: list[DeadLetter] = []
        self.stored: list[DeadLetter] = []
        self.modes: list[GatewayMode] = []
        self.retried: list[tuple[str, DeadLetterFilter]] = []
        self.discards: list[tuple[Discard, WorkItem, Metadata]] = []
        self.trouble: Exception | None = None
        self.given = 0
        self.generation = 0
        self.waiting = StoreStats({}, {}, 0)
        self.relay = RelayHealth(0, 0.0, led=True, refused=False)
        self.orders: list[tuple[StreamKey, Command, object, Metadata]] = []
        self.open_reviews: list[ReviewView] = []
        self.callbacks: list[tuple[str, dict[str, str], bytes, Metadata]] = []
        self.callback_reply: Reply | SignatureInvalid | Exception = Taken()
        self.acceptance = Acceptance()
        self.claims: dict[tuple[str, str], Claim] = {}
        self.keys: dict[str, ApiKey] = {}
        self._accounts: dict[StreamKey, Account] = {}
        self._events: dict[StreamKey, list[StoredEvent]] = {}
        self._ids = count(1)
        self._seconds = count()
        self._positions = count(1)

    @property
    def payments(self) -> Self:
        """The interface to the actors, which is this object."""
        return self

    @property
    def queries(self) -> Self:
        """The interface to the store, which is this object."""
        return self

    # The interface to the actors.

    def new_transaction_id(self) -> str:
        """Ids in ascending order."""
        return f"019ab000-0000-7000-8000-{next(self._ids):012x}"

    def execute(self, stream: StreamKey, command: CommandOperation) -> Reply:
        """Execute the command, unless ``reply`` sets another answer."""
        match command:
            case ReceiveOperation():
                self.calls.append((stream, command.command, command.metadata))
                return self._receive(stream, command.command, command.metadata, command.idempotency_key)
            case ChildOperation():
                self.children.append((stream, command.command, command.metadata))
                return self._receive(stream, command.command, command.metadata, command.idempotency_key)
            case DiscardOperation():
                return self._discard(command.command, command.item, command.metadata)
            case ResolveOperation():
                return self._resolve(stream, command.command, command.item, command.metadata)
            case AdjustOperation():
                return self._adjust(stream, command.command, command.metadata, command.idempotency_key)
            case CloseReviewOperation():
                return self._close_review(stream, command.command, command.review, command.metadata)
        raise TypeError(type(command).__name__)

    def _receive(
        self, stream: StreamKey, command: Receive | ReceiveChild, metadata: Metadata, once: IdempotencyKey | None
    ) -> Reply:
        if isinstance(self.reply, Exception):
            raise self.reply
        if self.reply is not None:
            return self.reply
        if once is not None and (once.scope, once.key) in self.claims:
            return replay(once, self.claims[once.scope, once.key])
        reply = self._apply(stream, command, command.transaction_id, metadata)
        refused = reply if isinstance(reply, Refused) else None
        if once is not None and (refused is None or refused.code not in TRANSIENT_REFUSALS):
            self.claims[once.scope, once.key] = claim_of(once, command.transaction_id, refused)
        return reply

    def gateways(self) -> Sequence[GatewayStatus]:
        """Both gateways, the second with an open breaker."""
        if self.deaf:
            raise TimeoutError
        closed = BreakerStatus("closed", "auto", 0, 3, None, None)
        opened = BreakerStatus("open", "auto", 60, 5, START, START + timedelta(seconds=10))
        return [
            GatewayStatus(name, adapter, tuple(sorted(CURRENCIES[name])), breaker, BulkheadStatus(1, 2, 20))
            for name, adapter, breaker in (("gatewayA", "gateway_a", closed), ("gatewayB", "gateway_b", opened))
        ]

    def gateway_currencies(self) -> dict[str, frozenset[str]]:
        """Both gateways."""
        return CURRENCIES

    def supports(self, gateway: str, kind: Kind, *, manual_capture: bool = False) -> bool:
        """All kinds at both gateways, unless the test sets something else."""
        return gateway in CURRENCIES and (gateway, kind) not in self.unsupported and (self.holds or not manual_capture)

    def set_breaker_mode(self, mode: GatewayMode) -> GatewayStatus:
        """Execute the command, unless ``trouble`` sets an error."""
        self.modes.append(mode)
        if self.trouble is not None:
            raise self.trouble
        before = next(it for it in self.gateways() if it.name == mode.gateway)
        state = "half_open" if mode.mode == "auto" else mode.mode
        return replace(before, breaker=BreakerStatus(state, mode.mode, 0, 0, None, None))

    def retry_dead_letters(self, merchant: str, where: DeadLetterFilter) -> int:
        """Retry the matching dead letters, unless ``trouble`` sets an error."""
        self.retried.append((merchant, where))
        if self.trouble is not None:
            raise self.trouble
        fitting = self._letters(merchant, where)
        self.letters = [it for it in self.letters if it not in fitting]
        return len(fitting)

    def _discard(self, command: Discard, item: WorkItem, metadata: Metadata) -> Reply:
        self.discards.append((command, item, metadata))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply or self._apply(item.stream, command, command.transaction_id, metadata)

    def _resolve(self, stream: StreamKey, command: Resolve, work: WorkItem | None, metadata: Metadata) -> Reply:
        self.orders.append((stream, command, work, metadata))
        if self.reply is not None:
            return self._told()
        if command.outcome is Resolution.AUTHORIZED:
            command = replace(command, expires_at=EXPIRES)
        return self._apply(stream, command, command.transaction_id, metadata)

    def _adjust(self, stream: StreamKey, command: Adjust, metadata: Metadata, once: IdempotencyKey | None) -> Reply:
        self.orders.append((stream, command, once, metadata))
        if self.reply is not None:
            return self._told()
        if once is not None and (once.scope, once.key) in self.claims:
            return replay(once, self.claims[once.scope, once.key])
        reply = self._apply(stream, command, None, metadata)
        if once is not None and not isinstance(reply, Refused):
            self.claims[once.scope, once.key] = claim_of(once, command.adjustment_id)
        return reply if isinstance(reply, Refused) else Adjusted(command.adjustment_id, self._accounts[stream])

    def _close_review(self, stream: StreamKey, command: CloseReview, review: Review, metadata: Metadata) -> Reply:
        self.orders.append((stream, command, review, metadata))
        if self.reply is not None:
            return self._told()
        at = next(number for number, view in enumerate(self.open_reviews) if view.review == review)
        closed_review = replace(review, state="closed", closed_at=START)
        self.open_reviews[at] = ReviewView(stream, closed_review)
        return Closed(command.review_id)

    def callback(
        self, gateway: str, headers: Mapping[str, str], body: bytes, metadata: Metadata
    ) -> Reply | SignatureInvalid:
        """Accept the callback, unless ``callback_reply`` sets another answer."""
        self.callbacks.append((gateway, dict(headers), body, metadata))
        if isinstance(self.callback_reply, Exception):
            raise self.callback_reply
        return self.callback_reply

    def callback_acceptance(self, _gateway: str) -> Acceptance:
        """The answer that most gateways expect, unless ``acceptance`` sets another one."""
        return self.acceptance

    def _told(self) -> Reply:
        if isinstance(self.reply, Exception):
            raise self.reply
        assert self.reply is not None
        return self.reply

    def is_stopping(self) -> bool:
        """Always false."""
        return False

    def problems(self) -> Sequence[str]:
        """The value that the test sets."""
        return self.not_ready

    def settle(
        self,
        customer_id: str,
        transaction_id: str,
        outcome: Approved | Authorization | Declined | Unknown,
        *,
        merchant: str = "main",
    ) -> None:
        """Apply the outcome of a call to a gateway."""
        command = RecordOutcome(transaction_id, outcome, EXPIRES)
        assert isinstance(
            self._apply(StreamKey(merchant, customer_id), command, transaction_id, Metadata("c")), Accepted
        )

    def give(self, customer_id: str, minor: int, *, merchant: str = "main") -> None:
        """Complete a deposit, so that the customer has a balance."""
        self.given += 1
        transaction_id = self.new_transaction_id()
        command = Receive(Kind.DEPOSIT, transaction_id, "gatewayA", Money(minor, "USD"), {})
        self._apply(StreamKey(merchant, customer_id), command, transaction_id, Metadata("c"))
        self.complete(customer_id, transaction_id, merchant=merchant)

    def complete(self, customer_id: str, transaction_id: str, *, merchant: str = "main") -> None:
        """Report the final success of a transaction."""
        self.settle(customer_id, transaction_id, Approved("A-1", final=True), merchant=merchant)

    def _apply(self, stream: StreamKey, command: Command, transaction_id: str | None, metadata: Metadata) -> Reply:
        account = self._accounts.get(stream, Account(stream.id))
        events = decide(account, command)
        if isinstance(events, Refused):
            return events
        stored = self._events.setdefault(stream, [])
        for event in events:
            at = START + timedelta(seconds=next(self._seconds))
            recorded = Recorded(account.version + 1, at, event, metadata.correlation_id)
            head = Head(account.version, stored[-1].hash) if stored else Head()
            encoded = encode(stream, head, recorded, f"e{next(self._positions)}", metadata)
            stored.append(StoredEvent(int(encoded.event_id[1:]), stream, *encoded))
            account = evolve(account, recorded)
        self._accounts[stream] = account
        return Taken() if transaction_id is None else Accepted(account.transactions[transaction_id])

    # The interface to the store.

    def transaction(self, merchant: str, transaction_id: str) -> TransactionView | None:
        """The transaction with this id, if the merchant has it."""
        return next((it for it in self._all(merchant) if it.transaction.transaction_id == transaction_id), None)

    def transactions_of(self, transaction_ids: Collection[str]) -> Mapping[str, Transaction]:
        """Those of the transactions that exist, of any merchant."""
        every = {name for name, _ in self._accounts}
        found = {it.transaction.transaction_id: it.transaction for name in every for it in self._all(name)}
        return {key: it for key, it in found.items() if key in transaction_ids}

    def transactions(
        self, merchant: str, where: TransactionFilter, *, before: str | None, limit: int
    ) -> Sequence[TransactionView]:
        """The merchant's transactions, newest first."""

        def fits(it: Transaction) -> bool:
            return (
                where.customer_id in (None, it.customer_id)
                and where.status in (None, it.status)
                and where.gateway in (None, it.gateway)
                and where.kind in (None, it.kind)
                and where.parent_id in (None, it.parent_id)
                and where.gateway_reference in (None, it.gateway_reference)
                and where.correlation_id in (None, it.correlation_id)
                and (where.created_from is None or it.created_at >= where.created_from)
                and (where.created_to is None or it.created_at < where.created_to)
                and (before is None or it.transaction_id < before)
            )

        views = sorted(self._all(merchant), key=lambda it: it.transaction.transaction_id, reverse=True)
        return [it for it in views if fits(it.transaction)][:limit]

    def customer(self, stream: StreamKey) -> CustomerView | None:
        """The account's version and balances."""
        self._reach()
        account = self._accounts.get(stream)
        return None if account is None else CustomerView(account.version, sorted(account.balances.items()))

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """The events of a stream by ascending version."""
        self._reach()
        return self._events.get(stream, [])[after : after + limit]

    def all_events(self, merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """All events by ascending position."""
        self._reach()
        events = [it for stream, stored in self._events.items() if merchant in (None, stream.name) for it in stored]
        return sorted((it for it in events if it.position > after), key=lambda it: it.position)[:limit]

    def last_position(self) -> int:
        """The position of the newest event."""
        self._reach()
        return max((it.position for stored in self._events.values() for it in stored), default=0)

    def newest_event(self, merchant: str) -> StoredEvent | None:
        """The merchant's newest event."""
        events = self.all_events(merchant, after=0, limit=1_000_000)
        return events[-1] if events else None

    def feed(self) -> Feed:
        """The generation that the test sets."""
        return Feed(self.generation, self.last_position())

    def review(self, merchant: str, review_id: str) -> ReviewView | None:
        """The review with this id, if the merchant has it."""
        return next((it for it in self._reviews(merchant) if it.review.review_id == review_id), None)

    def reviews(
        self, merchant: str, state: str | None, *, before: ReviewKey | None, limit: int
    ) -> Sequence[ReviewView]:
        """The merchant's reviews, newest first."""
        views = sorted(self._reviews(merchant), key=lambda it: it.key, reverse=True)
        fitting = [it for it in views if state in (None, it.review.state) and (before is None or it.key < before)]
        return fitting[:limit]

    def _reviews(self, merchant: str) -> list[ReviewView]:
        self._reach()
        return [it for it in self.open_reviews if it.stream.name in names_seen_by(merchant)]

    def complain(  # the members of a review
        self,
        review_id: str,
        transaction_id: str | None,
        *,
        stream: StreamKey,
        after_s: int = 0,
        said: GatewayReport | None = None,
        expected: Expected | None = None,
    ) -> None:
        """Open a review."""
        opened_at = START + timedelta(seconds=after_s)
        row = Review(review_id, transaction_id, "Something is wrong.", "open", opened_at, None, said, expected)
        self.open_reviews.append(ReviewView(stream, row))

    def api_key(self, key_id: str) -> ApiKey | None:
        """The API key with this id."""
        self._reach()
        return self.keys.get(key_id)

    def has_api_keys(self) -> bool:
        """Any."""
        return bool(self.keys)

    def dead_letters(
        self, merchant: str, where: DeadLetterFilter, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """The merchant's dead letters, newest first."""
        self._reach()
        letters = sorted(self._letters(merchant, where), key=lambda it: it.item.work_id, reverse=True)
        return [it for it in letters if before is None or it.item.work_id < before][:limit]

    def waiting_callbacks(
        self, merchant: str, queue: str | None, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """The waiting callbacks, newest first."""
        self._reach()
        fitting = [it for it in self._stored(merchant) if queue in (None, it.item.gateway)]
        return [it for it in fitting if before is None or it.item.work_id < before][:limit]

    def _stored(self, merchant: str) -> list[DeadLetter]:
        seen = [it for it in self.stored if it.item.stream.name in names_seen_by(merchant)]
        return sorted(seen, key=lambda it: it.item.work_id, reverse=True)

    def keep(self, work_id: str, payload: bytes, *, gateway: str = "gatewayA", attempts: int = 1) -> None:
        """Store a callback that waits for its transaction."""
        stream, queue = stream_of_gateway(gateway), queue_of(gateway)
        item = WorkItem(work_id, 1, stream, queue, Action.APPLY, EVENT_TYPE, attempts, (), None, payload)
        self.stored.append(DeadLetter(item, None, WorkState.QUEUED, START + timedelta(seconds=5), START))

    def work(self, merchant: str, work_id: str) -> DeadLetter | None:
        """A dead letter or stored callback by its id; this system has no other work."""
        stored = (it for it in self._stored(merchant) if it.item.work_id == work_id)
        return next(stored, None) or self.dead_letter(merchant, work_id)

    def dead_letter(self, merchant: str, work_id: str) -> DeadLetter | None:
        """The dead letter with this id, if the merchant has it."""
        self._reach()
        return next(iter(self._letters(merchant, DeadLetterFilter(work_id=work_id))), None)

    def bury(
        self,
        transaction_id: str,
        customer_id: str = "12345",
        *,
        state: WorkState = WorkState.DEAD,
        merchant: str = "main",
    ) -> WorkItem:
        """Make the work of a transaction a dead letter, with two errors."""
        stream = StreamKey(merchant, customer_id)
        account = self._accounts.get(stream)
        transaction = None if account is None else account.transactions.get(transaction_id)
        errors = tuple(WorkError(START + timedelta(seconds=n), f"refused {n}") for n in (1, 2))
        gateway = "gatewayA" if transaction is None else transaction.gateway
        item = WorkItem(
            transaction_id,
            7,
            stream,
            gateway,
            Action.SUBMIT,
            "DepositReceived",
            2,
            errors,
            transaction,
            certainty=DeliveryCertainty.NOT_SENT,
        )
        due = START + timedelta(seconds=60) if state is WorkState.DEAD else None
        self.letters.append(DeadLetter(item, transaction_id, state, due, START))
        return item

    def _letters(self, merchant: str, where: DeadLetterFilter) -> list[DeadLetter]:
        return [
            it
            for it in self.letters
            if it.item.stream.name == merchant
            and where.gateway in (None, it.item.gateway)
            and where.state in (None, it.state)
            and where.work_id in (None, it.item.work_id)
        ]

    def stats(self) -> StoreStats:
        """The figures of callbacks that the test sets."""
        self._reach()
        return self.waiting

    def relay_health(self, name: str) -> RelayHealth:
        """The figures that the test sets, for the relay ``events``."""
        self._reach()
        return {"events": self.relay}[name]

    def work_counts(self) -> dict[tuple[str, str], int]:
        """Not called here."""
        return {}

    def ping(self) -> None:
        """Not called here."""

    def _all(self, merchant: str) -> list[TransactionView]:
        self._reach()
        return [
            TransactionView(it, self.attention.get(it.transaction_id))
            for stream, account in self._accounts.items()
            if stream.name == merchant
            for it in account.transactions.values()
        ]

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailableError("the disk is gone")

    def change(self, transaction_id: str, customer_id: str, **changes: Any) -> None:
        """Change a transaction without a command."""
        stream = StreamKey("main", customer_id)
        account = self._accounts[stream]
        changed = replace(account.transactions[transaction_id], **changes)
        self._accounts[stream] = replace(account, transactions={**account.transactions, transaction_id: changed})
