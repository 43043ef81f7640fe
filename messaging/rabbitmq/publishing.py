"""Publishes events to RabbitMQ: persistent messages to a durable topic exchange, with publisher confirms in batches.

The exchange is declared anew after each connect, so that a broker that lost its data needs no help. In the binary mode
of CloudEvents attributes are headers with the prefix ``ce-``; in structured mode the body has them. A message that no
queue is bound for is confirmed like any other, and counted.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeVar

import amqp

from messaging import cloud_events
from messaging.port import BrokerUnavailableError, Message, Published
from messaging.rabbitmq.address import SHORT_MAX, Address
from messaging.rabbitmq.frames import Outgoing, table_of
from messaging.rabbitmq.link import CONFIRM_S, Confirms, Link
from messaging.waves import Numbered, publish_in_waves

T = TypeVar("T")

EXCHANGE: Final = "payments.events"

_PREFIX: Final = "payments."
_ABOUT_A_MESSAGE: Final = (amqp.PreconditionFailed, amqp.ContentTooLarge)
"""Channel errors that a repetition of the message would get again, such as for one that is too large.

The others are about the exchange or the rights of the user, and need no decision about the message.
"""


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
        self._encode = _structured if structured else _binary
        self._exchange, self._monotonic, self._confirm_s = exchange, monotonic, confirm_s
        self._link: _EventLink | None = None
        self.unroutable = 0
        """Messages that were confirmed although no queue was bound for them."""

    def publish(self, batch: Sequence[Message]) -> Published:
        """See ``messaging.port.Publisher``."""
        if batch:
            return publish_in_waves(batch, self._send)
        self._using(lambda link: link.link.keep_alive())
        return Published(0)

    def close(self) -> None:
        """See ``messaging.port.Publisher``."""
        link, self._link = self._link, None
        if link is not None:
            link.link.take_leave()

    def _send(self, wave: Sequence[Numbered]) -> Mapping[int, str]:
        refusals = {one.place: reason for one in wave if (reason := _unsendable(one.message))}
        rest = [self._encode(*one) for one in wave if one.place not in refusals]
        try:
            return refusals | self._using(lambda link: link.confirms.publish(rest))
        except amqp.ChannelError:  # the broker closed the channel without saying for which message
            for one in rest:
                try:
                    refusals |= self._using(lambda link, one=one: link.confirms.publish([one]))  # type: ignore[misc]
                except _ABOUT_A_MESSAGE as error:
                    refusals[one.place] = self._address.hide(str(error))
                    break  # as a rule the others would be refused, too
                except amqp.ChannelError as error:
                    raise self._unavailable(error) from error
            return refusals

    def _using(self, job: Callable[[_EventLink], T]) -> T:
        """Run ``job`` on the connection. Raises BrokerUnavailableError, and amqp.ChannelError from a channel."""
        try:
            if self._link is None:
                self._link = self._connect()
            return job(self._link)
        except BaseException as error:
            self._drop()
            if isinstance(error, OSError | amqp.AMQPError) and not isinstance(error, amqp.ChannelError):
                raise self._unavailable(error) from error
            raise

    def _unavailable(self, error: Exception) -> BrokerUnavailableError:
        return BrokerUnavailableError(self._address.problem(error))

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.link.close()

    def _connect(self) -> _EventLink:
        link = Link(self._address, name="payments relay", answer_s=self._confirm_s)
        try:
            return _EventLink(link, self._exchange, self._returned, self._monotonic, self._confirm_s)
        except (amqp.ChannelError, ValueError, struct.error) as error:  # of a login or a declaration, not of a message
            link.close()
            raise self._unavailable(error) from error
        except BaseException:
            link.close()
            raise

    def _returned(self, _: str) -> None:
        self.unroutable += 1


class _EventLink:
    """An open connection whose exchange is declared."""

    def __init__(
        self,
        link: Link,
        exchange: str,
        on_return: Callable[[str], None],
        monotonic: Callable[[], float],
        confirm_s: float,
    ) -> None:
        self.link: Final = link
        link.open()
        channel = link.channel()
        channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
        self.confirms: Final = Confirms(link, channel, exchange, on_return, monotonic=monotonic, confirm_s=confirm_s)


def routing_key(message: Message) -> str:
    """``<stream_name>.<event type>``, with dots of the name as ``_``."""
    return _routing_key(message.stream.name, message.type)


@lru_cache(maxsize=1024)
def _routing_key(stream_name: str, type_: str) -> str:
    event_type = type_.removeprefix(_PREFIX).rpartition(".")[0]
    return f"{stream_name.replace('.', '_')}.{event_type}"


def _binary(place: int, message: Message) -> Outgoing:
    return Outgoing(
        place,
        routing_key(message),
        message.data,
        cloud_events.CONTENT_TYPE,
        table_of(message.attributes, cloud_events.RABBITMQ_PREFIX),
        message.event_id,
    )


def _structured(place: int, message: Message) -> Outgoing:
    return Outgoing(
        place,
        routing_key(message),
        cloud_events.structured(message),
        cloud_events.STRUCTURED_CONTENT_TYPE,
        message_id=message.event_id,
    )


def _unsendable(message: Message) -> str | None:
    """Why AMQP has no form for the message; None when it has."""
    for what, text in (("routing key", routing_key(message)), ("id", message.event_id)):
        if len(text.encode()) > SHORT_MAX:
            return f"its {what} is longer than {SHORT_MAX} bytes"
    return None
