"""GET /v1/events: all events in global order, and waiting for the next ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from api.resources.events import LOOK_EVERY_S, WAITING_EACH_MAX, WAITING_MAX, Feed
from store.port import StoredEvent
from tests.api.support import Api
from tests.api.world import World


def test_all_events_in_order(api: Api, world: World) -> None:
    """Events of all customers by position; a client that continues from the last position gets each event once."""
    for number in range(5):
        world.give(f"c{number}", 100)
    seen, after = [], 0
    while True:
        page = api.get(f"/v1/events?after={after}&limit=2").json
        if not page["items"]:
            break
        seen += page["items"]
        after = page["items"][-1]["position"]
        assert page["next_cursor"] in (str(after), None)
    positions = [event["position"] for event in seen]
    assert positions == sorted(set(positions))
    assert len(seen) == 15
    assert {event["stream_id"] for event in seen} == {f"c{number}" for number in range(5)}
    assert api.get("/v1/events?limit=200").json == {"items": seen, "next_cursor": None}


@pytest.mark.parametrize(
    "query",
    [
        "after=-1",
        "after=01",
        "after=9223372036854775808",
        "after=x",
        "after=Latest",
        "after=latest&after=0",
        "after=%D9%A1",
        "wait=31",
        "wait=-1",
        "wait=nan",
        "wait=1e1",
        "wait=",
        "limit=0",
        "cursor=abc",
        "after=1&after=2",
    ],
)
def test_what_cannot_be_asked(api: Api, query: str) -> None:
    """400 that names the field."""
    refused = api.get(f"/v1/events?{query}")
    assert (refused.status_code, [*refused.json["errors"]]) == (400, [query.partition("=")[0]])


def test_the_ends_of_what_can_be_asked(api: Api) -> None:
    """No wait in different spellings."""
    for query in ("wait=0", "wait=0.000", "after=0&wait=0.25&limit=1"):
        assert api.get(f"/v1/events?{query}").json["items"] == []


def test_where_it_ends_now(api: Api, world: World) -> None:
    """``latest`` returns its position at once; a client that continues there gets all later events only."""
    assert api.get("/v1/events?after=latest").json == {"items": [], "next_cursor": "0"}
    world.give("c1", 100)
    for query in ("after=latest", "after=latest&wait=30&limit=1"):
        assert api.get(f"/v1/events?{query}").json == {"items": [], "next_cursor": "3"}
    assert api.get("/v1/events?after=3").json == {"items": [], "next_cursor": None}
    world.give("c2", 100)
    assert [event["position"] for event in api.get("/v1/events?after=3").json["items"]] == [4, 5, 6]


class Clock:
    """A clock that advances by sleeping; one step of ``meanwhile`` runs at the end of each sleep."""

    def __init__(self, world: World) -> None:
        self.now, self.world, self.slept = 0.0, world, 0
        self.event_at = float("inf")
        self.meanwhile: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.slept += 1
        self.now += seconds
        if self.now >= self.event_at:
            self.event_at = float("inf")
            self.world.give("c1", 100)
        if self.meanwhile:
            self.meanwhile.pop(0)()


@pytest.fixture
def clock(world: World) -> Clock:
    """A simulated clock."""
    return Clock(world)


@pytest.fixture
def feed(world: World, clock: Clock) -> Feed:
    """A feed with the simulated clock."""
    return Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)


@pytest.mark.parametrize("at", [0.1, 3.0, 9.9])
def test_who_waits_is_told_soon(feed: Feed, clock: Clock, at: float) -> None:
    """As soon as something comes, and not before the time is up when nothing does."""
    clock.event_at = at
    assert len(feed.read(None, 0, 10, 10.0)) == 3
    assert at <= clock.now <= at + 2 * LOOK_EVERY_S
    before = clock.now
    assert feed.read(None, 3, 10, 5.0) == []
    assert before + 5.0 <= clock.now <= before + 5.0 + LOOK_EVERY_S


def test_a_service_that_stops_keeps_nobody_waiting(world: World, clock: Clock) -> None:
    """A waiting request is answered at the next check, so that the stop does not cut it off."""
    feed = Feed(world, lambda: clock.now >= 3.0, monotonic=clock.monotonic, sleep=clock.sleep)
    assert feed.read(None, 0, 10, 30.0) == []
    assert 3.0 <= clock.now <= 3.0 + LOOK_EVERY_S


def test_positions_of_nothing_are_looked_at_once(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An assigned position that was never committed does not cause repeated reads by all waiting requests."""
    looks = 0
    all_events = world.all_events

    def counted(merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        nonlocal looks
        looks += 1
        return all_events(merchant, after=after, limit=limit)

    monkeypatch.setattr(world, "all_events", counted)
    monkeypatch.setattr(world, "last_position", lambda: 7)
    feed = Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)
    for _ in range(3):
        assert feed.read(None, 0, 10, 10.0) == []
    assert looks == 4


def test_what_is_there_is_told_at_once(feed: Feed, clock: Clock, world: World) -> None:
    """A wait is for when there is nothing."""
    world.give("c1", 100)
    assert len(feed.read(None, 0, 2, 30.0)) == 2
    assert clock.slept == 0


def test_one_look_serves_all_who_wait(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, the store is asked for its end no more often than once in a while."""
    looks: list[float] = []

    def look() -> int:
        looks.append(clock.now)
        return 0

    monkeypatch.setattr(world, "last_position", look)
    feed = Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)
    for _ in range(5):
        feed._newest()
    clock.now += LOOK_EVERY_S
    feed._newest()
    assert looks == [0.0, LOOK_EVERY_S]


def test_too_many_do_not_wait(world: World, clock: Clock) -> None:
    """Beyond a bound they are answered at once, and a place is free again after each."""
    feed = Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)
    feed._waiting["acme"] = WAITING_EACH_MAX
    assert feed.read("acme", 0, 10, 30.0) == []
    assert clock.slept == 0
    assert feed.read("globex", 0, 10, 1.0) == [], "another merchant's requests have places of their own"
    assert clock.slept > 0
    clock.slept, feed._waiting["others"] = 0, WAITING_MAX - WAITING_EACH_MAX
    assert feed.read("globex", 0, 10, 30.0) == []
    assert clock.slept == 0
    feed._waiting["acme"] -= 1
    assert feed.read("acme", 0, 10, 1.0) == []
    assert clock.slept > 0
    assert feed._waiting == {"acme": WAITING_EACH_MAX - 1, "others": WAITING_MAX - WAITING_EACH_MAX}


def test_who_waits_gets_his_own_merchants_events(world: World, clock: Clock) -> None:
    """An event of another merchant ends no wait. An own event does, also after fruitless checks by others."""
    feed = Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)
    clock.meanwhile = [lambda: world.give("1", 100, merchant="globex")]
    assert feed.read("acme", 0, 10, 1.0) == []
    assert clock.slept >= 1.0
    last = world.last_position()
    clock.meanwhile = [
        lambda: world.give("1", 100, merchant="acme"),
        # Another of the merchant's has the new events and waits for the next; only others' come.
        lambda: world.give("1", 100, merchant="globex"),
        lambda: feed.read("acme", last + 3, 10, LOOK_EVERY_S / 2),
    ]
    clock.now += LOOK_EVERY_S  # so that the look that is shared is made by whoever waits with the later position
    rows = feed.read("acme", last, 10, 20.0)
    assert [row.stream.name for row in rows] == ["acme"] * 3


def test_who_may_not_look_any_more_gets_nothing(world: World, clock: Clock) -> None:
    """The access is confirmed before each check."""
    feed = Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)
    clock.meanwhile = [lambda: world.give("1", 100)]

    def confirm() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        feed.read(None, 0, 10, 1.0, confirm)
    assert not feed._waiting
