"""Leases that could not be given up: nobody here works on them, so all are given back with the next beat."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.dead_letters import BEAT_MAX_S, LANDS_WITHIN_S
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Status
from store.errors import CommitUncertainError, CorruptStoreError, SchemaError, StoreUnavailableError
from store.port import AppendResult, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.customers import Customers
from tests.actors.keyless import World
from tests.actors.letters import LEASE_S, Scene
from tests.actors.support import GATEWAY, OWNER, TroubledStore

AWAY = StoreUnavailableError("away")
BEAT_S = LEASE_S / 3


@pytest.fixture
def scene(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scene:
    """An actor that has begun, in a process that holds two leases."""
    scene = Scene(runtime, store, real_store)
    scene.start()
    scene.queued(2, owner=OWNER)
    return scene


def given_back(scene: Scene) -> int:
    """How often the process's leases were given back."""
    return scene.store.calls.count("retire_owner")


def test_all_leases_are_given_back_once(scene: Scene) -> None:
    """With the next beat, not before and not again after it; whatever was leased is claimed anew."""
    scene.run(LEASE_S)
    assert (scene.claimed(), given_back(scene)) == ([], 0)
    scene.health.doubt_leases()
    scene.run(BEAT_S + 0.1)
    assert scene.claimed() == ["t-0001", "t-0002"]
    scene.run(3 * LEASE_S)
    assert given_back(scene) == 1
    assert scene.real.heartbeat(OWNER)


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut"), RuntimeError("a defect"), SystemExit()])
def test_a_store_that_does_not_take_them_back_is_asked_again(scene: Scene, error: BaseException) -> None:
    """However it fails, and whoever dies of it: the doubt outlives that."""
    scene.store.befall("retire_owner", error, error)
    scene.health.doubt_leases()
    scene.run(4 * BEAT_S)
    assert scene.store.troubles_left == 0
    assert scene.claimed() == ["t-0001", "t-0002"]
    assert given_back(scene) == 3


def test_a_lease_that_is_kept_at_that_moment_is_not_forgotten(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said while the others are given back may have come too late for that, and counts for the next beat."""
    retire = scene.store.retire_owner
    said: list[str] = []

    def retiring(owner: str, *, unsent: bool) -> int:
        count = retire(owner, unsent=unsent)
        if not said:
            said.append(owner)
            scene.health.doubt_leases()
        return count

    monkeypatch.setattr(scene.store, "retire_owner", retiring)
    scene.health.doubt_leases()
    scene.run(5 * BEAT_S)
    assert given_back(scene) == 2


@pytest.mark.parametrize("uncertain", [False, True])
def test_whoever_gives_leases_back_is_not_called_dead(
    scene: Scene, caplog: pytest.LogCaptureFixture, *, uncertain: bool
) -> None:
    """The process goes on as the owner that it is: a line that says otherwise sends people after a fault."""
    if uncertain:
        scene.store.befall("claim_work", CommitUncertainError("cut"))
    else:
        scene.health.doubt_leases()
    with caplog.at_level(logging.WARNING):
        scene.run(3 * BEAT_S)
    assert given_back(scene) == 1
    assert [record.message for record in caplog.records if "dead" in record.message] == []


@pytest.mark.parametrize(
    "error", [None, AWAY, CommitUncertainError("cut"), CorruptStoreError("odd"), RuntimeError("a defect"), SystemExit()]
)
def test_who_cannot_give_a_lease_up_says_so(
    keyless: Customers, store: TroubledStore, error: BaseException | None
) -> None:
    """However the store fails at it; and nobody says so of one that was given up, or is somebody else's."""
    item = keyless.deposited()
    assert item.transaction is not None
    odd = replace(item, transaction=replace(item.transaction, transaction_id="nobody"))
    if error is not None:
        store.befall("append", *[error] * 50)
    keyless.submit(odd)
    keyless.run(60.0)
    assert [cleared.item for cleared in keyless.cleared()] == [None]
    assert (keyless.leases_kept > 0) is (error is not None)


@pytest.mark.parametrize(
    "error", [RuntimeError("a defect"), MemoryError(), CorruptStoreError("bad page"), SchemaError("SQLError")]
)
def test_work_goes_on_after_a_store_that_failed_at_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Half a minute of errors that nobody expects, just after a deposit was stored: then it is sent, once."""
    world = World(tmp_path, 1, fates=("answered",))
    [key] = world.send()
    while not world.real.work_counts():
        world.runtime.step()
    append, until = world.store.append, world.runtime.monotonic() + 30.0

    def failing(writes: Sequence[Write]) -> list[AppendResult]:
        if world.runtime.monotonic() < until:
            raise error
        return append(writes)

    monkeypatch.setattr(world.store, "append", failing)
    world.run(60.0)
    assert world.statuses() == {key: Status.COMPLETED}
    world.judge()


def test_who_has_retired_holds_no_lease_any_more(scene: Scene) -> None:
    """A beat that comes after the end does not begin again: an owner without a process would keep what it gets."""
    scene.health.retired = True
    scene.real.retire_owner(OWNER, unsent=True)
    scene.run(10 * LEASE_S)
    assert not scene.real.heartbeat(OWNER)
    assert scene.address.deaths == 0


@pytest.mark.parametrize("again", ["heartbeat", "retire_owner"])
def test_who_retires_amid_a_beat_stays_retired(scene: Scene, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    """Also when the beat was under way: whatever finds the owner gone knows why."""
    original = getattr(scene.store, again)

    def amid(*arguments: Any, **more: Any) -> Any:
        scene.health.retired = True
        scene.real.retire_owner(OWNER, unsent=True)
        return original(*arguments, **more)

    monkeypatch.setattr(scene.store, again, amid)
    scene.health.doubt_leases()
    scene.run(LEASE_S)
    assert not scene.real.heartbeat(OWNER)


def test_a_long_lease_does_not_make_anybody_wait(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """What another process gives back is found within seconds, however long leases are."""
    scene = Scene(runtime, store, real_store, lease_s=3_600.0)
    scene.start()
    scene.queued()
    scene.run(BEAT_MAX_S + 0.1)
    assert scene.claimed() == ["t-0001"]


@pytest.mark.parametrize("late_s", [0.1, 4.0, 10.0])
def test_a_claim_that_lands_late_is_given_back_all_the_same(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore, late_s: float
) -> None:
    """A cut claim may still be carried out after its process gave back whatever it might have got."""
    scene = Scene(runtime, store, real_store)
    store.befall("claim_work", CommitUncertainError("cut"), CommitUncertainError("cut"))  # of either gateway
    scene.start()
    scene.run(late_s)
    scene.intake.claimable[GATEWAY] = 0
    scene.queued()
    (late,) = scene.real.claim_work(OWNER, GATEWAY, 10)  # what the process never hears of
    scene.intake.claimable[GATEWAY] = 10
    scene.run(LANDS_WITHIN_S + BEAT_S)
    assert scene.claimed() == [late.work_id]
