"""Outcomes of an authorization that has ended by itself: the words of gatewayA and gatewayB, and the declines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from domain.outcomes import AUTHORIZATION_CANCELLED, AUTHORIZATION_EXPIRED, Declined

ENDED: Final[Mapping[str, Declined]] = MappingProxyType(
    {
        "expired": Declined(AUTHORIZATION_EXPIRED, None, "The authorization expired."),
        "cancelled": Declined(AUTHORIZATION_CANCELLED, None, "The authorization was cancelled."),
    }
)
"""The status of an authorization that holds the money no longer, and the decline that it means."""


def ended(status: object, reference: str) -> Declined | None:
    """The decline that ``status`` means; None when it is no end of an authorization."""
    declined = ENDED.get(status) if isinstance(status, str) else None
    return None if declined is None else replace(declined, reference=reference)
