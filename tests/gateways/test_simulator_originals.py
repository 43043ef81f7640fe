"""Holds and their ends at the simulated provider, without a network: what is on disk, and what a restart restores."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from domain.events import Kind
from domain.money import Money
from gateways.simulator.durable_lines import DurableLines
from gateways.simulator.provider import Provider
from gateways.simulator.records import PaymentRequest, Record
from gateways.simulator.rows import Behaviour, TrueStatus
from tests.gateways.test_simulator_provider import HeldSync, Recorder, provider


@dataclass
class Life:
    """A provider on its files, which may restart."""

    folder: Path
    recorder: Recorder = field(default_factory=Recorder)
    numbers: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin again with what is on disk. What was due is lost with the process."""
        self.recorder = Recorder()
        self.simulated: Provider = provider(self.folder, self.recorder)

    def send(self, kind: Kind, minor: int = 10_000, original: str | None = None, *, hold: bool = False) -> Record:
        """Send a request of its own reference, and return the record."""
        self.numbers += 1
        reference = f"r-{self.numbers}"
        request = PaymentRequest(kind, reference, Money(minor, "USD"), reference, hold, original)
        record = self.simulated.submit(request)[1]
        assert record is not None
        return record

    def status(self, record: Record) -> TrueStatus:
        """The present status of a record, also after a restart."""
        found = self.simulated.lookup(record.request.reference, record.request.kind)
        assert found is not None
        assert found.id == record.id
        return found.status

    def ledger(self) -> list[tuple[str, str]]:
        """Kinds and ids of the effects on disk."""
        lines = (self.folder / "ledger.jsonl").read_bytes().splitlines()
        return [(line["kind"], line["id"]) for line in map(json.loads, lines)]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A new provider."""
    return Life(tmp_path)


HELD, DONE, GONE = TrueStatus.AUTHORIZED, TrueStatus.SUCCESS, TrueStatus.CANCELLED


@pytest.mark.parametrize("restarts", [False, True])
def test_a_capture_and_a_void_survive(life: Life, *, restarts: bool) -> None:
    """Each hold has its end, whether or not the provider restarted in between, and no second one."""
    captured, voided, open_one = (life.send(Kind.DEPOSIT, hold=True) for _ in range(3))
    if restarts:
        life.restart()
    assert life.status(captured) is life.status(voided) is HELD
    capture = life.send(Kind.CAPTURE, 4000, captured.id)
    void = life.send(Kind.VOID, 10_000, voided.id)
    if restarts:
        life.restart()
    assert [life.status(each) for each in (captured, voided, open_one, capture, void)] == [DONE, GONE, HELD, DONE, DONE]
    for original in (captured, voided):
        assert life.send(Kind.VOID, 10_000, original.id).code == "duplicate_transaction"
    assert life.send(Kind.REFUND, 4020, captured.id).code == "amount_too_large"
    assert life.status(life.send(Kind.REFUND, 4000, captured.id)) is DONE
    kinds = [kind for kind, _ in life.ledger()]
    assert kinds == ["authorization"] * 3 + ["capture", "void", "refund"]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_pending_child_keeps_what_it_reserved(life: Life, *, restarts: bool) -> None:
    """Until its end no other request gets it. After a decline it is free again, also after a restart."""
    deposit, hold = life.send(Kind.DEPOSIT), life.send(Kind.DEPOSIT, hold=True)
    refund = life.send(Kind.REFUND, 9004, deposit.id)
    capture = life.send(Kind.CAPTURE, 9004, hold.id)
    if restarts:
        life.restart()
    assert life.send(Kind.REFUND, 1000, deposit.id).code == "amount_too_large"
    assert life.send(Kind.VOID, 10_000, hold.id).code == "duplicate_transaction"
    life.recorder.run_due()
    assert life.status(refund) is life.status(capture) is TrueStatus.DECLINED
    if restarts:
        life.restart()
    assert life.status(life.send(Kind.REFUND, 10_000, deposit.id)) is DONE
    assert life.status(life.send(Kind.VOID, 10_000, hold.id)) is DONE
    assert life.status(hold) is GONE


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_15_is_cancelled_once(life: Life, restarts: int) -> None:
    """A hold that the provider cancels is cancelled after a restart too, and stays so; the ledger keeps the hold."""
    hold = life.send(Kind.DEPOSIT, 10_015, hold=True)
    assert life.status(hold) is HELD
    for _ in range(restarts):
        life.restart()
        assert life.status(hold) is HELD
    life.recorder.run_due()
    assert life.recorder.callbacks == [(hold.id, GONE, 1)]
    life.restart()
    assert life.recorder.due == []
    assert life.status(hold) is GONE
    assert life.send(Kind.CAPTURE, 10_000, hold.id).code == "authorization_cancelled"
    assert life.ledger() == [("authorization", hold.id)]


@pytest.mark.parametrize("restarts", [False, True])
def test_15_that_was_captured_is_not_cancelled(life: Life, *, restarts: bool) -> None:
    """The capture came first."""
    hold = life.send(Kind.DEPOSIT, 10_015, hold=True)
    life.send(Kind.CAPTURE, 10_000, hold.id)
    if restarts:
        life.restart()
    life.recorder.run_due()
    assert life.recorder.callbacks == []
    assert life.status(hold) is DONE


def test_a_hold_without_its_line_was_never_answered(life: Life) -> None:
    """A death between the record of the cancellation to come and the hold itself leaves no hold."""
    life.send(Kind.DEPOSIT, 10_015, hold=True)
    (life.folder / "ledger.jsonl").write_bytes(b"")
    life.restart()
    life.recorder.run_due()
    assert life.ledger() == []
    found = life.simulated.lookup("r-1", Kind.DEPOSIT)
    assert found is not None
    assert found.status is GONE


def test_a_callback_keeps_its_status(life: Life) -> None:
    """A callback that is sent again later reports what it reported first, also if the hold was captured meanwhile."""
    told: list[Record] = []
    life.simulated._notify = lambda record, _times, wait: told.append(record)  # noqa: ARG005
    hold = life.send(Kind.DEPOSIT, 10_003, hold=True)
    life.recorder.run_due()
    life.send(Kind.CAPTURE, 10_000, hold.id)
    assert (life.status(hold), told[0].status) == (DONE, HELD)


@pytest.mark.parametrize("kind", [Kind.REFUND, Kind.CAPTURE, Kind.VOID])
def test_a_declined_repetition_does_not_hide_the_effect(tmp_path: Path, kind: Kind) -> None:
    """Without keys the same reference may be sent twice. A lookup finds the effect, not the decline of the second."""
    recorder, ledger, memory = (
        Recorder(),
        DurableLines(tmp_path / "l"),
        DurableLines(tmp_path / "m"),
    )
    make: Callable[[], Provider] = lambda: Provider(  # noqa: E731
        "gatewayB", "B", ledger=ledger, memory=memory, later=recorder.later, notify=recorder.notify
    )
    simulated = make()
    deposit = PaymentRequest(Kind.DEPOSIT, "r-1", Money(10_000, "USD"), None, kind is not Kind.REFUND)
    simulated.submit(deposit)
    child = PaymentRequest(kind, "r-2", Money(10_000, "USD"), None, original="B-1")
    (_, first), (_, second) = simulated.submit(child), simulated.submit(child)
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (DONE, TrueStatus.DECLINED)
    for each in (simulated, make()):
        found = each.lookup("r-2", kind)
        assert found is not None
        assert found.id == first.id


@pytest.mark.parametrize("kind", [Kind.REFUND, Kind.CAPTURE, Kind.VOID])
def test_a_child_is_not_answered_before_it_is_on_disk(life: Life, kind: Kind) -> None:
    """What it does to its original is visible only then."""
    original = life.send(Kind.DEPOSIT, hold=kind is not Kind.REFUND)
    before = life.status(original)
    with HeldSync() as sync:
        life.simulated._ledger._sync = sync
        with ThreadPoolExecutor(1) as threads, sync:
            sent = threads.submit(life.send, kind, 10_000, original.id)
            assert sync.entered.wait(5)
            assert not wait([sent], 0.2).done
            assert life.status(original) is before
            assert life.send(kind, 10_000, original.id).status is TrueStatus.DECLINED
            sync.go.set()
            assert sent.result(5).status is DONE


def test_a_lost_child_reserves_nothing(life: Life) -> None:
    """A request that never arrived leaves the hold as it was."""
    hold = life.send(Kind.DEPOSIT, hold=True)
    request = PaymentRequest(Kind.CAPTURE, "lost", Money(5008, "USD"), "lost", original=hold.id)
    assert life.simulated.submit(request) == (Behaviour.UNAVAILABLE, None)
    assert life.status(life.send(Kind.VOID, 10_000, hold.id)) is DONE
