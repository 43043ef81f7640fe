"""A proxy before a broker of Kafka's protocol that answers some requests itself, as a broker that refuses them does.

The brokers of the tests refuse nothing that the adapter sends. The bytes are those of the protocol's documentation
(https://kafka.apache.org/protocol): Produce, versions 9 to 12.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from struct import pack, unpack_from
from typing import Final

from tests.messaging.cutting_proxy import CuttingProxy

UNKNOWN_SERVER_ERROR: Final = -1
NOT_LEADER: Final = 6
MESSAGE_TOO_LARGE: Final = 10
TOPIC_AUTHORIZATION_FAILED: Final = 29
INVALID_RECORD: Final = 87
_PRODUCE: Final = 0
_FLEXIBLE: Final = 9
"""The first version with compact lengths."""


class RefusingProxy(CuttingProxy):
    """Refuses every request with messages that holds ``refused_bytes``, and passes on all others."""

    refused_bytes: bytes | None = None
    drops_messages: bool = False
    """Whether requests with messages are dropped: the broker never sees them."""
    error: int = INVALID_RECORD

    def _pass(self, source: socket.socket, target: socket.socket, answers_of: int) -> None:
        if answers_of:
            super()._pass(source, target, answers_of)
            return
        with suppress(OSError):
            for frame in _frames(source):
                self.on_request(frame)
                if self.drops_messages and _api(frame) == _PRODUCE:
                    continue
                if self.refused_bytes is not None and self.refused_bytes in frame and _api(frame) == _PRODUCE:
                    answer = _refusal(frame, self.error)
                    source.sendall(pack(">i", len(answer)) + answer)
                else:
                    target.sendall(pack(">i", len(frame)) + frame)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _frames(source: socket.socket) -> Iterator[bytes]:
    """The requests of a connection, without their lengths."""
    buffer = b""
    while data := source.recv(65_536):
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + (size := unpack_from(">i", buffer)[0]):
            yield buffer[4 : 4 + size]
            buffer = buffer[4 + size :]


def _api(frame: bytes) -> int:
    (key,) = unpack_from(">h", frame)
    return int(key)


class _Fields:
    """Reads the fields of a request one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, form: str, size: int) -> int:
        (value,) = unpack_from(form, self._data, self._at)
        self._at += size
        return int(value)

    def compact(self) -> int:
        value = 0
        for shift in count(0, 7):
            byte = self.number(">B", 1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise AssertionError

    def bytes_of(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def no_tags(self) -> None:
        assert self.compact() == 0


def _refusal(frame: bytes, error: int) -> bytes:
    """The answer to a request with messages: ``error`` for each of its partitions, and nothing else."""
    fields = _Fields(frame)
    fields.number(">h", 2)
    assert fields.number(">h", 2) >= _FLEXIBLE
    answer = pack(">iB", fields.number(">i", 4), 0)
    fields.bytes_of(fields.number(">h", 2))  # the client's id
    fields.no_tags()
    assert fields.compact() == 0  # no transaction
    fields.bytes_of(2 + 4)  # acks, timeout
    topics = fields.compact()
    answer += pack(">B", topics)
    for _ in range(topics - 1):
        name = fields.bytes_of(fields.compact() - 1)
        partitions = fields.compact()
        answer += pack(">B", len(name) + 1) + name + pack(">B", partitions)
        for _ in range(partitions - 1):
            answer += pack(">ihqqqBBB", fields.number(">i", 4), error, -1, -1, -1, 1, 0, 0)
            fields.bytes_of(fields.compact() - 1)  # the messages
            fields.no_tags()
        fields.no_tags()
        answer += b"\0"
    return answer + pack(">iB", 0, 0)
