"""/metrics: requests by route, notifications of the actors, figures of the store, and a store without an answer."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Final

import falcon.testing
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from actors.listeners import Listener
from actors.messages import NotSent, Unanswered
from actors.replies import SignatureInvalid, Taken
from actors.runtime.runtime import uuid7
from actors.stats import AdmissionStats, GatewayStats, ProcessStats
from api.app import create_app
from api.metrics import store as store_figures
from api.metrics.exposition import exposition
from api.metrics.listener import MetricsListener
from api.metrics.meters import UNREADABLE, Meters
from api.metrics.sampling import EVERY_S, Sampler
from api.metrics.store import FRESH_S, StoreCollector
from domain.account import Account, Transaction
from domain.events import (
    Authorized,
    BalanceAdjusted,
    Completed,
    Event,
    Failed,
    Kind,
    OutcomeUnknown,
    Processed,
    Received,
    Recorded,
    ReviewClosed,
    ReviewOpened,
)
from domain.money import Money
from domain.outcomes import Approved, Declined
from domain.state_machine import evolve
from server.unreadable import _UNREADABLE
from store.codec import Metadata
from store.port import Action, Committed, Conflict, MoveWork, StreamKey, WorkItem, WorkState
from store.queries import StoreStats, Unfinished
from store.relay_health import RelayHealth
from tests.api.support import BODY, DOCUMENTS, Api
from tests.api.world import EXPIRES, START, World
from tests.scraping import Samples, of, read

OF_THE_STORE: Final = ("lag_events", "lag_seconds", "led", "refused")
A: Final = {"gateway": "gatewayA"}


class Served:
    """An application with meters of its own in front of a payment system in memory."""

    def __init__(self) -> None:
        self.world, self.meters = World(), Meters(["gatewayA"])
        self.client = falcon.testing.TestClient(
            create_app(
                self.world,
                self.world,
                default_currency="USD",
                needs_keys=False,
                meters=self.meters,
                event_documents=DOCUMENTS,
            )
        )

    def scrape(self) -> Samples:
        """The text that Prometheus reads."""
        return read(self.client.simulate_get("/metrics").text)


@pytest.fixture
def served() -> Served:
    """An application without any requests so far."""
    return Served()


def test_the_text_format(api: Api) -> None:
    """The answer is in Prometheus's text format 0.0.4, with its Content-Type and as the document announces."""
    result = api.get("/metrics")
    assert result.status_code == 200
    assert result.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert of(read(result.text), "payments_store_up") == 1


def test_requests_are_counted_by_route(served: Served) -> None:
    """Each request counts once by its route's template and status, with its duration, also without a route."""
    get = served.client.simulate_get
    for path in ("/v1/transactions/1", "/v1/transactions/2", "/no/such/thing", "/nor/this"):
        assert get(path).status_code == 404
    assert served.client.simulate_post("/v1/deposit", json=BODY).status_code == 202
    assert served.client.simulate_request("TRACE", "/v1/deposit").status_code == 405
    assert served.client.simulate_delete("/v1/deposit").status_code == 405
    samples = served.scrape()
    one, count = "/v1/transactions/{transaction_id}", "payments_http_requests_total"
    assert of(samples, count, method="GET", route=one, status="404") == 2
    assert of(samples, count, method="GET", route="unknown", status="404") == 2
    assert of(samples, count, method="POST", route="/v1/deposit", status="202") == 1
    assert of(samples, count, method="DELETE", route="/v1/deposit", status="405") == 1
    assert of(samples, "payments_http_request_seconds_count", method="GET", route=one) == 2
    assert of(samples, "payments_problems_total", type="not-found") == 4
    assert of(samples, count, method="unknown", route="/v1/deposit", status="405") == 1


def test_malformed_requests_have_series_from_the_start(served: Served) -> None:
    """Each status of an answer to a malformed request has a series from the start."""
    statuses = {str(status) for _, status, _ in _UNREADABLE}
    samples = served.scrape()
    assert {of(samples, "payments_unreadable_requests_total", status=status) for status in statuses} == {0}
    assert {*UNREADABLE} == statuses


def recorded(listener: Listener, *events: Event, transaction_id: str) -> None:
    """Notify ``listener`` of events of one customer, each in its own batch, a second apart."""
    account, known = Account("c1"), dict[str, Transaction]()
    for version, event in enumerate(events, 1):
        one = Recorded(version, START + timedelta(seconds=version), event)
        account = evolve(account, one)
        known = dict(account.transactions)
        listener.recorded(StreamKey("main", "c1"), [(one, Metadata("r"))], known)
    assert transaction_id in known or not known


def received(kind: Kind, transaction_id: str) -> Received:
    """A transaction at gatewayA."""
    return Received(kind, transaction_id, "gatewayA", Money(100, "USD"), {})


def test_transactions_are_counted_by_status(served: Served) -> None:
    """Each entry into a status counts once, by type and gateway. The duration begins with the time in the id."""
    listener = MetricsListener(served.meters)
    done, doubtful, declined = (uuid7(START, number) for number in (1, 2, 3))
    deposit, withdrawal = Kind.DEPOSIT, Kind.WITHDRAWAL
    recorded(
        listener,
        received(deposit, done),
        Processed(deposit, done, "A-1"),
        Completed(deposit, done),
        BalanceAdjusted("a1", Money(1, "USD"), "why", "ticket"),
        ReviewOpened("r1", done, "odd"),
        ReviewClosed("r1", "seen"),
        transaction_id=done,
    )
    recorded(listener, received(deposit, doubtful), OutcomeUnknown(deposit, doubtful, "?"), transaction_id=doubtful)
    recorded(
        listener,
        received(withdrawal, declined),
        Failed(withdrawal, declined, "do_not_honor", None, "no"),
        transaction_id=declined,
    )
    samples = served.scrape()
    came = {
        (kind, status): of(samples, "payments_transactions_total", type=kind, status=status, **A)
        for kind in ("deposit", "withdrawal")
        for status in ("pending", "unknown", "processed", "completed", "failed")
    }
    assert {key: value for key, value in came.items() if value} == {
        ("deposit", "pending"): 2,
        ("deposit", "unknown"): 1,
        ("deposit", "processed"): 1,
        ("deposit", "completed"): 1,
        ("withdrawal", "pending"): 1,
        ("withdrawal", "failed"): 1,
    }
    assert None not in came.values(), "a series exists before its first event"
    assert of(samples, "payments_accepted_total", type="deposit", **A) == 2
    seconds = of(samples, "payments_post_to_final_seconds_sum", type="deposit", status="completed", **A)
    assert seconds == pytest.approx(3.0, abs=0.002)  # an id has milliseconds only
    assert of(samples, "payments_post_to_final_seconds_bucket", type="withdrawal", status="failed", le="2.5", **A) == 1
    assert of(samples, "payments_post_to_final_seconds_bucket", type="withdrawal", status="failed", le="1.0", **A) == 0
    assert [of(samples, "payments_reviews_total", state=state) for state in ("opened", "closed")] == [1, 1]


def test_an_authorization_is_timed_to_its_hold(served: Served) -> None:
    """The duration of an authorized deposit ends with its hold: how long the client waits then is no measure.

    Its children count by their own types. Only deposits have series for authorizations.
    """
    listener = MetricsListener(served.meters)
    held, capture = (uuid7(START, number) for number in (1, 2))
    deposit = Kind.DEPOSIT
    recorded(
        listener,
        replace(received(deposit, held), manual_capture=True),
        Authorized(deposit, held, "A-1", EXPIRES),
        Received(Kind.CAPTURE, capture, "gatewayA", Money(60, "USD"), {}, parent_id=held, parent_reference="A-1"),
        Processed(Kind.CAPTURE, capture, "A-2"),
        Completed(Kind.CAPTURE, capture),
        Completed(deposit, held, Money(60, "USD")),
        transaction_id=held,
    )
    samples = served.scrape()

    def count(kind: str, status: str) -> float | None:
        return of(samples, "payments_transactions_total", type=kind, status=status, **A)

    def timed(kind: str, status: str) -> float | None:
        return of(samples, "payments_post_to_final_seconds_count", type=kind, status=status, **A)

    assert [count("deposit", status) for status in ("pending", "authorized", "completed", "voided")] == [1, 1, 1, 0]
    assert [count("capture", status) for status in ("pending", "completed")] == [1, 1]
    assert [count(kind, "authorized") for kind in ("withdrawal", "refund", "capture", "void")] == [None] * 4
    assert (timed("deposit", "authorized"), timed("deposit", "completed"), timed("capture", "completed")) == (
        1,
        None,
        1,
    )


def test_other_notifications_of_the_actors(served: Served) -> None:
    """Calls and writes count by result, and so do breakers, dead letters, callbacks, leases and takeovers."""
    listener = MetricsListener(served.meters)
    item = WorkItem("t1", 1, StreamKey("main", "c1"), "gatewayA", Action.SUBMIT, "DepositReceived", 0, (), None)
    for result in (Approved("A-1", final=True), Declined("x", None, "no"), NotSent("refused"), NotSent("refused")):
        listener.called(item, result, 0.02)
    unanswered = Unanswered(RuntimeError(), uncertain=True)
    listener.appended([Committed(), Committed(), Conflict(()), unanswered], 0.004)
    listener.breaker_changed("gatewayA", "open")
    listener.dead_letter(item, MoveWork("t1", Action.SUBMIT, WorkState.PARKED, 0.0, 3, ()))
    listener.leases_lost()
    listener.taken_over(7)
    for answer in (Taken(), SignatureInvalid(), SignatureInvalid()):
        listener.called_back("gatewayA", answer)
    samples = served.scrape()
    calls = {
        result: of(samples, "payments_gateway_calls_total", action="submit", result=result, **A)
        for result in ("approved", "declined", "unknown", "not_sent")
    }
    assert calls == {"approved": 1, "declined": 1, "unknown": 0, "not_sent": 2}
    assert of(samples, "payments_gateway_call_seconds_bucket", action="submit", le="0.05", **A) == 4
    appends = {
        result: of(samples, "payments_appends_total", result=result)
        for result in ("committed", "conflict", "duplicate", "fenced", "unanswered")
    }
    assert appends == {"committed": 2, "conflict": 1, "duplicate": 0, "fenced": 0, "unanswered": 1}
    assert of(samples, "payments_batch_writes_bucket", le="4.0") == 1
    assert of(samples, "payments_batch_writes_bucket", le="2.0") == 0
    assert of(samples, "payments_append_seconds_sum") == pytest.approx(0.004)
    assert of(samples, "payments_breaker_changes_total", state="open", **A) == 1
    assert of(samples, "payments_dead_letter_failures_total", state="parked", **A) == 1
    assert of(samples, "payments_leases_lost_total") == 1
    assert of(samples, "payments_work_taken_over_total") == 7
    assert of(samples, "payments_callbacks_total", result="unverified", **A) == 2
    assert of(samples, "payments_callbacks_total", result="taken", **A) == 1


def test_gauges_of_a_process(served: Served) -> None:
    """A sample is taken at once and then each second. Gauges also decrease."""
    later: list[tuple[float, object]] = []
    crowd = {"commands": AdmissionStats(128, 30, 5, 128), "others": AdmissionStats(4, 0, 0, 64)}
    gateways = (GatewayStats("gatewayA", "half_open", 2, 7, 20),)
    busy = ProcessStats({"journal": 3, "customers": 9}, 5, crowd, gateways)
    left = {"commands": AdmissionStats(1, 0, 7, 128), "others": AdmissionStats(0, 0, 0, 64)}
    states = [busy, busy._replace(mailboxes={"journal": 0, "customers": 0}, admissions=left)]
    open_connections, lost_lines = iter([300, 2]), iter([4, 6])
    sampler = Sampler(
        served.meters,
        lambda: states.pop(0),
        lambda: next(open_connections),
        lambda: next(lost_lines),
        lambda delay_s, call: later.append((delay_s, call)),
    )

    def waiting(kind: str) -> list[float | None]:
        places = [of(samples, "payments_waiting_requests", kind=kind, place=place) for place in ("inside", "outside")]
        return [*places, of(samples, "payments_refused_requests_total", kind=kind)]

    sampler.sample()
    samples = served.scrape()
    assert of(samples, "payments_mailbox_messages", actor="customers") == 9
    assert of(samples, "payments_customer_actors") == 5
    assert (waiting("commands"), waiting("others")) == ([128, 30, 5], [4, 0, 0])
    assert of(samples, "payments_waiting_requests_max", kind="commands") == 128
    assert of(samples, "payments_connections") == 300
    assert of(samples, "payments_log_lines_lost_total") == 4
    assert of(samples, "payments_breaker_open", **A) == 0.5
    bulkhead = [of(samples, f"payments_bulkhead_{what}", **A) for what in ("in_flight", "waiting", "slots")]
    assert bulkhead == [2, 7, 20]
    assert later == [(EVERY_S, sampler.sample)]
    sampler.sample()
    samples = served.scrape()
    assert of(samples, "payments_mailbox_messages", actor="customers") == 0
    assert (waiting("commands"), waiting("others")) == ([1, 0, 7], [0, 0, 0])
    assert of(samples, "payments_log_lines_lost_total") == 6
    assert of(samples, "payments_connections") == 2


def test_the_figures_of_the_store(served: Served) -> None:
    """Work of matched and unmatched callbacks is counted together. Series of configured gateways exist at 0."""
    served.world.waiting = StoreStats(
        {
            ("gatewayA", "dead"): Unfinished(2, 50.0),
            ("callbacks:gatewayA", "dead"): Unfinished(1, 70.0),
            ("retired", "parked"): Unfinished(4, 9.0),
        },
        {"gatewayA": 3},
        2,
    )
    samples = served.scrape()
    assert of(samples, "payments_unfinished", state="dead", **A) == 3
    assert of(samples, "payments_oldest_unfinished_seconds", state="dead", **A) == 70.0
    assert of(samples, "payments_dead_letters", state="waiting", **A) == 3
    assert of(samples, "payments_dead_letters", state="parked", gateway="retired") == 4
    assert of(samples, "payments_unknown_transactions", **A) == 3
    assert of(samples, "payments_unknown_transactions", gateway="gatewayB") == 0
    assert of(samples, "payments_open_reviews") == 2


def test_due_work_of_configured_gateways(served: Served) -> None:
    """Due pieces of a gateway are added up with its callbacks, over the states; the oldest counts from its due time.

    No processor takes the work of a gateway that is not configured, so there is no series of it.
    """
    served.world.waiting = StoreStats(
        {
            ("gatewayA", "dead"): Unfinished(5, 500.0, 2, 5.0),
            ("gatewayA", "queued"): Unfinished(4, 50.0, 3, 40.0),
            ("callbacks:gatewayA", "queued"): Unfinished(1, 70.0, 1, 7.0),
            ("gatewayA", "parked"): Unfinished(1, 700.0),
            ("retired", "queued"): Unfinished(4, 9000.0, 4, 9000.0),
        },
        {},
        0,
    )
    samples = served.scrape()
    assert of(samples, "payments_due_work", **A) == 6
    assert of(samples, "payments_oldest_due_work_seconds", **A) == 40.0
    assert of(samples, "payments_due_work", gateway="gatewayB") == 0
    assert of(samples, "payments_oldest_due_work_seconds", gateway="gatewayB") == 0
    assert of(samples, "payments_due_work", gateway="retired") is None


def test_a_relay_of_the_store() -> None:
    """Where there is a broker, lag, leader and refusal are read from the store, whichever process publishes."""
    world = World()
    collector = StoreCollector(world, world.gateway_currencies, relays=["events"])
    world.relay = RelayHealth(12, 3.5, led=False, refused=True)
    figures = {name: of(collected(collector), f"payments_relay_{name}", relay="events") for name in OF_THE_STORE}
    assert figures == {"lag_events": 12, "lag_seconds": 3.5, "led": 0, "refused": 1}


def test_a_lag_of_unknown_age() -> None:
    """A lag whose age is unknown has no age in the metrics."""
    world = World()
    world.relay = RelayHealth(12, None, led=True, refused=True)
    samples = collected(StoreCollector(world, world.gateway_currencies, relays=["events"]))
    assert of(samples, "payments_relay_lag_events", relay="events") == 12
    assert of(samples, "payments_relay_lag_seconds", relay="events") is None


def test_an_installation_without_a_broker(served: Served) -> None:
    """It has no series of relays, and so no lag."""
    names = {name for name, _ in served.scrape()}
    assert "payments_due_work" in names
    assert [name for name in names if name.startswith(("payments_relay", "payments_work_hints"))] == []


def test_an_unreachable_store(served: Served) -> None:
    """Without the store all other metrics are served, and a gauge shows that the store does not answer."""
    served.world.down = True
    samples = served.scrape()
    assert of(samples, "payments_store_up") == 0
    assert of(samples, "payments_open_reviews") is None
    assert of(samples, "payments_transactions_total", type="deposit", status="failed", **A) == 0


class Slow(World):
    """A store that answers on demand and counts the reads."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()

    def stats(self) -> StoreStats:
        """See World."""
        self.asked += 1
        assert self.answers.wait(60.0)
        return super().stats()


def collected(collector: StoreCollector) -> Samples:
    """The metrics that it adds to a scrape."""
    registry = CollectorRegistry()
    registry.register(collector)
    return read(generate_latest(registry).decode())


def test_a_silent_store_delays_no_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape waits a bounded time for the store, and there is one read at a time."""
    monkeypatch.setattr(store_figures, "WAIT_S", 0.01)
    world = Slow()
    collector = StoreCollector(world, world.gateway_currencies)
    world.answers.clear()
    assert [of(collected(collector), "payments_store_up") for _ in range(3)] == [0, 0, 0]
    assert world.asked == 1
    reading = collector._reading
    assert reading is not None
    world.answers.set()
    assert reading.wait(60.0)
    assert of(collected(collector), "payments_store_up") == 1
    assert world.asked == 1


def test_the_store_is_not_read_for_each_scrape() -> None:
    """A result is reused for some seconds, and for longer after a slow read."""
    world, now = Slow(), [100.0]
    collector = StoreCollector(world, world.gateway_currencies, lambda: now[0])
    collected(collector)
    now[0] += FRESH_S - 0.1
    collected(collector)
    assert world.asked == 1
    now[0] += 0.2
    world.answers.clear()
    dear = threading.Thread(target=lambda: collected(collector))
    dear.start()
    while world.asked < 2:
        dear.join(0.001)
    now[0] += 1.0  # the duration of the read
    world.answers.set()
    dear.join()
    now[0] += 2 * FRESH_S
    collected(collector)
    assert world.asked == 2
    now[0] += 60.0
    collected(collector)
    assert world.asked == 3


def test_tallies_are_in_the_next_scrape() -> None:
    """Tallies are added once. None is lost or doubled between two scrapes."""
    world, meters = World(), Meters()
    store = StoreCollector(world, world.gateway_currencies)
    listener = MetricsListener(meters)
    for number in (1, 2, 3):
        listener.appended([Committed()], 0.001)
        samples = read(exposition(meters, store).decode())
        assert of(samples, "payments_appends_total", result="committed") == number
        assert of(samples, "payments_append_seconds_count") == number
