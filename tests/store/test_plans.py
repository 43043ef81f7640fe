"""No list of the API reads many rows that its filters exclude: checked by the plan and by the rows read.

On 20,000 transactions in unfavourable shares, as docs/queries.md describes for a million (tests/store/million.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import apsw
import pytest

from domain.account import Status
from domain.events import Kind
from store.port import GATEWAYS, Load, StreamKey
from store.postgresql import reads as postgresql_reads
from store.postgresql import relays as postgresql_relays
from store.postgresql.sessions import Session
from store.queries import TransactionFilter
from store.sqlite import reads as sqlite_reads
from store.sqlite import relays as sqlite_relays
from store.sqlite.migrate import migrate
from store.sqlite.rows import to_us
from tests.store.filling import Shape, fill_postgresql, fill_sqlite
from tests.store.million import PAGE, questions
from tests.store.plans import PostgresqlReader, Reading, SqliteReader
from tests.store.postgresql_server import Schema, new_schema

SHAPE: Final = Shape(20_000)
ROWS_MOST: Final = 6_000
"""The largest number of rows of one list on PostgreSQL.

It is a page for each of five statuses, three kinds and three gateways, and the rows of four minutes.
"""
PAGES_MOST: Final = 1_300
PAGES_OF_EVENTS_MOST: Final = 100
"""The largest number of pages where a function of PostgreSQL reads the rows: only pages show what it read."""
STEPS_MOST: Final = 60_000
"""The largest number of steps of SQLite's machine for one list.

A walk through all transactions takes ten times as many.
"""
SEEKS_MOST: Final = 100
"""The rows that are read to find the merchants and their gateways."""
NO_TABLES: Final = {
    "SCAN known",
    "SCAN which",
    "SCAN relay",
    "SCAN before",
    "SCAN lists",
    "SCAN CONSTANT ROW",
    "SCAN wanted VIRTUAL TABLE INDEX 1:",  # the JSON array of a statement's argument
}
"""Lines of SQLite's plans about rows that are in no table."""
MIDDLE: Final = SHAPE.at(SHAPE.count // 2)


class Readers(NamedTuple):
    """Both stores with the same rows."""

    sqlite: SqliteReader
    postgresql: PostgresqlReader


@pytest.fixture(scope="module")
def filled(postgresql_url: str) -> Iterator[Schema]:
    """Tables with all the rows, analysed."""
    with new_schema(postgresql_url) as schema:
        schema.make_tables()
        fill_postgresql(schema.conninfo(owner=True), SHAPE)
        yield schema


@pytest.fixture(scope="module")
def readers(filled: Schema, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    """Both stores, filled and analysed."""
    path = tmp_path_factory.mktemp("plans") / "payments.db"
    migrate(path)
    fill_sqlite(path, SHAPE)
    both = Readers(SqliteReader(path), PostgresqlReader(filled.conninfo()))
    yield both
    for reader in both:
        reader.close()


def wrong(reading: Reading) -> list[str]:
    """The plan lines that a list must not have."""
    scans = [line for line in reading.plan if "Seq Scan" in line or (line.startswith("SCAN") and line not in NO_TABLES)]
    sorts = [line for line in reading.plan if "TEMP B-TREE" in line or "Bitmap" in line]
    return scans + sorts


@pytest.mark.parametrize("name", list(questions(SHAPE)))
def test_every_list_reads_along_an_index(readers: Readers, name: str) -> None:
    """Each list of the API, with and without a cursor, reads along an index and little more than it returns."""
    ask = questions(SHAPE)[name]
    postgresql = readers.postgresql.read(lambda session: ask(postgresql_reads, session))
    sqlite = readers.sqlite.read(lambda cursor: ask(sqlite_reads, cursor))
    assert len(postgresql.result) == len(sqlite.result)
    assert (wrong(postgresql), wrong(sqlite)) == ([], [])
    assert postgresql.read <= ROWS_MOST
    assert postgresql.pages <= (PAGES_OF_EVENTS_MOST if name.startswith("events") else PAGES_MOST)
    assert sqlite.read <= STEPS_MOST


def test_the_operators_figures(readers: Readers) -> None:
    """The figures read each piece of unfinished work once, and only the counted transactions and reviews."""
    postgresql = readers.postgresql.read(postgresql_reads.stats)
    sqlite = readers.sqlite.read(lambda cursor: sqlite_reads.stats(cursor, 0))
    assert postgresql.result[0].keys() == sqlite.result[0].keys()
    assert postgresql.result[1:] == sqlite.result[1:]
    unfinished = sum(work.pieces for work in sqlite.result[0].values())
    counted = unfinished + sum(sqlite.result[1].values()) + sqlite.result[2]
    assert unfinished == SHAPE.count // 10 + SHAPE.count // 100
    assert postgresql.read <= counted + SEEKS_MOST
    assert sqlite.read <= 32 * counted + 5_000


def test_the_figures_of_a_relay(readers: Readers, filled: Schema) -> None:
    """They read the record, the next event and the last position, however many events are not published."""
    middle = SHAPE.count // 2
    sqlite = apsw.Connection(readers.sqlite.connection.filename)
    with closing(sqlite):
        for name, position in (("first", 0), ("middle", middle), ("last", SHAPE.count)):
            sqlite.execute("INSERT INTO relays VALUES (?, 'a', 1, ?, 0, 0, 0, NULL, NULL, NULL)", (name, position))
            filled.execute("INSERT INTO relays VALUES (%s, 'a', 1, %s, 0, now(), now())", (name, position))
    for name, behind in (("absent", SHAPE.count), ("first", SHAPE.count), ("middle", middle), ("last", 0)):
        both = (
            readers.postgresql.read(lambda session, name=name: [postgresql_relays.health(session, name)]),  # type: ignore[misc]
            readers.sqlite.read(lambda cursor, name=name: [sqlite_relays.health(cursor, name, 0)]),  # type: ignore[misc]
        )
        for reading in both:
            assert [health.lag_events for health in reading.result] == [behind], name
            assert wrong(reading) == [], name
        assert both[0].read <= 3
        assert both[0].pages <= 20
        assert both[1].read <= 100


@pytest.mark.parametrize("limit", [1, 100])
def test_the_list_of_due_work_reads_what_it_returns(readers: Readers, limit: int) -> None:
    """Every processor and the announcer ask for it all the time: one walk along an index for each gateway."""
    queues = ["absent", "gatewayA", "gatewayB", "callbacks:gatewayA", "callbacks:gatewayB"]
    now_us = to_us(SHAPE.at(2 * SHAPE.count))
    postgresql = readers.postgresql.read(lambda session: postgresql_reads.queued_due(session, queues, limit))
    sqlite = readers.sqlite.read(lambda cursor: sqlite_reads.queued_due(cursor, queues, now_us, limit))
    assert len(postgresql.result) == len(sqlite.result)
    assert {work.gateway for work in sqlite.result} == set(queues[1:])
    assert (set(postgresql.plan), wrong(sqlite)) == ({"Index Scan work work_due"}, [])
    assert postgresql.read <= len(postgresql.result) + len(queues)  # the plan has rounded means of its loops
    assert postgresql.pages <= 3 * len(queues) + len(postgresql.result)
    assert sqlite.read <= 20 * (len(queues) + len(sqlite.result))


TIMES: Final[Sequence[tuple[datetime | None, datetime | None]]] = (
    (None, None),
    (MIDDLE, None),
    (None, MIDDLE),
    (MIDDLE - timedelta(seconds=5), MIDDLE),
    (SHAPE.at(2 * SHAPE.count), None),
)


@pytest.mark.parametrize("times", TIMES, ids=["always", "from", "to", "between", "never"])
@pytest.mark.parametrize("customer_id", [None, "c77", "house", "absent"])
def test_every_combination_of_filters(
    readers: Readers, customer_id: str | None, times: tuple[datetime | None, datetime | None]
) -> None:
    """Every combination gives the rows of a walk through the whole table, at a bounded cost."""
    rows = [SHAPE.transaction(number, lambda at: at) for number in reversed(range(SHAPE.count))]
    created_from, created_to = times
    for status, gateway, kind in itertools.product(
        (None, Status.COMPLETED, Status.FAILED), (None, "gatewayA", "retired"), (None, Kind.WITHDRAWAL)
    ):
        where = TransactionFilter(customer_id, status, gateway, kind, created_from, created_to)
        ids = (
            row[0]
            for row in rows
            if row[1] == "main"
            and customer_id in {None, row[2]}
            and kind in {None, row[3]}
            and gateway in {None, row[4]}
            and status in {None, row[8]}
            and (created_from is None or row[16] >= created_from)
            and (created_to is None or row[16] < created_to)
        )
        expected = list(itertools.islice(ids, PAGE))
        for reading in _both(readers, where):
            assert [view.transaction.transaction_id for view in reading.result] == expected, where
            assert wrong(reading) == [], where
            assert reading.read <= (ROWS_MOST if reading.pages else STEPS_MOST), where


NARROW: Final[Sequence[tuple[str | None, str | None, str | None, str | None]]] = (
    (None, SHAPE.id(0), None, None),
    (None, SHAPE.id(58), None, None),
    (None, None, "A-same", None),
    (None, None, "A-77", None),
    (None, None, None, "job"),
    (None, None, None, "r-77"),
    ("house", None, "A-same", None),
    ("house", None, "A-40", "r-40"),
    ("c77", None, None, "job"),
    ("house", SHAPE.id(0), "A-209", "r-209"),
    (None, "absent", None, None),
    (None, None, "absent", None),
    (None, None, None, "absent"),
)
"""A customer, a parent, a gateway's reference and a correlation id."""


@pytest.mark.parametrize("narrow", NARROW)
def test_narrow_filters(readers: Readers, narrow: tuple[str | None, ...]) -> None:
    """A parent, a reference or a correlation id selects its rows alone, with any other filter, at a bounded cost."""
    customer_id, parent_id, reference, correlation_id = narrow
    rows = [SHAPE.transaction(number, lambda at: at) for number in reversed(range(SHAPE.count))]
    for status, kind, created_from in itertools.product(
        (None, Status.COMPLETED, Status.FAILED), (None, Kind.REFUND), (None, MIDDLE)
    ):
        where = TransactionFilter(
            customer_id, status, None, kind, created_from, None, parent_id, reference, correlation_id
        )
        ids = (
            row[0]
            for row in rows
            if row[1] == "main"
            and customer_id in {None, row[2]}
            and kind in {None, row[3]}
            and status in {None, row[8]}
            and (created_from is None or row[16] >= created_from)
            and reference in {None, row[11]}
            and correlation_id in {None, row[18]}
            and parent_id in {None, row[19]}
        )
        expected = list(itertools.islice(ids, PAGE))
        for reading in _both(readers, where):
            assert [view.transaction.transaction_id for view in reading.result] == expected, where
            assert wrong(reading) == [], where
            assert reading.read <= (SHAPE.count // 10 if reading.pages else STEPS_MOST), where


def _both(readers: Readers, where: TransactionFilter, merchant: str = "main") -> tuple[Reading, Reading]:
    return (
        readers.postgresql.read(lambda session: postgresql_reads.transactions(session, merchant, where, None, PAGE)),
        readers.sqlite.read(lambda cursor: sqlite_reads.transactions(cursor, merchant, where, None, PAGE)),
    )


@pytest.mark.parametrize(("merchant", "count"), [("small", 10), ("absent", 0), (GATEWAYS, 0)])
def test_a_small_merchant_reads_no_rows_of_others(readers: Readers, merchant: str, count: int) -> None:
    """The list of a merchant with ten transactions among thousands, or with none, reads nearly nothing."""
    postgresql, sqlite = _both(readers, TransactionFilter(), merchant)
    assert [len(reading.result) for reading in (postgresql, sqlite)] == [count] * 2
    assert postgresql.read <= 5 * count
    assert sqlite.read <= 4_000


class Counted:
    """A cursor or session that counts its statements."""

    def __init__(self, source: Any) -> None:
        self.source, self.statements = source, 0

    def execute(self, *values: Any, **more: Any) -> Any:
        """Execute a statement."""
        self.statements += 1
        return self.source.execute(*values, **more)


@pytest.mark.parametrize(
    ("number", "ids", "on_sqlite"),
    [(1, [], 1), (1, [SHAPE.id(1)], 2), (59, [SHAPE.id(59)], 3)],
    ids=["a new deposit", "a deposit", "a refund"],
)
def test_only_a_child_needs_another_statement(readers: Readers, number: int, ids: list[str], on_sqlite: int) -> None:
    """A load for a deposit has the statements that it had before there were parents. On PostgreSQL it is always one."""
    stream = StreamKey(SHAPE.merchant(number), SHAPE.customer(number))
    counted = Counted(readers.postgresql.session)
    postgresql_reads.load(cast("Session", counted), [Load(stream, ids)])
    assert counted.statements == 1
    counted = Counted(readers.sqlite.connection.cursor())
    found = sqlite_reads.load(cast("apsw.Cursor", counted), stream, ids).account.transactions
    assert counted.statements == on_sqlite
    assert list(found) == ids


def test_a_load_reads_transactions_by_their_ids_alone(readers: Readers) -> None:
    """Children and parents are found by primary key on PostgreSQL, too."""
    stream = StreamKey(SHAPE.merchant(59), SHAPE.customer(59))
    reading = readers.postgresql.read(lambda session: postgresql_reads.load(session, [Load(stream, [SHAPE.id(59)])]))
    of_transactions = [line for line in reading.plan if "transactions" in line]
    assert set(of_transactions) == {"Index Scan transactions transactions_pk"}
    assert len(of_transactions) == 2
