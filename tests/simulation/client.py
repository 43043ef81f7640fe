"""Clients that send deposits, withdrawals, refunds, captures and voids to one process and read at any other."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from actors.customer.idempotency import IdempotencyKey
from actors.operations.child import ChildOperation
from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted, NotStored, Replayed, Reply, Uncertain
from actors.service import GRACE_S
from domain.account import Refused, Status, Transaction
from domain.commands import Receive, ReceiveChild
from domain.events import Kind
from domain.money import Money
from store.codec import Metadata
from store.port import StreamKey
from store.queries import TransactionFilter
from tests.simulation.history import History
from tests.simulation.process import Process

CUSTOMERS: Final = 4
WITHDRAWN: Final = 0.4
"""Share of the new commands that are withdrawals; many exceed the balance."""
HELD: Final = 0.5
"""Share of the deposits with manual capture."""
CHILDREN: Final = 0.4
"""Share of the new commands that are refunds, captures and voids, if there is a deposit."""
UNFIT: Final = 0.15
"""Share of these whose parent is any deposit, in whatever status."""
KEYED: Final = 0.3
"""Share of the new commands with an idempotency key."""
REPEATED: Final = 0.2
"""Share of all commands that repeat one of these under its key."""
ALTERED: Final = 0.1
"""Share of these repetitions that are changed."""
ANSWERS: Final = {
    Accepted: "accepted",
    Replayed: "replayed",
    Refused: "refused",
    NotStored: "not-stored",
    Uncertain: "uncertain",
}


@dataclass(frozen=True)
class WantedCommand:
    """A client's command, and its idempotency key."""

    kind: Kind
    gateway: str
    customer: str
    money: Money
    key: str | None
    manual_capture: bool = False
    parent_id: str | None = None
    """The parent of a refund, capture or void."""
    whole: bool = False
    """Without an amount: all that is left to refund, or all that is held."""

    @property
    def idempotency_key(self) -> IdempotencyKey | None:
        """The idempotency key with the fingerprint of the command."""
        if self.key is None:
            return None
        amount = "all" if self.whole else self.money.text
        fingerprint = f"{self.gateway} {self.customer} {amount} {self.money.currency} {self.parent_id}"
        return IdempotencyKey(f"idempotency:{self.kind}:main", self.key, fingerprint)


class Client:
    """Sends commands to live processes and collects the answers; a crash of the process loses them.

    ``on_command`` is called with each command.
    """

    def __init__(
        self,
        chance: random.Random,
        history: History,
        gateways: Sequence[str],
        on_command: Callable[[str, str, Money], None],
    ) -> None:
        self._chance, self._history, self._gateways, self._on_command = chance, history, gateways, on_command
        self._outstanding: list[tuple[Process, ReceiveOperation | ChildOperation]] = []
        self._accepted: list[str] = []
        self._keyed: list[WantedCommand] = []

    @property
    def waits(self) -> int:
        """The number of answers that it waits for."""
        return len(self._outstanding)

    def send(self, process: Process) -> None:
        """Send a command, sometimes with a key, sometimes as a repetition at any process."""
        if self._keyed and self._chance.random() < REPEATED:
            asked = self._chance.choice(self._keyed)
            if self._chance.random() < ALTERED:
                asked = replace(asked, money=Money(asked.money.minor + 1, asked.money.currency))
        else:
            asked = self._new_child(process) or self._new_command()
        runtime, money = process.runtime, asked.money
        transaction_id = runtime.new_id()
        self._history.add(
            "sent",
            runtime.monotonic(),
            process=process.number,
            id=transaction_id,
            kind=asked.kind.value,
            gateway=asked.gateway,
            customer=asked.customer,
            amount=None if asked.whole else money.text,
            currency=money.currency,
            key=asked.key,
            parent=asked.parent_id,
        )
        self._on_command(asked.gateway, transaction_id, money)
        with process.turn():
            metadata, key = Metadata(f"r-{runtime.random():.6f}"), asked.idempotency_key
            operation: ReceiveOperation | ChildOperation
            if asked.parent_id is None:
                manual = asked.manual_capture
                receive = Receive(asked.kind, transaction_id, asked.gateway, money, {"n": "1"}, manual_capture=manual)
                operation = ReceiveOperation(receive, metadata, key)
            else:
                minor = None if asked.whole else money.minor
                child = ReceiveChild(asked.kind, transaction_id, asked.parent_id, minor)
                operation = ChildOperation(child, metadata, key)
            sent = process.facade.send(StreamKey("main", asked.customer), operation)
        if isinstance(sent, NotStored):
            self._answered(process, transaction_id, sent)
        else:
            self._outstanding.append((process, sent))

    def _new_command(self) -> WantedCommand:
        chance = self._chance
        kind = Kind.WITHDRAWAL if chance.random() < WITHDRAWN else Kind.DEPOSIT
        most = chance.choice([100, 500, 5_000, 99_999]) if kind is Kind.WITHDRAWAL else 99_999
        money = Money(chance.randint(1, most), chance.choice(["USD", "USD", "JPY"]))
        manual = kind is Kind.DEPOSIT and chance.random() < HELD
        gateway, customer = chance.choice(self._gateways), f"c{chance.randrange(CUSTOMERS)}"
        return self._maybe_keyed(WantedCommand(kind, gateway, customer, money, None, manual))

    def _maybe_keyed(self, wanted: WantedCommand) -> WantedCommand:
        if self._chance.random() < KEYED:
            wanted = replace(wanted, key=f"k-{len(self._keyed)}")
            self._keyed.append(wanted)
        return wanted

    def _new_child(self, process: Process) -> WantedCommand | None:
        """A refund, capture or void; None if there is no deposit for it."""
        chance = self._chance
        if chance.random() >= CHILDREN:
            return None
        kind = chance.choice([Kind.REFUND, Kind.CAPTURE, Kind.CAPTURE, Kind.VOID])
        status = None if chance.random() < UNFIT else Status.COMPLETED if kind is Kind.REFUND else Status.AUTHORIZED
        where = TransactionFilter(status=status, kind=Kind.DEPOSIT)
        found = process.real.transactions("main", where, before=None, limit=10)
        if not found:
            return None
        parent = chance.choice(found).transaction
        minor, whole = self._some_of(parent, kind)
        money = Money(minor, parent.money.currency)
        wanted = WantedCommand(kind, parent.gateway, parent.customer_id, money, None)
        return self._maybe_keyed(replace(wanted, parent_id=parent.transaction_id, whole=whole))

    def _some_of(self, parent: Transaction, kind: Kind) -> tuple[int, bool]:
        """The amount of a child, and whether it is left out; sometimes it is more than is left."""
        minor = parent.money.minor
        if kind is Kind.VOID or self._chance.random() < 0.3:
            return minor, True
        return max(1, int(minor * self._chance.choice([0.1, 0.4, 0.6, 1.0, 1.5]))), False

    def read(self, process: Process, most: int) -> None:
        """Read from one process some transactions that any process accepted."""
        for transaction_id in self._chance.sample(self._accepted, min(most, len(self._accepted))):
            view = process.real.transaction("main", transaction_id)
            self._history.add(
                "read",
                process.runtime.monotonic(),
                process=process.number,
                id=transaction_id,
                version=None if view is None else view.transaction.version,
                status=None if view is None else view.transaction.status.value,
            )

    def collect(self, process: Process) -> None:
        """Act as the waiting HTTP threads: collect the answers, or give up some time after the deadline."""
        if not self._outstanding:
            return
        still = []
        for at, request in self._outstanding:
            reply = self._reply(process, request) if at is process else None
            if reply is None:
                still.append((at, request))
            else:
                self._answered(process, request.transaction_id, reply)
        self._outstanding = still

    def cut_off(self, process: Process) -> None:
        """Record that the process has ended and will not answer."""
        for at, request in self._outstanding:
            if at is process:
                self._answered(process, request.transaction_id, None)
        self._outstanding = [(at, request) for at, request in self._outstanding if at is not process]

    def _reply(self, process: Process, request: ReceiveOperation | ChildOperation) -> Reply | None:
        if request.reply.done:
            return request.reply.get(timeout=0)
        if process.runtime.monotonic() < request.deadline + GRACE_S:
            return None
        return NotStored("") if request.take() else Uncertain(request.transaction_id)

    def _answered(self, process: Process, transaction_id: str, reply: Reply | None) -> None:
        told: dict[str, str | int | None] = {"status": None, "version": None, "code": None, "of": None}
        match reply:
            case Accepted(transaction=transaction):
                told |= {"status": transaction.status.value, "version": transaction.version}
                self._accepted.append(transaction_id)
            case Replayed(transaction_id=of):
                told["of"] = of
                self._accepted.append(of)
            case Refused(code=code, replayed=replayed):
                told["code"] = f"{code} again" if replayed else code
        told |= {"id": transaction_id, "answer": "none" if reply is None else ANSWERS[type(reply)]}
        self._history.add("answer", process.runtime.monotonic(), process=process.number, **told)
