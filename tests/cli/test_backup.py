"""``manage.py backup``: complete beside a running service, checked before it gets its name, and in a single file."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from store.port import Committed, StreamKey
from store.sqlite.adapter import SqliteStore
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from store.verify import Tally
from tests.processes.installation import CHECKOUT
from tests.store.builders import OWNER, Clock, Customer
from tests.store.looking import versions
from tests.store.tampering import append, fill, problems, tamper


def manage(database: Path | str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on ``database``, a file or a URL."""
    url = database if isinstance(database, str) else f"sqlite:///{database}"
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=CHECKOUT,
        env={**os.environ, "PAYMENTS_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SqliteStore]:
    """An open store whose events are only in its log; the database file has the tables."""
    path = tmp_path / "payments.db"
    with StoreLock.acquire(path, sleep=lambda _: None) as lock:
        migrate(path)
        store = SqliteStore(path, clock=Clock(), lock=lock)
        append(store)
        yield store
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that no process has open."""
    fill(tmp_path / "payments.db")
    return tmp_path / "payments.db"


def test_backup_beside_a_running_service(service: SqliteStore, tmp_path: Path) -> None:
    """A backup holds all committed events in one file that only its owner can read. The service continues meanwhile."""
    done = manage(tmp_path / "payments.db", "backup", str(tmp_path / "b.db"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 streams, 17 events, ")
    assert done.stdout.endswith(f" 0 problems in {tmp_path / 'b.db'}, copied from {tmp_path / 'payments.db'}\n")
    assert service.append([Customer("later").deposit("later")]) == [Committed()]
    assert sorted(file.name for file in tmp_path.glob("*b.db*")) == ["b.db"], "no log and no temporary file remain"
    assert stat.S_IMODE((tmp_path / "b.db").stat().st_mode) == 0o600
    tally = Tally()
    assert problems(tmp_path / "b.db", tally=tally) == []
    assert (tally.streams, tally.events) == (2, 17)


def test_a_service_starts_on_a_backup(service: SqliteStore, tmp_path: Path) -> None:
    """A service can start on a backup: it is an ordinary database, and not marked as in use."""
    assert manage(tmp_path / "payments.db", "backup", str(tmp_path / "b.db")).returncode == 0
    done = manage(tmp_path / "b.db", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    with StoreLock.acquire(tmp_path / "b.db", sleep=lambda _: None) as lock:
        assert migrate(tmp_path / "b.db") == []
        store = SqliteStore(tmp_path / "b.db", clock=Clock(), lock=lock)
        store.register_owner(OWNER)
        assert store.append([Customer("new").deposit("new")]) == [Committed()]
        assert versions(store, StreamKey("main", "new")) == [1]
        store.close()


def test_an_existing_file_is_overwritten_only_with_the_option(path: Path, tmp_path: Path) -> None:
    """An existing file is refused without ``--overwrite``.

    With it, the file is replaced only when the backup is complete.
    """
    target = tmp_path / "b.db"
    target.write_text("yesterday")
    done = manage(path, "backup", str(target))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"manage.py backup: {target} exists: name another file, or permit it with --overwrite\n")
    assert target.read_text() == "yesterday"
    assert manage(path, "backup", "--overwrite", str(target)).returncode == 0
    assert problems(target) == []


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
def test_the_database_is_not_its_own_backup(service: SqliteStore, tmp_path: Path, suffix: str) -> None:
    """The database's own files are refused under any name, even with ``--overwrite``."""
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / f"payments.db{suffix}")
    for name in (f"payments.db{suffix}", "link.db"):
        done = manage(tmp_path / "payments.db", "backup", "--overwrite", str(tmp_path / name))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "is a file of the database itself" in done.stderr
    assert len(service.stream_events(StreamKey("main", "a"), after=0, limit=5)) == 5


def test_a_database_with_problems_is_not_backed_up(path: Path, tmp_path: Path) -> None:
    """If the copy has problems, ``backup`` prints them and removes the copy."""
    tamper(path, "UPDATE balances SET available_minor = 7 WHERE stream_id = 'a'")
    done = manage(path, "backup", str(tmp_path / "b.db"))
    assert done.returncode == 1
    assert "the row of balance USD differs from its events" in done.stdout
    assert done.stderr.endswith("the database has 1 problems, which manage.py verify lists\n")
    assert list(tmp_path.glob("*b.db*")) == []


def test_a_database_without_its_log_is_not_backed_up(service: SqliteStore, tmp_path: Path) -> None:
    """A file without its log is refused as the source, because its backup would appear sound."""
    shutil.copy(tmp_path / "payments.db", tmp_path / "copy.db")
    done = manage(tmp_path / "copy.db", "backup", str(tmp_path / "b.db"))
    assert done.returncode == 1
    assert "copy.db-wal is not beside it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("*b.db*")) == []


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("none/b.db", "there is no folder"),
        (".", "is a folder"),
        ("payments.db/b.db", "there is no folder"),
        (f"{'b' * 300}", "File name too long"),
    ],
)
def test_targets_that_cannot_be_written(path: Path, tmp_path: Path, target: str, expected: str) -> None:
    """A target that cannot be written gives one line with the reason, and no file remains."""
    before = sorted(tmp_path.iterdir())
    done = manage(path, "backup", str(tmp_path / target))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert expected in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_postgresql_database_is_refused(tmp_path: Path) -> None:
    """A PostgreSQL URL is refused without a connection; the error names the tools to use."""
    done = manage("postgresql://nobody@127.0.0.1:1/none", "backup", str(tmp_path / "b.db"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "manage.py backup: the database is a PostgreSQL server's: back it up with pg_basebackup or pg_dump"
        " (docs/backup.md)\n"
    )


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    """A missing database is reported and not created."""
    done = manage(tmp_path / "none.db", "backup", str(tmp_path / "b.db"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no database none.db" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_verify_reports_a_copy_without_its_log(service: SqliteStore, tmp_path: Path) -> None:
    """``verify`` reports a database that was copied without its log, although the copy itself is consistent."""
    shutil.copy(tmp_path / "payments.db", tmp_path / "copy.db")
    done = manage(tmp_path / "copy.db", "verify")
    assert done.returncode == 1
    assert "copy.db-wal is not beside it: what was written last is missing" in done.stdout
    assert done.stdout.endswith(f"0 streams, 0 events, 0 earlier heads, 1 problems in {tmp_path / 'copy.db'}\n")
    assert manage(tmp_path / "copy.db", "verify").returncode == 1, (
        "the first verify made an empty log; the report stays the same"
    )
    assert manage(tmp_path / "payments.db", "verify").returncode == 0, "the service's own database is complete"
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"payments.db{suffix}", tmp_path / f"both.db{suffix}")
    assert manage(tmp_path / "both.db", "verify").returncode == 0, "a copy with its log is complete"


def test_verify_of_the_database_of_a_killed_service(path: Path) -> None:
    """A database of a killed service is sound with its log, and loses its mark at the next orderly stop."""
    script = f"""
import os
from pathlib import Path
from tests.store.serving import Service
Service(Path({str(path)!r}))
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=False)
    assert manage(path, "keys", "create", "--merchant", "main", "--scope", "operations").returncode == 0
    assert manage(path, "migrate").returncode == 0
    assert manage(path, "rebuild").returncode == 0
    done = manage(path, "verify")
    assert done.returncode == 0, done.stdout
    assert "3 streams, 18 events" in done.stdout
    with StoreLock.acquire(path, sleep=lambda _: None) as lock:
        SqliteStore(path, clock=Clock(), lock=lock).close()
    assert not path.with_name("payments.db-wal").exists()
    assert manage(path, "verify").returncode == 0


def test_a_service_on_a_copy_without_its_log_reports_it(
    service: SqliteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that starts on a copy without its log logs this, because deposits may be missing."""
    shutil.copy(tmp_path / "payments.db", tmp_path / "copy.db")
    with StoreLock.acquire(tmp_path / "copy.db", sleep=lambda _: None) as lock:
        SqliteStore(tmp_path / "copy.db", clock=Clock(), lock=lock).close()
    assert "copy.db-wal is not beside it" in caplog.text


def test_verify_of_an_empty_database(tmp_path: Path) -> None:
    """A database without events has no problems; a warning shows that it may be the wrong one."""
    migrate(tmp_path / "payments.db")
    done = manage(tmp_path / "payments.db", "verify")
    assert done.returncode == 0
    assert done.stderr == (f"warning: there are no events in {tmp_path / 'payments.db'}: is it the right database?\n")


def test_the_copy_is_checked_and_not_the_database(path: Path, tmp_path: Path) -> None:
    """A damaged index page, which no event shows, is found in the copy, and the copy does not get its name."""
    with closing(apsw.Connection(str(path))) as connection:
        (row,) = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'work_due' OR name LIKE 'sqlite_autoindex_claims%' LIMIT 1"
        ).fetchall()
        size = connection.pragma("page_size")
        assert isinstance(size, int)
        assert isinstance(row[0], int)
    with path.open("r+b") as file:
        file.seek((row[0] - 1) * size + 8)
        file.write(b"\xff" * 64)
    done = manage(path, "backup", str(tmp_path / "b.db"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert list(tmp_path.glob("*b.db*")) == []


@pytest.mark.parametrize("file", ["", ".", "/"])
def test_a_path_without_a_file_name_is_refused(path: Path, file: str) -> None:
    """A path that is not the name of a file is a wrong argument."""
    refused = manage(path, "backup", file)
    assert refused.returncode == 2
    assert "not the name of a file" in refused.stderr
    assert "Traceback" not in refused.stderr
