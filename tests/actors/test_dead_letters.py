"""The dead-letter actor: finds what is due, whoever left it, when it is due, and is stopped by nothing."""

from __future__ import annotations

import pytest

from actors.intake import CLAIM_MAX
from actors.messages import Due, Room, Submit
from actors.runtime.simulated import SimulatedRuntime
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError
from store.sqlite.adapter import SqliteStore
from tests.actors.letters import LEASE_S, Scene
from tests.actors.support import GATEWAY, OWNER, Trouble, TroubledStore
from tests.store.builders import Customer


@pytest.fixture
def scene(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scene:
    """An actor that has not begun."""
    return Scene(runtime, store, real_store)


def test_what_is_queued_at_the_start_is_claimed(scene: Scene) -> None:
    """Unfinished work of earlier processes is leased to this one and given to the supervisor."""
    ids = scene.queued(3)
    scene.start()
    assert scene.claimed() == ids
    assert all(submit.claimed for submit in scene.supervisor.of(Submit))
    assert scene.real.work_counts() == {(GATEWAY, "leased"): 3}


def test_work_is_claimed_when_it_is_due_and_not_before(scene: Scene) -> None:
    """Work with a time is claimed at that time, whether or not anybody told of it."""
    scene.start()
    [told] = scene.queued(delay_s=2.0)
    scene.address.tell(Due(GATEWAY, 2.0))
    scene.run(1.9)
    assert scene.claimed() == []
    scene.run(0.3)
    assert scene.claimed() == [told]
    scene.address.tell(Room(GATEWAY))
    [untold] = scene.queued(first=2, delay_s=7.0)
    scene.run(6.9)
    assert scene.claimed() == [told]
    scene.run(LEASE_S / 3)
    assert scene.claimed() == [told, untold]


def test_an_earlier_time_moves_the_alarm_forward(scene: Scene) -> None:
    """The first of all times that it was told of counts, in whatever order it hears of them."""
    scene.start()
    scene.queued(1, first=1, delay_s=1.0)
    for delay_s in (4.0, 1.0, 3.0):
        scene.address.tell(Due(GATEWAY, delay_s))
    scene.run(1.2)
    assert scene.claimed() == ["t-0001"]


def test_one_batch_is_out_until_there_is_room(scene: Scene) -> None:
    """It claims at most CLAIM_MAX pieces of a gateway and no more of it until the supervisor says Room."""
    ids = scene.queued(CLAIM_MAX + 50)
    scene.start()
    scene.run(4 * LEASE_S)
    assert scene.claimed() == ids[:CLAIM_MAX]
    scene.address.tell(Room(GATEWAY))
    scene.run(0.0)
    assert sorted(scene.claimed()) == sorted(ids)


def test_one_gateways_batch_holds_up_no_other(scene: Scene, real_store: SqliteStore) -> None:
    """Room is each gateway's own."""
    scene.queued(CLAIM_MAX + 1)
    real_store.append([Customer("other").deposit("t-other", gateway="gatewayB")])
    scene.start()
    assert "t-other" in scene.claimed()


def test_the_work_of_a_dead_owner_is_taken_over(scene: Scene, real_store: SqliteStore) -> None:
    """All the time and not only at the start: once an owner was silent for a lease, its work goes on here."""
    scene.start()
    real_store.register_owner("dead")
    ids = scene.queued(2, owner="dead")
    scene.run(LEASE_S - 0.5)
    assert scene.claimed() == []
    scene.run(LEASE_S)
    assert scene.claimed() == ids
    assert all(item.token > 1 for item in scene.items())


def test_a_living_process_keeps_its_leases(scene: Scene) -> None:
    """The beat comes often enough that nobody holds this process for dead."""
    scene.start()
    for _ in range(20):
        scene.run(LEASE_S / 2)
        assert scene.real.release_dead(LEASE_S) == 0


def test_a_process_that_was_held_for_dead_begins_anew(scene: Scene, real_store: SqliteStore) -> None:
    """When others took this process for dead it registers again, and claims again."""
    scene.start()
    real_store.retire_owner(OWNER, unsent=True)
    ids = scene.queued(1)
    scene.run(LEASE_S)
    assert scene.claimed() == ids
    assert real_store.heartbeat(OWNER)


def test_a_process_that_only_accepts_claims_nothing(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """Without processing it beats, and leaves all work to others."""
    scene = Scene(runtime, store, real_store, processing=False)
    scene.queued(1)
    scene.start()
    scene.address.tell(Due(GATEWAY, 0.0))
    scene.run(4 * LEASE_S)
    assert scene.claimed() == []
    assert real_store.heartbeat(OWNER)


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), CorruptStoreError("odd"), RuntimeError("a defect")])
@pytest.mark.parametrize("method", ["heartbeat", "register_owner", "release_dead", "claim_work", "next_due_s"])
def test_a_failing_store_does_not_stop_it(scene: Scene, store: TroubledStore, method: str, error: Exception) -> None:
    """Whichever call fails, and however, it beats on and claims once the store works again."""
    scene.start()
    if method == "register_owner":
        scene.real.retire_owner(OWNER, unsent=True)
    store.befall(method, error, error)
    ids = scene.queued(2)
    scene.address.tell(Due(GATEWAY, 0.0))
    scene.run(6 * LEASE_S)
    assert store.troubles_left == 0
    assert scene.claimed() == ids
    assert scene.real.heartbeat(OWNER)


@pytest.mark.parametrize("method", ["heartbeat", "release_dead", "claim_work", "next_due_s"])
def test_a_store_that_always_fails_is_not_asked_without_end(scene: Scene, store: TroubledStore, method: str) -> None:
    """A defect that stays costs some calls for each beat: it must neither spin nor keep others from their turn."""
    store.befall(method, *[RuntimeError("a defect") for _ in range(20_000)])
    scene.queued(1)
    scene.address.start()
    until = scene.runtime.monotonic() + 60.0
    for _ in range(5_000):
        if not scene.runtime.step(until):
            break
    assert scene.runtime.monotonic() >= until - LEASE_S
    assert store.calls.count(method) < 200


@pytest.mark.parametrize("stored", [False, True])
def test_a_claim_whose_commit_is_uncertain_strands_no_work(scene: Scene, store: TroubledStore, *, stored: bool) -> None:
    """Work that was leased to this process without its knowledge is worked on all the same, in some beats' time."""
    ids = scene.queued(3)
    store.befall("claim_work", Trouble(CommitUncertainError("cut"), after=stored))
    scene.start()
    for _ in range(10):
        scene.run(LEASE_S)
        scene.address.tell(Room(GATEWAY))
    assert sorted(set(scene.claimed())) == ids


@pytest.mark.parametrize("stored", [False, True])
def test_a_claim_that_kills_its_actor_strands_no_work(scene: Scene, store: TroubledStore, *, stored: bool) -> None:
    """The same when the actor died of it: its successor does not know what was leased, and gives it all back."""
    ids = scene.queued(3)
    store.befall("claim_work", Trouble(SystemExit(), after=stored))
    scene.start()
    for _ in range(10):
        scene.run(LEASE_S)
        scene.address.tell(Room(GATEWAY))
    assert scene.address.deaths == 1
    assert sorted(set(scene.claimed())) == ids


def test_its_timers_do_not_pile_up(scene: Scene) -> None:
    """However often a near time comes before a far one, the number of timers that wait stays bounded."""
    scene.start()
    scene.queued(1, delay_s=80_000.0)
    for number in range(300):
        scene.queued(1, first=1_000 + number)
        scene.address.tell(Due(GATEWAY, 0.0))
        scene.run(0.2)
        scene.address.tell(Room(GATEWAY))
        scene.run(0.0)
    assert len(scene.claimed()) == 300
    assert len(scene.runtime._timers) < 50


def test_deaths_do_not_multiply_its_beats(scene: Scene, store: TroubledStore) -> None:
    """After many deaths there is one beat every third of a lease, not one for each life."""
    scene.start()
    for _ in range(20):
        store.befall("heartbeat", SystemExit())
        scene.run(LEASE_S)
    before = store.calls.count("heartbeat")
    scene.run(10 * LEASE_S)
    assert store.calls.count("heartbeat") - before <= 31
    assert scene.address.deaths > 0


@pytest.mark.parametrize("method", ["heartbeat", "release_dead"])
def test_readiness_follows_the_store(scene: Scene, method: str) -> None:
    """While the store refuses the beat, this process is not ready, and says why; with the next beat it is again."""
    scene.start()
    seen = [scene.health.problem]
    scene.store.befall(method, StoreUnavailableError("gone"))
    for _ in range(2):
        scene.run(LEASE_S / 3 + 0.1)
        seen.append(scene.health.problem)
    assert seen == [None, "The store does not answer: gone", None]


def test_nothing_is_claimed_while_the_service_stops(scene: Scene) -> None:
    """What becomes due then is left to the next process, without a lease that it would have to wait for."""
    scene.start()
    scene.intake.drain()
    scene.queued(3)
    scene.run(60.0)
    assert scene.claimed() == []
