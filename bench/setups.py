"""Starts the processes of a figure: the server, and for the service a database and a provider.

It also draws the requests. The measurement, the search for connections and the profiler use it.
"""

from __future__ import annotations

import random
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import servers, wire
from bench.databases import PostgresqlDatabase, SqliteDatabase, new_database
from bench.load import Load
from bench.targets import Target

EMPTY: Final = "empty"
ACCEPT: Final = "accept"
ACCEPT_HOT: Final = "accept-hot"
COMPLETE: Final = "complete"
COMPLETE_ROUTED: Final = "complete-routed"
COMPLETE_HOT: Final = "complete-hot"
FIGURES: Final = (EMPTY, ACCEPT, ACCEPT_HOT, COMPLETE, COMPLETE_ROUTED, COMPLETE_HOT)
COMPLETING: Final = frozenset({COMPLETE, COMPLETE_ROUTED, COMPLETE_HOT})

CALLBACK_SECRETS: Final = {
    "PAYMENTS_GATEWAY_A_SECRETS": f"whsec_{b64encode(b'a secret of the bench').decode()}",
    "PAYMENTS_GATEWAY_B_SECRETS": "another secret of the bench",
}
"""No callbacks are sent, but without secrets the service would log a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditions common to all measurements of a run."""

    target: Target
    seconds: float
    warm_up_s: float
    connections: Mapping[str, int]
    """Clients of each figure, each with one open request."""
    customers: int
    unfinished_max: int
    """Limit of deposits that are accepted and not completed, in the figures that count completions."""
    log_level: str = "INFO"
    routed: bool = False
    """Whether all requests of a customer go to the same worker."""


class Requests(Iterator[bytes]):
    """Deposits of customers drawn at random from a fixed set. ``first`` counts the customers drawn for the first time.

    ``part`` of ``parts``: only the customers of that part.
    """

    def __init__(self, host: str, customers: int, part: int = 0, parts: int = 1) -> None:
        self._customers = [one.encode() for one in wire.customers(customers, wire.SEED)[part::parts]]
        # Their ids have the same length, so the requests differ by the id alone.
        self._before, self._after = wire.deposit(host, self._customers[0].decode()).split(self._customers[0])
        self._draw = random.Random(wire.SEED + 1 + part).random
        self._seen = bytearray(len(self._customers))
        self.drawn = self.first = 0

    def __next__(self) -> bytes:
        number = int(self._draw() * len(self._customers))
        self.drawn += 1
        if not self._seen[number]:
            self._seen[number] = 1
            self.first += 1
        return self._before + self._customers[number] + self._after


class ServiceSetup:
    """A service with its own database, and the provider that it calls.

    ``stop`` ends the processes but not the database.
    """

    def __init__(
        self,
        service: servers.Server,
        provider: servers.ProviderProcess,
        database: SqliteDatabase | PostgresqlDatabase,
        processes: ExitStack,
    ) -> None:
        self.server, self.provider, self.database = service, provider, database
        self._processes = processes

    def stop(self) -> None:
        """Stop the processes."""
        self._processes.close()


@contextmanager
def empty_resource(conditions: Conditions) -> Iterator[servers.Server]:
    """The empty resource with the number of workers that the service has on this target."""
    with (
        tempfile.TemporaryDirectory(prefix="payments-bench-") as name,
        servers.empty_resource(Path(name), conditions.target.settings()) as server,
    ):
        yield server


@contextmanager
def service(
    figure: str, conditions: Conditions, filled: SqliteDatabase | PostgresqlDatabase | None = None
) -> Iterator[ServiceSetup]:
    """The service in the role that ``figure`` needs, on a new database or on ``filled``. Raises ServerError."""
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name, ExitStack() as stack:
        database = filled or stack.enter_context(new_database(conditions.target, Path(name)))
        processes = stack.enter_context(ExitStack())
        settings = {
            **conditions.target.settings(database.url),
            "PAYMENTS_ROLE": "all" if figure in COMPLETING else "api",
            **CALLBACK_SECRETS,
            "PAYMENTS_LOG_LEVEL": conditions.log_level,
        }
        provider = processes.enter_context(servers.provider(Path(name)))
        server = processes.enter_context(servers.service(Path(name), settings, provider.address))
        yield ServiceSetup(server, provider, database, processes)


def for_figure(figure: str, conditions: Conditions) -> Conditions:
    """The conditions with the number of customers of ``figure``, and the way of its clients."""
    if figure in {ACCEPT_HOT, COMPLETE_HOT}:
        return replace(conditions, customers=1)
    return replace(conditions, routed=True) if figure == COMPLETE_ROUTED else conditions


def figures_of(target: Target) -> tuple[str, ...]:
    """The figures that ``target`` can have. One worker serves every customer in any case."""
    return tuple(figure for figure in FIGURES if figure != COMPLETE_ROUTED or target.workers > 1)


def requests_to(server: servers.Server, conditions: Conditions) -> list[Requests]:
    """The requests to the server: one iterator for all workers, or one per worker for its own customers."""
    parts = len(server.workers) if conditions.routed else 1
    return [Requests(server.host, conditions.customers, part, parts) for part in range(parts)]


def load_of(
    setup: ServiceSetup, figure: str, requests: Sequence[Requests], connections: int, conditions: Conditions
) -> Load:
    """The clients of the service. Where completions count, they wait while too many deposits are not completed."""
    return Load(
        setup.server.address,
        connections,
        requests,
        workers=setup.server.workers,
        finished=setup.provider.answered if figure in COMPLETING else None,
        unfinished_max=conditions.unfinished_max,
    )
