"""One call to a gateway: what is requested, and what each error means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actors.gateways.calls import HANDLERS, call_gateway, must_record_first, result_without_call
from actors.messages import CallResult, NotSent, Unhandled
from actors.runtime.simulated import EPOCH
from actors.work import event_type_of
from domain.events import Kind
from domain.outcomes import (
    Approved,
    Category,
    Declined,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    Unknown,
)
from gateways.port import LookupMeans, Order
from store.port import Action, DeliveryCertainty
from tests.actors.gateways.fixtures import work
from tests.actors.support import SmallGateway

WINDOW_S = 86_400.0
LATE = EPOCH + timedelta(seconds=WINDOW_S + 1)


@pytest.fixture
def gateway() -> SmallGateway:
    """A provider that honours keys for a day."""
    return SmallGateway()


def raising(error: BaseException) -> Any:
    """An answer of a gateway that raises ``error``."""

    def answer(_: Order) -> Outcome:
        raise error

    return answer


def test_a_submission_carries_the_transaction(gateway: SmallGateway) -> None:
    """The provider gets the transaction's id, amount and customer as they are on record."""
    item = work()
    assert call_gateway(gateway, item, EPOCH) == (Approved(f"A-{item.work_id}", final=True), True)
    order = gateway.effects[item.work_id]
    assert item.transaction is not None
    assert (order.money, order.customer_id, order.kind) == (
        item.transaction.money,
        item.transaction.customer_id,
        item.transaction.kind,
    )


def test_a_lookup_sends_nothing(gateway: SmallGateway) -> None:
    """Work to resolve is a lookup, for every answer and age of the transaction."""
    assert call_gateway(gateway, work(action=Action.RESOLVE), LATE) == (NotReceived(), True)
    assert gateway.calls == []


class UnspeakableError(Exception):
    """An error whose text raises another error."""

    def __str__(self) -> str:
        """Fail."""
        raise ValueError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (NotSentError("refused"), NotSent("refused")),
        (NotSentError(), NotSent("not sent")),
        (OutcomeUnknownError("timeout"), Unknown("timeout")),
        (OutcomeUnknownError(), Unknown("the outcome is not known")),
        (ZeroDivisionError("a defect"), Unknown("the adapter failed: ZeroDivisionError")),
        (SystemExit("a kill"), Unknown("the adapter failed: SystemExit")),
        (UnspeakableError(), Unknown("the adapter failed: UnspeakableError")),
        (ValueError("4111 1111 1111 1111"), Unknown("the adapter failed: ValueError")),
    ],
)
def test_no_error_is_raised(gateway: SmallGateway, error: BaseException, result: CallResult) -> None:
    """Every error of an adapter means not sent or unknown, and unhealthy; only NotSentError means not sent.

    The text of a foreign error is not reported: it may contain the provider's answer with private data.
    """
    gateway.answer = raising(error)
    assert call_gateway(gateway, work(), EPOCH) == (result, False)


def test_a_decline_is_healthy(gateway: SmallGateway) -> None:
    """A decline is an answer."""
    declined = Declined("do_not_honor", Category.HARD, "no")
    gateway.answer = lambda _: declined
    assert call_gateway(gateway, work(), EPOCH) == (declined, True)


@pytest.mark.parametrize("seconds", [0.0, WINDOW_S / 2])
def test_within_the_window_it_is_sent_under_its_key(gateway: SmallGateway, seconds: float) -> None:
    """While the provider certainly recognises the key, even with a wrong clock, a re-send needs no lookup."""
    call_gateway(gateway, work(), EPOCH + timedelta(seconds=seconds))
    assert gateway.lookups == []


def test_after_the_window_it_is_looked_up_before_it_is_sent(gateway: SmallGateway) -> None:
    """When the key may be forgotten, a transaction that the provider has is not sent again."""
    item = work()
    assert call_gateway(gateway, item, LATE)[0] == Approved(f"A-{item.work_id}", final=True)
    assert (gateway.lookups, gateway.calls) == ([item.work_id], [item.work_id])
    assert call_gateway(gateway, item, LATE)[0] == Approved(f"A-{item.work_id}", final=True)
    assert gateway.calls == [item.work_id]


def test_after_the_window_nothing_is_sent_without_an_answer(
    gateway: SmallGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the lookup fails, nothing is sent: it might be a second payment."""
    monkeypatch.setattr(gateway, "lookup", raising(OutcomeUnknownError("timeout")))
    assert call_gateway(gateway, work(), LATE) == (Unknown("timeout"), False)
    assert gateway.calls == []


def test_without_keys_there_is_no_window(gateway: SmallGateway) -> None:
    """Without keys there is no lookup first: whether it may be sent is decided elsewhere."""
    gateway.honours_keys = False
    call_gateway(gateway, work(), LATE)
    assert gateway.lookups == []


@pytest.mark.parametrize("seconds", [WINDOW_S / 2 + 1, -1.0])
def test_a_clock_that_was_wrong_does_not_hide_that_a_key_may_be_forgotten(
    gateway: SmallGateway, seconds: float
) -> None:
    """Half of the window is reserved for wrong clocks; a transaction from the future proves one."""
    call_gateway(gateway, work(), EPOCH + timedelta(seconds=seconds))
    assert len(gateway.lookups) == 1


def test_without_lookups_what_may_be_forgotten_is_not_sent(gateway: SmallGateway) -> None:
    """When the key may be forgotten and there is no lookup, nothing is sent, and the gateway is healthy."""
    gateway.looks_up = False
    result, healthy = call_gateway(gateway, work(), LATE)
    assert isinstance(result, Unknown)
    assert healthy
    assert (gateway.calls, gateway.lookups) == ([], [])


def test_where_repeating_is_the_lookup_it_is_sent_again_under_its_key(gateway: SmallGateway) -> None:
    """A lookup is another sending within the window of the key. After it nothing is sent."""
    item = work(action=Action.RESOLVE)
    gateway.lookup_means = LookupMeans.REPEAT
    assert result_without_call(gateway, item) is None
    assert call_gateway(gateway, item, EPOCH) == (Approved(f"A-{item.work_id}", final=True), True)
    assert (gateway.calls, gateway.lookups) == ([item.work_id], [])
    result, healthy = call_gateway(gateway, item, LATE)
    assert isinstance(result, Unknown)
    assert healthy
    assert (gateway.calls, gateway.lookups) == ([item.work_id], [])


def test_an_order_carries_what_is_known_of_it_and_of_its_parent(gateway: SmallGateway) -> None:
    """A child is sent with the gateway's own reference of its parent, and a deposit with how it is captured."""
    orders: list[Order] = []

    def answer(order: Order) -> Outcome:
        orders.append(order)
        return gateway.accept(order)

    gateway.answer = answer
    item = work()
    assert item.transaction is not None
    child = replace(
        item.transaction, kind=Kind.REFUND, parent_id="p-1", parent_reference="A-7", gateway_reference="A-8"
    )
    held = replace(item.transaction, manual_capture=True)
    for transaction in (child, held):
        call_gateway(gateway, replace(item, transaction=transaction), EPOCH)
    assert [(order.kind, order.parent_id, order.parent_reference, order.gateway_reference) for order in orders] == [
        (Kind.REFUND, "p-1", "A-7", "A-8"),
        (Kind.DEPOSIT, None, None, None),
    ]
    assert [order.manual_capture for order in orders] == [False, True]
    assert [order.key for order in orders] == [item.work_id] * 2


@pytest.mark.parametrize(
    ("action", "certainty", "result"),
    [
        (Action.SUBMIT, DeliveryCertainty.NOT_SENT, Unhandled),
        (Action.SUBMIT, DeliveryCertainty.LEASE_LOST, Unknown),
        (Action.SUBMIT, DeliveryCertainty.SENT, Unknown),
        (Action.RESOLVE, DeliveryCertainty.SENT, Unknown),
    ],
)
@pytest.mark.parametrize("change", ["kind", "holds"])
def test_what_the_gateway_no_longer_supports_is_not_sent(
    gateway: SmallGateway, change: str, action: Action, certainty: DeliveryCertainty, result: type
) -> None:
    """It is left to an operator if it was surely never sent, and unknown otherwise."""
    item = work(action=action)
    assert item.transaction is not None
    if change == "kind":
        gateway.supported = frozenset({Kind.WITHDRAWAL})
    else:
        gateway.holds = False
        item = replace(item, transaction=replace(item.transaction, manual_capture=True))
    assert isinstance(result_without_call(gateway, replace(item, certainty=certainty)), result)


UNKNOWN_TYPES: list[dict[str, Any]] = [
    {"event_type": "DepositEaten"},
    {"event_type": ""},
    {"event_type": "DepositProcessed"},
    {"event_type": "depositreceived"},
    {"transaction": None},
    {"transaction": None, "event_type": "x"},
]


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("certainty", DeliveryCertainty)
@pytest.mark.parametrize("changes", UNKNOWN_TYPES)
def test_work_without_a_handler_is_never_called(
    gateway: SmallGateway, changes: dict[str, Any], action: Action, certainty: DeliveryCertainty, *, keys: bool
) -> None:
    """Without a handler or a transaction there is no call; the reason is for operators."""
    gateway.honours_keys = keys
    result = result_without_call(gateway, replace(work(action=action), certainty=certainty, **changes))
    assert isinstance(result, Unhandled)
    assert result.reason


@pytest.mark.parametrize("event_type", ["DepositReceived", "WithdrawalReceived"])
@pytest.mark.parametrize(
    ("action", "certainty", "keys", "looks_up", "called"),
    [
        (Action.SUBMIT, DeliveryCertainty.NOT_SENT, True, True, True),
        (Action.SUBMIT, DeliveryCertainty.LEASE_LOST, True, True, True),
        (Action.SUBMIT, DeliveryCertainty.SENT, True, True, True),
        (Action.SUBMIT, DeliveryCertainty.SENT, True, False, True),
        (Action.SUBMIT, DeliveryCertainty.NOT_SENT, False, True, True),
        (Action.SUBMIT, DeliveryCertainty.LEASE_LOST, False, True, True),
        (Action.SUBMIT, DeliveryCertainty.SENT, False, True, False),
        (Action.SUBMIT, DeliveryCertainty.SENT, False, False, False),
        (Action.RESOLVE, DeliveryCertainty.NOT_SENT, True, True, True),
        (Action.RESOLVE, DeliveryCertainty.SENT, False, True, True),
        (Action.RESOLVE, DeliveryCertainty.SENT, False, False, False),
        (Action.RESOLVE, DeliveryCertainty.NOT_SENT, True, False, False),
    ],
)
def test_what_is_called(
    gateway: SmallGateway,
    action: Action,
    certainty: DeliveryCertainty,
    event_type: str,
    *,
    keys: bool,
    looks_up: bool,
    called: bool,
) -> None:
    """Never a re-send without keys or outcome, and never a lookup at a gateway without lookups."""
    gateway.honours_keys, gateway.looks_up = keys, looks_up
    result = result_without_call(gateway, replace(work(action=action), certainty=certainty, event_type=event_type))
    assert (result is None) == called
    assert result is None or isinstance(result, Unknown)


@pytest.mark.parametrize(
    ("action", "keys", "first"),
    [
        (Action.SUBMIT, True, False),
        (Action.SUBMIT, False, True),
        (Action.RESOLVE, True, False),
        (Action.RESOLVE, False, False),
    ],
)
def test_what_is_recorded_before_it_is_sent(gateway: SmallGateway, action: Action, *, keys: bool, first: bool) -> None:
    """Submissions without keys, and nothing else."""
    gateway.honours_keys = keys
    assert must_record_first(gateway, work(action=action)) is first


def test_every_event_that_opens_work_has_a_handler() -> None:
    """Each kind of transaction has a handler under the type of its work."""
    assert {event_type_of(kind) for kind in Kind} == set(HANDLERS)
