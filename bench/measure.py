"""One measurement of one figure: start what it needs, warm it up, load it, watch it, and check what it left behind."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench import machine, record, servers, wire
from bench.load import Load, Sample

EMPTY: Final = "empty"
ACCEPT: Final = "accept"
ACCEPT_HOT: Final = "accept-hot"
COMPLETE: Final = "complete"
COMPLETE_HOT: Final = "complete-hot"
FIGURES: Final = (EMPTY, ACCEPT, ACCEPT_HOT, COMPLETE, COMPLETE_HOT)
COMPLETING: Final = frozenset({COMPLETE, COMPLETE_HOT})

_SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What is the same in all measurements of a run."""

    seconds: float
    warm_up_s: float
    connections: Mapping[str, int]
    """Clients of each figure, each with one request under way."""
    customers: int
    unfinished_max: int
    """Deposits that may be accepted and not completed, in the figures that count completions."""


@dataclass(slots=True)
class Measured:
    """One figure, measured once. Shares of CPU are in cores; times are in seconds."""

    figure: str
    rate: float
    """202s per second, or completions per second until the last one."""
    latencies: list[float]
    """From a request to its 202."""
    cpu: Mapping[str, float] = field(default_factory=dict)
    others_cpu: float = 0.0
    """What everything else on these cores used meanwhile."""
    worker_us: float = 0.0
    """CPU time of the service's worker for one deposit, in microseconds."""
    worker_bytes: int = 0
    first_touches: float = 0.0
    """Share of the deposits whose customer had none before."""
    backlog: int = 0
    """Accepted and not completed when the load ended."""
    completion_times: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Requests(Iterator[bytes]):
    """Deposits of customers drawn at random from a fixed set; counts whom it meets for the first time."""

    def __init__(self, host: str, customers: int) -> None:
        self._requests = [wire.deposit(host, customer) for customer in wire.customers(customers, _SEED)]
        self._draw = random.Random(_SEED + 1).random
        self._seen = bytearray(customers)
        self.drawn = self.first = 0

    def __next__(self) -> bytes:
        number = int(self._draw() * len(self._requests))
        self.drawn += 1
        if not self._seen[number]:
            self._seen[number] = 1
            self.first += 1
        return self._requests[number]


class _Watch:
    """The CPU time of some processes, and of everything else, between its making and ``shares``."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._began = time.perf_counter()
        self._before = {name: machine.cpu_s(pid) for name, pid in pids.items()}
        self._busy_before = machine.busy_s()

    def used_s(self) -> dict[str, float]:
        """Seconds of CPU time of each process so far."""
        return {name: machine.cpu_s(pid) - self._before[name] for name, pid in self._pids.items()}

    def shares(self) -> tuple[dict[str, float], float]:
        """Cores that each process used, and those that others did."""
        passed_s = time.perf_counter() - self._began
        used = self.used_s()
        others = machine.busy_s() - self._busy_before - sum(used.values())
        return {name: seconds / passed_s for name, seconds in used.items()}, max(0.0, others / passed_s)


def for_figure(figure: str, conditions: Conditions) -> Conditions:
    """The conditions with as many customers as ``figure`` is about."""
    return replace(conditions, customers=1) if figure in {ACCEPT_HOT, COMPLETE_HOT} else conditions


def measure(figure: str, conditions: Conditions) -> Measured:
    """Measure ``figure`` once, on processes and a database made for it. Raises ServerError."""
    conditions = for_figure(figure, conditions)
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name:
        folder = Path(name)
        if figure == EMPTY:
            return _measure_empty(folder, conditions)
        return _measure_service(folder, figure, conditions, completing=figure in COMPLETING)


def _measure_empty(folder: Path, conditions: Conditions) -> Measured:
    with servers.empty_resource(folder) as server:
        requests = Requests(server.host, conditions.customers)
        load = Load(server.address, conditions.connections[EMPTY], requests)
        load.run(conditions.warm_up_s)
        watch = _Watch({"worker": server.worker, "load": os.getpid()})
        sample = load.run(conditions.seconds)
        measured = Measured(EMPTY, sample.rate, sample.latencies, worker_bytes=machine.resident_bytes(server.worker))
        _add_cpu(measured, watch, len(sample.accepted))
        measured.problems = _failures(sample)
        return measured


def _measure_service(folder: Path, figure: str, conditions: Conditions, *, completing: bool) -> Measured:
    with ExitStack() as stack:
        provider = stack.enter_context(servers.provider(folder))
        service = stack.enter_context(servers.service(folder, "all" if completing else "api", provider.address))
        requests = Requests(service.host, conditions.customers)
        load = Load(
            service.address,
            conditions.connections[figure],
            requests,
            finished=provider.answered if completing else None,
            unfinished_max=conditions.unfinished_max,
        )
        warm = load.run(conditions.warm_up_s)
        if completing:
            record.wait_until_finished(folder)
        drawn, first, answered = requests.drawn, requests.first, provider.answered()

        watch = _Watch({"worker": service.worker, "load": os.getpid(), "provider": provider.pid})
        sample = load.run(conditions.seconds)
        measured = Measured(figure, sample.rate, sample.latencies)
        if completing:
            measured.backlog = len(sample.accepted) - (provider.answered() - answered)
            left = record.wait_until_finished(folder)
            measured.rate = (len(sample.accepted) - left) / (time.perf_counter() - sample.began)
        _add_cpu(measured, watch, len(sample.accepted))
        measured.worker_bytes = machine.resident_bytes(service.worker)
        measured.first_touches = (requests.first - first) / max(1, requests.drawn - drawn)

        measured.problems = [*_failures(warm), *_failures(sample), *_provider_problems(provider)]
        if service.complaints():
            measured.problems += [f"log: {line[:300]}" for line in service.complaints()[:3]]
    accepted = [*warm.accepted, *sample.accepted]
    measured.problems += record.check_deposits(folder, accepted, "completed" if completing else "pending")
    measured.problems += record.verify(folder)
    if completing:
        measured.completion_times = record.completion_times_s(folder, sample.accepted)
    return measured


def _add_cpu(measured: Measured, watch: _Watch, deposits: int) -> None:
    measured.worker_us = watch.used_s()["worker"] / max(1, deposits) * 1_000_000
    measured.cpu, measured.others_cpu = watch.shares()


def _failures(sample: Sample) -> list[str]:
    return [f"{count} requests failed: {what}" for what, count in sample.failed.items()]


def _provider_problems(provider: servers.ProviderProcess) -> list[str]:
    answered, different = provider.counters.read()
    return [] if answered == different else [f"{answered - different} deposits were sent to the provider twice"]
