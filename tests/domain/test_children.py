"""Refunds, captures and voids as tables: what they need of their parents, and what they do to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from domain.account import Account, Balance, IllegalTransitionError, Refused, Status, UnknownTransactionError
from domain.commands import (
    Adjust,
    Command,
    Discard,
    Receive,
    ReceiveChild,
    RecordCallback,
    RecordOutcome,
    Resolution,
    Resolve,
)
from domain.events import Completed, Event, Failed, Kind, Processed, Received, Recorded, Voided
from domain.money import Money
from domain.outcomes import AUTHORIZATION_GONE, Approved, Authorization, Category, Declined, Unknown
from domain.state_machine import decide, evolve
from tests.domain.ledger import EXPIRES, START, Ledger

TEN = Money(1_000, "USD")
ENDING = [Kind.CAPTURE, Kind.VOID]
CHILDREN = [Kind.REFUND, *ENDING]
DONE, GOING = Approved("C-1", final=True), Approved("C-1", final=False)
DECLINED, LOST = Declined("do_not_honor", Category.HARD, "no"), Unknown("timeout")
GONE = Declined("authorization_cancelled", None, "The hold was cancelled.")
HELD: list[Command] = [RecordOutcome("p", Authorization("A-1", EXPIRES))]
CAPTURED: list[Command] = [*HELD, ReceiveChild(Kind.CAPTURE, "c0", "p", 600), RecordOutcome("c0", DONE)]
VOIDED: list[Command] = [*HELD, ReceiveChild(Kind.VOID, "c0", "p"), RecordOutcome("c0", DONE)]


def deposit(*commands: Command, manual: bool = False) -> Ledger:
    """A deposit of 10.00 USD after these commands."""
    ledger = Ledger()
    for command in [Receive(Kind.DEPOSIT, "p", "gatewayA", TEN, {}, manual_capture=manual), *commands]:
        assert not isinstance(ledger.apply(command), Refused)
    return ledger


def completed() -> Ledger:
    """A completed deposit of 10.00 USD."""
    return deposit(RecordOutcome("p", Approved("A-1", final=True)))


def parent_of(kind: Kind) -> Ledger:
    """A deposit of 10.00 USD that permits a child of this kind."""
    return completed() if kind is Kind.REFUND else deposit(*HELD, manual=True)


def names(answer: Sequence[Event] | Refused) -> list[str]:
    """The names of the events of a decision, with their transactions."""
    assert not isinstance(answer, Refused)
    return [f"{type(event).__name__} {getattr(event, 'transaction_id', '')}" for event in answer]


def refusal(answer: Sequence[Event] | Refused) -> str:
    """The code of a refusal."""
    assert isinstance(answer, Refused)
    return answer.code


PARENTS: dict[str, tuple[Ledger, str | None, str | None]] = {
    "pending": (deposit(), "409", "409"),
    "unknown": (deposit(RecordOutcome("p", LOST)), "409", "409"),
    "processed": (deposit(RecordOutcome("p", Approved("A-1", final=False))), "409", "409"),
    "completed": (completed(), None, "409"),
    "failed": (deposit(RecordOutcome("p", DECLINED)), "409", "409"),
    "manual, pending": (deposit(manual=True), "409", "409"),
    "authorized": (deposit(*HELD, manual=True), "409", None),
    "captured": (deposit(*CAPTURED, manual=True), None, "409"),
    "voided": (deposit(*VOIDED, manual=True), "409", "409"),
    "manual, failed": (deposit(*HELD, RecordOutcome("p", GONE), manual=True), "409", "409"),
}


@pytest.mark.parametrize("kind", CHILDREN)
@pytest.mark.parametrize("parent", PARENTS)
def test_what_every_status_of_a_parent_permits(parent: str, kind: Kind) -> None:
    """Completed deposits can be refunded, authorized ones captured or voided. All else is refused for now."""
    ledger, refund, ending = PARENTS[parent]
    account = ledger.account
    answer = decide(account, ReceiveChild(kind, "c", "p", 100))
    expected = refund if kind is Kind.REFUND else ending
    if expected is None:
        assert names(answer) == ["Received c"]
    else:
        assert isinstance(answer, Refused)
        assert answer.code == "not-possible-now"
        assert answer.facts == {"transaction_status": account.transactions["p"].status.value}


@pytest.mark.parametrize("of", [Kind.WITHDRAWAL, *CHILDREN])
@pytest.mark.parametrize("kind", CHILDREN)
def test_only_deposits_have_children(kind: Kind, of: Kind) -> None:
    """A withdrawal, refund, capture or void has none, in whatever status."""
    ledger = parent_of(of) if of in CHILDREN else Ledger()
    child = ReceiveChild(of, "x", "p") if of in CHILDREN else Receive(of, "x", "gatewayA", TEN, {}, checked=False)
    ledger.apply(child)
    assert refusal(decide(ledger.account, ReceiveChild(kind, "c", "x"))) == "not-possible-now"
    ledger.apply(RecordOutcome("x", DONE))
    assert refusal(decide(ledger.account, ReceiveChild(kind, "c", "x"))) == "not-possible-now"


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_child_has_the_facts_of_its_parent(kind: Kind) -> None:
    """It copies gateway, currency, customer and the gateway's own reference of its parent."""
    ledger = parent_of(kind)
    command = ReceiveChild(kind, "c", "p", 250, "a broken cup")
    expected = Received(kind, "c", "gatewayA", Money(250, "USD"), {}, kind is Kind.REFUND)
    expected = replace(expected, parent_id="p", parent_reference="A-1", reason="a broken cup")
    assert ledger.apply(command) == (expected,)
    child = ledger.account.transactions["c"]
    assert (child.status, child.customer_id, child.gateway, child.money.minor) == (Status.PENDING, "c", "gatewayA", 250)
    assert (child.parent_id, child.parent_reference, child.reason) == ("p", "A-1", "a broken cup")
    parent = ledger.account.transactions["p"]
    assert (parent.version, parent.updated_at) == (child.version, child.updated_at)
    assert ledger.apply(command) == ()


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_parent_without_a_reference_has_no_children(kind: Kind) -> None:
    """An operator may confirm a transaction whose reference the gateway never reported: it cannot be named there."""
    manual = kind is not Kind.REFUND
    ledger = deposit(manual=manual)
    wanted = Resolution.AUTHORIZED if manual else Resolution.COMPLETED
    ledger.apply(Resolve("p", wanted, ledger.account.version, "confirmed by telephone", EXPIRES))
    assert refusal(decide(ledger.account, ReceiveChild(kind, "c", "p"))) == "not-supported"


@pytest.mark.parametrize("reference", ["400000******0001", "400000******0001~abcdefgh"])
def test_a_parent_with_a_masked_reference_has_no_children(reference: str) -> None:
    """A reference that was masked as a possible card number cannot be sent back to its gateway."""
    ledger = deposit(RecordOutcome("p", Approved(reference, final=True)))
    assert refusal(decide(ledger.account, ReceiveChild(Kind.REFUND, "c", "p"))) == "not-supported"


@pytest.mark.parametrize(
    ("before", "left"),
    [
        ([], 1_000),
        ([ReceiveChild(Kind.REFUND, "c1", "p", 300)], 700),
        ([ReceiveChild(Kind.REFUND, "c1", "p", 300), RecordOutcome("c1", LOST)], 700),
        ([ReceiveChild(Kind.REFUND, "c1", "p", 300), RecordOutcome("c1", GOING)], 700),
        ([ReceiveChild(Kind.REFUND, "c1", "p", 300), RecordOutcome("c1", DONE)], 700),
        ([ReceiveChild(Kind.REFUND, "c1", "p", 300), RecordOutcome("c1", DECLINED)], 1_000),
        ([ReceiveChild(Kind.REFUND, "c1", "p", 300), Discard("c1", "no more")], 1_000),
        ([ReceiveChild(Kind.REFUND, "c1", "p", 1_000)], 0),
        ([ReceiveChild(Kind.REFUND, f"c{n}", "p", 250) for n in range(3)], 250),
    ],
)
def test_what_is_left_to_refund(before: list[Command], left: int) -> None:
    """Refunds that did not fail count, whatever became of them. Without an amount, all that is left is refunded."""
    ledger = completed()
    for command in before:
        ledger.apply(command)
    ledger.apply(Adjust("a", Money(5_000, "USD"), "so that the balance does not limit", "e"))
    for minor in (left + 1, 5_000):
        answer = decide(ledger.account, ReceiveChild(Kind.REFUND, "c", "p", minor))
        assert isinstance(answer, Refused)
        assert (answer.code, answer.facts) == (
            "amount-too-large",
            {"available": Money(left, "USD").text, "currency": "USD"},
        )
    for wanted in (None, left) if left else ():
        [event] = decide(ledger.account, ReceiveChild(Kind.REFUND, "c", "p", wanted))  # type: ignore[misc]
        assert isinstance(event, Received)
        assert event.money == Money(left, "USD")
    if not left:
        assert refusal(decide(ledger.account, ReceiveChild(Kind.REFUND, "c", "p"))) == "amount-too-large"


def test_only_the_captured_part_is_refunded() -> None:
    """The limit of refunds of an authorization is what was captured of it."""
    ledger = deposit(*CAPTURED, manual=True)
    assert refusal(decide(ledger.account, ReceiveChild(Kind.REFUND, "c", "p", 601))) == "amount-too-large"
    assert names(ledger.apply(ReceiveChild(Kind.REFUND, "c", "p"))) == ["Received c"]
    assert ledger.account.transactions["c"].money == Money(600, "USD")


@pytest.mark.parametrize(("minor", "captured"), [(None, 1_000), (1_000, 1_000), (1, 1), (1_001, None)])
def test_a_capture_up_to_what_is_held(minor: int | None, captured: int | None) -> None:
    """All or a part of the hold can be captured, but no more."""
    ledger = deposit(*HELD, manual=True)
    answer = ledger.apply(ReceiveChild(Kind.CAPTURE, "c", "p", minor))
    if captured is None:
        assert refusal(answer) == "amount-too-large"
        return
    ledger.apply(RecordOutcome("c", DONE))
    parent = ledger.account.transactions["p"]
    assert (parent.status, parent.captured_minor) == (Status.COMPLETED, captured)
    assert ledger.account.balances == {"USD": Balance(captured, 0)}


def test_a_void_shows_the_amount_of_its_parent() -> None:
    """A void releases all that is held."""
    ledger = deposit(*HELD, manual=True)
    ledger.apply(ReceiveChild(Kind.VOID, "c", "p"))
    assert ledger.account.transactions["c"].money == TEN


@pytest.mark.parametrize("kind", ENDING)
@pytest.mark.parametrize("other", ENDING)
@pytest.mark.parametrize("outcome", [None, LOST, GOING, DECLINED])
def test_one_capture_or_void_at_a_time(kind: Kind, other: Kind, outcome: Approved | Declined | Unknown | None) -> None:
    """While a capture or void is under way another one is refused; after its failure it is possible again."""
    ledger = deposit(*HELD, ReceiveChild(kind, "c", "p"), manual=True)
    if outcome is not None:
        ledger.apply(RecordOutcome("c", outcome))
    answer = decide(ledger.account, ReceiveChild(other, "d", "p"))
    if outcome is DECLINED:
        assert names(answer) == ["Received d"]
    else:
        assert refusal(answer) == "not-possible-now"
        assert isinstance(answer, Refused)
        assert "c" in answer.detail


CHILD_AFTER = {Kind.CAPTURE: "Completed p", Kind.VOID: "Voided p"}


@pytest.mark.parametrize("kind", ENDING)
@pytest.mark.parametrize("before", [None, LOST, GOING])
@pytest.mark.parametrize("channel", ["outcome", "callback", "operator"])
def test_the_success_of_a_capture_or_void_ends_its_parent(
    kind: Kind, before: Approved | Unknown | None, channel: str
) -> None:
    """Whoever reports it: the end of the child and of its parent are one decision."""
    ledger = deposit(*HELD, ReceiveChild(kind, "c", "p"), manual=True)
    if before is not None:
        ledger.apply(RecordOutcome("c", before))
    child = ledger.account.transactions["c"]
    commands: dict[str, Command] = {
        "outcome": RecordOutcome("c", DONE),
        "callback": RecordCallback("c", "gatewayA", "C-1", TEN, DONE),
        "operator": Resolve("c", Resolution.COMPLETED, child.version, "confirmed by telephone"),
    }
    first = [] if before is GOING else ["Processed c"]
    assert names(ledger.apply(commands[channel])) == [*first, "Completed c", CHILD_AFTER[kind]]
    parent = ledger.account.transactions["p"]
    assert parent.status is (Status.COMPLETED if kind is Kind.CAPTURE else Status.VOIDED)
    assert (parent.ended_by, parent.version) == ("c", ledger.account.version)


@pytest.mark.parametrize("kind", ENDING)
@pytest.mark.parametrize("before", [None, LOST, GOING])
@pytest.mark.parametrize("code", [*sorted(AUTHORIZATION_GONE), "do_not_honor"])
@pytest.mark.parametrize("channel", ["outcome", "callback"])
def test_the_decline_of_a_capture_or_void(
    kind: Kind, before: Approved | Unknown | None, code: str, channel: str
) -> None:
    """The parent is authorized as before, unless the gateway says that the hold is gone: then it fails as well."""
    ledger = deposit(*HELD, ReceiveChild(kind, "c", "p"), manual=True)
    if before is not None:
        ledger.apply(RecordOutcome("c", before))
    declined = Declined(code, None, "no")
    called_back = RecordCallback("c", "gatewayA", "C-1", TEN, declined)
    answer = ledger.apply(RecordOutcome("c", declined) if channel == "outcome" else called_back)
    parent = ledger.account.transactions["p"]
    assert parent.ended_by is None
    assert ledger.account.balances == {}
    if code in AUTHORIZATION_GONE:
        assert names(answer) == ["Failed c", "Failed p"]
        assert parent.status is Status.FAILED
        assert parent.failure is not None
        assert parent.failure.code == code
        assert parent.gateway_reference == "A-1"
    else:
        assert names(answer) == ["Failed c"]
        assert parent.status is Status.AUTHORIZED


@pytest.mark.parametrize("kind", ENDING)
def test_an_end_without_a_gateway_leaves_the_parent_authorized(kind: Kind) -> None:
    """A discard, or an operator's failure, says nothing about the hold."""
    ledger = deposit(*HELD, ReceiveChild(kind, "c", "p"), manual=True)
    discarded = decide(ledger.account, Discard("c", "no more"))
    failed = decide(ledger.account, Resolve("c", Resolution.FAILED, ledger.account.version, "r"))
    for answer in (discarded, failed):
        assert names(answer) == ["Failed c"]
        assert not isinstance(answer, Refused)
        after = evolve(ledger.account, Recorded(ledger.account.version + 1, START, answer[0]))
        assert (after.transactions["p"].status, after.transactions["p"].ended_by) == (Status.AUTHORIZED, None)


@pytest.mark.parametrize("code", [*sorted(AUTHORIZATION_GONE), "do_not_honor"])
def test_a_declined_refund_leaves_its_parent_completed(code: str) -> None:
    """Whatever the reason of a declined refund: its parent has ended, and the amount is available again."""
    ledger = completed()
    ledger.apply(ReceiveChild(Kind.REFUND, "c", "p", 400))
    assert ledger.account.balances == {"USD": Balance(600, 400)}
    assert names(ledger.apply(RecordOutcome("c", Declined(code, None, "no")))) == ["Failed c"]
    parent = ledger.account.transactions["p"]
    assert (parent.status, parent.refunding_minor, parent.refunded_minor) == (Status.COMPLETED, 0, 0)
    assert ledger.account.balances == {"USD": Balance(1_000, 0)}


@pytest.mark.parametrize(
    ("outcome", "available", "reserved", "refunding", "refunded"),
    [
        (None, 600, 400, 400, 0),
        (LOST, 600, 400, 400, 0),
        (GOING, 600, 400, 400, 0),
        (DONE, 600, 0, 0, 400),
        (DECLINED, 1_000, 0, 0, 0),
    ],
)
@pytest.mark.parametrize("checked", [True, False])
def test_what_a_refund_does_to_the_balance_and_its_parent(
    outcome: Approved | Declined | Unknown | None,
    available: int,
    reserved: int,
    refunding: int,
    refunded: int,
    *,
    checked: bool,
) -> None:
    """It is reserved while it is under way, unless nothing is checked; its parent counts it in either case."""
    ledger = completed()
    ledger.apply(ReceiveChild(Kind.REFUND, "c", "p", 400, checked=checked))
    if outcome is not None:
        ledger.apply(RecordOutcome("c", outcome))
    assert ledger.account.balances == {"USD": Balance(available, reserved) if checked else Balance(1_000, 0)}
    parent = ledger.account.transactions["p"]
    assert (parent.refunding_minor, parent.refunded_minor) == (refunding, refunded)


@pytest.mark.parametrize(("minor", "refused"), [(400, False), (401, True), (None, True)])
def test_a_refund_up_to_the_available_balance(minor: int | None, *, refused: bool) -> None:
    """The customer may have spent the deposit: what is not available is refunded only where nothing is checked."""
    ledger = completed()
    ledger.apply(Receive(Kind.WITHDRAWAL, "w", "gatewayA", Money(600, "USD"), {}))
    answer = decide(ledger.account, ReceiveChild(Kind.REFUND, "c", "p", minor))
    assert isinstance(answer, Refused) is refused
    if isinstance(answer, Refused):
        assert (answer.code, answer.facts["available"]) == ("insufficient-funds", "4.00")
    assert names(decide(ledger.account, ReceiveChild(Kind.REFUND, "c", "p", minor, checked=False))) == ["Received c"]


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_parent_that_was_not_loaded(kind: Kind) -> None:
    """Every decision and event that needs the parent raises UnknownTransactionError without it."""
    ledger = parent_of(kind)
    with pytest.raises(UnknownTransactionError):
        decide(ledger.account, ReceiveChild(kind, "c", "p9"))
    ledger.apply(ReceiveChild(kind, "c", "p"))
    full = ledger.account
    alone = Account(full.customer_id, full.version, full.balances, {"c": full.transactions["c"]})
    with pytest.raises(UnknownTransactionError):
        evolve(alone, Recorded(alone.version + 1, START, Processed(kind, "c", "C-1")))
    if kind is not Kind.REFUND:
        with pytest.raises(UnknownTransactionError):
            decide(alone, RecordOutcome("c", GONE))


def _received(kind: Kind, minor: int = 100) -> Received:
    return Received(kind, "x", "gatewayA", Money(minor, "USD"), {}, parent_id="p", parent_reference="A-1")


@pytest.mark.parametrize("kind", CHILDREN)
@pytest.mark.parametrize("parent", PARENTS)
def test_evolve_refuses_a_child_that_its_parent_does_not_permit(parent: str, kind: Kind) -> None:
    """A record with such a child is damaged."""
    ledger, refund, ending = PARENTS[parent]
    account = ledger.account
    recorded = Recorded(account.version + 1, START, _received(kind))
    if (refund if kind is Kind.REFUND else ending) is None:
        assert evolve(account, recorded).transactions["x"].status is Status.PENDING
    else:
        with pytest.raises(IllegalTransitionError):
            evolve(account, recorded)


@pytest.mark.parametrize("kind", CHILDREN)
def test_evolve_refuses_children_above_the_amounts(kind: Kind) -> None:
    """More refunded than taken, more captured than held, and a second capture or void are each a damaged record."""
    ledger = parent_of(kind)
    version = ledger.account.version + 1
    with pytest.raises(IllegalTransitionError):
        evolve(ledger.account, Recorded(version, START, _received(kind, 1_001)))
    ledger.apply(ReceiveChild(kind, "c", "p", 1_000))
    with pytest.raises(IllegalTransitionError):
        evolve(ledger.account, Recorded(version + 1, START, _received(kind, 1)))


def test_events_of_the_parent_name_it_as_a_deposit() -> None:
    """The events of a parent have its kind and the captured amount, so that they are stored under its types."""
    for kind, expected in (
        (Kind.CAPTURE, Completed(Kind.DEPOSIT, "p", Money(700, "USD"))),
        (Kind.VOID, Voided(Kind.DEPOSIT, "p")),
    ):
        ledger = deposit(*HELD, ReceiveChild(kind, "c", "p", 700 if kind is Kind.CAPTURE else None), manual=True)
        answer = decide(ledger.account, RecordOutcome("c", DONE))
        assert not isinstance(answer, Refused)
        assert answer[-1] == expected
        answer = decide(ledger.account, RecordOutcome("c", GONE))
        assert not isinstance(answer, Refused)
        assert answer[-1] == Failed(Kind.DEPOSIT, "p", "authorization_cancelled", None, "The hold was cancelled.")
