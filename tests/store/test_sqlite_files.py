"""The database's files removed, moved, replaced, linked and mounted elsewhere: nothing is said to be stored then."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import apsw
import pytest

from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import Committed, StreamKey
from store.sqlite import adapter as adapter_module
from store.sqlite import beside
from store.sqlite.adapter import SqliteStore
from store.sqlite.audit import open_audit
from store.sqlite.connection import open_reader
from store.sqlite.keys import open_keyring
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from store.sqlite.rebuild import open_rebuild
from tests.store.builders import OWNER, Clock, Customer
from tests.store.looking import contents, versions
from tests.store.processes import CHECKOUT, child, line
from tests.store.tampering import fill

COMMITTED = Committed()
FILES = ("", "-wal", "-shm", ".lock")


class _StillHeldError(Exception):
    """Ends a wait that would not end."""


def _give_up(_seconds: float) -> None:
    raise _StillHeldError


class Service:
    """A store as a service has it, under its lock, with one deposit in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.after_commit: Callable[[], None] = lambda: None
        self.lock = StoreLock.acquire(path, sleep=_give_up)
        migrate(path)
        self.store = SqliteStore(path, clock=Clock(), lock=self.lock, offload=self._offload)
        self.store.register_owner(OWNER)
        assert self.store.append([Customer("first").deposit("t0")]) == [COMMITTED]

    def _offload(self, job: Callable[[], None]) -> None:
        job()
        self.after_commit()

    def file(self, suffix: str) -> Path:
        """One of the database's files."""
        return self.path.with_name(self.path.name + suffix)

    def stop(self) -> None:
        """As at an orderly end."""
        self.store.close()
        self.lock.release()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service, ended in any case."""
    service = Service(tmp_path / "payments.db")
    yield service
    service.stop()


def remove(file: Path) -> None:
    """Take the file away for good."""
    file.unlink()


def move(file: Path) -> None:
    """Give the file another name."""
    file.rename(file.with_name(f"elsewhere{file.suffix}"))


def replace(file: Path) -> None:
    """Put a copy in its place, as of a backup."""
    copy = file.with_name(f"copy{file.suffix}")
    shutil.copy(file, copy)
    copy.replace(file)


@pytest.mark.parametrize("harm", [remove, move, replace])
@pytest.mark.parametrize("suffix", FILES)
def test_nothing_is_stored_in_files_that_are_not_in_their_places(
    service: Service, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], suffix: str
) -> None:
    """Every write is refused as not stored, with the file and what to do; the log says it once."""
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
def test_nothing_is_read_from_a_database_that_is_not_in_its_place(
    service: Service, harm: Callable[[Path], None]
) -> None:
    """A read is refused at once, before any write has met the trouble: it would tell of a file that is gone."""
    harm(service.path)
    with pytest.raises(StoreUnavailableError, match=r"payments\.db was"):
        service.store.load(StreamKey("main", "first"))


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("batch", [["a"], ["a", "a"]], ids=["one statement", "one by one"])
def test_a_commit_during_which_a_file_goes_is_uncertain(service: Service, suffix: str, batch: list[str]) -> None:
    """It went into files that may come back, so that neither "stored" nor "not stored" is true."""
    customer = Customer("late")
    writes = [customer.deposit(f"late-{number}") for number, _ in enumerate(batch)]

    def move_away() -> None:
        service.after_commit = lambda: None
        move(service.file(suffix))

    service.after_commit = move_away
    with pytest.raises(CommitUncertainError, match=r"restart|start it again"):
        service.store.append(writes)


def test_a_file_that_came_back_is_not_trusted(service: Service) -> None:
    """Others may have had it meanwhile: only a restart reads it anew. Then all that was acknowledged is there."""
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
    """With the log's name gone, what it holds is brought into the database at once: the process may die next."""
    before = contents(service.store)
    service.file("-wal").unlink()
    with pytest.raises(StoreUnavailableError):
        service.store.heartbeat(OWNER)
    shutil.copy(service.path, tmp_path / "left.db")
    left = SqliteStore(tmp_path / "left.db", clock=Clock())
    assert contents(left) == before
    left.close()


def test_the_end_of_a_service_harms_no_other_database(service: Service, tmp_path: Path) -> None:
    """A service whose database was moved leaves alone what lies at the path by now, the log included."""
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
    """One that was opened while another file was at the path is not used, though the path is right again."""
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

    monkeypatch.setattr(adapter_module, "open_reader", open_at_the_wrong_moment)
    with pytest.raises(StoreUnavailableError, match=r"payments\.db was replaced while it was opened"):
        service.store.load(StreamKey("main", "first"))
    monkeypatch.undo()
    with pytest.raises(StoreUnavailableError, match="restart"):
        service.store.heartbeat(OWNER)


OPENINGS: dict[str, Callable[[Path], AbstractContextManager[object]]] = {
    "audit": open_audit,
    "keys": lambda path: open_keyring(path, Clock()),
    "rebuild": open_rebuild,
    "lock": lambda path: StoreLock.acquire(path, sleep=_give_up),
}


@pytest.mark.parametrize("name", OPENINGS)
def test_a_file_of_two_names_is_refused(tmp_path: Path, name: str) -> None:
    """By each of the names, with one line, whatever wants to open it: each name would have a log of its own."""
    path = tmp_path / "payments.db"
    fill(path)
    (tmp_path / "other.db").hardlink_to(path)
    for one in (path, tmp_path / "other.db"):
        with pytest.raises(StoreUnavailableError, match=r"\.db has 2 names \(hard links\)"), OPENINGS[name](one):
            pass
        with pytest.raises(StoreUnavailableError, match="2 names"):
            migrate(one)
        with pytest.raises(StoreUnavailableError, match="2 names"):
            SqliteStore(one, clock=Clock())
    (tmp_path / "other.db").unlink()
    with OPENINGS[name](path):
        pass


def test_a_name_made_later_admits_no_second_service(tmp_path: Path) -> None:
    """The other name of a file in use is refused, and so is a second service when that name is gone again."""
    path, other = tmp_path / "payments.db", tmp_path / "other.db"
    with child("lock", path) as first:
        assert line(first) == "held"
        other.hardlink_to(path)
        with pytest.raises(StoreUnavailableError, match="2 names"):
            StoreLock.acquire(other, sleep=_give_up)
        other.unlink()
        with pytest.raises(_StillHeldError):
            StoreLock.acquire(path, sleep=_give_up)


@pytest.mark.parametrize("harm", [remove, replace])
def test_a_lock_file_that_is_gone_admits_no_second_service(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """The lock is on the database itself, too. A command beside the service asks for a restart."""
    path = tmp_path / "payments.db"
    fill(path)
    with child("lock", path) as first:
        assert line(first) == "held"
        harm(tmp_path / "payments.db.lock")
        with pytest.raises(_StillHeldError):
            StoreLock.acquire(path, sleep=_give_up)
        with pytest.raises(StoreUnavailableError, match="lock file was removed"), open_audit(path):
            pass
        first.kill()
        first.wait()
        with StoreLock.acquire(path, sleep=_give_up):
            pass


def test_a_file_moved_while_it_is_waited_for(tmp_path: Path) -> None:
    """What is locked in the end is the file that is at the path by then, not the one that was waited for."""
    path = tmp_path / "payments.db"
    fill(path)
    fill(tmp_path / "backup.db")
    with child("lock", path) as first:
        assert line(first) == "held"

        def sleep(_seconds: float) -> None:
            path.rename(tmp_path / "old.db")
            (tmp_path / "backup.db").rename(path)
            first.kill()
            first.wait()

        with StoreLock.acquire(path, sleep=sleep) as lock:
            assert lock.locked.database.inode == path.stat().st_ino


def mounted(*commands: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands in a mount namespace of their own; skip where that is not permitted."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not permitted here")
    return subprocess.run(
        ["unshare", "-m", "sh", "-ec", "\n".join(commands)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_bind_mount_of_the_file(service: Service, tmp_path: Path) -> None:
    """Under a name that the service does not know, in another mount namespace, nothing gets at the file."""
    other = tmp_path / "mounted" / "payments.db"
    other.parent.mkdir()
    other.touch()
    mount = f"mount --bind {service.path} {other}"
    script = f"""
from pathlib import Path
from store.sqlite import audit, lock
path = Path({str(other)!r})
def give_up(_):
    print("waits")
    raise SystemExit
try:
    audit.open_audit(path).__enter__()
except Exception as error:
    print(error)
lock.StoreLock.acquire(path, sleep=give_up)
"""
    done = mounted(mount, f"{sys.executable} -c '{script.replace(chr(39), chr(34))}'")
    assert done.stdout.splitlines() == [
        f"a process works on {other} by another name, or its lock file was removed: use that name, or restart it",
        "waits",
    ], done.stderr


def test_a_bind_mount_of_the_folder(service: Service, tmp_path: Path) -> None:
    """There the log is the same, so that commands work beside the service, and a second service waits."""
    (tmp_path / "mounted").mkdir()
    script = f"""
from pathlib import Path
from store.sqlite import audit, lock
path = Path({str(tmp_path / "mounted" / "payments.db")!r})
def give_up(_):
    print("waits")
    raise SystemExit
with audit.open_audit(path) as view:
    print(len(list(view.streams())))
lock.StoreLock.acquire(path, sleep=give_up)
"""
    done = mounted(
        f"mount --bind {tmp_path} {tmp_path / 'mounted'}",
        f"{sys.executable} -c '{script.replace(chr(39), chr(34))}'",
    )
    assert done.stdout.splitlines() == ["1", "waits"], done.stderr


def test_looking_drops_no_lock_of_the_service(service: Service) -> None:
    """Whatever this process opens and closes of its database, no other gets the file for itself alone."""
    for _ in range(2):
        with pytest.raises(_StillHeldError):
            StoreLock.acquire(service.path, sleep=_give_up)
        beside.check_beside(service.path)
        with service.store.audit() as audit:
            assert list(audit.streams())
    script = f"""
import apsw
connection = apsw.Connection({str(service.path)!r})
try:
    print(connection.pragma("journal_mode", "DELETE"))
except apsw.BusyError:
    print("busy")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "busy\n", done.stderr
    assert service.store.heartbeat(OWNER)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_command_beside_a_service_without_its_log(
    service: Service, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """It would make a log of its own, and is refused; another process's lock shows that there is a service."""
    monkeypatch.setattr(beside, "_LOOKS", 1)
    script = f"""
from pathlib import Path
from store.sqlite import beside
beside._LOOKS = 1
try:
    beside.check_beside(Path({str(service.path)!r}))
except Exception as error:
    print(error)
"""
    service.file(suffix).unlink()
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert f"{suffix} was removed: restart it" in done.stdout, done.stderr


@pytest.mark.parametrize("trace", [".lock", "-wal"])
def test_a_database_that_is_gone_is_not_begun_anew(tmp_path: Path, trace: str) -> None:
    """After a restart without the file nothing is accepted into an empty one, until an operator wants that."""
    path = tmp_path / "payments.db"
    fill(path)
    path.unlink()
    path.with_name(path.name + trace).write_text("1\n")
    for attempt in (lambda: StoreLock.acquire(path, sleep=_give_up), lambda: migrate(path)):
        with pytest.raises(StoreUnavailableError, match=rf"payments\.db is gone, and payments\.db{trace} beside it"):
            attempt()
    assert not path.exists()
    path.with_name(path.name + trace).unlink()
    with StoreLock.acquire(path, sleep=_give_up):
        assert migrate(path)
