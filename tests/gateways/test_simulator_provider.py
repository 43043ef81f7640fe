"""The simulated provider's mind and its journal, without a network: what is on disk when, and what comes back."""

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
from gateways.simulator.provider import PaymentRequest, Provider, Record
from gateways.simulator.rows import Behaviour, TrueStatus


class Held:
    """A sync that waits until it is let go, at the latest at the end of its block, and counts."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        self.times = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.go.set()

    def __call__(self, descriptor: int) -> None:
        """Sync, once let go."""
        self.times += 1
        self.entered.set()
        assert self.go.wait(10)
        os.fsync(descriptor)


class Told:
    """Remembers callbacks and what is to be done later, which the test then does."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[str, TrueStatus, int]] = []
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Put off until ``happen``."""
        self.due.append((seconds, function))

    def notify(self, record: Record, times: int, /, *, wait: bool) -> None:  # noqa: ARG002 (the port has it)
        """Write the callback down."""
        self.callbacks.append((record.id, record.status, times))

    def happen(self) -> None:
        """Do all that is due."""
        due, self.due = self.due, []
        for _, function in due:
            function()


def provider(folder: Path, told: Told, sync: Callable[[int], None] = os.fsync, name: str = "gatewayA") -> Provider:
    """A provider on the journals in ``folder``; made again, it is the provider after a restart."""
    return Provider(
        name,
        name[-1],
        ledger=DurableLines(folder / "ledger.jsonl", sync),
        memory=DurableLines(folder / "memory.jsonl", sync),
        later=told.later,
        notify=told.notify,
    )


def asked(minor: int = 10_000, reference: str = "r-1", key: str | None = "r-1") -> PaymentRequest:
    """A deposit."""
    return PaymentRequest(Kind.DEPOSIT, reference, Money(minor, "USD"), key)


@pytest.mark.parametrize("minor", [10_000, 10_001, 10_003, 10_007])
def test_nothing_is_said_before_it_is_on_disk(tmp_path: Path, minor: int) -> None:
    """While the sync runs neither the request, nor a copy of it, nor a lookup has an answer; the line is written."""
    held = Held()
    mind = provider(tmp_path, Told(), held)
    with ThreadPoolExecutor(3) as threads, held:
        submitted = threads.submit(mind.submit, asked(minor))
        assert held.entered.wait(5)
        written = (tmp_path / "ledger.jsonl").read_bytes() + (tmp_path / "memory.jsonl").read_bytes()
        assert json.loads(written)["reference"] == "r-1"
        copied = threads.submit(mind.submit, asked(minor))
        assert not wait([submitted, copied], 0.2).done
        if minor != 10_007:  # a request that is lost leaves nothing that a lookup could wait for
            assert not wait([threads.submit(mind.lookup, "r-1", Kind.DEPOSIT)], 0.2).done
        held.go.set()
        submitted.result(5)


def test_lines_share_syncs(tmp_path: Path) -> None:
    """What arrives while a sync runs goes to disk with the next one, all at once, in order."""
    held = Held()
    journal = DurableLines(tmp_path / "a.jsonl", held)
    with ThreadPoolExecutor(20) as threads, held:
        appends = [threads.submit(journal.append, b"0")]
        assert held.entered.wait(5)
        for number in range(1, 20):
            appends.append(threads.submit(journal.append, b"%d" % number))
            while len(journal._batch.lines) < number:
                pass
        held.go.set()
        for each in appends:
            each.result(5)
    assert held.times == 2
    assert (tmp_path / "a.jsonl").read_bytes().split() == [b"%d" % number for number in range(20)] == journal.lines


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    """A last line without its end was never answered for; the file goes on after the last whole one."""
    path = tmp_path / "a.jsonl"
    for torn, kept in [(b'{"a": 1}\n{"b"', [b'{"a": 1}']), (b'{"a"', []), (b"", [])]:
        path.write_bytes(torn)
        journal = DurableLines(path)
        assert journal.lines == kept
        journal.append(b"{}")
        assert path.read_bytes().splitlines() == [*kept, b"{}"]


def test_callback_rows_settle_once(tmp_path: Path) -> None:
    """The effect of a pending request is on disk before anybody is told of it."""
    told = Told()
    mind = provider(tmp_path, told)
    face, record = mind.submit(asked(10_003))
    assert record is not None
    assert (face, record.status, told.callbacks) == (Behaviour.ANSWER, TrueStatus.PENDING, [])
    told.happen()
    assert told.callbacks == [("A-1", TrueStatus.SUCCESS, 1)]
    assert len((tmp_path / "ledger.jsonl").read_bytes().splitlines()) == 1
    told.happen()
    assert len(told.callbacks) == 1


def test_two_gateways_share_the_files(tmp_path: Path) -> None:
    """Each provider remembers its own lines of the shared files, and counts its own ids."""
    ledger, memory, told = DurableLines(tmp_path / "l"), DurableLines(tmp_path / "m"), Told()
    for _ in range(2):
        for name in ("gatewayA", "gatewayB"):
            mind = Provider(name, name[-1], ledger=ledger, memory=memory, later=told.later, notify=told.notify)
            record = mind.submit(asked())[1]
            assert record is not None
            assert record.id == f"{name[-1]}-1"
    assert len(ledger.lines) == 2


def test_without_keys_each_request_is_an_effect(tmp_path: Path) -> None:
    """A provider that knows no keys moves the money twice for the same reference; a decline stays a decline."""
    mind = provider(tmp_path, Told(), name="gatewayB")
    first_time, second_time = (mind.submit(asked(10_005, key=None)) for _ in range(2))
    assert first_time[0] is Behaviour.ERROR
    assert second_time[0] is Behaviour.ANSWER
    assert len((tmp_path / "ledger.jsonl").read_bytes().splitlines()) == 2
    newest = mind.lookup("r-1", Kind.DEPOSIT)
    assert newest is second_time[1]
    for _ in range(2):
        _, record = mind.submit(asked(10_001, "r-2", None))
        assert record is not None
        assert (record.status, record.code) == (TrueStatus.DECLINED, "do_not_honor")


def test_faults_are_drawn_by_their_share() -> None:
    """A share of one hits always, of nothing never, of a third when the draw says so."""
    draws = iter([0.2, 0.4])
    faults = FaultInjection(["gatewayA"], lambda: next(draws))
    assert faults.hits(0.0) is False
    assert [faults.hits(1 / 3), faults.hits(1 / 3)] == [True, False]
    assert FaultInjection(["gatewayA"]).hits(1.0)


def test_faults_of_one_gateway_leave_the_other_alone() -> None:
    """An order may name its gateway; an order without one is for all."""
    faults = FaultInjection(["gatewayA", "gatewayB"])
    faults.update({"gateway": "gatewayA", "error": 0.5})
    faults.update({"latency_s": 1})
    assert faults.of("gatewayA") == Faults(error=0.5, latency_s=1.0)
    assert faults.of("gatewayB") == Faults(latency_s=1.0)
    faults.update({"gateway": "gatewayA"})
    assert faults.of("gatewayA") == Faults()
    assert faults.of("gatewayB") == Faults(latency_s=1.0)
