"""Callbacks signed by HMAC-SHA256 over ``id.timestamp.body``, with what providers do differently as a scheme.

It owns the check of headers and signature, and knows nothing of what the body says.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateways.port import UnverifiedError

TOLERANCE_S: Final = 300
"""Maximum difference between a callback's timestamp and the clock, in either direction."""

# Without a dot there is one way only to take what was signed apart again: else "1.2" at 3 could come back as "1" at 2,
# with a body that begins with 3. Without a comma no header that was sent twice, and joined, is an id.
_EVENT_ID: Final = re.compile(r"[!-+/-~\-]{1,255}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Scheme:
    """One provider's headers, by their names in lower case, and its way of writing signatures.

    ``offered`` takes the signature header's value apart; ``written`` is how a signature is written there. Texts are
    compared, not what they decode to: several may decode to the same.
    """

    id_header: str
    timestamp_header: str
    signature_header: str
    offered: Callable[[str], Sequence[str]]
    written: Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies by ``scheme`` with any of ``keys``, which are all live."""

    scheme: Scheme
    keys: Sequence[bytes] = field(repr=False)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The event id; see ``gateways.port.Callbacks``."""
        event_id = _header(headers, self.scheme.id_header, _EVENT_ID)
        timestamp = _header(headers, self.scheme.timestamp_header, _TIMESTAMP)
        # Whole seconds on both sides, as the timestamp counts them.
        if abs(int(now.timestamp()) - int(timestamp)) > TOLERANCE_S:
            raise UnverifiedError(f"the header {self.scheme.timestamp_header} is more than {TOLERANCE_S} s off")
        if not self._is_signed(f"{event_id}.{timestamp}.".encode("ascii") + body, headers):
            raise UnverifiedError(f"the header {self.scheme.signature_header} holds no signature of it")
        return event_id

    def _is_signed(self, content: bytes, headers: Mapping[str, str]) -> bool:
        header = headers.get(self.scheme.signature_header, "")
        offered = self.scheme.offered(header) if header.isascii() else ()
        genuine = False
        for key in self.keys:  # all of them, whichever it was: how long it takes tells nobody
            expected = self.scheme.written(hmac.digest(key, content, "sha256"))
            for each in offered:
                genuine |= hmac.compare_digest(expected, each)
        return genuine


def _header(headers: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = headers.get(name)
    if value is None:
        raise UnverifiedError(f"the header {name} is missing")
    if pattern.fullmatch(value) is None:
        raise UnverifiedError(f"the header {name} is malformed")
    return value
