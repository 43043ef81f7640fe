"""Only so many callers are with the actors at a time; others wait outside for a moment, and then are sent away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pykka import Timeout

from actors.admission import RETRY_AFTER_MAX_S, Admission
from actors.replies import NotStored
from actors.runtime.actor import Future
from actors.runtime.runtime import LiveRuntime
from actors.runtime.waiting import Waiting

SOON_S = 0.05
LONG_S = 60.0
WAIT_S = 30.0


@pytest.fixture
def runtime() -> Iterator[LiveRuntime]:
    """Real clocks and timers."""
    runtime = LiveRuntime()
    yield runtime
    runtime.stop(5.0)


def until_outside(admission: Admission, count: int) -> None:
    """Wait until so many stand outside."""
    deadline = time.monotonic() + WAIT_S
    while admission.outside != count:
        assert time.monotonic() < deadline, f"{admission.outside} are outside, and not {count}"
        threading.Event().wait(0.001)


def test_who_finds_room_comes_in_at_once(runtime: LiveRuntime) -> None:
    """And makes room when he leaves."""
    admission = Admission(runtime, 2, patience_s=SOON_S)
    for _ in range(3):
        assert (admission.enter(), admission.enter()) == (None, None)
        assert (admission.inside, admission.outside) == (2, 0)
        admission.leave()
        admission.leave()
    assert admission.inside == 0


def test_who_waits_in_vain_is_sent_away(runtime: LiveRuntime) -> None:
    """With words that nothing was stored, and not all of them for the same time; nothing is left of them."""
    admission = Admission(runtime, 1, patience_s=SOON_S)
    assert admission.enter() is None
    refusals = [admission.enter() for _ in range(2 * RETRY_AFTER_MAX_S)]
    assert all(isinstance(refusal, NotStored) for refusal in refusals)
    assert {it.retry_after_s for it in refusals if it is not None} == set(range(1, RETRY_AFTER_MAX_S + 1))
    assert admission.stats() == (1, 0, 2 * RETRY_AFTER_MAX_S, 1)
    admission.leave()
    assert admission.enter() is None


def test_places_go_to_those_who_came_first(runtime: LiveRuntime) -> None:
    """Whoever comes while others wait stands behind them."""
    admission = Admission(runtime, 1, patience_s=LONG_S)
    assert admission.enter() is None
    came: list[int] = []

    def come(number: int) -> None:
        assert admission.enter() is None
        came.append(number)
        admission.leave()

    threads = [threading.Thread(target=come, args=(number,), daemon=True) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        until_outside(admission, number + 1)
    admission.leave()
    for thread in threads:
        thread.join(WAIT_S)
    assert came == [0, 1, 2, 3, 4]
    assert (admission.inside, admission.outside) == (0, 0)


def test_a_place_that_is_given_just_as_the_wait_ends_is_not_lost(runtime: LiveRuntime) -> None:
    """Whoever gave up on it a moment too late has it all the same."""
    admission = Admission(runtime, 1, patience_s=LONG_S)
    assert admission.enter() is None

    class JustTooLate(Waiting):
        def wait(self, reply: Future[Any]) -> Any:
            admission.leave()
            assert reply.done
            raise Timeout

    admission._patience = JustTooLate(runtime, LONG_S)
    assert admission.enter() is None
    assert (admission.inside, admission.outside) == (1, 0)
    admission.leave()
    assert admission.inside == 0
