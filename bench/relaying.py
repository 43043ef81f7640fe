"""The cost of publishing: a relay publishes the events of completed deposits, and is compared with completing them.

The deposits are completed by a service without a broker. The service then starts again on the same database, as a
relay where the store permits the role, and publishes everything from the first event.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import record, servers
from bench.brokers import KEPT_MAX, Broker, Inbox
from bench.databases import PostgresqlDatabase, SqliteDatabase, new_database
from bench.figures import Spread
from bench.history import EVENTS_EACH
from bench.measure import Measured, measure
from bench.setups import CALLBACK_SECRETS, COMPLETE, Conditions
from bench.targets import Target
from bench.watch import DATABASE, Watch

_RELAY: Final = "relay"
_NO_PROVIDER: Final = ("127.0.0.1", 9)
"""The discard port: a relay calls no provider."""


@dataclass(slots=True)
class Relayed:
    """The publication of a database's events. CPU times are per deposit, in microseconds."""

    deposits: float
    """Published while the time was measured."""
    rate: float
    """Events per second."""
    relay_us: float
    database_us: float
    """Of the database server's processes; zero with SQLite, which runs in the relay's process."""
    problems: list[str] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        """CPU time of relay and database server."""
        return self.relay_us + self.database_us


@dataclass(slots=True)
class Relaying:
    """The publication to one broker, by rounds, with the completion of the same deposits."""

    broker: str
    completed: list[Measured] = field(default_factory=list)
    relayed: list[Relayed] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """CPU of publishing ÷ CPU of completing, of each round."""
        pairs = zip(self.relayed, self.completed, strict=True)
        return [relayed.cpu_us / max(1.0, completed.cpu_us) for relayed, completed in pairs]

    @property
    def ratio(self) -> float:
        """The median."""
        return Spread.of(self.ratios).median


def relaying(
    conditions: Conditions, brokers: Sequence[Broker], rounds: int, say: Callable[[str], None]
) -> list[Relaying]:
    """Measure ``rounds`` times on new databases; every broker gets the events of each. Raises ServerError."""
    rows = [Relaying(broker.name) for broker in brokers]
    for _ in range(rounds if rows else 0):
        with (
            tempfile.TemporaryDirectory(prefix="payments-bench-") as name,
            new_database(conditions.target, Path(name)) as database,
        ):
            completed = measure(COMPLETE, conditions, filled=database)
            say(f"  {COMPLETE:13} {completed.rate:7,.0f}/s {completed.cpu_us:6,.0f} us of CPU each")
            for row, broker in zip(rows, brokers, strict=True):
                if row is not rows[0]:
                    _rewind(database)
                relayed = _relay(database, conditions.target, broker)
                row.completed.append(completed)
                row.relayed.append(relayed)
                say(
                    f"  {broker.name:13} {relayed.rate:7,.0f} events/s {relayed.cpu_us:6,.0f} us of CPU each deposit,"
                    f" {row.ratios[-1]:.2f} of completing it"
                    + (f", {len(relayed.problems)} problems" if relayed.problems else "")
                )
            completed.problems += record.verify(database)
    return rows


def _relay(database: SqliteDatabase | PostgresqlDatabase, target: Target, broker: Broker) -> Relayed:
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name, broker.inbox(Path(name)) as inbox:
        events = database.unpublished()
        settings = {
            **target.settings(database.url),
            "PAYMENTS_WORKERS": "1",
            "PAYMENTS_ROLE": "relay" if target.server_url else "all",
            "PAYMENTS_BROKER_URL": inbox.url,
            "PAYMENTS_PUBLIC_URL": "https://payments.example.com",  # without it a relay logs a warning
            **CALLBACK_SECRETS,
        }
        with servers.service(Path(name), settings, _NO_PROVIDER) as service:
            relayed = _observe(database, service)
            relayed.problems += [f"log: {line[:300]}" for line in service.complaints()[:3]]
        relayed.problems += _missing(inbox, events)
        return relayed


def _observe(database: SqliteDatabase | PostgresqlDatabase, service: servers.Server) -> Relayed:
    """Watch the relay until everything is published. What it published before it was ready is not counted."""
    short_lived = database.server_pids if isinstance(database, PostgresqlDatabase) else None
    with Watch({_RELAY: service.workers}, short_lived) as watch:
        began, before = time.perf_counter(), database.unpublished()
        left = record.wait_until_published(database)
        took_s = time.perf_counter() - began
    events = before - left
    deposits = events / EVENTS_EACH
    used_us = {name: used_s / max(1.0, deposits) * 1_000_000 for name, used_s in watch.used_s.items()}
    problems = [f"{left} events are not published"] if left else []
    if before == 0:
        problems.append("everything was published before the measurement began: measure for more seconds")
    return Relayed(deposits, events / took_s, used_us[_RELAY], used_us.get(DATABASE, 0.0), problems)


def _missing(inbox: Inbox, events: int) -> list[str]:
    expected, arrived = min(events, KEPT_MAX), inbox.arrived()
    return [f"{arrived} of {expected} messages are at the broker"] if arrived < expected else []


def _rewind(database: SqliteDatabase | PostgresqlDatabase) -> None:
    """Let the next relay begin before the first event. Raises ServerError."""
    done = subprocess.run(
        [sys.executable, "manage.py", "relay", "rewind", "0", "--reason", "benchmark"],
        cwd=servers.CHECKOUT,
        env=servers.clean_environ({"PAYMENTS_DATABASE_URL": database.url}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise servers.ServerError(f"the relay cannot be rewound: {done.stdout}{done.stderr}")
