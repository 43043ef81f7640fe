"""The table of brokers by the scheme of their URLs. The only file that names every adapter of a broker."""

from __future__ import annotations

from importlib import import_module
from typing import Final, Protocol, cast

from messaging.port import Publisher, WorkQueue

BROKERS: Final[dict[str, str]] = {
    "amqp": "messaging.rabbitmq",
    "amqps": "messaging.rabbitmq",
    "kafka": "messaging.kafka",
    "kafkas": "messaging.kafka",
}
"""The module of each adapter, a ``BrokerModule``. It is imported, with its client, when a URL has its scheme."""


class BrokerModule(Protocol):
    """What the module of a broker offers. Nothing is opened before the first use."""

    def publisher(self, url: str, *, structured: bool) -> Publisher:
        """Return the publisher of events. ``structured``: in the structured mode of CloudEvents, else in binary mode.

        Raises ValueError for a URL that the adapter does not accept; its text shows nothing of the URL.
        """

    def work_queue(self, url: str) -> WorkQueue:
        """Return the queue of work hints. Raises ValueError as above."""


def broker_of(url: str) -> BrokerModule:
    """Return the adapter of the broker at ``url``. Raises ValueError for a URL of no broker; its text shows no URL."""
    scheme = url.partition("://")[0]
    if scheme not in BROKERS:
        raise ValueError(f"must begin with one of {', '.join(f'{known}://' for known in BROKERS)}")
    return cast("BrokerModule", import_module(BROKERS[scheme]))
