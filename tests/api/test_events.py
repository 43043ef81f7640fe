"""GET /v1/events: all events in global order, and waiting for the next ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from api.resources.events import LOOK_EVERY_S, WAITING_EACH_MAX, WAITING_MAX, Feed
from store.port import StoredEvent
from tests.api.support import Api
from tests.api.world import World


def test_all_events_in_order(api: Api, world: World) -> None:
    """Events of all customers are returned by position.

    A client that continues from the last position gets each event once.
    """
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
def test_an_invalid_query_is_refused(api: Api, query: str) -> None:
    """An invalid query gets 400 with the name of the field."""
    refused = api.get(f"/v1/events?{query}")
    assert (refused.status_code, [*refused.json["errors"]]) == (400, [query.partition("=")[0]])


def test_the_limits_of_the_parameters(api: Api) -> None:
    """The limits of each parameter are accepted, and no wait in different spellings."""
    for query in ("wait=0", "wait=0.000", "after=0&wait=0.25&limit=1"):
        assert api.get(f"/v1/events?{query}").json["items"] == []


def test_latest_returns_the_last_position(api: Api, world: World) -> None:
    """``latest`` returns its position at once. A client that continues there gets only later events."""
    assert api.get("/v1/events?after=latest").json == {"items": [], "next_cursor": "0"}
    world.give("c1", 100)
    for query in ("after=latest", "after=latest&wait=30&limit=1"):
        assert api.get(f"/v1/events?{query}").json == {"items": [], "next_cursor": "3"}
    assert api.get("/v1/events?after=3").json == {"items": [], "next_cursor": None}
    world.give("c2", 100)
    assert [event["position"] for event in api.get("/v1/events?after=3").json["items"]] == [4, 5, 6]


class Clock:
    """A clock that advances when the code sleeps. One step of ``meanwhile`` runs at the end of each sleep."""

    def __init__(self, world: World) -> None:
        self.now, self.world, self.slept = 0.0, world, 0
        self.event_at = float("inf")
        self.meanwhile: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        """The current time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
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
def test_a_waiting_request_is_answered_soon(feed: Feed, clock: Clock, at: float) -> None:
    """A waiting request is answered soon after an event arrives. Without an event it is answered when its wait ends."""
    clock.event_at = at
    assert len(feed.read(None, 0, 10, 10.0)) == 3
    assert at <= clock.now <= at + 2 * LOOK_EVERY_S
    before = clock.now
    assert feed.read(None, 3, 10, 5.0) == []
    assert before + 5.0 <= clock.now <= before + 5.0 + LOOK_EVERY_S


def test_a_stopping_service_answers_waiting_requests(world: World, clock: Clock) -> None:
    """A waiting request is answered at the next check when the service stops, so that the stop does not cut it off."""
    feed = Feed(world, lambda: clock.now >= 3.0, monotonic=clock.monotonic, sleep=clock.sleep)
    assert feed.read(None, 0, 10, 30.0) == []
    assert 3.0 <= clock.now <= 3.0 + LOOK_EVERY_S


def test_positions_without_events_are_read_once(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A position without a committed event does not cause repeated reads by all waiting requests."""
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


def test_existing_events_are_returned_at_once(feed: Feed, clock: Clock, world: World) -> None:
    """A request waits only when there are no events yet."""
    world.give("c1", 100)
    assert len(feed.read(None, 0, 2, 30.0)) == 2
    assert clock.slept == 0


def test_one_check_serves_all_waiting_requests(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's last position is read once per interval, however many requests wait."""
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


def test_requests_above_the_limit_do_not_wait(world: World, clock: Clock) -> None:
    """Above the limit, requests are answered at once. A place is free again after each answer."""
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


def test_a_waiting_request_gets_events_of_its_merchant_only(world: World, clock: Clock) -> None:
    """An event of another merchant does not end a wait.

    An own event ends it, also after empty checks by other requests.
    """
    feed = Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)
    clock.meanwhile = [lambda: world.give("1", 100, merchant="globex")]
    assert feed.read("acme", 0, 10, 1.0) == []
    assert clock.slept >= 1.0
    last = world.last_position()
    clock.meanwhile = [
        lambda: world.give("1", 100, merchant="acme"),
        # Another request of the merchant has the new events and waits for more. Only events of others are recorded.
        lambda: world.give("1", 100, merchant="globex"),
        lambda: feed.read("acme", last + 3, 10, LOOK_EVERY_S / 2),
    ]
    clock.now += LOOK_EVERY_S  # so that the request with the later position makes the shared check
    rows = feed.read("acme", last, 10, 20.0)
    assert [row.stream.name for row in rows] == ["acme"] * 3


def test_a_waiting_request_whose_access_ends_gets_nothing(world: World, clock: Clock) -> None:
    """The access is confirmed before each check."""
    feed = Feed(world, monotonic=clock.monotonic, sleep=clock.sleep)
    clock.meanwhile = [lambda: world.give("1", 100)]

    def confirm() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        feed.read(None, 0, 10, 1.0, confirm)
    assert not feed._waiting
