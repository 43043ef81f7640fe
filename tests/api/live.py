"""A real service behind the API: actors in threads on a real SQLite store, and providers that answer at once.

gatewayA accepts everything, and holds the money of deposits with manual capture. An amount whose minor units end in 03
stays open until a callback. gatewayB cannot be reached.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted, Taken
from actors.runtime.runtime import LiveRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.account import Status
from domain.commands import Receive
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, Authorization, NotSentError, Outcome
from gateways.port import Gateway, Order
from gateways.registry import build_gateways, read_settings
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.backend import PaymentStore
from store.codec import Metadata
from store.port import StreamKey
from store.sqlite.adapter import SqliteStore
from tests.actors.support import RecordingListener, SmallGateway
from tests.gateways.callback_signers import MEMBERS, SIGNER_A, SIGNER_B
from tests.store.looking import contents
from tests.store.templates import new_sqlite

MERCHANT: Final = "main"
CUSTOMER: Final = "12345"

_ENDS_LATER: Final = 3
_HOUR_S: Final = 3600.0
_WAIT_S: Final = 30.0


class _Facade(ServiceFacade):
    """The command interface, for tests in which no request waits for an event."""

    def is_stopping(self) -> bool:
        """See Payments."""
        return True


class Live:
    """A started service with one resource of each kind; ``ids`` are the values for the names in the routes' paths."""

    def __init__(self, open_store: Callable[[LiveRuntime], PaymentStore]) -> None:
        self._runtime = runtime = LiveRuntime()
        self.queries = open_store(runtime)
        gateways, listener = _gateways(), RecordingListener()
        self.payments = _Facade(runtime, {name: gateway for name, (gateway, _) in gateways.items()}, listener)
        self._system = PaymentSystem(
            service=self.payments,
            runtime=runtime,
            store=self.queries,
            queue=LocalQueue(),
            gateways=gateways,
            settings=SystemSettings(load_threads=0, dead_letter_first_s=_HOUR_S, dead_letter_max_s=_HOUR_S),
            listener=listener,
            exclusive=True,
        )
        self._system.start()
        completed, later, buried = (
            self._deposit(gateway, minor)
            for gateway, minor in (("gatewayA", 10_000), ("gatewayA", 100 + _ENDS_LATER), ("gatewayB", 10_000))
        )
        self._send_callback("unreadable", b"?")  # a review
        self._send_callback("early", SIGNER_A.body(MEMBERS))  # of an unknown transaction
        until(lambda: self._status(completed) is Status.COMPLETED and self._status(later) is Status.PROCESSED)
        until(lambda: self.queries.dead_letter(MERCHANT, buried) is not None)
        self.ids = {
            "transaction_id": later,
            "customer_id": CUSTOMER,
            "dead_letter_id": buried,
            "review_id": self.queries.reviews(MERCHANT, "open", before=None, limit=1)[0].review.review_id,
            "name": "gatewayA",
            "schema_file": "DepositCompleted.v1.json",
            "callback_id": self.queries.waiting_callbacks(MERCHANT, None, before=None, limit=1)[0].item.work_id,
        }

    def contents(self) -> dict[str, object]:
        """All stored data: two equal results mean that nothing has changed in between.

        The scheduler leases the early callback from time to time, looks for its transaction, and gives it back. A
        result from within that time is read again.
        """
        stored: dict[str, object] = {}

        def at_rest() -> bool:
            stored.update(contents(self.queries))
            work = stored["work"]
            assert isinstance(work, dict)
            return all(state != "leased" for _, state in work)

        until(at_rest)
        return {**stored, "modes": self.queries.gateway_modes(), "breakers": self.queries.breakers()}

    def close(self) -> None:
        """Stop the actors and close the store."""
        self._system.drain()
        self._runtime.stop(5.0)
        self.queries.close()

    def _deposit(self, gateway: str, minor: int) -> str:
        transaction_id = self.payments.new_transaction_id()
        command = Receive(Kind.DEPOSIT, transaction_id, gateway, Money(minor, "USD"), {})
        reply = self.payments.execute(StreamKey(MERCHANT, CUSTOMER), ReceiveOperation(command, Metadata("seed")))
        assert isinstance(reply, Accepted)
        return transaction_id

    def _send_callback(self, event_id: str, body: bytes) -> None:
        """Send a genuine callback."""
        headers = SIGNER_A.headers(SIGNER_A.secrets[0], event_id, str(int(time.time())), body)
        assert isinstance(self.payments.callback("gatewayA", headers, body, Metadata("seed")), Taken)

    def _status(self, transaction_id: str) -> Status | None:
        view = self.queries.transaction(MERCHANT, transaction_id)
        return view and view.transaction.status


def until(condition: Callable[[], bool]) -> None:
    """Wait until other threads have made ``condition`` true. Fails after a time limit."""
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        threading.Event().wait(0.002)


@contextmanager
def living(folder: Path) -> Iterator[Live]:
    """A service with its store in ``folder``, stopped after the block."""
    path = folder / "payments.db"
    new_sqlite(path)
    with living_on(lambda runtime: SqliteStore(path, clock=runtime.now, synchronous="OFF")) as live:
        yield live


@contextmanager
def living_on(open_store: Callable[[LiveRuntime], PaymentStore]) -> Iterator[Live]:
    """A service on any store, which is closed after the block."""
    live = Live(open_store)
    try:
        yield live
    finally:
        live.close()


def _gateways() -> dict[str, tuple[Gateway, GatewaySettings]]:
    """Both gateways, with the real verification of their callbacks. No number of failures opens a breaker."""
    tables = {
        name: {
            "adapter": adapter,
            "url": f"http://127.0.0.1:1/{name}",
            "max_retries": 0,
            "lookup_after_s": [_HOUR_S],
            "breaker": {"request_volume": 1_000_000},
        }
        for name, adapter in (("gatewayA", "gateway_a"), ("gatewayB", "gateway_b"))
    }
    options = read_settings(tables)
    real = build_gateways(options, {"gatewayA": SIGNER_A.secrets, "gatewayB": SIGNER_B.secrets})
    small = {name: SmallGateway(name) for name in options}
    for name, gateway in small.items():
        gateway.currencies, gateway.callbacks = real[name].currencies, real[name].callbacks
    small["gatewayA"].answer, small["gatewayB"].answer = _approve, _refuse_connection
    return {name: (small[name], options[name]) for name in options}


def _approve(order: Order) -> Outcome:
    if order.manual_capture:
        return Authorization(f"A-{order.transaction_id}")
    return Approved(f"A-{order.transaction_id}", final=order.money.minor % 100 != _ENDS_LATER)


def _refuse_connection(_order: Order) -> Outcome:
    raise NotSentError("connection refused")
