"""The actor that shares the breakers: what others did is told, what happens here is kept, and people are obeyed."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from actors.messages import BreakerSeen, OrderMode, ProbeWanted, SetMode, Turned
from actors.runtime.actor import Reply
from actors.runtime.simulated import SimulatedRuntime
from actors.shared_breakers import ALL_AGAIN_BEATS, SHARE_S
from store.errors import CommitUncertainError, CorruptStoreError, StoreError, StoreUnavailableError, UnstorableError
from store.port import BreakerRecord, GatewayMode
from store.sqlite.adapter import SqliteStore
from tests.actors.sharing import TIMES, Scene
from tests.actors.support import GATEWAY, OWNER, Trouble, TroubledStore

AWAY = StoreUnavailableError("away")
ROUND_S = ALL_AGAIN_BEATS * SHARE_S


@pytest.fixture
def scene(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scene:
    """An actor that has begun."""
    return Scene(runtime, store, real_store)


def told(scene: Scene) -> list[tuple[int, str, str | None]]:
    """Epoch, state and prober of each record that the supervisor was told by itself."""
    return [(it.record.epoch, it.record.state, it.record.prober) for it in scene.supervisor.of(BreakerSeen)]


def modes(scene: Scene) -> list[str]:
    """The modes that the supervisor was told."""
    return [it.mode.mode for it in scene.supervisor.of(SetMode)]


# what the others do


def test_what_another_process_made_of_a_breaker_is_told_with_the_next_beat(scene: Scene) -> None:
    """Once for each change, with when it was asked; of a gateway that is not configured here nothing is."""
    scene.real.turn_breaker("gatewayZ", 0, "open")
    scene.real.turn_breaker(GATEWAY, 0, "open")
    before = scene.runtime.monotonic()
    scene.run(SHARE_S)
    [seen] = scene.supervisor.messages
    assert (seen.record.epoch, seen.record.state) == (1, "open")
    assert before <= seen.asked_at <= scene.runtime.monotonic()
    scene.run(2 * SHARE_S)
    assert len(scene.supervisor.messages) == 1
    scene.real.turn_breaker(GATEWAY, 1, "closed")
    scene.run(SHARE_S)
    assert told(scene) == [(1, "open", None), (2, "closed", None)]


def test_everything_is_told_again_now_and_then(scene: Scene) -> None:
    """A message may be given up on its way; and whoever begins anew is told everything."""
    scene.real.set_gateway_mode(GatewayMode("gatewayB", "open", "elsewhere"))
    scene.real.turn_breaker(GATEWAY, 0, "open")
    scene.run(2 * ROUND_S)
    assert told(scene) == [(1, "open", None)] * 3
    assert modes(scene) == ["open"] * 3


def test_what_another_process_was_ordered_holds_here_with_the_next_beat(scene: Scene) -> None:
    """With the record, no older than the order; one for a gateway that is not configured here is left alone."""
    scene.real.turn_breaker(GATEWAY, 0, "closed")
    scene.real.set_gateway_mode(GatewayMode(GATEWAY, "closed", "elsewhere"))
    scene.real.set_gateway_mode(GatewayMode("gatewayZ", "open", "gone"))
    scene.run(2 * SHARE_S)
    [told_mode] = scene.supervisor.messages
    assert told_mode.mode == GatewayMode(GATEWAY, "closed", "elsewhere")
    assert told_mode.seen.record.epoch == 1


def test_a_store_that_is_away_is_complained_of_once(
    scene: Scene, store: TroubledStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Each beat tries again, and each outage is one line; a defect of it is no death, either."""
    with caplog.at_level(logging.WARNING):
        for method, error in (("breakers", AWAY), ("gateway_modes", CorruptStoreError("odd")), ("breakers", OSError())):
            store.befall(method, *[error] * 3)
            scene.run(5 * SHARE_S)
    assert len(caplog.records) == 3
    assert scene.address.deaths == 0
    scene.real.turn_breaker(GATEWAY, 0, "open")
    scene.run(SHARE_S)
    assert told(scene)[-1] == (1, "open", None)


# what happens here


def test_what_the_breaker_came_to_here_is_kept_and_told_back(scene: Scene) -> None:
    """Whoever was first: the supervisor hears how the record is now."""
    scene.tell(Turned(GATEWAY, 0, "open"))
    scene.tell(Turned(GATEWAY, 0, "open"))
    assert told(scene) == [(1, "open", None)] * 2
    scene.real.turn_breaker(GATEWAY, 1, "closed")
    scene.tell(Turned(GATEWAY, 1, "open"))
    assert told(scene)[-1] == (2, "closed", None)


def test_the_probe_is_taken_for_this_process(scene: Scene) -> None:
    """Once the sleep is over, with a permit as long as a call may take; if another one has it, his name is told."""
    scene.tell(Turned(GATEWAY, 0, "open"))
    scene.run(TIMES.sleep_s / 2)
    scene.tell(ProbeWanted(GATEWAY, 1))
    assert told(scene)[-1] == (1, "open", None)
    scene.run(TIMES.sleep_s / 2)
    asked_at = scene.runtime.monotonic()
    scene.tell(ProbeWanted(GATEWAY, 1))
    seen = scene.supervisor.of(BreakerSeen)[-1]
    assert seen == BreakerSeen(BreakerRecord(GATEWAY, 2, "half_open", 0.0, OWNER, TIMES.permit_s), asked_at)
    scene.real.turn_breaker("gatewayB", 0, "open")
    scene.run(TIMES.sleep_s)
    scene.real.take_probe("gatewayB", 1, "another", sleep_s=0.0, permit_s=99.0)
    scene.tell(ProbeWanted("gatewayB", 1))
    assert told(scene)[-1] == (2, "half_open", "another")


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut")])
@pytest.mark.parametrize("message", [Turned(GATEWAY, 0, "open"), ProbeWanted(GATEWAY, 0)])
def test_what_cannot_be_kept_is_dropped(
    scene: Scene, store: TroubledStore, message: Turned | ProbeWanted, error: Exception
) -> None:
    """The supervisor says it again; nobody dies of it."""
    store.befall("turn_breaker", error)
    store.befall("take_probe", error)
    scene.tell(message)
    assert (scene.supervisor.messages, scene.address.deaths) == ([], 0)
    scene.tell(message)
    assert len(scene.supervisor.of(BreakerSeen)) == 1


# what people order


def test_a_mode_is_kept_before_it_holds(scene: Scene) -> None:
    """The supervisor hears of it once it is in the store, with whoever waits for the answer, and the record."""
    seen: list[dict[str, GatewayMode]] = []
    tell = scene.supervisor.tell

    def told_first(message: object) -> None:
        seen.append(scene.real.gateway_modes())
        tell(message)

    scene.supervisor.tell = told_first  # type: ignore[method-assign]
    reply = scene.order("open")
    order = GatewayMode(GATEWAY, "open", "maintenance")
    assert seen[0] == {GATEWAY: order}
    [told_mode] = scene.supervisor.of(SetMode)
    assert (told_mode.mode, told_mode.reply) == (order, reply)
    assert told_mode.seen is not None
    assert (told_mode.seen.record.epoch, told_mode.seen.record.state) == (1, "open")
    assert not reply.done


@pytest.mark.parametrize("mode", ["open", "closed"])
@pytest.mark.parametrize("before", ["closed", "open", "half_open"])
def test_what_is_ordered_is_what_everybody_begins_with_afterwards(scene: Scene, before: str, mode: str) -> None:
    """The record says so from the order on, and at the latest when the breaker is left to itself again."""
    if before != "closed":
        scene.real.turn_breaker(GATEWAY, 0, "open")
    if before == "half_open":
        scene.real.take_probe(GATEWAY, 1, "another", sleep_s=0.0, permit_s=5.0)
    scene.order(mode)
    assert scene.real.breakers().get(GATEWAY, BreakerRecord(GATEWAY)).state == mode
    scene.order("auto")
    told_mode = scene.supervisor.of(SetMode)[-1]
    assert told_mode.seen is not None
    assert told_mode.seen.record.state == mode


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut"), RuntimeError("a defect")])
@pytest.mark.parametrize("mode", ["open", "closed"])
def test_an_order_that_is_kept_holds_whatever_becomes_of_the_record(
    scene: Scene, store: TroubledStore, mode: str, error: Exception
) -> None:
    """It is made good for before the breaker is left to itself again; if that fails, that order is not kept."""
    if mode == "closed":
        scene.real.turn_breaker(GATEWAY, 0, "open")
    store.befall("turn_breaker", error)
    scene.order(mode)
    assert (modes(scene), scene.real.gateway_modes()[GATEWAY].mode) == ([mode], mode)
    store.befall("turn_breaker", error)
    with pytest.raises((type(error), TimeoutError)):
        scene.order("auto").get(timeout=0)
    assert (modes(scene), scene.real.gateway_modes()[GATEWAY].mode) == ([mode], mode)
    scene.order("auto")
    assert (modes(scene), scene.real.gateway_modes()[GATEWAY].mode) == ([mode, "auto"], "auto")
    assert scene.real.breakers()[GATEWAY].state == mode


def test_an_order_whose_record_others_turn_meanwhile_is_tried_again(scene: Scene, store: TroubledStore) -> None:
    """Until the record says what was ordered; but not for ever."""
    scene.order("open")
    others = [True] * 2
    turn = store.turn_breaker

    def in_between(gateway: str, epoch: int, state: str) -> BreakerRecord:
        if others and others.pop():
            scene.real.turn_breaker(gateway, epoch, "open")
        return turn(gateway, epoch, state)

    store.turn_breaker = in_between  # type: ignore[method-assign]
    scene.order("closed")
    assert scene.real.breakers()[GATEWAY].state == "closed"
    assert scene.real.breakers()[GATEWAY].epoch == 4


@pytest.mark.parametrize("error", [AWAY, CorruptStoreError("odd"), RuntimeError("a defect"), UnstorableError("no")])
def test_an_order_that_the_store_fails_at_is_answered_with_its_error(
    scene: Scene, store: TroubledStore, error: Exception
) -> None:
    """Nobody waits in vain, nothing has changed, and the actor lives on."""
    store.befall("set_gateway_mode", error)
    with pytest.raises(type(error)):
        scene.order("open").get(timeout=0)
    assert scene.supervisor.of(SetMode) == []
    assert (scene.real.gateway_modes(), scene.real.breakers()) == ({}, {})
    assert scene.address.deaths == 0


@pytest.mark.parametrize("stored", [False, True])
def test_an_order_of_which_nobody_knows_the_end_says_so(scene: Scene, store: TroubledStore, *, stored: bool) -> None:
    """A store error would mean that nothing has changed, and that may be false; the next beat tells."""
    store.befall("set_gateway_mode", Trouble(CommitUncertainError("cut"), after=stored))
    with pytest.raises(TimeoutError):
        scene.order("open").get(timeout=0)
    scene.run(SHARE_S)
    assert modes(scene) == (["open"] if stored else [])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["set_gateway_mode", "turn_breaker", "breakers"])
def test_an_order_that_kills_is_carried_out_and_answered_once(
    scene: Scene, store: TroubledStore, method: str, *, after: bool
) -> None:
    """Redelivered to the successor it is done, and answered, as if nothing had been."""
    scene.order("open")
    scene.real.turn_breaker(GATEWAY, 1, "closed")  # by somebody who has not heard of the order yet
    store.befall(method, Trouble(SystemExit(), after=after))
    reply = scene.order("auto")
    scene.run(1.0)
    assert scene.address.deaths == 1
    ordered = [it for it in scene.supervisor.of(SetMode) if it.reply is reply]
    assert [it.mode.mode for it in ordered] == ["auto"]
    assert ordered[0].seen is not None
    assert ordered[0].seen.record.state == "open"
    assert scene.real.gateway_modes()[GATEWAY].mode == "auto"


def test_an_order_that_comes_twice_is_answered_once(scene: Scene) -> None:
    """Also when its answer is there already: to set it twice would kill the actor."""
    reply: Reply[Any] = Reply()
    reply.set(None)
    scene.tell(OrderMode(GatewayMode(GATEWAY, "ajar", "again"), reply))
    scene.run(1.0)
    assert scene.address.deaths == 0


def test_an_order_for_no_gateway_is_refused(scene: Scene) -> None:
    """It is neither kept nor told: whoever gave it is told that there is none of that name."""
    with pytest.raises(LookupError):
        scene.order("open", gateway="gatewayZ").get(timeout=0)
    assert scene.real.gateway_modes() == {}
    assert scene.supervisor.of(SetMode) == []


def test_a_mode_that_is_none_is_refused(scene: Scene) -> None:
    """The store keeps it not, and the supervisor never hears of it."""
    with pytest.raises(StoreError):
        scene.order("ajar").get(timeout=0)
    assert scene.supervisor.of(SetMode) == []
    assert scene.address.deaths == 0
