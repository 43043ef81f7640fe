"""A consumer of everything that services publish to a real RabbitMQ, and what it must have got of one database."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import Final

import amqp
import pytest

from messaging.rabbitmq.address import Address
from messaging.rabbitmq.publishing import EXCHANGE
from messaging.rabbitmq.topology import Names
from store.backends import backend_of
from tests.messaging.brokers import RABBITMQ_URL
from tests.messaging.cutting_proxy import CuttingProxy
from tests.processes.installation import CHECKOUT
from tests.processes.process import wait_until

GATEWAYS: Final = ("gatewayA", "gatewayB")


class EverythingPublished:
    """A queue of the test's own at the exchange of all events. Other services may publish there, too."""

    def __init__(self) -> None:
        address = Address.of(RABBITMQ_URL)
        self.proxy = CuttingProxy((address.host, address.port))
        self.url: Final = f"amqp://{address.user}:{address.password}@127.0.0.1:{self.proxy.port}{address.virtual_host}"
        """For services: a proxy that a test can cut."""
        self._connection = amqp.Connection(
            host=f"{address.host}:{address.port}",
            userid=address.user,
            password=address.password,
            virtual_host=address.virtual_host,
        )
        try:
            self._connection.connect()
        except OSError as error:
            pytest.skip(f"no RabbitMQ: {error}")
        self._channel = self._connection.channel()
        self._channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        self._queue = self._channel.queue_declare(exclusive=True).queue
        self._channel.queue_bind(self._queue, EXCHANGE, "#")
        self._first: dict[str, tuple[str, int]] = {}
        """Partition key and sequence by event id, in the order of first deliveries."""

    def look(self) -> set[str]:
        """The ids of all events so far."""
        while (got := self._channel.basic_get(self._queue, no_ack=True)) is not None:
            headers = got.headers
            self._first.setdefault(headers["ce-id"], (headers["ce-partitionkey"], int(headers["ce-sequence"])))
        return set(self._first)

    def check(self, database_url: str) -> None:
        """Wait for every event of the database. First deliveries are in order within a stream, without a gap."""
        with backend_of(database_url, root=CHECKOUT).audit() as audit:
            ids = {event.event_id for stream in audit.streams() for event in audit.events(stream)}
        wait_until(lambda: ids <= self.look(), f"{len(ids)} events arrive")
        sequences: dict[str, list[int]] = defaultdict(list)
        for event_id, (key, sequence) in self._first.items():
            if event_id in ids:
                sequences[key].append(sequence)
        assert sequences == {key: list(range(1, len(found) + 1)) for key, found in sequences.items()}

    def close(self) -> None:
        """Close everything, and delete the queues of hints that no service consumes any more."""
        self.proxy.close()
        names = Names()
        for gateway in GATEWAYS:
            with suppress(amqp.AMQPError, OSError):
                channel = self._connection.channel()
                if channel.queue_declare(names.queue(gateway), passive=True).consumer_count == 0:
                    channel.queue_delete(names.queue(gateway))
        self._connection.close()
