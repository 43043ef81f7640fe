"""Connections to RabbitMQ, shared by the publisher of events and the queue of work. Knows nothing of their topology."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import amqp
from amqp.method_framing import frame_handler

from messaging.rabbitmq.address import Address
from messaging.rabbitmq.frames import Outgoing, publication

CONNECT_S: Final = 5.0
CONFIRM_S: Final = 10.0
"""The longest wait for the confirms of a batch, and for a message to be written."""
HEARTBEAT_S: Final = 30
WRITE_MAX: Final = 100
"""Messages of one write. The broker takes them while the next ones are encoded."""
LEAVE_S: Final = 0.5
"""The longest wait for the broker's answer to a close."""

_Frame = tuple[int, int, bytes]
"""The kind, the channel and the payload."""
_HEADER: Final = 2
"""The kind of frame with the properties of a message, from the offset ``_PROPERTIES_AT`` of the payload."""
_PROPERTIES_AT: Final = 12
_POLL_S: Final = 0.001
_USER_TIMEOUT_MS: Final = 10_000
_TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", 18)


class Link:
    """One connection, for one thread. Methods raise OSError and amqp.AMQPError; then the link cannot be used again.

    ``name`` is what the broker shows of the connection. ``answer_s`` bounds each wait for an answer and each write.
    """

    def __init__(
        self, address: Address, *, name: str, connect_s: float = CONNECT_S, answer_s: float = CONFIRM_S
    ) -> None:
        self._answer_s = answer_s
        self._connection = _Connection(
            host=address.server,
            userid=address.user,
            password=address.password,
            login_method="PLAIN",
            virtual_host=address.virtual_host,
            ssl=_encryption(address),
            heartbeat=HEARTBEAT_S,
            connect_timeout=connect_s,
            socket_settings={_TCP_USER_TIMEOUT: _USER_TIMEOUT_MS},
            client_properties={"connection_name": name},
            frame_handler=_frames,
        )

    def open(self) -> None:
        """Connect, and log in."""
        self._connection.connect()
        self._connection.sock.settimeout(self._answer_s)

    def channel(self) -> amqp.Channel:
        """Open one more channel."""
        return self._connection.channel()

    def publish(self, channel: int, exchange: str, messages: Sequence[Outgoing]) -> None:
        """Publish ``messages`` as mandatory, with one write."""
        frame_max = self._connection.frame_max
        self._connection.transport.write(b"".join([publication(channel, exchange, one, frame_max) for one in messages]))

    def abandon(self, channel: amqp.Channel) -> None:
        """Close a channel that does not answer, and ignore what it may answer later.

        Raises TimeoutError when the connection as a whole does not answer.
        """
        channel.is_closing = True
        channel.send_method(amqp.spec.Channel.Close, "BsBB", (0, "", 0, 0))
        self.channel().close()

    def receive(self, timeout_s: float) -> None:
        """Read one message or answer and hand it to its callback. Raises TimeoutError when none comes."""
        self._connection.drain_events(timeout=timeout_s)

    def keep_alive(self) -> None:
        """Read what the broker sent, and send a heartbeat when one is due."""
        with suppress(TimeoutError):
            while True:
                self.receive(_POLL_S)
        self.beat()

    def beat(self) -> None:
        """Send a heartbeat when one is due. Raises amqp.ConnectionForced when the broker sends none."""
        self._connection.heartbeat_tick()

    def take_leave(self) -> None:
        """Close the connection, and wait for the broker's answer."""
        with suppress(OSError, amqp.AMQPError):
            self._connection.set_timeout(LEAVE_S)
            self._connection.close()
        self.close()

    def close(self) -> None:
        """Close the connection without a message to the broker."""
        self._connection.set_timeout(LEAVE_S)  # TLS waits for an answer to its close message
        self._connection.collect()

    def interrupt(self) -> None:
        """End what another thread waits for on this connection: its call raises OSError. Never waits."""
        self._connection.interrupt()


class UnconfirmedError(TimeoutError):
    """The broker has not confirmed in time. ``places`` are those of the messages that it did not confirm."""

    def __init__(self, confirm_s: float, places: set[int]) -> None:
        super().__init__(f"no confirm within {confirm_s:g} s")
        self.places: Final = places


class Confirms:
    """Publishes on a channel in confirm mode. ``on_return`` gets the routing keys of unroutable messages."""

    def __init__(
        self,
        link: Link,
        channel: amqp.Channel,
        exchange: str,
        on_return: Callable[[str], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self._link, self._exchange, self._monotonic, self._confirm_s = link, exchange, monotonic, confirm_s
        self._places: dict[int, int] = {}
        """The places of unconfirmed messages by delivery tag, ascending."""
        self._refusals: dict[int, str] = {}
        self._tag = 0
        self.channel: Final = channel
        self.channel.confirm_select()
        events = self.channel.events
        events["basic_ack"].add(lambda tag, multiple: self._settle(tag, multiple, None))
        events["basic_nack"].add(lambda tag, multiple: self._settle(tag, multiple, "the broker refused it (nack)"))
        events["basic_return"].add(lambda _, __, routing_key, ___: on_return(routing_key))

    def publish(self, batch: Sequence[Outgoing]) -> dict[int, str]:
        """Publish ``batch`` as mandatory, and wait for all confirms. Returns the reasons of refusals by place.

        Raises UnconfirmedError; then the connection can still be used, and late confirms are ignored.
        """
        self._refusals, self._places = {}, {}
        if self.channel.connection is None:  # the library would connect again for a write
            raise amqp.RecoverableConnectionError("connection already closed")
        for first in range(0, len(batch), WRITE_MAX):
            messages = batch[first : first + WRITE_MAX]
            self._link.publish(self.channel.channel_id, self._exchange, messages)
            self._places.update(enumerate((one.place for one in messages), self._tag + 1))
            self._tag += len(messages)
        deadline = self._monotonic() + self._confirm_s
        while self._places:
            left_s = deadline - self._monotonic()
            if left_s <= 0:
                raise UnconfirmedError(self._confirm_s, {*self._places.values(), *self._refusals})
            with suppress(TimeoutError):
                self._link.receive(left_s)
        return self._refusals

    def _settle(self, tag: int, multiple: bool, reason: str | None) -> None:  # noqa: FBT001  # the library's call
        tags = [tag]
        if multiple:
            tags = [one for one in self._places if one <= tag]
        for one in tags:
            place = self._places.pop(one, None)
            if place is not None and reason is not None:
                self._refusals[place] = reason


class _Connection(amqp.Connection):  # type: ignore[misc]
    """A connection that does not look for a notice of the broker's alarms before each message, which takes long."""

    negotiate_capabilities: Final = {"consumer_cancel_notify": True, "authentication_failure_close": True}

    def set_timeout(self, timeout_s: float) -> None:
        """Bound each later wait on the socket, if there is one."""
        if (sock := self._socket()) is not None:
            with suppress(OSError):
                sock.settimeout(timeout_s)

    def interrupt(self) -> None:
        """Shut the socket down, if there is one."""
        if (sock := self._socket()) is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _socket(self) -> socket.socket | None:
        return getattr(self._transport, "sock", None)


def _frames(connection: amqp.Connection, callback: Callable[..., None]) -> Callable[[_Frame], object]:
    """The library's reader of frames, without the properties of messages.

    Nothing here needs them, and the library fails on properties of foreign messages that are not in UTF-8.
    """
    on_frame = frame_handler(connection, callback)

    def read(frame: _Frame) -> object:
        kind, channel, payload = frame
        if kind == _HEADER:
            frame = kind, channel, bytes(payload[:_PROPERTIES_AT]) + b"\0\0"
        return on_frame(frame)

    return read


def _encryption(address: Address) -> object:
    """The library's setting for TLS, with the broker's certificate and name verified; False without TLS."""
    if not address.encrypted:
        return False
    return {"context": {"purpose": ssl.Purpose.SERVER_AUTH, "check_hostname": True}, "server_hostname": address.host}
