"""What callbacks and people may do to a transaction, from every status, row by row."""

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
    Resolve,
)
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, Declined, Unknown
from domain.references import kept
from tests.domain.ledger import Ledger

TEN = Money(1_000, "USD")
YES, NO = Approved("A-1", final=True), Declined("declined", None, "The gateway says so.")
WAYS: dict[Status, list[Command]] = {
    Status.PENDING: [],
    Status.UNKNOWN: [RecordOutcome("t", Unknown("timeout"))],
    Status.PROCESSED: [RecordOutcome("t", Approved("A-1", final=False))],
    Status.COMPLETED: [RecordOutcome("t", YES)],
    Status.FAILED: [RecordOutcome("t", NO)],
}


def at(status: Status, kind: Kind = Kind.DEPOSIT) -> Ledger:
    """A customer with 20.00, and a transaction of 10.00 that stands so."""
    ledger = Ledger()
    ledger.apply(Receive(Kind.DEPOSIT, "t0", "gatewayA", Money(2_000, "USD"), {}))
    ledger.apply(RecordOutcome("t0", Approved("A-0", final=True)))
    ledger.apply(Receive(kind, "t", "gatewayA", TEN, {}))
    for command in WAYS[status]:
        ledger.apply(command)
    return ledger


def names(answer: object) -> list[str]:
    """The events of an answer, by name."""
    assert isinstance(answer, tuple)
    return [type(event).__name__ for event in answer]


def called(outcome: Approved | Declined, reference: str = "A-1", money: Money = TEN) -> RecordCallback:
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
def test_a_callback_is_the_last_word(status: Status, yes: list[str], no: list[str], kind: Kind) -> None:
    """It ends what has no end, agrees without a trace, and a contradiction is for a person."""
    assert names(at(status, kind).apply(called(YES))) == yes
    assert names(at(status, kind).apply(called(NO))) == no


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("outcome", [YES, NO])
@pytest.mark.parametrize("money", [Money(1_001, "USD"), Money(1_000, "EUR"), Money(10, "USD")])
def test_another_amount_changes_nothing(status: Status, outcome: Approved | Declined, money: Money) -> None:
    """Amount and currency must be those on record, whatever else is said: a person must look."""
    ledger = at(status)
    before = ledger.account
    assert names(ledger.apply(called(outcome, money=money))) == ["ReviewOpened"]
    assert ledger.account.transactions == before.transactions
    assert ledger.account.balances == before.balances


@pytest.mark.parametrize("status", [Status.PROCESSED, Status.COMPLETED])
@pytest.mark.parametrize("outcome", [YES, NO])
def test_another_reference_changes_nothing(status: Status, outcome: Approved | Declined) -> None:
    """The gateway speaks of another payment than the one on record."""
    ledger = at(status)
    before = ledger.account.transactions
    assert names(ledger.apply(called(outcome, "A-2"))) == ["ReviewOpened"]
    assert ledger.account.transactions == before


@pytest.mark.parametrize("outcome", [YES, NO])
def test_another_reference_than_the_failed_ones_changes_nothing(outcome: Approved | Declined) -> None:
    """That another payment failed as well is no confirmation: a person must look."""
    ledger = at(Status.PROCESSED)
    assert names(ledger.apply(called(NO))) == ["Failed"]
    before = ledger.account.transactions
    assert names(ledger.apply(called(outcome, "A-2"))) == ["ReviewOpened"]
    assert ledger.account.transactions == before


@pytest.mark.parametrize("status", Status)
def test_another_gateway_changes_nothing(status: Status) -> None:
    """Each gateway speaks of its own transactions alone."""
    ledger = at(status)
    before = ledger.account.transactions
    assert names(ledger.apply(RecordCallback("t", "gatewayB", "A-1", TEN, YES))) == ["ReviewOpened"]
    assert ledger.account.transactions == before


def test_one_of_several_sendings_that_failed_says_nothing_of_the_others() -> None:
    """Without keys each sending may be a payment: a failure is believed once the reference says which one is meant."""
    ledger = at(Status.PENDING)
    ledger.apply(RecordSubmission("t", 1))
    assert names(at(Status.PENDING).apply(called(NO))) == ["Failed"]
    ledger.apply(RecordSubmission("t", 2))
    assert names(ledger.apply(called(NO))) == ["ReviewOpened"]
    assert ledger.account.transactions["t"].status is Status.PENDING
    ledger.apply(RecordOutcome("t", Approved("A-1", final=False)))
    assert names(ledger.apply(called(NO))) == ["Failed"]


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
def test_a_person_settles_what_has_no_end(
    status: Status, completed: list[str] | str, failed: list[str] | str, kind: Kind
) -> None:
    """A resolution ends it one way or the other, with its money; what is final stays so."""
    for well, expected in ((True, completed), (False, failed)):
        ledger = at(status, kind)
        transaction = ledger.account.transactions["t"]
        answer = ledger.apply(Resolve("t", well, transaction.version, "asked by telephone"))
        if isinstance(expected, str):
            assert isinstance(answer, Refused)
            assert answer.code == expected
            continue
        assert names(answer) == expected
        after = ledger.account.transactions["t"]
        assert after.status is (Status.COMPLETED if well else Status.FAILED)
        assert after.gateway_reference == transaction.gateway_reference
        assert (
            ledger.account.balances["USD"]
            == {
                (Kind.DEPOSIT, True): Balance(3_000, 0),
                (Kind.DEPOSIT, False): Balance(2_000, 0),
                (Kind.WITHDRAWAL, True): Balance(1_000, 0),
                (Kind.WITHDRAWAL, False): Balance(2_000, 0),
            }[kind, well]
        )


@pytest.mark.parametrize("status", Status)
def test_a_resolution_of_another_version_is_stale(status: Status) -> None:
    """Who looked at something else must look again, also when it has its end by now."""
    ledger = at(status)
    version = ledger.account.transactions["t"].version
    for seen in (version - 1, version + 1):
        answer = ledger.apply(Resolve("t", completed=True, version=seen, reason="r"))
        assert isinstance(answer, Refused)
        assert answer.code == "stale-version"


@pytest.mark.parametrize("kind", Kind)
def test_a_failure_has_its_reference_in_any_order(kind: Kind) -> None:
    """The answer "pending" before the callback or after it: the same status, reference and balance."""
    orders: list[list[Command]] = [
        [RecordOutcome("t", Approved("A-1", final=False)), called(NO)],
        [called(NO), RecordOutcome("t", Approved("A-1", final=False))],
        [RecordOutcome("t", Unknown("lost")), called(NO), called(NO)],
    ]
    ends = set()
    for order in orders:
        ledger = at(Status.PENDING, kind)
        for command in order:
            ledger.apply(command)
        transaction = ledger.account.transactions["t"]
        ends.add((transaction.status, transaction.gateway_reference, ledger.account.balances["USD"]))
    assert ends == {(Status.FAILED, "A-1", Balance(2_000, 0))}


def test_a_later_word_that_contradicts_a_resolution_is_reviewed() -> None:
    """A person may be wrong as well."""
    ledger = at(Status.UNKNOWN)
    version = ledger.account.transactions["t"].version
    ledger.apply(Resolve("t", completed=False, version=version, reason="r"))
    assert names(ledger.apply(called(YES))) == ["ReviewOpened"]


@pytest.mark.parametrize(("minor", "left"), [(500, 2_500), (-500, 1_500), (-2_000, 0), (-2_001, None)])
def test_an_adjustment_moves_what_is_available(minor: int, left: int | None) -> None:
    """By its signed amount, never below zero, and never what is reserved."""
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


def test_an_adjustment_may_begin_a_currency() -> None:
    """There may be nothing yet in it."""
    ledger = at(Status.PENDING)
    ledger.apply(Adjust("a", Money(5, "JPY"), "r", "e"))
    assert ledger.account.balances["JPY"] == Balance(5, 0)


def test_a_review_is_closed_with_a_reason() -> None:
    """Whether it is open is for whoever keeps the reviews."""
    ledger = at(Status.PENDING)
    assert names(ledger.apply(CloseReview("r", "looked"))) == ["ReviewClosed"]


CODES = {"4000000000010001": b"a" * 8, "4000000000430001": b"b" * 8}
CODED, OTHER = (kept(reference, CODES.__getitem__) for reference in CODES)


@pytest.mark.parametrize("known", ["4000000000010001", "400000******0001", CODED])
@pytest.mark.parametrize("outcome", [YES, NO])
def test_a_masked_reference_is_the_one_on_record(known: str, outcome: Approved | Declined) -> None:
    """Recorded in full, masked, or with its code: what the callback says is applied."""
    ledger = at(Status.PENDING)
    ledger.apply(RecordOutcome("t", Approved(known, final=False)))
    assert names(ledger.apply(called(outcome, CODED))) == ["Completed" if outcome is YES else "Failed"]


@pytest.mark.parametrize("outcome", [YES, NO])
def test_another_that_is_masked_alike_is_for_a_person(outcome: Approved | Declined) -> None:
    """Their codes tell them apart, in callbacks and in answers."""
    ledger = at(Status.PENDING)
    ledger.apply(RecordOutcome("t", Approved(CODED, final=False)))
    assert names(ledger.apply(called(outcome, OTHER))) == ["ReviewOpened"]
    assert names(ledger.apply(RecordOutcome("t", replace(outcome, reference=OTHER)))) == ["ReviewOpened"]
