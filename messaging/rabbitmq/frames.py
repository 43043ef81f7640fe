"""The frames of AMQP 0-9-1 in which a message is published, as the client library would write them.

The library encodes each value separately and writes each message separately, which takes most of the time of
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
_PERSISTENT: Final = bytes((PERSISTENT,))
_NAMES_MAX: Final = 256
_FRAME_OVERHEAD: Final = 8
"""Bytes of a frame beside its payload."""

_length: Final = Struct(">I").pack
_frame: Final = Struct(">BHI").pack
_method: Final = Struct(">HHH").pack
_header: Final = Struct(">BHIHHQH").pack
"""The beginning of the frame with the properties: up to the flags."""
_HEADER_SIZE: Final = 14
"""Bytes of its payload before the properties."""
_LENGTHS: Final = tuple(f"\0\0\0{chr(length)}" for length in range(128))
"""The lengths of short texts in a table, in ASCII."""


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
    names = _names(prefix)
    try:
        # Nearly all texts are short and in ASCII, as are their lengths: they are encoded at once.
        table = "".join([f"{names[name]}{_LENGTHS[len(text)]}{text}" for name, text in texts.items()])
    except IndexError:
        return _table_of_any(texts, prefix)
    return _length(len(table)) + table.encode() if table.isascii() else _table_of_any(texts, prefix)


def _table_of_any(texts: Mapping[str, str], prefix: str) -> bytes:
    table = b""
    for name, text in texts.items():
        value = text.encode()
        table += _short(prefix + name) + _TEXT + _length(len(value)) + value
    return _length(len(table)) + table


def publication(channel: int, exchange: str, message: Outgoing, frame_max: int) -> bytes:
    """The frames that publish ``message`` as mandatory.

    ``frame_max`` is the greatest frame of the connection in bytes; a longer body is divided.
    """
    present = _CONTENT_TYPE | _DELIVERY_MODE
    properties = _short_of_few(message.content_type)
    if message.headers:
        present |= _HEADERS
        properties += message.headers
    properties += _PERSISTENT
    if message.expiration:
        present |= _EXPIRATION
        properties += _short_of_few(message.expiration)
    if message.message_id:
        present |= _MESSAGE_ID
        properties += _short(message.message_id)
    body, most = message.body, frame_max - _FRAME_OVERHEAD
    size = len(body)
    parts = [
        _publish(channel, exchange, message.routing_key),
        _header(_HEADER, channel, _HEADER_SIZE + len(properties), _BASIC, 0, size, present),
        properties,
    ]
    for begin in range(0, size, most):
        part = body[begin : begin + most]
        parts += (_END, _frame(_BODY, channel, len(part)), part)
    parts.append(_END)
    return b"".join(parts)


def _short(text: str) -> bytes:
    """A short string. Raises ValueError for more than 255 bytes."""
    value = text.encode()
    return bytes((len(value),)) + value


_short_of_few: Final = lru_cache(maxsize=64)(_short)


class _Names(dict[str, str]):
    """The names of texts in tables, each with its length and the type of the text. Those of CloudEvents are few."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, name: str) -> str:
        whole = self._prefix + name
        made = f"{chr(len(whole))}{whole}S"
        if len(self) < _NAMES_MAX:
            self[name] = made
        return made


_names: Final = lru_cache(maxsize=8)(_Names)


@lru_cache(maxsize=1024)
def _publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """The frame of the method. A service has a few routing keys for each merchant."""
    payload = _method(_BASIC, _PUBLISH, 0) + _short(exchange) + _short(routing_key) + _MANDATORY
    return _frame(_METHOD, channel, len(payload)) + payload + _END
