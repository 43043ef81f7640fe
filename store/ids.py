"""What the id of a transaction says of the time: a UUIDv7 (RFC 9562) begins with the milliseconds since 1970.

An id is made when a request arrives, and ``created_at`` is taken when it is decided on, by the same clock of the same
process: later by as long as a request may wait, or otherwise when the clock was set in between. So a list of a time
looks among the ids of a somewhat longer one, and then at ``created_at`` itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

MADE_BEFORE: Final = timedelta(minutes=3)
"""An id is at most so much older than ``created_at``: requests wait for two minutes at most, and clocks jump."""
MADE_AFTER: Final = timedelta(minutes=1)
"""An id is at most so much younger: only where the clock was set back."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def lowest_id(created_from: datetime) -> str:
    """No transaction that was created then, or later, has an id below this."""
    return _beginning(created_from - _EPOCH - MADE_BEFORE)


def beyond_id(created_to: datetime) -> str:
    """All transactions that were created before this time have ids below this."""
    return _beginning(created_to - _EPOCH + MADE_AFTER + _MILLISECOND)


def made_at_s(transaction_id: str) -> float:
    """When the id was made, in seconds since 1970. Raises ValueError for one that does not begin as a UUIDv7 does."""
    return int(transaction_id[:8] + transaction_id[9:13], 16) / 1000


def _beginning(since: timedelta) -> str:
    text = f"{max(since // _MILLISECOND, 0):012x}"
    return f"{text[:8]}-{text[8:]}"
