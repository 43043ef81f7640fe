"""The meters: every metric of a process with its labels. The other modules of this package update them.

The values of a label come from a table (routes, gateways, statuses). They are never ids and never personal, so the
number of series is bounded. Where several processes serve one port, prometheus_client keeps a file per process
(PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets), and the scraped process adds them up.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from api.metrics.tallies import Spread, Tallies
from domain.account import Status
from domain.events import Kind

REQUEST_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
FINAL_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0)
"""Up to the last lookup within a day."""
CALL_BUCKETS_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
APPEND_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5)
PUBLISH_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

OF_DEPOSITS_ONLY: Final = (Status.AUTHORIZED, Status.VOIDED)
"""The statuses that other transactions never enter."""
UNREADABLE: Final = ("400", "414", "415", "417", "431")
"""The statuses of answers to malformed HTTP requests."""


class Meters:
    """All meters, in ``registry``. The series of ``gateways`` exist from the start with the value 0.

    A series that appears with its first event shows no increase, so an alert would miss that event.
    """

    def __init__(self, gateways: Collection[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self.tallies = Tallies()
        self._requests()
        self._transactions()
        self._calls()
        self._relays()
        self._process()
        for status in UNREADABLE:
            self.unreadable_requests.labels(status)
        for kind in ("commands", "others"):
            self.refused_requests.labels(kind)
        for state in ("opened", "closed"):
            self.reviews.labels(state)
        for result in ("committed", "conflict", "duplicate", "fenced", "unanswered"):
            self.appends.labels(result)
        for gateway in gateways:
            self._begin(gateway)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Collection[float], *labels: str) -> Spread:
        return Spread(name, text, labels, registry=self.registry, buckets=tuple(buckets))

    def _requests(self) -> None:
        self.http_requests = self._counter(
            "payments_http_requests_total", "Requests answered.", "method", "route", "status"
        )
        self.http_seconds = self._histogram(
            "payments_http_request_seconds", "From a request to its answer.", REQUEST_BUCKETS_S, "method", "route"
        )
        self.refused_requests = self._counter(
            "payments_refused_requests_total", "Requests that were refused after waiting for a free place.", "kind"
        )
        self.unreadable_requests = self._counter(
            "payments_unreadable_requests_total", "Answers to malformed HTTP requests.", "status"
        )
        self.problems = self._counter("payments_problems_total", "Requests that ended in a problem.", "type")

    def _transactions(self) -> None:
        self.accepted = self._counter("payments_accepted_total", "Transactions stored.", "type", "gateway")
        self.transactions = self._counter(
            "payments_transactions_total", "Transactions that entered a status.", "type", "gateway", "status"
        )
        self.final_seconds = self._histogram(
            "payments_post_to_final_seconds",
            "From the request to the final status, or to the authorization.",
            FINAL_BUCKETS_S,
            "type",
            "gateway",
            "status",
        )
        self.reviews = self._counter("payments_reviews_total", "Reviews opened and closed.", "state")
        self.callbacks = self._counter("payments_callbacks_total", "Callbacks answered.", "gateway", "result")

    def _calls(self) -> None:
        self.calls = self._counter(
            "payments_gateway_calls_total", "Calls to gateways that ended.", "gateway", "action", "result"
        )
        self.call_seconds = self._histogram(
            "payments_gateway_call_seconds", "Duration of calls to gateways.", CALL_BUCKETS_S, "gateway", "action"
        )
        self.breaker_changes = self._counter(
            "payments_breaker_changes_total", "Changes of circuit breakers, in each process.", "gateway", "state"
        )
        self.dead_letters = self._counter(
            "payments_dead_letter_failures_total", "Failures that made work a dead letter.", "gateway", "state"
        )
        self.breaker_open = self._gauge(
            "payments_breaker_open",
            "1 open, 0.5 half-open, 0 closed; the worst of all processes.",
            "livemax",
            "gateway",
        )
        self.in_flight = self._gauge("payments_bulkhead_in_flight", "Calls in progress.", "livesum", "gateway")
        self.waiting = self._gauge("payments_bulkhead_waiting", "Work that waits for a slot.", "livesum", "gateway")
        self.slots = self._gauge(
            "payments_bulkhead_slots", "The largest number of concurrent calls.", "livesum", "gateway"
        )

    def _relays(self) -> None:
        self.relay_events = self._counter(
            "payments_relay_events_total", "Events published and confirmed, repetitions included.", "relay"
        )
        self.relay_unroutable = self._counter(
            "payments_relay_unroutable_total", "Published events for which the broker had no queue.", "relay"
        )
        self.relay_refusals = self._counter(
            "payments_relay_refusals_total", "Attempts to publish an event that were refused.", "relay"
        )
        self.relay_publish_seconds = self._histogram(
            "payments_relay_publish_seconds",
            "From sending a batch of events to its last confirm.",
            PUBLISH_BUCKETS_S,
            "relay",
        )
        self.relay_leading = self._gauge("payments_relay_leading", "Processes that lead.", "livesum", "relay")
        self.relay_failing = self._gauge(
            "payments_relay_failing",
            "1 when the newest step failed, because the broker or the store does not answer.",
            "livemax",
            "relay",
        )
        self.hints = self._counter("payments_work_hints_total", "Hints of due work for processors.", "result")

    def _process(self) -> None:
        self.appends = self._counter("payments_appends_total", "Writes to the store by result.", "result")
        self.batch_writes = self._histogram("payments_batch_writes", "Writes per commit.", BATCH_BUCKETS)
        self.append_seconds = self._histogram("payments_append_seconds", "Duration of commits.", APPEND_BUCKETS_S)
        self.leases_lost = self._counter("payments_leases_lost_total", "Times that a live process lost its leases.")
        self.taken_over = self._counter(
            "payments_work_taken_over_total", "Pieces of work taken over from dead processes."
        )
        self.mailboxes = self._gauge(
            "payments_mailbox_messages", "Messages waiting for actors of a kind.", "livesum", "actor"
        )
        self.customers = self._gauge("payments_customer_actors", "Live customer actors.", "livesum")
        self.waiting_requests = self._gauge(
            "payments_waiting_requests",
            "Requests waiting for the actors' answer (inside) or for a free place (outside).",
            "livesum",
            "kind",
            "place",
        )
        self.waiting_requests_max = self._gauge(
            "payments_waiting_requests_max", "The largest number of requests inside.", "livesum", "kind"
        )
        self.connections = self._gauge("payments_connections", "Open connections.", "livesum")
        self.lost_log_lines = self._counter(
            "payments_log_lines_lost_total", "Log lines that did not fit the buffer or could not be written."
        )
        self.processes = self._gauge("payments_processes", "Worker processes.", "livesum")

    def _gauge(self, name: str, text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def _begin(self, gateway: str) -> None:
        for kind, status in product(Kind, Status):
            if kind is Kind.DEPOSIT or status not in OF_DEPOSITS_ONLY:
                self.transactions.labels(kind, gateway, status)
        for kind in Kind:
            self.accepted.labels(kind, gateway)
        for result in ("taken", "unverified"):
            self.callbacks.labels(gateway, result)
        for result in ("approved", "declined", "unknown", "not_sent"):
            self.calls.labels(gateway, "submit", result)
        for state in ("closed", "half_open", "open"):
            self.breaker_changes.labels(gateway, state)
        for state in ("dead", "parked"):
            self.dead_letters.labels(gateway, state)
