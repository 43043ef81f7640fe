"""The form of an API key: ``pgw_<id>_<secret>``. The id is public and has 64 random bits; the secret has 256.

Only the SHA-256 of the secret is stored. Random bits cannot be guessed, so it needs no salt and no slow hash.
"""

from __future__ import annotations

import re
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

PREFIX: Final = "pgw"
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32

# The id is in base 32, which cannot form a card number.
FORM: Final = rf"{PREFIX}_([a-z2-7]{{13}})_([A-Za-z0-9_-]{{43}})"
"""A key, as a regular expression."""
_KEY: Final = re.compile(FORM)
_ID_IN: Final = re.compile(rf"(?:{PREFIX}_)?([a-z2-7]{{13}})(?:_.*)?")


class Presented(NamedTuple):
    """A well-formed key that a client sent: its id, and the digest of its secret."""

    key_id: str
    digest: bytes


def make_key(random_bytes: Callable[[int], bytes]) -> tuple[str, Presented]:
    """Make a key: its text, which is shown once, and the stored part. ``random_bytes``: ``os.urandom``."""
    key_id = b32encode(random_bytes(ID_BYTES)).rstrip(b"=").decode().lower()
    secret = urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    return f"{PREFIX}_{key_id}_{secret}", Presented(key_id, _digest(secret))


def id_in(text: str) -> str | None:
    """The id in ``text``, which is an id or a whole key. A leaked key can be revoked by its text."""
    parts = _ID_IN.fullmatch(text)
    return None if parts is None else parts[1]


def read_api_key(text: str) -> Presented | None:
    """The key in ``text``; None when it is malformed."""
    parts = _KEY.fullmatch(text)
    return None if parts is None else Presented(parts[1], _digest(parts[2]))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
