"""Contract of the shared circuit breakers: the first change of an epoch wins, and one process has the probe."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from store.backend import PaymentStore
from store.errors import UnstorableError
from store.port import BreakerRecord
from tests.store.breaker_model import SharedBreaker

GATEWAY = "gatewayA"
SLEEP_S, PERMIT_S = 10.0, 4.0
NEVER = BreakerRecord(GATEWAY)

PassTime = Callable[[float], None]


def take(store: PaymentStore, epoch: int, owner: str = "me") -> BreakerRecord:
    """Request the probe."""
    return store.take_probe(GATEWAY, epoch, owner, sleep_s=SLEEP_S, permit_s=PERMIT_S)


def test_a_breaker_that_never_changed_is_closed(store: PaymentStore) -> None:
    """It has no record. The probe is refused, and only the first epoch can be changed."""
    assert store.breakers() == {}
    assert take(store, 0) == NEVER
    assert take(store, 1) == NEVER
    assert store.turn_breaker(GATEWAY, 1, "open") == NEVER
    assert store.breakers() == {}


def test_each_change_is_the_next_epoch(store: PaymentStore, pass_time: PassTime) -> None:
    """The answer is the state after the change, and every process reads it. Gateways do not affect each other."""
    for epoch, state in enumerate(["open", "closed", "open", "open", "closed"]):
        expected = BreakerRecord(GATEWAY, epoch + 1, state)
        assert store.turn_breaker(GATEWAY, epoch, state) == expected
        assert store.breakers() == {GATEWAY: expected}
        pass_time(2.5)
        assert store.breakers() == {GATEWAY: expected._replace(age_s=2.5)}
    other = store.turn_breaker("gatewayB", 0, "open")
    assert store.breakers() == {GATEWAY: BreakerRecord(GATEWAY, 5, "closed", 2.5), "gatewayB": other}


@pytest.mark.parametrize("epoch", [0, 1, 3, 99])
def test_another_epoch_changes_nothing(store: PaymentStore, pass_time: PassTime, epoch: int) -> None:
    """A change of an older or unknown epoch is refused, and the present record is returned."""
    store.turn_breaker(GATEWAY, 0, "open")
    store.turn_breaker(GATEWAY, 1, "closed")
    pass_time(SLEEP_S)
    expected = BreakerRecord(GATEWAY, 2, "closed", SLEEP_S)
    assert store.turn_breaker(GATEWAY, epoch, "open") == expected
    assert take(store, epoch) == expected
    assert store.breakers() == {GATEWAY: expected}


def test_a_change_that_is_made_twice_is_one(store: PaymentStore) -> None:
    """A caller that does not know the result may repeat the change."""
    assert store.turn_breaker(GATEWAY, 0, "open") == store.turn_breaker(GATEWAY, 0, "open")
    assert store.turn_breaker(GATEWAY, 1, "closed") == store.turn_breaker(GATEWAY, 1, "closed")
    assert store.breakers()[GATEWAY].epoch == 2


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("state", ["half_open", "ajar", ""])
def test_an_unknown_state_is_refused(store: PaymentStore, state: str, epoch: int) -> None:
    """A breaker is half-open for one prober only, which takes the probe. A refusal changes nothing."""
    if epoch:
        store.turn_breaker(GATEWAY, 0, "open")
    before = store.breakers()
    with pytest.raises(UnstorableError):
        store.turn_breaker(GATEWAY, epoch, state)
    assert store.breakers() == before


def test_the_probe_is_granted_after_the_sleep(store: PaymentStore, pass_time: PassTime) -> None:
    """After the sleep the probe is granted to one process. Others read its owner and its expiry."""
    store.turn_breaker(GATEWAY, 0, "open")
    pass_time(SLEEP_S - 0.5)
    assert take(store, 1) == BreakerRecord(GATEWAY, 1, "open", SLEEP_S - 0.5)
    pass_time(0.5)
    granted = BreakerRecord(GATEWAY, 2, "half_open", 0.0, "me", PERMIT_S)
    assert take(store, 1, "me") == granted
    assert take(store, 1, "you") == granted
    assert take(store, 2, "you") == granted
    pass_time(1.5)
    later = granted._replace(age_s=1.5, probe_left_s=PERMIT_S - 1.5)
    assert take(store, 1, "me") == later, "requested twice, granted once"
    assert store.breakers() == {GATEWAY: later}


@pytest.mark.parametrize("state", ["closed", "open"])
def test_the_probe_decides(store: PaymentStore, pass_time: PassTime, state: str) -> None:
    """The result of the probe is the next change. Then there is no prober, and after a failure a full sleep follows."""
    store.turn_breaker(GATEWAY, 0, "open")
    pass_time(SLEEP_S)
    take(store, 1)
    assert store.turn_breaker(GATEWAY, 2, state) == BreakerRecord(GATEWAY, 3, state)
    pass_time(SLEEP_S - 0.5)
    assert take(store, 3).state == state
    pass_time(0.5)
    assert take(store, 3).state == ("half_open" if state == "open" else "closed")


def test_a_probe_without_a_result_has_failed(store: PaymentStore, pass_time: PassTime) -> None:
    """One sleep after the permit expired, another process may probe; a late result of the first changes nothing."""
    store.turn_breaker(GATEWAY, 0, "open")
    pass_time(SLEEP_S)
    take(store, 1, "frozen")
    pass_time(PERMIT_S + SLEEP_S - 0.5)
    still = BreakerRecord(GATEWAY, 2, "half_open", PERMIT_S + SLEEP_S - 0.5, "frozen")
    assert take(store, 2, "next") == still
    pass_time(0.5)
    assert take(store, 2, "next") == BreakerRecord(GATEWAY, 3, "half_open", 0.0, "next", PERMIT_S)
    assert store.turn_breaker(GATEWAY, 2, "closed").prober == "next"


@pytest.mark.parametrize("probing", [False, True])
@pytest.mark.parametrize("back_s", [0.5, SLEEP_S, SLEEP_S + 0.5, 1e6])
def test_a_clock_that_is_set_back_keeps_no_breaker_open_forever(
    store: PaymentStore, pass_time: PassTime, back_s: float, *, probing: bool
) -> None:
    """The change appears to be new. Repeated requests get the probe at most one sleep later."""
    epoch = store.turn_breaker(GATEWAY, 0, "open").epoch
    if probing:
        pass_time(SLEEP_S)
        epoch = take(store, 1).epoch
    pass_time(-back_s)
    record = store.breakers()[GATEWAY]
    assert (record.age_s, record.probe_left_s) == (0.0, PERMIT_S if probing else 0.0)
    for _ in range(round(2 * SLEEP_S + (PERMIT_S if probing else 0.0)) // 2):
        take(store, epoch, "next")
        pass_time(2.0)
    assert take(store, epoch, "next").prober == "next"


def test_one_of_many_concurrent_changes_wins(store: PaymentStore) -> None:
    """All other processes receive the winner's record, for the first change and for later ones."""
    count = 8
    for epoch in range(4):
        start = Barrier(count)

        def turn(number: int, epoch: int = epoch, start: Barrier = start) -> BreakerRecord:
            start.wait()
            return store.turn_breaker(GATEWAY, epoch, "closed" if number % 2 else "open")

        with ThreadPoolExecutor(count) as threads:
            answers = list(threads.map(turn, range(count)))
        assert {answer.epoch for answer in answers} == {epoch + 1}
        assert len({answer.state for answer in answers}) == 1


def test_one_of_many_concurrent_requests_gets_the_probe(store: PaymentStore, pass_time: PassTime) -> None:
    """Other processes read the owner of the probe."""
    count, epoch = 8, store.turn_breaker(GATEWAY, 0, "open").epoch
    for _ in range(4):
        pass_time(SLEEP_S + PERMIT_S)
        start = Barrier(count)

        def probe(number: int, epoch: int = epoch, start: Barrier = start) -> BreakerRecord:
            start.wait()
            return take(store, epoch, f"owner-{number}")

        with ThreadPoolExecutor(count) as threads:
            answers = set(threads.map(probe, range(count)))
        assert {(answer.epoch, answer.state) for answer in answers} == {(epoch + 1, "half_open")}
        assert len({answer.prober for answer in answers}) == 1
        epoch += 1


@pytest.mark.parametrize("seed", range(3))
def test_the_store_answers_like_the_model(store: PaymentStore, pass_time: PassTime, seed: int) -> None:
    """For any calls in any order the store answers as a small model in Python."""
    chance, model = random.Random(seed), SharedBreaker(GATEWAY)
    for _ in range(150):
        epoch = max(model.epoch - chance.choice([0, 0, 0, 1]), 0)
        draw = chance.random()
        if draw < 0.3:
            state = chance.choice(["open", "open", "closed"])
            assert store.turn_breaker(GATEWAY, epoch, state) == model.turn(epoch, state)
        elif draw < 0.6:
            owner = chance.choice(["me", "you"])
            assert take(store, epoch, owner) == model.take(epoch, owner, sleep_s=SLEEP_S, permit_s=PERMIT_S)
        else:
            seconds = chance.choice([0.5, 2.0, PERMIT_S, SLEEP_S, SLEEP_S + PERMIT_S, -0.5, -SLEEP_S, -3 * SLEEP_S])
            pass_time(seconds)
            model.time += seconds
        assert store.breakers() == ({GATEWAY: model.record()} if model.epoch else {})
