"""One measurement of one figure: start its processes, warm up, load, observe, and check the result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench import machine, record, servers, setups
from bench.batches import Batch, batches_since
from bench.databases import PostgresqlDatabase, SqliteDatabase, Table, Written
from bench.load import Load, Sample
from bench.setups import COMPLETING, EMPTY, Conditions, Requests, ServiceSetup
from bench.watch import DATABASE, Watch

_NOTHING: Final = Written(0, 0)


@dataclass(frozen=True, slots=True)
class Storage:
    """Size of a PostgreSQL database after a number of deposits."""

    deposits: int
    tables: list[Table]
    """As they are."""
    packed: list[Table]
    """Without dead rows."""


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
    """Use of the same cores by everything else meanwhile."""
    worker_us: float = 0.0
    """CPU time of the service's workers per deposit, in microseconds."""
    database_us: float = 0.0
    """The same for the database server's processes; zero with SQLite, which runs in the worker."""
    worker_bytes: int = 0
    """Memory of all workers."""
    busiest: float = 1.0
    """The busiest worker's share of the connections before they were levelled out."""
    first_touches: float = 0.0
    """Share of the deposits that were their customer's first."""
    backlog: int = 0
    """Accepted and not completed when the load ended."""
    log_bytes: float = 0.0
    """Bytes that the database server wrote to its write-ahead log per deposit."""
    full_pages: float = 0.0
    """Complete pages in it per deposit."""
    completion_times: list[float] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    """Commits of the journal, if the service's log level includes them."""
    storage: Storage | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        """CPU time of workers and database server per deposit."""
        return self.worker_us + self.database_us


def measure(
    figure: str,
    conditions: Conditions,
    *,
    storage: bool = False,
    filled: SqliteDatabase | PostgresqlDatabase | None = None,
) -> Measured:
    """Measure ``figure`` once, with new processes and a new database. ``storage``: measure PostgreSQL's tables, too.

    With ``filled`` on this database, which is too large to be verified here. Raises ServerError.
    """
    conditions = setups.for_figure(figure, conditions)
    if figure == EMPTY:
        with setups.empty_resource(conditions) as server:
            return _measure_empty(server, conditions)
    with setups.service(figure, conditions, filled) as setup:
        measured = _measure_service(setup, figure, conditions, storage=storage)
        if filled is None:
            measured.problems += record.verify(setup.database)
        return measured


def _measure_empty(server: servers.Server, conditions: Conditions) -> Measured:
    requests = setups.requests_to(server, conditions)
    load = Load(server.address, conditions.connections[EMPTY], requests, workers=server.workers)
    load.run(conditions.warm_up_s)
    with Watch({"worker": server.workers, "load": [os.getpid()]}) as watch:
        sample = load.run(conditions.seconds)
    measured = Measured(EMPTY, sample.rate, sample.latencies, busiest=sample.busiest)
    measured.worker_bytes = sum(map(machine.resident_bytes, server.workers))
    _add_cpu(measured, watch, len(sample.accepted))
    measured.problems = _failures(sample)
    return measured


def _measure_service(setup: ServiceSetup, figure: str, conditions: Conditions, *, storage: bool) -> Measured:
    service, provider, database = setup.server, setup.provider, setup.database
    completing = figure in COMPLETING
    requests = setups.requests_to(service, conditions)
    load = setups.load_of(setup, figure, requests, conditions.connections[figure], conditions)
    warm = load.run(conditions.warm_up_s)
    if completing:
        record.wait_until_finished(database)
    drawn, first, answered = _drawn(requests), _first(requests), provider.answered()
    logged = service.log.stat().st_size
    short_lived, written = _of_server(setup)

    before = written()
    with Watch({"worker": service.workers, "load": [os.getpid()], "provider": [provider.pid]}, short_lived) as watch:
        sample = load.run(conditions.seconds)
        measured = Measured(figure, sample.rate, sample.latencies, busiest=sample.busiest)
        if completing:
            measured.backlog = len(sample.accepted) - (provider.answered() - answered)
            left = record.wait_until_finished(database)
            measured.rate = (len(sample.accepted) - left) / (time.perf_counter() - sample.began)
    _add_cpu(measured, watch, len(sample.accepted))
    _add_log(measured, before, written(), len(sample.accepted))
    measured.worker_bytes = sum(map(machine.resident_bytes, service.workers))
    measured.first_touches = (_first(requests) - first) / max(1, _drawn(requests) - drawn)
    measured.batches = batches_since(service.log, logged)
    measured.problems = [*_failures(warm), *_failures(sample), *_provider_problems(provider)]
    measured.problems += [f"log: {line[:300]}" for line in service.complaints()[:3]]
    setup.stop()

    accepted = [*warm.accepted, *sample.accepted]
    measured.problems += record.check_deposits(database, accepted, "completed" if completing else "pending")
    if completing:
        measured.completion_times = database.completion_times_s(sample.accepted)
    if storage and isinstance(database, PostgresqlDatabase):
        measured.storage = _storage(database, len(accepted))
    return measured


def _drawn(requests: Sequence[Requests]) -> int:
    return sum(one.drawn for one in requests)


def _first(requests: Sequence[Requests]) -> int:
    return sum(one.first for one in requests)


def _of_server(setup: ServiceSetup) -> tuple[Callable[[], list[int]] | None, Callable[[], Written]]:
    """The functions that return the database server's processes and its written log; none for SQLite."""
    database = setup.database
    if isinstance(database, PostgresqlDatabase):
        return database.server_pids, database.written
    return None, lambda: _NOTHING


def _storage(database: PostgresqlDatabase, deposits: int) -> Storage:
    tables = database.tables()
    database.pack()
    return Storage(deposits, tables, database.tables())


def _add_cpu(measured: Measured, watch: Watch, deposits: int) -> None:
    measured.worker_us = watch.used_s["worker"] / max(1, deposits) * 1_000_000
    measured.database_us = watch.used_s.get(DATABASE, 0.0) / max(1, deposits) * 1_000_000
    measured.cpu, measured.others_cpu = watch.shares()


def _add_log(measured: Measured, before: Written, after: Written, deposits: int) -> None:
    measured.log_bytes = (after.wal_bytes - before.wal_bytes) / max(1, deposits)
    measured.full_pages = (after.full_pages - before.full_pages) / max(1, deposits)


def _failures(sample: Sample) -> list[str]:
    return [f"{count} requests failed: {what}" for what, count in sample.failed.items()]


def _provider_problems(provider: servers.ProviderProcess) -> list[str]:
    answered, different = provider.counters.read()
    return [] if answered == different else [f"{answered - different} deposits were sent to the provider twice"]
