"""Migrations that are refused: the database stays as it is, and the error states what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from store.errors import CorruptStoreError, StoreInUseError
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from tests.store.earlier import before_heads, everything
from tests.store.processes import CHECKOUT, child, line
from tests.store.serving import give_up
from tests.store.tampering import problems

GHOST = "INSERT INTO balances VALUES ('main', 'ghost', 'USD', 500, 0)"
DAMAGE = {
    "main/ghost has balances and no events": GHOST,
    "main/a has a negative balance": "UPDATE balances SET available_minor = -5 WHERE stream_id = 'a'",
    "main/b has a negative balance": "UPDATE balances SET reserved_minor = -5 WHERE stream_id = 'b'",
    "main/b has a damaged hash": "UPDATE events SET hash = x'00' WHERE position = (SELECT max(position) FROM events)",
    "a row is damaged (CHECK constraint failed: heads_balances_not_negative)": "UPDATE balances SET currency = 'A-B'",
}
REMEDY = "the database stays at version 9; examine it with `manage.py verify` of the version before"


@pytest.mark.parametrize("problem", DAMAGE)
def test_a_row_that_cannot_be_kept(tmp_path: Path, problem: str) -> None:
    """Migration 10 does not drop evidence of cut events, and names the damaged stream. Nothing is changed."""
    path = tmp_path / "payments.db"
    before_heads(path, DAMAGE[problem])
    before = everything(path)
    with pytest.raises(CorruptStoreError) as refusal:
        migrate(path)
    assert str(refusal.value) == f"{path}: {problem}: {REMEDY}"
    assert everything(path) == before
    assert before["version"] == 9


def test_no_migration_beside_a_service(tmp_path: Path) -> None:
    """It would change the tables of a running service. When the service has ended, the same call migrates."""
    path = tmp_path / "payments.db"
    before_heads(path)
    before = everything(path)
    with child("serve", path) as service:
        assert line(service) == "held"
        text = f"process {service.pid} works on payments.db: stop it; a service of this version migrates"
        with pytest.raises(StoreInUseError, match=text):
            migrate(path)
        assert everything(path) == before
    assert migrate(path) == [10]
    assert problems(path) == []


def test_nothing_to_migrate_beside_a_service(tmp_path: Path) -> None:
    """A database that is up to date is no reason to refuse."""
    path = tmp_path / "payments.db"
    migrate(path)
    with child("serve", path) as service:
        assert line(service) == "held"
        assert migrate(path) == []


def test_a_service_migrates_under_its_own_lock(tmp_path: Path) -> None:
    """The lock of this process is its own, and is kept."""
    path = tmp_path / "payments.db"
    before_heads(path)
    with StoreLock.acquire(path, sleep=give_up):
        assert migrate(path) == [10]
        script = "import sys, pathlib, store.sqlite.files as f; print(f.is_locked_elsewhere(pathlib.Path(sys.argv[1])))"
        command = [sys.executable, "-c", script, str(path)]
        assert subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True).stdout == b"True\n"


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """The check of the lock leaves its descriptor open while the connection is open, and no longer."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("a.db", "b.db"):
        migrate(tmp_path / name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
