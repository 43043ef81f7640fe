"""Build writes for the store's tests as a customer's actor does: from its own state of the stream."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.account import Account
from domain.events import (
    Authorized,
    Completed,
    Event,
    Failed,
    Kind,
    Processed,
    Received,
    Recorded,
    ReviewClosed,
    ReviewOpened,
    Voided,
)
from domain.money import Money
from domain.state_machine import evolve
from store.codec import Metadata, encode
from store.port import (
    Action,
    Claim,
    CloseWork,
    DeliveryCertainty,
    Fence,
    Head,
    MoveWork,
    OpenWork,
    Part,
    Review,
    StreamKey,
    WorkChange,
    WorkError,
    WorkState,
    Write,
)
from store.projection import project_review

START = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
OWNER = "owner-1"

_ids = itertools.count(1)


class Clock:
    """A clock that changes only when the test advances it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """The time now."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Step:
    """The part that one command adds to a write."""

    events: Sequence[Event] = ()
    claims: Sequence[Claim] = ()
    fence: Fence | None = None
    work: Sequence[WorkChange] = ()


class Customer:
    """A customer as its writer sees it. Every write that it builds is assumed to succeed."""

    def __init__(self, id_: str = "customer-1", merchant: str = "main") -> None:
        self.stream = StreamKey(merchant, id_)
        self.account = Account(id_)
        self.head = Head()
        self.reviews: dict[str, Review] = {}
        self.now = START
        self.correlation_id = "correlation-1"

    def twin(self) -> Customer:
        """A second writer with the same assumptions."""
        return copy.deepcopy(self)

    def write(self, *steps: Step) -> Write:
        """All of ``steps`` as one write that continues from the assumed head."""
        before, head, metadata = self.account, self.head, Metadata(self.correlation_id)
        parts = []
        touched_reviews: dict[str, Review] = {}
        for step in steps:
            encoded = []
            for event in step.events:
                recorded = Recorded(self.account.version + 1, self.now, event, self.correlation_id)
                self.account = evolve(self.account, recorded)
                if isinstance(event, ReviewOpened | ReviewClosed):
                    review = project_review(self.reviews.get(event.review_id), recorded)
                    assert review is not None
                    self.reviews[review.review_id] = touched_reviews[review.review_id] = review
                stored = encode(self.stream, self.head, recorded, f"event-{next(_ids)}", metadata)
                self.head = Head(stored.version, stored.hash)
                encoded.append(stored)
            parts.append(Part(tuple(encoded), tuple(step.claims), step.fence, tuple(step.work)))
        return Write(
            self.stream,
            head,
            tuple(parts),
            tuple(t for key, t in self.account.transactions.items() if before.transactions.get(key) != t),
            tuple((c, b) for c, b in self.account.balances.items() if before.balances.get(c) != b),
            tuple(touched_reviews.values()),
        )

    def deposit(
        self,
        transaction_id: str,
        minor: int = 10_000,
        *,
        gateway: str = "gatewayA",
        owner: str | None = None,
        claims: Sequence[Claim] = (),
    ) -> Write:
        """A deposit received, and its work."""
        return self.write(deposit(transaction_id, minor, gateway=gateway, owner=owner, claims=claims))

    def complete(self, transaction_id: str, *, fence: Fence | None = None) -> Write:
        """A transaction completed, and its work closed."""
        return self.write(complete(transaction_id, self.kind(transaction_id), fence=fence))

    def fail(self, transaction_id: str, *, fence: Fence | None = None) -> Write:
        """A transaction failed, and its work closed."""
        failed = Failed(self.kind(transaction_id), transaction_id, "do_not_honor", None, "no")
        return self.write(Step((failed,), fence=fence, work=(CloseWork(transaction_id),)))

    def kind(self, transaction_id: str) -> Kind:
        """The kind of a transaction of this customer."""
        return self.account.transactions[transaction_id].kind


def received(
    transaction_id: str,
    minor: int = 10_000,
    currency: str = "USD",
    *,
    kind: Kind = Kind.DEPOSIT,
    gateway: str = "gatewayA",
    reserved: bool = False,
) -> Received:
    """A received event with an ordinary detail."""
    return Received(kind, transaction_id, gateway, Money(minor, currency), {"order": "7"}, reserved)


def deposit(
    transaction_id: str,
    minor: int = 10_000,
    *,
    gateway: str = "gatewayA",
    owner: str | None = None,
    claims: Sequence[Claim] = (),
) -> Step:
    """The step that receives a deposit; its work has the transaction's id."""
    return Step(
        (received(transaction_id, minor, gateway=gateway),),
        claims,
        work=(open_work(transaction_id, gateway=gateway, owner=owner),),
    )


def complete(
    transaction_id: str, kind: Kind = Kind.DEPOSIT, *, fence: Fence | None = None, reference: str = "A-1"
) -> Step:
    """The step that completes a transaction."""
    events = (Processed(kind, transaction_id, reference), Completed(kind, transaction_id))
    return Step(events, fence=fence, work=(CloseWork(transaction_id),))


def hold(transaction_id: str, minor: int = 10_000) -> Step:
    """The step that receives a deposit with manual capture, which the gateway holds; its work stays open."""
    event = Received(Kind.DEPOSIT, transaction_id, "gatewayA", Money(minor, "USD"), {}, manual_capture=True)
    held = Authorized(Kind.DEPOSIT, transaction_id, f"A-{transaction_id}", START + timedelta(days=7))
    return Step((event, held), work=(open_work(transaction_id),))


def child(kind: Kind, transaction_id: str, parent_id: str, minor: int = 10_000) -> Step:
    """The step that receives a refund (which reserves its amount), capture or void."""
    event = Received(
        kind,
        transaction_id,
        "gatewayA",
        Money(minor, "USD"),
        {},
        reserved=kind is Kind.REFUND,
        parent_id=parent_id,
        parent_reference=f"A-{parent_id}",
        reason="late" if kind is Kind.REFUND else None,
    )
    return Step((event,), work=(open_work(transaction_id),))


def end(kind: Kind, transaction_id: str, *of_parent: Completed | Voided) -> Step:
    """The step that completes a refund, capture or void, with what follows for its parent."""
    events = (Processed(kind, transaction_id, f"A-{transaction_id}"), Completed(kind, transaction_id), *of_parent)
    closed = (transaction_id, *(one.transaction_id for one in of_parent))
    return Step(events, work=tuple(map(CloseWork, closed)))


def end_failed(kind: Kind, transaction_id: str, code: str, *, parent_id: str | None = None) -> Step:
    """The step that fails a refund, capture or void; with ``parent_id`` the authorization ends as well."""
    failed = [Failed(kind, transaction_id, code, None, "no")]
    if parent_id is not None:
        failed.append(Failed(Kind.DEPOSIT, parent_id, code, None, "no"))
    return Step(failed, work=tuple(CloseWork(one.transaction_id) for one in failed))


def story() -> Sequence[Step]:
    """A deposit with a refund, one that is captured in part and not refunded, one voided, one whose hold is gone."""
    return [
        deposit("d0"),
        complete("d0"),
        child(Kind.REFUND, "d0-r", "d0", 4_000),
        end(Kind.REFUND, "d0-r"),
        hold("d1"),
        child(Kind.CAPTURE, "d1-c", "d1", 7_000),
        end(Kind.CAPTURE, "d1-c", Completed(Kind.DEPOSIT, "d1", Money(7_000, "USD"))),
        child(Kind.REFUND, "d1-r", "d1", 7_000),
        end_failed(Kind.REFUND, "d1-r", "do_not_honor"),
        hold("d2"),
        child(Kind.VOID, "d2-v", "d2"),
        end(Kind.VOID, "d2-v", Voided(Kind.DEPOSIT, "d2")),
        hold("d3"),
        child(Kind.CAPTURE, "d3-c", "d3"),
        end_failed(Kind.CAPTURE, "d3-c", "authorization_expired", parent_id="d3"),
    ]


def open_work(transaction_id: str, *, gateway: str = "gatewayA", owner: str | None = None) -> OpenWork:
    """Work to submit a transaction, under the transaction's own id."""
    return OpenWork(transaction_id, transaction_id, gateway, Action.SUBMIT, "DepositReceived", owner)


def move(
    work_id: str,
    *,
    state: WorkState = WorkState.QUEUED,
    delay_s: float = 0.0,
    attempts: int = 1,
    errors: tuple[WorkError, ...] = (),
    action: Action = Action.SUBMIT,
    certainty: DeliveryCertainty = DeliveryCertainty.NOT_SENT,
) -> MoveWork:
    """Work that continues."""
    return MoveWork(work_id, action, state, delay_s, attempts, errors, certainty)
