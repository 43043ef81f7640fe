"""Declines of an authorization that the provider ended, by the statuses that gatewayA and gatewayB report."""

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
"""The statuses of an authorization whose money is no longer held, and the decline that each means."""


def ended(status: object, reference: str) -> Declined | None:
    """The decline that ``status`` means; None when it is not the end of an authorization."""
    declined = ENDED.get(status) if isinstance(status, str) else None
    return None if declined is None else replace(declined, reference=reference)
