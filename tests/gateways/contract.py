"""Parts of the gateways' contract suite: a subject with its provider, and calls by submit or lookup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from domain.outcomes import NotReceived, Outcome
from gateways.port import Gateway, Order
from tests.gateways.peer import Peer, answers
from tests.gateways.subjects import Subject

Orders = Callable[..., Order]
Call = Callable[[Gateway, Order], Outcome | NotReceived]
CALLS: dict[str, Call] = {
    "submit": lambda gateway, order: gateway.submit(order),
    "lookup": lambda gateway, order: gateway.lookup(order),
}
by_submit_and_lookup = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
by_lookup = pytest.mark.parametrize("call", [CALLS["lookup"]], ids=["lookup"])


@dataclass
class Fixture:
    """One subject and its provider."""

    subject: Subject
    peer: Peer
    gateway: Gateway
    hasty: Gateway  # the same, with a short deadline

    def provider_answers(self, status: str, code: str | None = None, reference: str = "X-1") -> None:
        """Let the provider send a correct answer."""
        body = self.subject.response_body(status, code, reference)
        self.peer.behave = answers(200, body, self.subject.media_type)
