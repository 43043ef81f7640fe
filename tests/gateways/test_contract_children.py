"""Every gateway against the real simulator: refunds, and holds with their captures and voids, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, Authorization, Category, Declined, NotReceived, Outcome, OutcomeUnknownError
from gateways.development import CALLBACK_SECRET
from gateways.port import Gateway, Notice, Order, WebhookPayload
from tests.gateways.contract import Orders
from tests.gateways.peer import Peer
from tests.gateways.simulator_process import Simulator, callbacks_of, wait_until
from tests.gateways.subjects import GATEWAY_A, GATEWAY_B
from tests.gateways.transport import SHORT_DEADLINE_S

SUBJECTS = {"gatewayA": GATEWAY_A, "gatewayB": GATEWAY_B}
CHILDREN = (Kind.REFUND, Kind.CAPTURE, Kind.VOID)
ENDINGS = (Kind.CAPTURE, Kind.VOID)
by_child = pytest.mark.parametrize("kind", CHILDREN)
by_ending = pytest.mark.parametrize("kind", ENDINGS)


@dataclass
class Case:
    """One gateway in front of the simulator; ``hasty`` is the same with a short deadline."""

    name: str
    simulator: Simulator
    service: Peer
    gateway: Gateway
    hasty: Gateway
    orders: Orders

    def deposit(self, minor: int = 10_000, *, hold: bool = False) -> tuple[Order, Outcome]:
        """A deposit and its outcome."""
        order = replace(self.orders(minor, "EUR"), manual_capture=hold)
        return order, self.gateway.submit(order)

    def parent(self, kind: Kind, minor: int = 10_000) -> tuple[Order, str]:
        """A deposit that ``kind`` is possible for, and its reference at the provider."""
        order, outcome = self.deposit(minor, hold=kind is not Kind.REFUND)
        assert isinstance(outcome, Authorization if order.manual_capture else Approved)
        assert outcome.reference
        return order, outcome.reference

    def child(self, kind: Kind, parent: Order, reference: str, minor: int) -> Order:
        """An order of ``kind`` about ``parent``."""
        order = self.orders(minor, "EUR", kind)
        return replace(order, parent_id=parent.transaction_id, parent_reference=reference)

    def effects(self, order: Order) -> list[str]:
        """The kinds of the effects under the order's reference."""
        return [line["kind"] for line in self.simulator.effects(order.transaction_id)]

    def notices(self, order: Order) -> list[Notice]:
        """The verified callbacks about ``order`` so far."""
        assert self.gateway.callbacks is not None
        return [
            notice
            for callback in callbacks_of(self.service, order)
            for notice in self.gateway.callbacks.read(callback.headers, callback.body, datetime.now(UTC))
        ]

    def reported(self, order: Order, count: int = 1) -> Outcome:
        """The outcome that ``count`` callbacks about ``order`` report, once they are there."""
        wait_until(lambda: len(self.notices(order)) >= count, f"{count} callbacks")
        payloads = [notice.payload for notice in self.notices(order)]
        assert all(isinstance(payload, WebhookPayload) and payload.money == order.money for payload in payloads)
        [outcome] = {payload.outcome for payload in payloads if isinstance(payload, WebhookPayload)}
        return outcome


@pytest.fixture(params=SUBJECTS)
def case(request: pytest.FixtureRequest, simulator: Simulator, service: Peer, order: Orders) -> Iterator[Case]:
    """Each gateway."""
    name: str = request.param
    make: Callable[..., Gateway] = SUBJECTS[name].gateway
    url, secrets = f"{simulator.url}/{name}", (CALLBACK_SECRET,)
    gateway = make(url, secrets=secrets)
    hasty = make(url, timeout_s=SHORT_DEADLINE_S, secrets=secrets)
    yield Case(name, simulator, service, gateway, hasty, order)
    gateway.close()
    hasty.close()


def code_of(outcome: Outcome | NotReceived) -> str:
    """The code of a decline."""
    assert isinstance(outcome, Declined)
    return outcome.code


# --- holds ---


def test_a_hold_moves_no_money(case: Case) -> None:
    """Held is not final. The ledger has the hold, in the documented form, and lookups find it."""
    order, outcome = case.deposit(hold=True)
    assert isinstance(outcome, Authorization)
    [effect] = case.simulator.effects(order.transaction_id)
    assert effect.pop("at").endswith("Z")
    assert effect == {
        "gateway": case.name,
        "kind": "authorization",
        "reference": order.transaction_id,
        "id": outcome.reference,
        "amount": "100.00",
        "currency": "EUR",
        "key": order.transaction_id if case.name == "gatewayA" else None,
    }
    assert case.gateway.lookup(order) == outcome


@pytest.mark.parametrize(("minor", "count"), [(10_003, 1), (10_012, 1), (10_013, 3)])
def test_a_hold_is_pending_and_then_reported(case: Case, minor: int, count: int) -> None:
    """A callback reports that the money is held."""
    order, outcome = case.deposit(minor, hold=True)
    assert isinstance(outcome, Approved)
    assert not outcome.final
    assert case.reported(order, count) == case.gateway.lookup(order) == Authorization(outcome.reference)
    assert case.effects(order) == ["authorization"]


def test_a_declined_hold_holds_nothing(case: Case) -> None:
    """At once, or by a callback after "pending"."""
    order, outcome = case.deposit(10_001, hold=True)
    assert code_of(outcome) == code_of(case.gateway.lookup(order)) == "do_not_honor"
    assert case.effects(order) == []
    order, outcome = case.deposit(10_004, hold=True)
    assert isinstance(outcome, Approved)
    assert code_of(case.reported(order)) == "declined"
    assert case.effects(order) == []


@pytest.mark.parametrize("minor", [10_005, 10_006, 10_009, 10_010])
def test_a_hold_without_an_answer_is_found(case: Case, minor: int) -> None:
    """The outcome is unknown although the money is held. A lookup finds the hold."""
    order = replace(case.orders(minor, "EUR"), manual_capture=True)
    with pytest.raises(OutcomeUnknownError):
        case.hasty.submit(order)
    [effect] = case.simulator.effects(order.transaction_id)
    assert case.gateway.lookup(order) == Authorization(effect["id"])


def test_15_is_cancelled_by_the_gateway(case: Case) -> None:
    """After 3 s the money is not held any more: a callback and lookups say so, and captures and voids are declined."""
    order, outcome = case.deposit(10_015, hold=True)
    assert isinstance(outcome, Authorization)
    assert case.gateway.lookup(order) == outcome
    gone = Declined("authorization_cancelled", None, "The authorization was cancelled.", outcome.reference)
    assert case.reported(order) == case.gateway.lookup(order) == gone
    for kind in ENDINGS:
        child = case.child(kind, order, outcome.reference, 10_000)
        assert code_of(case.gateway.submit(child)) == code_of(case.gateway.lookup(child)) == "authorization_cancelled"
        assert case.effects(child) == []


@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL])
def test_15_is_usual_for_what_is_not_held(case: Case, kind: Kind) -> None:
    """Without a hold there is nothing to cancel."""
    order = case.orders(10_015, "EUR", kind)
    assert isinstance(case.gateway.submit(order), Approved)
    assert case.effects(order) == [kind.value]


def test_a_capture_comes_before_the_cancellation(case: Case) -> None:
    """A hold that is captured in time is not cancelled."""
    order, reference = case.parent(Kind.CAPTURE, 10_015)
    capture = case.child(Kind.CAPTURE, order, reference, 10_011)  # completed after 3 s, so that it is under way then
    case.gateway.submit(capture)
    wait_until(lambda: case.effects(capture) == ["capture"], "the capture")
    assert case.gateway.lookup(order) == Authorization(reference)
    assert case.notices(order) == []


# --- captures, voids and refunds ---


@by_child
def test_success(case: Case, kind: Kind) -> None:
    """One effect of its kind, which names its original; a lookup finds it under its own reference."""
    parent, reference = case.parent(kind)
    child = case.child(kind, parent, reference, 10_000)
    outcome = case.gateway.submit(child)
    assert isinstance(outcome, Approved)
    assert outcome.final
    [effect] = case.simulator.effects(child.transaction_id)
    assert (effect["kind"], effect["original"], effect["amount"]) == (kind.value, reference, "100.00")
    assert case.gateway.lookup(child) == outcome


@by_child
@pytest.mark.parametrize(
    ("minor", "code", "category"),
    [(5001, "do_not_honor", Category.HARD), (5002, "insufficient_funds", Category.SOFT)],
)
def test_declined(case: Case, kind: Kind, minor: int, code: str, category: Category) -> None:
    """A decline has no effect, and leaves the parent as it was."""
    parent, reference = case.parent(kind)
    before = case.gateway.lookup(parent)
    child = case.child(kind, parent, reference, minor)
    for outcome in (case.gateway.submit(child), case.gateway.lookup(child)):
        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.category) == (code, category)
    assert case.effects(child) == []
    assert case.gateway.lookup(parent) == before
    assert isinstance(case.gateway.submit(case.child(kind, parent, reference, 10_000)), Approved)


@by_child
@pytest.mark.parametrize(("minor", "count"), [(5003, 1), (5012, 1), (5013, 3)])
def test_pending_and_then_completed(case: Case, kind: Kind, minor: int, count: int) -> None:
    """A callback reports the final outcome under the child's own reference and amount."""
    parent, reference = case.parent(kind)
    child = case.child(kind, parent, reference, minor)
    outcome = case.gateway.submit(child)
    assert isinstance(outcome, Approved)
    assert not outcome.final
    assert case.reported(child, count) == case.gateway.lookup(child) == Approved(outcome.reference, final=True)
    assert len({notice.event_id for notice in case.notices(child)}) == 1
    assert case.effects(child) == [kind.value]


@by_child
def test_pending_and_then_failed(case: Case, kind: Kind) -> None:
    """What it had reserved is free again."""
    parent, reference = case.parent(kind)
    child = case.child(kind, parent, reference, 9004)
    assert isinstance(case.gateway.submit(child), Approved)
    meanwhile = case.gateway.submit(case.child(kind, parent, reference, 9000))
    assert code_of(meanwhile) == ("amount_too_large" if kind is Kind.REFUND else "duplicate_transaction")
    assert isinstance(case.reported(child), Declined)
    assert case.effects(child) == []
    assert isinstance(case.gateway.submit(case.child(kind, parent, reference, 9000)), Approved)


@by_child
@pytest.mark.parametrize("minor", [5005, 5006, 5009, 5010])
def test_an_answer_that_is_lost_after_the_effect(case: Case, kind: Kind, minor: int) -> None:
    """The outcome is unknown. A lookup finds the effect, and the same key finds it too: there is one effect."""
    parent, reference = case.parent(kind)
    child = case.child(kind, parent, reference, minor)
    with pytest.raises(OutcomeUnknownError):
        case.hasty.submit(child)
    [effect] = case.simulator.effects(child.transaction_id)
    assert case.gateway.lookup(child) == Approved(effect["id"], final=True)
    if case.gateway.operations[kind].honours_keys:
        assert case.gateway.submit(child) == Approved(effect["id"], final=True)
        assert case.effects(child) == [kind.value]


@by_child
@pytest.mark.parametrize("minor", [5007, 5008])
def test_a_request_that_is_lost(case: Case, kind: Kind, minor: int) -> None:
    """The outcome is unknown and there is no effect. A lookup finds nothing, and the next sending succeeds."""
    parent, reference = case.parent(kind)
    child = case.child(kind, parent, reference, minor)
    with pytest.raises(OutcomeUnknownError):
        case.hasty.submit(child)
    assert case.gateway.lookup(child) == NotReceived()
    assert case.effects(child) == []
    assert isinstance(case.gateway.submit(child), Approved)
    assert case.effects(child) == [kind.value]


@by_child
def test_an_original_that_does_not_exist(case: Case, kind: Kind) -> None:
    """It is declined, and so is one of another kind."""
    withdrawal = case.orders(10_000, "EUR", Kind.WITHDRAWAL)
    paid_out = case.gateway.submit(withdrawal)
    assert isinstance(paid_out, Approved)
    for reference in ("X-1", paid_out.reference):
        child = case.child(kind, withdrawal, reference, 5000)
        assert code_of(case.gateway.submit(child)) == "original_not_found"
        assert case.effects(child) == []


# --- what children do to their parents ---


def test_a_partial_capture_releases_the_rest(case: Case) -> None:
    """The deposit is completed then, and what was captured is all that can be refunded."""
    parent, reference = case.parent(Kind.CAPTURE)
    assert isinstance(case.gateway.submit(case.child(Kind.CAPTURE, parent, reference, 4000)), Approved)
    assert case.gateway.lookup(parent) == Authorization(reference), "success means held, for a hold"
    as_deposit = replace(parent, manual_capture=False)
    assert case.gateway.lookup(as_deposit) == Approved(reference, final=True)
    assert code_of(case.gateway.submit(case.child(Kind.REFUND, parent, reference, 4020))) == "amount_too_large"
    assert isinstance(case.gateway.submit(case.child(Kind.REFUND, parent, reference, 4000)), Approved)


def test_a_void_cancels_the_hold(case: Case) -> None:
    """The deposit is cancelled then, nothing can be captured, and nothing was taken that could be refunded."""
    parent, reference = case.parent(Kind.VOID)
    void = case.child(Kind.VOID, parent, reference, 10_000)
    assert isinstance(case.gateway.submit(void), Approved)
    assert case.effects(void) == ["void"]
    assert code_of(case.gateway.lookup(parent)) == "authorization_cancelled"
    for kind, code in ((Kind.CAPTURE, "authorization_cancelled"), (Kind.REFUND, "original_not_found")):
        assert code_of(case.gateway.submit(case.child(kind, parent, reference, 10_000))) == code


@by_ending
def test_a_second_capture_or_void_is_declined(case: Case, kind: Kind) -> None:
    """Of one hold at most one capture or void is carried out."""
    parent, reference = case.parent(kind)
    assert isinstance(case.gateway.submit(case.child(kind, parent, reference, 5000)), Approved)
    second = case.child(kind, parent, reference, 5000)
    assert code_of(case.gateway.submit(second)) == "duplicate_transaction"
    assert case.effects(second) == []


def test_nothing_above_the_hold_is_captured(case: Case) -> None:
    """It is declined, and the hold is as before."""
    parent, reference = case.parent(Kind.CAPTURE)
    assert code_of(case.gateway.submit(case.child(Kind.CAPTURE, parent, reference, 10_020))) == "amount_too_large"
    assert case.gateway.lookup(parent) == Authorization(reference)


def test_a_deposit_that_is_not_held_is_neither_captured_nor_voided(case: Case) -> None:
    """Its money moved at once."""
    parent, reference = case.parent(Kind.REFUND)
    for kind in ENDINGS:
        assert code_of(case.gateway.submit(case.child(kind, parent, reference, 5000))) == "original_not_found"


def test_a_hold_is_not_refunded(case: Case) -> None:
    """Nothing was taken yet."""
    parent, reference = case.parent(Kind.CAPTURE)
    assert code_of(case.gateway.submit(case.child(Kind.REFUND, parent, reference, 5000))) == "original_not_found"


def test_refunds_in_parts_up_to_what_was_taken(case: Case) -> None:
    """Parts may add up to the deposit, and nothing above that is refunded, also not in another currency."""
    parent, reference = case.parent(Kind.REFUND)
    for minor, refunded in ((3000, True), (7020, False), (6000, True), (1000, True), (100, False)):
        refund = case.child(Kind.REFUND, parent, reference, minor)
        outcome = case.gateway.submit(refund)
        assert isinstance(outcome, Approved if refunded else Declined)
        assert refunded or code_of(outcome) == "amount_too_large"
        assert case.effects(refund) == ["refund"] * refunded
    other = replace(case.child(Kind.REFUND, parent, reference, 1), money=Money(100, "USD"))
    assert code_of(case.gateway.submit(other)) == "amount_too_large"
