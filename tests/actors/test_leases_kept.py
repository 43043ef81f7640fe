"""Leases that could not be given up: nobody here works on them, so all are given back with the next beat."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from actors.runtime.simulated import SimulatedRuntime
from domain.account import Status
from store.errors import CommitUncertainError, CorruptStoreError, SchemaError, StoreUnavailableError
from store.port import AppendResult, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.customers import Customers
from tests.actors.keyless import World
from tests.actors.letters import LEASE_S, Scene
from tests.actors.support import OWNER, TroubledStore

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
