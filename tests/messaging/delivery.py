"""What the consumer of a test's broker sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

FULL: Final = "full"
"""The merchant whose messages the broker refuses while it is full."""


class Delivery(NamedTuple):
    """A message as a consumer gets it."""

    event_id: str
    attributes: Mapping[str, str]
    data: bytes
