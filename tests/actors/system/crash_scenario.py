"""A service in virtual time to which every kind of event happens, and the check of its results."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from pykka import Timeout

from actors.heartbeat import BEAT_MAX_S
from actors.messages import RetryDead, SetBreakerMode, StatusRequest
from actors.operations.discard import DiscardOperation
from actors.operations.receive import ReceiveOperation
from actors.operations.waiting_callbacks import EVENT_TYPE, queue_of, stream_of_gateway
from actors.replies import Accepted, NotStored
from actors.runtime.actor import Future
from actors.runtime.router import ActorAddress
from actors.runtime.simulated import SimulatedRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.account import Refused, Status
from domain.commands import Discard, Receive
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, NotSentError, Outcome, OutcomeUnknownError
from gateways.port import Order
from gateways.settings import BreakerSettings, GatewaySettings
from messaging.local import LocalQueue
from store.codec import Metadata
from store.errors import CommitUncertainError
from store.port import Action, DeadLetterFilter, GatewayMode, Head, OpenWork, Part, WorkState, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, RecordingListener, SmallGateway, TroubledStore, stream
from tests.actors.system.fault_injection import Killer

ALIVE_WITHIN_S: Final = 1.0
END_S: Final = 400.0
"""Virtual time in which everything must end, including lookups and the settlement delay of a provider without keys."""
SETTINGS: Final = SystemSettings(passivate_after_s=3.0)
PARKED: Final = {(queue_of(GATEWAY), WorkState.PARKED): 1}
"""The work that is left at the end: a stored callback that no process can read."""


class Provider(SmallGateway):
    """Counts effects, and answers the first call of some customers' orders with an error."""

    def __init__(self, *, honours_keys: bool) -> None:
        super().__init__()
        self.honours_keys = honours_keys
        self.moved: Counter[str] = Counter()
        self.refusing = True
        self._met: set[str] = set()
        self.answer = self._answer

    def _answer(self, order: Order) -> Outcome:
        key, customer = order.transaction_id, order.customer_id
        first = key not in self._met
        self._met.add(key)
        if (customer == "discarded" and self.refusing) or (customer == "refused" and first):
            raise NotSentError("connection refused")
        if customer == "never" and first:
            raise OutcomeUnknownError("no answer, and no effect")
        if key not in self.effects or not self.honours_keys:
            self.moved[key] += 1
        self.accept(order)
        if customer == "unanswered" and first:
            raise OutcomeUnknownError("no answer after the effect")
        return Approved(f"A-{key}", final=True)


class Scenario:
    """A service in virtual time on the migrated database at ``path``, with a ``killer`` among its actors."""

    def __init__(self, path: Path, killer: Killer, *, honours_keys: bool) -> None:
        self.killer = killer
        self.runtime = SimulatedRuntime(random.Random(1), started_at=100.0)
        self.real = SqliteStore(path, clock=self.runtime.now, synchronous="OFF")
        self.store = TroubledStore(self.real)
        self.provider = Provider(honours_keys=honours_keys)
        options = GatewaySettings(
            GATEWAY,
            "gateway_a",
            "http://127.0.0.1:1/a",
            max_concurrent=3,
            max_retries=1,
            timeout_s=1.0,
            settle_s=5.0,
            lookup_after_s=(1.0, 2.0, 5.0),
            breaker=BreakerSettings(sleep_s=1.0),
        )
        self.facade = ServiceFacade(self.runtime, {GATEWAY: self.provider}, RecordingListener())
        self.system = PaymentSystem(
            service=self.facade,
            runtime=self.runtime,
            store=self.store,
            queue=LocalQueue(),
            gateways={GATEWAY: (self.provider, options)},
            settings=replace(SETTINGS, load_threads=8 if honours_keys else 0),  # there, and where the actor runs
            listener=RecordingListener(),
            exclusive=True,
        )
        self.requests: list[ReceiveOperation] = []
        self.refused: list[ReceiveOperation] = []
        self.discards: list[DiscardOperation] = []
        self.asked: list[Future[object]] = []
        self.dead_for_s = 0.0
        self._died_at: float | None = None

    def play(self) -> None:
        """Run from the start to the drain."""
        self.system.start()
        self.run(0.5)
        self.store_unreadable_callback()
        for customer in ("c1", "c1", "c1", "c2", "refused", "unanswered", "never"):
            self.deposit(customer)
        self.run(2.0)
        self.order("open")
        for customer in ("c1", "c3", "c4", "c5", "c6"):
            self.deposit(customer)
        self.withdraw_too_much("c1")
        self.run(2.0)
        self.begin_generation()
        self.order("auto")
        self.ask()
        self.run(2.0)
        self.store.inject("append", CommitUncertainError("cut"), CommitUncertainError("cut"))
        self.deposit("c7")
        self.deposit("discarded")
        self.run(5.0)
        self.retry_dead()
        for _ in range(15):
            self.run(2.0)
            if self.discard():
                break
        else:  # it may not be discarded: after a lost lease it may have been sent
            self.provider.refusing = False
            self.retry_dead()
        self.run_until_done()
        self.run(2 * SETTINGS.lease_s / 3)  # two beats: the second one detects what the first one missed

    def run(self, seconds: float) -> None:
        """Let virtual ``seconds`` pass. Whenever an actor is dead, the service must report a problem."""
        until = self.runtime.monotonic() + seconds
        while self.runtime.step(until):
            dead = [name for name, address in self.system.actors.single.items() if not _lives(address)]
            if not dead:
                self._died_at = None
                continue
            assert self.facade.problems(), f"{dead} is dead, and the service reports that it is ready"
            self._died_at = self.runtime.monotonic() if self._died_at is None else self._died_at
            self.dead_for_s = max(self.dead_for_s, self.runtime.monotonic() - self._died_at)
        self.runtime.advance(max(until - self.runtime.monotonic(), 0.0))

    def run_until_done(self) -> None:
        """Run until only the unreadable callback is left, or for END_S seconds."""
        for _ in range(int(END_S / 5)):
            if self.real.work_counts() == PARKED:
                return
            self.run(5.0)

    # external events

    def _send(self, kind: Kind, customer: str, minor: int) -> ReceiveOperation:
        command = Receive(kind, self.runtime.new_id(), GATEWAY, Money(minor, "USD"), {})
        sent = self.facade.send(stream(customer), ReceiveOperation(command, Metadata("r")))
        assert not isinstance(sent, NotStored)
        return sent

    def deposit(self, customer: str) -> None:
        """A client sends a deposit."""
        self.requests.append(self._send(Kind.DEPOSIT, customer, 100))

    def withdraw_too_much(self, customer: str) -> None:
        """A client sends a withdrawal that is not covered."""
        self.refused.append(self._send(Kind.WITHDRAWAL, customer, 10**9))

    def store_unreadable_callback(self) -> None:
        """Another version of the service stored a callback that this one cannot read."""
        work = OpenWork("callback:1", None, queue_of(GATEWAY), Action.APPLY, EVENT_TYPE, None, b"{")
        self.real.append([Write(stream_of_gateway(GATEWAY), Head(), (Part(work=(work,)),))])

    def begin_generation(self) -> None:
        """Another process finds that the store was restored, while work waits here and a breaker is open."""
        self.real.begin_generation(self.real.feed().generation)
        self.run(2 * BEAT_MAX_S)

    def ask(self) -> None:
        """Request the state of the gateways, as an operator."""
        reply: Future[object] = Future()
        self.asked.append(reply)
        self.system.actors.supervisor.tell(StatusRequest(reply))  # type: ignore[arg-type]

    def order(self, mode: str) -> None:
        """Set a breaker's mode, as an operator, and repeat that when it could not be stored."""
        while True:
            reply: Future[object] = Future()
            self.asked.append(reply)
            self.system.actors.breaker_sync.tell(SetBreakerMode(GatewayMode(GATEWAY, mode, "a test"), reply))  # type: ignore[arg-type]
            self.run(2.0)
            try:
                reply.get(timeout=0)
            except RuntimeError:
                continue
            except Timeout:  # ``judge`` decides
                pass
            return

    def retry_dead(self) -> None:
        """Retry all dead letters, as an operator."""
        reply: Future[object] = Future()
        self.asked.append(reply)
        self.system.actors.dead_letters.tell(RetryDead("main", DeadLetterFilter(), reply))  # type: ignore[arg-type]

    def discard(self) -> bool:
        """Discard the dead letter, as an operator, if it is one now; whether it is discarded."""
        if self.discards and self.discards[-1].reply.done:
            if isinstance(self.discards[-1].reply.get(timeout=0), Accepted):
                return True
        elif self.discards:
            return False
        for letter in self.real.dead_letters("main", DeadLetterFilter(), before=None, limit=10):
            if letter.item.action is Action.APPLY:
                continue
            command = Discard(letter.item.work_id, "it is not needed any more")
            request = DiscardOperation(command, letter.item, Metadata("p"))
            request.deadline = self.runtime.monotonic() + 10.0
            self.system.actors.customers.tell(letter.item.stream, request)
            self.discards.append(request)
            break
        return False

    # the required results

    def judge(self) -> None:
        """Every caller is answered, each deposit ended with one effect, and all is at rest."""
        assert self.dead_for_s < ALIVE_WITHIN_S, "an actor was dead for too long"
        assert not self.facade.problems(), self.facade.problems()
        self._judge_answers()
        assert self.real.work_counts() == PARKED, f"work is left: {self.real.work_counts()}"
        stored = {it.command.transaction_id for it in self.requests if isinstance(it.reply.get(timeout=0), Accepted)}
        with self.real.audit() as audit:
            rows = [row for key in audit.streams() for row in audit.transactions(key)]
        assert {row.transaction_id for row in rows} == stored, "what is on record is not what was accepted"
        given_up = [it for it in self.discards if isinstance(it.reply.get(timeout=0), Accepted)]
        assert given_up or self.killer.thrown, "nothing was discarded"
        for row in rows:
            ends = Status.FAILED if given_up and row.customer_id == "discarded" else Status.COMPLETED
            assert row.status is ends, f"{row.customer_id}'s deposit is {row.status}"
            assert self.provider.moved[row.transaction_id] == (ends is Status.COMPLETED), (
                f"effects of {row.customer_id}"
            )
        assert len(self.system.actors.customers) == 0, "an idle actor is not stopped"
        assert all(
            bulkhead.in_flight == 0 and not bulkhead.waiting for bulkhead in self.system.actors.bulkheads.values()
        ), "a slot is lost"
        self.system.drain()
        self.run(2.0)
        assert self.system.at_rest, "the drain does not end"

    def _judge_answers(self) -> None:
        all_requests = (*self.requests, *self.refused, *self.discards)
        assert all(it.reply.done for it in all_requests), "a client was not answered"
        assert all(reply.done for reply in self.asked), "an operator was not answered"
        refusals = [it for it in self.requests if not isinstance(it.reply.get(timeout=0), Accepted)]
        refusals += [it for it in self.refused if not isinstance(it.reply.get(timeout=0), Refused)]
        # Only when a customer cannot be read a command may be answered with "not stored".
        assert bool(refusals) <= any(point.place.startswith("TroubledStore.load") for point in self.killer.thrown), (
            "refused"
        )
        assert all(isinstance(it.reply.get(timeout=0), NotStored) for it in refusals), "a wrong refusal"


def _lives(address: ActorAddress) -> bool:
    """The expected value of ``alive``, read from the router."""
    ref = address._router.living(None)
    return ref is not None and ref.is_alive()
