"""Work hints as messages: one JSON object with the members of a ``WorkHint``. Independent of any broker's client."""

from __future__ import annotations

from typing import Final

import msgspec

from messaging.port import WorkHint

HINT_MAX: Final = 4096
"""Bytes of the longest message that is decoded. A hint has a few hundred at most."""


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


def decode(body: bytes, gateway: str | None = None) -> WorkHint:
    """The hint of ``body``, which must be of ``gateway`` when it is given. Later members are ignored.

    Raises MalformedHintError, for a message of more than HINT_MAX bytes without decoding it.
    """
    if len(body) > HINT_MAX:
        raise MalformedHintError(f"it is longer than {HINT_MAX} bytes")
    try:
        read = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedHintError(_shown(error)) from None
    if gateway is not None and read.gateway != gateway:
        raise MalformedHintError("it names another gateway")
    return WorkHint(read.work_id, read.transaction_id, read.gateway)


def _shown(error: Exception) -> str:
    return str(error) if isinstance(error, msgspec.DecodeError) else "it is no JSON in UTF-8"
