"""What an API key looks like: ``pgw_<id>_<secret>``. The id is public, the secret 256 random bits.

Of the secret only its SHA-256 is ever kept. It needs no salt and no slow hash, since nobody can guess random bits.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

PREFIX: Final = "pgw"
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32

KEY_ID: Final = re.compile(r"[0-9a-f]{16}")
_KEY: Final = re.compile(rf"{PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")


class Presented(NamedTuple):
    """A well-formed key that somebody sent: which one it claims to be, and the digest that would prove it."""

    key_id: str
    digest: bytes


def make_key(random_bytes: Callable[[int], bytes]) -> tuple[str, Presented]:
    """A new key: its text, which is shown once, and what is kept of it. ``random_bytes``: ``os.urandom``."""
    key_id = random_bytes(ID_BYTES).hex()
    secret = urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    return f"{PREFIX}_{key_id}_{secret}", Presented(key_id, _digest(secret))


def read_key(text: str) -> Presented | None:
    """The key in ``text``; None for what cannot be one."""
    parts = _KEY.fullmatch(text)
    return None if parts is None else Presented(parts[1], _digest(parts[2]))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
