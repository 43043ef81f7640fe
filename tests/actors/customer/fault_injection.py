"""Customers' actors that die at chosen messages."""

from __future__ import annotations

from typing import Any

from actors.customer.actor import CustomerStreamActor
from tests.actors.customer.fixtures import Customers


class Fatal:
    """Kills customers' actors at the next messages of a kind, before or after they handle them.

    Applies to actors made from now on. ``left``: the number of deaths still to come.
    """

    def __init__(self, customers: Customers, kind: type, *, after: bool, times: int = 1) -> None:
        self.left = times
        make = customers.router._make

        def made(key: Any) -> CustomerStreamActor:
            actor = make(key)
            assert isinstance(actor, CustomerStreamActor)
            receive = actor.receive

            def dying(message: Any) -> None:
                if not isinstance(message, kind) or self.left == 0:
                    receive(message)
                    return
                self.left -= 1
                if after:
                    receive(message)
                raise RuntimeError(f"dies at {kind.__name__}")

            actor.receive = dying  # type: ignore[method-assign]
            return actor

        customers.router._make = made
