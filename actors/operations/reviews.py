"""Shared by operations that open reviews: the claim that opens each once, and what the provider said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from domain.events import Event, ReviewOpened
from domain.said import Said
from store.port import Claim

REVIEW_SCOPE: Final = "review"


def with_said(events: Sequence[Event], said: Callable[[], Said]) -> list[Event]:
    """``events``, whose reviews have what the provider said."""
    return [replace(event, said=said()) if isinstance(event, ReviewOpened) else event for event in events]


def without_reviews(events: Sequence[Event]) -> list[Event]:
    """``events`` except the reviews among them."""
    return [event for event in events if not isinstance(event, ReviewOpened)]


def review_claims(events: Sequence[Event]) -> tuple[Claim, ...]:
    """The claims that open each review of a transaction once: a gateway may repeat itself at every lookup."""
    return tuple(
        Claim(REVIEW_SCOPE, f"{event.transaction_id}:{event.reason}", event.review_id.encode())
        for event in events
        if isinstance(event, ReviewOpened)
    )
