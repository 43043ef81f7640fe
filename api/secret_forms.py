"""How secrets of this service read, wherever one is pasted: its API keys, and what callbacks are signed with.

Knows forms alone, not whether anybody has such a secret. A callback secret without a form cannot be told from a text.
"""

from __future__ import annotations

import re
from typing import Final

from api.keys import FORM, PREFIX

_API_KEY_BEGINS: Final = f"{PREFIX}_"
_WEBHOOK_BEGINS: Final = "whsec_"
_API_KEY_BYTES: Final = _API_KEY_BEGINS.encode()
_WEBHOOK_BYTES: Final = _WEBHOOK_BEGINS.encode()
_SECRET: Final = re.compile(rf"{FORM}|{_WEBHOOK_BEGINS}[A-Za-z0-9+/_-]{{8,}}", re.ASCII)


def may_hold_secret(data: bytes) -> bool:
    """False when ``data``, in which nothing is escaped, surely holds none; costs a fraction of a microsecond."""
    return _API_KEY_BYTES in data or _WEBHOOK_BYTES in data


def holds_secret(text: str) -> bool:
    """Whether an API key, or a callback secret ``whsec_…``, stands anywhere in ``text``."""
    # Two searches for plain words cost less than one for either.
    return (_API_KEY_BEGINS in text or _WEBHOOK_BEGINS in text) and _SECRET.search(text) is not None
