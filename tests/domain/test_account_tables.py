"""The state machine as tables: every outcome in every status, and every transition of ``evolve``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.account import Account, Balance, IllegalTransitionError, Refused, Status, UnknownTransactionError
from domain.commands import Discard, OpenReview, Receive, RecordOutcome, RecordSubmission
from domain.events import (
    Completed,
    Event,
    Failed,
    Kind,
    OutcomeUnknown,
    Processed,
    Received,
    Recorded,
    ReviewOpened,
    Submitted,
)
from domain.money import Money
from domain.outcomes import Approved, Category, Declined, Unknown
from domain.state_machine import decide, evolve
from tests.domain.ledger import HOLD, START, Ledger, receive

STATUSES = [Status.PENDING, Status.UNKNOWN, Status.PROCESSED, Status.COMPLETED, Status.FAILED]
"""The statuses of everything but an authorization, which ``test_authorizations`` covers."""


def account_at(status: Status, kind: Kind = Kind.WITHDRAWAL) -> Account:
    """An account whose transaction t1 of 3 USD has reached ``status``."""
    ledger = Ledger()
    ledger.apply(Receive(Kind.DEPOSIT, "t0", "gatewayA", Money(5, "USD"), {}))
    ledger.apply(RecordOutcome("t0", Approved("A-0", final=True)))
    receive(ledger, kind, "t1", Money(3, "USD"))
    path: dict[Status, Approved | Declined | Unknown | None] = {
        Status.PENDING: None,
        Status.UNKNOWN: Unknown("timeout"),
        Status.PROCESSED: Approved("A-1", final=False),
        Status.COMPLETED: Approved("A-1", final=True),
        Status.FAILED: Declined("do_not_honor", Category.HARD, "no"),
    }
    outcome = path[status]
    if outcome is not None:
        ledger.apply(RecordOutcome("t1", outcome))
    assert ledger.account.transactions["t1"].status is status
    return ledger.account


AFTER: dict[tuple[Status, str], tuple[str, ...]] = {
    (Status.PENDING, "unknown"): ("OutcomeUnknown",),
    (Status.PENDING, "pending"): ("Processed",),
    (Status.PENDING, "success"): ("Processed", "Completed"),
    (Status.PENDING, "other reference"): ("Processed", "Completed"),
    (Status.PENDING, "declined"): ("Failed",),
    (Status.UNKNOWN, "unknown"): (),
    (Status.UNKNOWN, "pending"): ("Processed",),
    (Status.UNKNOWN, "success"): ("Processed", "Completed"),
    (Status.UNKNOWN, "other reference"): ("Processed", "Completed"),
    (Status.UNKNOWN, "declined"): ("Failed",),
    (Status.PROCESSED, "unknown"): (),
    (Status.PROCESSED, "pending"): (),
    (Status.PROCESSED, "success"): ("Completed",),
    (Status.PROCESSED, "other reference"): ("ReviewOpened",),
    (Status.PROCESSED, "declined"): ("Failed",),
    (Status.COMPLETED, "unknown"): (),
    (Status.COMPLETED, "pending"): (),
    (Status.COMPLETED, "success"): (),
    (Status.COMPLETED, "other reference"): ("ReviewOpened",),
    (Status.COMPLETED, "declined"): ("ReviewOpened",),
    (Status.FAILED, "unknown"): (),
    (Status.FAILED, "pending"): (),  # a late first answer
    (Status.FAILED, "success"): ("ReviewOpened",),
    (Status.FAILED, "other reference"): ("ReviewOpened",),
    (Status.FAILED, "declined"): (),
}
OUTCOMES: dict[str, Approved | Declined | Unknown] = {
    "unknown": Unknown("timeout"),
    "pending": Approved("A-1", final=False),
    "success": Approved("A-1", final=True),
    "other reference": Approved("A-9", final=True),
    "declined": Declined("expired_card", Category.HARD, "no"),
}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("status", "outcome"), AFTER)
def test_every_outcome_in_every_status(status: Status, outcome: str, kind: Kind) -> None:
    """The table of the events that each outcome leads to in each status."""
    events = decide(account_at(status, kind), RecordOutcome("t1", OUTCOMES[outcome]))
    assert not isinstance(events, Refused)
    assert (
        tuple(type(event).__name__ for event in events if getattr(event, "transaction_id", None) != HOLD)
        == AFTER[status, outcome]
    )


def test_the_table_is_complete() -> None:
    """The table has every combination of status and outcome."""
    assert AFTER.keys() == {(status, outcome) for status in STATUSES for outcome in OUTCOMES}


LEGAL: set[tuple[Status, str]] = {
    (Status.PENDING, "unknown"),
    (Status.PENDING, "processed"),
    (Status.PENDING, "failed"),
    (Status.UNKNOWN, "processed"),
    (Status.UNKNOWN, "failed"),
    (Status.PROCESSED, "completed"),
    (Status.PROCESSED, "failed"),
}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("to", ["received", "unknown", "processed", "completed", "failed"])
def test_evolve_refuses_all_other_transitions(status: Status, to: str, kind: Kind) -> None:
    """``evolve`` refuses every event that does not follow from the state, so that a damaged record is detected."""
    account = account_at(status, kind)
    events: dict[str, Event] = {
        "received": Received(kind, "t1", "gatewayA", Money(3, "USD"), {}),
        "unknown": OutcomeUnknown(kind, "t1", "timeout"),
        "processed": Processed(kind, "t1", "A-1"),
        "completed": Completed(kind, "t1"),
        "failed": Failed(kind, "t1", "x", None, "no"),
    }
    recorded = Recorded(account.version + 1, START, events[to])
    if (status, to) in LEGAL:
        assert evolve(account, recorded).transactions["t1"].status.value == to
    else:
        with pytest.raises(IllegalTransitionError):
            evolve(account, recorded)


@pytest.mark.parametrize(
    ("status", "attempt", "recorded"),
    [
        (Status.PENDING, 1, True),
        (Status.PENDING, 2, True),
        (Status.UNKNOWN, 1, True),
        (Status.PROCESSED, 1, True),
        (Status.COMPLETED, 1, False),
        (Status.FAILED, 1, False),
    ],
)
def test_submissions(status: Status, attempt: int, recorded: bool) -> None:  # noqa: FBT001 - a column of the table
    """An attempt is recorded once, in ascending order, and never for a terminal transaction."""
    account = account_at(status)
    events = decide(account, RecordSubmission("t1", attempt))
    assert events == ((Submitted(Kind.WITHDRAWAL, "t1", attempt),) if recorded else ())
    step = Recorded(account.version + 1, START, Submitted(Kind.WITHDRAWAL, "t1", attempt))
    if recorded:
        after = evolve(account, step)
        assert after.transactions["t1"].submissions == attempt
        assert decide(after, RecordSubmission("t1", attempt)) == ()
        with pytest.raises(IllegalTransitionError):
            evolve(after, Recorded(after.version + 1, START, step.event))
    else:
        with pytest.raises(IllegalTransitionError):
            evolve(account, step)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("submissions", [0, 2])
@pytest.mark.parametrize("status", STATUSES)
def test_a_discard_in_every_status(status: Status, submissions: int, kind: Kind) -> None:
    """Only a pending transaction can be discarded, with or without recorded submissions; its reserve is released."""
    account = account_at(status, kind)
    if submissions and not status.terminal:
        event = Submitted(kind, "t1", submissions)
        account = evolve(account, Recorded(account.version + 1, START, event))
    answer = decide(account, Discard("t1", "the customer has paid cash"))
    if status is not Status.PENDING:
        assert isinstance(answer, Refused)
        assert answer.code == "not-discardable"
        assert status.value in answer.detail
        return
    assert answer == (Failed(kind, "t1", "discarded", None, "the customer has paid cash"),)
    after = evolve(account, Recorded(account.version + 1, START, answer[0]))
    assert after.transactions["t1"].status is Status.FAILED
    assert after.balances["USD"] == Balance(5, 0)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", STATUSES)
def test_a_review_in_every_status(status: Status, kind: Kind) -> None:
    """A review can be opened for any unfinished transaction, under an id that is unique in the stream."""
    account = account_at(status, kind)
    answer = decide(account, OpenReview("t1", "a day without an answer"))
    if status.terminal:
        assert answer == ()
        return
    [review] = answer  # type: ignore[misc]  # no refusal
    assert isinstance(review, ReviewOpened)
    assert (review.transaction_id, review.reason) == ("t1", "a day without an answer")
    after = evolve(account, Recorded(account.version + 1, START, review))
    [another] = decide(after, OpenReview("t1", "again"))  # type: ignore[misc]
    assert isinstance(another, ReviewOpened)
    assert another.review_id != review.review_id
    assert (after.transactions, after.balances) == (account.transactions, account.balances)


@pytest.mark.parametrize("version", [-1, 0, 4, 6])
def test_versions_follow_each_other(version: int) -> None:
    """``evolve`` accepts only the next version."""
    account = account_at(Status.PENDING)
    assert account.version == 4
    event = Processed(Kind.WITHDRAWAL, "t1", "A-1")
    with pytest.raises(IllegalTransitionError):
        evolve(account, Recorded(version, START, event))


def test_a_transaction_that_was_not_loaded() -> None:
    """A decision or an event about a transaction that the account does not hold raises UnknownTransactionError."""
    account = account_at(Status.PENDING)
    with pytest.raises(UnknownTransactionError):
        decide(account, RecordOutcome("t9", Unknown("timeout")))
    with pytest.raises(UnknownTransactionError):
        decide(account, RecordSubmission("t9", 1))
    for command in (Discard("t9", "no more"), OpenReview("t9", "a day")):
        with pytest.raises(UnknownTransactionError):
            decide(account, command)
    with pytest.raises(UnknownTransactionError):
        evolve(account, Recorded(account.version + 1, START, Completed(Kind.DEPOSIT, "t9")))


def test_evolve_refuses_to_overdraw() -> None:
    """A record in which a withdrawal reserved more than was available is damaged, and ``evolve`` refuses it."""
    account = account_at(Status.PENDING)
    event = Received(Kind.WITHDRAWAL, "t2", "gatewayA", Money(3, "USD"), {}, reserved=True)
    with pytest.raises(IllegalTransitionError, match="below zero"):
        evolve(account, Recorded(account.version + 1, START, event))


@pytest.mark.parametrize(
    ("asked", "currency", "refused"),
    [(1, "USD", False), (5, "USD", False), (6, "USD", True), (500, "USD", True), (1, "EUR", True)],
)
def test_a_withdrawal_up_to_the_available_balance(asked: int, currency: str, *, refused: bool) -> None:
    """The whole available balance of a currency can be withdrawn, but no more. The refusal shows the balance."""
    ledger = Ledger()
    ledger.apply(Receive(Kind.DEPOSIT, "t0", "gatewayA", Money(5, "USD"), {}))
    assert isinstance(decide(ledger.account, Receive(Kind.WITHDRAWAL, "t", "gatewayA", Money(1, "USD"), {})), Refused)
    ledger.apply(RecordOutcome("t0", Approved("A-0", final=True)))
    answer = ledger.apply(Receive(Kind.WITHDRAWAL, "t1", "gatewayA", Money(asked, currency), {}))
    if refused:
        assert isinstance(answer, Refused)
        available = "0.05" if currency == "USD" else "0.00"
        assert answer.detail == f"{available} {currency} available, {Money(asked, currency).text} requested."
    else:
        assert ledger.account.balances["USD"] == Balance(5 - asked, asked)
    unchecked = decide(ledger.account, Receive(Kind.WITHDRAWAL, "t2", "gatewayA", Money(9, "USD"), {}, checked=False))
    assert unchecked == (Received(Kind.WITHDRAWAL, "t2", "gatewayA", Money(9, "USD"), {}, reserved=False),)


@pytest.mark.parametrize(
    ("status", "available", "reserved"),
    [
        (Status.PENDING, 2, 3),
        (Status.UNKNOWN, 2, 3),
        (Status.PROCESSED, 2, 3),
        (Status.COMPLETED, 2, 0),
        (Status.FAILED, 5, 0),
    ],
)
def test_what_a_withdrawal_does_to_the_balance(status: Status, available: int, reserved: int) -> None:
    """The amount is reserved while the withdrawal is unfinished; then it is paid out, or available again."""
    assert account_at(status).balances == {"USD": Balance(available, reserved)}


def test_a_transaction_has_the_facts_of_its_events() -> None:
    """A transaction has the times, versions, reference and failure of its events."""
    ledger = Ledger()
    ledger.apply(Receive(Kind.DEPOSIT, "t1", "gatewayB", Money(7, "JPY"), {"order": "7"}))
    ledger.apply(RecordSubmission("t1", 1))
    ledger.apply(RecordOutcome("t1", Approved("A-1", final=False)))
    ledger.apply(RecordOutcome("t1", Declined("expired_card", Category.HARD, "too old")))
    transaction = ledger.account.transactions["t1"]
    assert (transaction.created_at, transaction.updated_at) == (
        START + timedelta(seconds=1),
        START + timedelta(seconds=4),
    )
    assert (transaction.version, transaction.submissions) == (4, 1)
    assert transaction.gateway_reference == "A-1"
    assert transaction.failure is not None
    assert (transaction.failure.code, transaction.failure.category) == ("expired_card", Category.HARD)
    assert transaction.details == {"order": "7"}
