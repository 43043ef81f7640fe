"""``store.rebuild`` on both stores: the read tables follow from the events again, or the stream is left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from domain.events import ReviewOpened
from domain.gateway_report import Expected, GatewayReport, Source
from store.errors import CommitUncertainError, StoreInUseError
from store.folding import Problem
from store.port import Committed
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.generations import Follower
from store.postgresql.service_lock import ServiceLock
from store.postgresql.sessions import Session
from store.rebuild import Tally
from store.sqlite.adapter import SqliteStore
from store.sqlite.lock import StoreLock
from tests.store.builders import OWNER, START, Clock, Customer, Step, received, story
from tests.store.postgresql_server import Schema
from tests.store.rebuilding import Place, opened
from tests.store.tampering import A, B, append
from tests.store.templates import new_sqlite


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Place]:
    """A place on SQLite."""
    path = tmp_path / "payments.db"
    new_sqlite(path)
    place = Place(lambda: SqliteStore(path, clock=Clock()), path)
    append(place.store)
    yield place
    place.close()


@pytest.fixture
def postgresql(own_schema: Schema) -> Iterator[Place]:
    """A place on PostgreSQL."""
    own_schema.clear()
    place = Place(lambda: PostgresqlStore(own_schema.conninfo(), writers=1, readers=1), own_schema)
    append(place.store)
    yield place
    place.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    """One place for each adapter."""
    found: Place = request.getfixturevalue(request.param)
    return found


EDITS = {
    "a status": "UPDATE transactions SET status = 'pending' WHERE transaction_id = 'a1'",
    "an amount": "UPDATE transactions SET amount_minor = 1 WHERE stream_id = 'b'",
    "a transaction in another stream": "UPDATE transactions SET stream_id = 'a' WHERE transaction_id = 'b1'",
    "a transaction in an unknown stream": "UPDATE transactions SET stream_name = 'x' WHERE transaction_id = 'b1'",
    "a transaction of another id": "UPDATE transactions SET transaction_id = 'x' WHERE transaction_id = 'b1'",
    "a transaction deleted": "DELETE FROM transactions WHERE transaction_id = 'b1'",
    "all transactions deleted": "DELETE FROM transactions",
    "a balance": "UPDATE balances SET available_minor = 7 WHERE stream_id = 'b'",
    "a balance of another currency": "UPDATE balances SET currency = 'GBP' WHERE stream_id = 'b'",
    "balances deleted": "DELETE FROM balances",
    "a review's reason": "UPDATE reviews SET reason = 'x' WHERE review_id = 'b-r2'",
    "a review in another stream": "UPDATE reviews SET stream_id = 'a' WHERE review_id = 'b-r2'",
    "a review in an unknown stream": "UPDATE reviews SET stream_name = 'x' WHERE review_id = 'b-r2'",
    "a review deleted": "DELETE FROM reviews WHERE review_id = 'b-r1'",
}
"""Edits after which rows differ from the events."""
UNREADABLE = {
    "an unknown status": "UPDATE transactions SET status = 'odd' WHERE transaction_id = 'b1'",
    "details that are not JSON": "UPDATE transactions SET details = '{' WHERE transaction_id = 'b1'",
    "a time beyond all calendars": "UPDATE reviews SET opened_at = 1 << 62 WHERE review_id = 'b-r2'",
}
"""Edits that PostgreSQL refuses."""


@pytest.mark.parametrize("what", EDITS)
def test_rows_follow_from_the_events_again(place: Place, what: str) -> None:
    """Whatever was changed in the read tables, verify finds nothing after a rebuild, and nothing is left to rebuild."""
    place.edit(EDITS[what])
    assert place.problems()
    assert place.rebuild() == []
    assert place.problems() == []
    again = Tally()
    assert place.rebuild(again) == []
    assert again.rebuilt == 0


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE transactions SET refunded_minor = 0 WHERE transaction_id = 'd0'",
        "UPDATE transactions SET refunding_minor = 1 WHERE transaction_id = 'd1'",
        "UPDATE transactions SET captured_minor = NULL WHERE transaction_id = 'd1'",
        "UPDATE transactions SET ended_by = NULL WHERE transaction_id = 'd2'",
        "UPDATE transactions SET manual_capture = false WHERE transaction_id = 'd2'",
        "UPDATE transactions SET authorization_expires_at = NULL WHERE transaction_id = 'd3'",
        "UPDATE transactions SET parent_id = 'd1' WHERE transaction_id = 'd0-r'",
        "UPDATE transactions SET parent_reference = NULL WHERE transaction_id = 'd0-r'",
        "UPDATE transactions SET reason = 'x' WHERE transaction_id = 'd0-r'",
        "UPDATE transactions SET correlation_id = NULL WHERE transaction_id = 'd0-r'",
        "DELETE FROM transactions WHERE transaction_id = 'd0'",
        "DELETE FROM transactions WHERE parent_id IS NOT NULL",
    ],
)
def test_parents_and_children_follow_from_the_events_again(place: Place, edit: str) -> None:
    """Every column of refunds, captures, voids and their parents is compared with the events, and restored."""
    customer = Customer("c")
    for step in story():
        assert place.store.append([customer.write(step)]) == [Committed()]
    assert place.problems() == []
    place.edit(edit)
    assert place.problems()
    assert place.rebuild() == []
    assert place.problems() == []


@pytest.mark.parametrize("column", ["said", "expected"])
@pytest.mark.parametrize("value", ["NULL", "'{'", "'[]'", '\'{"source": "lookup"}\''])
def test_the_data_of_a_review_are_restored(place: Place, column: str, value: str) -> None:
    """The data that a review shows follow from the event, independent of the row."""
    said = GatewayReport(Source.CALLBACK, "gatewayA", START, "evt-1", "t", "A-1", "odd", body="{}", body_bytes=2)
    expected = Expected("gatewayA", "pending", "1.00", "USD")
    customer = Customer("c")
    customer.now = START + timedelta(days=1)
    opened = customer.write(Step((ReviewOpened("c-r1", None, "odd", said, expected),)))
    assert place.store.append([opened]) == [Committed()]
    view = place.store.review("main", "c-r1")
    assert view is not None
    place.edit(f"UPDATE reviews SET {column} = {value} WHERE review_id = 'c-r1'")  # noqa: S608  # of this file
    assert place.problems()
    assert place.rebuild() == []
    assert place.problems() == []
    assert place.store.review("main", "c-r1") == view
    assert (view.review.said, view.review.expected) == (said, expected)


@pytest.mark.parametrize("what", UNREADABLE)
def test_rows_that_cannot_be_read(sqlite: Place, what: str) -> None:
    """They are replaced without being read."""
    sqlite.edit(UNREADABLE[what])
    assert sqlite.rebuild() == []
    assert sqlite.problems() == []


def test_a_sound_store_is_not_changed(place: Place) -> None:
    """Nothing is written where nothing differs, and the tally counts the checked data."""
    tally = Tally()
    assert place.rebuild(tally) == []
    assert (tally.streams, tally.events, tally.rebuilt) == (2, 5 + 12, 0)


BREAKS = {
    "an event's type": "UPDATE events SET type = 'DepositCompleted' WHERE stream_id = 'a' AND version = 2",
    "the last hash": (
        "UPDATE events SET hash = (SELECT e.hash FROM events AS e WHERE e.stream_id = 'a' AND e.version = 1)"
        " WHERE stream_id = 'a' AND version = 5"
    ),
    "an event taken out": "DELETE FROM events WHERE stream_id = 'a' AND version = 3",
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_stream_is_left_as_it_is(place: Place, what: str) -> None:
    """Its rows stay, because its events were changed. The stream is named, and the other streams are rebuilt."""
    place.edit(BREAKS[what], "UPDATE balances SET available_minor = 7")
    assert {problem.stream for problem in place.rebuild()} == {A}
    assert {problem.stream for problem in place.problems()} == {A}
    balances = {stream: dict(place.store.load(stream).account.balances) for stream in (A, B)}
    assert balances[A]["USD"].available == 7
    assert balances[B]["EUR"].available != 7


def test_a_tail_that_was_cut_is_detected_by_the_heads(place: Place) -> None:
    """A stream that lost its end is left as it is, also without any row that shows it."""
    place.edit("DELETE FROM events WHERE stream_id = 'a' AND version > 3", "DELETE FROM transactions")
    (found,) = place.rebuild()
    assert (found.stream, found.text) == (A, "the events end at version 3, but appends continue from version 5")


CUTS = {
    "the end of a transaction": (
        ("DELETE FROM events WHERE stream_id = 'a' AND version > 4",),
        "the events end at version 4, but the row of a transaction is of version 5",
    ),
    "a transaction from its first event": (
        ("DELETE FROM events WHERE stream_id = 'a' AND version > 2",),
        "the events end at version 2, but the row of a transaction is of version 5",
    ),
    "all events": (
        ("DELETE FROM events WHERE stream_id = 'a'",),
        "there are no events, but the row of a transaction is of version 5",
    ),
    "all events and transactions": (
        ("DELETE FROM events WHERE stream_id = 'a'", "DELETE FROM transactions WHERE stream_id = 'a'"),
        "there are no events, but there are rows, which follow from events",
    ),
    "a review": (
        (
            "DELETE FROM events WHERE stream_id = 'b' AND version > 3",
            "DELETE FROM transactions WHERE stream_id = 'b' AND version > 3",
        ),
        "the events end at version 3 and leave out review b-r1, of which there is a row",
    ),
    "a review's end": (
        (
            "DELETE FROM events WHERE stream_id = 'b' AND version > 5",
            "DELETE FROM transactions WHERE stream_id = 'b' AND version > 5",
        ),
        "the events end at version 5 and leave review b-r1 open, but its row is closed",
    ),
}
"""Missing events that only rows show, because the heads were changed as well; each with its problem."""
NO_HEADS = {
    True: "UPDATE heads SET version = 0, hash = zeroblob(32) WHERE stream_id NOT IN (SELECT stream_id FROM events)",
    False: "DELETE FROM heads WHERE stream_id NOT IN (SELECT stream_id FROM events)",
}
"""By whether the store is a file, where the row has the balances as well."""
HEADS_FOLLOW = [
    f"UPDATE heads AS h SET {value} WHERE stream_id IN (SELECT stream_id FROM events)"  # noqa: S608  # of this file
    for value in (
        "version = (SELECT max(version) FROM events AS e WHERE e.stream_id = h.stream_id)",
        "hash = (SELECT hash FROM events WHERE stream_id = h.stream_id AND version = h.version)",
    )
]


def cut(place: Place, what: str) -> None:
    """Remove the last events of one stream, without the service."""
    statements, _ = CUTS[what]
    place.edit(*statements, *HEADS_FOLLOW)
    if what.startswith("all events"):
        place.edit(NO_HEADS[isinstance(place.where, Path)])


@pytest.mark.parametrize("what", CUTS)
def test_rows_that_contain_more_than_the_events(place: Place, what: str) -> None:
    """The rows are the last trace of missing events.

    The stream is named, and they stay until an operator accepts the cut.
    """
    cut(place, what)
    before = place.problems()
    assert CUTS[what][1] in {problem.text for problem in place.rebuild()}
    assert place.problems() == before


@pytest.mark.parametrize("what", CUTS)
def test_a_cut_that_an_operator_accepts(place: Place, what: str) -> None:
    """The rows become the fold of the remaining events, and only missing work remains a problem."""
    cut(place, what)
    assert place.rebuild(accept_cut=True) == []
    rest = ("but has no work", "which has no events")
    assert [problem.text for problem in place.problems() if not problem.text.endswith(rest)] == []
    again = Tally()
    assert place.rebuild(again) == []
    assert again.rebuilt == 0


def test_a_cut_that_is_accepted_moves_the_head(place: Place) -> None:
    """Appends continue from the remaining events."""
    place.edit("DELETE FROM events WHERE stream_id = 'a' AND version > 3")
    assert place.rebuild(accept_cut=True) == []
    snapshot = place.store.load(A)
    assert snapshot.head.version == 3
    customer = Customer("a")
    customer.account, customer.head = snapshot.account, snapshot.head
    assert place.store.append([customer.deposit("a9")]) == [Committed()]
    with place.store.audit() as audit:
        assert [event.version for event in audit.events(A)] == [1, 2, 3, 4]


def test_a_head_that_is_missing(sqlite: Place) -> None:
    """The head follows from the events, and the row has the balances: both are restored, and appends continue."""
    before = sqlite.store.load(A)
    sqlite.edit("DELETE FROM heads WHERE stream_id = 'a'")
    assert {problem.stream for problem in sqlite.problems()} == {A}
    assert sqlite.rebuild() == []
    assert sqlite.problems() == []
    assert sqlite.store.load(A) == before
    customer = Customer("a")
    customer.account, customer.head = before.account, before.head
    assert sqlite.store.append([customer.deposit("a9")]) == [Committed()]


def test_a_missing_head_of_a_customer_without_balances(sqlite: Place) -> None:
    """It is restored although no other row of the stream differs from the events."""
    customer = Customer("c")
    assert sqlite.store.append([customer.deposit("c1")]) == [Committed()]
    sqlite.edit("DELETE FROM heads WHERE stream_id = 'c'")
    assert sqlite.rebuild() == []
    assert sqlite.problems() == []
    assert sqlite.store.load(customer.stream).head == customer.head


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE heads SET version = 4 WHERE stream_id = 'a'",
        "UPDATE heads SET hash = (SELECT hash FROM events WHERE stream_id = 'a' AND version = 4) WHERE stream_id = 'a'",
    ],
)
def test_a_head_that_differs_from_the_events(place: Place, edit: str) -> None:
    """Either of them was changed. The stream is named and left as it is."""
    place.edit(edit)
    before = place.problems()
    assert {problem.stream for problem in before} == {A}
    assert {problem.stream for problem in place.rebuild()} == {A}
    assert {problem.stream for problem in place.rebuild(accept_cut=True)} == {A}
    assert place.problems() == before


def test_a_cut_is_accepted_of_sound_events_only(place: Place) -> None:
    """An event that is missing in the middle is not a cut."""
    place.edit(BREAKS["an event taken out"])
    assert {problem.stream for problem in place.rebuild(accept_cut=True)} == {A}


def test_a_newer_row_that_was_moved_here(place: Place) -> None:
    """It is not a trace of a cut: the stream of its events takes it back, and then this stream is sound."""
    place.edit("UPDATE transactions SET stream_id = 'a' WHERE transaction_id = 'b4'")
    assert place.rebuild() == []
    assert place.problems() == []


TWICE = {
    "transaction": (Step((received("b2"),)), "b2"),
    "review": (Step((ReviewOpened("b-r2", None, "twice"),)), "b-r2"),
}
HIDE = {
    "transaction": ("UPDATE transactions SET transaction_id = 'away' WHERE transaction_id = 'b2'",),
    "review": ("UPDATE reviews SET review_id = 'away' WHERE review_id = 'b-r2'",),
}
BRING_BACK = {
    "transaction": (
        "DELETE FROM transactions WHERE transaction_id = 'b2'",
        "UPDATE transactions SET transaction_id = 'b2' WHERE transaction_id = 'away'",
    ),
    "review": (
        "DELETE FROM reviews WHERE review_id = 'b-r2'",
        "UPDATE reviews SET review_id = 'b-r2' WHERE review_id = 'away'",
    ),
}


@pytest.mark.parametrize("customer", ["0", "c"])
@pytest.mark.parametrize("what", TWICE)
def test_an_id_in_the_events_of_two_streams(place: Place, what: str, customer: str) -> None:
    """The row stays in its right stream, whichever stream comes first. The other stream is named and left as it is."""
    step, name = TWICE[what]
    twin = Customer(customer)
    place.edit(*HIDE[what])  # the store refuses a second row with one id
    assert place.store.append([twin.write(step)]) == [Committed()]
    place.edit(*BRING_BACK[what])
    place.edit("UPDATE balances SET available_minor = 7 WHERE stream_id = 'b'")
    text = f"the events of main/b name {what} {name}, too"
    assert place.rebuild() == [(twin.stream, None, text)]
    assert {problem.stream for problem in place.problems()} == {twin.stream}


def test_a_row_in_a_stream_that_cannot_be_read(place: Place) -> None:
    """It is unknown whether the row belongs there: both streams stay as they are."""
    place.edit(
        "UPDATE transactions SET stream_id = 'b' WHERE transaction_id = 'a1'",
        "UPDATE events SET body = hash WHERE stream_id = 'b' AND version = 1",
    )
    found = place.rebuild()
    assert {problem.stream for problem in found} == {A, B}
    assert Problem(A, None, "main/b, whose events cannot be folded, has a row of it") in found


def test_killed_half_way(place: Place) -> None:
    """A stream is unchanged or rebuilt, never in between. A second run finishes."""
    place.edit("UPDATE balances SET available_minor = 7", "DELETE FROM reviews")
    place.kill_half_way()
    assert {problem.stream for problem in place.problems()} == {B}
    assert "the row of review b-r1 is missing" in {problem.text for problem in place.problems()}
    tally = Tally()
    assert place.rebuild(tally) == []
    assert tally.rebuilt == 1
    assert place.problems() == []


def test_work_and_claims_stay(place: Place) -> None:
    """Work does not follow from events alone. It is the same after a rebuild as before."""
    before = place.store.work_counts()
    assert before
    place.edit("DELETE FROM transactions")
    assert place.rebuild() == []
    assert place.store.work_counts() == before


def test_the_service_continues_after_a_rebuild(place: Place) -> None:
    """After a rebuild the stream's next write is committed, and the balance continues from the rebuilt one."""
    place.edit("UPDATE balances SET available_minor = 7 WHERE stream_id = 'a'")
    assert place.rebuild() == []
    snapshot = place.store.load(A)
    customer = Customer("a")
    customer.account, customer.head = snapshot.account, snapshot.head
    assert place.store.append([customer.deposit("a9"), customer.complete("a9")]) == [Committed(), Committed()]
    assert place.problems() == []


def test_a_file_that_a_service_uses(sqlite: Place) -> None:
    """The rebuild is refused at once, and the error names the process that has the file."""
    assert isinstance(sqlite.where, Path)
    with (
        StoreLock.acquire(sqlite.where, sleep=lambda _: None),
        pytest.raises(StoreInUseError, match=r"process [0-9]+ works on payments\.db"),
    ):
        sqlite.rebuild()
    assert sqlite.rebuild() == []


def test_no_service_starts_on_a_file_meanwhile(sqlite: Place) -> None:
    """The lock is held until the rebuild is over."""

    def refuse() -> None:
        raise LookupError

    assert isinstance(sqlite.where, Path)
    with opened(sqlite.target), pytest.raises(LookupError):
        StoreLock.acquire(sqlite.where, sleep=lambda _: None, on_wait=refuse)


def test_a_database_that_a_service_uses(postgresql: Place) -> None:
    """The rebuild is refused at once, also when the service is not registered as an owner."""
    assert isinstance(postgresql.where, Schema)
    postgresql.edit("UPDATE balances SET available_minor = 7")
    postgresql.store.register_owner(OWNER)
    postgresql.store.retire_owner(OWNER, unsent=False)
    with (
        pytest.raises(StoreInUseError, match=r"end all services first \(the server's processes [0-9]+\)"),
        opened(postgresql.target),
    ):
        raise AssertionError("it must not begin")
    assert {problem.stream for problem in postgresql.problems()} == {A, B}


def test_a_service_that_was_killed(postgresql: Place) -> None:
    """The lock of a killed service ended with its connection, so the rebuild does not wait."""
    assert isinstance(postgresql.where, Schema)
    postgresql.store.register_owner(OWNER)
    postgresql.close()
    assert postgresql.rebuild() == []


def test_no_service_starts_on_a_database_meanwhile(postgresql: Place) -> None:
    """A service gets no connection to write on until the end of the rebuild, and no other rebuild begins."""
    postgresql.close()
    with opened(postgresql.target):
        assert refusal(postgresql, ServiceLock(Follower())) == "the read tables are being rebuilt"
        with pytest.raises(StoreInUseError), opened(postgresql.target):
            raise AssertionError("it must not begin")
    assert refusal(postgresql, ServiceLock(Follower())) == ""


def test_a_service_that_was_cut_off_during_a_rebuild(postgresql: Place) -> None:
    """It writes nothing more, because it may have read wrong rows. A restarted service writes."""
    postgresql.close()
    before = ServiceLock(Follower())
    assert refusal(postgresql, before) == ""
    assert refusal(postgresql, before) == ""
    assert postgresql.rebuild() == []
    assert refusal(postgresql, before).startswith("the read tables were rebuilt while this process was cut off")
    assert refusal(postgresql, ServiceLock(Follower())) == ""


def test_every_connection_that_writes_takes_the_lock(postgresql: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A service whose connections were all cut during a rebuild gets no new one to write on, and logs why."""
    assert isinstance(postgresql.where, Schema)
    store = postgresql.store
    assert postgresql.where.execute(END_LOCK_HOLDERS) == [(True,)]
    with opened(postgresql.target):
        pass
    with pytest.raises(CommitUncertainError):
        store.register_owner(OWNER)
    assert postgresql.where.execute("SELECT owner FROM owners") == []
    assert "error connecting in 'writers': the read tables were rebuilt while this process was cut off" in caplog.text


END_LOCK_HOLDERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
WHERE locktype = 'advisory' AND classid = 'rebuilds'::regclass::oid
"""


def refusal(place: Place, lock: ServiceLock) -> str:
    """The reason for which the service lock refuses a new connection; empty when it does not."""
    assert isinstance(place.where, Schema)
    with closing(Session.connect(place.where.conninfo(), autocommit=True)) as session:
        try:
            lock(session)
        except psycopg.OperationalError as error:
            assert session.closed
            return str(error)
    return ""
