"""Admission: a bounded number of requests at a time; others queue briefly and are refused."""

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
    """Wait until ``count`` requests are queued."""
    deadline = time.monotonic() + WAIT_S
    while admission.outside != count:
        assert time.monotonic() < deadline, f"{admission.outside} are outside, and not {count}"
        threading.Event().wait(0.001)


def test_a_request_within_the_bound_is_admitted_at_once(runtime: LiveRuntime) -> None:
    """Its place is free after it leaves."""
    admission = Admission(runtime, 2, patience_s=SOON_S)
    for _ in range(3):
        assert (admission.enter(), admission.enter()) == (None, None)
        assert (admission.inside, admission.outside) == (2, 0)
        admission.leave()
        admission.leave()
    assert admission.inside == 0


def test_a_request_whose_wait_times_out_is_refused(runtime: LiveRuntime) -> None:
    """The answer is "not stored", with different retry times; the queue is empty after that."""
    admission = Admission(runtime, 1, patience_s=SOON_S)
    assert admission.enter() is None
    refusals = [admission.enter() for _ in range(2 * RETRY_AFTER_MAX_S)]
    assert all(isinstance(refusal, NotStored) for refusal in refusals)
    assert {it.retry_after_s for it in refusals if it is not None} == set(range(1, RETRY_AFTER_MAX_S + 1))
    assert admission.stats() == (1, 0, 2 * RETRY_AFTER_MAX_S, 1)
    admission.leave()
    assert admission.enter() is None


def test_places_go_in_order_of_arrival(runtime: LiveRuntime) -> None:
    """A request that arrives while others are queued comes after them."""
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


def test_a_place_granted_just_as_the_wait_ends_is_not_lost(runtime: LiveRuntime) -> None:
    """A request that is admitted at the moment of its timeout still has the place."""
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
