"""Threads: dispatchers, executors, timers, and the live runtime that stops them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from pykka import Timeout

from actors.runtime.actor import Future
from actors.runtime.dispatchers import GrowingExecutor, ThreadDispatcher
from actors.runtime.runtime import LiveRuntime, Timers

WAIT_S = 30.0


@pytest.fixture
def executor() -> Iterator[GrowingExecutor]:
    """Up to three threads."""
    pool = GrowingExecutor("calls", 3)
    yield pool
    assert pool.stop(WAIT_S)


@pytest.fixture
def timers() -> Iterator[Timers]:
    """Timers on their own thread."""
    them = Timers()
    yield them
    them.stop()


class Gate:
    """Functions that block until released; counts how many run at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = False
        self.inside = self.most = self.done = 0
        self.threads: set[str] = set()

    def __call__(self) -> None:
        """Block."""
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open, WAIT_S)
            self.inside -= 1
            self.done += 1
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Wait until ``condition`` holds."""
        with self._changed:
            return self._changed.wait_for(condition, WAIT_S)

    def open(self) -> None:
        """Release all, now and later."""
        with self._changed:
            self._open = True
            self._changed.notify_all()


def test_an_executor_runs_no_more_than_its_limit(executor: GrowingExecutor) -> None:
    """However much is submitted, at most the limit runs at once, and all of it runs in the end."""
    gate = Gate()
    for _ in range(20):
        executor.submit(gate)
    assert gate.wait(lambda: gate.inside == 3)
    gate.open()
    assert gate.wait(lambda: gate.done == 20)
    assert gate.most == 3


def test_an_executor_starts_threads_only_when_all_are_busy(executor: GrowingExecutor) -> None:
    """Calls one by one need one thread: idle threads are reused."""
    for _ in range(50):
        done = threading.Event()
        executor.submit(done.set)
        assert done.wait(WAIT_S)
        _until_idle(executor, 1)
    assert len(executor._threads) == 1


def _until_idle(executor: GrowingExecutor, count: int) -> None:
    """A thread becomes idle a moment after its function has ended."""
    deadline = time.monotonic() + WAIT_S
    while executor._idle != count:
        assert time.monotonic() < deadline, f"{executor._idle} threads are idle and not {count}"
        time.sleep(0)


def test_an_executor_survives_what_it_runs(executor: GrowingExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """A function that raises, a kill included, ends no thread, and is logged."""

    def kill() -> None:
        raise SystemExit

    done = threading.Event()
    for _ in range(10):
        executor.submit(kill)
    executor.submit(done.set)
    assert done.wait(WAIT_S)
    assert len(executor._threads) <= 3
    assert "unexpected error" in caplog.text


def test_an_executor_loses_nothing_under_load(executor: GrowingExecutor) -> None:
    """Submitted from many threads at once, every function runs exactly once."""
    ran: list[int] = []
    done = threading.Semaphore(0)

    def run(number: int) -> None:
        ran.append(number)
        done.release()

    def submit(first: int) -> None:
        for number in range(first, first + 1_000):
            executor.submit(partial(run, number))

    submitters = [threading.Thread(target=submit, args=(1_000 * number,)) for number in range(4)]
    for thread in submitters:
        thread.start()
    for thread in submitters:
        thread.join(WAIT_S)
    for _ in range(4_000):
        assert done.acquire(timeout=WAIT_S)
    assert sorted(ran) == list(range(4_000))
    assert len(executor._threads) <= 3


def test_a_thread_that_cannot_be_started_is_the_submitters_error(
    executor: GrowingExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no thread can be started, the submitter gets the error, and no thread is counted."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_more_threads)
        with pytest.raises(RuntimeError):
            executor.submit(print)
    done = threading.Event()
    executor.submit(done.set)
    assert done.wait(WAIT_S)


def _no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_dispatcher_of_one_thread_keeps_to_it() -> None:
    """With one thread everything runs in that thread, in order."""
    dispatcher = ThreadDispatcher("alone", 1)
    order: list[tuple[int, str]] = []

    def run(number: int) -> None:
        order.append((number, threading.current_thread().name))

    for number in range(100):
        dispatcher.submit(partial(run, number))
    assert dispatcher.stop(WAIT_S)
    assert order == [(number, "alone-0") for number in range(100)]


def test_stopping_a_dispatcher_reports_whether_it_stopped() -> None:
    """A thread that does not end in time is reported, and the stop does not wait for it."""
    dispatcher, gate = ThreadDispatcher("stuck", 1), Gate()
    dispatcher.submit(gate)
    assert gate.wait(lambda: gate.inside == 1)
    assert not dispatcher.stop(0.01)
    gate.open()
    assert dispatcher.stop(WAIT_S)


def test_timers_fire_in_order_of_their_time(timers: Timers) -> None:
    """In order of time; equal times keep their order."""
    order: list[str] = []
    done = threading.Event()
    timers.after(0.06, done.set)
    for name, delay_s in (("c", 0.05), ("a", 0.0), ("b", 0.02)):
        timers.after(delay_s, partial(order.append, name))
    assert done.wait(WAIT_S)
    assert order == ["a", "b", "c"]


def test_a_cancelled_timer_does_not_fire(timers: Timers) -> None:
    """After cancel the function is not called."""
    called: list[str] = []
    done = threading.Event()
    timer = timers.after(0.02, lambda: called.append("cancelled"))
    timers.after(0.04, done.set)
    timer.cancel()
    assert done.wait(WAIT_S)
    assert called == []


@pytest.mark.parametrize("error", [RuntimeError("a defect"), SystemExit("a kill")])
def test_a_timer_that_raises_does_not_stop_the_others(timers: Timers, error: BaseException) -> None:
    """Whatever a timer's function raises, a kill included, the next one fires."""

    def fail() -> None:
        raise error

    done = threading.Event()
    timers.after(0.0, fail)
    timers.after(0.01, done.set)
    assert done.wait(WAIT_S)


def test_an_earlier_timer_is_not_delayed_by_a_later_one(timers: Timers) -> None:
    """A thread that waits for an hour wakes for an earlier timer."""
    done = threading.Event()
    timers.after(3600.0, lambda: None)
    timers.after(0.0, done.set)
    assert done.wait(WAIT_S)


def test_nothing_fires_after_the_stop() -> None:
    """No timer fires after stop has returned."""
    timers, called = Timers(), threading.Event()
    timers.after(0.01, called.set)
    timers.stop()
    assert called.is_set() or not called.wait(0.05)


def test_the_live_runtime_stops_all_that_it_made() -> None:
    """After stop its threads have ended, and their queued work has run."""
    before = set(threading.enumerate())
    runtime = LiveRuntime()
    ran: list[str] = []
    dispatcher = runtime.dispatcher("one", 2)
    executor = runtime.executor("two", 2)

    class Job:
        def run(self) -> None:
            ran.append("dispatched")

    dispatcher.schedule(Job())
    executor.submit(lambda: ran.append("executed"))
    assert len(set(threading.enumerate()) - before) == 1 + 2 + 1
    assert runtime.stop(WAIT_S)
    assert sorted(ran) == ["dispatched", "executed"]
    assert set(threading.enumerate()) <= before


def test_a_live_runtime_that_cannot_stop_reports_it() -> None:
    """A call that hangs does not delay the stop beyond its timeout."""
    runtime, gate = LiveRuntime(), Gate()
    runtime.executor("stuck", 1).submit(gate)
    assert gate.wait(lambda: gate.inside == 1)
    assert not runtime.stop(0.01)
    gate.open()
    assert gate.wait(lambda: gate.done == 1)


def test_a_reply_is_waited_for_with_a_limit_and_by_many() -> None:
    """A wait without a reply ends with Timeout, and every waiting thread gets the reply that comes."""
    reply: Future[str] = Future()
    with pytest.raises(Timeout):
        reply.get(timeout=0.001)
    got: list[str] = []
    waiters = [threading.Thread(target=lambda: got.append(reply.get(timeout=WAIT_S))) for _ in range(5)]
    for thread in waiters:
        thread.start()
    reply.set("the answer")
    for thread in waiters:
        thread.join(WAIT_S)
    assert got == ["the answer"] * 5
