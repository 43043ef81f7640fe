"""Breaker sync: reads changes of other processes, records this one's, stores operators' modes."""

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
    """A started actor."""
    return BreakerSync(runtime, store, real_store)


def reported(scenario: BreakerSync) -> list[tuple[int, str, str | None]]:
    """Epoch, state and prober of each record sent without a mode."""
    return [(it.record.epoch, it.record.state, it.record.prober) for it in scenario.supervisor.of(BreakerRecordRead)]


def modes(scenario: BreakerSync) -> list[str]:
    """The modes sent to the supervisor."""
    return [it.mode.mode for it in scenario.supervisor.of(ApplyBreakerMode)]


# changes of other processes


def test_a_change_of_another_process_is_sent_with_the_next_tick(scenario: BreakerSync) -> None:
    """It is sent once for each change, with the time of the read, and only for gateways configured here."""
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
    assert reported(scenario) == [(1, "open", None), (2, "closed", None)]


def test_everything_is_sent_again_regularly(scenario: BreakerSync) -> None:
    """A message may be dropped as poison, and a successor sends everything."""
    scenario.real.set_gateway_mode(GatewayMode("gatewayB", "open", "elsewhere"))
    scenario.real.turn_breaker(GATEWAY, 0, "open")
    scenario.run(2 * ROUND_S)
    assert reported(scenario) == [(1, "open", None)] * 3
    assert modes(scenario) == ["open"] * 3


def test_a_mode_from_another_process_holds_with_the_next_tick(scenario: BreakerSync) -> None:
    """It is sent with a record no older than the mode, and only for gateways configured here."""
    scenario.real.turn_breaker(GATEWAY, 0, "closed")
    scenario.real.set_gateway_mode(GatewayMode(GATEWAY, "closed", "elsewhere"))
    scenario.real.set_gateway_mode(GatewayMode("gatewayZ", "open", "gone"))
    scenario.run(2 * SHARE_S)
    [told_mode] = scenario.supervisor.messages
    assert told_mode.mode == GatewayMode(GATEWAY, "closed", "elsewhere")
    assert told_mode.newest.record.epoch == 1


def test_an_outage_of_the_store_is_logged_once(
    scenario: BreakerSync, store: TroubledStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Each tick tries again, each outage is one log line, and a defect of the store kills no actor."""
    with caplog.at_level(logging.WARNING):
        for method, error in (("breakers", AWAY), ("gateway_modes", CorruptStoreError("odd")), ("breakers", OSError())):
            store.inject(method, *[error] * 3)
            scenario.run(5 * SHARE_S)
    assert len(caplog.records) == 3
    assert scenario.address.deaths == 0
    scenario.real.turn_breaker(GATEWAY, 0, "open")
    scenario.run(SHARE_S)
    assert reported(scenario)[-1] == (1, "open", None)


# changes of this process


def test_a_transition_is_recorded_and_sent_back(scenario: BreakerSync) -> None:
    """Whichever process was first, the supervisor gets the present record."""
    scenario.tell(BreakerTransition(GATEWAY, 0, "open"))
    scenario.tell(BreakerTransition(GATEWAY, 0, "open"))
    assert reported(scenario) == [(1, "open", None)] * 2
    scenario.real.turn_breaker(GATEWAY, 1, "closed")
    scenario.tell(BreakerTransition(GATEWAY, 1, "open"))
    assert reported(scenario)[-1] == (2, "closed", None)


def test_the_probe_is_taken_for_this_process(scenario: BreakerSync) -> None:
    """After the sleep, with a permit for the time of a call; if another process has it, the record has its id."""
    scenario.tell(BreakerTransition(GATEWAY, 0, "open"))
    scenario.run(TIMES.sleep_s / 2)
    scenario.tell(ProbeWanted(GATEWAY, 1))
    assert reported(scenario)[-1] == (1, "open", None)
    scenario.run(TIMES.sleep_s / 2)
    asked_at = scenario.runtime.monotonic()
    scenario.tell(ProbeWanted(GATEWAY, 1))
    seen = scenario.supervisor.of(BreakerRecordRead)[-1]
    assert seen == BreakerRecordRead(BreakerRecord(GATEWAY, 2, "half_open", 0.0, OWNER, TIMES.permit_s), asked_at)
    scenario.real.turn_breaker("gatewayB", 0, "open")
    scenario.run(TIMES.sleep_s)
    scenario.real.take_probe("gatewayB", 1, "another", sleep_s=0.0, permit_s=99.0)
    scenario.tell(ProbeWanted("gatewayB", 1))
    assert reported(scenario)[-1] == (2, "half_open", "another")


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut")])
@pytest.mark.parametrize("message", [BreakerTransition(GATEWAY, 0, "open"), ProbeWanted(GATEWAY, 0)])
def test_a_change_that_cannot_be_recorded_is_dropped(
    scenario: BreakerSync, store: TroubledStore, message: BreakerTransition | ProbeWanted, error: Exception
) -> None:
    """The supervisor repeats it; no actor dies."""
    store.inject("turn_breaker", error)
    store.inject("take_probe", error)
    scenario.tell(message)
    assert (scenario.supervisor.messages, scenario.address.deaths) == ([], 0)
    scenario.tell(message)
    assert len(scenario.supervisor.of(BreakerRecordRead)) == 1


# modes that operators set


def test_a_mode_is_stored_before_it_holds(scenario: BreakerSync) -> None:
    """The supervisor gets it after it is stored, with the reply and the record."""
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
def test_a_forced_state_is_recorded_for_all_processes(scenario: BreakerSync, before: str, mode: str) -> None:
    """The record has the state from the command on, or at the latest when the mode returns to auto."""
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
def test_a_stored_mode_holds_whatever_happens_to_the_record(
    scenario: BreakerSync, store: TroubledStore, mode: str, error: Exception
) -> None:
    """It is repeated before the mode returns to auto; if that fails, auto is not stored."""
    if mode == "closed":
        scenario.real.turn_breaker(GATEWAY, 0, "open")
    store.inject("turn_breaker", error)
    scenario.order(mode)
    assert (modes(scenario), scenario.real.gateway_modes()[GATEWAY].mode) == ([mode], mode)
    store.inject("turn_breaker", error)
    with pytest.raises((type(error), TimeoutError)):
        scenario.order("auto").get(timeout=0)
    assert (modes(scenario), scenario.real.gateway_modes()[GATEWAY].mode) == ([mode], mode)
    scenario.order("auto")
    assert (modes(scenario), scenario.real.gateway_modes()[GATEWAY].mode) == ([mode, "auto"], "auto")
    assert scenario.real.breakers()[GATEWAY].state == mode


def test_a_mode_whose_record_others_change_is_tried_again(scenario: BreakerSync, store: TroubledStore) -> None:
    """The change is repeated until the record has the state, a bounded number of times."""
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
def test_a_mode_that_the_store_fails_is_answered_with_its_error(
    scenario: BreakerSync, store: TroubledStore, error: Exception
) -> None:
    """The caller gets the error, nothing has changed, and the actor lives."""
    store.inject("set_gateway_mode", error)
    with pytest.raises(type(error)):
        scenario.order("open").get(timeout=0)
    assert scenario.supervisor.of(ApplyBreakerMode) == []
    assert (scenario.real.gateway_modes(), scenario.real.breakers()) == ({}, {})
    assert scenario.address.deaths == 0


@pytest.mark.parametrize("stored", [False, True])
def test_a_mode_with_an_uncertain_commit_is_a_timeout(
    scenario: BreakerSync, store: TroubledStore, *, stored: bool
) -> None:
    """A store error would mean that nothing has changed, which may be false; the next tick reads it."""
    store.inject("set_gateway_mode", Trouble(CommitUncertainError("cut"), after=stored))
    with pytest.raises(TimeoutError):
        scenario.order("open").get(timeout=0)
    scenario.run(SHARE_S)
    assert modes(scenario) == (["open"] if stored else [])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["set_gateway_mode", "turn_breaker", "breakers"])
def test_a_mode_that_kills_is_executed_and_answered_once(
    scenario: BreakerSync, store: TroubledStore, method: str, *, after: bool
) -> None:
    """Redelivered to the successor, it is executed and answered normally."""
    scenario.order("open")
    scenario.real.turn_breaker(GATEWAY, 1, "closed")  # by a process that has not read the mode yet
    store.inject(method, Trouble(SystemExit(), after=after))
    reply = scenario.order("auto")
    scenario.run(1.0)
    assert scenario.address.deaths == 1
    ordered = [it for it in scenario.supervisor.of(ApplyBreakerMode) if it.reply is reply]
    assert [it.mode.mode for it in ordered] == ["auto"]
    assert ordered[0].newest is not None
    assert ordered[0].newest.record.state == "open"
    assert scenario.real.gateway_modes()[GATEWAY].mode == "auto"


def test_a_repeated_mode_is_answered_once(scenario: BreakerSync) -> None:
    """A repeated command whose reply is set: setting it twice would kill the actor."""
    reply: Future[Any] = Future()
    reply.set(None)
    scenario.tell(SetBreakerMode(GatewayMode(GATEWAY, "ajar", "again"), reply))
    scenario.run(1.0)
    assert scenario.address.deaths == 0


def test_a_mode_for_an_unknown_gateway_is_refused(scenario: BreakerSync) -> None:
    """It is neither stored nor applied; the caller gets a LookupError."""
    with pytest.raises(LookupError):
        scenario.order("open", gateway="gatewayZ").get(timeout=0)
    assert scenario.real.gateway_modes() == {}
    assert scenario.supervisor.of(ApplyBreakerMode) == []


def test_an_unknown_mode_is_not_stored(scenario: BreakerSync) -> None:
    """It is neither stored nor passed to the supervisor."""
    with pytest.raises(StoreError):
        scenario.order("ajar").get(timeout=0)
    assert scenario.supervisor.of(ApplyBreakerMode) == []
    assert scenario.address.deaths == 0
