"""A process that dies at any step of a refund, capture or void: child and parent end together, with one effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.account import Status
from domain.events import Kind
from store.errors import CommitUncertainError, StoreUnavailableError
from tests.actors.support import Trouble
from tests.actors.system.children_world import FATES, World

CHILDREN = [Kind.REFUND, Kind.CAPTURE, Kind.VOID]
KEYS = pytest.mark.parametrize("honours_keys", [True, False], ids=["keys", "no keys"])
STEPS_MAX = 400
AFTER = (*range(30), *range(30, STEPS_MAX, 12))
"""Numbers of steps before a death: the first ones are dense, the later ones wait for lookups."""


def cases(kind: Kind) -> tuple[str, ...]:
    """The fates of a child of this kind. A refund's parent has ended, so that its hold cannot be gone."""
    return tuple(fate for fate in FATES if kind is not Kind.REFUND or fate != "gone")


@KEYS
@pytest.mark.parametrize(("kind", "fate"), [(kind, fate) for kind in CHILDREN for fate in cases(kind)])
def test_a_death_at_any_step_ends_child_and_parent_together(
    tmp_path: Path, kind: Kind, fate: str, *, honours_keys: bool
) -> None:
    """The process dies after each number of steps, from the command on until the child has ended.

    The record never has one effect of the child's end without the other, and a successor completes what is left.
    """
    found, ended_before = [], False
    for number in AFTER:
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder, kind, fate, honours_keys=honours_keys)
        world.send_child()
        for _ in range(number):
            world.steps(1)
            world.judge_moment()
        before = world.seen().child
        ended_before = before is not None and before.status.terminal
        world.crash()
        world.judge_moment()
        world.finish()
        try:
            world.judge()
        except AssertionError as failure:
            found.append(f"after {number} steps: {failure}")
        world.real.close()
        if ended_before:
            break
    assert not found, "\n".join(found)
    assert ended_before, "the deaths did not come near the end of the child"
    assert number > 3, "too few deaths for a meaningful test"


@KEYS
@pytest.mark.parametrize("kind", CHILDREN)
@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(CommitUncertainError("cut")),
        Trouble(CommitUncertainError("cut"), after=True),
        Trouble(RuntimeError("a defect"), after=True),
        Trouble(SystemExit(), after=True),
        Trouble(StoreUnavailableError("away")),
    ],
    ids=["cut before", "cut after", "defect after", "death after", "away"],
)
@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_a_commit_that_fails_at_any_time_ends_both_or_none(
    tmp_path: Path, kind: Kind, trouble: Trouble, *, dies: bool, honours_keys: bool
) -> None:
    """Each commit of a child's way in turn is uncertain, fails, or is followed by a death."""
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder, kind, "done", honours_keys=honours_keys)
        world.store.inject("append", *[None] * number, trouble)
        world.send_child()
        for _ in range(STEPS_MAX):
            if world.store.troubles_left == 0:
                break
            if world.steps(1) == 0:
                break
            world.judge_moment()
        if dies:
            world.crash()
        world.judge_moment()
        world.finish()
        world.judge()
        world.real.close()


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_child_is_on_record_before_each_sending_without_keys(tmp_path: Path, kind: Kind) -> None:
    """A death between the record of a submission and its first byte is followed by a lookup, not by a sending."""
    world = World(tmp_path, kind, "silent", honours_keys=False)
    world.send_child()
    while world.submitted() == 0:
        assert world.steps(1) == 1
    assert world.provider.sendings[world.child_id] == 0
    world.crash()
    world.run(1.0)
    assert world.provider.sendings[world.child_id] == 0, "sent although an earlier sending may be out"
    world.finish()
    world.judge()
    world.real.close()


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID])
def test_another_child_is_possible_after_one_that_failed(tmp_path: Path, kind: Kind) -> None:
    """After a declined capture or void its parent is authorized as before, and another one ends it."""
    world = World(tmp_path, kind, "declined", honours_keys=True)
    world.send_child()
    world.finish()
    assert world.seen().parent.status is Status.AUTHORIZED
    world.child_id, world.fate, world.provider.fate = world.runtime.new_id(), "done", "done"
    world.send_child()
    world.finish()
    world.judge()
    world.real.close()
