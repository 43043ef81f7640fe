"""How waiting requests and reports become one write of a customer's stream. Pure: no Pykka, no threads, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from actors.messages import OutcomeReport, ReceiveRequest
from actors.policy import WorkPolicy, next_step
from actors.work import context, first_item, open_submit, read_context
from domain.account import Account, Refused, Transaction, decide, evolve
from domain.commands import RecordOutcome
from domain.events import Event, Recorded, ReviewOpened, TransactionEvent
from domain.outcomes import Approved, Declined, Unknown
from store.codec import Metadata, encode
from store.port import (
    EncodedEvent,
    Fence,
    Head,
    MoveWork,
    Part,
    Review,
    StreamKey,
    WorkChange,
    WorkItem,
    Write,
)
from store.projection import project_review


@dataclass(frozen=True, slots=True)
class Entry:
    """What one request or report comes to once the batch is stored."""

    source: ReceiveRequest | OutcomeReport
    transaction: Transaction | None
    """The transaction as this part leaves it."""
    item: WorkItem | None = None
    """A new transaction's work."""
    leased: bool = False
    moved: MoveWork | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is refused if the stream still ends where the decision saw it end."""

    request: ReceiveRequest
    refused: Refused


class Batch:
    """Decides one request or report after the other, each on what the ones before it leave.

    Raises ``domain.account.UnknownTransactionError`` from its ``add`` methods when a transaction must be loaded
    first; the batch is not to be used then.
    """

    def __init__(
        self, stream: StreamKey, account: Account, head: Head, now: datetime, new_id: Callable[[], str]
    ) -> None:
        self.stream, self.account, self.head = stream, account, head
        self.entries: list[Entry] = []
        self.refusals: list[Refusal] = []
        self.recorded: list[tuple[Recorded, Metadata]] = []
        self._before, self._now, self._new_id = head, now, new_id
        self._parts: list[Part] = []
        self._sources: list[ReceiveRequest | OutcomeReport] = []
        self._transactions: dict[str, None] = {}
        self._reviews: list[Review] = []

    def add_request(self, request: ReceiveRequest, owner: str | None) -> None:
        """Decide on a client's command; its work is leased to ``owner``, or queued when that is None."""
        command = request.command
        decision = decide(self.account, command)
        if isinstance(decision, Refused):
            self.refusals.append(Refusal(request, decision))
            return
        events = self._record(decision, request.metadata, request.event_ids)
        transaction = self.account.transactions[command.transaction_id]
        payload = context(request.metadata, request.event_ids[0])
        if events:  # none: an earlier write of this very request was stored after all
            self._add_part(Part(events=events, work=(open_submit(transaction, owner, payload),)), request)
        item = first_item(self.stream, transaction, payload)
        self.entries.append(Entry(request, transaction, item, leased=owner is not None))

    def add_report(self, report: OutcomeReport, policy: WorkPolicy, chance: float) -> None:
        """Decide on what a call said. A stale report changes nothing, but what contradicts the record is reviewed."""
        item, result = report.item, report.result
        decision: Sequence[Event] = ()
        if item.transaction is not None and isinstance(result, Approved | Declined | Unknown):
            outcome = decide(self.account, RecordOutcome(item.transaction.transaction_id, result))
            assert not isinstance(outcome, Refused)  # only a client's command can be refused
            decision = outcome
        metadata = read_context(item.payload) if item.payload is not None else Metadata(item.work_id)
        if report.stale:
            evidence = [event for event in decision if isinstance(event, ReviewOpened)]
            events = self._record(evidence, metadata, report.event_ids)
            if events:
                self._add_part(Part(events=events), report)
            self.entries.append(Entry(report, None))
            return
        events = self._record(decision, metadata, report.event_ids)
        status = None
        if item.transaction is not None:
            # Not held when the result led to no decision: then the item's own copy has to do.
            known = self.account.transactions.get(item.transaction.transaction_id, item.transaction)
            status = known.status
        change: WorkChange = next_step(item, result, policy, now=self._now, chance=chance, status=status)
        self._add_part(Part(events=events, fence=Fence(item.work_id, item.token), work=(change,)), report)
        moved = change if isinstance(change, MoveWork) else None
        self.entries.append(Entry(report, None, moved=moved))

    def write(self) -> Write | None:
        """The write of everything added; None when nothing needs to be stored."""
        if not self._parts:
            return None
        transactions = tuple(self.account.transactions[transaction_id] for transaction_id in self._transactions)
        currencies = {transaction.money.currency: None for transaction in transactions}
        balances = self.account.balances
        return Write(
            self.stream,
            self._before,
            tuple(self._parts),
            transactions,
            tuple((currency, balances[currency]) for currency in currencies if currency in balances),
            tuple(self._reviews),
        )

    def source_of(self, part: int) -> ReceiveRequest | OutcomeReport:
        """Whose part number ``part`` of the write is."""
        return self._sources[part]

    def _add_part(self, part: Part, source: ReceiveRequest | OutcomeReport) -> None:
        self._parts.append(part)
        self._sources.append(source)

    def _record(self, events: Sequence[Event], metadata: Metadata, event_ids: list[str]) -> tuple[EncodedEvent, ...]:
        encoded = []
        for number, event in enumerate(events):
            if number == len(event_ids):
                event_ids.append(self._new_id())
            recorded = Recorded(self.head.version + 1, self._now, event)
            self.account = evolve(self.account, recorded)
            done = encode(self.stream, self.head, recorded, event_ids[number], metadata)
            self.head = Head(done.version, done.hash)
            encoded.append(done)
            self.recorded.append((recorded, metadata))
            if isinstance(event, TransactionEvent):
                self._transactions[event.transaction_id] = None
            elif (review := project_review(None, recorded)) is not None:
                self._reviews.append(review)
        return tuple(encoded)
