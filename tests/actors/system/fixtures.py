"""A whole payment system with one small gateway, on the runtime and the store of a test."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.operations.receive import ReceiveOperation
from actors.replies import NotStored, Reply
from actors.runtime.runtime import Runtime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.account import Status
from domain.commands import Receive
from domain.events import Kind
from domain.money import Money
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.backend import PaymentStore
from store.codec import Metadata
from store.port import Store
from tests.actors.support import GATEWAY, RecordingListener, SmallGateway, stream

SETTINGS = SystemSettings(passivate_after_s=5.0)


@dataclass
class Service:
    """A system on a runtime and a store, with one gateway."""

    runtime: Runtime
    store: Store
    real: PaymentStore
    gateway: SmallGateway = field(default_factory=SmallGateway)
    settings: SystemSettings = SETTINGS
    max_concurrent: int = 5
    exclusive: bool = True
    heard: RecordingListener = field(default_factory=RecordingListener)
    request_deadline_s: float = 10.0

    def __post_init__(self) -> None:
        options = GatewaySettings(
            GATEWAY, "gateway_a", "http://127.0.0.1:1/gatewayA", max_concurrent=self.max_concurrent
        )
        self.facade = ServiceFacade(
            self.runtime, {GATEWAY: self.gateway}, self.heard, request_deadline_s=self.request_deadline_s
        )
        self.system = PaymentSystem(
            service=self.facade,
            runtime=self.runtime,
            store=self.store,
            queue=LocalQueue(),
            gateways={GATEWAY: (self.gateway, options)},
            settings=self.settings,
            listener=self.heard,
            exclusive=self.exclusive,
        )

    def command(self, minor: int = 100) -> Receive:
        """A new deposit."""
        return Receive(Kind.DEPOSIT, self.runtime.new_id(), GATEWAY, Money(minor, "USD"), {})

    def receive(self, customer: str = "c1") -> Reply:
        """Send a deposit and wait for the answer."""
        return self.facade.execute(stream(customer), ReceiveOperation(self.command(), Metadata("r-1")))

    def send(self, customer: str = "c1") -> ReceiveOperation | NotStored:
        """Send a deposit without waiting for the answer."""
        return self.facade.send(stream(customer), ReceiveOperation(self.command(), Metadata("r")))

    def status(self, transaction_id: str) -> Status:
        """The transaction's status in the store."""
        view = self.real.transaction("main", transaction_id)
        assert view is not None
        return view.transaction.status
