"""Whoever talks to the service from outside: clients that send deposits and withdrawals, and an operator."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from actors.messages import ReceiveRequest
from actors.replies import Accepted, NotStored, Reply, Uncertain
from actors.system import GRACE_S, PaymentSystem
from domain.account import Refused
from domain.commands import Discard, Receive
from domain.events import Kind
from domain.money import Money
from store.codec import Metadata
from store.errors import StoreError
from store.port import DeadLetterFilter, GatewayMode, StreamKey
from store.queries import DeadLetter, Queries
from tests.simulation.faults import Crashed
from tests.simulation.history import History
from tests.simulation.threads import ThreadedRuntime

CUSTOMERS: Final = 4
_NAMES: Final = {Accepted: "accepted", Refused: "refused", NotStored: "not-stored", Uncertain: "uncertain"}


class Client:
    """Sends commands to the process that lives, and takes the answers; a crash leaves it without."""

    def __init__(self, chance: random.Random, history: History, gateways: Sequence[str]) -> None:
        self._chance, self._history, self._gateways = chance, history, gateways
        self._outstanding: list[ReceiveRequest] = []

    @property
    def waits(self) -> int:
        """How many answers it waits for."""
        return len(self._outstanding)

    def send(self, system: PaymentSystem, runtime: ThreadedRuntime) -> None:
        """One deposit or withdrawal."""
        chance = self._chance
        kind = Kind.WITHDRAWAL if chance.random() < 0.25 else Kind.DEPOSIT
        most = chance.choice([500, 5_000, 99_999]) if kind is Kind.WITHDRAWAL else 99_999
        money = Money(chance.randint(1, most), chance.choice(["USD", "USD", "JPY"]))
        command = Receive(kind, runtime.new_id(), chance.choice(self._gateways), money, {"n": "1"})
        customer = f"c{chance.randrange(CUSTOMERS)}"
        self._history.add(
            "sent",
            runtime.monotonic(),
            id=command.transaction_id,
            kind=kind.value,
            gateway=command.gateway,
            customer=customer,
            amount=money.text,
            currency=money.currency,
        )
        sent = system.send(StreamKey("main", customer), command, Metadata(f"r-{runtime.random():.6f}"))
        if isinstance(sent, NotStored):
            self._answered(runtime, command.transaction_id, sent)
        else:
            self._outstanding.append(sent)

    def collect(self, runtime: ThreadedRuntime) -> None:
        """What the waiting HTTP threads do: take the answer, or give up some time after the deadline."""
        if not self._outstanding:
            return
        now, still = runtime.monotonic(), []
        for request in self._outstanding:
            transaction_id = request.command.transaction_id
            if request.reply.done:
                self._answered(runtime, transaction_id, request.reply.get(timeout=0))
            elif now < request.deadline + GRACE_S:
                still.append(request)
            else:
                self._answered(runtime, transaction_id, NotStored("") if request.take() else Uncertain(transaction_id))
        self._outstanding = still

    def cut_off(self, runtime: ThreadedRuntime) -> None:
        """The process is gone, and no answer comes."""
        for request in self._outstanding:
            self._answered(runtime, request.command.transaction_id, None)
        self._outstanding = []

    def _answered(self, runtime: ThreadedRuntime, transaction_id: str, reply: Reply | None) -> None:
        answer = "none" if reply is None else _NAMES[type(reply)]
        status = reply.transaction.status.value if isinstance(reply, Accepted) else None
        self._history.add("answer", runtime.monotonic(), id=transaction_id, answer=answer, status=status)


class Operator:
    """A person at the door of the actors; each order runs in a virtual thread and waits there for its answer."""

    def __init__(self, chance: random.Random, history: History, gateways: Sequence[str]) -> None:
        self._chance, self._history, self._gateways = chance, history, gateways
        self._ordering: dict[str, ThreadedRuntime] = {}

    def meddle(self, system: PaymentSystem, store: Queries, runtime: ThreadedRuntime) -> None:
        """Some order or other."""
        draw, gateway = self._chance.random(), self._chance.choice(self._gateways)
        if draw < 0.3:
            self.order_mode(system, runtime, gateway, self._chance.choice(["open", "closed", "auto"]))
        elif draw < 0.5:
            self.retry(system, runtime, DeadLetterFilter(gateway))
        else:
            letters = store.dead_letters("main", DeadLetterFilter(), before=None, limit=10)
            for letter in self._chance.sample(letters, min(len(letters), 3)):
                self._discard(system, letter, runtime)

    def order_mode(self, system: PaymentSystem, runtime: ThreadedRuntime, gateway: str, mode: str) -> None:
        """Force a breaker, or let go of it; one order at a time, so that it is known which came last."""
        if self._ordering.get(gateway) is runtime:
            return
        self._ordering[gateway] = runtime
        self._history.add("mode", runtime.monotonic(), gateway=gateway, mode=mode, phase="ordered")

        def order() -> None:
            try:
                system.set_breaker_mode(GatewayMode(gateway, mode, "simulated"))
            finally:
                self._ordering.pop(gateway)
            self._history.add("mode", runtime.monotonic(), gateway=gateway, mode=mode, phase="done")

        self._try(runtime, order)

    def retry(self, system: PaymentSystem, runtime: ThreadedRuntime, where: DeadLetterFilter) -> None:
        """Have dead letters done again."""
        self._try(runtime, lambda: _ignore(system.retry_dead_letters("main", where)))

    def _discard(self, system: PaymentSystem, letter: DeadLetter, runtime: ThreadedRuntime) -> None:
        assert letter.transaction_id is not None
        command = Discard(letter.transaction_id, "simulated")

        def discard() -> None:
            reply = system.discard(command, letter.item, Metadata("operator", who="operator"))
            self._history.add("discard", runtime.monotonic(), id=command.transaction_id, answer=_NAMES[type(reply)])

        # Now, or after something else has happened to it.
        self._try(runtime, discard, delay_s=self._chance.choice([0.0, 0.0, 0.01, 5.0]))

    def _try(self, runtime: ThreadedRuntime, order: Callable[[], None], *, delay_s: float = 0.0) -> None:
        def thread() -> None:
            # A store that fails is told to the operator, who gives up; one that dies takes the process with it.
            with suppress(StoreError, TimeoutError, RuntimeError, Crashed):
                order()

        runtime.begin(thread, delay_s=delay_s)


def _ignore(_result: object) -> None:
    """A retried dead letter shows in the store."""
