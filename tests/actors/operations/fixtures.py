"""Operator commands and callbacks as the API sends them, and their results."""

from __future__ import annotations

from dataclasses import replace

from actors.customer.idempotency import IdempotencyKey
from actors.operations.adjust import AdjustOperation
from actors.operations.callback import Callback, CallbackOperation
from actors.operations.close_review import CloseReviewOperation
from actors.operations.resolve import ResolveOperation
from actors.operations.waiting_callbacks import queue_of, stream_of_gateway
from domain.commands import Adjust, CloseReview, RecordCallback, Resolution, Resolve
from domain.money import Money
from domain.outcomes import Approved, Declined, Unknown
from gateways.port import RawMembers
from store.codec import Metadata
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import WorkItem
from tests.actors.customer.fixtures import DEADLINE_S, Customers
from tests.actors.support import GATEWAY, stream

AWAY = StoreUnavailableError("away")


UNCERTAIN = CommitUncertainError("cut")


WHO = Metadata("r-8", who="ann", reason="asked", evidence="ticket 7")


def resolve(
    customers: Customers, item: WorkItem, *, completed: bool = True, version: int | None = None
) -> ResolveOperation:
    """Resolve the item's transaction, as an operator who sees its present state and work."""
    version = customers.transaction(item.work_id).version if version is None else version
    outcome = Resolution.COMPLETED if completed else Resolution.FAILED
    request = resolution(customers, item, Resolve(item.work_id, outcome, version, "confirmed by telephone"))
    customers.router.tell(item.stream, request)
    return request


def resolution(customers: Customers, item: WorkItem, command: Resolve) -> ResolveOperation:
    """The operation that the API sends."""
    work = customers.real.work("main", item.work_id)
    request = ResolveOperation.on(work, command, WHO)
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    return request


def adjust(customers: Customers, minor: int, *, key: str | None = None, customer: str = "c1") -> AdjustOperation:
    """Adjust a balance, as an operator."""
    command = Adjust(customers.runtime.new_id(), Money(minor, "USD"), "asked", "ticket 7")
    once = None if key is None else IdempotencyKey("idempotency:adjustment:main", key, str(minor))
    request = AdjustOperation(command, WHO, once)
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    customers.router.tell(stream(customer), request)
    return request


def available(customers: Customers, customer: str = "c1") -> int:
    """The customer's available balance in USD."""
    view = customers.real.customer(stream(customer))
    return 0 if view is None else dict(view.balances)["USD"].available


def unknown(customers: Customers) -> WorkItem:
    """A deposit with an unknown outcome, which is not sent again automatically."""
    item = replace(customers.deposited(), attempts=customers.policy.max_retries)
    customers.report(item, Unknown("timeout"))
    customers.run()
    return item


def open_review(customers: Customers) -> CloseReviewOperation:
    """Closes a review that is open."""
    item = customers.completed()
    customers.callback(item, Approved("A-other", final=True))
    customers.run()
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    command = CloseReview(view.review.review_id, "looked")
    request = CloseReviewOperation(command, view.review, WHO)
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    return request


NO = Declined("declined", None, "The gateway says so.")


def approval(item: WorkItem) -> Approved:
    """The gateway's approval, under the reference that its answers name."""
    return Approved(f"A-{item.work_id}", final=True)


def reviews(customers: Customers) -> int:
    """The number of open reviews of all customers."""
    return len(customers.real.reviews("main", "open", before=None, limit=100))


def work(customers: Customers) -> dict[tuple[str, str], int]:
    """The counts of unfinished work."""
    return customers.real.work_counts()


def claim(customers: Customers) -> list[WorkItem]:
    """Lease the stored callbacks that are due."""
    return customers.real.claim_work(customers.owner, queue_of(GATEWAY), 10)


def unmatched(customers: Customers, transaction_id: str, event_id: str = "evt-1") -> CallbackOperation:
    """A callback about a transaction that is not on record."""
    said = RecordCallback(transaction_id, GATEWAY, "A-9", Money(10_000, "USD"), Approved("A-9", final=True))
    request = CallbackOperation(
        Callback(GATEWAY, event_id, b"{}"),
        Metadata("r-7"),
        unmatched=said,
        work_key=f"callback:{customers.runtime.new_id()}",
        raw=RawMembers(transaction_id, "A-9", "completed", "100.0", "USD"),
    )
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    customers.router.tell(stream_of_gateway(GATEWAY), request)
    customers.run()
    return request
