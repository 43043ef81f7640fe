"""The settlement delay: never shorter than its length since this process first handled the submission."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateways.settlement_delay import TICK_S, SettlementDelay
from actors.runtime.simulated import SimulatedRuntime
from store.port import WorkItem
from tests.actors.gateways.fixtures import work

SETTLE_S = 65.0


def item(submissions: int = 1, key: str = "t-1") -> WorkItem:
    """Work of a transaction with this number of submissions."""
    made = work()
    assert made.transaction is not None
    return replace(made, work_id=key, transaction=replace(made.transaction, submissions=submissions))


@pytest.fixture
def runtime() -> SimulatedRuntime:
    """A runtime, for its clocks."""
    return SimulatedRuntime(random.Random(1), started_at=100.0)


def test_the_whole_delay_begins_at_the_first_query(runtime: SimulatedRuntime) -> None:
    """However long ago it was sent, the delay starts when this process first handles it."""
    settlement = SettlementDelay(runtime.monotonic)
    assert settlement.left_s(item(), SETTLE_S) == SETTLE_S
    runtime.advance(60.0)
    assert settlement.left_s(item(), SETTLE_S) == pytest.approx(5.0)
    runtime.advance(5.0)
    assert settlement.left_s(item(), SETTLE_S) > 0.0  # exactly at the end it may still be on its way
    runtime.advance(5.0)
    assert settlement.left_s(item(), SETTLE_S) == 0.0


@pytest.mark.parametrize("jump_s", [-100_000.0, 100_000.0])
def test_wall_clocks_may_jump(runtime: SimulatedRuntime, jump_s: float) -> None:
    """The delay is monotonic time, whatever the wall clock does."""
    settlement = SettlementDelay(runtime.monotonic)
    settlement.left_s(item(), SETTLE_S)
    runtime.wall_offset_s = jump_s
    runtime.advance(1.0)
    assert settlement.left_s(item(), SETTLE_S) == pytest.approx(SETTLE_S - 1.0)


def test_each_submission_has_a_wait_of_its_own(runtime: SimulatedRuntime) -> None:
    """Another submission of the same work, and other work, have delays of their own."""
    settlement = SettlementDelay(runtime.monotonic)
    settlement.left_s(item(), SETTLE_S)
    runtime.advance(SETTLE_S)
    assert settlement.left_s(item(submissions=2), SETTLE_S) == SETTLE_S
    assert settlement.left_s(item(key="t-2"), SETTLE_S) == SETTLE_S


def test_a_dropped_submission_waits_again(runtime: SimulatedRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission that was dropped begins with the whole delay again: too long is harmless."""
    monkeypatch.setattr("actors.gateways.settlement_delay.KNOWN_MAX", 3)
    settlement = SettlementDelay(runtime.monotonic)
    for number in range(4):
        settlement.left_s(item(key=f"t-{number}"), SETTLE_S)
    runtime.advance(SETTLE_S + 0.1)
    assert settlement.left_s(item(key="t-3"), SETTLE_S) == 0.0
    assert settlement.left_s(item(key="t-0"), SETTLE_S) == SETTLE_S
    settlement.forget("t-3")
    settlement.forget("t-3")
    assert settlement.left_s(item(key="t-3"), SETTLE_S) == SETTLE_S


def test_the_kept_submissions_are_bounded(runtime: SimulatedRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is bounded for any number of open submissions and queries."""
    monkeypatch.setattr("actors.gateways.settlement_delay.KNOWN_MAX", 10)
    settlement = SettlementDelay(runtime.monotonic)
    for number in range(200):
        for submissions in (1, 2, 1):
            settlement.left_s(item(submissions, key=f"t-{number % 50}"), SETTLE_S)
    assert len(settlement._since) <= 10


def test_work_without_a_transaction_waits_as_any_other(runtime: SimulatedRuntime) -> None:
    """It has a delay like other work."""
    settlement = SettlementDelay(runtime.monotonic)
    assert settlement.left_s(replace(item(), transaction=None), SETTLE_S) == SETTLE_S


@pytest.mark.parametrize(("asked_after_s", "left_s"), [(0.0, 65.0), (64.0, 1.0), (65.0, TICK_S), (66.0, 0.0)])
def test_an_answer_is_as_old_as_its_lookup(runtime: SimulatedRuntime, asked_after_s: float, left_s: float) -> None:
    """The delay is judged at the start of the lookup, however late its answer is handled."""
    settlement = SettlementDelay(runtime.monotonic)
    settlement.left_s(item(), SETTLE_S)
    asked_at = runtime.monotonic() + asked_after_s
    runtime.advance(1000.0)
    assert settlement.left_s(item(), SETTLE_S, asked_at) == pytest.approx(left_s)


def test_a_lookup_from_before_the_first_query_proves_nothing(runtime: SimulatedRuntime) -> None:
    """A process that first handles a submission in a lookup waits the whole delay from then on."""
    settlement = SettlementDelay(runtime.monotonic)
    asked_at = runtime.monotonic()
    runtime.advance(1000.0)
    assert settlement.left_s(item(), SETTLE_S, asked_at) >= SETTLE_S
    runtime.advance(SETTLE_S + 0.1)
    assert settlement.left_s(item(), SETTLE_S) == 0.0


@pytest.mark.parametrize("sent_within_s", [0.0, 15.0])
def test_a_process_that_may_still_send_it_is_waited_for(runtime: SimulatedRuntime, sent_within_s: float) -> None:
    """The delay begins after the last moment to send it, and further queries do not postpone that."""
    settlement = SettlementDelay(runtime.monotonic)
    assert settlement.left_s(item(), SETTLE_S, sent_within_s=sent_within_s) == SETTLE_S + sent_within_s
    runtime.advance(10.0)
    assert settlement.left_s(item(), SETTLE_S, sent_within_s=sent_within_s) == pytest.approx(
        SETTLE_S + sent_within_s - 10.0
    )
    assert settlement.left_s(item(), SETTLE_S) == pytest.approx(SETTLE_S + sent_within_s - 10.0)


def test_what_was_accepted_never_counts_as_never_received(runtime: SimulatedRuntime) -> None:
    """This holds for every submission and any time, until its outcome is known."""
    settlement = SettlementDelay(runtime.monotonic)
    settlement.left_s(item(), SETTLE_S)
    settlement.accepted("t-1")
    settlement.accepted("t-1")
    runtime.advance(10 * SETTLE_S)
    assert settlement.left_s(item(), SETTLE_S, runtime.monotonic()) == inf
    assert settlement.left_s(item(submissions=2), SETTLE_S) == inf
    assert settlement.left_s(item(key="t-2"), SETTLE_S) == SETTLE_S
    settlement.forget("t-1")
    assert settlement.left_s(item(), SETTLE_S) == SETTLE_S


def test_the_kept_acceptances_are_bounded(runtime: SimulatedRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest are kept."""
    monkeypatch.setattr("actors.gateways.settlement_delay.KNOWN_MAX", 3)
    settlement = SettlementDelay(runtime.monotonic)
    for number in range(50):
        settlement.accepted(f"t-{number}")
    assert [settlement.left_s(item(key=f"t-{number}"), SETTLE_S) == inf for number in (46, 47, 48, 49)] == [
        False,
        True,
        True,
        True,
    ]


steps = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("forget"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("pass"), st.integers(0, 40), st.just(0)),
)


@given(st.lists(steps, max_size=60))
def test_it_is_never_too_short(history: list[tuple[str, int, int]]) -> None:
    """In any order of queries, the delay ends no earlier than its length after the first query."""
    runtime = SimulatedRuntime(random.Random(1), started_at=100.0)
    settlement = SettlementDelay(runtime.monotonic)
    asked: dict[tuple[int, int], float] = {}
    for verb, number, submissions in history:
        if verb == "pass":
            runtime.advance(number)
        elif verb == "forget":
            settlement.forget(f"t-{number}")
        else:
            first = asked.setdefault((number, submissions), runtime.monotonic())
            left = settlement.left_s(item(submissions, f"t-{number}"), SETTLE_S)
            assert 0.0 <= left <= SETTLE_S
            assert left >= first + SETTLE_S - runtime.monotonic()
