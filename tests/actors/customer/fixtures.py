"""A process's customers and their journal on a store; the test plays all other actors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeVar

from actors.backpressure import Backpressure
from actors.customer.actor import CustomerStreamActor
from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.idempotency import IdempotencyKey
from actors.customer.loader import Loader
from actors.gateways.breaker import Permit
from actors.gateways.retry_policy import RetryPolicy
from actors.gateways.settlement_delay import SettlementDelay
from actors.generations import Generations
from actors.journal import JournalActor
from actors.messages import CallResult, NotSent, Recipient, SubmissionRecorded, Submit, WorkDue
from actors.operations.callback import Callback, CallbackOperation
from actors.operations.discard import DiscardOperation
from actors.operations.outcome import OutcomeOperation
from actors.operations.receive import ReceiveOperation
from actors.operations.submission import SubmissionOperation
from actors.replies import Accepted, Reply
from actors.runtime.router import ActorAddress, Router
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Transaction
from domain.commands import Discard, Receive, RecordCallback
from domain.events import Event, Kind, Recorded, Submitted
from domain.money import Money
from domain.outcomes import Approved, Declined
from domain.state_machine import evolve
from store.backend import PaymentStore
from store.codec import Metadata, decode, encode
from store.port import Head, Part, Store, StreamKey, WorkItem, Write
from store.queries import TransactionFilter, TransactionView
from tests.actors.support import GATEWAY, OWNER, Announced, Inbox, RecordingListener, stream
from tests.gateway_facts import operations_with

POLICY = RetryPolicy(
    operations=operations_with(keys=True),
    max_retries=3,
    lookup_after_s=(5.0, 30.0),
    dead_letter_first_s=10.0,
    dead_letter_max_s=3600.0,
    dead_letter_attempts=12,
)
KEYLESS = replace(POLICY, operations=operations_with(keys=False), settle_s=65.0)
DEADLINE_S = 10.0
STEPS_MAX = 50_000

C = TypeVar("C", bound=CommandOperation)


class _Forward:
    """The address of a customer's actor, whichever is alive when a message arrives."""

    def __init__(self, router: Router[StreamKey], key: StreamKey) -> None:
        self._router, self._key = router, key

    def tell(self, message: object, /) -> None:
        """Send ``message`` to that actor."""
        self._router.tell(self._key, message)


@dataclass
class Customers:
    """One process's customers; a second object on the same store is another process. ``real`` is that store."""

    runtime: SimulatedRuntime
    store: Store
    real: PaymentStore
    owner: str = OWNER
    supervisor: Inbox = field(default_factory=Inbox)
    scheduler: Inbox = field(default_factory=Inbox)
    dead_letters: Inbox = field(default_factory=Inbox)
    queue: Announced = field(default_factory=Announced)
    heard: RecordingListener = field(default_factory=RecordingListener)
    backpressure: Backpressure = field(default_factory=lambda: Backpressure([GATEWAY], processing=True))
    policy: RetryPolicy = POLICY
    leases_kept: int = 0
    """How often a lease was reported that could not be given up."""

    def __post_init__(self) -> None:
        runtime = self.runtime
        self.generations = Generations(runtime.monotonic)
        self.store.register_owner(self.owner)
        self.journal = ActorAddress(
            lambda: JournalActor(
                store=self.store, listener=self.heard, monotonic=runtime.monotonic, generations=self.generations
            ),
            runtime.dispatcher("journal", 1),
            capacity=10_000,
            monotonic=runtime.monotonic,
        )
        self.router: Router[StreamKey] = Router(
            self._make, runtime.dispatcher("customers", 4), capacity=2_000, monotonic=runtime.monotonic
        )
        self.context = CustomerContext(
            runtime=runtime,
            store=self.store,
            loader=Loader(self.store, runtime.executor("loader", 8), runtime.monotonic, at_once=8),
            journal=self.journal,
            supervisor=self.supervisor,
            scheduler=self.scheduler,
            dead_letters=self.dead_letters,
            queue=self.queue,
            address=self.address,
            policies={GATEWAY: self.policy},
            backpressure=self.backpressure,
            settlement=SettlementDelay(runtime.monotonic),
            generations=self.generations,
            leases_unknown=self._lease_kept,
            owner=self.owner,
            listener=self.heard,
            next_serial=count(1).__next__,
        )

    def _lease_kept(self) -> None:
        self.leases_kept += 1

    def _make(self, key: StreamKey) -> CustomerStreamActor:
        return CustomerStreamActor(stream=key, context=self.context)

    def address(self, key: StreamKey) -> Recipient:
        """The address of this customer's actor."""
        return _Forward(self.router, key)

    def send_command(self, key: StreamKey, command: C, deadline_s: float = DEADLINE_S) -> C:
        """Send ``command`` to the actor of a stream, as the service facade does."""
        command.deadline = self.runtime.monotonic() + deadline_s
        self.router.tell(key, command)
        return command

    def send(
        self,
        customer: str = "c1",
        minor: int = 10_000,
        *,
        kind: Kind = Kind.DEPOSIT,
        deadline_s: float = DEADLINE_S,
        details: dict[str, str] | None = None,
        key: str | None = None,
    ) -> ReceiveOperation:
        """Send a new deposit or withdrawal to a customer's actor, under an idempotency key if one is given."""
        runtime = self.runtime
        command = Receive(kind, runtime.new_id(), GATEWAY, Money(minor, "USD"), details or {})
        once = None if key is None else IdempotencyKey(f"idempotency:{kind}:main", key, f"{customer} {minor}")
        request = ReceiveOperation(command, Metadata("r-1"), once)
        return self.send_command(stream(customer), request, deadline_s)

    def withdraw(self, customer: str = "c1", minor: int = 10_000, *, key: str | None = None) -> ReceiveOperation:
        """Send a withdrawal that the balance must cover."""
        return self.send(customer, minor, kind=Kind.WITHDRAWAL, key=key)

    def report(self, item: WorkItem, result: CallResult, customer: str = "c1") -> OutcomeOperation:
        """Report the result of a call to the customer's actor."""
        report = OutcomeOperation(item, result, self.runtime.monotonic())
        self.router.tell(stream(customer), report)
        return report

    def callback(
        self,
        item: WorkItem,
        outcome: Approved | Declined,
        *,
        event_id: str = "evt-1",
        body: bytes = b"{}",
        customer: str = "c1",
        minor: int = 10_000,
    ) -> CallbackOperation:
        """Send a callback of the gateway about the item's transaction to the customer's actor."""
        reference = outcome.reference if isinstance(outcome, Approved) else f"A-{item.work_id}"
        command = RecordCallback(item.work_id, GATEWAY, reference, Money(minor, "USD"), outcome)
        callback = Callback(GATEWAY, event_id, body)
        request = CallbackOperation(callback, Metadata("r-7", f"{GATEWAY}:{event_id}"), command=command)
        return self.send_command(stream(customer), request)

    def submit(self, item: WorkItem, number: int = 1, customer: str = "c1") -> SubmissionOperation:
        """Report to the customer's actor that ``item`` is about to be sent, under a permit of that number."""
        request = SubmissionOperation(item, Permit(0, number))
        self.router.tell(stream(customer), request)
        return request

    def discard(self, item: WorkItem, *, deadline_s: float = DEADLINE_S, reason: str = "no more") -> DiscardOperation:
        """Discard the dead letter ``item``, as an operator."""
        request = DiscardOperation(Discard(item.work_id, reason), item, Metadata("r-9", who="ann"))
        return self.send_command(item.stream, request, deadline_s)

    def run(self, seconds: float = 0.0) -> None:
        """Run everything that is due within ``seconds``, and advance the clock by them."""
        until = self.runtime.monotonic() + seconds
        for _ in range(STEPS_MAX):
            if not self.runtime.step(until):
                self.runtime.advance(max(until - self.runtime.monotonic(), 0.0))
                return
        raise RuntimeError("it does not end")

    def run_until(self, condition: Callable[[], bool], steps: int = 10_000) -> None:
        """Step until ``condition`` holds; RuntimeError when it never does."""
        for _ in range(steps):
            if condition():
                return
            self.runtime.step()
        raise RuntimeError("the condition was never met")

    # prepared states

    def deposited(self, customer: str = "c1", minor: int = 10_000) -> WorkItem:
        """A deposit that is stored, and its work as the supervisor got it."""
        request = self.send(customer, minor)
        self.run()
        assert isinstance(answer(request), Accepted)
        return self.handed_over()[-1]

    def completed(self, customer: str = "c1", minor: int = 10_000) -> WorkItem:
        """A deposit that is completed, so that the customer has a balance."""
        item = self.deposited(customer, minor)
        self.report(item, Approved(f"A-{item.work_id}", final=True), customer)
        self.run()
        return item

    def dead_letter(self, customer: str = "c1", minor: int = 10_000, *, kind: Kind = Kind.DEPOSIT) -> WorkItem:
        """A transaction whose attempts were all refused, with its work as an operator sees it."""
        request = self.send(customer, minor, kind=kind)
        self.run()
        assert isinstance(answer(request), Accepted)
        item = replace(self.handed_over()[-1], attempts=self.policy.max_retries)
        self.report(item, NotSent("refused"), customer)
        self.run()
        return self.letter(item)

    def letter(self, item: WorkItem) -> WorkItem:
        """A dead letter's work as an operator sees it. Raises LookupError when it is none."""
        letter = self.real.dead_letter("main", item.work_id)
        if letter is None:
            raise LookupError(item.work_id)
        return letter.item

    def on_record(self, item: WorkItem, *events: Event) -> None:
        """Store ``events`` of the item's transaction directly, without the actors; its work does not change."""
        snapshot = self.real.load(item.stream, [item.work_id])
        account, head, encoded = snapshot.account, snapshot.head, []
        for event in events:
            recorded = Recorded(account.version + 1, self.runtime.now(), event)
            account = evolve(account, recorded)
            done = encode(item.stream, head, recorded, self.runtime.new_id(), Metadata("elsewhere"))
            head = Head(done.version, done.hash)
            encoded.append(done)
        rows = (account.transactions[item.work_id],), tuple(account.balances.items())
        self.real.append([Write(item.stream, snapshot.head, (Part(events=tuple(encoded)),), *rows)])

    # results

    def handed_over(self) -> list[WorkItem]:
        """The work that the supervisor received, in order."""
        return [item for submit in self.supervisor.of(Submit) for item in submit.items]

    def cleared(self) -> list[SubmissionRecorded]:
        """The SubmissionRecorded messages to the supervisor, in order."""
        return self.supervisor.of(SubmissionRecorded)

    def sendable(self) -> list[WorkItem]:
        """The submissions that the supervisor may send, in order."""
        return [cleared.item for cleared in self.cleared() if cleared.item is not None]

    def submitted(self) -> list[tuple[str, int]]:
        """The recorded submissions of c1, in order."""
        events = [recorded.event for recorded in self.events()]
        return [(event.transaction_id, event.attempt) for event in events if isinstance(event, Submitted)]

    def claim(self, owner: str | None = None, limit: int = 10) -> list[WorkItem]:
        """Lease what is due, as the scheduler does."""
        return self.real.claim_work(self.owner if owner is None else owner, GATEWAY, limit)

    def dues(self) -> list[WorkDue]:
        """The due times of queued work that the scheduler received."""
        return self.scheduler.of(WorkDue)

    def events(self, customer: str = "c1") -> list[Recorded]:
        """A customer's events as they are stored."""
        stored = self.real.stream_events(stream(customer), after=0, limit=10_000)
        return [decode(event.body) for event in stored]

    def listed(self) -> Sequence[TransactionView]:
        """All transactions."""
        return self.real.transactions("main", TransactionFilter(), before=None, limit=1_000)

    def types(self, customer: str = "c1") -> list[str]:
        """The types of a customer's events."""
        return [event.type for event in self.real.stream_events(stream(customer), after=0, limit=10_000)]

    def transaction(self, transaction_id: str) -> Transaction:
        """A transaction's row; LookupError without one."""
        view = self.real.transaction("main", transaction_id)
        if view is None:
            raise LookupError(transaction_id)
        return view.transaction


def answer(request: CommandOperation) -> Reply:
    """The answer, if it is set; pykka.Timeout if it is not."""
    return request.reply.get(timeout=0)


def actor_of(customers: Customers, customer: str = "c1") -> CustomerStreamActor:
    """The customer's live actor, for tests that read its state."""
    actor = customers.router.start(stream(customer)).actor_inbox._actor
    assert isinstance(actor, CustomerStreamActor)
    return actor
