"""Contract of the figures of a relay: how far it is behind, and whether anything publishes, in any of its states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from store.backend import PaymentStore
from store.port import Action, Fence, MoveWork, StreamKey, WorkState
from store.relay_health import RelayHealth
from store.relays import RelayDesk, rewind, skip
from tests.store.builders import START, Customer, Step
from tests.store.conftest import Fixture

NAME = "events"
LEASE_S = 10.0

PassTime = Callable[[float], None]


@pytest.fixture
def desk(fixture: Fixture) -> Iterator[RelayDesk]:
    """The operator's access to the relays while the store is open."""
    with fixture.open_desk() as desk:
        yield desk


def fill_at(store: PaymentStore, *seconds: float) -> list[int]:
    """Store an event for each of these times after START; returns the positions of all events."""
    customer = Customer(f"c{seconds[0]}")
    for number, second in enumerate(seconds):
        customer.now = START + timedelta(seconds=second)
        store.append([customer.deposit(f"{customer.stream.id}-{number}")])
    return [event.position for event in store.all_events(None, after=0, limit=100)]


def test_a_store_without_events(store: PaymentStore) -> None:
    """Nothing is behind, and no relay leads."""
    assert store.relay_health(NAME) == RelayHealth(0, 0.0, led=False, refused=False)


def test_a_relay_that_has_never_led(store: PaymentStore, pass_time: PassTime) -> None:
    """All events are behind, and the lag is the age of the first of them."""
    fill_at(store, 0, 20, 40)
    pass_time(60.0)
    assert store.relay_health(NAME) == RelayHealth(3, 60.0, led=False, refused=False)


def test_the_lag_falls_to_zero(store: PaymentStore, pass_time: PassTime) -> None:
    """It counts from the first event after the checkpoint, and is 0 at the end however old the last event is."""
    positions = fill_at(store, 0, 20, 40)
    pass_time(60.0)
    store.lead(NAME, "a", LEASE_S)
    store.advance(NAME, 1, positions[0], 0)
    assert store.relay_health(NAME) == RelayHealth(positions[2] - positions[0], 40.0, led=True, refused=False)
    store.advance(NAME, 1, positions[2], 0)
    assert store.relay_health(NAME) == RelayHealth(0, 0.0, led=True, refused=False)
    pass_time(LEASE_S)
    assert store.relay_health(NAME) == RelayHealth(0, 0.0, led=False, refused=False)


def test_other_relays_are_left_out(store: PaymentStore, pass_time: PassTime) -> None:
    """Each relay has a lag and a leader of its own."""
    positions = fill_at(store, 0)
    pass_time(5.0)
    store.lead("webhooks", "a", LEASE_S)
    store.advance("webhooks", 1, positions[0], 0)
    assert store.relay_health(NAME) == RelayHealth(1, 5.0, led=False, refused=False)
    assert store.relay_health("webhooks") == RelayHealth(0, 0.0, led=True, refused=False)


def test_a_leader_that_gives_its_lease_back(store: PaymentStore) -> None:
    """No process leads from then on."""
    store.lead(NAME, "a", LEASE_S)
    assert store.relay_health(NAME).led
    store.resign(NAME, "a")
    assert not store.relay_health(NAME).led


def test_a_refused_event(store: PaymentStore, desk: RelayDesk) -> None:
    """It is shown until it is published, skipped, or the relay rewound; also after the leader died."""
    first, second, *_ = fill_at(store, 0, 1, 2)
    store.lead(NAME, "a", LEASE_S)
    store.note_refusal(NAME, 1, first, "full")
    store.resign(NAME, "a")
    assert store.relay_health(NAME)[2:] == (False, True)
    assert desk.health(NAME).refused
    skip(desk, NAME, first, who="jo", reason="")
    assert not store.relay_health(NAME).refused
    token = store.lead(NAME, "a", LEASE_S)
    assert token is not None
    store.note_refusal(NAME, token.token, second, "full")
    store.advance(NAME, token.token, second, 0)
    assert not store.relay_health(NAME).refused


def test_a_rewound_relay_is_behind_again(store: PaymentStore, desk: RelayDesk, pass_time: PassTime) -> None:
    """The lag is that of the oldest event which is published again. The desk shows the same as the service."""
    positions = fill_at(store, 0, 30)
    pass_time(30.0)
    store.lead(NAME, "a", LEASE_S)
    store.advance(NAME, 1, positions[-1], 0)
    rewind(desk, NAME, 0, who="jo", reason="")
    assert store.relay_health(NAME) == RelayHealth(2, 30.0, led=True, refused=False) == desk.health(NAME)


def test_an_event_of_the_future(store: PaymentStore) -> None:
    """Clocks of hosts differ: no lag is below zero."""
    fill_at(store, 5)
    assert store.relay_health(NAME).lag_s == 0.0


@pytest.mark.parametrize(
    ("event_id", "lag_s"), [("019b0000-0000-7000-8000-000000000000", 5.0), ("e1", None)], ids=["its id", "nothing"]
)
def test_an_event_that_cannot_be_read(event_id: str, lag_s: float | None) -> None:
    """The time in its id counts; without one the age is unknown, and the rest is shown."""
    made_at = int("019b00000000", 16) / 1000
    now = START.fromtimestamp(made_at + 5.0, START.tzinfo)
    for body in (b"", b'{"occurred_at": "2026-01-01T00:00:00"}', b"\xff"):
        health = RelayHealth.of(following=(4, event_id, body), last=5, led=True, refused=False, now=now)
        assert (health.lag_events, health.led) == (2, True)
        assert health.lag_s == (None if lag_s is None else pytest.approx(lag_s, abs=0.001))


def due(store: PaymentStore) -> dict[tuple[str, str], tuple[int, float]]:
    """The number of due pieces by gateway and state, and the seconds since the oldest became due."""
    return {key: (work.due, work.overdue_s) for key, work in store.stats().unfinished.items()}


def test_due_work(store: PaymentStore, pass_time: PassTime) -> None:
    """Queued work and dead letters count from the time when they are due; leased and parked work does not."""
    customer = Customer()
    store.append([customer.deposit("t1")])
    pass_time(30.0)
    assert due(store) == {("gatewayA", "queued"): (1, 30.0)}
    store.register_owner("one")
    for state, later in ((WorkState.DEAD, (1, 10.0)), (WorkState.QUEUED, (1, 10.0)), (WorkState.PARKED, (0, 0.0))):
        (item,) = store.claim_work("one", "gatewayA", 5)
        assert due(store) == {("gatewayA", "leased"): (0, 0.0)}
        move = MoveWork("t1", Action.SUBMIT, state, 20.0, 1, ())
        store.append([customer.write(Step(fence=Fence("t1", item.token), work=(move,)))])
        pass_time(19.0)
        assert due(store) == {("gatewayA", state): (0, 0.0)}
        pass_time(11.0)
        assert due(store) == {("gatewayA", state): later}


def test_streams_of_others_count(store: PaymentStore) -> None:
    """The relay publishes the events of all merchants and gateways."""
    assert store.append([Customer("a", "other").deposit("t9")])
    assert store.relay_health(NAME).lag_events == 1
    assert StreamKey("other", "a") in {event.stream for event in store.all_events(None, after=0, limit=9)}
