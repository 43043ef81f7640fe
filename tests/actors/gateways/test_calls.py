"""One call to a gateway: what is asked of it, and what whatever it raises means."""

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
from gateways.port import Order
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
    """A gateway's answer that is none."""

    def answer(_: Order) -> Outcome:
        raise error

    return answer


def test_a_sending_carries_the_transaction(gateway: SmallGateway) -> None:
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
    """Work to resolve asks, whatever the answer is and however old the transaction."""
    assert call_gateway(gateway, work(action=Action.RESOLVE), LATE) == (NotReceived(), True)
    assert gateway.calls == []


class UnspeakableError(Exception):
    """Whoever asks what it says meets another error."""

    def __str__(self) -> str:
        """It cannot be said."""
        raise ValueError("no words")

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
def test_no_error_gets_out(gateway: SmallGateway, error: BaseException, result: CallResult) -> None:
    """Whatever the adapter raises is not sent or unknown, and unhealthy; only NotSentError is surely not sent.

    What a foreign error says is not told: it may hold what the provider answered, with anything in it.
    """
    gateway.answer = raising(error)
    assert call_gateway(gateway, work(), EPOCH) == (result, False)


def test_a_decline_is_healthy(gateway: SmallGateway) -> None:
    """No is an answer."""
    declined = Declined("do_not_honor", Category.HARD, "no")
    gateway.answer = lambda _: declined
    assert call_gateway(gateway, work(), EPOCH) == (declined, True)


@pytest.mark.parametrize("seconds", [0.0, WINDOW_S / 2])
def test_within_the_window_it_is_sent_under_its_key(gateway: SmallGateway, seconds: float) -> None:
    """As long as the provider surely knows the key, be the clock wrong by hours, sending again needs no lookup."""
    call_gateway(gateway, work(), EPOCH + timedelta(seconds=seconds))
    assert gateway.lookups == []


def test_after_the_window_it_is_looked_up_before_it_is_sent(gateway: SmallGateway) -> None:
    """When the key may be forgotten, what the provider has received is its answer, and is not sent again."""
    item = work()
    assert call_gateway(gateway, item, LATE)[0] == Approved(f"A-{item.work_id}", final=True)
    assert (gateway.lookups, gateway.calls) == ([item.work_id], [item.work_id])
    assert call_gateway(gateway, item, LATE)[0] == Approved(f"A-{item.work_id}", final=True)
    assert gateway.calls == [item.work_id]


def test_after_the_window_nothing_is_sent_without_an_answer(
    gateway: SmallGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the lookup fails, nothing is sent: it might be the second time."""
    monkeypatch.setattr(gateway, "lookup", raising(OutcomeUnknownError("timeout")))
    assert call_gateway(gateway, work(), LATE) == (Unknown("timeout"), False)
    assert gateway.calls == []


def test_without_keys_there_is_no_window(gateway: SmallGateway) -> None:
    """A provider without keys is not looked up first: whether it may be sent at all is decided elsewhere."""
    gateway.honours_keys, gateway.idempotency_window_s = False, 0.0
    call_gateway(gateway, work(), LATE)
    assert gateway.lookups == []


@pytest.mark.parametrize("seconds", [WINDOW_S / 2 + 1, -1.0])
def test_a_clock_that_was_wrong_does_not_hide_that_a_key_may_be_forgotten(
    gateway: SmallGateway, seconds: float
) -> None:
    """Half of the window is left to clocks that were wrong, and a transaction from the future proves one that was."""
    call_gateway(gateway, work(), EPOCH + timedelta(seconds=seconds))
    assert len(gateway.lookups) == 1


def test_without_lookups_what_may_be_forgotten_is_not_sent(gateway: SmallGateway) -> None:
    """When the key may be forgotten and the provider cannot be asked, nothing is sent, and that is nobody's failure."""
    gateway.looks_up = False
    result, healthy = call_gateway(gateway, work(), LATE)
    assert isinstance(result, Unknown)
    assert healthy
    assert (gateway.calls, gateway.lookups) == ([], [])


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
def test_what_nobody_can_do_is_never_called(
    gateway: SmallGateway, changes: dict[str, Any], action: Action, certainty: DeliveryCertainty, *, keys: bool
) -> None:
    """Without a handler or a transaction there is no call, whatever else the work says; the reason is for people."""
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
    """Never a sending without keys of which the record knows no outcome, and never a lookup where none is to be had."""
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
    """A sending without keys, and nothing else."""
    gateway.honours_keys = keys
    assert must_record_first(gateway, work(action=action)) is first


def test_every_event_that_opens_work_has_a_handler() -> None:
    """Each kind of transaction can be sent, under the very type that its work carries."""
    assert {event_type_of(kind) for kind in Kind} == set(HANDLERS)
