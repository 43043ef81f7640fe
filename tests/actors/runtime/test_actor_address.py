"""The address of a single actor: restarted soon after each death, never in a loop, without losing messages."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.runtime.actor import ServiceActor
from actors.runtime.mailbox import MailboxFullError
from actors.runtime.router import RESTART_FIRST_S, RESTART_MAX_S, SAME_CAUSE_S, ActorAddress
from actors.runtime.runtime import LiveRuntime
from actors.runtime.simulated import SimulatedRuntime
from tests.actors.runtime.fixtures import ByHand, Die, Recorder, Refusable

CHECKOUT = Path(__file__).parents[3]
WAIT_S = 60.0
SENDERS, MESSAGES, WINDOW = 6, 1_500, 3


@pytest.fixture
def log() -> list[Any]:
    """The messages that the actors handled."""
    return []


def address_of(runtime: SimulatedRuntime, actor: type[Recorder], log: list[Any], capacity: int = 10) -> ActorAddress:
    """An address as in the service."""
    return ActorAddress(
        lambda: actor(log),
        runtime.dispatcher("one", 1),
        capacity=capacity,
        monotonic=runtime.monotonic,
        after=runtime.after,
    )


def alive(address: ActorAddress) -> bool:
    """Whether the actor is alive."""
    return address.alive


def die_when_taken(actor: Recorder) -> None:
    """A message that kills once: it is acknowledged first."""
    actor.ack()
    raise Die


def test_an_address_lives_from_its_start_and_after_each_death(log: list[Any]) -> None:
    """The actor of an address is restarted, also without a timer."""
    dispatcher = ByHand()
    address = ActorAddress(lambda: Recorder(log), dispatcher, capacity=10, monotonic=lambda: 0.0)
    address.start()
    dispatcher.run()
    assert log == ["start"]
    for _ in range(3):
        address.tell(Die())
        address.tell("after")
    dispatcher.run()
    assert log.count("after") == 3
    assert address.deaths > 0


def test_the_first_restart_is_immediate_and_close_ones_wait_longer(runtime: SimulatedRuntime, log: list[Any]) -> None:
    """Deaths in close succession are followed by growing delays below a second, until a quiet time."""
    starts: list[float] = []

    class Timed(Recorder):
        def on_start(self) -> None:
            starts.append(runtime.monotonic())

    address = address_of(runtime, Timed, log)
    address.start()
    runtime.run()
    waits = []
    for _ in range(8):
        died_at = runtime.monotonic()
        address.tell(die_when_taken)
        runtime.run()
        waits.append(round(starts[-1] - died_at, 6))
    assert waits[:4] == [0.0, RESTART_FIRST_S, 2 * RESTART_FIRST_S, 4 * RESTART_FIRST_S]
    assert waits == sorted(waits)
    assert waits[-1] == RESTART_MAX_S < 1.0
    runtime.advance(SAME_CAUSE_S)
    died_at = runtime.monotonic()
    address.tell(die_when_taken)
    runtime.run()
    assert starts[-1] == died_at
    assert address.deaths == len(starts) - 1 == 9


def test_an_actor_whose_start_fails_is_retried_with_delays_and_loses_nothing(
    runtime: SimulatedRuntime, log: list[Any]
) -> None:
    """An actor whose start fails is retried a few times a second, and loses no message."""
    tries: list[float] = []

    class FailsAtStart(Recorder):
        def on_start(self) -> None:
            tries.append(runtime.monotonic())
            if failing:
                raise SystemExit

    failing = True
    address = address_of(runtime, FailsAtStart, log, capacity=3)
    for number in range(3):
        address.tell(f"before {number}")
    began = runtime.monotonic()
    for number in range(20):
        runtime.run(until=began + 0.5 * (number + 1))
        address.tell(f"during {number}")
        assert not alive(address)
    assert 20 <= len(tries) <= 30
    failing = False
    runtime.run(until=runtime.monotonic() + 1.0)
    assert alive(address)
    assert log == [f"before {number}" for number in range(3)] + [f"during {number}" for number in range(20)]


def test_only_commands_are_refused_during_a_restart(runtime: SimulatedRuntime, log: list[Any]) -> None:
    """During a restart a full address refuses refusable messages and holds the others."""
    address = address_of(runtime, Recorder, log, capacity=3)
    for _ in range(2):
        address.tell(die_when_taken)
    runtime.run(until=runtime.monotonic())
    assert not alive(address)
    commands = [Refusable() for _ in range(3)]
    for command in commands:
        address.tell(command)
    with pytest.raises(MailboxFullError):
        address.tell(Refusable())
    address.tell("an answer")
    runtime.run()
    assert [entry for entry in log if entry != "start"] == [*commands, "an answer"]


def test_an_actor_is_alive_from_its_start_until_its_death(runtime: SimulatedRuntime, log: list[Any]) -> None:
    """It is not alive before its start, during a restart, and after a silent stop; otherwise it is alive."""
    address = address_of(runtime, Recorder, log)
    seen = [address.alive]
    address.start()
    seen.append(address.alive)
    runtime.run()
    seen.append(address.alive)
    for kill in (die_when_taken, die_when_taken, lambda actor: actor._stop()):
        address.tell(kill)
        runtime.step()
        seen.append(address.alive)
        runtime.run()
        seen.append(address.alive)
    assert seen == [False, False, True, False, True, False, True, False, True]


def test_a_constructor_that_fails_is_called_again(runtime: SimulatedRuntime, log: list[Any]) -> None:
    """A constructor that fails for a while delays the successor, and no message is lost."""
    makes: list[float] = []

    def make() -> Recorder:
        makes.append(runtime.monotonic())
        if 2 <= len(makes) <= 12:
            raise Die
        return Recorder(log)

    address = ActorAddress(
        make, runtime.dispatcher("one", 1), capacity=10, monotonic=runtime.monotonic, after=runtime.after
    )
    address.tell(die_when_taken)
    address.tell("waited")
    runtime.run(until=runtime.monotonic() + 1.0)
    assert not alive(address)
    address.tell("sent meanwhile")
    runtime.run()
    assert log == ["start", "start", "waited", "sent meanwhile"]
    assert len(makes) == 13


class Tally:
    """The messages that the actors handled, in order for each sender."""

    def __init__(self) -> None:
        self.order: dict[int, list[int]] = {number: [] for number in range(SENDERS)}
        self.windows = [threading.Semaphore(WINDOW) for _ in range(SENDERS)]
        self.lives = 0
        self.died_of: set[tuple[int, int]] = set()


class Mortal(ServiceActor):
    """Dies of every 20th message, once; each third one fails at its start."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def on_start(self) -> None:
        """Start, or fail."""
        self._tally.lives += 1
        if self._tally.lives % 3 == 0:
            raise Die

    def receive(self, message: tuple[int, int]) -> None:
        """Log it."""
        sender, number = message
        if number % 20 == 0 and message not in self._tally.died_of:
            self._tally.died_of.add(message)
            raise SystemExit if number % 40 else Die
        self._tally.order[sender].append(number)
        self._tally.windows[sender].release()


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[LiveRuntime]:
    """Real threads with frequent switches and short delays: thousands of deaths happen."""
    caplog.set_level("CRITICAL")
    caplog.set_level("CRITICAL", logger="pykka")
    monkeypatch.setattr("actors.runtime.router.RESTART_FIRST_S", 0.0001)
    monkeypatch.setattr("actors.runtime.router.RESTART_MAX_S", 0.001)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    runtime = LiveRuntime()
    yield runtime
    sys.setswitchinterval(before)
    assert runtime.stop(WAIT_S)


def test_deaths_under_load_lose_double_and_reorder_nothing(live: LiveRuntime) -> None:
    """Sent from many threads while the actor dies repeatedly, each message is handled once, in its sender's order."""
    tally = Tally()
    address = ActorAddress(
        lambda: Mortal(tally),
        live.dispatcher("one", 1),
        capacity=SENDERS * MESSAGES,
        monotonic=live.monotonic,
        after=live.after,
    )

    def sender(number: int) -> None:
        for message in range(MESSAGES):
            if not tally.windows[number].acquire(timeout=WAIT_S):
                return  # a message was lost, which the check of the order shows
            address.tell((number, message))
        for _ in range(WINDOW):
            tally.windows[number].acquire(timeout=WAIT_S)

    threads = [threading.Thread(target=sender, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT_S)
    assert all(order == [*range(MESSAGES)] for order in tally.order.values())
    assert address.deaths >= SENDERS * MESSAGES // 20


def test_alive_is_correct_with_real_threads(live: LiveRuntime) -> None:
    """Read from another thread, ``alive`` is False until the successor has started."""
    gate, began = threading.Event(), threading.Semaphore(0)

    class Slow(Recorder):
        def on_start(self) -> None:
            began.release()
            assert gate.wait(WAIT_S)

    handled = threading.Semaphore(0)
    address = ActorAddress(
        lambda: Slow([]), live.dispatcher("one", 1), capacity=10, monotonic=live.monotonic, after=live.after
    )
    address.start()
    for _ in range(5):
        assert began.acquire(timeout=WAIT_S)
        assert not alive(address)
        address.tell(lambda _: handled.release())
        gate.set()
        assert handled.acquire(timeout=WAIT_S)
        assert alive(address)
        gate.clear()
        address.tell(die_when_taken)
    assert began.acquire(timeout=WAIT_S)
    gate.set()


def test_it_holds_on_greenlets_as_well() -> None:
    """Production runs the actors on greenlets: the same tests pass there."""
    program = (
        "from gevent import monkey; monkey.patch_all(); import sys, pytest; "
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-k', 'load or threads', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, __file__],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
