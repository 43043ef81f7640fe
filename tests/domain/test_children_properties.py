"""Refunds, captures and voids under any order of commands, outcomes, callbacks and resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import Balance, Refused, Status
from domain.commands import (
    Command,
    Receive,
    ReceiveChild,
    RecordCallback,
    RecordOutcome,
)
from domain.events import Completed, Event, Failed, Kind, Received, ReviewOpened, Voided
from domain.money import Money
from domain.outcomes import AUTHORIZATION_GONE, Approved, Authorization, Declined, Outcome
from tests.domain.histories import histories
from tests.domain.ledger import EXPIRES, Ledger, ends
from tests.effort import examples

TEN = Money(1_000, "USD")


def played(history: Sequence[Command]) -> Ledger:
    """The account after all commands that name what is on record."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            ledger.apply(command)
    return ledger


@examples(300)
@given(histories)
def test_amounts_of_a_parent_are_the_sums_of_its_children(history: list[Command]) -> None:
    """After every command: the amounts agree, and none is above what was taken or is held."""
    ledger = Ledger()
    for command in history:
        if not ledger.known(command):
            continue
        ledger.apply(command)
        for parent in ledger.account.transactions.values():
            if parent.kind is not Kind.DEPOSIT:
                continue
            amounts = ledger.amounts(parent.transaction_id)
            assert (parent.captured_minor, parent.refunded_minor, parent.refunding_minor) == (
                amounts.captured,
                amounts.refunded,
                amounts.refunding,
            )
            taken = (amounts.captured or 0) if parent.manual_capture else parent.money.minor
            assert amounts.refunded + amounts.refunding <= taken
            assert (amounts.captured or 0) <= parent.money.minor
            assert len(amounts.ending) <= 1
            assert parent.ended_by == next(iter(amounts.ending), None)
            if amounts.refunded + amounts.refunding:
                assert parent.status is Status.COMPLETED


@examples(300)
@given(histories)
def test_a_child_and_its_parent_end_in_one_decision(history: list[Command]) -> None:
    """No decision has the end of a capture or void without what follows for its parent, or that without the child."""
    ledger = played(history)
    known = ledger.account.transactions
    for decision in ledger.decisions:
        found = ends(decision)
        parents: dict[str, Event] = {}
        for transaction_id, event in found.items():
            child = known[transaction_id]
            if child.parent_id is None or child.kind is Kind.REFUND:
                continue
            if isinstance(event, Completed) and child.kind is Kind.CAPTURE:
                parents[child.parent_id] = Completed(Kind.DEPOSIT, child.parent_id, child.money)
            elif isinstance(event, Completed):
                parents[child.parent_id] = Voided(Kind.DEPOSIT, child.parent_id)
            elif isinstance(event, Failed) and event.code in AUTHORIZATION_GONE:
                parents[child.parent_id] = Failed(
                    Kind.DEPOSIT, child.parent_id, event.code, event.category, event.message
                )
        for parent_id, event in parents.items():
            assert found[parent_id] == event
        captured = {
            transaction_id
            for transaction_id, event in found.items()
            if isinstance(event, Voided) or (isinstance(event, Completed) and event.captured is not None)
        }
        assert captured <= parents.keys()
        assert len(found) <= 1 + len(parents)


@examples(300)
@given(histories)
def test_a_child_is_accepted_exactly_when_its_parent_permits_it(history: list[Command]) -> None:
    """A refusal is never from an amount or a state that the events do not show, and an acceptance neither."""
    ledger = Ledger()
    for command in history:
        if not ledger.known(command):
            continue
        before, new = ledger.account, isinstance(command, ReceiveChild)
        if not isinstance(command, ReceiveChild) or command.transaction_id in before.transactions:
            ledger.apply(command)
            continue
        assert new
        parent, amounts = before.transactions[command.parent_id], ledger.amounts(command.parent_id)
        available = before.balances.get(parent.money.currency, Balance()).available
        answer = ledger.apply(command)
        taken = (amounts.captured or 0) if parent.manual_capture else parent.money.minor
        if command.kind is Kind.REFUND:
            left = taken - amounts.refunded - amounts.refunding
            possible = parent.kind is Kind.DEPOSIT and parent.status is Status.COMPLETED
        else:
            left = parent.money.minor
            possible = parent.status is Status.AUTHORIZED and not amounts.ending
        minor = left if command.minor is None else command.minor
        reserves = command.kind is Kind.REFUND and command.checked
        if not possible:
            expected = "not-possible-now"
        elif parent.gateway_reference is None:
            expected = "not-supported"
        elif not 0 < minor <= left:
            expected = "amount-too-large"
        elif reserves and minor > available:
            expected = "insufficient-funds"
        else:
            [event] = ledger.decisions[-1]
            assert isinstance(event, Received)
            assert (event.money.minor, event.reserved, event.parent_id) == (minor, reserves, command.parent_id)
            continue
        assert isinstance(answer, Refused)
        assert answer.code == expected
        assert ledger.account == before


@examples(300)
@given(histories, st.data())
def test_a_parent_does_not_move_while_its_hold_is_being_ended(history: list[Command], data: st.DataObject) -> None:
    """While a capture or void is under way, no report and no operator ends its parent: the child alone does."""
    ledger = played([*history, ReceiveChild(data.draw(st.sampled_from([Kind.CAPTURE, Kind.VOID])), "c9", "h0")])
    for parent in ledger.account.transactions.values():
        child = None if parent.ended_by is None else ledger.account.transactions[parent.ended_by]
        if child is None or child.status.terminal:
            continue
        assert parent.status is Status.AUTHORIZED
        for outcome in (
            Approved("A-1", final=True),
            Approved("A-2", final=True),
            Authorization("A-1", EXPIRES),
            Declined("authorization_expired", None, "no"),
        ):
            about = RecordOutcome(parent.transaction_id, outcome, EXPIRES)
            called_back = RecordCallback(parent.transaction_id, "gatewayA", "A-1", parent.money, outcome, EXPIRES)
            for command in (about, called_back):
                answer = ledger.apply(command)
                assert not isinstance(answer, Refused)
                assert all(isinstance(event, ReviewOpened) for event in answer)
        assert ledger.account.transactions[parent.transaction_id] == parent


TRUE_REPORTS: dict[str, tuple[Kind, list[Outcome], list[Outcome]]] = {
    "capture done": (
        Kind.CAPTURE,
        [Approved("C-1", final=False), Approved("C-1", final=True)],
        [Authorization("A-1", EXPIRES), Approved("A-1", final=True)],
    ),
    "capture declined": (
        Kind.CAPTURE,
        [Approved("C-1", final=False), Declined("do_not_honor", None, "no", "C-1")],
        [Approved("A-1", final=False), Authorization("A-1", EXPIRES)],
    ),
    "void done": (
        Kind.VOID,
        [Approved("C-1", final=False), Approved("C-1", final=True)],
        [Authorization("A-1", EXPIRES), Declined("authorization_cancelled", None, "no", "A-1")],
    ),
    "void of a hold that was gone": (
        Kind.VOID,
        [Approved("C-1", final=False), Declined("authorization_expired", None, "no", "C-1")],
        [Authorization("A-1", EXPIRES), Declined("authorization_expired", None, "no", "A-1")],
    ),
    "capture of a hold that was gone": (
        Kind.CAPTURE,
        [Declined("authorization_cancelled", None, "no", "C-1")],
        [Approved("A-1", final=False), Authorization("A-1"), Declined("authorization_cancelled", None, "no", "A-1")],
    ),
}


@pytest.mark.parametrize("history", TRUE_REPORTS)
def test_every_order_of_true_reports_has_one_end(history: str) -> None:
    """A gateway's reports about a child and its parent arrive in any order and by any channel.

    Both end in the same status, with the same balance, and no review is opened.
    """
    kind, of_child, of_parent = TRUE_REPORTS[history]
    found = set()
    reports = [*(("c", outcome) for outcome in of_child), *(("p", outcome) for outcome in of_parent)]
    for order in permutations([*reports, reports[0]]):
        for by_callback in (0b00000, 0b10101, 0b01010, 0b11111):
            ledger = Ledger()
            ledger.apply(Receive(Kind.DEPOSIT, "p", "gatewayA", TEN, {}, manual_capture=True))
            ledger.apply(RecordOutcome("p", Authorization("A-1", EXPIRES)))
            ledger.apply(ReceiveChild(kind, "c", "p"))
            for number, (transaction_id, outcome) in enumerate(order):
                reference = "A-1" if transaction_id == "p" else "C-1"
                called_back = RecordCallback(transaction_id, "gatewayA", reference, TEN, outcome, EXPIRES)
                about = RecordOutcome(transaction_id, outcome, EXPIRES)
                answer = ledger.apply(called_back if by_callback >> number & 1 else about)
                assert not isinstance(answer, Refused)
                assert not any(isinstance(event, ReviewOpened) for event in answer)
            both = (ledger.account.transactions[one] for one in ("p", "c"))
            found.add((*((one.status, one.gateway_reference) for one in both), ledger.account.balances.get("USD")))
    assert len(found) == 1
