"""Publishes events to RabbitMQ: persistent messages to a durable topic exchange, with publisher confirms in batches.

The exchange is declared anew after each connect, so that a broker that lost its data needs no help. Messages are in the
binary mode of CloudEvents: attributes are headers with the prefix ``ce-``. A message that no queue is bound for is
confirmed like any other, and counted.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import amqp

from messaging.port import BrokerUnavailableError, Message, Published
from messaging.waves import Numbered, publish_in_waves

T = TypeVar("T")

EXCHANGE: Final = "payments.events"
CONNECT_S: Final = 5.0
CONFIRM_S: Final = 10.0
"""The longest wait for the confirms of a wave, and for a message to be written."""
HEARTBEAT_S: Final = 30

_SHORT_MAX: Final = 255
"""Bytes of a short string of AMQP."""
_POLL_S: Final = 0.001
_USER_TIMEOUT_MS: Final = 10_000
_TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", 18)
_PERSISTENT: Final = 2
_PREFIX: Final = "payments."
_PORTS: Final = {"amqp": 5672, "amqps": 5671}


def publisher(url: str, *, structured: bool) -> RabbitmqPublisher:
    """See ``messaging.brokers.BrokerModule``."""
    return RabbitmqPublisher(url, structured=structured)


class Address(NamedTuple):
    """Where the broker is. ``password`` is never shown."""

    host: str
    port: int
    user: str
    password: str
    virtual_host: str
    encrypted: bool

    def __repr__(self) -> str:
        """Leave out user and password."""
        return f"Address({self.host}:{self.port}{self.virtual_host})"

    @classmethod
    def of(cls, url: str) -> Address:
        """Read ``amqp://user:password@host:port/vhost`` or ``amqps://…``. Without a path the virtual host is ``/``."""
        parts = urlsplit(url)
        path = parts.path.removeprefix("/")
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or _PORTS[parts.scheme],
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            virtual_host=unquote(path) or "/",
            encrypted=parts.scheme == "amqps",
        )


class RabbitmqPublisher:
    """Implements ``messaging.port.Publisher`` on one connection, which is opened when it is first needed."""

    def __init__(
        self,
        url: str,
        *,
        structured: bool = False,
        exchange: str = EXCHANGE,
        monotonic: Callable[[], float] = time.monotonic,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self._address = Address.of(url)
        self._structured = structured
        self._exchange, self._monotonic, self._confirm_s = exchange, monotonic, confirm_s
        self._link: _Link | None = None
        self.unroutable = 0
        """Messages that were confirmed although no queue was bound for them."""

    def publish(self, batch: Sequence[Message]) -> Published:
        """See ``messaging.port.Publisher``."""
        if batch:
            return publish_in_waves(batch, self._send)
        self._using(_Link.keep_alive)
        return Published(0)

    def close(self) -> None:
        """See ``messaging.port.Publisher``."""
        link, self._link = self._link, None
        if link is not None:
            link.take_leave()

    def _send(self, wave: Sequence[Numbered]) -> Mapping[int, str]:
        refusals = {one.place: reason for one in wave if (reason := _unsendable(one.message))}
        rest = [one for one in wave if one.place not in refusals]
        try:
            return refusals | self._using(lambda link: link.publish(rest))
        except amqp.ChannelError:  # the broker closed the channel without saying for which message
            for one in rest:
                try:
                    refusals |= self._using(lambda link, one=one: link.publish([one]))  # type: ignore[misc]
                except amqp.ChannelError as error:
                    refusals[one.place] = str(error)
                    break  # as a rule the others would be refused, too
            return refusals

    def _using(self, job: Callable[[_Link], T]) -> T:
        """Run ``job`` on the connection. Raises BrokerUnavailableError, and amqp.ChannelError from a channel."""
        try:
            if self._link is None:
                self._link = self._connect()
            return job(self._link)
        except BaseException as error:
            self._drop()
            if isinstance(error, OSError | amqp.AMQPError) and not isinstance(error, amqp.ChannelError):
                raise BrokerUnavailableError(f"RabbitMQ: {error}") from error
            raise

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _connect(self) -> _Link:
        try:
            return _Link(self._address, self._exchange, self._returned, self._monotonic, self._confirm_s)
        except amqp.ChannelError as error:  # of a declaration, not of a message
            raise BrokerUnavailableError(f"RabbitMQ: {error}") from error

    def _returned(self) -> None:
        self.unroutable += 1


class _Link:
    """One connection with one channel in confirm mode. Raises OSError and amqp.AMQPError, and is then of no use."""

    def __init__(
        self,
        address: Address,
        exchange: str,
        on_return: Callable[[], None],
        monotonic: Callable[[], float],
        confirm_s: float,
    ) -> None:
        self._exchange, self._monotonic, self._confirm_s = exchange, monotonic, confirm_s
        self._connection = _Connection(
            host=f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}",
            userid=address.user,
            password=address.password,
            login_method="PLAIN",
            virtual_host=address.virtual_host,
            ssl=_encryption(address),
            heartbeat=HEARTBEAT_S,
            connect_timeout=CONNECT_S,
            socket_settings={_TCP_USER_TIMEOUT: _USER_TIMEOUT_MS},
            client_properties={"connection_name": "payments relay"},
        )
        self._places: dict[int, int] = {}
        """The places of unconfirmed messages by delivery tag, ascending."""
        self._refusals: dict[int, str] = {}
        self._tag = 0
        try:
            self._connection.connect()
            self._connection.sock.settimeout(confirm_s)
            self._channel = self._connection.channel()
            self._channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
            self._channel.confirm_select()
        except BaseException:
            self.close()
            raise
        events = self._channel.events
        events["basic_ack"].add(lambda tag, multiple: self._settle(tag, multiple, None))
        events["basic_nack"].add(lambda tag, multiple: self._settle(tag, multiple, "the broker refused it (nack)"))
        events["basic_return"].add(lambda *_: on_return())

    def publish(self, wave: Sequence[Numbered]) -> dict[int, str]:
        """Publish ``wave`` and wait for all confirms; returns the reasons of refusals by place."""
        self._refusals = {}
        for place, message in wave:
            self._tag += 1
            self._places[self._tag] = place
            self._channel.basic_publish(
                amqp.Message(
                    message.data,
                    content_type="application/json",
                    delivery_mode=_PERSISTENT,
                    message_id=message.event_id,
                    application_headers={f"ce-{name}": text for name, text in message.attributes.items()},
                ),
                exchange=self._exchange,
                routing_key=routing_key(message),
                mandatory=True,
            )
        deadline = self._monotonic() + self._confirm_s
        while self._places:
            left_s = deadline - self._monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no confirm within {self._confirm_s:g} s")
            self._connection.drain_events(timeout=left_s)
        return self._refusals

    def keep_alive(self) -> None:
        """Read what the broker sent, and send a heartbeat when one is due."""
        with suppress(TimeoutError):
            while True:
                self._connection.drain_events(timeout=_POLL_S)
        self._connection.heartbeat_tick()

    def take_leave(self) -> None:
        """Close the connection in agreement with the broker, if it answers."""
        with suppress(OSError, amqp.AMQPError):
            self._connection.close()
        self.close()

    def close(self) -> None:
        """Close the connection without a word to the broker."""
        self._connection.collect()

    def _settle(self, tag: int, multiple: bool, reason: str | None) -> None:  # noqa: FBT001  # the library's call
        tags = [tag]
        if multiple:
            tags = [one for one in self._places if one <= tag]
        for one in tags:
            place = self._places.pop(one)
            if reason is not None:
                self._refusals[place] = reason


class _Connection(amqp.Connection):  # type: ignore[misc]
    """A connection that does not look for a notice of the broker's alarms before each message, which takes long."""

    negotiate_capabilities: Final = {"authentication_failure_close": True}


def routing_key(message: Message) -> str:
    """``<stream_name>.<event type>``, with dots of the name as ``_``."""
    event_type = message.type.removeprefix(_PREFIX).rpartition(".")[0]
    return f"{message.stream.name.replace('.', '_')}.{event_type}"


def _unsendable(message: Message) -> str | None:
    """Why AMQP has no form for the message; None when it has."""
    for what, text in (("routing key", routing_key(message)), ("id", message.event_id)):
        if len(text.encode()) > _SHORT_MAX:
            return f"its {what} is longer than {_SHORT_MAX} bytes"
    return None


def _encryption(address: Address) -> object:
    """The library's setting for TLS, with the broker's certificate and name verified; False without TLS."""
    if not address.encrypted:
        return False
    return {"context": {"purpose": ssl.Purpose.SERVER_AUTH, "check_hostname": True}, "server_hostname": address.host}
