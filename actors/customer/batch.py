"""How waiting requests and reports become one write of a customer's stream. Pure: no Pykka, no threads, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from actors.customer.idempotency import claim_of
from actors.gateways.retry_policy import RetryPolicy, next_step, ran_a_day
from actors.messages import AboutWork, DiscardRequest, OutcomeReport, ReceiveRequest, Request, SubmissionRequest
from actors.replies import Reply
from actors.work import context, first_item, open_submit, read_context
from domain.account import (
    DISCARDED,
    Account,
    Refused,
    Status,
    Transaction,
    UnknownTransactionError,
    decide,
    evolve,
)
from domain.commands import OpenReview, RecordOutcome, RecordSubmission
from domain.events import Event, Recorded, ReviewOpened, TransactionEvent
from domain.outcomes import Approved, Declined, NotReceived, Unknown
from domain.said import Said, Source, plain
from store.codec import Metadata, encode
from store.port import (
    Action,
    Claim,
    CloseWork,
    DeliveryCertainty,
    EncodedEvent,
    Fence,
    Head,
    MoveWork,
    Part,
    Review,
    StreamKey,
    WorkItem,
    WorkState,
    Write,
)
from store.projection import project_review

Pending = Request | AboutWork
"""What a customer's actor decides on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one request or report comes to once the batch is stored."""

    source: Pending
    transaction: Transaction | None
    """The transaction as this part leaves it."""
    item: WorkItem | None = None
    """A new transaction's work, or the one that may be sent now."""
    leased: bool = False
    moved: MoveWork | None = None
    answer: Reply | None = None
    """What a request is told; None: that it is accepted."""


class Refusal(NamedTuple):
    """A request that is refused if the stream still ends where the decision saw it end."""

    request: Request
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
        self.confirmed = False
        """Whether the refusals are known to hold, without a look at the stream's head."""
        self.recorded: list[tuple[Recorded, Metadata]] = []
        self.confirms = False
        """Whether a commit must confirm something on record, besides the entries that no part stores."""
        self.before, self.now, self._new_id = head, now, new_id
        self._parts: list[Part] = []
        self._sources: list[Pending] = []
        self._transactions: dict[str, None] = {}
        self._currencies: dict[str, None] = {}
        self._reviews: list[Review] = []

    def add_request(self, request: ReceiveRequest, owner: str | None) -> None:
        """Decide on a client's command; its work is leased to ``owner``, or queued when that is None."""
        command = request.command
        decision = decide(self.account, command)
        if isinstance(decision, Refused):
            self.refusals.append(Refusal(request, decision))
            return
        if request.decided_at is None:
            request.decided_at = self.now
        events = self.record(decision, request.metadata, request.event_ids, at=request.decided_at)
        transaction = self.account.transactions[command.transaction_id]
        payload = context(request.metadata, request.event_ids[0])
        if events:  # none: an earlier write of this very request was stored after all
            claims = () if request.once is None else (claim_of(request.once, transaction.transaction_id),)
            work = (open_submit(transaction, owner, payload),)
            self.add_part(Part(events=events, claims=claims, work=work), request)
        item = first_item(self.stream, transaction, payload)
        self.entries.append(Entry(request, transaction, item, leased=owner is not None))

    def add_discard(self, request: DiscardRequest, policy: RetryPolicy | None) -> None:
        """Decide on a person's order to give work up; refused where the gateway may have got it."""
        item, command = request.item, request.command
        known = self.known(command.transaction_id)
        if request.in_doubt and known.failure is not None and known.failure.code == DISCARDED:
            # An earlier write of this very request was stored.
            self.entries.append(Entry(request, known))
            return
        if known.status.terminal:
            self.refusals.append(Refusal(request, Refused("dead-letter-busy", f"It is {known.status} by now.")))
            return
        if policy is None or not policy.discardable(item):
            detail = "An attempt may have reached the gateway: only a person who has asked there can settle it."
            if policy is None:
                detail = "Its gateway is not configured: nobody here can tell whether an attempt has reached it."
            self.refusals.append(Refusal(request, Refused("not-discardable", detail)))
            return
        decision = decide(self.account, command)
        if isinstance(decision, Refused):
            self.refusals.append(Refusal(request, decision))
            return
        events = self.record(decision, request.metadata, request.event_ids)
        fence = Fence(item.work_id, item.token)
        self.add_part(Part(events=events, fence=fence, work=(CloseWork(item.work_id),)), request)
        self.entries.append(Entry(request, self.account.transactions[command.transaction_id]))

    def add_submission(self, request: SubmissionRequest) -> None:
        """Write down that the work is about to be sent; the entry's ``item`` is what may go out then, if anything."""
        item = request.item
        assert item.transaction is not None
        transaction_id = item.transaction.transaction_id
        known = self.known(transaction_id)
        # As the claim saw it, with the token that is held since: a cache may be behind what others sent before that.
        attempt = item.transaction.submissions + 1
        after = replace(item, token=item.token + 1, certainty=DeliveryCertainty.SENT)
        # An earlier write of this very request was stored, if the token is the one that it left: whoever else may have
        # submitted this attempt had to claim the work first. A request that wrote nothing yet is one handed over twice.
        written = known.submissions >= attempt and request.in_doubt
        fence = Fence(item.work_id, after.token if written else item.token)
        if known.status not in {Status.PENDING, Status.UNKNOWN}:  # it was settled otherwise: nothing is to be sent
            change = CloseWork(item.work_id) if known.status.terminal else _resolve(item)
            self.add_part(Part(fence=fence, work=(change,)), request)
            self.entries.append(Entry(request, known, moved=change if isinstance(change, MoveWork) else None))
            return
        if known.submissions >= attempt:
            self.confirms = True
            self.add_part(Part(fence=fence), request)
            self.entries.append(Entry(request, known, replace(after, transaction=known)))
            return
        decision = self._decided(RecordSubmission(transaction_id, attempt))
        events = self.record(decision, _metadata(item), request.event_ids)
        leased = MoveWork(
            item.work_id,
            item.action,
            WorkState.LEASED,
            0.0,
            item.attempts,
            item.errors,
            certainty=DeliveryCertainty.SENT,
        )
        self.add_part(Part(events=events, fence=fence, work=(leased,)), request)
        known = self.account.transactions[transaction_id]
        self.entries.append(Entry(request, known, replace(after, transaction=known)))

    def add_report(
        self, report: OutcomeReport, policy: RetryPolicy, chance: float, settlement_left_s: float = 0.0
    ) -> None:
        """Decide on what a call said. A stale report changes nothing, but what contradicts the record is reviewed."""
        item, result = report.item, report.result
        if report.gone:
            evidence = with_said(self._evidence(report), lambda: _said(report, self.now))
            if evidence:
                events = self.record(evidence, _metadata(item), report.event_ids)
                self.add_part(Part(events=events, claims=_claims(evidence)), report)
            self.entries.append(Entry(report, None))
            return
        decision = self._outcome(report, settlement_left_s)
        metadata = _metadata(item)
        if report.stale:
            evidence = [event for event in decision if isinstance(event, ReviewOpened)]
            events = self.record(evidence, metadata, report.event_ids)
            if events:
                self.add_part(Part(events=events, claims=_claims(evidence)), report)
            self.entries.append(Entry(report, None))
            return
        events = self.record(decision, metadata, report.event_ids)
        status = None
        if item.transaction is not None:
            # Not held when the result led to no decision: then the item's own copy has to do.
            known = self.account.transactions.get(item.transaction.transaction_id, item.transaction)
            status = known.status
        change = next_step(
            item, result, policy, now=self.now, chance=chance, status=status, settlement_left_s=settlement_left_s
        )
        fence = Fence(item.work_id, item.token)
        self.add_part(Part(events=events, claims=_claims(decision), fence=fence, work=(change,)), report)
        moved = change if isinstance(change, MoveWork) else None
        self.entries.append(Entry(report, None, moved=moved))

    def _evidence(self, report: OutcomeReport) -> list[Event]:
        """A review of a report about a transaction that is no longer on record; none if there is one already."""
        transaction, result = report.item.transaction, report.result
        if report.reviewed or transaction is None:
            return []
        match result:
            case Approved(reference=reference, final=final):
                said = f"was {'carried out' if final else 'accepted'} under the reference {reference}"
            case Declined(code=code):
                said = f"was declined ({code})"
            case _:
                said = "may have been carried out: no answer came"
        money = transaction.money
        reason = (
            f"The store was restored to an earlier state, and a {transaction.kind} of {money.text} {money.currency} by"
            f" {transaction.gateway} is not on record. It {said}."
        )
        review_id = f"{transaction.transaction_id}.{self.account.version + 1}"
        return [ReviewOpened(review_id, transaction.transaction_id, reason)]

    def _outcome(self, report: OutcomeReport, settlement_left_s: float) -> Sequence[Event]:
        """What ``report`` adds to the record."""
        item, transaction, result = report.item, report.item.transaction, report.result
        if transaction is None:
            return ()
        decision: Sequence[Event] = ()
        if isinstance(result, Approved | Declined | Unknown):
            decision = self._decided(RecordOutcome(transaction.transaction_id, result))
        status = self.account.transactions.get(transaction.transaction_id, transaction).status
        if not report.stale and ran_a_day(item, result, self.now, status=status, settlement_left_s=settlement_left_s):
            reason = "A day of lookups has not told what became of it."
            decision = [*decision, *self._decided(OpenReview(transaction.transaction_id, reason))]
        decision = with_said(decision, lambda: _said(report, self.now))
        if report.reviewed:
            return [event for event in decision if not isinstance(event, ReviewOpened)]
        return decision

    def _decided(self, command: RecordOutcome | OpenReview | RecordSubmission) -> Sequence[Event]:
        decision = decide(self.account, command)
        assert not isinstance(decision, Refused)  # only a client's or a person's command can be refused
        return decision

    def known(self, transaction_id: str) -> Transaction:
        """The transaction as the batch leaves it so far. Raises UnknownTransactionError."""
        try:
            return self.account.transactions[transaction_id]
        except KeyError:
            raise UnknownTransactionError(transaction_id) from None

    def record_refusals(self) -> None:
        """Have those of commands with an idempotency key stored: whoever repeats one is to be told the same."""
        for request, refused in self.refusals:
            if request.once is not None and not request.may_be_stored(self.before.version):
                self.add_part(Part(claims=(claim_of(request.once, request.own_id, refused),)), request)

    def write(self) -> Write | None:
        """The write of everything added; None when nothing needs to be stored.

        Results of an earlier write were only read: a commit must confirm them before they are answered.
        """
        stored = set(map(id, self._sources))
        confirm = self.confirms or any(id(entry.source) not in stored for entry in self.entries)
        if not (self._parts or confirm):
            return None
        transactions = tuple(self.account.transactions[transaction_id] for transaction_id in self._transactions)
        currencies = {transaction.money.currency: None for transaction in transactions} | self._currencies
        balances = self.account.balances
        return Write(
            self.stream,
            self.before,
            tuple(self._parts),
            transactions,
            tuple((currency, balances[currency]) for currency in currencies if currency in balances),
            tuple(self._reviews),
            confirm=confirm,
        )

    def source_of(self, part: int) -> Pending:
        """Whose part number ``part`` of the write is."""
        return self._sources[part]

    def add_part(self, part: Part, source: Pending) -> None:
        """Have ``part``, which came of ``source``, stored with the others."""
        self._parts.append(part)
        self._sources.append(source)

    def touch(self, currency: str) -> None:
        """Have the balance in ``currency`` stored, which is changed by an event of no transaction."""
        self._currencies[currency] = None

    def record(
        self,
        events: Sequence[Event],
        metadata: Metadata,
        event_ids: list[str],
        *,
        at: datetime | None = None,
        before: Review | None = None,
    ) -> tuple[EncodedEvent, ...]:
        """Let ``events`` happen ``at`` this time (None: now), under ``event_ids``. ``before``: the review closed."""
        at = self.now if at is None else at
        encoded = []
        for number, event in enumerate(events):
            if number == len(event_ids):
                event_ids.append(self._new_id())
            recorded = Recorded(self.head.version + 1, at, event)
            self.account = evolve(self.account, recorded)
            done = encode(self.stream, self.head, recorded, event_ids[number], metadata)
            self.head = Head(done.version, done.hash)
            encoded.append(done)
            self.recorded.append((recorded, metadata))
            if isinstance(event, TransactionEvent):
                self._transactions[event.transaction_id] = None
            elif (review := project_review(before, recorded)) is not None:
                self._reviews.append(review)
        return tuple(encoded)


REVIEW_SCOPE: Final = "review"


def with_said(events: Sequence[Event], said: Callable[[], Said]) -> list[Event]:
    """``events``, whose reviews show what was said."""
    return [replace(event, said=said()) if isinstance(event, ReviewOpened) else event for event in events]


def _said(report: OutcomeReport, at: datetime) -> Said:
    """What the gateway answered to a call, for people."""
    item, result = report.item, report.result
    source = Source.LOOKUP if item.action is Action.RESOLVE else Source.ANSWER
    said = Said(source, item.gateway, at, reference=item.work_id)
    match result:
        case Approved(reference=reference, final=final):
            return replace(said, gateway_reference=plain(reference), status="completed" if final else "processed")
        case Declined(code=code, message=message, reference=reference):
            known = None if reference is None else plain(reference)
            return replace(said, gateway_reference=known, status="failed", code=plain(code), message=plain(message))
        case NotReceived():
            return replace(said, message="The gateway says that it never received it.")
        case _:
            return replace(said, message=plain(result.reason))


def _claims(events: Sequence[Event]) -> tuple[Claim, ...]:
    """A person is asked about the same thing once: a gateway may repeat itself at every lookup."""
    return tuple(
        Claim(REVIEW_SCOPE, f"{event.transaction_id}:{event.reason}", event.review_id.encode())
        for event in events
        if isinstance(event, ReviewOpened)
    )


def _metadata(item: WorkItem) -> Metadata:
    return read_context(item.payload) if item.payload is not None else Metadata(item.work_id)


def _resolve(item: WorkItem) -> MoveWork:
    """The gateway has it already: ask there, soon."""
    return MoveWork(item.work_id, Action.RESOLVE, WorkState.QUEUED, 0.0, 0, item.errors, item.certainty)
