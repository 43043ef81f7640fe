"""A hint as a message: what is decoded, and what is refused without being decoded."""

from __future__ import annotations

import pytest

from messaging.hints import HINT_MAX, MalformedHintError, decode, encode
from messaging.port import WorkHint

HINT = WorkHint("w-1", None, "gatewayA")


def test_the_longest_message_that_is_decoded() -> None:
    """A longer one is no hint, whatever it holds: decoding it may take long."""
    body = encode(HINT)
    longest = body + b" " * (HINT_MAX - len(body))
    assert decode(longest) == HINT
    for longer in (longest + b" ", b"\xff" * (HINT_MAX + 1)):
        with pytest.raises(MalformedHintError, match="longer than 4096 bytes"):
            decode(longer)
