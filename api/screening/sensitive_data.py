"""The data that no request may contain: card numbers, and secrets of this service by their form.

Secrets are API keys and callback secrets ``whsec_…``. Whether such a key exists is not checked here. A callback secret
without a prefix cannot be distinguished from other text.
"""

from __future__ import annotations

import re
from typing import Final

from api.keys import FORM, PREFIX
from domain.cards import holds_card, may_hold_card

HOLDS_CARD: Final = "Contains a card number. Card numbers are not accepted."
HOLDS_SECRET: Final = "Contains a secret, such as an API key. Secrets are not accepted."  # noqa: S105 (no secret)

_API_KEY_BEGINS: Final = f"{PREFIX}_"
_WEBHOOK_BEGINS: Final = "whsec_"
_API_KEY_BYTES: Final = _API_KEY_BEGINS.encode()
_WEBHOOK_BYTES: Final = _WEBHOOK_BEGINS.encode()
_SECRET: Final = re.compile(rf"{FORM}|{_WEBHOOK_BEGINS}[A-Za-z0-9+/_-]{{8,}}", re.ASCII)


def may_hold_any(data: bytes) -> bool:
    """False when ``data``, UTF-8 without escapes, certainly holds neither; costs about a microsecond."""
    return _API_KEY_BYTES in data or _WEBHOOK_BYTES in data or may_hold_card(data)


def holds_secret(text: str) -> bool:
    """Whether ``text`` contains an API key or a callback secret ``whsec_…``."""
    # Two searches for fixed words cost less than one regular expression for either.
    return (_API_KEY_BEGINS in text or _WEBHOOK_BEGINS in text) and _SECRET.search(text) is not None


def found_in(*texts: str) -> list[str]:
    """The messages for what ``texts`` contain: none, HOLDS_CARD, HOLDS_SECRET, or both."""
    found = [HOLDS_CARD] if any(map(holds_card, texts)) else []
    return [*found, HOLDS_SECRET] if any(map(holds_secret, texts)) else found
