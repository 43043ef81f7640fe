"""The report lists the measurements by target."""

from __future__ import annotations

from dataclasses import replace

from bench import report
from bench.batches import Batch
from bench.contention import Contention
from bench.databases import Table
from bench.many import Many
from bench.measure import Measured, Storage
from bench.memory import Memory
from bench.peers import HAND_WRITTEN, OURS, Beside
from bench.report import Extras, Outcome
from bench.setups import ACCEPT, COMPLETE, EMPTY, Conditions
from bench.targets import SQLITE, Target

CONDITIONS = Conditions(
    target=SQLITE,
    seconds=5,
    warm_up_s=1,
    connections={EMPTY: 16, ACCEPT: 64},
    customers=100,
    unfinished_max=256,
)
POSTGRESQL = replace(CONDITIONS, target=Target(2, "postgresql://server/postgres"))


def _measured(figure: str, rate: float, *problems: str) -> Measured:
    cpu = {"worker": 0.9, "load": 0.1, "provider": 0.0}
    return Measured(figure, rate, [0.001, 0.002], cpu, worker_us=300.0, problems=list(problems))


def _on_postgresql(figure: str, rate: float) -> Measured:
    measured = _measured(figure, rate)
    measured.cpu = {**measured.cpu, "database": 0.4}
    measured.database_us, measured.log_bytes, measured.busiest = 300.0, 4321.0, 0.75
    return measured


def test_the_section_of_a_target() -> None:
    """The section of a target has its conditions, ratios with their spread, and server figures only with a server."""
    rounds = {
        EMPTY: [_measured(EMPTY, rate) for rate in (4000.0, 4000.0, 4000.0)],
        ACCEPT: [_measured(ACCEPT, 2000.0), _measured(ACCEPT, 2400.0)],
    }
    page = report.render({"machine": "two cores"}, [Outcome(CONDITIONS, rounds)])
    assert "- machine: two cores\n" in page
    assert "## SQLite, 1 worker\n" in page
    assert "- connections: 16 for empty Falcon resource; 64 for accepted, many customers\n" in page
    assert (
        "| accepted, many customers | 0.55 (0.50..0.60) | 1.00 (1.00..1.00) | 2,200 (2,000..2,400) | 1.0 / 2.0 |"
        in page
    )
    assert "distribution of connections" not in page
    assert "| PostgreSQL |" not in page
    assert "Disturbed" not in page


def test_a_server() -> None:
    """With a server, its CPU time is in the ratio and in a column; the share of each worker is reported."""
    rounds = {
        EMPTY: [_measured(EMPTY, 4000.0)] * 2,
        ACCEPT: [_on_postgresql(ACCEPT, 2000.0)],
    }
    page = report.render({}, [Outcome(CONDITIONS), Outcome(POSTGRESQL, rounds)])
    assert page.index("## SQLite, 1 worker\n") < page.index("## PostgreSQL, 2 workers\n")
    assert "before this the busiest had 100% of them (75%..100%)\n" in page
    assert "| accepted, many customers | 0.50 | 0.50 | 2,000 |" in page
    assert "| accepted, many customers | 300 | 300 | 0.90 | 0.40 | 0.10 |  | 0.00 | 0 | 4,321 | 0% |  |" in page
    assert "| empty Falcon resource | 300 (300..300) |  | 0.90 |  | 0.10 |" in page


def test_conflicts_commits_and_storage() -> None:
    """Shares refer to all writes of all runs, and storage is divided by the number of stored deposits."""
    first, second = _on_postgresql(COMPLETE, 100.0), _on_postgresql(COMPLETE, 300.0)
    first.batches = [Batch(1, 1, 0, 5.0), Batch(6, 3, 3, 20.0)]
    second.batches = [Batch(1, 1, 0, 6.0)]
    first.storage = Storage(
        10,
        [Table("events", 30, 6000, 600), Table("claims", 0, 0, 90)],
        [Table("events", 30, 5000, 500), Table("claims", 0, 0, 90)],
    )
    rows = [
        Contention(COMPLETE, 1000, runs=[first, second]),
        Contention(ACCEPT, 10, routed=True, runs=[_on_postgresql(ACCEPT, 1.0)]),
    ]
    page = report.render({}, [Outcome(POSTGRESQL, contention=rows)])
    assert "| completed | 1,000 | any worker | 37.5% | 2.00 | 200 (100..300) | 300 | 300 |\n" in page
    assert "| completed | 1,000 | any worker | 1 | 6 | 6 | 6.0 | 20.0 | 3 |\n" in page
    assert "| accepted | 10 | one worker | 0.0% | 0.00 | 1 | 300 | 300 |\n" in page
    assert "After 10 deposits:\n" in page
    assert "| events | 3.00 | 600 | 60 | 500 | 50 |\n" in page
    assert "| claims |" not in page
    assert "| all tables |  | 600 | 69 | 500 | 59 |\n" in page
    assert "### Figures" not in page


def test_disturbance() -> None:
    """The page warns if and only if other processes used CPU time during a measurement."""
    quiet, busy = _measured(ACCEPT, 1.0), _on_postgresql(ACCEPT, 1.0)
    busy.others_cpu = 0.5
    outcomes = [
        Outcome(CONDITIONS, {ACCEPT: [quiet]}),
        Outcome(POSTGRESQL, contention=[Contention(ACCEPT, 10, runs=[busy])]),
    ]
    assert "used up to 0.50 cores" in report.render({}, outcomes)
    assert "used up to" not in report.render({}, outcomes[:1])


def test_one_number_of_connections() -> None:
    """When all figures had the same number of connections, the page states it once."""
    alike = replace(CONDITIONS, connections={EMPTY: 32, ACCEPT: 32})
    assert "- connections: 32\n" in report.render({}, [Outcome(alike)])


def test_problems() -> None:
    """A problem is reported with its target, figure and round."""
    outcomes = [
        Outcome(CONDITIONS, {EMPTY: [_measured(EMPTY, 1.0)], ACCEPT: [_measured(ACCEPT, 1.0, "3 are lost")]}),
        Outcome(
            POSTGRESQL,
            contention=[Contention(COMPLETE, 10, runs=[_measured(COMPLETE, 1.0), _measured(COMPLETE, 1.0, "late")])],
        ),
    ]
    assert report.problems(outcomes) == [
        "SQLite, 1 worker: accept, round 1: 3 are lost",
        "PostgreSQL, 2 workers: complete with 10 customers, round 2: late",
    ]


def test_extras() -> None:
    """The marks come first; the memory and the hand-written service have sections when they were measured."""
    results = [{"peer": name, "end_to_end": 100.0, "cpu_ms": 1.0} for name in (OURS, HAND_WRITTEN)]
    extras = Extras(Memory(1000, 50_000_000, 70_000_000), [Beside(2, results)])
    page = report.render({}, [Outcome(CONDITIONS)], extras, "| the marks |")
    assert page.index("## Marks\n\n| the marks |\n") < page.index("## SQLite, 1 worker\n")
    assert "| 2 | 1.00 | 100 | 100 | 1.00 | 1.00 |\n" in page
    assert "takes 50 MB, and 70 MB after 1,000 customers stored a deposit each (20.0 kB for each)" in page
    failed = Extras(Memory(1000, problem="memory: killed"), [Beside(2, [{"peer": OURS, "error": "no answer"}])])
    page = report.render({}, [Outcome(CONDITIONS)], failed)
    assert "## Memory" not in page
    assert "## Hand-written service" not in page
    assert failed.problems == ["ours with 2 workers: ours: no answer", "memory: killed"]


def test_many_customers() -> None:
    """The page of many customers has the ratios of the rounds, by rate and by CPU time."""
    empty, filled = _measured(ACCEPT, 1000.0), _measured(ACCEPT, 900.0)
    filled.worker_us = 400.0
    conditions = replace(CONDITIONS, customers=50)
    rows = [Many(conditions, ACCEPT, 300, empty=[empty] * 2, filled=[filled])]
    page = report.render_many({"machine": "two cores"}, rows, "| the marks |")
    assert "- machine: two cores\n" in page
    assert "- SQLite, 1 worker: 50 customers, 300 events; connections" in page
    assert "| SQLite, 1 worker | accepted | 0.90 | 0.75 | 900 | 1,000 (1,000..1,000) | 400 | 300 (300..300) |\n" in page
