"""Contract of the relays: one leader at a time, a checkpoint that only the leader moves, and operators' changes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from store.backend import PaymentStore
from store.port import REFUSAL_REASON_MAX, RelayCheckpoint, RelayLease, RelayRefusal
from store.relays import Move, MoveRefusedError, RelayDesk, RelayMove, rewind, skip
from tests.store.builders import START, Customer
from tests.store.conftest import Fixture
from tests.store.postgresql_server import Schema

NAME = "events"
LEASE_S = 10.0

PassTime = Callable[[float], None]


@pytest.fixture
def desk(fixture: Fixture) -> Iterator[RelayDesk]:
    """The operator's access to the relays while the store is open."""
    with fixture.open_desk() as desk:
        yield desk


def lead(store: PaymentStore, owner: str = "a") -> RelayLease | None:
    """Try to lead."""
    return store.lead(NAME, owner, LEASE_S)


def at(store: PaymentStore) -> RelayCheckpoint:
    """The relay, which has a record."""
    found = store.checkpoint(NAME)
    assert found is not None
    return found


def fill(store: PaymentStore, count: int = 4) -> list[int]:
    """Store events; returns their positions."""
    customer = Customer()
    for number in range(count):
        store.append([customer.deposit(f"t{number}")])
    return [event.position for event in store.all_events(None, after=0, limit=100)]


def test_a_relay_begins_before_the_first_event(store: PaymentStore) -> None:
    """The first to ask leads. Before that there is no record."""
    assert store.checkpoint(NAME) is None
    assert not store.advance(NAME, 1, 5, 0)
    assert not store.note_refusal(NAME, 1, 5, "full")
    store.resign(NAME, "a")
    assert store.checkpoint(NAME) is None
    assert lead(store) == RelayLease(1, 0, 0)
    assert at(store) == RelayCheckpoint(NAME, 0, 0, 1, "a", LEASE_S, None)


def test_one_owner_leads_until_its_lease_expires(store: PaymentStore, pass_time: PassTime) -> None:
    """Another owner gets the lease at its expiry, under a higher token, and continues from the checkpoint."""
    lead(store)
    assert store.advance(NAME, 1, 7, 0)
    pass_time(LEASE_S - 0.5)
    assert lead(store, "b") is None
    assert at(store) == RelayCheckpoint(NAME, 7, 0, 1, "a", 0.5, None)
    pass_time(0.5)
    assert at(store).lease_left_s == 0.0
    assert lead(store, "b") == RelayLease(2, 7, 0)
    assert lead(store, "a") is None


def test_a_leader_that_renews_keeps_its_token(store: PaymentStore, pass_time: PassTime) -> None:
    """The lease counts from the renewal. It may be renewed late, as long as no other owner led meanwhile."""
    lead(store)
    pass_time(LEASE_S - 0.5)
    assert lead(store) == RelayLease(1, 0, 0)
    pass_time(LEASE_S - 0.5)
    assert lead(store, "b") is None
    pass_time(LEASE_S)
    assert lead(store) == RelayLease(1, 0, 0)


def test_relays_do_not_affect_each_other(store: PaymentStore) -> None:
    """Each name has a lease and a checkpoint of its own."""
    lead(store)
    assert store.lead("webhooks", "b", LEASE_S) == RelayLease(1, 0, 0)
    assert store.advance("webhooks", 1, 9, 0)
    assert at(store).position == 0


def test_a_frozen_leader_moves_nothing(store: PaymentStore, pass_time: PassTime) -> None:
    """After another owner took over, its token moves no checkpoint and records no refusal."""
    lead(store)
    pass_time(LEASE_S)
    lead(store, "b")
    assert not store.advance(NAME, 1, 9, 0)
    assert not store.note_refusal(NAME, 1, 9, "full")
    store.resign(NAME, "a")
    assert at(store) == RelayCheckpoint(NAME, 0, 0, 2, "b", LEASE_S, None)
    assert store.advance(NAME, 2, 9, 0)


def test_a_checkpoint_never_goes_back(store: PaymentStore) -> None:
    """A call may be repeated. A lower position is refused."""
    lead(store)
    assert store.advance(NAME, 1, 7, 0)
    assert store.advance(NAME, 1, 7, 0)
    assert not store.advance(NAME, 1, 6, 0)
    assert at(store).position == 7


def test_an_earlier_generation_moves_nothing(store: PaymentStore) -> None:
    """After a restore the leader learns the new generation when it renews, and continues from the stored position."""
    lead(store)
    assert store.advance(NAME, 1, 7, 0)
    store.begin_generation(0)
    assert not store.advance(NAME, 1, 9, 0)
    assert lead(store) == RelayLease(1, 7, 1)
    assert not store.advance(NAME, 1, 9, 0)
    assert at(store).generation == 0
    assert store.advance(NAME, 1, 9, 1)
    assert (at(store).position, at(store).generation) == (9, 1)


def test_a_lease_that_is_given_back_is_free(store: PaymentStore) -> None:
    """Another owner leads at once, under a higher token; so does the same owner."""
    lead(store)
    store.resign(NAME, "a")
    assert at(store) == RelayCheckpoint(NAME, 0, 0, 1, None, 0.0, None)
    assert lead(store) == RelayLease(2, 0, 0)
    store.resign(NAME, "b")
    assert lead(store, "b") is None
    store.resign(NAME, "a")
    assert lead(store, "b") == RelayLease(3, 0, 0)


def test_a_refusal_is_kept_until_the_checkpoint_passes_it(store: PaymentStore, pass_time: PassTime) -> None:
    """It names the position, the reason and the time of the newest attempt."""
    lead(store)
    assert store.note_refusal(NAME, 1, 7, "full")
    pass_time(2.5)
    assert at(store).refusal == RelayRefusal(7, "full", 2.5)
    assert store.note_refusal(NAME, 1, 7, "x" * (REFUSAL_REASON_MAX + 1))
    assert at(store).refusal == RelayRefusal(7, "x" * REFUSAL_REASON_MAX, 0.0)
    assert store.advance(NAME, 1, 6, 0)
    assert at(store).refusal is not None
    assert store.advance(NAME, 1, 7, 0)
    assert at(store).refusal is None
    assert not store.note_refusal(NAME, 1, 7, "late"), "it is published"


@pytest.mark.parametrize("back_s", [LEASE_S + 0.5, 1e6])
def test_a_clock_that_is_set_back_extends_no_lease(store: PaymentStore, pass_time: PassTime, back_s: float) -> None:
    """Another owner leads at most one lease later."""
    lead(store)
    pass_time(-back_s)
    assert at(store).lease_left_s == LEASE_S
    assert lead(store, "b") == RelayLease(2, 0, 0)


def test_one_of_many_owners_leads(store: PaymentStore, pass_time: PassTime) -> None:
    """When all ask at the same moment, one gets the lease."""
    count = 8
    for number in range(4):
        start = Barrier(count)

        def ask(owner: int, number: int = number, start: Barrier = start) -> RelayLease | None:
            start.wait()
            return lead(store, f"{number}-{owner}")

        with ThreadPoolExecutor(count) as threads:
            got = [lease for lease in threads.map(ask, range(count)) if lease is not None]
        # Not its generation: the tables were emptied under the store, which takes that for a restore.
        assert [(lease.token, lease.position) for lease in got] == [(number + 1, 0)]
        pass_time(LEASE_S)


def test_a_rewound_relay_repeats(store: PaymentStore, desk: RelayDesk) -> None:
    """The checkpoint goes back, also under a leader: its token is void, and it learns the new one when it renews."""
    positions = fill(store)
    lead(store)
    assert store.advance(NAME, 1, positions[2], 0)
    store.note_refusal(NAME, 1, positions[3], "full")
    before = rewind(desk, NAME, positions[0], who="jo", reason="consumer lost them")
    assert before.position == positions[2]
    assert not store.advance(NAME, 1, positions[3], 0)
    assert lead(store) == RelayLease(2, positions[0], 0)
    assert at(store).refusal is None
    assert store.advance(NAME, 2, positions[3], 0)


@pytest.mark.parametrize("position", [-1, 3, 100])
def test_a_rewind_goes_back_only(store: PaymentStore, desk: RelayDesk, position: int) -> None:
    """No event can be skipped by it."""
    lead(store)
    store.advance(NAME, 1, 2, 0)
    with pytest.raises(MoveRefusedError, match="cannot be rewound"):
        rewind(desk, NAME, position, who="jo", reason="")
    assert (at(store).position, at(store).token) == (2, 1)
    assert desk.moves(NAME, 10) == []


def test_the_refused_event_can_be_skipped(store: PaymentStore, desk: RelayDesk) -> None:
    """The relay continues after it."""
    positions = fill(store)
    lead(store)
    store.advance(NAME, 1, positions[0], 0)
    store.note_refusal(NAME, 1, positions[1], "too large")
    event = skip(desk, NAME, positions[1], who="jo", reason="sent by hand")
    assert event.position == positions[1]
    assert lead(store) == RelayLease(2, positions[1], 0)
    assert at(store).refusal is None


def test_no_other_event_can_be_skipped(store: PaymentStore, desk: RelayDesk) -> None:
    """Neither a published one, nor a later one, nor one that does not exist."""
    positions = fill(store)
    lead(store)
    store.advance(NAME, 1, positions[1], 0)
    for position in (0, positions[0], positions[1], positions[3], positions[3] + 1):
        with pytest.raises(MoveRefusedError, match="only the next event"):
            skip(desk, NAME, position, who="jo", reason="")
    store.advance(NAME, 1, positions[3], 0)
    with pytest.raises(MoveRefusedError, match="there is none"):
        skip(desk, NAME, positions[3] + 1, who="jo", reason="")
    assert (at(store).position, at(store).token) == (positions[3], 1)


def test_an_unknown_relay_cannot_be_moved(desk: RelayDesk) -> None:
    """There is no record before a relay has started."""
    assert desk.relays() == []
    with pytest.raises(MoveRefusedError, match="there is no relay"):
        rewind(desk, "absent", 0, who="jo", reason="")


def test_a_checkpoint_that_moved_meanwhile_is_left_alone(store: PaymentStore, desk: RelayDesk) -> None:
    """The operator decided on another state."""
    lead(store)
    store.advance(NAME, 1, 5, 0)
    assert not desk.move(NAME, Move.REWIND, 4, 0, who="jo", reason="")
    assert (at(store).position, at(store).token, desk.moves(NAME, 10)) == (5, 1, [])


def test_changes_by_operators_are_on_record(store: PaymentStore, desk: RelayDesk, pass_time: PassTime) -> None:
    """Who, when, why, from where to where; newest first."""
    positions = fill(store)
    lead(store)
    store.advance(NAME, 1, positions[1], 0)
    skip(desk, NAME, positions[2], who="jo", reason="too large")
    pass_time(60.0)
    rewind(desk, NAME, 0, who="kim", reason="a new consumer")
    rewound, skipped = desk.moves(NAME, 10)
    assert skipped == RelayMove(NAME, Move.SKIP, positions[1], positions[2], "jo", "too large", START)
    assert rewound[:6] == (NAME, Move.REWIND, positions[2], 0, "kim", "a new consumer")
    assert (rewound.moved_at - START).total_seconds() == 60.0
    assert desk.moves(NAME, 1) == [rewound]
    assert desk.moves("other", 10) == []


def test_the_desk_shows_all_relays(store: PaymentStore, desk: RelayDesk) -> None:
    """By name, as the store shows each, and the end of the feed."""
    positions = fill(store)
    store.lead("webhooks", "b", LEASE_S)
    lead(store)
    assert desk.relays() == [at(store), store.checkpoint("webhooks")]
    assert desk.feed() == (0, positions[-1])


@pytest.mark.parametrize("seed", range(3))
def test_the_store_answers_like_the_model(store: PaymentStore, pass_time: PassTime, seed: int) -> None:
    """For any calls in any order: at most one owner's token moves the checkpoint, and only forward."""
    chance = random.Random(seed)
    time, token, owner, until, position = 0.0, 0, "", 0.0, 0
    for _ in range(150):
        draw = chance.random()
        if draw < 0.4:
            asking = chance.choice("ab")
            expected = None
            if owner in {"", asking} or until <= time:
                token += asking != owner
                owner, until, expected = asking, time + LEASE_S, RelayLease(token, position, 0)
            assert lead(store, asking) == expected
        elif draw < 0.8:
            tried, to = max(token - chance.choice([0, 0, 1]), 0), position + chance.choice([0, 1, 5, -1])
            moves = token > 0 and tried == token and to >= position
            assert store.advance(NAME, tried, to, 0) is moves
            position = to if moves else position
        elif draw < 0.9:
            leaving = chance.choice("ab")
            store.resign(NAME, leaving)
            owner = "" if leaving == owner else owner
        else:
            seconds = chance.choice([0.5, 4.0, LEASE_S])
            pass_time(seconds)
            time += seconds


def test_the_service_cannot_rewrite_the_record(schema: Schema) -> None:
    """The service's login on a server can neither read nor change what operators did."""
    if not schema.role:
        pytest.skip("the server's user may not make roles")
    with psycopg.connect(schema.conninfo(), autocommit=True) as session:
        for statement in ("UPDATE relay_moves SET who = ''", "DELETE FROM relay_moves", "DELETE FROM relays"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)
