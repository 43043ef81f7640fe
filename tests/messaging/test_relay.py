"""The relay publishes every event, in order within a customer, whatever ends or stops in between."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from itertools import count

import pytest

from messaging.port import BrokerUnavailableError
from messaging.relay import REFUSED_S, RETRY_FIRST_S, RETRY_MAX_S, WAVES_MAX, Relay
from messaging.troubles import REPEAT_S as TROUBLE_REPEAT_S
from store.backend import PaymentStore
from store.errors import StoreUnavailableError
from store.port import RelayLease
from store.relays import rewind, skip
from tests.messaging.relaying import LEASE_S, NAME, Died, Scenario
from tests.store.conftest import Fixture

PassTime = Callable[[float], None]


@pytest.fixture
def scenario(store: PaymentStore, pass_time: PassTime) -> Scenario:
    """Six deposits of three customers: 18 events."""
    scenario = Scenario(store, pass_time)
    scenario.fill(6)
    return scenario


def test_all_events_are_published_once(scenario: Scenario) -> None:
    """Without any trouble: in order of their positions within a customer, then the checkpoint is at the end."""
    relay = scenario.relay()
    scenario.drain(relay)
    scenario.check()
    assert len(scenario.broker.delivered) == 18
    assert relay.state.published == 18
    assert (relay.state.backlog, relay.state.problem) == (0, None)


def test_a_batch_has_a_bounded_number_of_events_of_a_customer(scenario: Scenario) -> None:
    """Each waits for the confirm of the one before it, while nobody renews the lease. The rest is published later."""
    only = scenario.customers["a"]
    for number in range(WAVES_MAX):
        scenario.store.append([only.deposit(f"more-{number:03}")])
    relay = scenario.relay(batch_max=10 * WAVES_MAX)
    counts = []
    while scenario.at().position < scenario.store.last_position():
        before = len(scenario.broker.delivered)
        relay.step()
        keys = [message.partition_key for message in scenario.broker.delivered[before:]]
        counts.append(keys.count("main/a"))
    assert counts == [WAVES_MAX, 6]
    scenario.check()


def test_later_events_follow(scenario: Scenario) -> None:
    """The relay goes on reading after the end of the feed, and continues after a restart."""
    scenario.drain(scenario.relay())
    scenario.fill(2)
    second = scenario.relay()
    scenario.drain(second)
    scenario.check()
    assert len(scenario.broker.delivered) == 24
    scenario.fill(1)
    scenario.drain(second)
    assert len(scenario.broker.delivered) == 27


def test_a_relay_that_dies_at_any_step_leaves_nothing_out(scenario: Scenario) -> None:
    """It ends before or after every call of the store and every delivery; another one continues from the checkpoint."""
    for at in count():
        calls = 0

        def die(_: str, at: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise Died

        scenario.broker.delivered.clear()
        first = scenario.at().position
        scenario.fill(2)
        scenario.broker.at_step = die
        dying = scenario.relay(f"dying-{at}", at_step=die)
        try:
            scenario.drain(dying)
        except Died:
            died = True
        else:
            died = False
        scenario.broker.at_step = lambda _: None
        scenario.wait(LEASE_S)
        scenario.drain(scenario.relay(f"next-{at}"))
        events = scenario.store.all_events(None, after=first, limit=10_000)
        assert {event.event_id for event in events} == set(scenario.broker.event_ids), at
        firsts = [(message.partition_key, message.version) for message in scenario.broker.first_deliveries]
        for key in {key for key, _ in firsts}:
            versions = [version for one, version in firsts if one == key]
            assert versions == sorted(versions), at
        scenario.wait(LEASE_S)
        if not died:
            assert at > 10
            break


def test_a_checkpoint_never_passes_what_is_not_confirmed(scenario: Scenario) -> None:
    """A relay that dies before the confirms has moved nothing."""

    def die(step: str) -> None:
        if step == "confirm":
            raise Died

    scenario.broker.at_step = die
    with pytest.raises(Died):
        scenario.relay().step()
    assert scenario.broker.delivered
    assert scenario.at().position == 0


def test_confirms_that_are_lost_are_awaited_by_repetition(scenario: Scenario) -> None:
    """The events arrived. The relay cannot know, and publishes them again from its checkpoint."""
    scenario.broker.confirms_lost = 3
    relay = scenario.relay()
    scenario.drain(relay)
    scenario.check()
    assert len(scenario.broker.delivered) > 18


def test_an_outage_is_logged_once_an_hour_and_at_its_end(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """Not at each attempt. Another reason is logged at once."""
    relay = scenario.relay()

    def logged() -> list[tuple[int, str]]:
        found = [(record.levelno, record.message) for record in caplog.records]
        caplog.clear()
        return [line for line in found if "leads" not in line[1]]

    def fail(seconds: float) -> None:
        end = scenario.now + seconds
        while scenario.now < end:
            scenario.wait(relay.step())

    with caplog.at_level(logging.INFO):
        scenario.broker.is_up = False
        fail(TROUBLE_REPEAT_S - 60)
        down = (logging.WARNING, "the relay cannot publish: the broker is down")
        assert logged() == [down]
        fail(120)
        assert logged() == [down]
        scenario.broker.is_up, scenario.broker.confirms_lost = True, 1
        scenario.wait(relay.step())
        assert logged() == [(logging.WARNING, "the relay cannot publish: the connection was lost")]
        scenario.drain(relay)
        assert logged() == [(logging.INFO, "the relay can publish again")]


def test_a_backlog_goes_out_after_an_outage(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """While the broker is down the relay asks less and less often, and keeps its lease. It needs no restart."""
    scenario.broker.is_up = False
    lease_s = 6.0
    relay = scenario.relay(lease_s=lease_s)
    waits = []
    with caplog.at_level(logging.WARNING):
        for _ in range(8):
            waits.append(relay.step())
            scenario.wait(waits[-1])
            assert scenario.at().lease_left_s > 0
    assert waits == [min(RETRY_FIRST_S * 2**number, RETRY_MAX_S, lease_s / 3) for number in range(8)]
    assert relay.state.problem == "the broker is down"
    assert "the broker is down" in caplog.text
    scenario.fill(2)
    scenario.broker.is_up = True
    scenario.drain(relay)
    scenario.check()
    assert relay.state.problem is None


def test_each_batch_is_timed(scenario: Scenario) -> None:
    """From sending to the broker's answer, and only batches that have one."""
    took: list[float] = []
    scenario.broker.at_step = lambda step: scenario.wait(0.25 if step == "confirm" else 0.0)
    relay = scenario.relay(batch_max=3, on_published=took.append)
    relay.step()
    assert took == [0.75], "three waves, since the three events are of one customer"
    scenario.broker.is_up = False
    relay.step()
    assert len(took) == 1


@pytest.mark.parametrize("confirm_s", [0.05, 0.2, 1.0])
def test_confirms_that_are_slow_for_the_lease_delay_only(scenario: Scenario, confirm_s: float) -> None:
    """Another relay takes each lease that expires. The batches become so small that they end in time."""
    lease_s = 4.0
    scenario.fill(40)

    def confirm(step: str) -> None:
        if step == "confirm":
            scenario.wait(confirm_s)
            if scenario.at().lease_left_s == 0 and scenario.store.lead(NAME, "another", lease_s):
                scenario.store.resign(NAME, "another")

    scenario.broker.at_step = confirm
    scenario.drain(scenario.relay(lease_s=lease_s, batch_max=120))
    scenario.check()


def test_a_connection_that_is_always_lost_delays_only(scenario: Scenario) -> None:
    """The broker loses the connection after every seven messages: the batches become so small that they get through."""
    scenario.fill(40)
    sent = 0

    def confirm(step: str) -> None:
        nonlocal sent
        if step == "confirm":
            sent += 1
            if sent % 7 == 0:
                raise BrokerUnavailableError("cut")

    scenario.broker.at_step = confirm
    scenario.drain(scenario.relay(batch_max=120))
    scenario.check()


def test_an_idle_relay_notices_a_broker_that_is_away(scenario: Scenario) -> None:
    """It keeps the connection alive, and says so when that fails."""
    relay = scenario.relay()
    scenario.drain(relay)
    scenario.broker.is_up = False
    relay.step()
    assert relay.state.problem == "the broker is down"


def test_a_store_that_does_not_answer_delays_only(scenario: Scenario) -> None:
    """Each call of the store may fail, before or after it took effect."""
    for number in range(40):
        calls = 0

        def fail(_: str, number: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls == number + 1:
                raise StoreUnavailableError("away")

        scenario.fill(1)
        relay = scenario.relay("steady", at_step=fail)
        scenario.drain(relay)
    scenario.check()


def test_a_defect_does_not_end_the_relay(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged with its traceback, and the next step tries again."""

    def fail(step: str) -> None:
        if step == "deliver":
            scenario.broker.at_step = lambda _: None
            raise ZeroDivisionError

    scenario.broker.at_step = fail
    relay = scenario.relay()
    assert relay.step() == RETRY_FIRST_S
    assert relay.state.problem is not None
    scenario.drain(relay)
    scenario.check()
    assert any(record.exc_info for record in caplog.records)


def test_a_refused_event_stops_the_relay_before_it(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """Everything before it is published. After it, nothing of its customer is, and nothing is skipped."""
    events = scenario.store.all_events(None, after=0, limit=100)
    bad = events[7]
    scenario.broker.refused[bad.event_id] = "too\nlarge"
    relay = scenario.relay(batch_max=10)
    wait_s = 0.0
    for _ in range(20):
        wait_s = relay.step()
        scenario.wait(wait_s)
    assert relay.state.refused == (bad.position, "too?large")
    assert wait_s == min(REFUSED_S, LEASE_S / 3)
    assert scenario.at().position == events[6].position
    refusal = scenario.at().refusal
    assert refusal is not None
    assert (refusal.position, refusal.reason) == (bad.position, "too?large")
    later = [m for m in scenario.broker.delivered if m.stream == bad.stream and m.version >= bad.version]
    assert later == []
    assert [event.event_id for event in events[:7] if event.event_id not in scenario.broker.event_ids] == []
    attempts = sum(record.levelno == logging.ERROR for record in caplog.records)
    assert relay.state.refusals == attempts > 1


def test_a_refusal_that_ends_needs_no_operator(scenario: Scenario) -> None:
    """A queue that was full has space again: the relay tries again by itself, alone, and then goes on."""
    bad = scenario.store.all_events(None, after=0, limit=100)[7]
    scenario.broker.refused[bad.event_id] = "full"
    relay = scenario.relay(batch_max=10)
    for _ in range(10):
        scenario.wait(relay.step())
    scenario.broker.refused.clear()
    scenario.drain(relay)
    scenario.check()
    assert relay.state.refused is None
    assert scenario.at().refusal is None


def test_a_refused_event_that_is_skipped(scenario: Scenario, fixture: Fixture) -> None:
    """The relay continues after it without a restart; only that event is missing."""
    events = scenario.store.all_events(None, after=0, limit=100)
    bad = events[7]
    scenario.broker.refused[bad.event_id] = "too large"
    relay = scenario.relay(batch_max=10, lease_s=600.0)
    for _ in range(10):
        scenario.wait(relay.step())
    with fixture.open_desk() as desk:
        skip(desk, NAME, bad.position, who="jo", reason="too large")
    scenario.wait(relay.step())
    scenario.drain(relay)
    assert scenario.now < 10 * REFUSED_S + 60.0, "it does not wait for the end of its lease"
    assert {event.event_id for event in events} - set(scenario.broker.event_ids) == {bad.event_id}
    assert relay.state.refused is None


def test_an_event_that_cannot_be_read_stops_the_relay_before_it(scenario: Scenario) -> None:
    """The events before it in the batch are published."""
    relay = scenario.relay(batch_max=100)
    make, bad = relay._make_messages, scenario.store.all_events(None, after=0, limit=100)[7]
    relay._make_messages = lambda events, generation: make(
        [event._replace(body=b"") if event.position == bad.position else event for event in events], generation
    )
    for _ in range(5):
        scenario.wait(relay.step())
    assert relay.state.refused == (bad.position, "it cannot be read: an empty body")
    assert len(scenario.broker.event_ids) == 7
    assert scenario.at().refusal is not None


def test_a_rewound_relay_publishes_again(scenario: Scenario, fixture: Fixture) -> None:
    """Under a leader that runs: it notices when it renews its lease."""
    relay = scenario.relay()
    scenario.drain(relay)
    events = scenario.store.all_events(None, after=0, limit=100)
    with fixture.open_desk() as desk:
        rewind(desk, NAME, events[5].position, who="jo", reason="a new consumer")
    scenario.broker.delivered.clear()
    scenario.wait(LEASE_S / 3)
    scenario.drain(relay)
    assert {message.position for message in scenario.broker.delivered} == {event.position for event in events[6:]}


def test_one_of_two_relays_leads(scenario: Scenario) -> None:
    """The other publishes nothing until the leader gives the lease back."""
    leader, other = scenario.relay("one"), scenario.relay("two")
    for _ in range(10):
        scenario.wait(leader.step())
        scenario.wait(other.step() / 100)
    assert (leader.state.leading, other.state.leading) == (True, False)
    assert other.state.published == 0
    leader.resign()
    scenario.fill(1)
    scenario.drain(other)
    assert (leader.state.leading, other.state.leading) == (False, True)
    scenario.check()
    assert len(scenario.broker.delivered) == 21


def test_a_leader_that_dies_is_followed_within_its_lease(scenario: Scenario) -> None:
    """The other one takes over at its next request after the expiry."""
    scenario.relay("dead").step()
    other, waited = scenario.relay("two"), 0.0
    while not other.state.leading:
        wait_s = other.step()
        scenario.wait(wait_s)
        waited += wait_s
        assert waited <= LEASE_S + 1.0
    scenario.drain(other)
    scenario.check()


@pytest.mark.parametrize("at", range(30))
def test_a_leader_that_is_frozen_past_its_lease(scenario: Scenario, at: int) -> None:
    """At any step: another takes over meanwhile, and the old one repeats at most its batch, and moves nothing."""
    calls = 0
    other = scenario.relay("two")

    def freeze(_: str) -> None:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            scenario.broker.at_step = lambda _: None
            scenario.wait(LEASE_S)
            scenario.fill(1)
            for _turn in range(3):
                other.step()

    scenario.broker.at_step = freeze
    frozen = scenario.relay("one", at_step=freeze)
    for _ in range(6):
        scenario.wait(frozen.step() / 10)
    before = scenario.at().position
    scenario.drain(other)
    assert scenario.at().position >= before
    scenario.check()


def test_a_frozen_leader_counts_nothing(scenario: Scenario) -> None:
    """Its batch is confirmed after another one took over: it knows that it does not lead any more."""
    other = scenario.relay("two")

    def freeze(step: str) -> None:
        if step == "confirm":
            scenario.broker.at_step = lambda _: None
            scenario.wait(LEASE_S)
            other.step()

    scenario.broker.at_step = freeze
    frozen = scenario.relay("one")
    frozen.step()
    assert (frozen.state.leading, frozen.state.published) == (False, 0)
    assert (other.state.leading, scenario.at().owner) == (True, "two")


def test_a_changed_generation_is_in_the_messages(scenario: Scenario) -> None:
    """The store was restored: what is published afterwards carries the new generation."""
    relay = scenario.relay()
    relay.step()
    count_before = len(scenario.broker.delivered)
    scenario.store.begin_generation(0)
    scenario.drain(relay)
    scenario.check()
    generations = [message.generation for message in scenario.broker.delivered]
    assert generations == [0] * count_before + [1] * (len(generations) - count_before)
    assert scenario.at().generation == 1


def test_a_generation_that_begins_during_a_batch(scenario: Scenario) -> None:
    """What was published under the earlier one moves no checkpoint. It is published again under the new one."""

    def restore(step: str) -> None:
        if step == "confirm":
            scenario.broker.at_step = lambda _: None
            scenario.store.begin_generation(0)

    scenario.broker.at_step = restore
    relay = scenario.relay()
    relay.step()
    assert scenario.at().position == 0
    scenario.drain(relay)
    scenario.check()
    assert {m.position for m in scenario.broker.delivered if m.generation == 1} == {
        event.position for event in scenario.store.all_events(None, after=0, limit=100)
    }


@pytest.mark.parametrize(
    "earlier", [RelayLease(1, 0, 0), RelayLease(0, 99, 0)], ids=["a lower position", "a lower token"]
)
def test_a_store_that_went_back_begins_a_generation(scenario: Scenario, earlier: RelayLease) -> None:
    """A checkpoint never goes back under one token. So the relay has proof that the store lost something."""
    relay = scenario.relay()
    relay.step()
    relay._store = _Answering(scenario.store, earlier)  # type: ignore[assignment]
    scenario.wait(LEASE_S / 3)
    relay.step()
    assert scenario.store.feed().generation == 1
    relay._store = scenario.store
    scenario.drain(relay)
    scenario.check()
    assert scenario.broker.delivered[-1].generation == 1


class _Answering:
    """A store that answers one lease."""

    def __init__(self, store: PaymentStore, lease: RelayLease) -> None:
        self._store, self._lease = store, lease

    def lead(self, *_: object) -> RelayLease:
        return self._lease

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_a_relay_that_runs_until_it_is_stopped(scenario: Scenario) -> None:
    """At the end it gives the lease back and closes its publisher."""
    relay: Relay = scenario.relay()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        scenario.wait(seconds)
        return len(waits) == 30

    relay.run(wait)
    scenario.check()
    assert (scenario.at().owner, relay._publisher.closed) == (None, 1)  # type: ignore[attr-defined]
    assert scenario.relay("two").step() >= 0
    assert scenario.at().owner == "two"


def test_a_defect_at_the_end_leaves_no_connection_open(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error of the store is logged. The lease expires by itself, and the publisher is closed."""

    def fail(step: str) -> None:
        if step == "before resign":
            raise ZeroDivisionError

    relay = scenario.relay("one", at_step=fail)
    relay.step()
    relay.resign()
    assert (relay.state.leading, relay._publisher.closed) == (False, 1)  # type: ignore[attr-defined]
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens(scenario: Scenario, seed: int) -> None:
    """Two relays, with deaths, freezes, outages, lost confirms and refusals drawn by a seed: nothing is left out."""
    chance = random.Random(seed)
    relays = {name: scenario.relay(name) for name in "xy"}
    numbers = count()
    depth = 0

    def disturb(_: str) -> None:
        nonlocal depth
        draw = chance.random()
        if draw < 0.03:
            raise Died
        if draw < 0.08 and depth == 0:
            depth += 1
            scenario.wait(chance.choice([1.0, LEASE_S, 3 * LEASE_S]))
            one_step()
            depth -= 1

    def one_step() -> None:
        name = chance.choice("xy")
        try:
            scenario.wait(relays[name].step() * chance.random())
        except Died:
            relays[name] = scenario.relay(f"{name}{next(numbers)}", batch_max=chance.randint(1, 8), at_step=disturb)

    scenario.broker.at_step = disturb
    for _ in range(120):
        depth = 0
        chance.choice((*(one_step,) * 14, *_troubles(scenario, chance)))()
        scenario.check(until=scenario.at().position)
    scenario.broker.at_step, scenario.broker.is_up, scenario.broker.refused = (lambda _: None), True, {}
    scenario.broker.confirms_lost = 0
    scenario.wait(3 * LEASE_S)
    scenario.drain(scenario.relay("last"))
    scenario.check()


def _troubles(scenario: Scenario, chance: random.Random) -> list[Callable[[], None]]:
    """What may happen to the store and the broker between two steps."""
    broker = scenario.broker

    def fill() -> None:
        if scenario.store.last_position() < 150:
            scenario.fill(chance.randint(1, 3))

    def switch() -> None:
        broker.is_up = chance.random() < 0.7

    def lose() -> None:
        broker.confirms_lost = chance.randint(0, 2)

    def refuse() -> None:
        events = scenario.store.all_events(None, after=scenario.at().position, limit=10)
        broker.refused = {chance.choice(events).event_id: "full"} if events else {}

    return [fill, fill, fill, switch, lose, refuse]
