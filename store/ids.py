"""Times in the ids of transactions: a UUIDv7 (RFC 9562) begins with the milliseconds since 1970.

The id is made when a request arrives, and ``created_at`` is read when it is decided, by the clock of the same process.
They differ by the wait of the request, or by a change of the clock in between. A list of a period therefore reads the
ids of a slightly longer period, and then compares ``created_at``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

MADE_BEFORE: Final = timedelta(minutes=3)
"""The maximum age of an id at ``created_at``: a request waits for up to two minutes, and a clock may jump."""
MADE_AFTER: Final = timedelta(minutes=1)
"""The maximum time by which an id is younger than ``created_at``, after the clock was set back."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def lowest_id(created_from: datetime) -> str:
    """Return a lower bound of the ids of transactions created at this time or later."""
    return _beginning(created_from - _EPOCH - MADE_BEFORE)


def beyond_id(created_to: datetime) -> str:
    """Return an upper bound, exclusive, of the ids of transactions created before this time."""
    return _beginning(created_to - _EPOCH + MADE_AFTER + _MILLISECOND)


def made_at_s(transaction_id: str) -> float:
    """Return the time of the id in seconds since 1970. Raises ValueError when it does not begin like a UUIDv7."""
    return int(transaction_id[:8] + transaction_id[9:13], 16) / 1000


def _beginning(since: timedelta) -> str:
    text = f"{max(since // _MILLISECOND, 0):012x}"
    return f"{text[:8]}-{text[8:]}"
