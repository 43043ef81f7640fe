"""Waiting for replies with one timer for all: a thread gets its reply or a timeout in time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import pytest
from pykka import Timeout

from actors.runtime.actor import Future
from actors.runtime.runtime import LiveRuntime
from actors.runtime.waiting import Waiting

SOON_S = 0.05
LONG_S = 60.0


@pytest.fixture
def runtime() -> Iterator[LiveRuntime]:
    """Real clocks and timers."""
    runtime = LiveRuntime()
    yield runtime
    runtime.stop(5.0)


def in_threads(count: int, job: Callable[[int], None]) -> None:
    """Run ``job`` of each number in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=job, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
        assert not thread.is_alive()


def test_an_answer_that_is_set_already_needs_no_timer(runtime: LiveRuntime) -> None:
    """The answer is returned at once."""
    reply: Future[int] = Future()
    reply.set(7)
    waiting = Waiting(runtime, LONG_S)
    assert waiting.wait(reply) == 7
    assert not waiting._sweeping


def test_an_answer_ends_the_wait(runtime: LiveRuntime) -> None:
    """The wait ends long before its timeout."""
    reply: Future[int] = Future()
    runtime.after(SOON_S, lambda: reply.set(7))
    assert Waiting(runtime, LONG_S).wait(reply) == 7


def test_without_an_answer_the_wait_ends_in_time(runtime: LiveRuntime) -> None:
    """A later reply is set without an effect."""
    reply: Future[int] = Future()
    ended: list[type[BaseException]] = []

    def wait(_: int) -> None:
        with pytest.raises(Timeout) as error:
            Waiting(runtime, SOON_S).wait(reply)
        ended.append(error.type)

    in_threads(1, wait)
    assert ended == [Timeout]
    assert not reply.done
    reply.set(7)
    assert reply.get(timeout=0) == 7
    with pytest.raises(RuntimeError, match="a reply was set twice"):
        reply.set(8)


def test_an_error_is_raised_by_the_wait(runtime: LiveRuntime) -> None:
    """As with any future."""
    reply: Future[int] = Future()
    reply.set_exception((ZeroDivisionError, ZeroDivisionError("x"), None))
    with pytest.raises(ZeroDivisionError):
        Waiting(runtime, LONG_S).wait(reply)


def test_the_timer_stops_when_no_thread_waits_and_starts_again(runtime: LiveRuntime) -> None:
    """This holds repeatedly: no thread waits without limit because the timer has just stopped."""
    waiting = Waiting(runtime, 4 * SOON_S / 10)
    for _ in range(20):
        with pytest.raises(Timeout):
            waiting.wait(Future[int]())
    assert waiting._until == {}


def test_of_many_each_gets_its_own_answer_or_a_timeout(runtime: LiveRuntime) -> None:
    """This holds also when replies arrive just as the wait times out."""
    waiting = Waiting(runtime, SOON_S)
    results: list[int | None] = []

    def wait(number: int) -> None:
        reply: Future[int] = Future()
        if number % 3:
            runtime.after(random.uniform(0.0, 3 * SOON_S), lambda: reply.set(number))
        try:
            assert waiting.wait(reply) == number
            results.append(number)
        except Timeout:
            results.append(None)

    in_threads(100, wait)
    assert len(results) == 100
    assert results.count(None) >= 34, "the requests without an answer"
    assert waiting._until == {}
