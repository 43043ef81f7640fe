"""Deposits with manual capture: every report in every status, every transition, and every order of true reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from domain.account import Balance, IllegalTransitionError, Refused, Status
from domain.commands import (
    Command,
    Discard,
    Receive,
    ReceiveChild,
    RecordCallback,
    RecordOutcome,
    RecordSubmission,
    Resolution,
    Resolve,
)
from domain.events import Authorized, Completed, Event, Failed, Kind, OutcomeUnknown, Processed, Recorded, Voided
from domain.money import Money
from domain.outcomes import AUTHORIZATION_GONE, Approved, Authorization, Category, Declined, Outcome, Unknown
from domain.state_machine import decide, evolve
from tests.domain.ledger import EXPIRES, START, Ledger

TEN = Money(1_000, "USD")
GONE = Declined("authorization_expired", None, "The hold has expired.", "A-1")
CAPTURED, RELEASED = Approved("C-1", final=True), Approved("V-1", final=True)
WAYS: dict[Status, list[Command]] = {
    Status.PENDING: [],
    Status.UNKNOWN: [RecordOutcome("t", Unknown("timeout"))],
    Status.PROCESSED: [RecordOutcome("t", Approved("A-1", final=False))],
    Status.AUTHORIZED: [RecordOutcome("t", Authorization("A-1", EXPIRES))],
    Status.COMPLETED: [
        RecordOutcome("t", Authorization("A-1", EXPIRES)),
        ReceiveChild(Kind.CAPTURE, "c", "t", 600),
        RecordOutcome("c", CAPTURED),
    ],
    Status.VOIDED: [
        RecordOutcome("t", Authorization("A-1", EXPIRES)),
        ReceiveChild(Kind.VOID, "c", "t"),
        RecordOutcome("c", RELEASED),
    ],
    Status.FAILED: [RecordOutcome("t", Declined("do_not_honor", Category.HARD, "no"))],
}


def at(status: Status, *more: Command) -> Ledger:
    """A deposit of 10.00 USD with manual capture in this status, after ``more`` commands."""
    ledger = Ledger()
    for command in [Receive(Kind.DEPOSIT, "t", "gatewayA", TEN, {}, manual_capture=True), *WAYS[status], *more]:
        ledger.apply(command)
    assert ledger.account.transactions["t"].status is status
    return ledger


def names(answer: Sequence[Event] | Refused) -> tuple[str, ...]:
    """The names of the events of a decision."""
    assert not isinstance(answer, Refused)
    return tuple(type(event).__name__ for event in answer)


OUTCOMES: dict[str, Outcome | Unknown] = {
    "unknown": Unknown("timeout"),
    "pending": Approved("A-1", final=False),
    "authorized": Authorization("A-1", EXPIRES),
    "authorized, other reference": Authorization("A-9", EXPIRES),
    "completed": Approved("A-1", final=True),
    "declined": Declined("expired_card", Category.HARD, "no"),
    "gone": GONE,
    "gone, other reference": replace(GONE, reference="A-9"),
}
AFTER: dict[Status, dict[str, tuple[str, ...]]] = {
    Status.PENDING: {
        "unknown": ("OutcomeUnknown",),
        "pending": ("Processed",),
        "authorized": ("Authorized",),
        "authorized, other reference": ("Authorized",),
        "completed": ("ReviewOpened",),
        "declined": ("Failed",),
        "gone": ("Failed",),
        "gone, other reference": ("Failed",),
    },
    Status.UNKNOWN: {
        "unknown": (),
        "pending": ("Processed",),
        "authorized": ("Authorized",),
        "authorized, other reference": ("Authorized",),
        "completed": ("ReviewOpened",),
        "declined": ("Failed",),
        "gone": ("Failed",),
        "gone, other reference": ("Failed",),
    },
    Status.PROCESSED: {
        "unknown": (),
        "pending": (),
        "authorized": ("Authorized",),
        "authorized, other reference": ("ReviewOpened",),
        "completed": ("ReviewOpened",),
        "declined": ("Failed",),
        "gone": ("Failed",),
        "gone, other reference": ("ReviewOpened",),
    },
    Status.AUTHORIZED: {
        "unknown": (),
        "pending": (),
        "authorized": (),
        "authorized, other reference": ("ReviewOpened",),
        "completed": ("ReviewOpened",),
        "declined": ("Failed",),
        "gone": ("Failed",),
        "gone, other reference": ("ReviewOpened",),
    },
    Status.COMPLETED: {
        "unknown": (),
        "pending": (),
        "authorized": (),  # a report from before the capture, or the way in which a gateway reports a captured hold
        "authorized, other reference": ("ReviewOpened",),
        "completed": (),
        "declined": ("ReviewOpened",),
        "gone": ("ReviewOpened",),
        "gone, other reference": ("ReviewOpened",),
    },
    Status.VOIDED: {
        "unknown": (),
        "pending": (),
        "authorized": (),
        "authorized, other reference": ("ReviewOpened",),
        "completed": ("ReviewOpened",),
        "declined": (),
        "gone": (),  # the way in which a gateway reports a released hold
        "gone, other reference": (),
    },
    Status.FAILED: {
        "unknown": (),
        "pending": (),
        "authorized": ("ReviewOpened",),
        "authorized, other reference": ("ReviewOpened",),
        "completed": ("ReviewOpened",),
        "declined": (),
        "gone": (),
        "gone, other reference": (),
    },
}


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("status", Status)
def test_every_report_in_every_status(status: Status, outcome: str) -> None:
    """The table of the events that each report about an authorization leads to in each status."""
    assert names(decide(at(status).account, RecordOutcome("t", OUTCOMES[outcome]))) == AFTER[status][outcome]


UNDER_WAY = {"authorized, other reference": ("ReviewOpened",)}


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_report_during_a_capture_or_void(outcome: str, kind: Kind) -> None:
    """While a capture or void is under way, no report about the authorization ends it."""
    ledger = at(Status.AUTHORIZED, ReceiveChild(kind, "c", "t"))
    assert names(decide(ledger.account, RecordOutcome("t", OUTCOMES[outcome]))) == UNDER_WAY.get(outcome, ())


LEGAL: dict[Status, set[str]] = {
    Status.PENDING: {"unknown", "processed", "authorized", "failed"},
    Status.UNKNOWN: {"processed", "authorized", "failed"},
    Status.PROCESSED: {"authorized", "completed", "failed"},
    Status.AUTHORIZED: {"captured", "voided", "failed"},
    Status.COMPLETED: set(),
    Status.VOIDED: set(),
    Status.FAILED: set(),
}
EVENTS: dict[str, Event] = {
    "unknown": OutcomeUnknown(Kind.DEPOSIT, "t", "timeout"),
    "processed": Processed(Kind.DEPOSIT, "t", "A-1"),
    "authorized": Authorized(Kind.DEPOSIT, "t", "A-1", EXPIRES),
    "completed": Completed(Kind.DEPOSIT, "t"),
    "captured": Completed(Kind.DEPOSIT, "t", TEN),
    "captured too much": Completed(Kind.DEPOSIT, "t", Money(1_001, "USD")),
    "captured nothing": Completed(Kind.DEPOSIT, "t", Money(0, "USD")),
    "voided": Voided(Kind.DEPOSIT, "t"),
    "failed": Failed(Kind.DEPOSIT, "t", "x", None, "no"),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("status", Status)
def test_evolve_refuses_all_other_transitions(status: Status, event: str) -> None:
    """``evolve`` refuses every event that does not follow from the state of an authorization."""
    account = at(status).account
    recorded = Recorded(account.version + 1, START, EVENTS[event])
    if event in LEGAL[status]:
        expected = Status.COMPLETED if event == "captured" else Status(event)
        assert evolve(account, recorded).transactions["t"].status is expected
    else:
        with pytest.raises(IllegalTransitionError):
            evolve(account, recorded)


@pytest.mark.parametrize(
    ("status", "balance"),
    [(Status.AUTHORIZED, {}), (Status.COMPLETED, {"USD": Balance(600, 0)}), (Status.VOIDED, {}), (Status.FAILED, {})],
)
def test_only_what_was_captured_is_added_to_the_balance(status: Status, balance: dict[str, Balance]) -> None:
    """Held money is not available; the captured part of it is."""
    assert at(status).account.balances == balance


def test_an_authorization_has_its_reference_and_its_end() -> None:
    """The end is the one that the gateway reports, or else the one that the command gives."""
    transaction = at(Status.AUTHORIZED).account.transactions["t"]
    assert (transaction.gateway_reference, transaction.authorization_expires_at) == ("A-1", EXPIRES)
    assert (transaction.captured_minor, transaction.manual_capture) == (None, True)
    for reported, expected in ((None, EXPIRES), (START, START)):
        ledger = at(Status.PENDING)
        ledger.apply(RecordOutcome("t", Authorization("A-1", reported), EXPIRES))
        assert ledger.account.transactions["t"].authorization_expires_at == expected


@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL])
def test_what_was_not_to_be_held_is_accepted_only(kind: Kind) -> None:
    """An authorization of a transaction without manual capture is an acceptance: the final outcome follows."""
    ledger = Ledger()
    ledger.apply(Receive(kind, "t", "gatewayA", TEN, {}, checked=False))
    assert names(ledger.apply(RecordOutcome("t", Authorization("A-1")))) == ("Processed",)
    assert names(ledger.apply(RecordOutcome("t", Authorization("A-1")))) == ()
    assert names(ledger.apply(RecordOutcome("t", Approved("A-1", final=True)))) == ("Completed",)


REFUSED = {
    Status.COMPLETED: "already-final",
    Status.VOIDED: "already-final",
    Status.FAILED: "already-final",
}


@pytest.mark.parametrize("status", Status)
def test_a_resolution_in_every_status(status: Status) -> None:
    """An operator can confirm that the money is held, or that it is not; and that what is held was captured in full."""
    ledger = at(status)
    transaction = ledger.account.transactions["t"]
    version = transaction.version
    completed = decide(ledger.account, Resolve("t", Resolution.COMPLETED, version, "r"))
    if status is Status.AUTHORIZED:
        assert completed == (Completed(Kind.DEPOSIT, "t", transaction.money),)
    else:
        assert isinstance(completed, Refused)
        assert completed.code == REFUSED.get(status, "not-possible-now")
    held = decide(ledger.account, Resolve("t", Resolution.AUTHORIZED, version, "r", EXPIRES))
    failed = decide(ledger.account, Resolve("t", Resolution.FAILED, version, "r"))
    if status.terminal:
        assert isinstance(held, Refused)
        assert isinstance(failed, Refused)
        assert (held.code, failed.code) == ("already-final", "already-final")
    else:
        assert names(failed) == ("Failed",)
        if status is Status.AUTHORIZED:
            assert isinstance(held, Refused)
            assert held.code == "not-possible-now"
        else:
            assert held == (Authorized(Kind.DEPOSIT, "t", None, EXPIRES),)


def test_a_confirmed_authorization_keeps_its_reference() -> None:
    """A reference that the gateway has reported is kept when an operator confirms the authorization."""
    ledger = at(Status.PROCESSED)
    version = ledger.account.transactions["t"].version
    ledger.apply(Resolve("t", Resolution.AUTHORIZED, version, "r", EXPIRES))
    transaction = ledger.account.transactions["t"]
    assert (transaction.status, transaction.gateway_reference) == (Status.AUTHORIZED, "A-1")


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID])
@pytest.mark.parametrize("outcome", Resolution)
def test_an_authorization_that_is_being_ended_is_not_resolved(kind: Kind, outcome: Resolution) -> None:
    """While a capture or void is under way, its outcome decides, not an operator's view of its parent."""
    ledger = at(Status.AUTHORIZED, ReceiveChild(kind, "c", "t"))
    version = ledger.account.transactions["t"].version
    answer = decide(ledger.account, Resolve("t", outcome, version, "r", EXPIRES))
    assert isinstance(answer, Refused)
    assert answer.code == "not-possible-now"
    assert "c" in answer.detail


@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL, Kind.REFUND])
def test_what_is_not_an_authorization_is_never_resolved_as_one(kind: Kind) -> None:
    """An operator cannot confirm a hold of a transaction without manual capture."""
    ledger = Ledger()
    if kind is Kind.REFUND:
        ledger.apply(Receive(Kind.DEPOSIT, "t0", "gatewayA", TEN, {}))
        ledger.apply(RecordOutcome("t0", Approved("A-0", final=True)))
        ledger.apply(ReceiveChild(kind, "t", "t0"))
    else:
        ledger.apply(Receive(kind, "t", "gatewayA", TEN, {}, checked=False))
    version = ledger.account.transactions["t"].version
    answer = decide(ledger.account, Resolve("t", Resolution.AUTHORIZED, version, "r", EXPIRES))
    assert isinstance(answer, Refused)
    assert answer.code == "not-possible-now"


@pytest.mark.parametrize("status", Status)
def test_only_a_pending_authorization_is_discarded(status: Status) -> None:
    """A hold that exists, or may, is never discarded."""
    answer = decide(at(status).account, Discard("t", "no more"))
    assert isinstance(answer, Refused) == (status is not Status.PENDING)


HISTORIES: dict[str, list[Outcome]] = {
    "cancelled by the gateway": [
        Approved("A-1", final=False),
        Authorization("A-1", EXPIRES),
        Declined("authorization_cancelled", None, "no", "A-1"),
    ],
    "expired at the gateway": [Approved("A-1", final=False), Authorization("A-1"), GONE],
    "declined": [Approved("A-1", final=False), Declined("do_not_honor", Category.HARD, "no", "A-1")],
    "held": [Approved("A-1", final=False), Authorization("A-1")],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_every_order_of_true_reports_has_one_end(history: str) -> None:
    """The reports of a gateway about one authorization arrive in any order, by any channel, and repeatedly.

    Status and reference are always the same in the end, and no review is opened.
    """
    reports = HISTORIES[history]
    ends = set()
    for order in permutations([*reports, *reports]):
        for by_callback in (0b000000, 0b101010, 0b111111):
            ledger = at(Status.PENDING)
            for number, outcome in enumerate(order):
                called_back = RecordCallback("t", "gatewayA", "A-1", TEN, outcome, EXPIRES)
                command = called_back if by_callback >> number & 1 else RecordOutcome("t", outcome, EXPIRES)
                assert "ReviewOpened" not in names(ledger.apply(command))
            transaction = ledger.account.transactions["t"]
            ends.add((transaction.status, transaction.gateway_reference, transaction.failure))
    assert len(ends) == 1


@pytest.mark.parametrize("code", [*sorted(AUTHORIZATION_GONE), "do_not_honor", "resolved", "discarded"])
def test_a_late_authorization_after_the_end(code: str) -> None:
    """Only the end of a hold may follow a report of the hold. After any other failure the report is reviewed."""
    ledger = at(Status.PENDING, RecordSubmission("t", 1))
    ledger.apply(RecordOutcome("t", Declined(code, None, "no", "A-1")))
    expected = () if code in AUTHORIZATION_GONE else ("ReviewOpened",)
    assert names(decide(ledger.account, RecordOutcome("t", Authorization("A-1", EXPIRES)))) == expected
    other = RecordOutcome("t", Authorization("A-9", EXPIRES + timedelta(days=1)))
    assert names(decide(ledger.account, other)) == ("ReviewOpened",)
