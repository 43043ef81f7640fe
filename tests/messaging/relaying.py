"""A scenario for the relay: a store with events, a broker in memory, and relays that can be stopped at any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from messaging.relay import Relay, RelaySource
from store.backend import PaymentStore
from store.port import RelayCheckpoint
from tests.messaging.builders import messages_of
from tests.messaging.memory import MemoryBroker, MemoryPublisher
from tests.store.builders import Customer

NAME: Final = "events"
LEASE_S: Final = 15.0
STEPS_MAX: Final = 500


class Died(BaseException):
    """The process ended here."""


class Watched:
    """A store whose calls for the relay are announced before and after they are made."""

    def __init__(self, store: PaymentStore, at_step: Callable[[str], None]) -> None:
        self._store, self._at_step = store, at_step

    def __getattr__(self, name: str) -> Callable[..., object]:
        """The method, between two announcements."""
        method = getattr(self._store, name)

        def call(*args: object, **named: object) -> object:
            self._at_step(f"before {name}")
            answer: object = method(*args, **named)
            self._at_step(f"after {name}")
            return answer

        return call


class Scenario:
    """Relays of several processes on one store and one broker. Time passes only when the test lets it."""

    def __init__(self, store: PaymentStore, pass_time: Callable[[float], None]) -> None:
        self.store, self._pass_time = store, pass_time
        self.broker = MemoryBroker()
        self.now = 0.0
        self.customers = {name: Customer(name) for name in "abc"}
        self._transactions = 0

    def fill(self, count: int) -> None:
        """Store the deposits of customers in turn, each completed: two of every three events follow at once."""
        for number in range(count):
            customer = self.customers["abc"[number % 3]]
            self._transactions += 1
            transaction_id = f"t{self._transactions:03}"
            self.store.append([customer.deposit(transaction_id), customer.complete(transaction_id)])

    def relay(
        self,
        owner: str = "one",
        *,
        batch_max: int = 4,
        lease_s: float = LEASE_S,
        at_step: Callable[[str], None] | None = None,
        on_published: Callable[[float], None] = lambda _: None,
    ) -> Relay:
        """One more process's relay."""
        source: RelaySource = self.store if at_step is None else Watched(self.store, at_step)  # type: ignore[assignment]
        return Relay(
            name=NAME,
            owner=owner,
            store=source,
            make_messages=messages_of,
            publisher=MemoryPublisher(self.broker),
            lease_s=lease_s,
            monotonic=lambda: self.now,
            batch_max=batch_max,
            on_published=on_published,
        )

    def wait(self, seconds: float) -> None:
        """Let time pass everywhere."""
        self.now += seconds
        self._pass_time(seconds)

    def drain(self, relay: Relay) -> None:
        """Step until everything is published."""
        for _ in range(STEPS_MAX):
            self.wait(relay.step())
            if relay.state.leading and self.at().position == self.store.last_position():
                return
        raise AssertionError(f"not everything was published: {relay.state}")

    def at(self) -> RelayCheckpoint:
        """The relay's record; at the beginning when there is none."""
        return self.store.checkpoint(NAME) or RelayCheckpoint(NAME, 0, 0, 0, None, 0.0, None)

    def check(self, *, until: int | None = None) -> None:
        """Every event up to ``until`` was delivered, and first deliveries are in order within a customer."""
        events = self.store.all_events(None, after=0, limit=10_000)
        expected = [event.event_id for event in events if until is None or event.position <= until]
        delivered = set(self.broker.event_ids)
        assert [event_id for event_id in expected if event_id not in delivered] == []
        self.check_order()

    def check_order(self) -> None:
        """First deliveries are in order within a customer, without a gap."""
        versions: dict[str, list[int]] = {}
        for message in self.broker.first_deliveries:
            versions.setdefault(message.partition_key, []).append(message.version)
        assert versions == {key: list(range(1, len(found) + 1)) for key, found in versions.items()}
