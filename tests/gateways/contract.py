"""What the contract suite of the gateways stands on: one subject and its provider, and the two ways of asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from domain.outcomes import NotReceived, Outcome
from gateways.port import Gateway, Order
from tests.gateways.peer import Peer, answers
from tests.gateways.subjects import Subject

Orders = Callable[..., Order]
Ask = Callable[[Gateway, Order], Outcome | NotReceived]
ASKS: dict[str, Ask] = {
    "submit": lambda gateway, order: gateway.submit(order),
    "lookup": lambda gateway, order: gateway.lookup(order),
}
ask_both_ways = pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
ask_by_lookup = pytest.mark.parametrize("ask", [ASKS["lookup"]], ids=["lookup"])


@dataclass
class Fixture:
    """One subject and its provider."""

    subject: Subject
    peer: Peer
    gateway: Gateway
    hasty: Gateway  # the same with a short deadline

    def provider_says(self, status: str, code: str | None = None, reference: str = "X-1") -> None:
        """Let the provider answer properly."""
        body = self.subject.response_body(status, code, reference)
        self.peer.behave = answers(200, body, self.subject.media_type)
