"""A customer with a deposit, or an authorization, and one refund, capture or void of it, over deaths of the process."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.operations.child import ChildOperation
from actors.operations.receive import ReceiveOperation
from actors.replies import NotStored
from actors.runtime.simulated import SimulatedRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.account import Balance, Status, Transaction
from domain.commands import Receive, ReceiveChild
from domain.events import Completed, Kind, Recorded, Submitted
from domain.money import Money
from domain.outcomes import (
    AUTHORIZATION_CANCELLED,
    Approved,
    Authorization,
    Category,
    Declined,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
)
from gateways.port import Callbacks, Order
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.codec import Metadata, decode
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, RecordingListener, TroubledStore, stream
from tests.gateway_facts import SameForAll
from tests.store.templates import new_sqlite

CUSTOMER: Final = "c1"
TEN: Final = Money(1_000, "USD")
FOUR: Final = 400
SETTINGS: Final = SystemSettings(passivate_after_s=5.0)
FATES: Final = ("done", "silent", "lost", "refused", "declined", "gone")
"""The results of the first sending of a child. ``silent``: it has its effect, and no answer; ``lost``: neither."""
ENDED: Final = frozenset({"done", "silent", "lost", "refused"})
"""The fates after which the child completes in the end."""


class Provider(SameForAll):
    """Implements gateways.port.Gateway. ``fate`` is that of the first sending of a child; all others are done."""

    def __init__(self, fate: str, *, honours_keys: bool) -> None:
        self.name, self.currencies = GATEWAY, frozenset({"USD"})
        self.callbacks: Callbacks | None = None
        self.honours_keys, self.fate = honours_keys, fate
        self.effects: Counter[str] = Counter()
        self.sendings: Counter[str] = Counter()
        self.named: set[str | None] = set()
        """The references by which children named their parents."""
        self._known: dict[str, Outcome] = {}

    def submit(self, order: Order) -> Outcome:
        """See Gateway."""
        key = order.transaction_id
        self.sendings[key] += 1
        fate = self.fate if order.parent_id is not None and self.sendings[key] == 1 else "done"
        if fate == "refused":
            raise NotSentError("connection refused")
        if fate == "lost":
            raise OutcomeUnknownError("no answer, and no effect")
        if order.parent_id is not None:
            self.named.add(order.parent_reference)
        if key not in self._known or not self.honours_keys:
            self._known[key] = self._carry_out(order, fate)
        if fate == "silent":
            raise OutcomeUnknownError("no answer after the effect")
        return self._known[key]

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """See Gateway."""
        return self._known.get(order.transaction_id, NotReceived())

    def close(self) -> None:
        """See Gateway."""

    def _carry_out(self, order: Order, fate: str) -> Outcome:
        key = order.transaction_id
        if fate == "declined":
            return Declined("do_not_honor", Category.HARD, "no")
        if fate == "gone":
            assert order.parent_id is not None
            self._known[order.parent_id] = Declined(AUTHORIZATION_CANCELLED, None, "The hold was cancelled.")
            return Declined(AUTHORIZATION_CANCELLED, None, "The hold was cancelled.")
        if order.manual_capture:
            return Authorization(f"P-{key}")
        self.effects[key] += 1
        return Approved(f"P-{key}", final=True)


@dataclass(frozen=True)
class Seen:
    """The parent, the child if it is on record, and the balance."""

    parent: Transaction
    child: Transaction | None
    balance: Balance


class World:
    """The database file, the provider, and processes that run one after the other. The parent is at rest."""

    def __init__(self, folder: Path, kind: Kind, fate: str, *, honours_keys: bool) -> None:
        self.kind, self.fate = kind, fate
        self.path = folder / "payments.db"
        new_sqlite(self.path)
        self.provider = Provider(fate, honours_keys=honours_keys)
        self.runtime = SimulatedRuntime(random.Random(1), started_at=100.0)
        self.boot()
        manual = kind is not Kind.REFUND
        self.parent_id, self.child_id = self.runtime.new_id(), self.runtime.new_id()
        parent = Receive(Kind.DEPOSIT, self.parent_id, GATEWAY, TEN, {}, manual_capture=manual)
        self._send(ReceiveOperation(parent, Metadata("r")))
        self.run(2.0)
        assert self.seen().parent.status is (Status.AUTHORIZED if manual else Status.COMPLETED)

    def boot(self) -> None:
        """Start a process."""
        self.real = SqliteStore(self.path, clock=self.runtime.now, synchronous="OFF")
        self.store = TroubledStore(self.real)
        options = GatewaySettings(
            GATEWAY,
            "gateway_a",
            "http://127.0.0.1:1/a",
            timeout_s=1.0,
            settle_s=5.0,
            max_retries=1,
            lookup_after_s=(1.0, 2.0, 5.0),
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

    def crash(self) -> None:
        """The process ends and loses all its memory, and another one starts."""
        self.real.close()
        self.runtime = SimulatedRuntime(random.Random(2), started_at=self.runtime.monotonic() + 1.0)
        self.boot()

    def send_child(self) -> None:
        """Send the refund, capture or void."""
        minor = None if self.kind is Kind.VOID else FOUR
        self._send(ChildOperation(ReceiveChild(self.kind, self.child_id, self.parent_id, minor), Metadata("r")))

    def _send(self, operation: ReceiveOperation | ChildOperation) -> None:
        assert not isinstance(self.facade.send(stream(CUSTOMER), operation), NotStored)

    def steps(self, count: int) -> int:
        """Run ``count`` steps; returns how many there were until the child was at rest."""
        for number in range(count):
            if not self.runtime.step(self.runtime.monotonic() + 1.0):
                return number
        return count

    def run(self, seconds: float) -> None:
        """Let virtual ``seconds`` pass."""
        end = self.runtime.monotonic() + seconds
        while self.runtime.step(end):
            pass
        self.runtime.advance(max(end - self.runtime.monotonic(), 0.0))

    def finish(self) -> None:
        """Run until the child has ended, or longer than everything takes if it is not on record."""
        for _ in range(60):
            self.run(5.0)
            child = self.seen().child
            if child is not None and child.status.terminal:
                break
        self.run(30.0)

    def events(self) -> list[Recorded]:
        """All that is on record."""
        with self.real.audit() as audit:
            return [decode(event.body) for key in audit.streams() for event in audit.events(key)]

    def seen(self) -> Seen:
        """What the read tables hold now."""
        with self.real.audit() as audit:
            [key] = audit.streams()
            rows = {row.transaction_id: row for row in audit.transactions(key)}
            balances = dict(audit.balances(key))
        return Seen(rows[self.parent_id], rows.get(self.child_id), balances.get("USD", Balance()))

    def judge_moment(self) -> None:
        """At any moment: the end of a capture or void is never on record without what follows for its parent."""
        seen = self.seen()
        if seen.child is None or self.kind is Kind.REFUND:
            return
        completed = Status.COMPLETED if self.kind is Kind.CAPTURE else Status.VOIDED
        expected = {
            Status.COMPLETED: {completed},
            Status.FAILED: {Status.FAILED} if self.fate == "gone" else {Status.AUTHORIZED},
        }.get(seen.child.status, {Status.AUTHORIZED})
        assert seen.parent.status in expected, f"{seen.child.status}, and its parent {seen.parent.status}"

    def judge(self) -> None:
        """At rest: child, parent, amounts and balance agree with the provider, and the child had one effect."""
        self.judge_moment()
        seen, effects = self.seen(), self.provider.effects[self.child_id]
        if seen.child is None:
            assert (effects, self.provider.sendings[self.child_id]) == (0, 0), "sent, and not on record"
            return
        expected = Status.COMPLETED if self.fate in ENDED else Status.FAILED
        assert (seen.child.status, effects) == (expected, 1 if self.fate in ENDED else 0)
        assert self.provider.named <= {f"P-{self.parent_id}"}
        done = expected is Status.COMPLETED
        assert seen.parent.captured_minor == (FOUR if done and self.kind is Kind.CAPTURE else None)
        assert seen.parent.refunded_minor == (FOUR if done and self.kind is Kind.REFUND else 0)
        assert seen.parent.refunding_minor == 0
        available = {Kind.REFUND: TEN.minor - FOUR * done, Kind.CAPTURE: FOUR * done, Kind.VOID: 0}[self.kind]
        assert seen.balance == Balance(available, 0)
        ends = [it.event for it in self.events() if isinstance(it.event, Completed) and it.event.captured is not None]
        assert len(ends) == (done and self.kind is Kind.CAPTURE)
        left = self.real.work_counts()
        assert sum(left.values()) == (seen.parent.status is Status.AUTHORIZED), f"work is left: {left}"

    def submitted(self) -> int:
        """How many sendings of the child are on record."""
        events = [it.event for it in self.events()]
        return sum(isinstance(event, Submitted) and event.transaction_id == self.child_id for event in events)
