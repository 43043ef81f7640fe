"""Databases that can only be read: on a read-only mount, in a folder of another user; and the texts of failures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from store.sqlite.audit import open_audit
from store.sqlite.backup import copy
from store.sqlite.migrate import migrate
from tests.store.processes import CHECKOUT
from tests.store.tampering import fill, problems

NOBODY = 65534
# Runs as the other user with all that it needs imported: the checkout may be hidden from that user.
SCRIPT = """
import os, sys
from pathlib import Path
from datetime import UTC, datetime
from store.sqlite import audit, backup, keys, migrate, rebuild
from store.errors import StoreError
from store.verify import Tally, verify
from tests.store.builders import Clock
path, user, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
try:
    if what == "audit":
        tally = Tally()
        with audit.open_audit(path) as view:
            found = list(verify(view, (), tally))
        print(tally.streams, tally.events, [one.text for one in found])
    elif what == "keys":
        with keys.open_keyring(path, Clock()) as keyring:
            print(len(keyring.list()), "keys")
    elif what == "revoke":
        with keys.open_keyring(path, Clock()) as keyring:
            keyring.revoke("x" * 13)
    elif what == "migrate":
        print(migrate.migrate(path))
    elif what == "rebuild":
        with rebuild.open_rebuild(path):
            pass
    elif what == "backup":
        backup.copy(path, Path(sys.argv[4]))
except StoreError as error:
    print(f"{type(error).__name__}: {error}")
"""
WHOLE = "2 17 []\n"


def clean(folder: Path) -> Path:
    """The files after an orderly stop of a service: no log."""
    fill(folder / "payments.db")
    return folder / "payments.db"


def with_log(folder: Path) -> Path:
    """A copy of a database and its log without the log's index, which some tools do not copy."""
    return _left(folder, ("", "-wal"))


def with_index(folder: Path) -> Path:
    """The files of a process that was killed."""
    return _left(folder, ("", "-wal", "-shm"))


def _left(folder: Path, suffixes: tuple[str, ...]) -> Path:
    # All data except the tables are in the log: without the log no events are found.
    script = f"""
import os
from pathlib import Path
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.store.builders import Clock
from tests.store.tampering import append
path = Path({str(folder / "source.db")!r})
migrate(path)
store = SqliteStore(path, clock=Clock())  # kept: a collected store would close and remove its log
append(store)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=True)
    for suffix in suffixes:
        shutil.copy(folder / f"source.db{suffix}", folder / f"payments.db{suffix}")
    for file in folder.glob("source.db*"):
        file.unlink()
    return folder / "payments.db"


def in_one_file(folder: Path) -> Path:
    """The file of a backup."""
    fill(folder / "source.db")
    copy(folder / "source.db", folder / "payments.db")
    (folder / "payments.db").chmod(0o644)
    return folder / "payments.db"


STATES = [clean, with_log, with_index, in_one_file]


def run(path: Path, *what: str, user: int = 0, read_only: bool = False) -> str:
    """The output of a command on the database, as the user of that number, on a read-only mount if requested."""
    command = [sys.executable, "-c", SCRIPT, str(path), str(user), *what]
    if read_only:
        if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
            pytest.skip("mount namespaces are not permitted here")
        folder = path.parent
        script = f'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec "$@"'
        command = ["unshare", "-m", "sh", "-ec", script, "sh", *command]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may read, unlike those of pytest."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("state", STATES)
def test_a_read_only_mount(folder: Path, state: Callable[[Path], Path]) -> None:
    """All stored data are read, the log included. No permission is needed that the mount does not give."""
    path = state(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert run(path, "audit", read_only=True) == WHOLE
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("state", STATES)
def test_a_folder_that_another_user_may_only_read(folder: Path, state: Callable[[Path], Path]) -> None:
    """The same holds for a user without write permission on the files and their folder."""
    path = state(folder)
    assert run(path, "audit", user=NOBODY) == WHOLE


def test_other_commands_that_only_read(folder: Path, tmp_path: Path) -> None:
    """The list of keys and a backup to another folder need only read access."""
    path = with_log(folder)
    assert run(path, "keys", read_only=True) == "0 keys\n"
    assert run(path, "backup", str(tmp_path / "b.db"), read_only=True) == ""
    assert problems(tmp_path / "b.db") == []


@pytest.mark.parametrize("what", ["revoke", "migrate", "rebuild"])
def test_a_failed_write_names_the_file_and_the_reason(folder: Path, what: str) -> None:
    """A command that must write reports which file it cannot write, and why."""
    path = clean(folder)
    said = run(path, what, read_only=True)
    assert said.startswith("StoreUnavailableError: ")
    assert "payments.db" in said
    assert "read-only" in said.lower()
    assert said.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_file_that_may_not_be_read(folder: Path) -> None:
    """The error names the file, and states that this user may not read it."""
    path = clean(folder)
    path.chmod(0o600)
    assert run(path, "audit", user=NOBODY) == f"StoreUnavailableError: {path} cannot be opened: Permission denied\n"
    path.chmod(0o644)
    folder.chmod(0o700)
    assert "Permission denied" in run(path, "audit", user=NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_log_that_may_not_be_read(folder: Path) -> None:
    """Without the log nothing is read, since it contains the newest commits. The error names the log."""
    path = with_index(folder)
    path.with_name("payments.db-wal").chmod(0o600)
    assert "this user may not read payments.db-wal" in run(path, "audit", user=NOBODY)


def test_a_file_that_changes_while_it_is_read(folder: Path) -> None:
    """A file that was opened as immutable and changes nevertheless gives no result."""
    path = clean(folder)
    script = f"""
from pathlib import Path
import os
from store.sqlite import command_connections
from store.sqlite.audit import open_audit
path = Path({str(path)!r})
command_connections.open_reader = lambda path, how=None, vfs=None, real=command_connections.open_reader: (
    real(path, how=how, vfs=vfs) if how else (_ for _ in ()).throw(command_connections.apsw.CantOpenError("no"))
)
command_connections.os.access = lambda *_, **__: False
try:
    with open_audit(path) as view:
        os.utime(path)
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.stdout == f"{path} was changed while it was read: begin again\n", done.stderr


def test_beside_a_service_on_another_mount(folder: Path) -> None:
    """A read-only view of a database that a service writes shows all stored data, the log included."""
    path = clean(folder)
    script = f"""
import subprocess, sys, time
from pathlib import Path
from store.sqlite.adapter import SqliteStore
from store.sqlite.lock import StoreLock
from tests.store.builders import Clock, Customer
path = Path({str(path)!r})
lock = StoreLock.acquire(path, sleep=time.sleep)
store = SqliteStore(path, clock=Clock(), lock=lock)
store.append([Customer("new").deposit("new")])
print("stored", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "stored\n"
        assert run(path, "audit", read_only=True) == "3 18 []\n"
        service.communicate()


def test_a_migration_in_a_folder_that_cannot_be_written(folder: Path) -> None:
    """The error names the file that cannot be created."""
    said = run(folder / "payments.db", "migrate", read_only=True)
    assert said.startswith(f"StoreUnavailableError: {folder / 'payments.db'}: CantOpenError")
    assert "mounted read-only" in said
    assert migrate(folder / "payments.db")
    with open_audit(folder / "payments.db"):
        pass
