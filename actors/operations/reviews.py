"""Shared by operations that open reviews: the claim that opens each once, and the gateway's report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from domain.events import Event, ReviewOpened
from domain.gateway_report import GatewayReport
from store.port import Claim

REVIEW_SCOPE: Final = "review"


def with_report(events: Sequence[Event], report: Callable[[], GatewayReport]) -> list[Event]:
    """``events``, with the gateway's report in each of their reviews."""
    return [replace(event, said=report()) if isinstance(event, ReviewOpened) else event for event in events]


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
