"""The frames of AMQP 0-9-1 in which a message is published, as the client library would write them.

The library makes each value of a message by itself and writes each message by itself, which takes most of the time of
publishing. Here a message is a few joins of bytes, and many messages are one write.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

PERSISTENT: Final = 2
"""The delivery mode of messages that the broker keeps on disk."""

_METHOD, _HEADER, _BODY = 1, 2, 3
"""Kinds of frames."""
_BASIC: Final = 60
"""The class of the method, and of the content."""
_PUBLISH: Final = 40
_MANDATORY: Final = b"\x01"
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _EXPIRATION, _MESSAGE_ID = 1 << 15, 1 << 13, 1 << 12, 1 << 8, 1 << 7
"""The flags of the properties, which follow in this order."""
_TEXT: Final = b"S"
"""The type of a value of a table."""
_END: Final = b"\xce"
_FRAME_OVERHEAD: Final = 8
"""Bytes of a frame beside its payload."""

_length: Final = Struct(">I").pack
_frame: Final = Struct(">BHI").pack
_method: Final = Struct(">HHH").pack
_content: Final = Struct(">HHQH").pack


class Outgoing(NamedTuple):
    """A persistent message to publish; ``place`` is the caller's name for it.

    ``headers`` is a table of ``table_of``. ``message_id`` and ``expiration`` are absent when empty.
    """

    place: int
    routing_key: str
    body: bytes
    content_type: str
    headers: bytes = b""
    message_id: str = ""
    expiration: str = ""


def table_of(texts: Mapping[str, str], prefix: str) -> bytes:
    """A table of texts, each under its name with ``prefix``."""
    parts: list[bytes] = []
    for name, text in texts.items():
        value = text.encode()
        parts += (_field(prefix, name), _length(len(value)), value)
    table = b"".join(parts)
    return _length(len(table)) + table


def publication(channel: int, exchange: str, message: Outgoing, frame_max: int) -> bytes:
    """The frames that publish ``message`` as mandatory.

    ``frame_max`` is the greatest frame of the connection in bytes; a longer body is divided.
    """
    present = _CONTENT_TYPE | _DELIVERY_MODE
    properties = _short(message.content_type)
    if message.headers:
        present |= _HEADERS
        properties += message.headers
    properties += bytes((PERSISTENT,))
    if message.expiration:
        present |= _EXPIRATION
        properties += _short(message.expiration)
    if message.message_id:
        present |= _MESSAGE_ID
        properties += _short(message.message_id)
    body = message.body
    header = _content(_BASIC, 0, len(body), present) + properties
    parts = [
        _publish(channel, exchange, message.routing_key),
        *(_frame(_HEADER, channel, len(header)), header, _END),
    ]
    most = frame_max - _FRAME_OVERHEAD
    for begin in range(0, len(body), most):
        part = body[begin : begin + most]
        parts += (_frame(_BODY, channel, len(part)), part, _END)
    return b"".join(parts)


def _short(text: str) -> bytes:
    """A short string. Raises ValueError for more than 255 bytes."""
    value = text.encode()
    return bytes((len(value),)) + value


@lru_cache(maxsize=256)
def _field(prefix: str, name: str) -> bytes:
    """The name of a text in a table, and its type."""
    return _short(prefix + name) + _TEXT


@lru_cache(maxsize=1024)
def _publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """The frame of the method. A service has a few routing keys for each merchant."""
    payload = _method(_BASIC, _PUBLISH, 0) + _short(exchange) + _short(routing_key) + _MANDATORY
    return _frame(_METHOD, channel, len(payload)) + payload + _END
