"""Operators that resolve transactions, adjust balances, and close reviews.

Each command runs in a virtual thread of a process and waits for its answer. ``who`` identifies the command on record.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Final

from actors.customer.idempotency import IdempotencyKey
from actors.operations.adjust import AdjustOperation
from actors.operations.close_review import CloseReviewOperation
from actors.operations.resolve import ResolveOperation
from actors.replies import Accepted, Adjusted, Closed, NotStored, Replayed, Reply, Uncertain
from domain.account import Refused, Status, Transaction
from domain.commands import Adjust, CloseReview, Resolution, Resolve
from domain.money import Money
from store.codec import Metadata
from store.errors import StoreError
from store.port import StreamKey
from store.queries import ReviewView, TransactionFilter
from tests.simulation.client import CUSTOMERS
from tests.simulation.faults import Crashed
from tests.simulation.history import History
from tests.simulation.process import Process
from tests.simulation.provider import SimulatedProvider
from tests.simulation.threads import ThreadedRuntime

OPEN: Final = (
    Status.UNKNOWN,
    Status.UNKNOWN,
    Status.PROCESSED,
    Status.PROCESSED,
    Status.PENDING,
    Status.AUTHORIZED,
)
WRONG: Final = 0.2
"""Share of the resolutions for which the operator did not ask the provider."""
STAY_S: Final = (0.0, 0.0, 0.01, 5.0, 60.0)
"""Time between reading and the command."""
ANSWERS: Final = {
    Accepted: "accepted",
    Adjusted: "adjusted",
    Closed: "closed",
    Replayed: "replayed",
    Refused: "refused",
    NotStored: "not-stored",
    Uncertain: "uncertain",
}


@dataclass(frozen=True)
class _Correction:
    customer: str
    money: Money
    key: str | None

    @property
    def idempotency_key(self) -> IdempotencyKey | None:
        if self.key is None:
            return None
        fingerprint = f"{self.customer} {self.money.text} {self.money.currency}"
        return IdempotencyKey("idempotency:adjustment:main", self.key, fingerprint)


class ResolvingOperator:
    """Resolves transactions, mostly after a lookup at the provider."""

    def __init__(self, chance: random.Random, history: History, providers: Mapping[str, SimulatedProvider]) -> None:
        self._chance, self._history, self._providers = chance, history, providers
        self._numbers = count(1)
        self._keyed: list[_Correction] = []

    def act(self, process: Process) -> None:
        """Send a random command."""
        draw = self._chance.random()
        if draw < 0.45:
            self._resolve(process)
        elif draw < 0.8:
            self._adjust(process)
        else:
            self._close(process)

    def _resolve(self, process: Process) -> None:
        where = TransactionFilter(status=self._chance.choice(OPEN))
        found = process.real.transactions("main", where, before=None, limit=10)
        if not found:
            return
        transaction = self._chance.choice(found).transaction
        truth = self._providers[transaction.gateway].settled(transaction.transaction_id)
        said, right = truth, truth is not None
        if self._chance.random() < WRONG:
            said = self._chance.choice(["authorized" if transaction.manual_capture else "completed", "failed"])
            right = said == truth
        if said is not None:
            self._settle(process, transaction, said, right=right)

    def _settle(self, process: Process, transaction: Transaction, said: str, *, right: bool) -> None:
        who, key = self._new_name(), transaction.transaction_id
        work = process.real.work("main", key)
        expires_at = process.runtime.now() + timedelta(days=1)
        command = Resolve(key, Resolution(said), transaction.version, "simulated", expires_at)
        what = {"process": process.number, "who": who, "id": key}
        order = {"said": said, "version": transaction.version, "status": transaction.status.value, "right": right}
        stream, facade = StreamKey("main", transaction.customer_id), process.facade
        self._order(
            process.runtime,
            "resolving",
            {**what, **order},
            lambda: facade.execute(stream, ResolveOperation.on(work, command, Metadata(who, who=who))),
            delay_s=self._chance.choice(STAY_S),
        )

    def _adjust(self, process: Process) -> None:
        if self._keyed and self._chance.random() < 0.4:
            wanted = self._chance.choice(self._keyed)
            if self._chance.random() < 0.1:
                wanted = _Correction(wanted.customer, Money(wanted.money.minor - 7, wanted.money.currency), wanted.key)
        else:
            wanted = self._new_correction()
        if process.real.customer(StreamKey("main", wanted.customer)) is None:
            return  # then the API has no customer to correct
        who, adjustment_id, money = self._new_name(), process.runtime.new_id(), wanted.money
        command = Adjust(adjustment_id, money, "simulated", "none")
        order = {"customer": wanted.customer, "amount": money.text, "currency": money.currency, "key": wanted.key}
        stream, facade = StreamKey("main", wanted.customer), process.facade
        self._order(
            process.runtime,
            "adjusting",
            {"process": process.number, "who": who, "id": adjustment_id, **order},
            lambda: facade.execute(stream, AdjustOperation(command, Metadata(who, who=who), wanted.idempotency_key)),
        )

    def _new_correction(self) -> _Correction:
        chance = self._chance
        minor = chance.randint(1, chance.choice([500, 5_000, 99_999])) * chance.choice([1, -1, -1])
        key = f"a-{len(self._keyed)}" if chance.random() < 0.5 else None
        wanted = _Correction(f"c{chance.randrange(CUSTOMERS)}", Money(minor, chance.choice(["USD", "JPY"])), key)
        if key is not None:
            self._keyed.append(wanted)
        return wanted

    def _close(self, process: Process) -> None:
        found = process.real.reviews("main", "open", before=None, limit=10)
        if not found:
            return
        view = self._chance.choice(found)
        for _ in range(self._chance.choice([1, 1, 2])):  # two operators may read the same one
            self._say_closed(process, view)

    def _say_closed(self, process: Process, view: ReviewView) -> None:
        who, facade = self._new_name(), process.facade
        command = CloseReview(view.review.review_id, "simulated")
        self._order(
            process.runtime,
            "closing",
            {"process": process.number, "who": who, "id": view.review.review_id},
            lambda: facade.execute(view.stream, CloseReviewOperation(command, view.review, Metadata(who, who=who))),
            delay_s=self._chance.choice(STAY_S),
        )

    def _order(
        self,
        runtime: ThreadedRuntime,
        what: str,
        order: Mapping[str, object],
        do: Callable[[], Reply],
        *,
        delay_s: float = 0.0,
    ) -> None:
        """Send the command ``what``, and record the answer, if there is one."""

        def thread() -> None:
            self._history.add(what, runtime.monotonic(), **order)
            reply: Reply | None = None
            with suppress(StoreError, TimeoutError, RuntimeError, Crashed):
                reply = do()
            if reply is not None:
                told = {"who": order["who"], "id": order["id"], "process": order["process"]}
                match reply:
                    case Refused(code=code, replayed=replayed):
                        told["code"] = f"{code} again" if replayed else code
                    case Replayed(transaction_id=of):
                        told["of"] = of
                self._history.add("ordered", runtime.monotonic(), order=what, answer=ANSWERS[type(reply)], **told)

        runtime.begin(thread, delay_s=delay_s)

    def _new_name(self) -> str:
        return f"person-{next(self._numbers)}"
