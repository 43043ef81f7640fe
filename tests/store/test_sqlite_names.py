"""Other names of a database that a service has: links, mounts, a missing lock file. There are never two services."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from store.errors import StoreUnavailableError
from store.sqlite import command_connections
from store.sqlite.adapter import SqliteStore
from store.sqlite.audit import open_audit
from store.sqlite.keys import open_keyring
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from store.sqlite.rebuild import open_rebuild
from tests.store.builders import OWNER, Clock
from tests.store.processes import CHECKOUT, child, line
from tests.store.serving import Service, StillHeldError, give_up, remove, replace
from tests.store.tampering import fill


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that is stopped after the test."""
    service = Service(tmp_path / "payments.db")
    yield service
    service.stop()


OPENINGS: dict[str, Callable[[Path], AbstractContextManager[object]]] = {
    "audit": open_audit,
    "keys": lambda path: open_keyring(path, Clock()),
    "rebuild": open_rebuild,
    "lock": lambda path: StoreLock.acquire(path, sleep=give_up),
}


@pytest.mark.parametrize("name", OPENINGS)
def test_a_file_of_two_names_is_refused(tmp_path: Path, name: str) -> None:
    """Each opening refuses both names with one line, because each name would have a log of its own."""
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
    """The other name of a file in use is refused, and so is a second service after that name was removed."""
    path, other = tmp_path / "payments.db", tmp_path / "other.db"
    with child("lock", path) as first:
        assert line(first) == "held"
        other.hardlink_to(path)
        with pytest.raises(StoreUnavailableError, match="2 names"):
            StoreLock.acquire(other, sleep=give_up)
        other.unlink()
        with pytest.raises(StillHeldError):
            StoreLock.acquire(path, sleep=give_up)


@pytest.mark.parametrize("harm", [remove, replace])
def test_a_missing_lock_file_admits_no_second_service(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """The lock is also on the database itself. A command beside the service requests a restart."""
    path = tmp_path / "payments.db"
    fill(path)
    with child("lock", path) as first:
        assert line(first) == "held"
        harm(tmp_path / "payments.db.lock")
        with pytest.raises(StillHeldError):
            StoreLock.acquire(path, sleep=give_up)
        with pytest.raises(StoreUnavailableError, match="lock file was removed"), open_audit(path):
            pass
        first.kill()
        first.wait()
        with StoreLock.acquire(path, sleep=give_up):
            pass


def test_a_file_that_is_moved_during_the_wait_for_its_lock(tmp_path: Path) -> None:
    """The file that is locked in the end is the one at the path then, not the one that was waited for."""
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
    """Run shell commands in a new mount namespace. The test is skipped where that is not permitted."""
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
    """In another mount namespace, the file cannot be opened by a name that the service does not use."""
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
    """The log is the same there. Commands work while the service runs, and a second service waits."""
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


def test_a_check_drops_no_lock_of_the_service(service: Service) -> None:
    """Whatever this process opens and closes of its database, no other process gets the file exclusively."""
    service.lock.release()  # otherwise its descriptor would stay open in any case
    for _ in range(2):
        StoreLock.acquire(service.path, sleep=give_up).release()
        command_connections.check_service_files(service.path)
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
