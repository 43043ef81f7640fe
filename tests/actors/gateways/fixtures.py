"""A gateway supervisor with one bulkhead for each gateway; the test plays the customers and the scheduler."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from actors.backpressure import Backpressure
from actors.gateways.breaker import GatewayBreaker
from actors.gateways.bulkhead import Bulkhead
from actors.gateways.supervisor import GatewaySupervisorActor
from actors.messages import (
    ApplyBreakerMode,
    BreakerRecordRead,
    BreakerTransition,
    CallResult,
    ProbeWanted,
    StatusRequest,
    SubmissionRecorded,
    Submit,
)
from actors.operations.outcome import OutcomeOperation
from actors.operations.submission import SubmissionOperation
from actors.replies import GatewayStatus
from actors.runtime.actor import Future
from actors.runtime.router import ActorAddress
from actors.runtime.simulated import EPOCH, SimulatedRuntime
from domain.account import Status, Transaction
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Outcome, OutcomeUnknownError
from gateways.port import Order
from store.port import Action, DeliveryCertainty, GatewayMode, WorkItem
from tests.actors.support import GATEWAY, OWNER, Inbox, RecordingListener, SmallGateway, stream
from tests.store.breaker_model import SharedBreaker

FAILURES = 3
SLEEP_S = 10.0
PERMIT_S = 60.0

_numbers = count(1)


def work(gateway: str = GATEWAY, action: Action = Action.SUBMIT) -> WorkItem:
    """A new piece of work."""
    key = f"t-{next(_numbers)}"
    transaction = Transaction(
        transaction_id=key,
        kind=Kind.DEPOSIT,
        customer_id="c1",
        gateway=gateway,
        money=Money(100, "USD"),
        details={},
        status=Status.PENDING,
        reserved=False,
        submissions=0,
        gateway_reference=None,
        failure=None,
        version=1,
        created_at=EPOCH,
        updated_at=EPOCH,
    )
    return WorkItem(key, 1, stream(), gateway, action, "DepositReceived", 0, (), transaction)


class Slots:
    """An executor whose calls begin at once and end when the test ends them."""

    def __init__(self) -> None:
        self.out: list[Callable[[], None]] = []

    def submit(self, function: Callable[[], None], /) -> None:
        """Keep the call."""
        self.out.append(function)

    def end(self, number: int = 0) -> None:
        """End one of the running calls."""
        self.out.pop(number)()


class SharedBreakers:
    """Plays the breaker-sync actor and the store behind it.

    ``away``: nothing is stored and nothing is answered.
    """

    def __init__(self, it: Supervised) -> None:
        self.reported: list[BreakerTransition | ProbeWanted] = []
        self.away = False
        self._it = it
        self.records = {name: SharedBreaker(name) for name in it.names}

    def tell(self, message: object, /) -> None:
        """Change the record as requested, and send it back."""
        assert isinstance(message, BreakerTransition | ProbeWanted)
        self.reported.append(message)
        if self.away:
            return
        record = self.now(message.gateway)
        if isinstance(message, BreakerTransition):
            record.turn(message.epoch, message.state)
        else:
            record.take(message.epoch, OWNER, sleep_s=SLEEP_S, permit_s=PERMIT_S)
        self.look(message.gateway)

    def now(self, gateway: str = GATEWAY) -> SharedBreaker:
        """A gateway's record, at the present time."""
        record = self.records[gateway]
        record.time = self._it.runtime.monotonic()
        return record

    def look(self, gateway: str = GATEWAY) -> None:
        """Send the record to the supervisor."""
        self._it.address.tell(self.read(gateway))

    def read(self, gateway: str = GATEWAY) -> BreakerRecordRead:
        """The record as it is read."""
        record = self.now(gateway)
        return BreakerRecordRead(record.record(), record.time)

    def order(self, mode: str, gateway: str = GATEWAY) -> None:
        """Apply an operator's mode."""
        record = self.now(gateway)
        if mode not in {"auto", record.state}:
            record.turn(record.epoch, mode)
        self._it.address.tell(ApplyBreakerMode(GatewayMode(gateway, mode, "maintenance"), None, self.read(gateway)))


@dataclass
class Supervised:
    """The supervisor and its surroundings."""

    names: Sequence[str] = (GATEWAY,)
    max_concurrent: int = 3
    on_shared_store: bool = False
    runtime: SimulatedRuntime = field(default_factory=lambda: SimulatedRuntime(random.Random(1), started_at=100.0))
    customer: Inbox = field(default_factory=Inbox)
    scheduler: Inbox = field(default_factory=Inbox)
    heard: RecordingListener = field(default_factory=RecordingListener)

    def __post_init__(self) -> None:
        self.backpressure = Backpressure(self.names, processing=True)
        self.gateways = {name: SmallGateway(name) for name in self.names}
        self.slots = {name: Slots() for name in self.names}
        self.bulkheads = {name: self._bulkhead(name) for name in self.names}
        self.shared = SharedBreakers(self)
        self.address: ActorAddress = ActorAddress(
            self._make,
            self.runtime.dispatcher("supervisor", 1),
            capacity=10_000,
            monotonic=self.runtime.monotonic,
            after=self.runtime.after,
        )

    def _make(self) -> GatewaySupervisorActor:
        return GatewaySupervisorActor(
            runtime=self.runtime,
            bulkheads=self.bulkheads,
            backpressure=self.backpressure,
            customer=lambda _: self.customer,
            scheduler=self.scheduler,
            breaker_sync=self.shared,
            self_address=self.address,
            listener=self.heard,
        )

    def _bulkhead(self, name: str) -> Bulkhead:
        breaker = GatewayBreaker(
            owner=OWNER,
            error_percent=50.0,
            request_volume=FAILURES,
            window_s=10.0,
            sleep_s=SLEEP_S,
            permit_s=PERMIT_S,
            monotonic=self.runtime.monotonic,
            now=self.runtime.now,
            changed=lambda state: self.heard.breaker_changed(name, state),
        )
        return Bulkhead(
            self.gateways[name], name, breaker, self.slots[name], self.max_concurrent, shared=self.on_shared_store
        )

    @property
    def gateway(self) -> SmallGateway:
        """The first gateway."""
        return self.gateways[self.names[0]]

    @property
    def out(self) -> list[Callable[[], None]]:
        """The running calls at the first gateway."""
        return self.slots[self.names[0]].out

    def submit(self, *items: WorkItem, claimed: bool = False) -> None:
        """Submit work of one gateway to the supervisor."""
        self.address.tell(Submit(items[0].gateway, items, claimed))
        self.run()

    def end(self, number: int = 0) -> None:
        """End a running call at the first gateway."""
        self.slots[self.names[0]].end(number)
        self.run()

    def end_all(self) -> None:
        """End calls until none runs."""
        while self.out:
            self.end()

    def run(self, seconds: float = 0.0) -> None:
        """Run everything that happens within ``seconds``, and let them pass."""
        until = self.runtime.monotonic() + seconds
        self.runtime.run(until)
        self.runtime.advance(max(until - self.runtime.monotonic(), 0.0))

    def results(self) -> list[CallResult]:
        """The reported results of calls, in order."""
        return [report.result for report in self.customer.of(OutcomeOperation)]

    def status(self) -> tuple[GatewayStatus, ...]:
        """The state for operators."""
        request = StatusRequest(Future())
        self.address.tell(request)
        self.run()
        return request.reply.get(timeout=0)


class Keyless(Supervised):
    """A supervisor of gateways without keys; the test records submissions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for gateway in self.gateways.values():
            gateway.honours_keys = False

    @property
    def requested(self) -> list[SubmissionOperation]:
        """The requests to record submissions, in order."""
        return self.customer.of(SubmissionOperation)

    def clear(self, request: SubmissionOperation, *, item: WorkItem | None = None, refused: bool = False) -> WorkItem:
        """Answer that the submission is on record, or that nothing is to be sent (``refused``)."""
        after = (
            replace(request.item, token=request.item.token + 1, certainty=DeliveryCertainty.SENT)
            if item is None
            else item
        )
        self.address.tell(SubmissionRecorded(after.gateway, request.permit, None if refused else after))
        self.run()
        return after

    def clear_all(self) -> None:
        """Record all submissions one by one and let the calls end, until none is requested."""
        done = 0
        while done < len(self.requested):
            self.clear(self.requested[done])
            done += 1
            self.end_all()

    @property
    def slots_taken(self) -> int:
        """The number of slots in use."""
        return self.status()[0].bulkhead.in_flight


def raising(error: BaseException) -> Any:
    """An answer of a gateway that raises ``error``."""

    def answer(_: Order) -> Outcome:
        raise error

    return answer


def order_mode(it: Supervised, mode: str) -> None:
    """Apply an operator's mode, with the record as every process reads it."""
    it.shared.order(mode)
    it.run()


def force_mode(it: Supervised, mode: str) -> None:
    """Apply an operator's mode, without a record."""
    it.address.tell(ApplyBreakerMode(GatewayMode(GATEWAY, mode, "maintenance")))
    it.run()


def trip(it: Supervised) -> None:
    """Open the breaker by failed lookups, which need no record."""
    it.submit(*[work(action=Action.RESOLVE) for _ in range(FAILURES)])
    lookup, it.gateway.lookup = it.gateway.lookup, raising(OutcomeUnknownError("timeout"))  # type: ignore[method-assign]
    it.end_all()
    it.gateway.lookup = lookup  # type: ignore[method-assign]
    assert it.bulkheads[GATEWAY].breaker.state == "open"


def trip_by_submissions(it: Supervised) -> None:
    """Open the breaker by failed submissions; the gateway continues to fail."""
    it.gateway.answer = raising(OutcomeUnknownError("timeout"))
    for _ in range(FAILURES):
        it.submit(work())
        it.end()
    assert it.bulkheads[GATEWAY].breaker.state == "open"


def assert_all_slots_free(it: Keyless) -> None:
    """Assert that every slot and permit is free: as many submissions are recorded at once as there are slots."""
    assert it.slots_taken == 0
    it.customer.messages.clear()
    it.submit(*[work() for _ in range(5)])
    assert len(it.requested) == 3
