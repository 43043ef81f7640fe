"""The result of a commit when the disk, a lock or the caller fails during it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import Committed, Offload, StreamKey, run_directly
from store.sqlite import write_connection
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.store.builders import OWNER, Clock, Customer, Step, received
from tests.store.faulty_disk import FaultyDisk, healthy
from tests.store.looking import contents, versions

COMMITTED = Committed()
FILES = ("", "-wal")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    """A disk with a migrated database on it."""
    path = tmp_path / "payments.db"
    migrate(path)
    disk = FaultyDisk(path)
    for suffix in FILES:
        disk.synced[suffix] = disk.content(suffix)
    yield disk
    disk.unregister()


@pytest.fixture
def store(disk: FaultyDisk) -> Iterator[SqliteStore]:
    """A store that writes to the faulty disk, with an owner and one deposit in it."""
    store = SqliteStore(disk.database, clock=Clock(), vfs=disk.name)
    store.register_owner(OWNER)
    assert store.append([Customer("before").deposit("t0")]) == [COMMITTED]
    yield store
    disk.fault = healthy
    store.close()


def reopened(path: Path) -> dict[str, object]:
    """All data that another process would find in the files at ``path``."""
    store = SqliteStore(path, clock=Clock())
    try:
        return contents(store)
    finally:
        store.close()


def fail_at(number: int, failure: type[apsw.Error], *, once: bool) -> Callable[[str, str], None]:
    """A fault at the operation with that number (from 0), and at all later ones unless ``once``."""
    counter = itertools.count()

    def fault(operation: str, file: str) -> None:
        count = next(counter)
        if count == number or (not once and count > number):
            raise failure(f"{operation} of {file or 'the database'}: injected")

    return fault


def test_a_power_cut_keeps_what_was_acknowledged(store: SqliteStore, disk: FaultyDisk, tmp_path: Path) -> None:
    """With synchronous=FULL all acknowledged writes are on disk at the answer."""
    customer = Customer()
    for number in range(1, 6):
        assert store.append([customer.deposit(f"t{number}")]) == [COMMITTED]
    disk.after_power_cut(tmp_path / "cut.db")
    assert reopened(tmp_path / "cut.db") == contents(store)


def test_the_power_cut_test_can_fail(disk: FaultyDisk, tmp_path: Path) -> None:
    """The test above can fail: with synchronous=NORMAL the same power cut loses acknowledged writes."""
    store = SqliteStore(disk.database, clock=Clock(), vfs=disk.name, synchronous="NORMAL")
    assert store.append([Customer().deposit("t1")]) == [COMMITTED]
    disk.after_power_cut(tmp_path / "cut.db")
    assert reopened(tmp_path / "cut.db") != contents(store)
    store.close()


@pytest.mark.parametrize("failure", [apsw.FullError, apsw.IOError])
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("customers", [1, 2], ids=["one by one", "as one statement"])
def test_a_fault_at_every_operation_of_a_commit(
    store: SqliteStore, disk: FaultyDisk, tmp_path: Path, failure: type[apsw.Error], *, once: bool, customers: int
) -> None:
    """Wherever the disk fails in a commit, "unavailable" means not stored, now and after the process's death.

    "Uncertain" may be either, but the batch is whole or absent. When the disk works again, the same writes can be
    appended and are stored once.
    """
    seen = set()
    for number in itertools.count():
        first = Customer(f"c{number}")
        second = first if customers == 1 else Customer(f"d{number}")
        writes = [first.deposit(f"a{number}"), second.deposit(f"b{number}")]
        before = contents(store)
        disk.fault = fail_at(number, failure, once=once)
        try:
            answers = store.append(writes)
        except (StoreUnavailableError, CommitUncertainError) as error:
            seen.add(type(error))
            crashed = tmp_path / f"{number}.db"
            disk.after_kill(crashed)
            left = reopened(crashed)
            assert contents(store) == before
            if isinstance(error, StoreUnavailableError):
                assert left == before
            else:
                assert left == before or len(left) == len(before) + customers
            disk.fault = healthy
            assert store.append(writes) == [COMMITTED, COMMITTED]
            assert versions(store, first.stream) == ([1, 2] if customers == 1 else [1])
            assert versions(store, second.stream) == ([1, 2] if customers == 1 else [1])
        else:
            disk.fault = healthy
            assert answers == [COMMITTED, COMMITTED]
            break
    assert number >= 4, "a commit is some writes and a sync"
    assert seen == ({StoreUnavailableError} if once else {CommitUncertainError})


def test_why_a_failed_commit_is_overwritten(store: SqliteStore, disk: FaultyDisk, tmp_path: Path) -> None:
    """A transaction whose last sync failed is forgotten, but whole in the log: the next process would find it."""
    copies = itertools.count()

    def fault(operation: str, file: str) -> None:
        if operation == "sync" and file == "-wal":
            disk.after_kill(tmp_path / f"copy{next(copies)}.db")
            if next(copies) == 1:
                raise apsw.IOError("injected")

    before = contents(store)
    disk.fault = fault
    with pytest.raises(StoreUnavailableError):
        store.append([Customer().deposit("t1")])
    assert contents(store) == before
    assert len(reopened(tmp_path / "copy0.db")) == len(before) + 1, "the danger: whole in the log, with its commit mark"
    disk.after_kill(tmp_path / "settled.db")
    assert reopened(tmp_path / "settled.db") == before, "the remedy: overwritten"


def test_the_next_call_settles_what_was_left_uncertain(store: SqliteStore, disk: FaultyDisk, tmp_path: Path) -> None:
    """After an uncertain commit the next call first ensures that it is undone, and fails as long as it cannot."""
    customer = Customer()
    disk.fault = fail_at(2, apsw.IOError, once=False)
    with pytest.raises(CommitUncertainError):
        store.append([customer.deposit("t1")])
    with pytest.raises(StoreUnavailableError):
        store.heartbeat(OWNER)
    disk.fault = healthy
    assert store.heartbeat(OWNER)
    disk.after_kill(tmp_path / "settled.db")
    assert reopened(tmp_path / "settled.db") == contents(store)
    assert versions(store, customer.stream) == []


def test_a_full_database_stores_nothing_and_recovers(store: SqliteStore) -> None:
    """When the file cannot grow the writes fail as unavailable and none is stored. With space they are stored."""
    connection = store._writer._connection
    connection.pragma("max_page_count", connection.pragma("page_count"))
    customer = Customer()
    writes = [customer.write(Step((received("t" * 50_000),))), Customer("other").deposit("t2")]
    before = contents(store)
    with pytest.raises(StoreUnavailableError):
        store.append(writes)
    assert contents(store) == before
    connection.pragma("max_page_count", 1_000_000)
    assert store.append(writes) == [COMMITTED, COMMITTED]


def _held(path: Path) -> apsw.Connection:
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_wait_for_another_writer_does_not_block_the_thread(tmp_path: Path) -> None:
    """While another process writes (a migration) a call waits, but never in the thread that runs all greenlets."""
    migrate(tmp_path / "payments.db")
    waited: list[str] = []
    other: list[apsw.Connection] = []

    def offload(job: Callable[[], None]) -> None:
        if other:
            waited.append("began")
            timer = threading.Timer(0.01, other.pop().close)
            timer.start()
            job()
            timer.join()
        else:
            job()

    store = SqliteStore(tmp_path / "payments.db", clock=Clock(), offload=offload)
    other.append(_held(tmp_path / "payments.db"))
    assert store.append([Customer().deposit("t1")]) == [COMMITTED]
    assert waited == ["began"]
    store.close()


def test_another_writer_that_does_not_end_makes_the_store_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the busy time the call fails with nothing stored. The next call works when the other writer has ended."""
    monkeypatch.setattr(write_connection, "BUSY_TIMEOUT_MS", 1)
    migrate(tmp_path / "payments.db")
    store = SqliteStore(tmp_path / "payments.db", clock=Clock())
    other = _held(tmp_path / "payments.db")
    write = Customer().deposit("t1")
    with pytest.raises(StoreUnavailableError):
        store.append([write])
    assert versions(store, write.stream) == []
    other.close()
    assert store.append([write]) == [COMMITTED]
    store.close()


def test_only_the_commit_leaves_the_callers_thread(tmp_path: Path) -> None:
    """A batch of any size is handed over once: each return from another thread costs more than a statement."""
    migrate(tmp_path / "payments.db")
    handed_over = 0

    def offload(job: Callable[[], None]) -> None:
        nonlocal handed_over
        handed_over += 1
        thread = threading.Thread(target=job)
        thread.start()
        thread.join()

    store = SqliteStore(tmp_path / "payments.db", clock=Clock(), offload=offload)
    assert store.append([Customer(f"c{n}").deposit(f"t{n}") for n in range(50)]) == [COMMITTED] * 50
    assert handed_over == 1
    store.load(StreamKey("main", "c1"), ["t1"])
    store.ping()
    assert handed_over == 1
    store.close()


class _KilledError(BaseException):
    """Stands for a greenlet that is killed during its commit."""


def _dies_before(job: Callable[[], None]) -> None:
    raise _KilledError


def _dies_after(job: Callable[[], None]) -> None:
    job()
    raise _KilledError


@pytest.mark.parametrize(("death", "stored"), [(_dies_before, []), (_dies_after, [1])])
def test_a_caller_that_is_killed_during_its_commit(tmp_path: Path, death: Offload, stored: list[int]) -> None:
    """A caller that is killed while it hands over its commit leaves the store usable. Its write is whole or absent."""
    migrate(tmp_path / "payments.db")
    offload: list[Offload] = [run_directly]

    def hand_over(job: Callable[[], None]) -> None:
        offload[0](job)

    store = SqliteStore(tmp_path / "payments.db", clock=Clock(), offload=hand_over)
    write = Customer().deposit("t1")
    offload[0] = death
    with pytest.raises(_KilledError):
        store.append([write])
    offload[0] = run_directly
    assert store.append([Customer("other").deposit("t2")]) == [COMMITTED]
    assert versions(store, write.stream) == stored
    assert store.append([write]) == [COMMITTED]
    assert versions(store, write.stream) == [1]
    store.close()
