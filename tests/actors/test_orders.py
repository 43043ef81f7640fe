"""Orders of people: dead letters done again, breakers held open or closed; durable, and answered once."""

from __future__ import annotations

from typing import Any

import pytest

from actors.messages import OrderMode, Recovered, RetryDead, Room, SetMode
from actors.runtime.actor import Reply
from actors.runtime.simulated import SimulatedRuntime
from store.errors import CommitUncertainError, CorruptStoreError, StoreError, StoreUnavailableError, UnstorableError
from store.port import Action, DeadLetterFilter, GatewayMode, WorkState, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.letters import LEASE_S, Scene
from tests.actors.support import GATEWAY, OWNER, Trouble, TroubledStore
from tests.store.builders import Customer, Step, move

AWAY = StoreUnavailableError("away")
DAY_S = 86_400.0


@pytest.fixture
def scene(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scene:
    """An actor that has begun."""
    scene = Scene(runtime, store, real_store)
    scene.start()
    return scene


def lay(
    scene: Scene, key: str, state: WorkState, *, gateway: str = GATEWAY, merchant: str = "main", **changes: Any
) -> str:
    """A dead letter that is due tomorrow."""
    customer = Customer(f"c-{key}", merchant)
    customer.now = scene.runtime.now()
    writes: list[Write] = [customer.deposit(key, gateway=gateway)]
    writes.append(customer.write(Step(work=(move(key, state=state, delay_s=DAY_S, attempts=5, **changes),))))
    scene.real.append(writes)
    return key


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (DeadLetterFilter(), ["a-dead", "a-parked", "b-dead"]),
        (DeadLetterFilter(state=WorkState.DEAD), ["a-dead", "b-dead"]),
        (DeadLetterFilter(state=WorkState.PARKED), ["a-parked"]),
        (DeadLetterFilter(gateway=GATEWAY), ["a-dead", "a-parked"]),
        (DeadLetterFilter(gateway="gatewayB", state=WorkState.PARKED), []),
        (DeadLetterFilter(gateway="gatewayC"), []),
        (DeadLetterFilter(work_id="a-parked"), ["a-parked"]),
        (DeadLetterFilter(work_id="queued"), []),
        (DeadLetterFilter(work_id="theirs"), []),
        (DeadLetterFilter(work_id="unconfigured"), []),
        (DeadLetterFilter(work_id="nobody"), []),
    ],
)
def test_dead_letters_are_done_again_at_once(scene: Scene, where: DeadLetterFilter, expected: list[str]) -> None:
    """Those of the merchant that fit, and no others, go to the supervisor; the answer is how many they are."""
    lay(scene, "a-dead", WorkState.DEAD)
    lay(scene, "a-parked", WorkState.PARKED)
    lay(scene, "b-dead", WorkState.DEAD, gateway="gatewayB")
    lay(scene, "queued", WorkState.QUEUED)
    lay(scene, "theirs", WorkState.DEAD, merchant="other")
    lay(scene, "unconfigured", WorkState.DEAD, gateway="gatewayC")  # nobody would do it, and no list would show it
    reply = scene.retry(where)
    assert reply.get(timeout=0) == len(expected)
    assert sorted(scene.claimed()) == expected
    assert all(item.attempts == 5 for item in scene.items())
    assert scene.retry(where).get(timeout=0) == 0
    assert scene.real.dead_letter("main", "unconfigured") is not None


def test_an_order_that_is_half_carried_out_does_not_say_that_nothing_has_changed(
    scene: Scene, store: TroubledStore
) -> None:
    """It is carried out gateway by gateway; what the first of them has back is done, whatever the next one meets."""
    lay(scene, "x", WorkState.PARKED)
    lay(scene, "y", WorkState.PARKED, gateway="gatewayB")
    store.befall("retry_dead", None, AWAY)
    with pytest.raises(TimeoutError):
        scene.retry().get(timeout=0)
    scene.run(LEASE_S)
    assert len(scene.claimed()) == 1
    assert scene.retry().get(timeout=0) == 1
    assert sorted(scene.claimed()) == ["x", "y"]


def test_what_is_ordered_while_there_is_no_room_waits_for_some(scene: Scene) -> None:
    """The order is carried out in the store; the supervisor gets no more than it asked for."""
    scene.queued(1)
    scene.run(LEASE_S)
    assert len(scene.claimed()) == 1
    lay(scene, "x", WorkState.PARKED)
    assert scene.retry().get(timeout=0) == 1
    assert len(scene.claimed()) == 1
    scene.address.tell(Room(GATEWAY))
    scene.run(0.0)
    assert scene.claimed()[-1] == "x"


@pytest.mark.parametrize("error", [AWAY, CorruptStoreError("odd"), RuntimeError("a defect"), UnstorableError("no")])
@pytest.mark.parametrize("method", ["retry_dead", "set_gateway_mode"])
def test_an_order_that_the_store_fails_at_is_answered_with_its_error(
    scene: Scene, store: TroubledStore, method: str, error: Exception
) -> None:
    """Nobody waits in vain, nothing has changed, and the actor beats on."""
    lay(scene, "x", WorkState.PARKED)
    store.befall(method, error)
    reply: Reply[Any] = scene.retry() if method == "retry_dead" else scene.order("open")
    with pytest.raises(type(error)):
        reply.get(timeout=0)
    assert scene.claimed() == []
    assert scene.supervisor.of(SetMode) == []
    assert scene.real.gateway_modes() == {}
    assert scene.address.deaths == 0
    scene.run(LEASE_S)
    assert scene.real.heartbeat(OWNER)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("method", ["retry_dead", "set_gateway_mode"])
def test_an_order_of_which_nobody_knows_the_end_says_so(
    scene: Scene, store: TroubledStore, method: str, *, stored: bool
) -> None:
    """A store error would mean that nothing has changed, and that may be false."""
    lay(scene, "x", WorkState.PARKED)
    store.befall(method, Trouble(CommitUncertainError("cut"), after=stored))
    reply: Reply[Any] = scene.retry() if method == "retry_dead" else scene.order("open")
    with pytest.raises(TimeoutError):
        reply.get(timeout=0)
    scene.run(LEASE_S)
    assert [mode.mode.mode for mode in scene.supervisor.of(SetMode)[:1]] == (
        ["open"] if method == "set_gateway_mode" and stored else []
    )
    assert scene.claimed() == (["x"] if method == "retry_dead" and stored else [])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["retry_dead", "set_gateway_mode"])
def test_an_order_that_kills_is_carried_out_and_answered_once(
    scene: Scene, store: TroubledStore, method: str, *, after: bool
) -> None:
    """Redelivered to the successor it is done, and answered, as if nothing had been."""
    lay(scene, "x", WorkState.PARKED)
    store.befall(method, Trouble(SystemExit(), after=after))
    reply: Reply[Any] = scene.retry() if method == "retry_dead" else scene.order("open")
    scene.run(LEASE_S)
    assert scene.address.deaths == 1
    if method == "retry_dead":
        assert reply.get(timeout=0) in {0, 1}
        assert scene.claimed() == ["x"]
    else:
        assert scene.supervisor.of(SetMode)[0] == SetMode(GatewayMode(GATEWAY, "open", "maintenance"), reply)
        assert scene.real.gateway_modes()[GATEWAY].mode == "open"


@pytest.mark.parametrize("message", [RetryDead, OrderMode])
def test_an_order_that_comes_twice_is_answered_once(scene: Scene, message: type) -> None:
    """Also when its answer is there already: to set it twice would kill the actor."""
    lay(scene, "x", WorkState.PARKED)
    reply: Reply[Any] = Reply()
    reply.set(0)
    order = (
        RetryDead("main", DeadLetterFilter(), reply)
        if message is RetryDead
        else OrderMode(GatewayMode(GATEWAY, "open", "again"), reply)
    )
    scene.address.tell(order)
    scene.run(1.0)
    assert scene.address.deaths == 0
    assert reply.get(timeout=0) == 0


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut"), RuntimeError("a defect")])
def test_lookups_that_cannot_be_pulled_forward_disturb_nobody(
    scene: Scene, store: TroubledStore, error: Exception
) -> None:
    """Then they are made when it was planned; the actor beats on and claims."""
    store.befall("hasten_lookups", error)
    scene.address.tell(Recovered(GATEWAY))
    scene.run(0.0)
    ids = scene.queued(1)
    scene.run(LEASE_S)
    assert scene.claimed() == ids


def test_a_recovered_gateway_is_asked_at_once(scene: Scene) -> None:
    """All its open lookups are claimed now; other gateways' and dead letters keep their time."""
    lay(scene, "lookup", WorkState.QUEUED, action=Action.RESOLVE)
    lay(scene, "theirs", WorkState.QUEUED, action=Action.RESOLVE, gateway="gatewayB")
    lay(scene, "dead", WorkState.DEAD)
    lay(scene, "retry", WorkState.QUEUED)
    scene.address.tell(Recovered(GATEWAY))
    scene.run(LEASE_S)
    assert scene.claimed() == ["lookup"]


def test_a_mode_is_kept_before_it_holds(scene: Scene) -> None:
    """The supervisor hears of it once it is in the store, with whoever waits for the answer."""
    seen: list[dict[str, GatewayMode]] = []
    tell = scene.supervisor.tell

    def told(message: object) -> None:
        seen.append(scene.real.gateway_modes())
        tell(message)

    scene.supervisor.tell = told  # type: ignore[method-assign]
    reply = scene.order("open")
    order = GatewayMode(GATEWAY, "open", "maintenance")
    assert seen == [{GATEWAY: order}]
    assert scene.supervisor.of(SetMode) == [SetMode(order, reply)]
    assert not reply.done


def test_an_order_for_no_gateway_is_refused(scene: Scene) -> None:
    """It is neither kept nor told: whoever gave it is told that there is none of that name."""
    reply = scene.order("open", gateway="gatewayZ")
    with pytest.raises(LookupError):
        reply.get(timeout=0)
    assert scene.real.gateway_modes() == {}
    assert scene.supervisor.of(SetMode) == []


def test_a_mode_that_is_none_is_refused(scene: Scene) -> None:
    """The store keeps it not, and the supervisor never hears of it."""
    reply = scene.order("ajar")
    with pytest.raises(StoreError):
        reply.get(timeout=0)
    assert scene.supervisor.of(SetMode) == []
    assert scene.address.deaths == 0


def test_what_another_process_was_ordered_holds_here_with_the_next_beat(scene: Scene) -> None:
    """Orders are read again at each beat; one for a gateway that is not configured here is left alone."""
    scene.real.set_gateway_mode(GatewayMode(GATEWAY, "closed", "elsewhere"))
    scene.real.set_gateway_mode(GatewayMode("gatewayZ", "open", "gone"))
    scene.run(LEASE_S / 3 + 0.5)
    assert scene.supervisor.of(SetMode) == [SetMode(GatewayMode(GATEWAY, "closed", "elsewhere"))]


def test_orders_that_cannot_be_read_stop_no_beat(scene: Scene, store: TroubledStore) -> None:
    """The process lives and claims on; that it is not ready it says."""
    store.befall("gateway_modes", AWAY, CorruptStoreError("odd"), RuntimeError("a defect"))
    ids = scene.queued(1)
    scene.run(LEASE_S / 3 + 0.5)
    problems = [scene.health.problem]
    scene.run(LEASE_S)
    problems.append(scene.health.problem)
    assert scene.claimed() == ids
    assert problems[0]
    assert problems[1] is None
    assert scene.real.heartbeat(OWNER)
