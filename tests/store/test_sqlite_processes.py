"""Several processes on one file: the lock, and the traces of a killed process."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest

from store.errors import SchemaError, StoreUnavailableError
from store.port import StreamKey
from store.sqlite.adapter import SqliteStore
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from store.sqlite.schema_version import migrations
from store.verify import verify
from tests.store.builders import Clock
from tests.store.looking import versions
from tests.store.processes import child, line


class _StillHeldError(Exception):
    """Ends a wait that would not end otherwise."""


def _give_up(_seconds: float) -> None:
    raise _StillHeldError


def test_a_second_process_waits_until_the_first_is_dead(tmp_path: Path) -> None:
    """One process holds the lock. Another one waits, reports it once, and gets the lock when the first is killed."""
    path = tmp_path / "var" / "payments.db"
    said: list[str] = []
    slept: list[float] = []
    with child("lock", path) as first:
        assert line(first) == "held"

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                first.kill()
                first.wait()

        with StoreLock.acquire(path, sleep=sleep, on_wait=lambda: said.append("waits")):
            assert said == ["waits"]
            assert len(slept) >= 3
            assert all(0 < seconds < 1 for seconds in slept)


def test_a_released_lock_is_free(tmp_path: Path) -> None:
    """After the release the next caller has the lock at once.

    While it is held, even the same process cannot get it again.
    """
    path = tmp_path / "payments.db"
    first = StoreLock.acquire(path, sleep=_give_up)
    with pytest.raises(_StillHeldError):
        StoreLock.acquire(path, sleep=_give_up)
    first.release()
    first.release()
    with StoreLock.acquire(path, sleep=_give_up):
        pass


def test_one_database_by_two_names_has_one_lock(tmp_path: Path) -> None:
    """A link to the database leads to the same lock."""
    path, other = tmp_path / "payments.db", tmp_path / "other.db"
    path.touch()
    other.symlink_to(path)
    with StoreLock.acquire(path, sleep=_give_up), pytest.raises(_StillHeldError):
        StoreLock.acquire(other, sleep=_give_up)


def test_a_full_disk_does_not_prevent_the_lock(tmp_path: Path) -> None:
    """The process id in the lock file is for operators only. Without space for it, the lock is held nevertheless."""
    full = OSError(28, "No space left on device")
    database = tmp_path / "p.db"
    with (
        patch("store.sqlite.lock.os.ftruncate", side_effect=full),
        patch("store.sqlite.lock.os.pwrite", side_effect=full),
    ):
        StoreLock.acquire(database, sleep=lambda _: None).release()


def test_a_lock_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    """Every error of the system about the lock file makes the store unavailable for now."""
    with (
        patch("store.sqlite.lock._try_lock", side_effect=OSError(37, "No locks available")),
        pytest.raises(StoreUnavailableError, match="No locks available"),
    ):
        StoreLock.acquire(tmp_path / "p.db", sleep=lambda _: None)


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder that cannot be written is reported as an error of the store."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailableError):
        StoreLock.acquire(tmp_path / "file" / "payments.db", sleep=_give_up)


@pytest.mark.parametrize("acknowledged", [1, 10, 100])
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    """After kill -9 during appends every acknowledged write is stored, and the last ones are whole or absent."""
    path = tmp_path / "payments.db"
    migrate(path)
    ends: dict[str, int] = {}
    for _ in range(3):
        with child("append", path) as writer:
            for _ in range(acknowledged):
                stream_id, version = line(writer).split()
                ends[stream_id] = int(version)
            writer.kill()
            assert writer.stdout is not None
            for text in writer.stdout:  # the lines that it could still print are acknowledged as well
                if text.endswith("\n"):
                    stream_id, version = text.split()
                    ends[stream_id] = int(version)
        store = SqliteStore(path, clock=Clock())
        for name, end in ends.items():
            assert versions(store, StreamKey("main", name)) == list(range(1, end + 1))
        with store.audit() as audit:
            assert list(verify(audit)) == [], "whole or absent: events, rows and work agree"
            unacknowledged = {stream.id for stream in audit.streams()} - ends.keys()
            assert len(unacknowledged) <= 8, "at most the one batch that was in progress"
            ends.update(
                {stream_id: store.load(StreamKey("main", stream_id)).head.version for stream_id in unacknowledged}
            )
        store.close()


def test_processes_that_migrate_at_once(tmp_path: Path) -> None:
    """When several processes migrate the same new database, one applies each migration, and none fails."""
    path = tmp_path / "new" / "payments.db"
    with ExitStack() as stack:
        processes = [stack.enter_context(child("migrate", path)) for _ in range(4)]
        assert [line(process) for process in processes] == ["ready"] * 4
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        answers = [line(process) for process in processes]
        for process in processes:
            process.stdin = None
            assert process.wait() == 0
    applied = [number for answer in answers for number in json.loads(answer)]
    assert sorted(applied) == list(migrations())
    SqliteStore(path, clock=Clock()).close()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    """A database that is up to date is not changed."""
    path = tmp_path / "payments.db"
    assert migrate(path) == list(migrations())
    before = path.read_bytes()
    assert migrate(path) == []
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """A script is applied whole or not at all. The scripts before it stay, and it can be tried again."""
    path = tmp_path / "payments.db"
    first, bad = "CREATE TABLE one (x) ;", "CREATE TABLE two (x); CREATE TABLE one (x);"
    with pytest.raises(SchemaError):
        migrate(path, {1: first, 2: bad})
    assert migrate(path, {1: first, 2: "CREATE TABLE two (x); CREATE TABLE three (x);"}) == [2]


def test_a_newer_database_is_not_changed(tmp_path: Path) -> None:
    """A service older than the tables neither migrates nor opens them, and reports both versions."""
    path = tmp_path / "payments.db"
    migrate(path)
    ours = len(migrations())
    migrate(path, {**migrations(), ours + 1: "CREATE TABLE future (x);"})
    for attempt in (lambda: migrate(path), lambda: SqliteStore(path, clock=Clock())):
        with pytest.raises(SchemaError, match=f"version {ours + 1}, newer than this service's {ours}"):
            attempt()


def test_an_older_database_is_not_opened(tmp_path: Path) -> None:
    """Missing tables are reported before anything is written."""
    path = tmp_path / "payments.db"
    with pytest.raises(StoreUnavailableError, match=r"payments\.db"):
        SqliteStore(path, clock=Clock())
    path.touch()
    with pytest.raises(SchemaError, match=f"version 0, this service needs {len(migrations())}"):
        SqliteStore(path, clock=Clock())
