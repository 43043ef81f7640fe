"""Who is calling. The one place that decides whose customers and transactions a request is about."""

from __future__ import annotations

from typing import Final

import falcon

_ONLY_MERCHANT: Final = "main"


def merchant_of(_req: falcon.Request) -> str:
    """The merchant that the request speaks for: always the same one until callers have keys."""
    return _ONLY_MERCHANT
