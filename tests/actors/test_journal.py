"""The journal: many writers, few commits, one answer for each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from actors.generations import Generations
from actors.journal import BATCH_MAX, JournalActor
from actors.messages import Append, Unanswered, Written
from actors.runtime.router import ActorAddress
from actors.runtime.simulated import SimulatedRuntime
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError, UnstorableError
from store.port import AppendResult, Committed, Conflict, Fence, Fenced, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.support import Inbox, RecordingListener, Trouble, TroubledStore, stream
from tests.store.builders import Customer
from tests.store.looking import versions

AWAY = StoreUnavailableError("away")
UNCERTAIN = CommitUncertainError("cut")

_serials = itertools.count(1)


@pytest.fixture
def heard() -> RecordingListener:
    """A listener."""
    return RecordingListener()


@pytest.fixture
def journal(runtime: SimulatedRuntime, store: TroubledStore, heard: RecordingListener) -> ActorAddress:
    """A journal on the store."""
    return ActorAddress(
        lambda: JournalActor(
            store=store, listener=heard, monotonic=runtime.monotonic, generations=Generations(runtime.monotonic)
        ),
        runtime.dispatcher("journal", 1),
        capacity=10_000,
        monotonic=runtime.monotonic,
    )


@pytest.fixture
def writer() -> Inbox:
    """The recipient of the answers."""
    return Inbox()


def deposits(count: int, first: int = 1) -> list[Write]:
    """The first deposits of ``count`` customers."""
    return [Customer(f"c{number}").deposit(f"t-{number}") for number in range(first, first + count)]


def tell(journal: ActorAddress, writer: Inbox, writes: Sequence[Write]) -> list[int]:
    """Append the writes; returns their numbers."""
    appends = [Append(write, next(_serials), writer) for write in writes]
    for append in appends:
        journal.tell(append)
    return [append.serial for append in appends]


def answers(writer: Inbox) -> dict[int, AppendResult | Unanswered]:
    """The result by number; each must have been answered once."""
    written = writer.of(Written)
    assert len({answer.serial for answer in written}) == len(written)
    return {answer.serial: answer.result for answer in written}


def test_writes_that_wait_share_a_commit(
    journal: ActorAddress, writer: Inbox, store: TroubledStore, runtime: SimulatedRuntime
) -> None:
    """Many writers need few commits, none above BATCH_MAX writes, and each gets its own result."""
    serials = tell(journal, writer, deposits(2 * BATCH_MAX + 10))
    runtime.run()
    assert answers(writer) == dict.fromkeys(serials, Committed())
    assert [len(batch) for batch in store.batches] == [BATCH_MAX, BATCH_MAX, 10]


def test_a_single_write_does_not_wait_for_others(
    journal: ActorAddress, writer: Inbox, store: TroubledStore, runtime: SimulatedRuntime
) -> None:
    """There is no artificial delay: virtual time does not pass while a single write is committed."""
    before = runtime.monotonic()
    tell(journal, writer, deposits(1))
    runtime.run()
    assert len(answers(writer)) == len(store.batches) == 1
    assert runtime.monotonic() == before


def test_each_is_answered_on_its_own(
    journal: ActorAddress, writer: Inbox, heard: RecordingListener, real_store: SqliteStore, runtime: SimulatedRuntime
) -> None:
    """A conflict and a stale token in a batch go to their writers only; the listener gets all results."""
    known = Customer("known")
    real_store.append([known.deposit("t-known")])
    conflicting, stale = Customer("known").deposit("t-2"), known.twin().complete("t-known", fence=Fence("t-known", 9))
    good = Customer("new").deposit("t-3")
    serials = tell(journal, writer, [conflicting, stale, good])
    runtime.run()
    results = [answers(writer)[serial] for serial in serials]
    assert [type(result) for result in results] == [Conflict, Fenced, Committed]
    assert heard.batches == [results]
    assert versions(real_store, known.stream) == [1]
    assert versions(real_store, good.stream) == [1]


@pytest.mark.parametrize("defect", [UnstorableError("bad"), RuntimeError("a defect"), CorruptStoreError("odd")])
def test_one_bad_write_fails_no_other(
    *,
    journal: ActorAddress,
    writer: Inbox,
    store: TroubledStore,
    real_store: SqliteStore,
    runtime: SimulatedRuntime,
    defect: Exception,
) -> None:
    """When a batch fails because of one write, the others are stored, and only its writer gets the error."""
    writes = deposits(5)
    original = store.append

    def append(batch: Sequence[Write]) -> list[AppendResult]:
        if writes[2] in batch:
            raise defect
        return original(batch)

    store.append = append  # type: ignore[method-assign, assignment]
    serials = tell(journal, writer, writes)
    runtime.run()
    results = [answers(writer)[serial] for serial in serials]
    assert [type(result) for result in results] == [Committed, Committed, Unanswered, Committed, Committed]
    assert [len(versions(real_store, write.stream)) for write in writes] == [1, 1, 0, 1, 1]
    assert journal.deaths == 0


def test_data_that_sqlite_refuses_fail_alone(
    journal: ActorAddress, writer: Inbox, real_store: SqliteStore, runtime: SimulatedRuntime
) -> None:
    """The same with the real store: invalid text fails its own writer, and is certainly not stored."""
    good, bad = deposits(2)
    bad = bad.__class__(stream("\ud800"), bad.head, bad.parts, bad.transactions)
    serials = tell(journal, writer, [bad, good])
    runtime.run()
    result = answers(writer)[serials[0]]
    assert isinstance(result, Unanswered)
    assert isinstance(result.error, UnstorableError)
    assert not result.uncertain
    assert answers(writer)[serials[1]] == Committed()


def test_a_store_that_is_away_stored_nothing(
    journal: ActorAddress, writer: Inbox, store: TroubledStore, real_store: SqliteStore, runtime: SimulatedRuntime
) -> None:
    """All writers of the batch get the answer that nothing is stored; the journal does not try again."""
    store.inject("append", AWAY)
    writes = deposits(3)
    tell(journal, writer, writes)
    runtime.run()
    assert [(r.error, r.uncertain) for r in answers(writer).values() if isinstance(r, Unanswered)] == [
        (AWAY, False)
    ] * 3
    assert all(versions(real_store, write.stream) == [] for write in writes)
    assert len(store.batches) == 1


@pytest.mark.parametrize("stored", [False, True])
def test_an_uncertain_commit_is_settled_by_appending_again(
    *,
    journal: ActorAddress,
    writer: Inbox,
    store: TroubledStore,
    real_store: SqliteStore,
    runtime: SimulatedRuntime,
    stored: bool,
) -> None:
    """Stored or not: appending the same events again shows it, and each is stored once."""
    store.inject("append", Trouble(UNCERTAIN, after=stored))
    writes = deposits(3)
    tell(journal, writer, writes)
    runtime.run()
    assert list(answers(writer).values()) == [Committed()] * 3
    assert all(versions(real_store, write.stream) == [1] for write in writes)


@pytest.mark.parametrize("then", [AWAY, UNCERTAIN, RuntimeError("a defect")])
def test_a_write_that_cannot_be_settled_is_reported_as_uncertain(
    journal: ActorAddress, writer: Inbox, store: TroubledStore, runtime: SimulatedRuntime, then: Exception
) -> None:
    """A writer whose write may be stored gets that answer; the others get their results."""
    store.inject("append", Trouble(UNCERTAIN, after=True), then, None)
    serials = tell(journal, writer, deposits(2))
    runtime.run()
    first, second = (answers(writer)[serial] for serial in serials)
    assert isinstance(first, Unanswered)
    assert first.uncertain
    assert second == Committed()


@pytest.mark.parametrize("stored", [False, True])
def test_a_killed_journals_successor_answers_every_write(
    *,
    journal: ActorAddress,
    writer: Inbox,
    store: TroubledStore,
    real_store: SqliteStore,
    runtime: SimulatedRuntime,
    stored: bool,
) -> None:
    """A kill before or after the commit: the successor appends again, every write is answered and stored once."""
    store.inject("append", Trouble(SystemExit(), after=stored))
    writes = deposits(5)
    tell(journal, writer, writes)
    runtime.run()
    assert list(answers(writer).values()) == [Committed()] * 5
    assert all(versions(real_store, write.stream) == [1] for write in writes)
    assert journal.deaths == 1


def test_a_store_that_is_away_after_a_death_leaves_the_write_uncertain(
    journal: ActorAddress, writer: Inbox, store: TroubledStore, runtime: SimulatedRuntime
) -> None:
    """A write that a dead journal may have stored is not called "not stored" because the store is unavailable now."""
    store.inject("append", Trouble(SystemExit(), after=True), AWAY)
    tell(journal, writer, deposits(1))
    runtime.run()
    [result] = answers(writer).values()
    assert isinstance(result, Unanswered)
    assert result.uncertain


def test_a_write_that_kills_every_journal_is_answered(
    journal: ActorAddress, writer: Inbox, store: TroubledStore, runtime: SimulatedRuntime
) -> None:
    """Repeated deaths at the same writes end with the answer "uncertain"; later writes are stored."""
    store.inject("append", *[SystemExit() for _ in range(50)])
    tell(journal, writer, deposits(3))
    runtime.run()
    assert [r.uncertain for r in answers(writer).values() if isinstance(r, Unanswered)] == [True] * 3
    assert journal.deaths < 10
    store._trouble.clear()
    later = tell(journal, writer, deposits(1, first=50))
    runtime.run()
    assert answers(writer)[later[0]] == Committed()
