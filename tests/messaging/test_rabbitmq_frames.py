"""The frames of a publication are those that the client library writes for the same message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Final

import amqp
import pytest
from amqp import spec
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from messaging.rabbitmq.frames import PERSISTENT, Outgoing, publication, table_of

CHANNEL: Final = 3
FRAME_MAX: Final = 4096
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def _by_library(
    exchange: str, message: Outgoing, headers: dict[str, str] | None = None, frame_max: int = FRAME_MAX
) -> bytes:
    """What py-amqp writes."""
    written: list[bytes] = []
    connection = SimpleNamespace(frame_max=frame_max, bytes_sent=0)
    write = frame_writer(connection, SimpleNamespace(write=lambda data: written.append(bytes(data))))
    content = amqp.Message(
        message.body,
        content_type=message.content_type,
        delivery_mode=PERSISTENT,
        message_id=message.message_id or None,
        expiration=message.expiration or None,
        application_headers=headers,
    )
    arguments = dumps("Bssbb", (0, exchange, message.routing_key, True, False))
    write(1, CHANNEL, spec.Basic.Publish, arguments, content)
    return b"".join(written)


@given(
    exchange=TEXTS,
    routing_key=TEXTS,
    body=st.binary(max_size=300),
    message_id=TEXTS,
    texts=st.dictionaries(TEXTS, TEXTS, max_size=15),
)
def test_an_event(exchange: str, routing_key: str, body: bytes, message_id: str, texts: dict[str, str]) -> None:
    """Any texts and any bytes have the library's form."""
    headers = {f"ce-{name}": text for name, text in texts.items()}
    message = Outgoing(0, routing_key, body, "application/json", table_of(texts, "ce-"), message_id)
    assert publication(CHANNEL, exchange, message, FRAME_MAX) == _by_library(exchange, message, headers)


@pytest.mark.parametrize("text", ["x" * 127, "x" * 128, "x" * 5000, "ü" * 127, "\x80", "\x7f", ""])
@pytest.mark.parametrize("name", ["id", "n" * 124, "n" * 125, "n" * 252, "ü"])
def test_texts_of_many_lengths(name: str, text: str) -> None:
    """A table has the library's form, beyond the texts that are encoded together, too."""
    message = Outgoing(0, "a.b", b"{}", "application/json", table_of({"first": "1", name: text}, "ce-"))
    headers = {"ce-first": "1", f"ce-{name}": text}
    assert publication(CHANNEL, "e", message, 1 << 17) == _by_library("e", message, headers, 1 << 17)


def test_many_names() -> None:
    """Names beyond those that are remembered have the same form."""
    for number in range(600):
        assert table_of({f"n{number}": "x"}, "many-") == table_of({f"n{number}": "x"}, "many-")
        assert table_of({f"n{number}": "x"}, "many-")[4:].startswith(f"many-n{number}S".encode(), 1)


def test_a_message_that_expires() -> None:
    """Its expiration is a property; it has no headers and no id."""
    message = Outgoing(0, "gateway_a", b"{}", "application/json", expiration="60000")
    assert publication(CHANNEL, "payments.work", message, FRAME_MAX) == _by_library("payments.work", message)


@pytest.mark.parametrize("size", [0, 1, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, 3 * FRAME_MAX])
def test_bodies_of_many_sizes(size: int) -> None:
    """A body that does not fit into a frame is divided; an empty one has no frame."""
    message = Outgoing(0, "a.b", b"x" * size, "text/plain", message_id="1")
    assert publication(CHANNEL, "e", message, FRAME_MAX) == _by_library("e", message)


def test_a_name_that_has_no_form() -> None:
    """A name of more than 255 bytes is refused here, and not sent in another form."""
    with pytest.raises(ValueError, match="range"):
        publication(CHANNEL, "e", Outgoing(0, "x" * 256, b"", "text/plain"), FRAME_MAX)
