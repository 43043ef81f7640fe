"""Tables of what callbacks and operator commands may change in a transaction, from every status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.account import Balance, Refused, Status
from domain.commands import (
    Adjust,
    CloseReview,
    Command,
    Receive,
    RecordCallback,
    RecordOutcome,
    RecordSubmission,
    Resolution,
    Resolve,
)
from domain.events import Kind
from domain.money import Money
from domain.outcomes import AUTHORIZATION_GONE, Approved, Declined, Unknown
from domain.references import kept
from tests.domain.ledger import HOLD, Ledger, receive

TEN = Money(1_000, "USD")
APPROVED, DECLINED = Approved("A-1", final=True), Declined("declined", None, "The gateway says so.")
WAYS: dict[Status, list[Command]] = {
    Status.PENDING: [],
    Status.UNKNOWN: [RecordOutcome("t", Unknown("timeout"))],
    Status.PROCESSED: [RecordOutcome("t", Approved("A-1", final=False))],
    Status.COMPLETED: [RecordOutcome("t", APPROVED)],
    Status.FAILED: [RecordOutcome("t", DECLINED)],
}


def at(status: Status, kind: Kind = Kind.DEPOSIT) -> Ledger:
    """A customer with 20.00 USD, and a transaction of 10.00 USD in this status."""
    ledger = Ledger()
    ledger.apply(Receive(Kind.DEPOSIT, "t0", "gatewayA", Money(2_000, "USD"), {}))
    ledger.apply(RecordOutcome("t0", Approved("A-0", final=True)))
    receive(ledger, kind, "t", TEN)
    for command in WAYS[status]:
        ledger.apply(command)
    return ledger


def names(answer: object) -> list[str]:
    """The names of the events of a decision, without those of the parent of a capture or void."""
    assert isinstance(answer, tuple)
    return [type(event).__name__ for event in answer if getattr(event, "transaction_id", None) != HOLD]


def callback(outcome: Approved | Declined, reference: str = "A-1", money: Money = TEN) -> RecordCallback:
    """A callback about the transaction."""
    return RecordCallback("t", "gatewayA", reference, money, outcome)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("status", "yes", "no"),
    [
        (Status.PENDING, ["Processed", "Completed"], ["Failed"]),
        (Status.UNKNOWN, ["Processed", "Completed"], ["Failed"]),
        (Status.PROCESSED, ["Completed"], ["Failed"]),
        (Status.COMPLETED, [], ["ReviewOpened"]),
        (Status.FAILED, ["ReviewOpened"], []),
    ],
)
def test_a_callback_ends_an_unfinished_transaction(status: Status, yes: list[str], no: list[str], kind: Kind) -> None:
    """A callback ends an unfinished transaction. If the transaction is final, it changes nothing or opens a review."""
    assert names(at(status, kind).apply(callback(APPROVED))) == yes
    assert names(at(status, kind).apply(callback(DECLINED))) == no


@pytest.mark.parametrize("status", WAYS)
@pytest.mark.parametrize("outcome", [APPROVED, DECLINED])
@pytest.mark.parametrize("money", [Money(1_001, "USD"), Money(1_000, "EUR"), Money(10, "USD")])
def test_another_amount_changes_nothing(status: Status, outcome: Approved | Declined, money: Money) -> None:
    """If amount or currency differ from the record, only a review is opened."""
    ledger = at(status)
    before = ledger.account
    assert names(ledger.apply(callback(outcome, money=money))) == ["ReviewOpened"]
    assert ledger.account.transactions == before.transactions
    assert ledger.account.balances == before.balances


@pytest.mark.parametrize("status", [Status.PROCESSED, Status.COMPLETED])
@pytest.mark.parametrize("outcome", [APPROVED, DECLINED])
def test_another_reference_changes_nothing(status: Status, outcome: Approved | Declined) -> None:
    """If the reference differs from the one on record, only a review is opened."""
    ledger = at(status)
    before = ledger.account.transactions
    assert names(ledger.apply(callback(outcome, "A-2"))) == ["ReviewOpened"]
    assert ledger.account.transactions == before


@pytest.mark.parametrize("outcome", [APPROVED, DECLINED])
def test_another_reference_than_the_failed_ones_changes_nothing(outcome: Approved | Declined) -> None:
    """After a failed payment a callback with another reference opens a review, even if it reports a failure, too."""
    ledger = at(Status.PROCESSED)
    assert names(ledger.apply(callback(DECLINED))) == ["Failed"]
    before = ledger.account.transactions
    assert names(ledger.apply(callback(outcome, "A-2"))) == ["ReviewOpened"]
    assert ledger.account.transactions == before


@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL, Kind.REFUND])
@pytest.mark.parametrize("status", WAYS)
@pytest.mark.parametrize("code", sorted(AUTHORIZATION_GONE))
def test_the_end_of_an_authorization_that_never_was_changes_nothing(status: Status, kind: Kind, code: str) -> None:
    """Only a hold expires or is cancelled, and nothing was held."""
    ledger = at(status, kind)
    before = ledger.account
    assert names(ledger.apply(callback(Declined(code, None, "The hold is gone.")))) == ["ReviewOpened"]
    assert (ledger.account.transactions, ledger.account.balances) == (before.transactions, before.balances)


@pytest.mark.parametrize("status", WAYS)
def test_another_gateway_changes_nothing(status: Status) -> None:
    """A callback of another gateway than the transaction's only opens a review."""
    ledger = at(status)
    before = ledger.account.transactions
    assert names(ledger.apply(RecordCallback("t", "gatewayB", "A-1", TEN, APPROVED))) == ["ReviewOpened"]
    assert ledger.account.transactions == before


def test_the_failure_of_one_of_several_attempts_proves_nothing_about_the_others() -> None:
    """Without keys each attempt may be a payment.

    A failure is applied only when the reference on record identifies the payment.
    """
    ledger = at(Status.PENDING)
    ledger.apply(RecordSubmission("t", 1))
    assert names(at(Status.PENDING).apply(callback(DECLINED))) == ["Failed"]
    ledger.apply(RecordSubmission("t", 2))
    assert names(ledger.apply(callback(DECLINED))) == ["ReviewOpened"]
    assert ledger.account.transactions["t"].status is Status.PENDING
    ledger.apply(RecordOutcome("t", Approved("A-1", final=False)))
    assert names(ledger.apply(callback(DECLINED))) == ["Failed"]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("status", "completed", "failed"),
    [
        (Status.PENDING, ["Processed", "Completed"], ["Failed"]),
        (Status.UNKNOWN, ["Processed", "Completed"], ["Failed"]),
        (Status.PROCESSED, ["Completed"], ["Failed"]),
        (Status.COMPLETED, "already-final", "already-final"),
        (Status.FAILED, "already-final", "already-final"),
    ],
)
def test_a_resolution_ends_an_unfinished_transaction(
    status: Status, completed: list[str] | str, failed: list[str] | str, kind: Kind
) -> None:
    """A resolution ends an unfinished transaction with either outcome and moves its money.

    A final status does not change.
    """
    for outcome, expected in ((Resolution.COMPLETED, completed), (Resolution.FAILED, failed)):
        ledger = at(status, kind)
        transaction = ledger.account.transactions["t"]
        answer = ledger.apply(Resolve("t", outcome, transaction.version, "confirmed by telephone"))
        if isinstance(expected, str):
            assert isinstance(answer, Refused)
            assert answer.code == expected
            continue
        assert names(answer) == expected
        after = ledger.account.transactions["t"]
        assert after.status.value == outcome.value
        assert after.gateway_reference == transaction.gateway_reference
        assert ledger.account.balances["USD"] == {
            (Kind.DEPOSIT, Resolution.COMPLETED): Balance(3_000, 0),
            (Kind.CAPTURE, Resolution.COMPLETED): Balance(3_000, 0),
            (Kind.WITHDRAWAL, Resolution.COMPLETED): Balance(1_000, 0),
            (Kind.REFUND, Resolution.COMPLETED): Balance(1_000, 0),
        }.get((kind, outcome), Balance(2_000, 0))


@pytest.mark.parametrize("status", WAYS)
def test_a_resolution_of_another_version_is_stale(status: Status) -> None:
    """A resolution for another version than the present one is refused, also for a final transaction."""
    ledger = at(status)
    version = ledger.account.transactions["t"].version
    for seen in (version - 1, version + 1):
        answer = ledger.apply(Resolve("t", Resolution.COMPLETED, seen, "r"))
        assert isinstance(answer, Refused)
        assert answer.code == "stale-version"


@pytest.mark.parametrize("kind", Kind)
def test_a_failure_keeps_its_reference_in_any_order(kind: Kind) -> None:
    """A callback "failed" before the answer "pending" has the same result as after it.

    Status, reference and balance are equal.
    """
    orders: list[list[Command]] = [
        [RecordOutcome("t", Approved("A-1", final=False)), callback(DECLINED)],
        [callback(DECLINED), RecordOutcome("t", Approved("A-1", final=False))],
        [RecordOutcome("t", Unknown("lost")), callback(DECLINED), callback(DECLINED)],
    ]
    ends = set()
    for order in orders:
        ledger = at(Status.PENDING, kind)
        for command in order:
            ledger.apply(command)
        transaction = ledger.account.transactions["t"]
        ends.add((transaction.status, transaction.gateway_reference, ledger.account.balances["USD"]))
    assert ends == {(Status.FAILED, "A-1", Balance(2_000, 0))}


def test_a_later_report_that_contradicts_a_resolution_is_reviewed() -> None:
    """An operator may be wrong, so a later report that contradicts a resolution opens a review."""
    ledger = at(Status.UNKNOWN)
    version = ledger.account.transactions["t"].version
    ledger.apply(Resolve("t", Resolution.FAILED, version, "r"))
    assert names(ledger.apply(callback(APPROVED))) == ["ReviewOpened"]


@pytest.mark.parametrize(("minor", "left"), [(500, 2_500), (-500, 1_500), (-2_000, 0), (-2_001, None)])
def test_an_adjustment_changes_the_available_balance(minor: int, left: int | None) -> None:
    """An adjustment changes the available balance by its signed amount, never below zero, and never the reserve."""
    ledger = at(Status.COMPLETED, Kind.WITHDRAWAL)
    ledger.apply(Adjust("a0", Money(1_000, "USD"), "r", "e"))
    before = ledger.account
    answer = ledger.apply(Adjust("a", Money(minor, "USD"), "r", "e"))
    if left is None:
        assert isinstance(answer, Refused)
        assert (answer.code, answer.facts["available"]) == ("insufficient-funds", "20.00")
        assert ledger.account == before
    else:
        assert names(answer) == ["BalanceAdjusted"]
        assert ledger.account.balances["USD"] == Balance(left, 0)


def test_an_adjustment_in_a_new_currency() -> None:
    """An adjustment may be the first change in a currency."""
    ledger = at(Status.PENDING)
    ledger.apply(Adjust("a", Money(5, "JPY"), "r", "e"))
    assert ledger.account.balances["JPY"] == Balance(5, 0)


def test_a_review_is_closed_with_a_reason() -> None:
    """A review is closed without a check of its state: the account does not hold reviews."""
    ledger = at(Status.PENDING)
    assert names(ledger.apply(CloseReview("r", "reviewed"))) == ["ReviewClosed"]


CODES = {"4000000000010001": b"a" * 8, "4000000000430001": b"b" * 8}
CODED, OTHER = (kept(reference, CODES.__getitem__) for reference in CODES)


@pytest.mark.parametrize("known", ["4000000000010001", "400000******0001", CODED])
@pytest.mark.parametrize("outcome", [APPROVED, DECLINED])
def test_a_masked_reference_matches_the_one_on_record(known: str, outcome: Approved | Declined) -> None:
    """A callback is applied if its reference equals the one on record in full, masked, or masked with a code."""
    ledger = at(Status.PENDING)
    ledger.apply(RecordOutcome("t", Approved(known, final=False)))
    assert names(ledger.apply(callback(outcome, CODED))) == ["Completed" if outcome is APPROVED else "Failed"]


@pytest.mark.parametrize("outcome", [APPROVED, DECLINED])
def test_an_equally_masked_reference_with_another_code_is_reviewed(outcome: Approved | Declined) -> None:
    """Equally masked references with different codes differ, in callbacks and in answers: a review is opened."""
    ledger = at(Status.PENDING)
    ledger.apply(RecordOutcome("t", Approved(CODED, final=False)))
    assert names(ledger.apply(callback(outcome, OTHER))) == ["ReviewOpened"]
    assert names(ledger.apply(RecordOutcome("t", replace(outcome, reference=OTHER)))) == ["ReviewOpened"]
