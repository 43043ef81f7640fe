"""The deterministic runtime and ids: a seed decides everything, and an id contains its time."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from actors.runtime.router import Router
from actors.runtime.runtime import LiveRuntime, uuid7
from actors.runtime.simulated import EPOCH, SimulatedRuntime
from tests.actors.runtime.fixtures import Recorder


def history(seed: int) -> list[Any]:
    """The history of interleaved actors, calls and timers under a seed."""
    runtime = SimulatedRuntime(random.Random(seed))
    log: list[Any] = []
    executor = runtime.executor("calls", 3)
    router: Router[str] = Router(
        lambda key: Recorder(log, f" {key}"), runtime.dispatcher("pool", 4), capacity=100, monotonic=runtime.monotonic
    )

    def call(key: str) -> Callable[[], None]:
        return lambda: router.tell(key, f"answer to {key} at {runtime.monotonic():.3f}")

    for number in range(20):
        key = f"k{number % 4}"
        router.tell(key, f"{key}: {runtime.random():.3f} {runtime.new_id()}")
        executor.submit(call(key))
        runtime.after(runtime.random(), call(key))
    runtime.run()
    return log


def test_the_same_seed_gives_the_same_history() -> None:
    """Actors, calls, timers, random numbers and ids repeat, byte for byte."""
    assert [repr(history(seed)) for seed in range(10)] == [repr(history(seed)) for seed in range(10)]


def test_different_seeds_give_different_orders() -> None:
    """The order of steps is drawn, not only the random numbers in it."""

    def order(seed: int) -> tuple[int, ...]:
        runtime = SimulatedRuntime(random.Random(seed))
        ran: list[int] = []
        executor = runtime.executor("calls", 1)
        for number in range(20):
            executor.submit(partial(ran.append, number))
        runtime.run()
        return tuple(ran)

    assert len({order(seed) for seed in range(10)}) == 10


def test_time_passes_only_when_no_work_is_left() -> None:
    """Virtual time passes only to the next timer, and never beyond the requested end."""
    runtime = SimulatedRuntime(random.Random(1), started_at=5.0)
    called: list[float] = []
    for delay_s in (3.0, 1.0, 2.0):
        runtime.after(delay_s, lambda: called.append(runtime.monotonic()))
    runtime.run(until=7.5)
    assert called == [6.0, 7.0]
    runtime.run()
    assert called == [6.0, 7.0, 8.0]


def test_timers_also_fire_while_work_is_pending() -> None:
    """Sometimes time passes although work is pending: timers fire in every order."""
    left_over = [_left_when_the_timer_goes_off(seed) for seed in range(20)]
    assert any(left_over)
    assert not all(left_over)


def _left_when_the_timer_goes_off(seed: int) -> int:
    """How many of a hundred calls, each of which leads to the next, come after a timer of a second."""
    runtime = SimulatedRuntime(random.Random(seed))
    executor = runtime.executor("calls", 1)
    left = 100
    at_the_timer: list[int] = []

    def call() -> None:
        nonlocal left
        left -= 1
        if left:
            executor.submit(call)

    executor.submit(call)
    runtime.after(1.0, lambda: at_the_timer.append(left))
    runtime.run()
    return at_the_timer[0]


def test_a_cancelled_timer_has_no_effect() -> None:
    """It is not called, and time does not advance to it."""
    runtime = SimulatedRuntime(random.Random(1))
    runtime.after(5.0, lambda: pytest.fail("cancelled")).cancel()
    runtime.run()
    assert runtime.monotonic() == 0.0


def test_the_wall_clock_may_jump_and_the_monotonic_one_does_not() -> None:
    """A test can move one without the other."""
    runtime = SimulatedRuntime(random.Random(1))
    runtime.wall_offset_s = -3600.0
    assert runtime.now() == EPOCH - timedelta(hours=1)
    assert runtime.monotonic() == 0.0


@pytest.mark.parametrize("make", [LiveRuntime, lambda: SimulatedRuntime(random.Random(1))])
def test_an_id_has_the_layout_of_its_rfc(make: Callable[[], LiveRuntime | SimulatedRuntime]) -> None:
    """Version 7, the RFC's variant, 48 bits of Unix time in milliseconds: RFC 9562, section 5.7."""
    runtime = make()
    before = runtime.now()
    texts = [runtime.new_id() for _ in range(100)]
    after = runtime.now()
    made = [UUID(text) for text in texts]
    assert {(new.version, new.variant) for new in made} == {(7, RFC_4122)}
    assert [str(new) for new in made] == texts
    assert all(before.timestamp() * 1000 - 1 <= new.int >> 80 <= after.timestamp() * 1000 for new in made)
    seen = 0
    for new in made:
        seen |= new.int ^ made[0].int
    assert seen & ((1 << 76) - 1) == (0xFFF << 64) | ((1 << 62) - 1), "all 74 bits of chance are used, and no others"
    if isinstance(runtime, LiveRuntime):
        assert runtime.stop(10.0)


def test_every_bit_of_an_id_is_where_it_belongs() -> None:
    """The example of RFC 9562, appendix A.6: its time and its chance give its id."""
    at = EPOCH.fromtimestamp(1645557742, EPOCH.tzinfo)
    chance = 0xCC3 << 62 | 0x18C4DC0C0C07398F & 0x3FFFFFFFFFFFFFFF
    assert uuid7(at, chance) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_ids_sort_by_their_time() -> None:
    """As text, an id made in a later millisecond is above one made in an earlier, whatever the chance in them."""
    chance = random.Random(1)
    times = [EPOCH + timedelta(milliseconds=chance.randrange(10**11)) for _ in range(1_000)]
    ids = [uuid7(at, chance.getrandbits(80)) for at in sorted(times)]
    assert ids == sorted(ids)


def test_an_ids_time_is_exact() -> None:
    """Every millisecond is exact, despite binary fractions of a second."""
    times = [EPOCH + timedelta(milliseconds=number) for number in range(1_000)]
    first = UUID(uuid7(EPOCH, 0)).int >> 80
    assert [(UUID(uuid7(at, 0)).int >> 80) - first for at in times] == list(range(1_000))


def test_ids_do_not_repeat() -> None:
    """A hundred thousand ids of one process are all different."""
    runtime = LiveRuntime()
    assert len({runtime.new_id() for _ in range(100_000)}) == 100_000
    assert runtime.stop(10.0)
