"""Orders of people that dead letters be done again: durable, and answered once."""

from __future__ import annotations

from typing import Any

import pytest

from actors.messages import Recovered, RetryDead, Room
from actors.runtime.actor import Reply
from actors.runtime.simulated import SimulatedRuntime
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError, UnstorableError
from store.port import Action, DeadLetterFilter, WorkState, Write
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
def test_an_order_that_the_store_fails_at_is_answered_with_its_error(
    scene: Scene, store: TroubledStore, error: Exception
) -> None:
    """Nobody waits in vain, nothing has changed, and the actor beats on."""
    lay(scene, "x", WorkState.PARKED)
    store.befall("retry_dead", error)
    reply = scene.retry()
    with pytest.raises(type(error)):
        reply.get(timeout=0)
    assert scene.claimed() == []
    assert scene.address.deaths == 0
    scene.run(LEASE_S)
    assert scene.real.heartbeat(OWNER)


@pytest.mark.parametrize("stored", [False, True])
def test_an_order_of_which_nobody_knows_the_end_says_so(scene: Scene, store: TroubledStore, *, stored: bool) -> None:
    """A store error would mean that nothing has changed, and that may be false."""
    lay(scene, "x", WorkState.PARKED)
    store.befall("retry_dead", Trouble(CommitUncertainError("cut"), after=stored))
    reply = scene.retry()
    with pytest.raises(TimeoutError):
        reply.get(timeout=0)
    scene.run(LEASE_S)
    assert scene.claimed() == (["x"] if stored else [])


@pytest.mark.parametrize("after", [False, True])
def test_an_order_that_kills_is_carried_out_and_answered_once(
    scene: Scene, store: TroubledStore, *, after: bool
) -> None:
    """Redelivered to the successor it is done, and answered, as if nothing had been."""
    lay(scene, "x", WorkState.PARKED)
    store.befall("retry_dead", Trouble(SystemExit(), after=after))
    reply = scene.retry()
    scene.run(LEASE_S)
    assert scene.address.deaths == 1
    assert reply.get(timeout=0) in {0, 1}
    assert scene.claimed() == ["x"]


def test_an_order_that_comes_twice_is_answered_once(scene: Scene) -> None:
    """Also when its answer is there already: to set it twice would kill the actor."""
    lay(scene, "x", WorkState.PARKED)
    reply: Reply[int] = Reply()
    reply.set(0)
    order = RetryDead("main", DeadLetterFilter(), reply)
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
