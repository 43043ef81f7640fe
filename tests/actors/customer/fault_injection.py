"""Customers' actors that die at chosen messages."""

from __future__ import annotations

from typing import Any

from actors.customer.actor import CustomerStreamActor
from tests.actors.customer.fixtures import Customers


class Fatal:
    """Makes customers' actors die at the next messages of a kind, before or after they have handled them.

    It holds for actors that are made from now on; ``left`` says how many deaths are still to come.
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
