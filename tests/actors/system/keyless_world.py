"""A provider without idempotency keys that may lose, queue or refuse orders, and a record of what it did."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted, NotStored
from actors.runtime.simulated import SimulatedRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.account import Status
from domain.commands import Receive
from domain.events import Kind, Recorded, ReviewOpened, Submitted
from domain.money import Money
from domain.outcomes import Approved, Category, Declined, NotReceived, NotSentError, Outcome, OutcomeUnknownError
from gateways.port import Callbacks, Order
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.codec import Metadata, decode
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, RecordingListener, TroubledStore, stream
from tests.gateway_facts import SameForAll
from tests.store.templates import new_sqlite

DAY_S: Final = 86_400.0
SETTINGS: Final = SystemSettings(passivate_after_s=5.0, dead_letter_max_s=600.0)
TIMEOUT_S: Final = 5.0
SETTLE_S: Final = 60.0
DECLINED: Final = Declined("do_not_honor", Category.HARD, "no")
FATES: Final = ("answered", "answered", "silent", "lost", "queued", "refused", "declined")
"""The possible results of a sending; ``silent`` is an effect without an answer."""


class KeylessProvider(SameForAll):
    """Implements gateways.port.Gateway: each sending that arrives is an effect of its own, sooner or later.

    ``fate`` decides the result of a sending. ``watch`` is called for each sending before anything happens.
    """

    def __init__(self, runtime: SimulatedRuntime, chance: random.Random, fates: tuple[str, ...] = FATES) -> None:
        self.name, self.currencies = GATEWAY, frozenset({"USD"})
        self.honours_keys = False
        self.callbacks: Callbacks | None = None
        self.runtime, self._chance = runtime, chance
        self.fate: Callable[[Order], str] = lambda _: chance.choice(fates)
        self.watch: Callable[[Order], None] = lambda _: None
        self.unanswered_share = 0.1
        """Share of lookups that have no answer."""
        self.sendings: Counter[str] = Counter()
        self.arrivals: list[tuple[float, str, bool]] = []
        """For each sending: when it was or will be processed, its transaction, and whether the money moves then."""

    def submit(self, order: Order) -> Outcome:
        """See Gateway."""
        self.watch(order)
        fate = self.fate(order)
        if fate == "refused":
            raise NotSentError("connection refused")
        self.sendings[order.transaction_id] += 1
        if fate == "lost":
            raise OutcomeUnknownError("deadline")
        delay_s = self._chance.choice([0.2, 0.9, 0.999]) * (TIMEOUT_S + SETTLE_S) if fate == "queued" else 0.0
        self.arrivals.append((self.runtime.monotonic() + delay_s, order.transaction_id, fate != "declined"))
        if fate in {"silent", "queued"}:
            raise OutcomeUnknownError("reset")
        return self._found(order.transaction_id)[-1]

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """See Gateway; a queued order is not found."""
        if self._chance.random() < self.unanswered_share:
            raise OutcomeUnknownError("HTTP 503")
        found = self._found(order.transaction_id)
        return found[-1] if found else NotReceived()

    def close(self) -> None:
        """See Gateway."""

    def effects(self) -> Counter[str]:
        """How often the money moved, or will have moved, for each transaction."""
        return Counter(key for _, key, moves in self.arrivals if moves)

    def _found(self, key: str) -> list[Outcome]:
        now = self.runtime.monotonic()
        arrived = [(moves, number) for number, (at, of, moves) in enumerate(self.arrivals) if of == key and at <= now]
        return [Approved(f"B-{number}", final=True) if moves else DECLINED for moves, number in arrived]


class World:
    """The database file, the provider, and processes that run one after the other."""

    def __init__(self, folder: Path, seed: int, fates: tuple[str, ...] = FATES) -> None:
        self.chance = random.Random(seed)
        self.path = folder / f"payments-{seed}.db"
        new_sqlite(self.path)
        self.runtime = SimulatedRuntime(self.chance, started_at=100.0)
        self.provider = KeylessProvider(self.runtime, self.chance, fates)
        self.provider.watch = self._watch
        self.sent: list[ReceiveOperation] = []
        self.boot()

    def boot(self) -> None:
        """Start a process."""
        self.provider.runtime = self.runtime
        self.real = SqliteStore(self.path, clock=self.runtime.now, synchronous="OFF")
        self.store = TroubledStore(self.real)
        options = GatewaySettings(
            GATEWAY, "gateway_b", "http://127.0.0.1:1/b", timeout_s=TIMEOUT_S, max_concurrent=3, settle_s=SETTLE_S
        )
        self.facade = ServiceFacade(self.runtime, {GATEWAY: self.provider}, RecordingListener())
        self.system = PaymentSystem(
            service=self.facade,
            runtime=self.runtime,
            store=self.store,
            queue=LocalQueue(),
            gateways={GATEWAY: (self.provider, options)},
            settings=SETTINGS,
            listener=RecordingListener(),
            exclusive=True,
        )
        self.system.start()

    def crash(self, down_s: float = 1.0) -> None:
        """The process ends and loses all its memory, and another one starts."""
        self.real.close()
        self.runtime = SimulatedRuntime(self.chance, started_at=self.runtime.monotonic() + down_s)
        self.boot()

    def send(self, count: int = 1, customers: int = 2) -> list[str]:
        """Send deposits from some customers and return their ids."""
        ids = []
        for number in range(count):
            command = Receive(Kind.DEPOSIT, self.runtime.new_id(), GATEWAY, Money(100, "USD"), {})
            sent = self.facade.send(stream(f"c{number % customers}"), ReceiveOperation(command, Metadata("r")))
            assert not isinstance(sent, NotStored)
            self.sent.append(sent)
            ids.append(command.transaction_id)
        return ids

    def steps(self, count: int) -> None:
        """Run ``count`` steps."""
        for _ in range(count):
            if not self.runtime.step(self.runtime.monotonic() + 1.0):
                return

    def run(self, seconds: float) -> None:
        """Let virtual ``seconds`` pass with everything that happens in them."""
        end = self.runtime.monotonic() + seconds
        for _ in range(100_000):
            if not self.runtime.step(end):
                self.runtime.advance(max(end - self.runtime.monotonic(), 0.0))
                return
        raise RuntimeError("it does not end")

    def leap(self, seconds: float) -> None:
        """Let ``seconds`` pass in large portions, so that events are late: an idle service ticks every second."""
        end = self.runtime.monotonic() + seconds
        while self.runtime.monotonic() < end:
            self.runtime.advance(1800.0)
            self.run(7.0)

    def finish(self) -> None:
        """Run until everything has ended."""
        self.run(1.0)
        for _ in range(200):
            if not self.real.work_counts():
                return
            self.run(20.0)
            self.runtime.advance(self.chance.choice([0.0, 50.0, 600.0]))
        self.leap(5 * DAY_S)

    def events(self) -> list[Recorded]:
        """All that is on record."""
        with self.real.audit() as audit:
            return [decode(event.body) for key in audit.streams() for event in audit.events(key)]

    def reviews(self) -> list[ReviewOpened]:
        """The reviews that were opened."""
        return [recorded.event for recorded in self.events() if isinstance(recorded.event, ReviewOpened)]

    def statuses(self) -> dict[str, Status]:
        """The statuses in the read tables."""
        with self.real.audit() as audit:
            return {row.transaction_id: row.status for key in audit.streams() for row in audit.transactions(key)}

    def submitted(self, key: str) -> int:
        """How many sendings of a transaction are on record."""
        events = [recorded.event for recorded in self.events()]
        return sum(isinstance(event, Submitted) and event.transaction_id == key for event in events)

    def judge(self) -> None:
        """At rest: at most one effect, statuses that match, and no work left."""
        effects, statuses = self.provider.effects(), self.statuses()
        assert {key: count for key, count in effects.items() if count > 1} == {}
        ended = {key: status for key, status in statuses.items() if status is Status.COMPLETED}
        assert set(ended) == set(effects)
        assert set(statuses.values()) <= {Status.COMPLETED, Status.FAILED}
        assert self.real.work_counts() == {}
        answered = [it for it in self.sent if it.reply.done and isinstance(it.reply.get(timeout=0), Accepted)]
        assert {it.command.transaction_id for it in answered} <= set(statuses)
        if self.runtime.monotonic() < DAY_S:  # later a review may be open
            assert self.reviews() == []

    def _watch(self, order: Order) -> None:
        """A sending begins: it must be on record already."""
        on_record = self.submitted(order.transaction_id)
        assert on_record > self.provider.sendings[order.transaction_id], "sent without a record of it"
