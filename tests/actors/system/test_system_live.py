"""The whole system on real threads and a real file, from the service facade to the provider and back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from actors.operations.resolve import ResolveOperation
from actors.replies import Accepted, NotStored, Reply, Taken, Uncertain
from actors.runtime.runtime import LiveRuntime
from actors.settings import SystemSettings
from domain.account import Refused, Status
from domain.commands import Resolution, Resolve
from domain.money import Money
from domain.outcomes import Approved, Outcome
from gateways.masking import MaskedCallbacks, _Codes
from gateways.port import Acceptance, Notice, Order, UnusablePayload, WebhookPayload
from store.codec import Metadata
from store.port import DeliveryCertainty
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.actors.support import GATEWAY, TroubledStore, stream
from tests.actors.system.fixtures import Service

WAIT_S = 30.0


def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; fails after a deadline."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        threading.Event().wait(0.002)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A migrated database file."""
    path = tmp_path / "payments.db"
    migrate(path)
    return path


@pytest.fixture(params=[0, 8])
def live(path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A started service on real threads, which loads customers where they run or on threads of their own."""
    runtime = LiveRuntime()
    store = SqliteStore(path, clock=runtime.now)
    service = Service(runtime, store, store, settings=SystemSettings(load_threads=request.param))
    service.system.start()
    yield service
    runtime.stop(5.0)
    store.close()


def test_deposits_from_many_threads_are_completed_once_each(live: Service) -> None:
    """A deposit goes from the facade to the provider and back into the store, many at a time, each with one effect."""
    replies: list[Reply] = []

    def client(number: int) -> None:
        replies.extend(live.receive(f"c{number % 3}") for _ in range(10))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(WAIT_S)
    accepted = [reply.transaction.transaction_id for reply in replies if isinstance(reply, Accepted)]
    assert len(accepted) == len(set(accepted)) == 80
    until(lambda: not live.real.work_counts())
    assert {live.status(key) for key in accepted} == {Status.COMPLETED}
    assert sorted(live.gateway.calls) == sorted(accepted)
    assert live.gateway.at_once_max <= live.max_concurrent


def test_an_acceptance_is_durable_when_it_is_sent(live: Service) -> None:
    """When the reply is "accepted", the deposit is in the store at that moment."""
    for _ in range(20):
        reply = live.receive()
        assert isinstance(reply, Accepted)
        assert live.real.transaction("main", reply.transaction.transaction_id) is not None


def test_a_provider_that_hangs_holds_up_no_acceptance(live: Service) -> None:
    """With every slot of the gateway stuck, deposits are still accepted, and completed when it answers again."""
    gate = threading.Event()

    def hang(order: Order) -> Outcome:
        assert gate.wait(WAIT_S)
        return live.gateway.accept(order)

    live.gateway.answer = hang
    accepted = [live.receive(f"c{number}") for number in range(20)]
    assert all(isinstance(reply, Accepted) for reply in accepted)
    until(lambda: live.gateway.at_once == live.max_concurrent)
    [status] = live.facade.gateways()
    assert (status.bulkhead.in_flight, status.bulkhead.waiting) == (5, 15)
    gate.set()
    until(lambda: not live.real.work_counts())
    assert live.gateway.at_once_max == live.max_concurrent


def test_a_drained_service_leaves_nothing_half_done(live: Service, path: Path) -> None:
    """After the drain, running calls end and are recorded, other work is queued, and a new process does it."""
    gate = threading.Event()

    def hang(order: Order) -> Outcome:
        assert gate.wait(WAIT_S)
        return live.gateway.accept(order)

    live.gateway.answer = hang
    accepted = [live.receive(f"c{number}") for number in range(20)]
    until(lambda: live.gateway.at_once == live.max_concurrent)
    live.system.drain()
    assert not live.system.at_rest
    gate.set()
    until(lambda: live.system.at_rest)
    late = live.receive("late")
    assert isinstance(late, Accepted)
    live.system.retire()
    assert live.real.work_counts() == {(GATEWAY, "queued"): 16}
    assert len(live.gateway.calls) == 5
    runtime = LiveRuntime()
    successor = Service(runtime, live.real, live.real)
    successor.system.start()
    until(lambda: not live.real.work_counts())
    assert runtime.stop(5.0)
    keys = [reply.transaction.transaction_id for reply in (*accepted, late) if isinstance(reply, Accepted)]
    assert {live.status(key) for key in keys} == {Status.COMPLETED}
    assert sorted([*live.gateway.calls, *successor.gateway.calls]) == sorted(keys)


def test_what_is_being_sent_cannot_be_resolved(live: Service) -> None:
    """While a call is out its answer counts, so a resolution is refused."""
    gate = threading.Event()

    def hang(order: Order) -> Outcome:
        assert gate.wait(WAIT_S)
        return live.gateway.accept(order)

    live.gateway.answer = hang
    received = live.receive()
    assert isinstance(received, Accepted)
    until(lambda: live.gateway.at_once == 1)
    transaction = received.transaction
    command = Resolve(
        transaction.transaction_id, Resolution.FAILED, version=transaction.version, reason="confirmed by telephone"
    )
    work = live.real.work("main", transaction.transaction_id)
    assert work is not None
    said = live.facade.execute(work.item.stream, ResolveOperation.on(work, command, Metadata("r-1", who="ann")))
    gate.set()
    assert isinstance(said, Refused)
    assert said.code == "still-under-way"
    until(lambda: not live.real.work_counts())
    assert live.status(transaction.transaction_id) is Status.COMPLETED


def test_work_of_running_calls_is_given_back_as_possibly_sent(live: Service) -> None:
    """A service that ends before its calls gives their work back as possibly sent."""
    gate = threading.Event()

    def hang(order: Order) -> Outcome:
        assert gate.wait(WAIT_S)
        return live.gateway.accept(order)

    live.gateway.answer = hang
    received = live.receive()
    assert isinstance(received, Accepted)
    until(lambda: live.gateway.at_once == 1)
    live.system.drain()
    live.system.retire()
    work = live.real.work("main", received.transaction.transaction_id)
    gate.set()
    assert work is not None
    assert work.item.certainty is DeliveryCertainty.LEASE_LOST
    until(lambda: live.system.at_rest)


class _Callbacks:
    """Callbacks with valid signatures that cannot be read."""

    acceptance = Acceptance()

    def read(self, _headers: Mapping[str, str], body: bytes, _now: datetime) -> Sequence[Notice]:
        return [Notice("evt-1", body, UnusablePayload("an unknown format"))]


def test_a_callback_is_kept_without_card_numbers(live: Service) -> None:
    """Its body is stored unread: what looks like a card number is masked first."""
    live.gateway.callbacks = MaskedCallbacks(_Callbacks(), _Codes(()))
    body = b'{"paid_with": "4111 1111 1111 1111"}'
    assert live.facade.callback(GATEWAY, {}, body, Metadata("r-1")) == Taken()
    assert isinstance(live.real, SqliteStore)
    with live.real._readers.cursor() as cursor:
        [(stored,)] = cursor.execute("SELECT value FROM claims WHERE scope = ?", (f"callback:{GATEWAY}",))
    assert stored.startswith(b'{"paid_with": "4111')
    assert b"1111 1111" not in stored


class _ManyNotices:
    """Callbacks with several notices, each about a reference in the body."""

    acceptance = Acceptance(202, "text/plain", b"[accepted]")

    def read(self, _headers: Mapping[str, str], body: bytes, _now: datetime) -> Sequence[Notice]:
        money = Money(100, "USD")
        outcome = Approved("A-9", final=True)
        return [
            Notice(f"evt-{reference}", reference.encode(), WebhookPayload(reference, "A-9", money, outcome))
            for reference in body.decode().split()
        ]


def claims(live: Service) -> list[str]:
    """The event ids that are claimed."""
    assert isinstance(live.real, SqliteStore)
    with live.real._readers.cursor() as cursor:
        found = cursor.execute("SELECT key FROM claims WHERE scope = ? ORDER BY key", (f"callback:{GATEWAY}",))
        return [key for (key,) in found]


def test_each_notice_of_a_callback_is_applied_on_its_own(live: Service) -> None:
    """Each has its claim, and a repetition with a further notice adds that one only."""
    live.gateway.callbacks = _ManyNotices()
    assert live.facade.callback(GATEWAY, {}, b"one two", Metadata("r-1")) == Taken()
    assert live.facade.callback(GATEWAY, {}, b"two three one", Metadata("r-2")) == Taken()
    assert claims(live) == ["evt-one", "evt-three", "evt-two"]
    assert live.facade.callback(GATEWAY, {}, b"", Metadata("r-3")) == Taken()
    assert live.facade.callback_acceptance(GATEWAY) == Acceptance(202, "text/plain", b"[accepted]")


@pytest.mark.parametrize(("fails", "reply"), [(0, NotStored), (1, Uncertain)])
def test_a_callback_that_is_stored_in_part_is_not_accepted(
    live: Service, monkeypatch: pytest.MonkeyPatch, fails: int, reply: type
) -> None:
    """The gateway sends it again then. "Not stored" is the answer only when nothing of it is stored."""
    live.gateway.callbacks = _ManyNotices()
    execute, count = live.facade.execute, iter(range(9))
    monkeypatch.setattr(
        live.facade, "execute", lambda *args: NotStored("full") if next(count) == fails else execute(*args)
    )
    assert isinstance(live.facade.callback(GATEWAY, {}, b"one two three", Metadata("r-1")), reply)
    assert claims(live) == ["evt-one"][:fails]
    assert live.facade.callback(GATEWAY, {}, b"one two three", Metadata("r-1")) == Taken()
    assert claims(live) == ["evt-one", "evt-three", "evt-two"]


def test_a_store_that_does_not_answer_ends_in_not_stored_or_uncertain(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that waited until its deadline gets a correct answer: never written, or uncertain."""
    monkeypatch.setattr("actors.service.GRACE_S", 0.1)
    runtime = LiveRuntime()
    real = SqliteStore(path, clock=runtime.now)
    store, gate = TroubledStore(real), threading.Event()
    service = Service(runtime, store, real, request_deadline_s=0.05)
    service.system.start()
    assert isinstance(service.receive("warm"), Accepted | Uncertain | NotStored)
    load, append = store.load, store.append
    store.load = lambda *args: (gate.wait(WAIT_S), load(*args))[1]  # type: ignore[method-assign]
    assert isinstance(service.receive("c1"), NotStored)
    store.load = load  # type: ignore[method-assign]
    store.append = lambda writes: (gate.wait(WAIT_S), append(writes))[1]  # type: ignore[method-assign]
    assert isinstance(service.receive("c2"), Uncertain)
    gate.set()
    until(lambda: real.customer(stream("c2")) is not None)
    until(lambda: service.system.actors.customers.at_rest)
    assert real.customer(stream("c1")) is None
    assert runtime.stop(5.0)
    real.close()
