"""The database's files are removed, moved and replaced. Then nothing is reported as stored."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import StreamKey
from store.sqlite import write_connection
from store.sqlite.adapter import SqliteStore
from store.sqlite.connection import open_reader
from store.sqlite.files import is_locked_elsewhere
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from tests.store.builders import OWNER, Clock, Customer
from tests.store.looking import contents, versions
from tests.store.processes import CHECKOUT
from tests.store.serving import COMMITTED, FILES, Service, give_up, move, remove, replace
from tests.store.tampering import fill


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that is stopped after the test."""
    service = Service(tmp_path / "payments.db")
    yield service
    service.stop()


@pytest.mark.parametrize("harm", [remove, move, replace])
@pytest.mark.parametrize("suffix", FILES)
def test_nothing_is_stored_in_displaced_files(
    service: Service, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], suffix: str
) -> None:
    """Every write is refused as not stored, with the file and the remedy. The log has it once."""
    harm(service.file(suffix))
    with caplog.at_level(logging.CRITICAL):
        for attempt in (
            lambda: service.store.append([Customer("late").deposit("t1")]),
            lambda: service.store.heartbeat(OWNER),
            lambda: service.store.claim_work(OWNER, "gatewayA", 5),
        ):
            with pytest.raises(StoreUnavailableError, match=rf"payments\.db{suffix} was .*: .*restart|start it again"):
                attempt()
    assert len(caplog.records) == 1
    with pytest.raises(StoreUnavailableError):
        service.store.ping()


@pytest.mark.parametrize("harm", [remove, move, replace])
def test_nothing_is_read_from_a_displaced_database(service: Service, harm: Callable[[Path], None]) -> None:
    """A read is refused at once, even before any write has found the mismatch: it would read a removed file."""
    assert versions(service.store, StreamKey("main", "first")) == [1]  # so that a reader is open
    harm(service.path)
    with pytest.raises(StoreUnavailableError, match=r"payments\.db was"):
        service.store.load(StreamKey("main", "first"))


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("batch", [["a"], ["a", "a"]], ids=["one statement", "one by one"])
def test_a_commit_during_which_a_file_is_moved_is_uncertain(service: Service, suffix: str, batch: list[str]) -> None:
    """The commit went into files that may return, so neither "stored" nor "not stored" is true."""
    customer = Customer("late")
    writes = [customer.deposit(f"late-{number}") for number, _ in enumerate(batch)]

    def move_away() -> None:
        service.after_commit = lambda: None
        move(service.file(suffix))

    service.after_commit = move_away
    with pytest.raises(CommitUncertainError, match=r"restart|start it again"):
        service.store.append(writes)


def test_a_file_that_returned_is_not_trusted(service: Service) -> None:
    """Other processes may have used the file. Only a restart reads it again, and finds all acknowledged writes."""
    service.path.rename(service.file(".away"))
    with pytest.raises(StoreUnavailableError):
        service.store.heartbeat(OWNER)
    service.file(".away").rename(service.path)
    with pytest.raises(StoreUnavailableError):
        service.store.heartbeat(OWNER)
    service.stop()
    again = SqliteStore(service.path, clock=Clock())
    assert versions(again, StreamKey("main", "first")) == [1]
    again.close()


def test_a_log_without_a_name_is_saved(service: Service, tmp_path: Path) -> None:
    """When the log has lost its name, its content is copied into the database at once: the process may die next."""
    before = contents(service.store)
    service.file("-wal").unlink()
    with pytest.raises(StoreUnavailableError):
        service.store.heartbeat(OWNER)
    shutil.copy(service.path, tmp_path / "left.db")
    left = SqliteStore(tmp_path / "left.db", clock=Clock())
    assert contents(left) == before
    left.close()


def test_the_end_of_a_service_changes_no_other_database(service: Service, tmp_path: Path) -> None:
    """A service whose database was moved does not change the files that are at the path now, the log included."""
    for suffix in FILES:
        service.file(suffix).rename(tmp_path / f"old.db{suffix}")
    with pytest.raises(StoreUnavailableError):
        service.store.heartbeat(OWNER)
    newer = Service(service.path)
    service.stop()
    assert newer.store.append([Customer("late").deposit("t1")]) == [COMMITTED]
    newer.stop()
    old = SqliteStore(tmp_path / "old.db", clock=Clock())
    assert versions(old, StreamKey("main", "first")) == [1]
    old.close()


def test_a_reader_opened_later_reads_what_the_writer_writes(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was opened while another file was at the path is not used, even if the path is right again."""
    fill(tmp_path / "other.db")
    ours = ("", "-wal", "-shm")

    def open_at_the_wrong_moment(path: Path) -> apsw.Connection:
        for suffix in ours:
            service.file(suffix).rename(tmp_path / f"away.db{suffix}")
        (tmp_path / "other.db").rename(path)
        connection = open_reader(path)
        for suffix in ours:
            (tmp_path / f"away.db{suffix}").replace(service.file(suffix))
        return connection

    monkeypatch.setattr(write_connection, "open_reader", open_at_the_wrong_moment)
    with pytest.raises(StoreUnavailableError, match=r"payments\.db was replaced while it was opened"):
        service.store.load(StreamKey("main", "first"))
    monkeypatch.undo()
    with pytest.raises(StoreUnavailableError, match="restart"):
        service.store.heartbeat(OWNER)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_command_beside_a_service_without_its_log(service: Service, suffix: str) -> None:
    """It would create a log of its own, so it is refused. Another process's lock shows that there is a service."""
    script = f"""
from pathlib import Path
from store.sqlite import command_connections
command_connections._LOOKS = 1
try:
    command_connections.check_service_files(Path({str(service.path)!r}))
except Exception as error:
    print(error)
"""
    service.file(suffix).unlink()
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert f"{suffix} is not there: restart it" in done.stdout, done.stderr


@pytest.mark.parametrize("trace", [".lock", "-wal"])
def test_a_missing_database_is_not_replaced_by_an_empty_one(tmp_path: Path, trace: str) -> None:
    """After a restart without the file, nothing is accepted into an empty one until the operator removes the traces."""
    path = tmp_path / "payments.db"
    fill(path)
    path.unlink()
    path.with_name(path.name + trace).write_text("1\n")
    for attempt in (lambda: StoreLock.acquire(path, sleep=give_up), lambda: migrate(path)):
        with pytest.raises(StoreUnavailableError, match=rf"payments\.db is gone, and payments\.db{trace} beside it"):
            attempt()
    assert not path.exists()
    path.with_name(path.name + trace).unlink()
    with StoreLock.acquire(path, sleep=give_up):
        assert migrate(path)


BEGIN = "import sys, apsw; apsw.Connection(sys.argv[1]).execute('BEGIN IMMEDIATE')"


def test_a_check_of_the_lock_keeps_the_locks_of_connections(tmp_path: Path) -> None:
    """The check leaves its descriptor open. Closing it would drop SQLite's own locks, and admit a second writer."""
    path = tmp_path / "restored.db"
    with closing(apsw.Connection(str(path))) as connection:  # no log yet, so that the locks are on the file itself
        connection.execute("BEGIN IMMEDIATE")
        assert not is_locked_elsewhere(path)
        second = subprocess.run([sys.executable, "-c", BEGIN, str(path)], capture_output=True, check=False, timeout=60)
    assert b"BusyError" in second.stderr
