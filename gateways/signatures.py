"""Verification of callbacks signed by HMAC-SHA256 over ``id.timestamp.body``. A scheme holds what providers vary.

It checks headers and signature; the content of the body is opaque here.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateways.port import SignatureInvalidError

TOLERANCE_S: Final = 300
"""Maximum difference between a callback's timestamp and the clock, in either direction."""

# Without a dot, the signed text splits in one way only. Otherwise id "1.2" at time 3 could return as id "1" at time 2,
# with a body that begins with 3. Without a comma, two joined headers of one name never form an id.
_EVENT_ID: Final = re.compile(r"[!-+/-~\-]{1,255}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Scheme:
    """One provider's header names, in lower case, and its format of signatures.

    ``offered`` splits the value of the signature header. ``written`` formats a signature for it. The texts are
    compared, not the decoded bytes, because several texts may decode to the same bytes.
    """

    id_header: str
    timestamp_header: str
    signature_header: str
    offered: Callable[[str], Sequence[str]]
    written: Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies by ``scheme`` with any of ``keys``, all of which are live."""

    scheme: Scheme
    keys: Sequence[bytes] = field(repr=False)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """Verify, and return the event id; see ``gateways.port.Callbacks``."""
        event_id = _header(headers, self.scheme.id_header, _EVENT_ID)
        timestamp = _header(headers, self.scheme.timestamp_header, _TIMESTAMP)
        # Whole seconds on both sides, like the timestamp.
        if abs(int(now.timestamp()) - int(timestamp)) > TOLERANCE_S:
            raise SignatureInvalidError(f"the header {self.scheme.timestamp_header} is more than {TOLERANCE_S} s off")
        if not self._is_signed(f"{event_id}.{timestamp}.".encode("ascii") + body, headers):
            raise SignatureInvalidError(f"the header {self.scheme.signature_header} holds no signature of it")
        return event_id

    def _is_signed(self, content: bytes, headers: Mapping[str, str]) -> bool:
        header = headers.get(self.scheme.signature_header, "")
        offered = self.scheme.offered(header) if header.isascii() else ()
        genuine = False
        for key in self.keys:  # always all of them, so that the time reveals nothing
            expected = self.scheme.written(hmac.digest(key, content, "sha256"))
            for each in offered:
                genuine |= hmac.compare_digest(expected, each)
        return genuine


def _header(headers: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = headers.get(name)
    if value is None:
        raise SignatureInvalidError(f"the header {name} is missing")
    if pattern.fullmatch(value) is None:
        raise SignatureInvalidError(f"the header {name} is malformed")
    return value
