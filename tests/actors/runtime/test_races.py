"""Real threads against the runtime: every message counted exactly once, and no actor in two threads."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pykka import ActorDeadError

from actors.runtime.actor import ServiceActor
from actors.runtime.dispatchers import ThreadDispatcher
from actors.runtime.router import Router

SENDERS = 6
MESSAGES = 5_000
KEYS = 5
WINDOW = 3
"""Unhandled messages of a sender: few, so that actors are sometimes idle and stop."""
WAIT_S = 30.0


@pytest.fixture(autouse=True)
def _many_thread_switches() -> Iterator[None]:
    """The interpreter switches threads as often as it can: rare races become frequent."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def dispatcher() -> Iterator[ThreadDispatcher]:
    """A pool of real threads."""
    pool = ThreadDispatcher("pool", 4)
    yield pool
    assert pool.stop(10.0)


class Tally:
    """The messages that all actors handled, and whether an actor ever ran in two threads."""

    def __init__(self, expected: int) -> None:
        self.handled: Counter[Any] = Counter()
        self.order: dict[Any, list[int]] = {}
        self.overlaps = 0
        self.lives = 0
        self.deaths = 0
        self.all_there = threading.Event()
        self.windows = [threading.Semaphore(WINDOW) for _ in range(SENDERS)]
        self._left = expected
        self._lock = threading.Lock()

    def count(self, sender: int, number: int) -> None:
        """Count a handled message."""
        with self._lock:
            self.handled[sender, number] += 1
            self.order.setdefault(sender, []).append(number)
            self._left -= 1
            if not self._left:
                self.all_there.set()
        self.windows[sender].release()


class Counting(ServiceActor):
    """Counts its messages; stops or dies on request."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally
        self._inside = threading.Lock()

    def on_start(self) -> None:
        """Count a start: several may be made at once, and one of them starts."""
        self._tally.lives += 1

    def receive(self, message: Any) -> None:
        """See the class."""
        if not self._inside.acquire(blocking=False):
            self._tally.overlaps += 1
            return
        try:
            if message == "stop":
                if self.actor_inbox.close_if_empty():
                    self._stop()
            elif message == "die":
                self.ack()
                self._tally.deaths += 1
                raise RuntimeError("sent to")
            else:
                self._tally.count(*message)
        finally:
            self._inside.release()


def tell_from_many_threads(router: Router[int], tally: Tally, disturbance: str, *, run_here: bool) -> None:
    """Every sender sends its share to each key, while actors are stopped or killed repeatedly."""
    done = threading.Event()

    def sender(number: int) -> None:
        for message in range(MESSAGES):
            if not tally.windows[number].acquire(timeout=WAIT_S):
                return  # a message was lost, which the count shows
            router.tell(message % KEYS, (number, message), run_here=run_here)
            if message % 25 == 0:
                router.tell(message % KEYS, disturbance)

    threads = [threading.Thread(target=sender, args=(number,)) for number in range(SENDERS)]
    disturber = threading.Thread(target=_disturb, args=(router, disturbance, done))
    for thread in [disturber, *threads]:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    arrived = tally.all_there.wait(WAIT_S)
    done.set()
    disturber.join(WAIT_S)
    assert arrived, f"{SENDERS * MESSAGES - tally.handled.total()} messages were lost"


def _disturb(router: Router[int], disturbance: str, done: threading.Event) -> None:
    while not done.is_set():
        for ref in router.idle(0.0, KEYS):
            if ref.actor_inbox.empty():  # one at a time: a thousand deaths in a row test no race
                with suppress(ActorDeadError):
                    ref.tell(disturbance)


@pytest.mark.parametrize("run_here", [False, True])
@pytest.mark.parametrize("disturbance", ["stop", "die"])
def test_no_message_is_lost_or_doubled_while_actors_come_and_go(
    dispatcher: ThreadDispatcher, caplog: pytest.LogCaptureFixture, *, disturbance: str, run_here: bool
) -> None:
    """Messages from many threads race with passivation and deaths: each is handled once, by one thread."""
    caplog.set_level("CRITICAL")
    caplog.set_level("CRITICAL", logger="pykka")
    tally = Tally(SENDERS * MESSAGES)
    router: Router[int] = Router(
        lambda _: Counting(tally), dispatcher, capacity=SENDERS * MESSAGES, monotonic=time.monotonic
    )
    tell_from_many_threads(router, tally, disturbance, run_here=run_here)
    assert set(tally.handled.values()) == {1}
    assert len(tally.handled) == SENDERS * MESSAGES
    assert tally.overlaps == 0
    assert tally.lives > 3 * KEYS, "too few actors started and stopped for a meaningful test"


def test_one_senders_messages_to_one_actor_keep_their_order(dispatcher: ThreadDispatcher) -> None:
    """While an actor lives, messages of one thread are handled in order."""
    tally = Tally(SENDERS * MESSAGES)
    router: Router[int] = Router(
        lambda _: Counting(tally), dispatcher, capacity=SENDERS * MESSAGES, monotonic=time.monotonic
    )

    def sender(number: int) -> None:
        for message in range(MESSAGES):
            router.tell(0, (number, message))

    threads = [threading.Thread(target=sender, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert tally.all_there.wait(WAIT_S)
    assert all(order == sorted(order) for order in tally.order.values())
    assert tally.lives == 1
    assert tally.overlaps == 0


def test_a_lone_message_always_wakes_an_idle_actor(dispatcher: ThreadDispatcher) -> None:
    """A message that comes just as the actor becomes idle wakes it: ten thousand round trips, none stuck."""
    turn = threading.Semaphore(0)

    class Answering(ServiceActor):
        def receive(self, _message: Any) -> None:
            turn.release()

    ref = Answering().launch(dispatcher, 10)
    for number in range(10_000):
        ref.tell(number)
        assert turn.acquire(timeout=WAIT_S), f"message {number} woke no actor"


def test_an_ask_is_answered_from_another_thread(dispatcher: ThreadDispatcher) -> None:
    """Many threads wait for replies at once; each gets its own."""

    class Doubling(ServiceActor):
        def receive(self, message: int) -> int:
            return 2 * message

    ref = Doubling().launch(dispatcher, 10_000)
    wrong: list[int] = []

    def asker(first: int) -> None:
        wrong.extend(n for n in range(first, first + 500) if ref.ask(n, timeout=WAIT_S) != 2 * n)

    threads = [threading.Thread(target=asker, args=(1_000 * number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert wrong == []
