"""The consumers of docs/events.md, and what their bookings must add up to."""

from __future__ import annotations

import re
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import orjson
import pytest

from domain.money import minor_to_text
from messaging.message import Message
from store.backend import PaymentStore
from store.port import StreamKey
from tests.processes.process import PATIENCE_S
from tests.tooling.checkout import CHECKOUT

PAGE: Final = (CHECKOUT / "docs/events.md").read_text("utf-8")
CODE: Final = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CUSTOMERS: Final = (StreamKey("main", "customer-1"), StreamKey("shop", "b:2"))
"""The customers of ``tests.messaging.recorded``."""


class Consumer:
    """The consumer of the page, on a database of its own."""

    def __init__(self) -> None:
        names: dict[str, Any] = {}
        exec(compile("\n".join(CODE), "docs/events.md", "exec"), names)  # noqa: S102  # part of the checkout
        self.names = names
        """What the code of the page defines."""
        self._handle: Callable[[sqlite3.Connection, Any, Any], None] = names["handle"]
        self.db = sqlite3.connect(":memory:")
        for statement in re.findall(r"`(CREATE TABLE [^`]*)`", PAGE):
            self.db.execute(statement)

    def receive(self, message: Message) -> None:
        """Process a delivery."""
        self._handle(self.db, message.attributes, orjson.loads(message.data))

    def totals(self) -> dict[tuple[str, str], Decimal]:
        """The booked amounts by customer and currency."""
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for customer, amount, currency in self.db.execute("SELECT customer, amount, currency FROM ledger"):
            sums[customer, currency] += Decimal(amount)
        return dict(sums)


def balances(store: PaymentStore) -> dict[tuple[str, str], Decimal]:
    """The balances of the customers, which the bookings must add up to."""
    found = {}
    for stream in CUSTOMERS:
        view = store.customer(stream)
        assert view is not None
        for currency, balance in view.balances:
            total = minor_to_text(balance.available + balance.reserved, currency)
            found[f"{stream.name}/{stream.id}", currency] = Decimal(total)
    return found


class FaultError(Exception):
    """The consumer stops at this point."""


class Faulty:
    """A ``handle`` that stops before every n-th booking, and between the next booking and its acknowledgement.

    It also stops after the last booking.
    """

    def __init__(self, consumer: Consumer, messages: Sequence[Message], every: int = 3) -> None:
        self._handle = consumer.names["handle"]
        self._left = {message.event_id for message in messages}
        self._calls, self._every = 0, every
        self.booked: list[str] = []
        """The ids of the events that were handled, repetitions included."""
        consumer.names["handle"] = self

    def __call__(self, db: sqlite3.Connection, attributes: Any, data: Any) -> None:
        """Handle one event."""
        self._calls += 1
        if self._calls % self._every == 1:
            raise FaultError
        self._handle(db, attributes, data)
        self.booked.append(attributes["id"])
        self._left.discard(attributes["id"])
        if self._calls % self._every == 2 or not self._left:
            raise FaultError

    def run(self, consume: Callable[[], None]) -> None:
        """Consume, again after each fault, until all messages were handled."""
        while self._left:
            with not_for_ever(), pytest.raises(FaultError):
                consume()


@contextmanager
def not_for_ever() -> Iterator[None]:
    """Fail when the block takes longer than PATIENCE_S: a consumer that lost an event waits for it for ever."""

    def fail(*_: object) -> None:
        raise AssertionError("the consumer waits for an event that does not come")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
