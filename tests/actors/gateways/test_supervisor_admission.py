"""Admission by the supervisor: limits of bulkheads, one call for each lease, and work that is never lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from actors.gateways.bulkhead import Bulkhead
from actors.gateways.supervisor import BACKPRESSURE_OFF_AT, BACKPRESSURE_ON_AT
from actors.messages import CapacityFree, Drain, NotSent, Submit, Unhandled
from actors.operations.outcome import OutcomeOperation
from domain.outcomes import (
    Approved,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    Unknown,
)
from gateways.port import Order
from store.port import Action, DeliveryCertainty, WorkItem
from tests.actors.gateways.fixtures import FAILURES, Keyless, Supervised, order_mode, raising, trip, work
from tests.actors.support import GATEWAY


def test_a_call_is_made_and_its_outcome_goes_to_the_customer(supervised: Supervised) -> None:
    """A piece of work is one call; its outcome goes to its customer with the item."""
    item = work()
    supervised.submit(item)
    supervised.end()
    [report] = supervised.customer.of(OutcomeOperation)
    assert report.item is item
    assert report.result == Approved(f"A-{item.work_id}", final=True)
    assert supervised.gateway.calls == [item.work_id]
    assert supervised.heard.calls == [(item.work_id, report.result)]


def test_the_bulkhead_limits_the_calls(supervised: Supervised) -> None:
    """Never more calls run than the gateway has slots, and a free slot is used at once."""
    items = [work() for _ in range(10)]
    supervised.submit(*items)
    most = 0
    while supervised.out:
        most = max(most, len(supervised.out))
        assert len(supervised.out) == min(3, 10 - len(supervised.results()))
        supervised.end()
    assert most == 3
    assert supervised.gateway.calls == [item.work_id for item in items]
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_one_gateways_slow_calls_delay_no_other() -> None:
    """With every slot of one gateway blocked, another gateway's work is sent normally."""
    supervised = Supervised(names=("slow", "quick"))
    supervised.submit(*[work("slow") for _ in range(100)])
    items = [work("quick") for _ in range(20)]
    supervised.submit(*items)
    while supervised.slots["quick"].out:
        supervised.slots["quick"].end()
        supervised.run()
    assert supervised.gateways["quick"].calls == [item.work_id for item in items]
    assert supervised.gateways["slow"].calls == []


@pytest.mark.parametrize("error", [NotSentError("refused"), OutcomeUnknownError("timeout"), ValueError(), SystemExit()])
def test_a_failure_counts_frees_its_slot_and_is_reported(supervised: Supervised, error: BaseException) -> None:
    """Whatever an adapter raises, a kill included: it is reported, the slot is free, and the breaker counts it."""
    supervised.gateway.answer = raising(error)
    for _ in range(FAILURES):
        supervised.submit(work())
        supervised.end()
    assert [type(result) for result in supervised.results()] == [
        NotSent if isinstance(error, NotSentError) else Unknown
    ] * 3
    assert supervised.bulkheads[GATEWAY].in_flight == 0
    assert supervised.bulkheads[GATEWAY].breaker.state == "open"


def test_a_listener_that_fails_loses_no_outcome(supervised: Supervised) -> None:
    """The outcome is reported, and the slot is free, although a listener raises."""

    def called(*_: object) -> None:
        raise ValueError("a payload that cannot be read")

    supervised.heard.called = called  # type: ignore[method-assign, assignment]
    supervised.submit(work())
    try:
        supervised.end()
    except ValueError:
        supervised.run()
    assert len(supervised.results()) == 1
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_the_outcome_is_with_its_customer_before_the_slot_is_free(supervised: Supervised) -> None:
    """No running call means that every outcome is reported: a stopping process relies on it to give leases back."""
    supervisor = supervised.address._router.start(None)
    free_before: list[bool] = []

    def tell(_: object) -> None:
        free_before.append(not supervisor.actor_inbox.empty())

    supervised.customer.tell = tell  # type: ignore[method-assign]
    supervised.submit(work())
    supervised.end()
    assert free_before == [False]
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_lookups_never_send(supervised: Supervised) -> None:
    """Work to resolve is a lookup."""
    item = work(action=Action.RESOLVE)
    supervised.submit(item)
    supervised.end()
    assert supervised.results() == [NotReceived()]
    assert supervised.gateway.lookups == [item.work_id]
    assert supervised.gateway.calls == []


def test_work_without_a_handler_is_reported_without_a_call(supervised: Supervised) -> None:
    """Work without a transaction, or of a type without a handler, is reported at once and is no failure."""
    supervised.submit(replace(work(), transaction=None), replace(work(), event_type="DepositEaten"))
    assert [type(result) for result in supervised.results()] == [Unhandled] * 2
    assert (supervised.out, supervised.gateway.calls, supervised.status()[0].breaker.requests) == ([], [], 0)


def test_backpressure_follows_the_waiting_work(supervised: Supervised) -> None:
    """New work stays in the store while much work waits, and is taken again when little waits."""
    supervised.submit(*[work() for _ in range(BACKPRESSURE_ON_AT + 2)])
    assert supervised.backpressure.open[GATEWAY]
    supervised.submit(work())
    assert not supervised.backpressure.open[GATEWAY]
    while supervised.status()[0].bulkhead.waiting > BACKPRESSURE_OFF_AT:
        assert not supervised.backpressure.open[GATEWAY]
        supervised.end()
    assert supervised.backpressure.open[GATEWAY]


def test_capacity_is_reported_once_for_each_claimed_batch(supervised: Supervised) -> None:
    """The scheduler gets CapacityFree after each of its batches, and only when little work waits."""
    supervised.submit(*[work() for _ in range(BACKPRESSURE_OFF_AT + 10)])
    assert supervised.scheduler.of(CapacityFree) == []
    supervised.submit(work(), claimed=True)
    assert supervised.scheduler.of(CapacityFree) == []
    supervised.end_all()
    assert supervised.scheduler.of(CapacityFree) == [CapacityFree(GATEWAY)]
    supervised.submit(work(), claimed=True)
    assert supervised.scheduler.of(CapacityFree) == [CapacityFree(GATEWAY)] * 2


def test_a_process_on_a_shared_store_takes_little_more_than_it_calls() -> None:
    """Twice its slots, and more only when half of that is done: other processes can claim the rest."""
    supervised = Supervised(on_shared_store=True)
    bulkhead = supervised.bulkheads[GATEWAY]
    assert bulkhead.claimable == 6
    supervised.submit(*[work() for _ in range(6)], claimed=True)
    assert (bulkhead.claimable, supervised.scheduler.of(CapacityFree)) == (0, [])
    for _ in range(2):
        supervised.end()
        supervised.run()
    assert (bulkhead.claimable, supervised.scheduler.of(CapacityFree)) == (2, [])
    supervised.end()
    supervised.run()
    assert (bulkhead.claimable, supervised.scheduler.of(CapacityFree)) == (3, [CapacityFree(GATEWAY)])


def test_a_drain_sends_nothing_more(supervised: Supervised) -> None:
    """After the drain no call begins, running calls end and are reported, and new work stays queued."""
    supervised.submit(*[work() for _ in range(10)])
    supervised.address.tell(Drain())
    supervised.run()
    supervised.submit(work())
    supervised.end_all()
    supervised.run(60.0)
    assert len(supervised.gateway.calls) == 3
    assert len(supervised.results()) == 3
    assert supervised.backpressure.open == {GATEWAY: False}
    assert supervised.backpressure.draining


def test_operators_see_slots_and_breaker() -> None:
    """The status has every gateway, names ascending, with running calls, waiting work and the breaker."""
    supervised = Supervised(names=("b", "a"))
    supervised.submit(*[work("b") for _ in range(5)])
    a, b = supervised.status()
    assert (a.name, b.name) == ("a", "b")
    assert (b.bulkhead.in_flight, b.bulkhead.waiting, b.bulkhead.max_concurrent) == (3, 2, 3)
    assert (a.bulkhead.in_flight, a.bulkhead.waiting, a.breaker.state) == (0, 0, "closed")


def waiting(supervised: Supervised) -> list[tuple[str, int]]:
    """The work that waits for a slot, in order."""
    return [(item.work_id, item.token) for item in supervised.bulkheads[GATEWAY].waiting]


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("when", ["together", "waiting", "out", "done"])
def test_the_same_work_is_called_once(supervised: Supervised, when: str, action: Action, *, claimed: bool) -> None:
    """This holds for a repetition together with the first, while that waits or is called, or long after its answer."""
    item = work(action=action)
    if when == "waiting":
        supervised.submit(*[work() for _ in range(3)])
    supervised.submit(*[item] * (2 if when == "together" else 1))
    if when == "done":
        supervised.end_all()
        supervised.run(60.0)
    supervised.submit(item, claimed=claimed)
    supervised.end_all()
    asked = supervised.gateway.calls + supervised.gateway.lookups
    assert asked.count(item.work_id) == 1
    assert len(supervised.results()) == (4 if when == "waiting" else 1)
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_without_keys_it_is_recorded_once() -> None:
    """A second record of the same submission would take a slot for nothing."""
    supervised = Keyless()
    item = work()
    supervised.submit(item)
    supervised.submit(item)
    [request] = supervised.requested
    supervised.clear(request)
    supervised.submit(item)
    supervised.end_all()
    supervised.submit(item)
    assert len(supervised.requested) == 1
    assert supervised.results() == [Approved(f"A-{item.work_id}", final=True)]
    assert supervised.slots_taken == 0


def test_work_that_is_claimed_again_is_called_again(supervised: Supervised) -> None:
    """Under a newer token it is called again, even while the earlier call runs; an older token is dropped."""
    item = work()
    supervised.submit(item)
    for token in (3, 2, 3, 5, 4, 1):
        supervised.submit(replace(item, token=token))
    assert waiting(supervised) == []
    assert len(supervised.out) == 3
    supervised.end_all()
    assert supervised.gateway.calls == [item.work_id] * 3
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_other_work_of_the_same_message_is_taken(supervised: Supervised) -> None:
    """The others are taken, in their order."""
    items = [work() for _ in range(8)]
    supervised.submit(items[0], items[4])
    supervised.submit(*items, claimed=True)
    supervised.end_all()
    assert supervised.gateway.calls == [items[number].work_id for number in (0, 4, 1, 2, 3, 5, 6, 7)]


def test_a_message_that_kills_is_taken_once(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is redelivered as a whole, and only the part that was not taken is added."""
    items = [work() for _ in range(5)]
    enqueue = Bulkhead.enqueue
    met: list[Bulkhead] = []

    def deadly(bulkhead: Bulkhead, those: Sequence[WorkItem]) -> None:
        met.append(bulkhead)
        enqueue(bulkhead, those[:3] if len(met) == 1 else those)
        if len(met) == 1:
            raise RuntimeError("during a message")

    monkeypatch.setattr(Bulkhead, "enqueue", deadly)
    supervised.submit(*items)
    supervised.run(2.0)
    supervised.end_all()
    assert (supervised.address.deaths, len(met)) == (1, 2)
    assert supervised.gateway.calls == [item.work_id for item in items]


def test_the_kept_tokens_are_bounded(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest tokens are kept; work whose token was dropped is not lost."""
    monkeypatch.setattr("actors.gateways.bulkhead.TOKENS_MAX", 10)
    items = [work() for _ in range(200)]
    supervised.address.tell(Submit(GATEWAY, tuple(items)))
    supervised.run()
    supervised.end_all()
    for item in items[-5:]:
        supervised.submit(replace(item, token=item.token + 1))
    supervised.end_all()
    assert len(supervised.bulkheads[GATEWAY].newest_tokens) == 10
    assert supervised.gateway.calls == [item.work_id for item in [*items, *items[-5:]]]


@pytest.mark.parametrize("breaker", ["closed", "open"])
@pytest.mark.parametrize(
    ("item", "result"),
    [
        (replace(work(), certainty=DeliveryCertainty.SENT), Unknown),
        (replace(work(), event_type="DepositEaten"), Unhandled),
        (replace(work(), transaction=None), Unhandled),
        (replace(work(action=Action.RESOLVE), transaction=None), Unhandled),
    ],
)
def test_what_is_not_to_be_called_takes_no_slot_and_no_permit(
    keyless: Keyless, item: WorkItem, result: type, breaker: str
) -> None:
    """Work that needs no call is reported at once, whatever the breaker's state, and records no submission."""
    if breaker == "open":
        trip(keyless)
        keyless.customer.messages.clear()
    keyless.submit(item)
    assert [type(reported) for reported in keyless.results()] == [result]
    assert (keyless.requested, keyless.out, keyless.slots_taken) == ([], [], 0)
    assert keyless.bulkheads[GATEWAY].breaker.state == breaker


def test_a_gateway_without_lookups_is_not_called(keyless: Keyless) -> None:
    """A lookup at a gateway without lookups is an unknown outcome without a call, open breaker or not."""
    keyless.gateway.looks_up = False
    order_mode(keyless, "open")
    keyless.submit(*[work(action=Action.RESOLVE) for _ in range(5)])
    assert [type(reported) for reported in keyless.results()] == [Unknown] * 5
    assert keyless.gateway.lookups == []


def test_poison_delays_no_other_work(keyless: Keyless) -> None:
    """Work without a handler is not sent, and the work around it is."""
    good = [work() for _ in range(9)]
    poison = [replace(work(), event_type="x"), replace(work(), transaction=None), replace(work(), event_type="")]
    keyless.submit(*[item for three in zip(good[::3], poison, good[1::3], good[2::3], strict=True) for item in three])
    keyless.clear_all()
    assert set(keyless.gateway.effects) == {item.work_id for item in good}
    reported = {report.item.work_id: type(report.result) for report in keyless.customer.of(OutcomeOperation)}
    assert {key for key, result in reported.items() if result is Unhandled} == {item.work_id for item in poison}
    assert keyless.slots_taken == 0


def test_a_report_is_as_old_as_its_call() -> None:
    """However long a call takes, its answer is dated by its start, which decides whether "never received" counts."""
    keyless = Supervised()
    asked_at = keyless.runtime.monotonic()
    answer = keyless.gateway.answer

    def slowly(order: Order) -> Outcome:
        keyless.runtime.advance(30.0)
        return answer(order)

    keyless.gateway.answer = slowly
    keyless.submit(work())
    keyless.end()
    [report] = keyless.customer.of(OutcomeOperation)
    assert report.asked_at == asked_at
