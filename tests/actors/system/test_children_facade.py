"""Refunds, captures and voids through the service facade: rolling restarts, and repetitions that are refused now."""

from __future__ import annotations

from pathlib import Path

from actors.customer.command_operation import CommandOperation
from actors.customer.idempotency import KEY_REUSED, IdempotencyKey
from actors.operations.child import ChildOperation
from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted, NotStored, Replayed, Reply
from actors.runtime.runtime import LiveRuntime
from actors.settings import SystemSettings
from domain.account import Refused, Status
from domain.commands import Receive, ReceiveChild
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved, Authorization, Outcome
from gateways.port import Order
from store.codec import Metadata
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.actors.support import GATEWAY, stream
from tests.actors.system.fixtures import Service
from tests.actors.system.test_system_live import until

EARLIER = "earlier version"


def deposit(service: Service, *, manual: bool) -> ReceiveOperation:
    """A new deposit."""
    command = Receive(Kind.DEPOSIT, service.runtime.new_id(), GATEWAY, Money(100, "USD"), {}, manual_capture=manual)
    return ReceiveOperation(command, Metadata("r-1"))


def child(service: Service, kind: Kind, parent_id: str, key: IdempotencyKey | None = None) -> ChildOperation:
    """A new refund, capture or void."""
    return ChildOperation(ReceiveChild(kind, service.runtime.new_id(), parent_id), Metadata("r-2"), key)


def refused_for_its_version(reply: Reply) -> bool:
    """Whether a process of an earlier version is the reason why nothing was stored."""
    return isinstance(reply, NotStored) and EARLIER in reply.reason


def started(path: Path, settings: SystemSettings) -> tuple[LiveRuntime, Service]:
    """A service on real threads, which shares its store with other processes."""
    runtime = LiveRuntime()
    store = SqliteStore(path, clock=runtime.now)
    service = Service(runtime, store, store, settings=settings, exclusive=False)
    service.system.start()
    return runtime, service


def test_what_a_live_process_does_not_know_is_not_stored(tmp_path: Path) -> None:
    """Until the process of the earlier version is gone. Plain deposits are not affected."""
    path = tmp_path / "payments.db"
    migrate(path)
    earlier = SqliteStore(path, clock=LiveRuntime().now)
    earlier.register_owner("owner-of-an-earlier-version", 1)
    runtime, service = started(path, SystemSettings(lease_s=3.0))
    new: list[CommandOperation] = [deposit(service, manual=True), child(service, Kind.REFUND, "p")]
    assert all(refused_for_its_version(service.facade.execute(stream(), each)) for each in new)
    assert isinstance(service.facade.execute(stream(), deposit(service, manual=False)), Accepted)
    # Without a heartbeat it counts as dead after a while.
    until(lambda: not refused_for_its_version(service.facade.execute(stream(), child(service, Kind.REFUND, "p"))))
    assert isinstance(service.facade.execute(stream(), deposit(service, manual=True)), Accepted)
    runtime.stop(5.0)
    earlier.close()
    service.real.close()


def test_a_repeated_capture_is_the_first_one_although_it_is_not_possible_now(tmp_path: Path) -> None:
    """The key is looked up before a refusal that is recorded under no key."""
    path = tmp_path / "payments.db"
    migrate(path)
    runtime, live = started(path, SystemSettings())

    def answer(order: Order) -> Outcome:
        live.gateway.effects[order.transaction_id] = order
        reference = f"A-{order.transaction_id}"
        return Authorization(reference) if order.manual_capture else Approved(reference, final=True)

    live.gateway.answer = answer
    held = live.facade.execute(stream(), deposit(live, manual=True))
    assert isinstance(held, Accepted)
    parent_id = held.transaction.transaction_id
    until(lambda: live.status(parent_id) is Status.AUTHORIZED)
    key = IdempotencyKey("idempotency:capture:main", "k-1", "this capture")
    first = live.facade.execute(stream(), child(live, Kind.CAPTURE, parent_id, key))
    assert isinstance(first, Accepted)
    until(lambda: live.status(parent_id) is Status.COMPLETED)
    again = live.facade.execute(stream(), child(live, Kind.CAPTURE, parent_id, key))
    assert again == Replayed(first.transaction.transaction_id)
    other = live.facade.execute(
        stream(), child(live, Kind.CAPTURE, parent_id, key._replace(fingerprint="another capture"))
    )
    assert isinstance(other, Refused)
    assert other.code == KEY_REUSED
    without = live.facade.execute(stream(), child(live, Kind.CAPTURE, parent_id))
    assert isinstance(without, Refused)
    assert without.code == "not-possible-now"
    runtime.stop(5.0)
    live.real.close()
