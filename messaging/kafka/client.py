"""What the adapters of Kafka share: settings of librdkafka, what it reports, topics, and calls that block.

librdkafka calls back in whatever thread calls it. So its reports are only collected here, and logged by the thread that
owns the adapter: under gevent no lock of the logging is taken in a native thread.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import gevent
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its __init__ exports it
from gevent import monkey

from messaging.kafka.address import Address
from messaging.port import BrokerUnavailableError

logger: Final = logging.getLogger(__name__)
T = TypeVar("T")

PARTITIONS: Final = 12
"""Of a topic that this service creates."""
CONNECT_S: Final = 5.0
POLL_S: Final = 0.001
"""The wait of a thread that polls librdkafka, in which other greenlets run."""
_ADMIN_POLL_S: Final = 0.005
_REASON_S: Final = 0.1
"""The wait for the reason of a failure, which may be reported after it."""
_NOTICE: Final = 5
_CONFIGURATION: Final = "CONFWARN"
_REPORTS_MAX: Final = 100

_BROKER_DEFAULT: Final = -1
_SINGLE: Final = 1
_NO_DEFAULT: Final = frozenset({KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION})  # noqa: SLF001
"""Brokers before version 2.4 know no default of the replication factor."""


def outside_hub(job: Callable[[], T]) -> T:
    """Run ``job``, which blocks in C. Under gevent it runs on a native thread, so that other greenlets go on."""
    if not monkey.is_module_patched("threading"):
        return job()
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:  # raises nothing: the pool would print it
        try:
            results.append(job())
        except BaseException as error:  # noqa: BLE001  # raised again below
            failures.append(error)

    gevent.get_hub().threadpool.apply(run)
    for failure in failures:
        raise failure
    return results[0]


class Reports:
    """What one client of librdkafka reports: lines for the log, and whether any broker can be reached."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lines: deque[tuple[int, str]] = deque(maxlen=_REPORTS_MAX)
        self._problem = ""
        self.is_down = self.is_fatal = False
        """No broker can be reached; the client cannot be used again."""

    @property
    def has_reason(self) -> bool:
        """Whether a reason is known why the broker does not answer."""
        return bool(self._problem)

    def settings(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a client that reports here."""
        return {
            **self._address.settings,
            "client.id": "payments",
            "socket.keepalive.enable": True,
            "socket.connection.setup.timeout.ms": int(CONNECT_S * 1000),
            "log.connection.close": False,
            "log_level": _NOTICE,  # what a client reports while it ends goes to stderr
            "logger": self,
            "error_cb": self._on_error,
            **more,
        }

    def log(self, level: int, text: str, *values: object) -> None:
        """Receive a line, as a logger does. Called by librdkafka. The adapter logs what follows at a higher level."""
        if _CONFIGURATION not in values:  # the warnings are about settings that are intended
            self.note(min(level, logging.DEBUG), f"librdkafka: {text % values}")

    def note(self, level: int, text: str) -> None:
        """Collect a line for the log."""
        self._lines.append((level, text))

    def write(self) -> None:
        """Write the collected lines into the log."""
        with suppress(IndexError):
            while True:
                level, text = self._lines.popleft()
                logger.log(level, "%s", self._address.hide(text))

    def unavailable(self, error: KafkaError | str | None = None) -> BrokerUnavailableError:
        """The error for a broker that does not answer, with the newest reason that librdkafka gave."""
        self.write()
        reasons = [str(error.str() if isinstance(error, KafkaError) else error or ""), self._problem]
        text = ": ".join(filter(None, reasons)) or "no broker can be reached"
        return BrokerUnavailableError(f"Kafka: {self._address.hide(text)}")

    def end(self, error: KafkaError) -> None:
        """Note the fatal error of the client."""
        self.is_fatal, self._problem = True, error.str()

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.end(error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # follows the reasons of each broker
            self.is_down = True
        else:
            self._problem = error.str()


def prepare_topic(address: Address, topic: str, config: Mapping[str, str]) -> None:
    """Create ``topic`` with the cluster's replication factor; one that exists stays as it is.

    A cluster that does not let this client create topics, or answers late, is no error: the topic may be there. Raises
    BrokerUnavailableError when no broker can be reached.
    """
    reports = Reports(address)
    try:
        outside_hub(lambda: _create_if_absent(reports, topic, config))
        if reports.is_down:
            raise reports.unavailable()
    finally:
        reports.write()


def _create_if_absent(reports: Reports, topic: str, config: Mapping[str, str]) -> None:
    error = _create(reports, NewTopic(topic, PARTITIONS, _BROKER_DEFAULT, config=dict(config)))
    if error is not None and error.code() in _NO_DEFAULT:
        reports.note(logging.WARNING, f"no default replication factor: the topic {topic} gets one replica")
        error = _create(reports, NewTopic(topic, PARTITIONS, _SINGLE, config=dict(config)))
    if error is not None and not reports.is_down and error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
        reports.note(logging.INFO, f"the topic {topic} was not created: {error.str()}")


def _create(reports: Reports, topic: NewTopic) -> KafkaError | None:
    admin = AdminClient(reports.settings({}))
    (future,) = admin.create_topics([topic], operation_timeout=CONNECT_S, request_timeout=CONNECT_S).values()
    end = time.monotonic() + 2 * CONNECT_S
    while not future.done() and not reports.is_down and time.monotonic() < end:
        admin.poll(_ADMIN_POLL_S)
    if reports.is_down and not reports.has_reason:
        admin.poll(_REASON_S)
    if not future.done():
        return None
    failure = future.exception()
    if failure is None or isinstance(failure, KafkaException):
        return None if failure is None else failure.args[0]
    raise failure
