"""The lifecycle: steps start in order, a failing one is retried, and what has started is stopped in reverse order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from server import lifecycle as lifecycles
from server.lifecycle import Lifecycle, Step

WAIT_S = 10.0
"""Longer than anything takes in a correct run."""


class ResourceError(Exception):
    """The error that is retried."""


class Status:
    """Keeps what the lifecycle shows."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.stopping = False

    def report_problem(self, problem: str) -> None:
        """See Status."""
        self.problems.append(problem)

    def begin_stopping(self) -> None:
        """See Status."""
        self.stopping = True


class World:
    """A lifecycle with steps that record their calls."""

    def __init__(self) -> None:
        self.status = Status()
        self.calls: list[str] = []
        self.lifecycle = Lifecycle(self.status, retried=ResourceError, problem="It cannot be opened")

    def step(self, name: str, start: Callable[[], object] | None = None) -> Step:
        """A step; ``start`` replaces the record of its start."""
        return Step(
            name,
            start or (lambda: self.calls.append(f"start {name}")),
            drain=lambda: self.calls.append(f"drain {name}"),
            stop=lambda: self.calls.append(f"stop {name}"),
        )

    def start(self, *steps: Step) -> None:
        """Start ``steps`` and wait for the end of the start, or for its first problem."""
        self.lifecycle.start(steps)
        assert self.lifecycle.settled.wait(WAIT_S)


@pytest.fixture
def world() -> Iterator[World]:
    """A lifecycle, stopped after the test."""
    world = World()
    yield world
    world.lifecycle.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry after a moment."""
    monkeypatch.setattr(lifecycles, "RETRY_S", 0.01)


def test_stop_is_the_start_reversed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """All steps are drained before the first one is stopped."""
    caplog.set_level(logging.INFO)
    world.start(world.step("a"), world.step("b"))
    world.lifecycle.stop()
    assert world.calls == ["start a", "start b", "drain b", "drain a", "stop b", "stop a"]
    assert world.status.stopping
    assert [record.message for record in caplog.records] == ["ready", "stopped"]


@pytest.mark.usefixtures("quick")
def test_a_step_that_fails_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The error is shown, and logged once as long as it stays the same. Later steps wait for it."""
    errors = [ResourceError("no disk"), ResourceError("no disk"), ResourceError("no table")]
    ready = threading.Event()

    def start() -> None:
        world.calls.append("try")
        if errors:
            raise errors.pop(0)

    world.start(world.step("a", start), world.step("b", ready.set))
    assert ready.wait(WAIT_S)
    assert world.calls == ["try"] * 4
    shown = ["It cannot be opened: no disk", "It cannot be opened: no table"]
    assert world.status.problems == [shown[0], *shown]
    assert [record.message for record in caplog.records if record.levelno == logging.CRITICAL] == shown


def test_a_stop_ends_the_retries(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It does not wait for the next attempt, and stops only what has started."""
    caplog.set_level(logging.INFO)

    def fail() -> None:
        raise ResourceError("away")

    world.start(world.step("a"), world.step("b", fail), world.step("c"))
    world.lifecycle.stop()
    assert world.calls == ["start a", "drain a", "stop a"]
    assert [record.message for record in caplog.records][1:] == ["stopped before it was ready", "stopped"]


def test_a_step_that_starts_during_the_drain_is_drained(world: World) -> None:
    """No step starts after it, and the stop waits for its end."""
    entered, leave = threading.Event(), threading.Event()

    def start() -> None:
        entered.set()
        assert leave.wait(WAIT_S)
        world.calls.append("start a")

    world.lifecycle.start([world.step("a", start), world.step("b")])
    assert entered.wait(WAIT_S)
    world.lifecycle.drain()
    leave.set()
    world.lifecycle.stop()
    assert world.calls == ["start a", "drain a", "stop a"]


def test_a_stop_does_not_wait_without_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that hangs does not prevent the stop of the others."""
    monkeypatch.setattr(lifecycles, "STOP_WITHIN_S", 0.01)
    entered, leave = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        leave.wait(WAIT_S)

    world.lifecycle.start([world.step("a"), world.step("b", hang)])
    assert entered.wait(WAIT_S)
    world.lifecycle.stop()
    assert world.calls == ["start a", "drain a", "stop a"]
    leave.set()


def test_a_defect_ends_the_start(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the service reports that it could not start."""

    def fail() -> None:
        raise RuntimeError("a defect")

    world.start(world.step("a"), world.step("b", fail), world.step("c"))
    assert world.calls == ["start a"]
    assert world.status.problems == ["The service could not start; see the log."]
    assert "a defect" in caplog.text


def test_a_stop_that_fails_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The steps before it are still stopped."""

    def fail() -> None:
        raise RuntimeError("a defect")

    world.start(world.step("a"), Step("b", stop=fail))
    world.lifecycle.stop()
    assert world.calls[-1] == "stop a"
    assert "b could not be stopped" in caplog.text


def test_a_step_may_wait(world: World) -> None:
    """It reports why, which lets requests be answered; ``pause`` ends with the stop."""
    started = threading.Event()

    def start() -> None:
        world.lifecycle.report_problem("Another process still uses it.")
        world.lifecycle.pause(0.0)
        started.set()
        world.lifecycle.pause(WAIT_S)

    world.start(world.step("a", start))
    assert started.wait(WAIT_S)
    world.lifecycle.stop()
    assert world.status.problems == ["Another process still uses it."]
    assert world.calls == []
