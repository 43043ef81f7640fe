"""The simulated provider's state and files, without a network: what is on disk when, and what a restart restores."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Self

import pytest

from domain.events import Kind
from domain.money import Money
from gateways.simulator.durable_lines import DurableLines
from gateways.simulator.faults import FaultInjection, Faults
from gateways.simulator.provider import Provider
from gateways.simulator.records import PaymentRequest, Record
from gateways.simulator.rows import Behaviour, TrueStatus


class HeldSync:
    """A sync that waits until ``go`` is set, at the latest at the end of its block, and counts its calls."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        self.times = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.go.set()

    def __call__(self, descriptor: int) -> None:
        """Sync when ``go`` is set."""
        self.times += 1
        self.entered.set()
        assert self.go.wait(10)
        os.fsync(descriptor)


class Recorder:
    """Records callbacks, and functions for later, which the test runs."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[str, TrueStatus, int]] = []
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Keep the function for ``run_due``."""
        self.due.append((seconds, function))

    def notify(self, record: Record, times: int, /, *, wait: bool) -> None:  # noqa: ARG002 (the port has it)
        """Record the callback."""
        self.callbacks.append((record.id, record.status, times))

    def run_due(self) -> None:
        """Run all functions that are kept."""
        due, self.due = self.due, []
        for _, function in due:
            function()


def provider(
    folder: Path, recorder: Recorder, sync: Callable[[int], None] = os.fsync, name: str = "gatewayA"
) -> Provider:
    """A provider on the files in ``folder``. A second one is the provider after a restart."""
    return Provider(
        name,
        name[-1],
        ledger=DurableLines(folder / "ledger.jsonl", sync),
        memory=DurableLines(folder / "memory.jsonl", sync),
        later=recorder.later,
        notify=recorder.notify,
    )


def deposit(minor: int = 10_000, reference: str = "r-1", key: str | None = "r-1") -> PaymentRequest:
    """A deposit request."""
    return PaymentRequest(Kind.DEPOSIT, reference, Money(minor, "USD"), key)


@pytest.mark.parametrize("minor", [10_000, 10_001, 10_003, 10_007])
def test_nothing_is_answered_before_it_is_on_disk(tmp_path: Path, minor: int) -> None:
    """During a sync neither the request, nor its repetition, nor a lookup is answered, although the line is written."""
    sync = HeldSync()
    simulated = provider(tmp_path, Recorder(), sync)
    with ThreadPoolExecutor(3) as threads, sync:
        submitted = threads.submit(simulated.submit, deposit(minor))
        assert sync.entered.wait(5)
        written = (tmp_path / "ledger.jsonl").read_bytes() + (tmp_path / "memory.jsonl").read_bytes()
        assert json.loads(written)["reference"] == "r-1"
        copied = threads.submit(simulated.submit, deposit(minor))
        assert not wait([submitted, copied], 0.2).done
        if minor != 10_007:  # a lost request leaves no record that a lookup could wait for
            assert not wait([threads.submit(simulated.lookup, "r-1", Kind.DEPOSIT)], 0.2).done
        sync.go.set()
        submitted.result(5)


def test_lines_share_syncs(tmp_path: Path) -> None:
    """Lines that arrive during a sync share the next one, in order."""
    sync = HeldSync()
    durable = DurableLines(tmp_path / "a.jsonl", sync)
    with ThreadPoolExecutor(20) as threads, sync:
        appends = [threads.submit(durable.append, b"0")]
        assert sync.entered.wait(5)
        for number in range(1, 20):
            appends.append(threads.submit(durable.append, b"%d" % number))
            while len(durable._batch.lines) < number:
                pass
        sync.go.set()
        for each in appends:
            each.result(5)
    assert sync.times == 2
    assert (tmp_path / "a.jsonl").read_bytes().split() == [b"%d" % number for number in range(20)] == durable.lines


def test_an_incomplete_last_line_is_removed(tmp_path: Path) -> None:
    """A last line without its end was never answered. The file continues after the last complete line."""
    path = tmp_path / "a.jsonl"
    for torn, kept in [(b'{"a": 1}\n{"b"', [b'{"a": 1}']), (b'{"a"', []), (b"", [])]:
        path.write_bytes(torn)
        durable = DurableLines(path)
        assert durable.lines == kept
        durable.append(b"{}")
        assert path.read_bytes().splitlines() == [*kept, b"{}"]


def test_callback_rows_settle_once(tmp_path: Path) -> None:
    """The effect of a pending request is on disk before its callback, and occurs once."""
    recorder = Recorder()
    simulated = provider(tmp_path, recorder)
    face, record = simulated.submit(deposit(10_003))
    assert record is not None
    assert (face, record.status, recorder.callbacks) == (Behaviour.ANSWER, TrueStatus.PENDING, [])
    recorder.run_due()
    assert recorder.callbacks == [("A-1", TrueStatus.SUCCESS, 1)]
    assert len((tmp_path / "ledger.jsonl").read_bytes().splitlines()) == 1
    recorder.run_due()
    assert len(recorder.callbacks) == 1


def test_two_gateways_share_the_files(tmp_path: Path) -> None:
    """Each provider reads its own lines of the shared files, and counts its own ids."""
    ledger, memory, recorder = DurableLines(tmp_path / "l"), DurableLines(tmp_path / "m"), Recorder()
    for _ in range(2):
        for name in ("gatewayA", "gatewayB"):
            simulated = Provider(
                name, name[-1], ledger=ledger, memory=memory, later=recorder.later, notify=recorder.notify
            )
            record = simulated.submit(deposit())[1]
            assert record is not None
            assert record.id == f"{name[-1]}-1"
    assert len(ledger.lines) == 2


def test_without_keys_each_request_is_an_effect(tmp_path: Path) -> None:
    """A provider without idempotency keys moves the money twice for one reference. A decline stays a decline."""
    simulated = provider(tmp_path, Recorder(), name="gatewayB")
    first_time, second_time = (simulated.submit(deposit(10_005, key=None)) for _ in range(2))
    assert first_time[0] is Behaviour.ERROR
    assert second_time[0] is Behaviour.ANSWER
    assert len((tmp_path / "ledger.jsonl").read_bytes().splitlines()) == 2
    newest = simulated.lookup("r-1", Kind.DEPOSIT)
    assert newest is second_time[1]
    for _ in range(2):
        _, record = simulated.submit(deposit(10_001, "r-2", None))
        assert record is not None
        assert (record.status, record.code) == (TrueStatus.DECLINED, "do_not_honor")


def test_faults_are_drawn_by_their_share() -> None:
    """A share of one always hits, a share of zero never, and a third depends on the draw."""
    draws = iter([0.2, 0.4])
    faults = FaultInjection(["gatewayA"], lambda: next(draws))
    assert faults.hits(0.0) is False
    assert [faults.hits(1 / 3), faults.hits(1 / 3)] == [True, False]
    assert FaultInjection(["gatewayA"]).hits(1.0)


def test_faults_of_one_gateway_leave_the_other_alone() -> None:
    """Faults apply to the gateway that they name, or to all gateways."""
    faults = FaultInjection(["gatewayA", "gatewayB"])
    faults.update({"gateway": "gatewayA", "error": 0.5})
    faults.update({"latency_s": 1})
    assert faults.of("gatewayA") == Faults(error=0.5, latency_s=1.0)
    assert faults.of("gatewayB") == Faults(latency_s=1.0)
    faults.update({"gateway": "gatewayA"})
    assert faults.of("gatewayA") == Faults()
    assert faults.of("gatewayB") == Faults(latency_s=1.0)
