"""Work hints as messages: one JSON object with the members of a ``WorkHint``. Independent of any broker's client."""

from __future__ import annotations

import msgspec

from messaging.port import WorkHint


class MalformedHintError(ValueError):
    """A message that is no work hint. The text names the defect and never shows the message."""


class _Body(msgspec.Struct, frozen=True, gc=False):
    work_id: str
    transaction_id: str | None
    gateway: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Body)


def encode(hint: WorkHint) -> bytes:
    """The body of a hint."""
    return _ENCODER.encode(_Body(*hint))


def decode(body: bytes, gateway: str) -> WorkHint:
    """The hint of ``body``, which must be of ``gateway``. Members that later versions may add are ignored.

    Raises MalformedHintError.
    """
    try:
        read = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedHintError(_shown(error)) from None
    if read.gateway != gateway:
        raise MalformedHintError("it names another gateway")
    return WorkHint(read.work_id, read.transaction_id, read.gateway)


def _shown(error: Exception) -> str:
    return str(error) if isinstance(error, msgspec.DecodeError) else "it is no JSON in UTF-8"
