"""A whole payment system at a gateway without keys, in virtual time: at most one effect, wherever it dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.account import Status
from domain.events import OutcomeUnknown
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import DeliveryCertainty, WorkState
from tests.actors.support import GATEWAY, Trouble
from tests.actors.system.keyless_world import DAY_S, SETTLE_S, TIMEOUT_S, World


@pytest.mark.parametrize("steps", [*range(40), *range(40, 80, 4)])
def test_a_successor_finishes_with_at_most_one_effect(tmp_path: Path, steps: int) -> None:
    """Wherever the process ended, every deposit on record ends, and none is paid twice."""
    world = World(tmp_path, steps)
    world.send(5)
    world.steps(steps)
    world.crash()
    world.finish()
    world.judge()


@pytest.mark.parametrize("seed", range(20))
def test_many_deaths_make_no_second_effect(tmp_path: Path, seed: int) -> None:
    """This holds however often and wherever processes die, with deposits in between."""
    world = World(tmp_path, seed)
    for _ in range(6):
        world.send(world.chance.randrange(4))
        world.steps(world.chance.randrange(60))
        if world.chance.random() < 0.3:
            world.run(world.chance.choice([1.0, 10.0, 40.0, 70.0, 700.0]))
        world.crash(world.chance.choice([0.1, 1.0, 30.0, 100.0, 30_000.0]))
    world.finish()
    world.judge()


@pytest.mark.parametrize("seed", [*range(20), 1360])
def test_a_store_that_fails_makes_no_second_effect(tmp_path: Path, seed: int) -> None:
    """Commits that fail or are uncertain, before and after they are stored."""
    world = World(tmp_path, seed)
    troubles = [
        None,
        StoreUnavailableError("away"),
        Trouble(CommitUncertainError("cut")),
        Trouble(CommitUncertainError("cut"), after=True),
        Trouble(RuntimeError("a defect"), after=True),
        Trouble(SystemExit(), after=True),
    ]
    for _ in range(4):
        for method in ("append", "append", "append", "load", "claim_work"):
            laid = [None] * 3 + [world.chance.choice(troubles[: 2 if method == "load" else 6]) for _ in range(6)]
            world.chance.shuffle(laid)
            world.store.inject(method, *laid)
        world.send(3)
        world.run(world.chance.choice([0.0, 1.0, 70.0]))
    world.finish()
    world.judge()


def test_what_is_queued_for_the_whole_wait_is_not_sent_again(tmp_path: Path) -> None:
    """Until the sender's deadline and the settlement delay have passed, "not found" is no reason to pay again."""
    world = World(tmp_path, 1, fates=("queued",))
    ids = world.send(6)
    world.finish()
    world.judge()
    assert [world.provider.sendings[key] for key in ids] == [1] * 6


@pytest.mark.parametrize("at_s", [0.0, 1.0, 30.0, 64.0])
def test_a_successor_waits_the_whole_time_again(tmp_path: Path, at_s: float) -> None:
    """What the dead process sent may still be in a queue: its successor counts from its own start."""
    world = World(tmp_path, 1, fates=("lost",))
    [key] = world.send()
    while not world.provider.sendings[key]:
        world.runtime.step()
    world.run(at_s)
    world.crash(0.1)
    began = world.runtime.monotonic()
    world.provider.fate = lambda _: "answered"
    while world.provider.sendings[key] < 2:
        world.runtime.step()
    assert world.runtime.monotonic() >= began + TIMEOUT_S + SETTLE_S
    world.finish()
    world.judge()


def test_what_was_lost_is_sent_again_soon_after_that(tmp_path: Path) -> None:
    """Once "never received" counts, the deposit does not wait for the rest of the schedule."""
    world = World(tmp_path, 1, fates=("lost",))
    [key] = world.send()
    world.run(TIMEOUT_S + SETTLE_S - 1.0)
    assert world.provider.sendings[key] == 1
    world.provider.fate = lambda _: "answered"
    world.run(40.0)
    assert world.statuses() == {key: Status.COMPLETED}
    assert world.submitted(key) == 2


@pytest.mark.parametrize("jump_s", [-7200.0, 7200.0, 3 * DAY_S])
def test_a_wall_clock_that_jumps_sends_nothing_early(tmp_path: Path, jump_s: float) -> None:
    """The wait is real time; early lookups give no result that counts."""
    world = World(tmp_path, 1, fates=("queued",))
    ids = world.send(3)
    world.run(1.0)
    world.runtime.wall_offset_s += jump_s
    world.run(TIMEOUT_S + SETTLE_S)
    assert [world.provider.sendings[key] for key in ids] == [1] * 3
    world.finish()
    assert set(world.statuses().values()) == {Status.COMPLETED}
    assert max(world.provider.effects().values()) == 1


def test_a_sending_that_was_refused_is_tried_again_without_a_lookup(tmp_path: Path) -> None:
    """What was surely not sent is not in doubt: it never becomes unknown, and it stays discardable."""
    world = World(tmp_path, 1, fates=("refused",))
    [key] = world.send()
    world.run(600.0)
    assert world.statuses() == {key: Status.PENDING}
    assert not [recorded for recorded in world.events() if isinstance(recorded.event, OutcomeUnknown)]
    assert world.submitted(key) > 3
    world.provider.fate = lambda _: "answered"
    world.finish()
    world.judge()


def test_a_gateway_without_lookups_is_reviewed_and_never_sent_again(tmp_path: Path) -> None:
    """Neither lookup nor key: the status stays unknown, one review is open, and nothing is sent again."""
    world = World(tmp_path, 1, fates=("silent",))
    world.provider.looks_up = False
    [key] = world.send()
    world.run(1.0)
    world.leap(DAY_S - 3600.0)
    assert world.reviews() == []
    world.crash()
    world.leap(10 * DAY_S)
    assert [review.transaction_id for review in world.reviews()] == [key]
    assert world.statuses() == {key: Status.UNKNOWN}
    assert world.provider.sendings[key] == 1
    assert world.real.work_counts() == {(GATEWAY, WorkState.DEAD): 1}, "operators see that it is stuck"


@pytest.mark.parametrize("steps", range(0, 60, 6))
def test_a_gateway_without_lookups_is_sent_once_wherever_the_process_dies(tmp_path: Path, steps: int) -> None:
    """A process that died about to send leaves an unknown outcome. Without lookups it is not sent a second time."""
    world = World(tmp_path, steps, fates=("answered",))
    world.provider.looks_up = False
    ids = world.send(3)
    world.steps(steps)
    world.crash()
    world.leap(3 * DAY_S)
    for key in ids:
        assert world.provider.sendings[key] <= 1
        status = world.statuses().get(key)
        assert status in {None, Status.COMPLETED, Status.UNKNOWN}
        assert status is not Status.COMPLETED or world.provider.sendings[key] == 1


def test_what_waits_for_a_slot_when_the_process_dies_is_simply_sent(tmp_path: Path) -> None:
    """Work that is only leased was not submitted: without a record of a sending there is no doubt, and no lookup."""
    world = World(tmp_path, 1, fates=("answered",))
    world.system.drain()
    world.run(0.1)
    ids = world.send(5)
    world.run(0.1)
    world.crash()
    world.run(1.0)
    assert world.statuses() == dict.fromkeys(ids, Status.COMPLETED)
    assert not [recorded for recorded in world.events() if isinstance(recorded.event, OutcomeUnknown)]


@pytest.mark.parametrize("steps", range(0, 80, 8))
def test_a_drained_process_leaves_no_doubt(tmp_path: Path, steps: int) -> None:
    """A process that stops in order gives back unsent work as unsent, at any moment of the stop."""
    world = World(tmp_path, steps, fates=("answered",))
    ids = world.send(8)
    world.steps(steps)
    world.system.drain()
    for _ in range(10_000):
        if world.system.at_rest:
            break
        world.runtime.step(world.runtime.monotonic() + 1.0)
    world.system.retire()
    for key in ids:
        status = world.statuses().get(key)
        assert (status is Status.COMPLETED) == bool(world.provider.sendings[key])
    world.real.register_owner("looker")
    assert all(item.certainty is DeliveryCertainty.NOT_SENT for item in world.real.claim_work("looker", GATEWAY, 100))
