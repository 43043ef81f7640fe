"""The actor that shares the breakers: what others did is told, what happens here is kept, and people are obeyed."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from actors.gateways.breaker_sync import RESEND_TICKS, SHARE_S
from actors.messages import ApplyBreakerMode, BreakerRecordRead, BreakerTransition, ProbeWanted, SetBreakerMode
from actors.runtime.actor import Future
from actors.runtime.simulated import SimulatedRuntime
from store.errors import CommitUncertainError, CorruptStoreError, StoreError, StoreUnavailableError, UnstorableError
from store.port import BreakerRecord, GatewayMode
from store.sqlite.adapter import SqliteStore
from tests.actors.gateways.breaker_fixtures import TIMES, BreakerSync
from tests.actors.support import GATEWAY, OWNER, Trouble, TroubledStore

AWAY = StoreUnavailableError("away")
ROUND_S = RESEND_TICKS * SHARE_S


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> BreakerSync:
    """An actor that has begun."""
    return BreakerSync(runtime, store, real_store)


def told(scenario: BreakerSync) -> list[tuple[int, str, str | None]]:
    """Epoch, state and prober of each record that the supervisor was told by itself."""
    return [(it.record.epoch, it.record.state, it.record.prober) for it in scenario.supervisor.of(BreakerRecordRead)]


def modes(scenario: BreakerSync) -> list[str]:
    """The modes that the supervisor was told."""
    return [it.mode.mode for it in scenario.supervisor.of(ApplyBreakerMode)]


# what the others do


def test_what_another_process_made_of_a_breaker_is_told_with_the_next_beat(scenario: BreakerSync) -> None:
    """Once for each change, with when it was asked; of a gateway that is not configured here nothing is."""
    scenario.real.turn_breaker("gatewayZ", 0, "open")
    scenario.real.turn_breaker(GATEWAY, 0, "open")
    before = scenario.runtime.monotonic()
    scenario.run(SHARE_S)
    [seen] = scenario.supervisor.messages
    assert (seen.record.epoch, seen.record.state) == (1, "open")
    assert before <= seen.asked_at <= scenario.runtime.monotonic()
    scenario.run(2 * SHARE_S)
    assert len(scenario.supervisor.messages) == 1
    scenario.real.turn_breaker(GATEWAY, 1, "closed")
    scenario.run(SHARE_S)
    assert told(scenario) == [(1, "open", None), (2, "closed", None)]


def test_everything_is_told_again_now_and_then(scenario: BreakerSync) -> None:
    """A message may be given up on its way; and whoever begins anew is told everything."""
    scenario.real.set_gateway_mode(GatewayMode("gatewayB", "open", "elsewhere"))
    scenario.real.turn_breaker(GATEWAY, 0, "open")
    scenario.run(2 * ROUND_S)
    assert told(scenario) == [(1, "open", None)] * 3
    assert modes(scenario) == ["open"] * 3


def test_what_another_process_was_ordered_holds_here_with_the_next_beat(scenario: BreakerSync) -> None:
    """With the record, no older than the order; one for a gateway that is not configured here is left alone."""
    scenario.real.turn_breaker(GATEWAY, 0, "closed")
    scenario.real.set_gateway_mode(GatewayMode(GATEWAY, "closed", "elsewhere"))
    scenario.real.set_gateway_mode(GatewayMode("gatewayZ", "open", "gone"))
    scenario.run(2 * SHARE_S)
    [told_mode] = scenario.supervisor.messages
    assert told_mode.mode == GatewayMode(GATEWAY, "closed", "elsewhere")
    assert told_mode.newest.record.epoch == 1


def test_a_store_that_is_away_is_complained_of_once(
    scenario: BreakerSync, store: TroubledStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Each beat tries again, and each outage is one line; a defect of it is no death, either."""
    with caplog.at_level(logging.WARNING):
        for method, error in (("breakers", AWAY), ("gateway_modes", CorruptStoreError("odd")), ("breakers", OSError())):
            store.befall(method, *[error] * 3)
            scenario.run(5 * SHARE_S)
    assert len(caplog.records) == 3
    assert scenario.address.deaths == 0
    scenario.real.turn_breaker(GATEWAY, 0, "open")
    scenario.run(SHARE_S)
    assert told(scenario)[-1] == (1, "open", None)


# what happens here


def test_what_the_breaker_came_to_here_is_kept_and_told_back(scenario: BreakerSync) -> None:
    """Whoever was first: the supervisor hears how the record is now."""
    scenario.tell(BreakerTransition(GATEWAY, 0, "open"))
    scenario.tell(BreakerTransition(GATEWAY, 0, "open"))
    assert told(scenario) == [(1, "open", None)] * 2
    scenario.real.turn_breaker(GATEWAY, 1, "closed")
    scenario.tell(BreakerTransition(GATEWAY, 1, "open"))
    assert told(scenario)[-1] == (2, "closed", None)


def test_the_probe_is_taken_for_this_process(scenario: BreakerSync) -> None:
    """Once the sleep is over, with a permit as long as a call may take; if another one has it, his name is told."""
    scenario.tell(BreakerTransition(GATEWAY, 0, "open"))
    scenario.run(TIMES.sleep_s / 2)
    scenario.tell(ProbeWanted(GATEWAY, 1))
    assert told(scenario)[-1] == (1, "open", None)
    scenario.run(TIMES.sleep_s / 2)
    asked_at = scenario.runtime.monotonic()
    scenario.tell(ProbeWanted(GATEWAY, 1))
    seen = scenario.supervisor.of(BreakerRecordRead)[-1]
    assert seen == BreakerRecordRead(BreakerRecord(GATEWAY, 2, "half_open", 0.0, OWNER, TIMES.permit_s), asked_at)
    scenario.real.turn_breaker("gatewayB", 0, "open")
    scenario.run(TIMES.sleep_s)
    scenario.real.take_probe("gatewayB", 1, "another", sleep_s=0.0, permit_s=99.0)
    scenario.tell(ProbeWanted("gatewayB", 1))
    assert told(scenario)[-1] == (2, "half_open", "another")


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut")])
@pytest.mark.parametrize("message", [BreakerTransition(GATEWAY, 0, "open"), ProbeWanted(GATEWAY, 0)])
def test_what_cannot_be_kept_is_dropped(
    scenario: BreakerSync, store: TroubledStore, message: BreakerTransition | ProbeWanted, error: Exception
) -> None:
    """The supervisor says it again; nobody dies of it."""
    store.befall("turn_breaker", error)
    store.befall("take_probe", error)
    scenario.tell(message)
    assert (scenario.supervisor.messages, scenario.address.deaths) == ([], 0)
    scenario.tell(message)
    assert len(scenario.supervisor.of(BreakerRecordRead)) == 1


# what people order


def test_a_mode_is_kept_before_it_holds(scenario: BreakerSync) -> None:
    """The supervisor hears of it once it is in the store, with whoever waits for the answer, and the record."""
    seen: list[dict[str, GatewayMode]] = []
    tell = scenario.supervisor.tell

    def told_first(message: object) -> None:
        seen.append(scenario.real.gateway_modes())
        tell(message)

    scenario.supervisor.tell = told_first  # type: ignore[method-assign]
    reply = scenario.order("open")
    order = GatewayMode(GATEWAY, "open", "maintenance")
    assert seen[0] == {GATEWAY: order}
    [told_mode] = scenario.supervisor.of(ApplyBreakerMode)
    assert (told_mode.mode, told_mode.reply) == (order, reply)
    assert told_mode.newest is not None
    assert (told_mode.newest.record.epoch, told_mode.newest.record.state) == (1, "open")
    assert not reply.done


@pytest.mark.parametrize("mode", ["open", "closed"])
@pytest.mark.parametrize("before", ["closed", "open", "half_open"])
def test_what_is_ordered_is_what_all_begin_with_afterwards(scenario: BreakerSync, before: str, mode: str) -> None:
    """The record says so from the order on, and at the latest when the breaker is left to itself again."""
    if before != "closed":
        scenario.real.turn_breaker(GATEWAY, 0, "open")
    if before == "half_open":
        scenario.real.take_probe(GATEWAY, 1, "another", sleep_s=0.0, permit_s=5.0)
    scenario.order(mode)
    assert scenario.real.breakers().get(GATEWAY, BreakerRecord(GATEWAY)).state == mode
    scenario.order("auto")
    told_mode = scenario.supervisor.of(ApplyBreakerMode)[-1]
    assert told_mode.newest is not None
    assert told_mode.newest.record.state == mode


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut"), RuntimeError("a defect")])
@pytest.mark.parametrize("mode", ["open", "closed"])
def test_an_order_that_is_kept_holds_whatever_becomes_of_the_record(
    scenario: BreakerSync, store: TroubledStore, mode: str, error: Exception
) -> None:
    """It is made good for before the breaker is left to itself again; if that fails, that order is not kept."""
    if mode == "closed":
        scenario.real.turn_breaker(GATEWAY, 0, "open")
    store.befall("turn_breaker", error)
    scenario.order(mode)
    assert (modes(scenario), scenario.real.gateway_modes()[GATEWAY].mode) == ([mode], mode)
    store.befall("turn_breaker", error)
    with pytest.raises((type(error), TimeoutError)):
        scenario.order("auto").get(timeout=0)
    assert (modes(scenario), scenario.real.gateway_modes()[GATEWAY].mode) == ([mode], mode)
    scenario.order("auto")
    assert (modes(scenario), scenario.real.gateway_modes()[GATEWAY].mode) == ([mode, "auto"], "auto")
    assert scenario.real.breakers()[GATEWAY].state == mode


def test_an_order_whose_record_others_change_is_tried_again(scenario: BreakerSync, store: TroubledStore) -> None:
    """Until the record says what was ordered; but not for ever."""
    scenario.order("open")
    others = [True] * 2
    turn = store.turn_breaker

    def in_between(gateway: str, epoch: int, state: str) -> BreakerRecord:
        if others and others.pop():
            scenario.real.turn_breaker(gateway, epoch, "open")
        return turn(gateway, epoch, state)

    store.turn_breaker = in_between  # type: ignore[method-assign]
    scenario.order("closed")
    assert scenario.real.breakers()[GATEWAY].state == "closed"
    assert scenario.real.breakers()[GATEWAY].epoch == 4


@pytest.mark.parametrize("error", [AWAY, CorruptStoreError("odd"), RuntimeError("a defect"), UnstorableError("no")])
def test_an_order_that_the_store_fails_at_is_answered_with_its_error(
    scenario: BreakerSync, store: TroubledStore, error: Exception
) -> None:
    """Nobody waits in vain, nothing has changed, and the actor lives on."""
    store.befall("set_gateway_mode", error)
    with pytest.raises(type(error)):
        scenario.order("open").get(timeout=0)
    assert scenario.supervisor.of(ApplyBreakerMode) == []
    assert (scenario.real.gateway_modes(), scenario.real.breakers()) == ({}, {})
    assert scenario.address.deaths == 0


@pytest.mark.parametrize("stored", [False, True])
def test_an_order_of_which_nobody_knows_the_end_says_so(
    scenario: BreakerSync, store: TroubledStore, *, stored: bool
) -> None:
    """A store error would mean that nothing has changed, and that may be false; the next beat tells."""
    store.befall("set_gateway_mode", Trouble(CommitUncertainError("cut"), after=stored))
    with pytest.raises(TimeoutError):
        scenario.order("open").get(timeout=0)
    scenario.run(SHARE_S)
    assert modes(scenario) == (["open"] if stored else [])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["set_gateway_mode", "turn_breaker", "breakers"])
def test_an_order_that_kills_is_carried_out_and_answered_once(
    scenario: BreakerSync, store: TroubledStore, method: str, *, after: bool
) -> None:
    """Redelivered to the successor it is done, and answered, as if nothing had been."""
    scenario.order("open")
    scenario.real.turn_breaker(GATEWAY, 1, "closed")  # by somebody who has not heard of the order yet
    store.befall(method, Trouble(SystemExit(), after=after))
    reply = scenario.order("auto")
    scenario.run(1.0)
    assert scenario.address.deaths == 1
    ordered = [it for it in scenario.supervisor.of(ApplyBreakerMode) if it.reply is reply]
    assert [it.mode.mode for it in ordered] == ["auto"]
    assert ordered[0].newest is not None
    assert ordered[0].newest.record.state == "open"
    assert scenario.real.gateway_modes()[GATEWAY].mode == "auto"


def test_an_order_that_comes_twice_is_answered_once(scenario: BreakerSync) -> None:
    """Also when its answer is there already: to set it twice would kill the actor."""
    reply: Future[Any] = Future()
    reply.set(None)
    scenario.tell(SetBreakerMode(GatewayMode(GATEWAY, "ajar", "again"), reply))
    scenario.run(1.0)
    assert scenario.address.deaths == 0


def test_an_order_for_no_gateway_is_refused(scenario: BreakerSync) -> None:
    """It is neither kept nor told: whoever gave it is told that there is none of that name."""
    with pytest.raises(LookupError):
        scenario.order("open", gateway="gatewayZ").get(timeout=0)
    assert scenario.real.gateway_modes() == {}
    assert scenario.supervisor.of(ApplyBreakerMode) == []


def test_a_mode_that_is_none_is_refused(scenario: BreakerSync) -> None:
    """The store keeps it not, and the supervisor never hears of it."""
    with pytest.raises(StoreError):
        scenario.order("ajar").get(timeout=0)
    assert scenario.supervisor.of(ApplyBreakerMode) == []
    assert scenario.address.deaths == 0
